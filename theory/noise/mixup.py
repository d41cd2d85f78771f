"""The label noise that Mixup makes, exactly.

Mixing interpolates labels; the truth need not lie on the line between them:

    z(x, x', lam) = lam f(x) + (1 - lam) f(x') - f(lam x + (1 - lam) x').

z is a function of the inputs, not of chance: zero where f is affine, positive where f is convex, of size
lam (1 - lam) |x - x'|^2 times half a second derivative in between. Where labels are mixed at a ratio of their own, that
stands in the place of the first two lam, and an affine truth makes noise as well.

Source of the setting: Liu, Wang, Guo, Mao (2023), `liu2023overtraining`; more in ``docs/label_noise.md``.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from theory.checks import check_not_negative, check_share, is_traced

Inputs = Float[Array, "pairs inputs"]
Truth = Callable[[Inputs], Array]
Ratio = float | Float[Array, ""] | Float[Array, "pairs"]
Constant = float | Float[Array, ""]


def mixup_noise(truth: Truth, inputs: Inputs, others: Inputs, lam: Ratio, *, label_lam: Ratio | None = None) -> Array:
    """z = lam f(x) + (1 - lam) f(x') - f(lam x + (1 - lam) x'), pair by pair.

    Args:
        truth: f.
        inputs: x.
        others: x'.
        lam: the ratio, or one a pair.
        label_lam: that of the labels, if it is another: z = label_lam f(x) + (1 - label_lam) f(x') - f(x~).

    >>> pair = jnp.asarray([[0.0]]), jnp.asarray([[2.0]])
    >>> square = lambda x: x[:, 0] ** 2
    >>> mixup_noise(square, *pair, 0.5).tolist(), mixup_noise(square, *pair, 0.5, label_lam=0.0).tolist()
    ([1.0], [3.0])
    """
    at_first, at_second = truth(inputs), truth(others)
    mixed = mix(inputs, others, lam)
    return mix(at_first, at_second, lam if label_lam is None else label_lam) - truth(mixed)


def quadratic_noise(curvature: Float[Array, "inputs inputs"], inputs: Inputs, others: Inputs, lam: Ratio) -> Array:
    """z = lam (1 - lam) (x - x')ᵀ A (x - x') / 2 exactly, for f(x) = xᵀ A x / 2 + affine.

    >>> quadratic_noise(2 * jnp.eye(1), jnp.asarray([[0.0]]), jnp.asarray([[2.0]]), 0.5).tolist()
    [1.0]
    """
    gap = inputs - others
    return _ratio(lam) * jnp.sum(gap * (gap @ curvature), axis=1) / 2


def strong_convexity_lower(constant: Constant, inputs: Inputs, others: Inputs, lam: Ratio) -> Array:
    """z >= rho / 2 lam (1 - lam) |x - x'|^2 for a rho-strongly convex f; z >= 0 for a convex one (rho = 0).

    >>> strong_convexity_lower(2.0, jnp.asarray([[0.0]]), jnp.asarray([[2.0]]), 0.5).tolist()
    [1.0]
    """
    constant = check_not_negative("constant", constant)
    return constant / 2 * _ratio(lam) * jnp.sum((inputs - others) ** 2, axis=1)


def smoothness_upper(constant: Constant, inputs: Inputs, others: Inputs, lam: Ratio) -> Array:
    """|z| <= L / 2 lam (1 - lam) |x - x'|^2 where the gradient of f is L-Lipschitz.

    >>> smoothness_upper(2.0, jnp.asarray([[0.0]]), jnp.asarray([[2.0]]), 0.5).tolist()
    [1.0]
    """
    return strong_convexity_lower(constant, inputs, others, lam)


def lipschitz_upper(constant: Constant, inputs: Inputs, others: Inputs, lam: Ratio) -> Array:
    """|z| <= 2 K lam (1 - lam) |x - x'| for a K-Lipschitz f.

    >>> lipschitz_upper(1.0, jnp.asarray([[0.0]]), jnp.asarray([[2.0]]), 0.5).tolist()
    [1.0]
    """
    constant = check_not_negative("constant", constant)
    return 2 * constant * _ratio(lam) * jnp.linalg.norm(inputs - others, axis=1)


class CurvatureEstimate(NamedTuple):
    """Extremes of 2 z / (lam (1 - lam) |x - x'|^2) over pairs of data: an estimate, not a bound.

    No strong-convexity constant of f exceeds `lowest`; no smoothness constant is below the larger of |lowest| and
    |highest|. Pairs that were not looked at can only widen the range.
    """

    lowest: float
    highest: float


def estimate_curvature(truth: Truth, inputs: Inputs, others: Inputs, lam: Ratio = 0.5) -> CurvatureEstimate:
    """The range of second differences of f that the pairs at hand show.

    >>> estimate_curvature(lambda x: 3 * x[:, 0] ** 2, jnp.asarray([[0.0], [1.0]]), jnp.asarray([[2.0], [4.0]]))
    CurvatureEstimate(lowest=6.0, highest=6.0)
    """
    distance = jnp.sum((inputs - others) ** 2, axis=1)
    if not bool(jnp.any(distance > 0)):
        raise ValueError("inputs: every pair is one point twice; pass pairs of different points")
    apart = distance > 0
    noise = mixup_noise(truth, inputs, others, lam)
    quotient = 2 * noise / jnp.where(apart, _ratio(lam) * distance, 1)
    lowest, highest = jnp.min(quotient, where=apart, initial=jnp.inf), jnp.max(quotient, where=apart, initial=-jnp.inf)
    return CurvatureEstimate(float(lowest), float(highest))


def mix(first: Array, second: Array, lam: Ratio) -> Array:
    share = _share(lam).astype(first.dtype)
    share = share.reshape(share.shape + (1,) * (first.ndim - share.ndim)) if share.ndim else share
    return share * first + (1 - share) * second


def _ratio(lam: Ratio) -> Array:
    share = _share(lam)
    return share * (1 - share)


def _share(lam: Ratio) -> Array:
    share = jnp.asarray(lam)
    if is_traced(share):
        return check_share("lam", share)
    if not bool(jnp.all((share >= 0) & (share <= 1))):  # NaN is not
        raise ValueError(f"lam: must lie in [0, 1], got {lam}")
    return share
