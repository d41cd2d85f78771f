"""Moments of Mixup's label noise over Gaussian inputs, at one ratio or over a law of ratios.

They follow from the overlaps E f(a g) f(b g') of the truth with itself at correlated inputs: lam x + (1 - lam) x' is
again Gaussian, of norm factor sqrt(lam^2 + (1 - lam)^2) and correlated with both parents. Derived here
(``docs/label_noise.md``).
"""

from collections.abc import Callable, Sequence
from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
from jaxtyping import Array, Float, Int

from theory.checks import check_alpha, check_not_negative, check_untraced, untraced


def passed_on_covariance(
    first: Int[Array, "rows"],
    second: Int[Array, "rows"],
    lam: Float[Array, "rows"],
    label_noise_variance: float | Float[Array, ""],
) -> Float[Array, "rows rows"]:
    """Covariance of what mixing passes on of the originals' own label noise, lam e_i + (1 - lam) e_j.

    Rows that share a parent are correlated: the covariance is variance * M Mᵀ with the mixing matrix M.

    >>> passed_on_covariance(jnp.asarray([0, 0]), jnp.asarray([1, 2]), jnp.asarray([0.5, 0.5]), 4.0).tolist()
    [[2.0, 1.0], [1.0, 2.0]]
    """
    variance = check_not_negative("label_noise_variance", label_noise_variance)
    same = [[(a[:, None] == b[None, :]) for b in (first, second)] for a in (first, second)]
    shares = (lam, 1 - lam)
    shared = [same[i][j] * jnp.outer(shares[i], shares[j]) for i in range(2) for j in range(2)]
    return variance * jnp.sum(jnp.stack(shared), axis=0)


class NoiseMoments(eqx.Module):
    """Moments of z over pairs of inputs, at one ratio or averaged over a law of ratios; of each target by itself.

    Attributes:
        mean: E z.
        power: E z^2.
        truth_power: E f(x~)^2, of the truth at the mixed input.
        truth_product: E z f(x~).
        truth_mean: E f(x~).
    """

    mean: Float[Array, "*targets"]
    power: Float[Array, "*targets"]
    truth_power: Float[Array, "*targets"]
    truth_product: Float[Array, "*targets"]
    truth_mean: Float[Array, "*targets"]

    @staticmethod
    def average(parts: "Sequence[NoiseMoments]", weights: Float[np.ndarray, "parts"]) -> "NoiseMoments":
        """Their mean under weights of sum one, such as those of ratios."""
        return jax.tree.map(lambda *values: jnp.tensordot(jnp.asarray(weights), jnp.stack(values), 1), *parts)

    @property
    def variance(self) -> Float[Array, "*targets"]:
        """Var z."""
        return self.power - self.mean**2

    @property
    def correlation(self) -> Float[Array, "*targets"]:
        """The correlation of z with f(x~): negative where mixing pulls labels to the middle."""
        covariance = self.truth_product - self.mean * self.truth_mean
        scale = jnp.sqrt(self.variance * (self.truth_power - self.truth_mean**2))
        return jnp.where(scale > 0, covariance / jnp.where(scale > 0, scale, 1), 0)


Overlap = Callable[[float, float, float], Float[Array, ""]]
Mean = Callable[[float], Float[Array, ""]]
Nodes = tuple[Float[np.ndarray, "nodes"], Float[np.ndarray, "nodes"]]


