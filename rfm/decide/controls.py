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

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

import theory
from rfm.checks import check_key
from rfm.data.truths import GaussianTruth
from rfm.features import FeatureMap
from rfm.kernels import KernelTest
from rfm.mixup.laws import Mixup
from rfm.mixup.table import PairTable
from rfm.problem import Problem
from rfm.sample import Sample, checked_sample
from rfm.solve import checked_clock, solve
from rfm.synthesis import synthesize
from theory.checks import Clock, check_choice, check_type
from theory.linalg import as_matrix

CONTROLS = ("its noise", "nothing", "its bias", "its rest", "permuted", "per row", "per pair", "per original")
OF_BIAS = ("its bias", "its rest")
"""Those that ask for the mean of the noise given the mixed input."""
RANDOM = ("permuted", "per row", "per pair", "per original")
"""Those that are drawn."""


class NoiseControls(eqx.Module):
    """A table of mixed rows, its label noise, and what may stand in its place. Made by `noise_controls`.

    Attributes:
        problem: the rows, with their noise.
        mixing: which originals they are mixed of.
        bias: E[z | x~, lam] of each row, or None where nobody knows it.
    """

    problem: Problem
    mixing: PairTable
    bias: Float[Array, "rows targets"] | None

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
        if control not in RANDOM:
            solution = solve(self._with(self._fixed(control)))
            return theory.risk_curve(solution.spectrum, solution.population, rule, t).risk
        mean = jnp.mean(self.noise, axis=0, keepdims=True)
        power = jnp.mean((self.noise - mean) ** 2, axis=0)
        solution = solve(self._with(jnp.broadcast_to(mean, self.noise.shape)))
        smoother, scale = self._smoother(control)
        # Noise adds to a target's risk its variance times what is the same for all: of their sum, once.
        over = theory.labels.risk_over_labels(
            solution.spectrum, solution.population, smoother, rule, jnp.asarray(t), scale * float(jnp.sum(power))
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
        mixing = self._mixing(control)
        unit = jax.random.normal(key, (mixing.number, self.noise.shape[1]), self.noise.dtype)
        return self._with(mean + std * mixing.root * mixing.of(unit))

    def _fixed(self, control: str) -> Float[Array, "rows targets"]:
        if control == "its noise":
            return self.noise
        if control == "nothing":
            return jnp.zeros_like(self.noise)
        if self.bias is None:
            raise ValueError(
                f"control: {control!r} asks for the mean of the noise given the mixed input, which is known for "
                "independent Gaussian inputs and a truth such as that of rfm.TeacherStudent, and not for partners that "
                "look at the samples; leave it out"
            )
        return self.bias if control == "its bias" else self.noise - self.bias

    def _smoother(self, control: str) -> tuple[Float[Array, "sources features"], float]:
        """H, of what is drawn, and its variance for a noise of variance one over the rows."""
        phi, rows = self.problem.features, len(self.problem.features)
        if control == "permuted":  # no two rows get the same entry, which leaves the rows' mean as it is
            return phi - jnp.mean(phi, axis=0, keepdims=True), rows / max(rows - 1, 1)
        mixing = self._mixing(control)
        return mixing.back(phi) * (mixing.number / rows), mixing.root**2

    def _mixing(self, control: str) -> "_Mixing":
        table, rows = self.mixing, len(self.problem.features)
        one = jnp.ones(rows, self.noise.dtype)
        if control == "per row":
            return _Mixing(jnp.arange(rows), jnp.arange(rows), one, rows)
        first, second = np.asarray(table.first), np.asarray(table.second)
        if control == "per original":
            return _Mixing(table.first, table.second, table.label_share, 1 + int(max(first.max(), second.max())))
        pairs = np.sort(np.stack([first, second], axis=1), axis=1)
        unordered, place = np.unique(pairs, axis=0, return_inverse=True)
        return _Mixing(jnp.asarray(place.ravel()), jnp.asarray(place.ravel()), one, len(unordered))

    def _with(self, noise: Float[Array, "rows targets"]) -> Problem:
        return eqx.tree_at(lambda problem: problem.labels, self.problem, self._clean + noise)

    @property
    def _clean(self) -> Float[Array, "rows targets"]:
        return jnp.asarray(self.problem.clean_labels)


class _Mixing(NamedTuple):
    """Rows that are mixed of independent sources: share of `first`, and what is left of 1 of `second`."""

    first: Int[Array, "rows"]
    second: Int[Array, "rows"]
    share: Float[Array, "rows"]
    number: int

    @property
    def root(self) -> float:
        """What sources are multiplied by, so that rows have variance one in the mean."""
        apart = self.share**2 + (1 - self.share) ** 2
        return float(jnp.mean(jnp.where(self.first == self.second, 1, apart))) ** -0.5

    def of(self, sources: Float[Array, "sources columns"]) -> Float[Array, "rows columns"]:
        share = self.share[:, None]
        return share * sources[self.first] + (1 - share) * sources[self.second]

    def back(self, rows: Float[Array, "rows columns"]) -> Float[Array, "sources columns"]:
        """The transpose of that."""
        share, total = self.share[:, None], jnp.zeros((self.number, rows.shape[1]), rows.dtype)
        return total.at[self.first].add(share * rows).at[self.second].add((1 - share) * rows)


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
    return NoiseControls(problem, table, bias)
