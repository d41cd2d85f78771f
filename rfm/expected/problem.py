"""Expected Mixup: the average over all n^2 pairs and over the law of the ratio.

Mixup is trained on fresh pairs and fresh ratios at every step. Where pairs are drawn independently, the mean gradient
is that of the loss averaged over everything that can be drawn,

    C = E_lam (1/n^2) sum_ij phi_ij phi_ijᵀ,        b = E_lam (1/n^2) sum_ij phi_ij (lam y_i + (1 - lam) y_j),

so gradient descent on (C, b) is the mean dynamics of training. The force is linear in the labels of the
originals, b = Hᵀ y / n with h_i = E_lam [ lam mean_j phi_ij + (1 - lam) mean_j phi_ji ]: expected Mixup smooths labels.
One pass over the pairs gives C, or its triangular factor, and H; memory does not grow with n^2.
"""

import dataclasses
import hashlib
from os import PathLike
from pathlib import Path
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from rfm.expected.fresh_pairs import FreshPairs, is_mean_of
from rfm.expected.quadrature import ratio_quadrature
from rfm.expected.sums import KINDS, BlockProgress, PassMethod, Shape, accumulate
from rfm.expected.tiles import Tiling
from rfm.features import FeatureMap, check_features
from rfm.kernels import KernelTest
from rfm.mixup.law import Law
from rfm.mixup.laws import Mixup
from rfm.mixup.ratios import RatioQuadrature
from rfm.problem import Problem, Solvable, check_map, check_population
from rfm.sample import Sample, checked_sample
from rfm.shown import ExpectedView
from rfm.source import Source
from theory import Averages, Batches, Spectrum
from theory.checks import as_floating, check_choice, check_count, check_finite, check_shape, untraced
from theory.linalg import as_matrix, on_device, on_host
from theory.spectrum import relabelled

MOST_ROWS = 2**14
"""Of one block."""
BLOCK_BYTES: dict[PassMethod, int] = {"gram": 2**24, "qr": 2**27}
"""Of the features of one block: what the caches hold, and for QR what makes its triangle cheap beside it."""
BLOCK_COPIES: dict[PassMethod, int] = {"gram": 2, "qr": 3}
SQUARE_COPIES: dict[PassMethod, int] = {"gram": 4, "qr": 5}
"""How many arrays as large as a block, and as features x features, are alive at once."""
FEW = 8
"""Originals, by whose features a map is known."""


