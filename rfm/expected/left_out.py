"""Expected Mixup without one of its originals: the moments of the pairs that are left.

Leaving original i out takes the pairs (i, j) and (j, i) out of the average, its row and its column of the weights W.
The sums over those pairs are subtracted from those over all, and the rest is divided by its weight. That is expected
Mixup of the other originals where all pairs weigh the same: any partner, or any but itself. Partners that are chosen by
inputs or labels would be chosen anew.

Every pair belongs to two originals, so these sums cost two passes. A row of tiles of pairs has those of a few
originals, whose moments are all that is held.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rfm.expected.problem import BLOCK_BYTES, ExpectedProblem
from rfm.expected.tiles import Tile, Tiling
from theory import linalg
from theory.linalg import as_matrix, on_device

MOMENT_BYTES = 2**27
"""Of the moments that are held at a time."""


class Moments(NamedTuple):
    """Means over pairs and ratios.

    Attributes:
        second: of phi phiᵀ.
        force: of phi y.
        power: of y^2.
    """

    second: Float[Array, "features features"]
    force: Float[Array, "features targets"]
    power: Float[Array, "targets"]

    @staticmethod
    def of(joint: Float[np.ndarray, "columns columns"], num_features: int) -> "Moments":
        """From those of features and labels side by side."""
        second, force = joint[:num_features, :num_features], joint[:num_features, num_features:]
        return Moments(*map(on_device, (second, force, np.diagonal(joint)[num_features:])))


def moments(problem: ExpectedProblem) -> Moments:
    """Those over all pairs.

    >>> import rfm
    >>> task = rfm.TeacherStudent(input_dim=4, num_hidden=3, key=jax.random.key(0))
    >>> features = rfm.RandomFeatures(input_dim=4, num_features=6, key=jax.random.key(1))
    >>> sample, law = task.sample(num_samples=5, key=jax.random.key(3)), rfm.Mixup(lam=0.5, pairs="expected")
    >>> problem = rfm.expected_mixup(sample, features, law, population=task.population(features))
    >>> moments(problem).second.shape
    (6, 6)
    """
    found = problem.found
    images = found.modes * jnp.sqrt(found.eigenvalues)[None, :]
    power = jnp.sum(found.label_coordinates**2, axis=0) + found.label_outside
    return Moments(images @ images.T, images @ found.label_coordinates, power)


def without_each(problem: ExpectedProblem) -> Iterator[Moments]:
    """Those over the pairs that each original in turn is not part of.

    >>> import rfm
    >>> task = rfm.TeacherStudent(input_dim=4, num_hidden=3, key=jax.random.key(0))
    >>> features = rfm.RandomFeatures(input_dim=4, num_features=6, key=jax.random.key(1))
    >>> sample, law = task.sample(num_samples=5, key=jax.random.key(3)), rfm.Mixup(lam=0.5, pairs="expected")
    >>> problem = rfm.expected_mixup(sample, features, law, population=task.population(features))
    >>> fewer = rfm.Sample(sample.inputs[1:], sample.labels[1:], None)
    >>> refit = rfm.expected_mixup(fewer, features, law, population=task.population(features))
    >>> bool(jnp.allclose(next(without_each(problem)).second, moments(refit).second))
    True
    """
    whole, kept, tiling = moments(problem), kept_weight(problem), _tiling(problem)
    for first in range(0, tiling.num_samples, tiling.side):
        for own in _own(tiling, first // tiling.side)[: tiling.num_samples - first]:
            taken = Moments.of(own, len(whole.second))
            yield Moments(*((total - part) / kept for total, part in zip(whole, taken, strict=True)))


def kept_weight(problem: ExpectedProblem) -> float:
    """The probability of the pairs that an original is not part of.

    Raises:
        ValueError: a law under which pairs would be weighed otherwise without it.
    """
    law, number = problem.law, len(problem.smoother)
    alone = law.self_weight(number)
    if alone is None or law.share < 1:
        raise ValueError(
            f"problem: its law, {law}, weighs the pairs that are left otherwise once an original is gone, so there is "
            "nothing to subtract; pass a problem of any partners or of rfm.mixup.OtherSamples(), all rows mixed, or "
            "hold out folds: rfm.advise(..., law=law, num_folds=...)"
        )
    return 1 - (2 - alone) / number


def _tiling(problem: ExpectedProblem) -> Tiling:
    """Tiles so small that the moments of one side's originals can be held."""
    sample, phi = problem.law.what_it_mixes(problem.sample, problem.feature_map)
    labels = as_matrix(sample.labels)
    columns = problem.smoother.shape[1] + labels.shape[1]
    item = problem.smoother.dtype.itemsize
    rows = BLOCK_BYTES["gram"] // (columns * item)
    side = max(1, min(math.isqrt(rows // len(problem.ratios)), MOMENT_BYTES // (columns**2 * item)))
    pairs = problem.law.weights_of(len(labels))
    few = side**2 * len(problem.ratios)
    return Tiling.of(sample.inputs, labels, phi, None, problem.ratios, pairs, few, jax.devices()[:1])


def _own(tiling: Tiling, place: int) -> Float[np.ndarray, "firsts columns columns"]:
    """Of the originals of one side, the sums over all pairs that each is part of, features and labels side by side."""
    total: Any = 0.0
    for i, j in tiling.positions:
        if place not in (i, j):
            continue
        rows = _rows(tiling, tiling.tile(i, j))
        parts = ([rows] if i == place else []) + ([rows.swapaxes(0, 1)] if j == place else [])
        total = total + sum(_grams(part) for part in parts)
        if i == j:  # a pair of an original with itself is in its row and in its column
            total = total - _grams(rows[np.arange(len(rows)), np.arange(len(rows))][:, None])
    return total


def _rows(tiling: Tiling, tile: Tile) -> Float[np.ndarray, "firsts seconds ratios columns"]:
    joint = np.concatenate([np.asarray(tile.features), np.asarray(tile.labels)], axis=1)
    return joint.reshape(tiling.side, tiling.side, len(tiling.lam), -1)


def _grams(rows: Float[np.ndarray, "firsts seconds ratios columns"]) -> Float[np.ndarray, "firsts columns columns"]:
    """The sum of products of rows with themselves, for each first."""
    return np.stack([np.asarray(linalg.gram(on_device(own.reshape(-1, own.shape[-1])))) for own in rows])
