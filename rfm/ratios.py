"""The law of Mixup's ratio as a handful of weighted ratios: Gauss-Jacobi quadrature, as fine as the features need.

Over lam ~ Beta(alpha, alpha), n nodes integrate polynomials of degree 2 n - 1 in lam exactly. Along the segment between
two inputs smooth features are nearly polynomials, and the error falls exponentially with n; features with kinks, such
as relu, fall as 1 / n^2 pair by pair, and the average over many pairs does better.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

import theory
from rfm.checks import check_count
from rfm.features import FeatureMap
from rfm.mixup import Mixup
from rfm.truths import Truth
from theory.checks import check_positive

COARSEST, FINEST = 4, 64
PILOT_PAIRS = 48
PILOT_FEATURES = 256
GOLDEN_RATIO = 0.6180339887498949
MIRRORED = 1e-14
"""Nodes are mirror images to a few roundings; a fixed ratio that is only near 1/2 is not."""
LEAST_TOLERANCE = 10
"""Roundings that two averages differ by, whatever the number of ratios."""


class RatioRule(eqx.Module):
    """Ratios and the probabilities that stand for their law.

    Attributes:
        lam: ascending, in [0, 1].
        weights: of sum one.
        error: relative, of the means of phi phiᵀ, phi, lam phi and f phi over some pairs, estimated by twice as many
            ratios; 0 for a fixed one. (Covariances of batches are of the fourth order in phi, and less exact.)
    """

    lam: Float[np.ndarray, "ratios"]
    weights: Float[np.ndarray, "ratios"]
    error: float

    @property
    def is_symmetric(self) -> bool:
        """Whether swapping the two of a pair, lam -> 1 - lam, changes nothing."""
        mirrored = np.concatenate([self.lam + self.lam[::-1] - 1, self.weights - self.weights[::-1]])
        return bool(np.max(np.abs(mirrored)) < MIRRORED)

    def __len__(self) -> int:
        return len(self.lam)


def ratio_rule(
    law: Mixup,
    inputs: Float[Array, "samples inputs"],
    features: FeatureMap,
    truth: Truth | None = None,
    *,
    num_ratios: int | None = None,
    tolerance: float = 1e-8,
) -> RatioRule:
    """The fewest ratios that integrate the features' second moment to the tolerance.

    Args:
        law: whose ratios.
        inputs: the originals; `PILOT_PAIRS` pairs of them, spread evenly, are tried.
        features: phi.
        truth: f, if it is known: the clean labels are integrated too.
        num_ratios: this many instead, and then only their error is estimated.
        tolerance: relative, but at least some roundings. Where even `FINEST` ratios miss it, those are returned, and
            their error says so.

    Raises:
        ValueError: a number of ratios that is not a positive whole number, or a tolerance that is not positive.

    >>> rule = ratio_rule(Mixup(alpha=1.0, pairs="expected"), jnp.eye(3), jnp.tanh)
    >>> len(rule), rule.error < 1e-8
    (8, True)
    """
    check_positive("tolerance", tolerance)
    if num_ratios is not None:
        check_count("num_ratios", num_ratios)
    if law.lam is not None:
        return RatioRule(np.asarray([law.lam]), np.ones(1), 0.0)
    alpha = law.alpha
    assert alpha is not None
    pilot = _pilot(inputs)
    tolerance = max(tolerance, LEAST_TOLERANCE * float(jnp.finfo(inputs.dtype).eps))
    number = COARSEST if num_ratios is None else num_ratios
    coarse = _moment(alpha, number, pilot, features, truth)
    while True:
        fine = _moment(alpha, 2 * number, pilot, features, truth)
        error = float(np.linalg.norm(coarse - fine) / max(np.linalg.norm(fine), np.finfo(fine.dtype).tiny))
        if num_ratios is not None or error <= tolerance or number >= FINEST:
            return RatioRule(*theory.beta_rule(alpha, number), error)
        number, coarse = 2 * number, fine


def spread_evenly(most: int, num_pairs: int) -> Int[np.ndarray, "pairs"]:
    """So many indices of pairs, or fewer, ascending.

    Steps of the golden ratio spread evenly over both originals of a pair, whatever their number.
    """
    return np.unique((np.arange(most) * GOLDEN_RATIO % 1 * num_pairs).astype(int))


def _pilot(inputs: Float[Array, "samples inputs"]) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of different originals, near ones and far ones, however the sample is sorted."""
    num_samples = inputs.shape[0]
    pairs = spread_evenly(2 * PILOT_PAIRS, num_samples**2)
    first, second = pairs // num_samples, pairs % num_samples
    different = np.flatnonzero(first != second)[:: -(-len(pairs) // PILOT_PAIRS)]
    there = np.asarray(inputs)
    return there[first[different]], there[second[different]]


def _moment(
    alpha: float, num_ratios: int, pilot: tuple[np.ndarray, np.ndarray], features: FeatureMap, truth: Truth | None
) -> np.ndarray:
    """The means over the pilot pairs and the ratios, of some features if they are many."""
    first, second = pilot
    lam, weights = theory.beta_rule(alpha, num_ratios)
    ratio = lam.astype(first.dtype)[:, None, None]
    inputs = jnp.asarray((ratio * first[None] + (1 - ratio) * second[None]).reshape(-1, first.shape[1]))
    phi = np.asarray(features(inputs))
    phi = phi[:, :: -(-phi.shape[1] // PILOT_FEATURES)]
    beside = [phi, np.ones((len(phi), 1)), np.repeat(lam, len(first))[:, None]]
    if truth is not None:
        # In units of its size at the originals, which has nothing to do with the ratios.
        size = np.sqrt(np.mean(np.asarray(truth(jnp.asarray(first))) ** 2))
        beside.append(np.asarray(truth(inputs)).reshape(len(phi), -1) / max(size, np.finfo(phi.dtype).tiny))
    return (np.repeat(weights / len(first), len(first))[:, None] * phi).T @ np.concatenate(beside, axis=1)