class ExpectedProblem(ExpectedView, Solvable):
    """What one pass over all pairs and ratios has found. Made by `expected_mixup`.

    Attributes:
        sample: the originals.
        feature_map: phi.
        law: with which pairs and ratios are drawn, for that sample.
        population: what the risk is averaged over.
        ratios: the quadrature over lam, with its error.
        smoother: H; the force is Hᵀ y / n.
        found: the spectrum.
        method: how it was found.
    """

    sample: Sample
    feature_map: FeatureMap
    law: Mixup
    population: Averages
    ratios: RatioQuadrature
    smoother: Float[Array, "samples features"]
    found: Spectrum
    method: PassMethod = eqx.field(static=True)
    more_accurate: ClassVar[str | None] = "pass method='qr' to rfm.expected_mixup"

    def spectrum(self, method: str | None = None) -> Spectrum:
        """The eigen-decomposition of C, with the labels in its coordinates.

        Raises:
            ValueError: another method than that of the pass.
        """
        if method not in (None, self.method):
            raise ValueError(
                f"method: {method!r} asked for, but the pass over all pairs was made by {self.method!r}; call "
                f"rfm.expected_mixup(..., method={method!r})"
            )
        return self.found

    def suggest_method(self, latest_time: float) -> PassMethod:
        """That of the pass."""
        return self.method

    def label_smoother(self) -> Float[Array, "samples features"]:
        """H, that of the pass."""
        return self.smoother

    def table(self) -> Problem:
        """There is none.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            "problem: stands for fresh pairs at every step, of which there is no table; pass one of a law that has one,"
            " such as rfm.Mixup(alpha=1.0, pairs=4000); rfm.simulate(..., batches=rfm.Batches(size)) trains on batches"
        )

    def drawn_by(self, batches: Batches) -> "ExpectedProblem":
        """Itself, or for batches that are mixed with themselves one more pass: they weigh a sample's pair with itself.

        >>> import rfm
        >>> task = rfm.TeacherStudent(input_dim=4, num_hidden=3, key=jax.random.key(0))
        >>> features = rfm.RandomFeatures(input_dim=4, num_features=6, key=jax.random.key(1))
        >>> sample, law = task.sample(num_samples=5, key=jax.random.key(3)), rfm.Mixup(lam=0.5, pairs="expected")
        >>> problem = expected_mixup(sample, features, law, population=task.population(features))
        >>> print(problem.drawn_by(rfm.Batches(4, partners="permuted")).law)
        Mixup(lam=0.5, pairs=expected, partners=others, share=0.75)
        """
        self.source().check(batches)
        if not batches.mixes_itself or is_mean_of(self.law, batches, len(self.smoother)):
            return self
        return expected_mixup(
            self.sample,
            self.feature_map,
            self.law.among_others(1 - batches.self_weight),
            population=self.population,
            method=self.method,
            num_ratios=len(np.unique(self.ratios.lam)),
        )

    def source(self) -> Source:
        """Fresh pairs at fresh ratios."""
        sample, phi = self.law.what_it_mixes(self.sample, self.feature_map)
        return FreshPairs(sample, as_matrix(sample.labels), phi, self.law, self.ratios)

    def with_labels(self, labels: ArrayLike) -> "ExpectedProblem":
        """The same originals with other labels, such as another draw of their noise: no further pass.

        The clean labels stay, and so do the weights of pairs, of partners that were chosen by their labels too. Labels
        come in through the smoother, with the rounding error of the Gram route.

        Raises:
            ValueError: labels of another shape, or not finite.
        """
        new = as_floating("labels", labels).astype(self.smoother.dtype)
        new = check_finite("labels", as_matrix(new))
        check_shape("labels", new, ndim=2, rows=len(self.smoother), columns=self.found.label_coordinates.shape[1])
        force, power = self.smoother.T @ new / len(new), mixed_power(new, self.ratios, self.law)
        sample = Sample(self.sample.inputs, new, self.sample.truth)
        return dataclasses.replace(self, sample=sample, found=relabelled(self.found, force, power), method="gram")


@untraced
def expected_mixup(
    sample: Sample,
    features: FeatureMap,
    law: Law,
    *,
    population: Averages | KernelTest,
    method: PassMethod = "qr",
    num_ratios: int | None = None,
    tolerance: float = 1e-8,
    memory_budget: int | None = None,
    devices: list[jax.Device] | None = None,
    checkpoint: str | PathLike[str] | None = None,
    progress: BlockProgress | None = None,
) -> ExpectedProblem:
    """Averages over all ordered pairs of a sample and over the ratio's law, in one pass.

    Args:
        sample: the originals.
        features: phi, finitely many.
        law: ``Mixup(alpha=..., pairs="expected")`` or ``Mixup(lam=..., pairs="expected")``, with any partners.
        population: what the risk is averaged over.
        method: ``qr``, accurate at all times, or ``gram``, two to three times as fast; see `theory.spectrum`.
        num_ratios: quadrature nodes over lam; None for as many as the tolerance needs.
        tolerance: relative, of the mean of phi phiᵀ along pairs; what was reached is in ``ratios.error``.
        memory_budget: bytes that the pass may take, about, beside the data; None for blocks of the fastest size.
        devices: that share the rows; None for all that JAX's default backend has.
        checkpoint: a file that keeps the sums, so that an interrupted pass goes on from its last block.
        progress: called after each block with the blocks done and their number, such as `print`.

    Raises:
        ValueError: a law that is not expected, a budget too small for one block, the checkpoint of another problem.

    >>> import rfm
    >>> task = rfm.TeacherStudent(input_dim=4, num_hidden=3, key=jax.random.key(0))
    >>> features = rfm.RandomFeatures(input_dim=4, num_features=6, key=jax.random.key(1))
    >>> sample = task.sample(num_samples=5, key=jax.random.key(3))
    >>> law = rfm.Mixup(alpha=1.0, pairs="expected")
    >>> problem = expected_mixup(sample, features, law, population=task.population(features))
    >>> problem.smoother.shape, problem.ratios.error < 1e-8
    ((5, 6), True)
    >>> rfm.closed_form(problem, times=[0.0, 10.0]).risk.shape
    (2,)
    """
    if not isinstance(law, Mixup) or not law.is_expected:
        raise ValueError(f'law: pass rfm.Mixup(..., pairs="expected"), got {law}')
    if isinstance(population, KernelTest):
        raise TypeError(
            "features: infinitely many features have no covariance to average over all pairs; pass a number of "
            "features, or a law with a table of pairs"
        )
    check_choice("method", method, KINDS)
    sample = checked_sample(sample)
    check_features(features, sample.inputs.shape[1])
    labels = as_matrix(sample.labels)
    check_count("num_samples (for Mixup)", len(labels), least=2)
    law = law.on(sample)
    if checkpoint is not None and not Path(checkpoint).parent.is_dir():
        raise ValueError(f"checkpoint: there is no folder {str(Path(checkpoint).parent)!r}; make it first")
    devices = jax.devices() if devices is None else list(devices)
    if not devices:
        raise ValueError("devices: there is none in the list; leave it None for all")
    few = on_device(on_host(sample.inputs)[:FEW])
    probe = as_floating("features", features(few))
    check_finite("features", probe)
    dtype = jnp.result_type(probe, labels)
    if probe.dtype != dtype:  # sums in single precision would round labels that are known better
        features, probe = _InPrecision(features, dtype), probe.astype(dtype)
    mixed, phi = law.what_it_mixes(sample, features)
    ratios = ratio_quadrature(law, mixed.inputs, phi, mixed.truth, num_ratios=num_ratios, tolerance=tolerance)
    check_population(population, probe.shape[1], labels.shape[1])
    check_map(population, features, sample.inputs.shape[1])
    most_rows = _most_rows(len(labels), probe, len(ratios), devices, method, memory_budget)
    pairs = law.weights_of(len(labels))
    tiling = Tiling.of(mixed.inputs, labels, phi, mixed.truth, ratios, pairs, most_rows, devices)
    clean_targets = 0 if mixed.truth is None else labels.shape[1]
    shape = Shape(len(tiling.inputs), probe.shape[1], labels.shape[1], clean_targets, probe.dtype)
    sums = accumulate(
        tiling,
        KINDS[method].zero(shape),
        progress=progress,
        checkpoint=None if checkpoint is None else Path(checkpoint),
        fingerprint=_fingerprint(sample, features, law, ratios, tiling, method, len(devices)),
        home=min(sample.inputs.devices(), key=lambda device: device.id),
    )
    smoother = on_device(on_host(sums.smoother)[: len(labels)] * len(labels))
    spectrum = sums.spectrum(labels, mixed_power(labels, ratios, law), tiling.rows + probe.shape[1])
    return ExpectedProblem(
        sample=sample,
        feature_map=features,
        law=law,
        population=population,
        ratios=ratios,
        smoother=smoother,
        found=spectrum,
        method=method,
    )


class _InPrecision(eqx.Module):
    """Features in the precision of what they stand beside."""

    features: FeatureMap
    dtype: jnp.dtype = eqx.field(static=True)

    def __call__(self, inputs: Float[Array, "samples inputs"]) -> Float[Array, "samples features"]:
        return self.features(inputs).astype(self.dtype)


def mixed_power(
    labels: Float[Array, "samples targets"], ratios: RatioQuadrature, law: Mixup
) -> Float[Array, "targets"]:
    """E (lam y_i + (1 - lam) y_j)^2 over all pairs and ratios."""
    lam, pairs = ratios.label_lam, law.weights_of(len(labels))
    first, second, cross = (float(ratios.weights @ of) for of in (lam**2, (1 - lam) ** 2, 2 * lam * (1 - lam)))
    dtype, partners = labels.dtype, pairs.times(labels)
    often = on_device(first, dtype) * pairs.row_sums() + on_device(second, dtype) * pairs.column_sums()
    return _weighted_powers(labels, often.astype(dtype), partners, on_device(cross, dtype))


@jax.jit
def _weighted_powers(
    labels: Float[Array, "samples targets"],
    often: Float[Array, "samples"],
    partners: Float[Array, "samples targets"],
    cross: Float[Array, ""],
) -> Float[Array, "targets"]:
    return jnp.sum(often[:, None] * labels**2, axis=0) + cross * jnp.sum(labels * partners, axis=0)


def _most_rows(
    num_samples: int, probe: Array, num_ratios: int, devices: list[jax.Device], method: PassMethod, budget: int | None
) -> int:
    """Rows of a block, from the budget: at least one pair a device."""
    num_features, item, fewest = probe.shape[1], probe.dtype.itemsize, num_ratios * len(devices) ** 2
    least = 2048 if method == "gram" else 2 * num_features
    rows = max(least, min(MOST_ROWS, BLOCK_BYTES[method] // (num_features * item)))
    if budget is None:
        return max(fewest, rows)
    check_count("memory_budget", budget)
    # Every device sums for itself; those of a CPU do it in the same memory.
    sums = len(devices) if devices[0].platform == "cpu" else 1
    fixed = sums * (SQUARE_COPIES[method] * num_features + 2 * num_samples) * num_features * item
    row = BLOCK_COPIES[method] * num_features * item
    if fixed + fewest * row > budget:
        raise ValueError(
            f"memory_budget: {budget} bytes cannot hold one block; {num_features} features, {num_samples} originals "
            f"and {fewest} rows need at least {fixed + fewest * row}"
        )
    return min(rows, (budget - fixed) // row)


def _fingerprint(
    sample: Sample,
    features: FeatureMap,
    law: Mixup,
    ratios: RatioQuadrature,
    tiling: Tiling,
    method: PassMethod,
    devices: int,
) -> dict[str, str]:
    """Everything that the sums depend on to the last bit; callables by what they make of a few originals."""
    few = on_device(on_host(sample.inputs)[:FEW])
    arrays = {
        "inputs": sample.inputs,
        "labels": sample.labels,
        "features": features(few),
        "truth": np.zeros(0) if sample.truth is None else sample.truth(few),
        "ratios": np.stack([ratios.lam, ratios.label_lam, ratios.weights]),
    }
    held = [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tiling.pairs) if eqx.is_array(leaf)]
    arrays["weights of pairs"] = np.frombuffer(b"".join(held), np.uint8)
    digests = {
        name: hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest() for name, array in arrays.items()
    }
    blocks = f"{tiling.side} x {tiling.side} pairs on {devices} device(s)"
    return digests | {"law": str(law), "method": method, "blocks (memory_budget, devices)": blocks}