def noise_moments(overlap: Overlap, mean: Mean, lam: float, label_lam: float | None = None) -> NoiseMoments:
    """The moments of z at a fixed ratio, for independent standard normal x and x'.

    With s^2 = lam^2 + (1 - lam)^2, l the ratio of the labels, F = E f(x)^2, F_s = E f(x~)^2 and O(c) = E f(x) f(x~) at
    correlation c,

        E z^2 = (l^2 + (1 - l)^2) F + F_s + 2 l (1 - l) (E f)^2 - 2 l O(lam / s) - 2 (1 - l) O((1 - lam) / s).

    Args:
        overlap: (a, b, c) -> E f(a g) f(b g'), g and g' standard normal of correlation c, entry by entry.
        mean: a -> E f(a g).
        lam: in [0, 1].
        label_lam: l, in [0, 1]; None for lam.

    >>> moments = noise_moments(lambda a, b, c: jnp.asarray(a * b * c), lambda a: jnp.asarray(0.0), 0.3)  # f(x) = x
    >>> abs(float(moments.power)) < 1e-15
    True
    """
    share = lam if label_lam is None else label_lam
    check_untraced(lam=lam, label_lam=share)
    for name, ratio in (("lam", lam), ("label_lam", share)):
        if not 0 <= ratio <= 1:
            raise ValueError(f"{name}: must lie in [0, 1], got {ratio}")
    other = 1 - lam
    norm = float(np.hypot(lam, other))
    mixed_power = overlap(norm, norm, 1.0)
    with_parents = share * overlap(1.0, norm, lam / norm) + (1 - share) * overlap(1.0, norm, other / norm)
    mean_truth, mean_mixed = mean(1.0), mean(norm)
    same, crossed = share**2 + (1 - share) ** 2, 2 * share * (1 - share)
    power = same * overlap(1.0, 1.0, 1.0) + mixed_power + crossed * mean_truth**2 - 2 * with_parents
    return NoiseMoments(mean_truth - mean_mixed, power, mixed_power, with_parents - mixed_power, mean_mixed)


def beta_noise_moments(
    overlap: Overlap, mean: Mean, alpha: float, *, num_nodes: int = 32, label_ratios: Nodes | None = None
) -> NoiseMoments:
    """The moments of z over lam ~ Beta(alpha, alpha), by Gauss-Jacobi quadrature of `noise_moments`.

    Args:
        overlap: as there.
        mean: as there.
        alpha: of the Beta distribution.
        num_nodes: of the quadrature.
        label_ratios: ratios of the labels' own, and their probabilities; None for lam.

    >>> moments = beta_noise_moments(lambda a, b, c: jnp.asarray(a * b * c), lambda a: jnp.asarray(0.0), 0.5)
    >>> abs(float(moments.power)) < 1e-14
    True
    """
    ratios, weights = beta_quadrature(alpha, num_nodes)
    half = ratios <= 0.5  # z(x, x', lam) = z(x', x, 1 - lam): the upper half repeats the lower
    fold = np.where(ratios[half] < 0.5, 2, 1) * weights[half]
    overlap, mean = cache(overlap), cache(mean)  # those of the truth itself are of every ratio
    if label_ratios is None:
        return NoiseMoments.average([noise_moments(overlap, mean, float(lam)) for lam in ratios[half]], fold)
    shares, chances = label_ratios
    both = np.concatenate([shares, 1 - shares]), np.concatenate([chances, chances]) / 2  # those of the upper half too
    pairs = [(float(lam), float(share)) for lam in ratios[half] for share in both[0]]
    parts = [noise_moments(overlap, mean, *pair) for pair in pairs]
    return NoiseMoments.average(parts, np.outer(fold, both[1]).ravel())


@untraced
def beta_quadrature(alpha: float, num_nodes: int) -> tuple[Float[np.ndarray, "nodes"], Float[np.ndarray, "nodes"]]:
    """Gauss-Jacobi nodes and weights of Beta(alpha, alpha) on [0, 1], exact for polynomials of degree 2 num_nodes - 1.

    >>> ratios, weights = beta_quadrature(1.0, 3)
    >>> round(float(weights @ ratios**2), 12)
    0.333333333333
    """
    check_alpha("alpha", alpha)
    nodes, weights = scipy.special.roots_jacobi(num_nodes, alpha - 1, alpha - 1)
    return (1 + nodes) / 2, weights / weights.sum()
