"""The label noise that Mixup makes, exactly.

Mixing interpolates labels; the truth need not lie on the line between them:

    z(x, x', lam) = lam f(x) + (1 - lam) f(x') - f(lam x + (1 - lam) x').

z is a function of the inputs, not of chance: zero where f is affine, positive where f is convex, of size
lam (1 - lam) |x - x'|^2 times half a second derivative in between. For Gaussian inputs its moments follow from the
overlaps E f(a g) f(b g') of the truth with itself at correlated inputs: lam x + (1 - lam) x' is again Gaussian, of
norm factor sqrt(lam^2 + (1 - lam)^2) and correlated with both parents.

Source of the setting and of the classification bounds: Liu, Wang, Guo, Mao (2023), `liu2023overtraining`; the moments
are derived here (``docs/label_noise.md``).
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import scipy.special
from jaxtyping import Array, Float, Int

from theory.checks import check_alpha, check_finite, check_not_negative, check_untraced, untraced
from theory.linalg import is_traced
from theory.spectrum import Spectrum

Inputs = Float[Array, "pairs inputs"]
Truth = Callable[[Inputs], Array]
Ratio = float | Float[Array, ""] | Float[Array, "pairs"]
Constant = float | Float[Array, ""]


def mixup_noise(truth: Truth, inputs: Inputs, others: Inputs, lam: Ratio) -> Array:
    """z = lam f(x) + (1 - lam) f(x') - f(lam x + (1 - lam) x'), pair by pair.

    >>> mixup_noise(lambda x: x[:, 0] ** 2, jnp.asarray([[0.0]]), jnp.asarray([[2.0]]), 0.5).tolist()
    [1.0]
    """
    at_first, at_second = truth(inputs), truth(others)
    mixed = _mix(inputs, others, lam)
    return _mix(at_first, at_second, lam) - truth(mixed)


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
    check_not_negative("constant", constant)
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
    check_not_negative("constant", constant)
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


def passed_on_covariance(
    first: Int[Array, "rows"], second: Int[Array, "rows"], lam: Float[Array, "rows"], label_noise_variance: float
) -> Float[Array, "rows rows"]:
    """Covariance of what mixing passes on of the originals' own label noise, lam e_i + (1 - lam) e_j.

    Rows that share a parent are correlated: the covariance is variance * M Mᵀ with the mixing matrix M.

    >>> passed_on_covariance(jnp.asarray([0, 0]), jnp.asarray([1, 2]), jnp.asarray([0.5, 0.5]), 4.0).tolist()
    [[2.0, 1.0], [1.0, 2.0]]
    """
    check_not_negative("label_noise_variance", label_noise_variance)
    same = [[(a[:, None] == b[None, :]) for b in (first, second)] for a in (first, second)]
    shares = (lam, 1 - lam)
    shared = [same[i][j] * jnp.outer(shares[i], shares[j]) for i in range(2) for j in range(2)]
    return label_noise_variance * jnp.sum(jnp.stack(shared), axis=0)


class NoiseMoments(eqx.Module):
    """Moments of z over independent standard normal x and x', at one ratio or averaged over a law of ratios.

    Attributes:
        mean: E z.
        power: E z^2.
        truth_power: E f(x~)^2, of the truth at the mixed input.
        truth_product: E z f(x~).
        truth_mean: E f(x~).
    """

    mean: Float[Array, ""]
    power: Float[Array, ""]
    truth_power: Float[Array, ""]
    truth_product: Float[Array, ""]
    truth_mean: Float[Array, ""]

    @property
    def variance(self) -> Float[Array, ""]:
        """Var z."""
        return self.power - self.mean**2

    @property
    def correlation(self) -> Float[Array, ""]:
        """The correlation of z with f(x~): negative where mixing pulls labels to the middle."""
        covariance = self.truth_product - self.mean * self.truth_mean
        scale = jnp.sqrt(self.variance * (self.truth_power - self.truth_mean**2))
        return jnp.where(scale > 0, covariance / jnp.where(scale > 0, scale, 1), 0)


Overlap = Callable[[float, float, float], Float[Array, ""]]
Mean = Callable[[float], Float[Array, ""]]


def noise_moments(overlap: Overlap, mean: Mean, lam: float) -> NoiseMoments:
    """The moments of z at a fixed ratio, for Gaussian inputs.

    With s^2 = lam^2 + (1 - lam)^2, F = E f(x)^2, F_s = E f(x~)^2 and O(c) = E f(x) f(x~) at correlation c,

        E z^2 = s^2 F + F_s + 2 lam (1 - lam) (E f)^2 - 2 lam O(lam / s) - 2 (1 - lam) O((1 - lam) / s).

    Args:
        overlap: (a, b, c) -> E f(a g) f(b g'), g and g' standard normal of correlation c, entry by entry.
        mean: a -> E f(a g).
        lam: in [0, 1].

    >>> moments = noise_moments(lambda a, b, c: jnp.asarray(a * b * c), lambda a: jnp.asarray(0.0), 0.3)  # f(x) = x
    >>> abs(float(moments.power)) < 1e-15
    True
    """
    check_untraced(lam=lam)
    if not 0 <= lam <= 1:
        raise ValueError(f"lam: must lie in [0, 1], got {lam}")
    other = 1 - lam
    norm = float(np.hypot(lam, other))
    mixed_power = overlap(norm, norm, 1.0)
    with_parents = lam * overlap(1.0, norm, lam / norm) + other * overlap(1.0, norm, other / norm)
    mean_truth, mean_mixed = mean(1.0), mean(norm)
    power = norm**2 * overlap(1.0, 1.0, 1.0) + mixed_power + 2 * lam * other * mean_truth**2 - 2 * with_parents
    return NoiseMoments(mean_truth - mean_mixed, power, mixed_power, with_parents - mixed_power, mean_mixed)


def beta_noise_moments(overlap: Overlap, mean: Mean, alpha: float, *, num_nodes: int = 32) -> NoiseMoments:
    """The moments of z over lam ~ Beta(alpha, alpha), by Gauss-Jacobi quadrature of `noise_moments`.

    >>> moments = beta_noise_moments(lambda a, b, c: jnp.asarray(a * b * c), lambda a: jnp.asarray(0.0), 0.5)
    >>> abs(float(moments.power)) < 1e-14
    True
    """
    ratios, weights = beta_rule(alpha, num_nodes)
    half = ratios <= 0.5  # z(x, x', lam) = z(x', x, 1 - lam): the upper half repeats the lower
    fold = np.where(ratios[half] < 0.5, 2, 1) * weights[half]
    parts = [noise_moments(overlap, mean, float(lam)) for lam in ratios[half]]
    fields = [[getattr(part, name) for part in parts] for name in NoiseMoments.__dataclass_fields__]
    return NoiseMoments(*(jnp.dot(jnp.asarray(fold), jnp.stack(field)) for field in fields))


@untraced
def beta_rule(alpha: float, num_nodes: int) -> tuple[Float[np.ndarray, "nodes"], Float[np.ndarray, "nodes"]]:
    """Gauss-Jacobi nodes and weights of Beta(alpha, alpha) on [0, 1], exact for polynomials of degree 2 num_nodes - 1.

    >>> ratios, weights = beta_rule(1.0, 3)
    >>> round(float(weights @ ratios**2), 12)
    0.333333333333
    """
    check_alpha("alpha", alpha)
    nodes, weights = scipy.special.roots_jacobi(num_nodes, alpha - 1, alpha - 1)
    return (1 + nodes) / 2, weights / weights.sum()


class LabelSpectrum(eqx.Module):
    """How the labels' power spreads over the modes, summed over targets; unit: that of the labels, squared."""

    eigenvalues: Float[Array, "modes"]
    clean: Float[Array, "modes"]
    noise: Float[Array, "modes"]


def label_spectrum(spectrum: Spectrum) -> LabelSpectrum:
    """Which eigenmodes carry the clean labels and which the label noise.

    >>> import theory
    >>> spectrum = theory.decompose(jnp.eye(2), jnp.asarray([1.0, 3.0]), jnp.asarray([1.0, 1.0]))
    >>> sorted(label_spectrum(spectrum).noise.round(6).tolist())
    [0.0, 2.0]
    """
    noise = spectrum.noise_coordinates
    return LabelSpectrum(
        spectrum.eigenvalues, jnp.sum((spectrum.label_coordinates - noise) ** 2, axis=1), jnp.sum(noise**2, axis=1)
    )


Probabilities = Float[Array, "pairs classes"]


def mixed_probabilities(first: Probabilities, second: Probabilities, lam: Ratio) -> Probabilities:
    """P(Y~ = j) = lam f_j(x) + (1 - lam) f_j(x'), of Mixup's hard label.

    >>> mixed_probabilities(jnp.asarray([[1.0, 0.0]]), jnp.asarray([[0.0, 1.0]]), 0.25).tolist()
    [[0.25, 0.75]]
    """
    return _mix(check_probabilities("first", first), check_probabilities("second", second), lam)


def hard_label_error(mixed: Probabilities, truth: Probabilities) -> Float[Array, "pairs"]:
    """The probability that Mixup's hard label differs from one drawn independently from the truth at the mixed input.

    >>> hard_label_error(jnp.asarray([[0.5, 0.5]]), jnp.asarray([[1.0, 0.0]])).tolist()
    [0.5]
    """
    mixed, truth = check_probabilities("mixed", mixed), check_probabilities("truth", truth)
    return 1 - jnp.sum(mixed * truth, axis=1)


def total_variation_lower(mixed: Probabilities, truth: Probabilities) -> Float[Array, "pairs"]:
    """The least of that probability over all ways to draw the two labels together: their total-variation distance.

    >>> total_variation_lower(jnp.asarray([[0.5, 0.5]]), jnp.asarray([[1.0, 0.0]])).tolist()
    [0.5]
    """
    mixed, truth = check_probabilities("mixed", mixed), check_probabilities("truth", truth)
    return jnp.sum(jnp.abs(mixed - truth), axis=1) / 2


def liu2023_sup_lower(mixed: Probabilities, truth: Probabilities) -> Float[Array, "pairs"]:
    """sup_j |P(Y~ = j) - f_j(x~)| / 2, the weaker bound of `liu2023overtraining`.

    >>> liu2023_sup_lower(jnp.asarray([[0.5, 0.5]]), jnp.asarray([[1.0, 0.0]])).tolist()
    [0.25]
    """
    mixed, truth = check_probabilities("mixed", mixed), check_probabilities("truth", truth)
    return jnp.max(jnp.abs(mixed - truth), axis=1) / 2


def cross_entropy_floor(alpha: float, proportions: Float[Array, "classes"]) -> Float[Array, ""]:
    """The least Mixup cross-entropy that any predictor reaches on one-hot labels, in nats.

    Two samples differ in class with probability 1 - sum_c pi_c^2, and then the mixed label has the mean entropy
    psi(2 alpha + 1) - psi(alpha + 1); (C - 1) / (2 C) for balanced classes and alpha = 1. Source: `liu2023overtraining`
    for that case.

    >>> round(float(cross_entropy_floor(1.0, jnp.full(10, 0.1))), 6)
    0.45
    """
    check_alpha("alpha", alpha)
    proportions = check_probabilities("proportions", proportions[None, :])[0]
    entropy = scipy.special.digamma(2 * alpha + 1) - scipy.special.digamma(alpha + 1)
    return (1 - jnp.sum(proportions**2)) * entropy


def check_probabilities(name: str, probabilities: Probabilities) -> Probabilities:
    """Returns them; raises ValueError unless each row is not negative and sums to one."""
    check_finite(name, probabilities)
    if not is_traced(probabilities):
        sums = jnp.sum(probabilities, axis=1)
        worst = int(jnp.argmax(jnp.abs(sums - 1)))
        if abs(float(sums[worst]) - 1) > PROBABILITY_ROUNDING or float(jnp.min(probabilities)) < 0:
            raise ValueError(
                f"{name}: row {worst} sums to {float(sums[worst]):.6g}, and the smallest entry is "
                f"{float(jnp.min(probabilities)):.3g}; pass rows of probabilities, not negative and of sum one"
            )
    return probabilities


PROBABILITY_ROUNDING = 1e-5
"""How far a sum of float32 probabilities may be off one."""


def _mix(first: Array, second: Array, lam: Ratio) -> Array:
    share = _share(lam).astype(first.dtype)
    share = share.reshape(share.shape + (1,) * (first.ndim - share.ndim)) if share.ndim else share
    return share * first + (1 - share) * second


def _ratio(lam: Ratio) -> Array:
    share = _share(lam)
    return share * (1 - share)


def _share(lam: Ratio) -> Array:
    share = jnp.asarray(lam)
    if not is_traced(share) and not bool(jnp.all((share >= 0) & (share <= 1))):  # NaN is not
        raise ValueError(f"lam: must lie in [0, 1], got {lam}")
    return share
