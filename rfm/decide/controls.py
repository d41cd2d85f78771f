"""Noise or bias? What may stand in the place of Mixup's label noise z, so that it shows which part of it over-trains.

z is a function of the pair and the ratio, not of chance. Its mean given the mixed input is a *bias*: a smoother target,
that any number of rows leaves. The rest differs from row to row, and a model that sees only mixed inputs cannot tell
it from noise. So a table of mixed rows is trained on its clean labels plus

    its noise       z itself;                       nothing         zero;
    its bias        E[z | x~, lam];                 its rest        z - E[z | x~, lam];
    permuted        z in a random order of rows;    per row         normal noise, independent from row to row;
    per pair        normal noise of a pair, the same in both orders;
    per original    normal noise of the originals, mixed as their labels are.

The random ones have the mean and the variance that z has over the rows. Training is linear in the labels, so their mean
risk is a closed form: with z' of mean c and covariance S, the risk of labels f + c, plus tr(Q S) as in `theory.labels`.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

import theory
from rfm.checks import check_key
from rfm.data.truths import GaussianTruth
from rfm.features import FeatureMap
from rfm.kernels import KernelTest
from rfm.mixup.laws import Mixup
from rfm.mixup.table import PairTable
from rfm.problem import Problem
from rfm.sample import Sample, checked_sample
from rfm.solve import checked_clock
from rfm.synthesis import synthesize
from theory.checks import Clock, check_choice, check_type
from theory.linalg import as_matrix, on_device

CONTROLS = ("its noise", "nothing", "its bias", "its rest", "permuted", "per row", "per pair", "per original")
OF_BIAS = ("its bias", "its rest")
"""Those that ask for the mean of the noise given the mixed input."""
RANDOM = ("permuted", "per row", "per pair", "per original")
"""Those that are drawn."""
_MEAN = "the mean of its noise"


class NoiseControls(eqx.Module):
    """A table of mixed rows, its label noise, and what may stand in its place. Made by `noise_controls`.

    Attributes:
        problem: the rows, with their noise.
        mixing: which originals they are mixed of.
        bias: E[z | x~, lam] of each row, or None where nobody knows it.
        spectrum: of the rows, decomposed once for all labels that are not drawn, which stand side by side.
    """

    problem: Problem
    mixing: PairTable
    bias: Float[Array, "rows targets"] | None
    spectrum: theory.Spectrum

    @property
    def noise(self) -> Float[Array, "rows targets"]:
        """Z, of each row."""
        return self.problem.labels - self._clean

    def risk(
        self, control: str, *, times: Clock | None = None, steps: Clock | None = None, rule: theory.Rule | None = None
    ) -> Float[Array, "times"]:
        """The risk of training with it, summed over targets; in the mean over what is drawn.

        Args:
            control: one of `CONTROLS`.
            times: for gradient flow, ascending; or
            steps: for a rule that counts them.
            rule: how it is trained; None for gradient flow.

        Raises:
            ValueError: a control that is not known, here or at all.
        """
        check_choice("control", control, CONTROLS)
        rule, t = checked_clock(rule, times, steps)
        population = self.problem.population
        if control not in RANDOM:
            return theory.risk_curve(self._spectrum(control), population, rule, t).risk
        power = jnp.var(self.noise, axis=0)
        smoother, scale = self._smoother(control)
        # Noise adds to a target's risk its variance times what is the same for all: of their sum, once.
        over = theory.labels.risk_over_labels(
            self._spectrum(_MEAN), population, smoother, rule, jnp.asarray(t), scale * float(jnp.sum(power))
        )
        return jnp.sum(over.mean, axis=1) - (len(power) - 1) * over.added

    def drawn(self, control: str, *, key: PRNGKeyArray | None = None) -> Problem:
        """The table with that in the place of its noise, to train on.

        Raises:
            ValueError: a control that is not known, or one that is drawn and no key.
        """
        check_choice("control", control, CONTROLS)
        if control not in RANDOM:
            return self._with(self._fixed(control))
        if key is None:
            raise ValueError(f"key: {control!r} is drawn at random; pass key=jax.random.key(seed)")
        check_key("key", key)
        if control == "permuted":
            return self._with(jax.random.permutation(key, self.noise, axis=0))
        mean = jnp.mean(self.noise, axis=0, keepdims=True)
        std = jnp.std(self.noise, axis=0, keepdims=True)
        sources = self._sources(control)
        unit = jax.random.normal(key, (sources.num_originals, self.noise.shape[1]), self.noise.dtype)
        return self._with(mean + std * _variance_of_sources(sources) ** 0.5 * sources.mix(unit))

    def _fixed(self, control: str) -> Float[Array, "rows targets"]:
        known = _not_drawn(self.noise, self.bias)
        if control not in known:
            raise ValueError(
                f"control: {control!r} asks for the mean of the noise given the mixed input, which is known for "
                "independent Gaussian inputs and a truth such as that of rfm.TeacherStudent, and not for partners that "
                "look at the samples; leave it out"
            )
        return known[control]

    def _spectrum(self, control: str) -> theory.Spectrum:
        """With the labels of that one alone."""
        number = self._fixed(control).shape[1]
        first = number * list(_not_drawn(self.noise, self.bias)).index(control)
        own = slice(first, first + number)
        labels = self.spectrum.label_coordinates[:, own], self.spectrum.label_outside[own]
        return eqx.tree_at(lambda spectrum: (spectrum.label_coordinates, spectrum.label_outside), self.spectrum, labels)

    def _smoother(self, control: str) -> tuple[Float[Array, "sources features"], float]:
        """H, of what is drawn, and its variance for a noise of variance one over the rows."""
        phi, rows = self.problem.features, len(self.problem.features)
        if control == "permuted":  # no two rows get the same entry, which leaves the rows' mean as it is
            return phi - jnp.mean(phi, axis=0, keepdims=True), rows / max(rows - 1, 1)
        sources = self._sources(control)
        return sources.gather(phi) * (sources.num_originals / rows), _variance_of_sources(sources)

    def _sources(self, control: str) -> PairTable:
        """What independent draws are mixed as to the noise of rows."""
        table = self.mixing
        if control == "per original":
            return PairTable(table.first, table.second, table.label_share)
        place = np.arange(len(table))
        if control == "per pair":
            pairs = np.sort(np.stack([table.first, table.second], axis=1), axis=1)
            place = np.unique(pairs, axis=0, return_inverse=True)[1].ravel()
        return PairTable(on_device(place), on_device(place), jnp.ones(len(table), self.noise.dtype))

    def _with(self, noise: Float[Array, "rows targets"]) -> Problem:
        return eqx.tree_at(lambda problem: problem.labels, self.problem, self._clean + noise)

    @property
    def _clean(self) -> Float[Array, "rows targets"]:
        return jnp.asarray(self.problem.clean_labels)


def _not_drawn(
    noise: Float[Array, "rows targets"], bias: Float[Array, "rows targets"] | None
) -> dict[str, Float[Array, "rows targets"]]:
    """What can be had without a draw, and the mean of what is drawn."""
    mean = jnp.broadcast_to(jnp.mean(noise, axis=0, keepdims=True), noise.shape)
    found = {"its noise": noise, "nothing": jnp.zeros_like(noise), _MEAN: mean}
    return found if bias is None else found | {"its bias": bias, "its rest": noise - bias}


def _variance_of_sources(sources: PairTable) -> float:
    """That makes rows which are mixed of them have variance one in the mean."""
    apart = sources.lam**2 + (1 - sources.lam) ** 2
    return 1 / float(jnp.mean(jnp.where(sources.first == sources.second, 1, apart)))


def noise_controls(
    sample: Sample,
    features: FeatureMap,
    law: Mixup,
    *,
    population: theory.Averages | KernelTest,
    key: PRNGKeyArray | None = None,
) -> NoiseControls:
    """One table of a law, and what may stand in the place of its label noise.

    Args:
        sample: the originals, with their truth; noise of their own labels is left out.
        features: phi.
        law: with rows that can be written down, of mixed inputs.
        population: what the risk is averaged over.
        key: for a law that draws.

    Raises:
        ValueError: a sample without truth, a law of fresh pairs or of mixed features.

    >>> import rfm
    >>> task = rfm.TeacherStudent(input_dim=3, num_hidden=4, weight_std=2.0, key=jax.random.key(0))
    >>> phi = rfm.RandomFeatures(3, 30, "tanh", weight_std=2.0, key=jax.random.key(1))
    >>> sample = task.sample(8, key=jax.random.key(2))
    >>> controls = noise_controls(sample, phi, rfm.Mixup(lam=0.5), population=task.population(phi))
    >>> risk = {control: controls.risk(control, times=[1e5])[0] for control in ("nothing", "its noise", "its bias")}
    >>> bool(risk["its noise"] > risk["nothing"])
    True
    """
    check_type("law", law, Mixup, "rfm.Mixup(...)")
    sample = checked_sample(sample)
    if sample.truth is None:
        raise ValueError(
            "sample: has no truth, and so nobody knows its labels' noise; pass one with a truth, rfm.Sample(inputs, "
            "labels, truth)"
        )
    if law.mixes_features or law.is_expected:
        raise ValueError(f"law: {law} has no mixed inputs in rows; pass pairs='all', or a number of them")
    if isinstance(population, KernelTest):
        raise ValueError("features: infinitely many have no rows to train on; pass finitely many, and their population")
    law, truth, number = law.on(sample), sample.truth, len(sample.inputs)
    (table,) = law.tables(number, law.num_rows(number), key=key)
    clean = Sample(sample.inputs, truth(sample.inputs), truth)
    problem, bias = synthesize(clean, features, table, population=population).table(), None
    if isinstance(truth, GaussianTruth) and law.self_weight(number) is not None:
        found = truth.mixing_bias(table.mix(sample.inputs), table.lam, label_lam=table.label_share)
        alone = table.first == table.second  # a sample mixed with itself is itself, and has no noise
        bias = as_matrix(jnp.where(alone, 0, found))
    clean_labels = jnp.asarray(problem.clean_labels)
    labels = [clean_labels + one for one in _not_drawn(problem.labels - clean_labels, bias).values()]
    method = problem.suggest_method(math.inf)
    spectrum = theory.decompose(problem.features, jnp.concatenate(labels, axis=1), method=method)
    return NoiseControls(problem, table, bias, spectrum)
