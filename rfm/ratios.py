"""The law of Mixup's ratio as a handful of weighted ratios: Gauss-Jacobi quadrature, as fine as the features need.

Over lam ~ Beta(alpha, alpha), n nodes integrate polynomials of degree 2 n - 1 in lam exactly. Along the segment between
two inputs smooth features are nearly polynomials, and the error falls exponentially with n; features with kinks, such
as relu, fall as 1 / n^2 pair by pair, and the average over many pairs does better.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import theory
from rfm.checks import check_count, check_positive
from rfm.features import FeatureMap
from rfm.mixup import Mixup

COARSEST, FINEST = 4, 64
PILOT_PAIRS = 48
PILOT_FEATURES = 256


class RatioRule(eqx.Module):
    """Ratios and the probabilities that stand for their law.

    Attributes:
        lam: ascending, in [0, 1].
        weights: of sum one.
        error: relative, of the mean of phi phiᵀ over some pairs, estimated by twice as many ratios; 0 for a fixed one.
    """

    lam: Float[np.ndarray, "ratios"]
    weights: Float[np.ndarray, "ratios"]
    error: float

    @property
    def is_symmetric(self) -> bool:
        """Whether swapping the two of a pair, lam -> 1 - lam, changes nothing."""
        return bool(np.allclose(self.lam + self.lam[::-1], 1) and np.allclose(self.weights, self.weights[::-1]))

    def __len__(self) -> int:
        return len(self.lam)


def ratio_rule(
    law: Mixup,
    inputs: Float[Array, "samples inputs"],
    features: FeatureMap,
    *,
    num_ratios: int | None = None,
    tolerance: float = 1e-8,
) -> RatioRule:
    """The fewest ratios that integrate the features' second moment to the tolerance.

    Args:
        law: whose ratios.
        inputs: the originals; `PILOT_PAIRS` pairs of them, spread evenly, are tried.
        features: phi.
        num_ratios: this many instead, and then only their error is estimated.
        tolerance: relative. Where even `FINEST` ratios miss it, those are returned, and their error says so.

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
    number = COARSEST if num_ratios is None else num_ratios
    coarse = _moment(alpha, number, pilot, features)
    while True:
        fine = _moment(alpha, 2 * number, pilot, features)
        error = float(np.linalg.norm(coarse - fine) / max(np.linalg.norm(fine), np.finfo(fine.dtype).tiny))
        if num_ratios is not None or error <= tolerance or number >= FINEST:
            return RatioRule(*theory.beta_rule(alpha, number), error)
        number, coarse = 2 * number, fine


def _pilot(inputs: Float[Array, "samples inputs"]) -> tuple[Array, Array]:
    """Pairs of different originals, each of them first and second about equally often."""
    num_samples = inputs.shape[0]
    count = np.arange(min(PILOT_PAIRS, num_samples * (num_samples - 1)))
    first = (count * max(1, num_samples // PILOT_PAIRS)) % num_samples
    second = (first + 1 + count % (num_samples - 1)) % num_samples
    return inputs[first], inputs[second]


def _moment(alpha: float, num_ratios: int, pilot: tuple[Array, Array], features: FeatureMap) -> np.ndarray:
    """The mean over the pilot pairs and the ratios of phi phiᵀ, of phi, and of lam phi, some features of many."""
    first, second = pilot
    lam, weights = theory.beta_rule(alpha, num_ratios)
    ratio = jnp.asarray(lam, first.dtype)[:, None, None]
    phi = np.asarray(features((ratio * first[None] + (1 - ratio) * second[None]).reshape(-1, first.shape[1])))
    phi = phi[:, :: -(-phi.shape[1] // PILOT_FEATURES)]
    tall = np.repeat(weights / len(first), len(first))[:, None] * phi
    mixed = np.repeat(lam, len(first))[:, None]
    return np.concatenate([tall.T @ phi, tall.sum(axis=0)[None], (mixed * tall).sum(axis=0)[None]])
