"""The law of Mixup's ratio as a handful of weighted ratios: Gauss-Jacobi quadrature, as fine as the features need.

Over lam ~ Beta(alpha, alpha), n nodes integrate polynomials of degree 2 n - 1 in lam exactly. Along the segment between
two inputs smooth features are nearly polynomials, and the error falls exponentially with n; features with kinks, such
as relu, fall as 1 / n^2 pair by pair, those with jumps as 1 / n, and the average over many pairs does better.

How large the error is, finer nodes must tell that share nothing with these: see `rfm.mixup.ratios`.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from rfm.features import FeatureMap
from rfm.mixup.laws import Mixup
from rfm.mixup.ratios import Nodes, RatioQuadrature
from rfm.mixup.weights import PairWeights
from rfm.sample import Truth
from rfm.source import spread_evenly
from theory.checks import check_count, check_positive, untraced
from theory.linalg import on_device

COARSEST, FINEST = 4, 64
PILOT_PAIRS, LONGEST_PAIRS = 48, 8
CANDIDATE_PAIRS = 4096
PILOT_FEATURES = 256
CALLED_ROWS = 512
LEAST_TOLERANCE = 10
"""Roundings that two averages differ by, whatever the number of ratios."""


@untraced
def ratio_quadrature(
    law: Mixup,
    inputs: Float[Array, "samples inputs"],
    features: FeatureMap,
    truth: Truth | None = None,
    *,
    num_ratios: int | None = None,
    tolerance: float = 1e-8,
) -> RatioQuadrature:
    """The fewest ratios that integrate the features' second moment to the tolerance.

    Args:
        law: whose ratios; one that was told its sample (`Mixup.on`) is tried on pairs as it draws them.
        inputs: the originals; `PILOT_PAIRS` pairs of them, some spread evenly and some far apart, are tried.
        features: phi.
        truth: f, if it is known: the clean labels are integrated too.
        num_ratios: this many instead, and then only their error is estimated.
        tolerance: relative, but at least some roundings. Where even `FINEST` ratios miss it, those are returned, and
            their error says so.

    Raises:
        ValueError: a number of ratios that is not a positive whole number, or a tolerance that is not positive.

    >>> rule = ratio_quadrature(Mixup(alpha=1.0, pairs="expected"), jnp.eye(3), jnp.tanh)
    >>> len(rule), rule.error < 1e-8
    (8, True)
    """
    check_positive("tolerance", tolerance)
    if num_ratios is not None:
        check_count("num_ratios", num_ratios)
    pilot = _pilot(inputs, law.weights)
    tolerance = max(tolerance, LEAST_TOLERANCE * float(jnp.finfo(inputs.dtype).eps))
    number = COARSEST if num_ratios is None else num_ratios
    while True:
        nodes, finer = law.ratio.nodes(number), law.ratio.finer_nodes(number)
        if not finer or len(pilot[0]) == 0:  # exact, or one original
            return RatioQuadrature.of(nodes, law.label_ratio, 0.0)
        ours, *others = (_moment(some, pilot, features, truth) for some in (nodes, *finer))
        # Where these two disagree, neither is the truth, and the distance from them may be short by as much.
        error = max(_distance(ours, other) for other in others) + _distance(*others)
        if num_ratios is not None or error <= tolerance or number >= FINEST:
            return RatioQuadrature.of(nodes, law.label_ratio, error)
        number *= 2


def _pilot(inputs: Float[Array, "samples inputs"], weights: PairWeights | None) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of different originals, all of them if they are few, however the sample is sorted.

    Of many, some as they come, and the longest of many more: along those features change most. Where pairs have
    weights of their own, they come as often as these say.
    """
    first, second = _candidates(len(inputs), weights)
    there = np.asarray(inputs)
    first, second = there[first], there[second]
    if len(first) > PILOT_PAIRS:
        some = np.arange(0, len(first), -(-len(first) // (PILOT_PAIRS - LONGEST_PAIRS)))
        longest = np.argsort(np.sum((first - second) ** 2, axis=1), kind="stable")[-LONGEST_PAIRS:]
        chosen = np.union1d(some, longest)
        first, second = first[chosen], second[chosen]
    return first, second


def _candidates(num_samples: int, weights: PairWeights | None) -> tuple[np.ndarray, np.ndarray]:
    if weights is not None:
        first, second = map(np.asarray, _drawn(weights, jax.random.key(0)))
        apart = first != second
        return first[apart], second[apart]
    pairs = spread_evenly(CANDIDATE_PAIRS, num_samples**2)
    first, second = pairs // num_samples, pairs % num_samples
    once = first < second  # swapped, a pair is the same segment
    return first[once], second[once]


@eqx.filter_jit
def _drawn(weights: PairWeights, key: PRNGKeyArray) -> tuple:
    """Pairs by their weights, from a key that is always the same."""
    return weights.rows(weights.draw, jax.random.split(key, CANDIDATE_PAIRS))


def _distance(ours: np.ndarray, other: np.ndarray) -> float:
    return float(np.linalg.norm(ours - other) / max(np.linalg.norm(other), np.finfo(other.dtype).tiny))


def _called(function: Callable[[Array], Array], inputs: Float[np.ndarray, "points inputs"]) -> np.ndarray:
    """What it makes of the inputs, so many rows at a time that it is compiled once for all numbers of ratios."""
    rows = np.arange(-(-len(inputs) // CALLED_ROWS) * CALLED_ROWS) % len(inputs)  # the last are filled up
    parts = (on_device(inputs[some]) for some in rows.reshape(-1, CALLED_ROWS))
    return np.concatenate([np.asarray(function(part)) for part in parts])[: len(inputs)]


def _moment(
    nodes: Nodes, pilot: tuple[np.ndarray, np.ndarray], features: FeatureMap, truth: Truth | None
) -> np.ndarray:
    """The means over the pilot pairs and the ratios, of some features if they are many."""
    first, second = pilot
    lam, weights = nodes
    ratio = lam.astype(first.dtype)[:, None, None]
    inputs = (ratio * first[None] + (1 - ratio) * second[None]).reshape(-1, first.shape[1])
    phi = _called(features, inputs)
    phi = phi[:, :: -(-phi.shape[1] // PILOT_FEATURES)]
    beside = [phi, np.ones((len(phi), 1)), np.repeat(lam, len(first))[:, None]]
    if truth is not None:
        # In units of its size at the originals, which has nothing to do with the ratios.
        size = np.sqrt(np.mean(_called(truth, first) ** 2))
        beside.append(_called(truth, inputs).reshape(len(phi), -1) / max(size, np.finfo(phi.dtype).tiny))
    return (np.repeat(weights / len(first), len(first))[:, None] * phi).T @ np.concatenate(beside, axis=1)
