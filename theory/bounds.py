"""Bounds of the literature on what over-training costs, one function each, and how loose they are.

A bound is honest company for an exact curve: plotted beside it, it shows what the argument behind it gives away.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from theory.checks import check_not_negative
from theory.population import Averages
from theory.risk import Start, check_start, risk_parts
from theory.rules.rule import Rule, compiled
from theory.spectrum import Spectrum


class RiskBound(eqx.Module):
    """A bound on R_t - R*, along a curve.

    Attributes:
        bound: R_t - R* is at most this.
        excess: R_t - R*, exactly.
        reference_risk: R*, the risk of theta* = pinv(Phi) y*.
        feature_bound: C1, twice the largest |phi|^2 that was allowed for.
        noise_bound: C2, the largest z^2 that was allowed for.
    """

    bound: Float[Array, "times"]
    excess: Float[Array, "times"]
    reference_risk: Float[Array, ""]
    feature_bound: Float[Array, ""]
    noise_bound: Float[Array, ""]

    @property
    def looseness(self) -> Float[Array, "times"]:
        """Bound / |excess|."""
        return self.bound / jnp.abs(self.excess)


def liu2023_risk_bound(
    spectrum: Spectrum,
    averages: Averages,
    rule: Rule,
    t: Float[Array, "times"],
    *,
    largest_feature_power: float | Float[Array, ""],
    largest_noise: float | Float[Array, ""],
    start: Start | None = None,
) -> RiskBound:
    """The bound of `liu2023overtraining` on the expected risk under gradient flow, null modes handled.

    With |phi(x)|^2 <= C1 / 2, |z| <= sqrt(C2) and theta_0 ~ N(0, xi^2 I),

        R_t - R* <= C1 sum_k [(xi^2 + theta*_k^2) exp(-2 mu_k t) + (C2 / mu_k) (1 - exp(-mu_k t))^2]
                    + 2 sqrt(C1 R* zeta),
        zeta      = sum_k max(xi^2 + theta*_k^2, C2 / mu_k).

    On a null mode only xi^2 is left, and zeta's maximum runs over the range. The second term grows as 1/mu_k, so the
    bound is loose wherever small eigenvalues are, and it is valid.

    Args:
        spectrum: with clean labels.
        averages: the population of R.
        rule: gradient flow; a discrete rule's residual and gain enter in its place.
        t: times.
        largest_feature_power: the largest |phi(x)|^2 over the population.
        largest_noise: the largest |z| over the training rows.
        start: its variance is xi^2; it has no weights and no spread.

    Raises:
        ValueError: clean labels are unknown, a constant is negative, or the start has weights or a spread.

    >>> import theory
    >>> spectrum = theory.decompose(jnp.eye(2), jnp.asarray([2.0, 4.0]), jnp.asarray([2.0, 3.0]))
    >>> test = theory.TestSet(jnp.eye(2), jnp.asarray([2.0, 3.0]))
    >>> flow, late = theory.GradientFlow(), jnp.asarray([50.0])
    >>> bounded = liu2023_risk_bound(spectrum, test, flow, late, largest_feature_power=1.0, largest_noise=1.0)
    >>> bounded.excess.round(6).tolist(), bounded.bound.round(6).tolist()
    ([0.5], [8.0])
    """
    check_start(start)
    if spectrum.clean_coordinates is None:
        raise ValueError("spectrum: holds no clean labels; pass clean_labels= to decompose")
    if start is not None and not (start.weights is None and start.spread is None):
        raise ValueError("start: the bound is for theta_0 ~ N(0, xi^2 I); pass a Start with a variance alone")
    feature_power = jnp.asarray(check_not_negative("largest_feature_power", largest_feature_power))
    noise = jnp.asarray(check_not_negative("largest_noise", largest_noise))
    return _liu2023(spectrum, spectrum.clean_coordinates, averages, rule, t, start, feature_power, noise)


@compiled
def _liu2023(
    spectrum: Spectrum,
    clean_coordinates: Float[Array, "modes targets"],
    averages: Averages,
    rule: Rule,
    t: Float[Array, "times"],
    start: Start | None,
    largest_feature_power: Float[Array, ""],
    largest_noise: Float[Array, ""],
) -> RiskBound:
    variance = 0.0 if start is None else clean_coordinates.shape[1] * start.variance  # each target has its own
    feature_bound, noise_bound = 2 * largest_feature_power, largest_noise**2
    in_range = spectrum.eigenvalues > spectrum.rank_cut
    eigenvalues = jnp.where(in_range, spectrum.eigenvalues, 1)
    reference = jnp.where(in_range[:, None], clean_coordinates / jnp.sqrt(eigenvalues)[:, None], 0)
    start_power = variance + jnp.sum(reference**2, axis=1)
    noise_power = jnp.where(in_range, noise_bound / eigenvalues, 0)
    null_modes = spectrum.modes.shape[0] - jnp.sum(in_range)
    residual = jnp.where(in_range[None, :], rule.residual(spectrum.eigenvalues, t), 0)
    fitted = jnp.where(in_range[None, :], 1 - residual, 0)
    drift = residual**2 @ jnp.where(in_range, start_power, 0) + fitted**2 @ noise_power + null_modes * variance
    zeta = jnp.sum(jnp.where(in_range, jnp.maximum(start_power, noise_power), 0)) + null_modes * variance
    reference_weights = (spectrum.modes @ reference)[:, None, :]
    reference_risk = jnp.sum(averages.risk_parts(reference_weights, None).risk)
    bound = feature_bound * drift + 2 * jnp.sqrt(feature_bound * reference_risk * zeta)
    risk = jnp.sum(risk_parts(spectrum, averages, rule, t, start).risk, axis=1)
    return RiskBound(bound, risk - reference_risk, reference_risk, feature_bound, noise_bound)


def bounded_noise_risk(
    spectrum: Spectrum, averages: Averages, rule: Rule, t: Float[Array, "times"], *, noise_power: float | Array
) -> Float[Array, "times"]:
    """The largest noise risk that any label noise of that mean square can cause at t: the classical variance bound.

        noise_t <= noise_power * largest eigenvalue of M_tᵀ C M_t,    M_t = U diag(gain_t sqrt(mu)),

    attained by noise along the leading eigenvector. No distribution of the noise is assumed, so it holds for Mixup's,
    which depends on the data.

    Args:
        spectrum: of the problem.
        averages: the population of the risk.
        rule: of training.
        t: times, or steps.
        noise_power: the mean square of z over the training rows, |z|^2 / m.

    >>> import theory
    >>> spectrum = theory.decompose(jnp.eye(2), jnp.asarray([2.0, 4.0]), jnp.asarray([2.0, 3.0]))
    >>> test = theory.TestSet(jnp.eye(2), jnp.asarray([2.0, 3.0]))
    >>> late = jnp.asarray([50.0])
    >>> bounded_noise_risk(spectrum, test, theory.GradientFlow(), late, noise_power=0.5).round(6).tolist()
    [0.5]
    """
    noise_power = check_not_negative("noise_power", noise_power)
    return noise_power * _largest_noise_risk(spectrum, averages, rule, t)


@compiled
def _largest_noise_risk(
    spectrum: Spectrum, averages: Averages, rule: Rule, t: Float[Array, "times"]
) -> Float[Array, "times"]:
    """Of noise of mean square one."""
    reach = jnp.sqrt(spectrum.eigenvalues)[None, :] * rule.gain(spectrum.eigenvalues, t)
    moment = averages.mode_moment(spectrum.modes, -spectrum.modes[:, :, None], with_target=False)[:, :, 0]
    scaled = reach[:, :, None] * moment[None, :, :] * reach[:, None, :]
    return jnp.linalg.eigvalsh(scaled)[:, -1]
