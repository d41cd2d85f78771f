"""Risk curves in closed form: clean + noise + cross, in total and by eigenmode.

The weights at time t are linear in the labels. So the labels' split y = y* + z into clean labels and label noise splits
the weights, theta = theta_clean + theta_noise, and the risk R = E (f - theta . phi)^2 with them:

    clean = E (f - theta_clean . phi)^2              falls: the pattern is learnt
    noise = E (theta_noise . phi)^2                  rises: the noise that mixing made is learnt
    cross = -2 E (f - theta_clean . phi)(theta_noise . phi)

Fast modes finish with the first before slow modes begin with the second, hence the U. In the coordinates of the modes,
u_k = residual_k (Uᵀ theta_0)_k + gain_k sqrt(mu_k) a_k.

Source: the setting is Liu, Wang, Guo, Mao (2023), `liu2023overtraining`; the split and the modes are derived here.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from theory.filters import Rule
from theory.population import Averages, RiskParts
from theory.spectrum import Spectrum

Times = Float[Array, "times"]


class Start(eqx.Module):
    """Where training starts: theta_0 = `weights` + random weights of variance `variance`, averaged over exactly.

    Attributes:
        weights: the mean of theta_0; None for zero.
        variance: xi^2, the variance of each independent entry of theta_0 about that mean.
    """

    weights: Float[Array, "features targets"] | None = None
    variance: float | Float[Array, ""] = 0.0


def weights(
    spectrum: Spectrum, rule: Rule, t: Times, start: Start | None = None
) -> Float[Array, "features times targets"]:
    """The (mean) weights theta_t.

    >>> import jax.numpy as jnp, theory
    >>> spectrum = theory.decompose(jnp.eye(2), jnp.asarray([2.0, 4.0]))
    >>> weights(spectrum, theory.GradientFlow(), jnp.asarray([0.0, jnp.inf]))[:, :, 0].round(4).tolist()
    [[0.0, 2.0], [0.0, 4.0]]
    """
    learnt = jnp.tensordot(spectrum.modes, _learnt(spectrum, rule, t, spectrum.label_coordinates), 1)
    remaining = _remaining(spectrum, rule, t, start)
    return learnt if remaining is None else learnt + remaining


def noise_weights(spectrum: Spectrum, rule: Rule, t: Times) -> Float[Array, "features times targets"]:
    """The part of the weights that learnt the label noise z = y - y*, from zero."""
    return jnp.tensordot(spectrum.modes, _learnt(spectrum, rule, t, spectrum.noise_coordinates), 1)


def risk_parts(spectrum: Spectrum, averages: Averages, rule: Rule, t: Times, start: Start | None = None) -> RiskParts:
    """The expected risk at the given times (steps, for a rule that counts them), by target, and its split.

    Works under ``jit``, ``vmap`` and ``grad``. The parts are None where the spectrum holds no clean labels.

    Returns:
        RiskParts of shape [times, targets]; unit: that of the targets, squared.

    >>> import jax.numpy as jnp, theory
    >>> spectrum = theory.decompose(jnp.eye(2), jnp.asarray([2.0, 4.0]), jnp.asarray([2.0, 3.0]))
    >>> test = theory.TestSet(jnp.eye(2), jnp.asarray([2.0, 3.0]))
    >>> parts = risk_parts(spectrum, test, theory.GradientFlow(), jnp.asarray([0.0, jnp.inf]))
    >>> parts.risk[:, 0].tolist(), parts.noise[:, 0].tolist()
    ([6.5, 0.5], [0.0, 0.5])
    """
    noise = None if spectrum.clean_coordinates is None else noise_weights(spectrum, rule, t)
    parts = averages.risk_parts(weights(spectrum, rule, t, start), noise)
    if start is None or _is_zero(start.variance):
        return parts
    spread = start.variance * _remaining_power(spectrum, averages, rule, t)[:, None]
    clean = None if parts.clean is None else parts.clean + spread
    return RiskParts(parts.risk + spread, clean, parts.noise, parts.cross)


def train_loss(spectrum: Spectrum, rule: Rule, t: Times, start: Start | None = None) -> Float[Array, "times targets"]:
    """|Phi theta_t - y|^2 / (2 m) in expectation over the start, the part outside the range of Phi included.

    The penalty ridge |theta|^2 / 2 is not counted.

    >>> import jax.numpy as jnp, theory
    >>> spectrum = theory.decompose(jnp.asarray([[1.0], [0.0]]), jnp.asarray([1.0, 1.0]))
    >>> train_loss(spectrum, theory.GradientFlow(), jnp.asarray([0.0, jnp.inf]))[:, 0].round(6).tolist()
    [0.5, 0.25]
    """
    residual = rule.residual(spectrum.eigenvalues, t)
    # 1 - mu gain, without the cancellation
    unfitted = residual + rule.ridge * rule.gain(spectrum.eigenvalues, t)
    singular = jnp.sqrt(spectrum.eigenvalues)
    error = unfitted[:, :, None] * spectrum.label_coordinates[None, :, :]
    if start is not None and start.weights is not None:
        error = error - (singular[None, :] * residual)[:, :, None] * (spectrum.modes.T @ start.weights)[None, :, :]
    loss = (jnp.sum(error**2, axis=1) + spectrum.label_outside[None, :]) / 2
    if start is None or _is_zero(start.variance):
        return loss
    return loss + start.variance / 2 * jnp.sum((singular[None, :] * residual) ** 2, axis=1)[:, None]


class ModeRisk(eqx.Module):
    """What each mode contributes to the risk, summed over targets.

    Summed over modes, `noise` and `cross` are the noise and the cross risk, and `clean` is the clean risk less the risk
    of predicting zero, E f^2 (for a start at zero): a mode that has learnt its share of the pattern is negative. Modes
    are correlated over the population, so one mode may be negative in `noise`.

    Attributes:
        eigenvalues: mu, descending.
        clean: -E (u_k . phi) theta_k (2 f - theta_clean . phi).
        noise: E (u_k . phi) theta_noise_k (theta_noise . phi).
        cross: -2 E (u_k . phi) theta_noise_k (f - theta_clean . phi).
    """

    eigenvalues: Float[Array, "modes"]
    clean: Float[Array, "times modes"]
    noise: Float[Array, "times modes"]
    cross: Float[Array, "times modes"]


def mode_risk(spectrum: Spectrum, averages: Averages, rule: Rule, t: Times, start: Start | None = None) -> ModeRisk:
    """Which modes fit the pattern, which the label noise, and when.

    Raises:
        ValueError: the spectrum holds no clean labels.
    """
    noise_coordinates = _learnt(spectrum, rule, t, spectrum.noise_coordinates)
    noise = jnp.tensordot(spectrum.modes, noise_coordinates, 1)
    clean = weights(spectrum, rule, t, start) - noise
    clean_coordinates = jnp.tensordot(spectrum.modes.T, clean, 1)
    error = averages.mode_moment(spectrum.modes, clean, with_target=True)
    target = averages.mode_moment(spectrum.modes, jnp.zeros_like(clean[:, :1]), with_target=True)
    fitted_noise = averages.mode_moment(spectrum.modes, -noise, with_target=False)
    return ModeRisk(
        spectrum.eigenvalues,
        -jnp.sum(clean_coordinates * (error + target), axis=2).T,
        jnp.sum(noise_coordinates * fitted_noise, axis=2).T,
        -2 * jnp.sum(noise_coordinates * error, axis=2).T,
    )


def _learnt(
    spectrum: Spectrum, rule: Rule, t: Times, coordinates: Float[Array, "modes targets"]
) -> Float[Array, "modes times targets"]:
    """What the force of the labels has moved: gain * sqrt(mu) a."""
    force = jnp.sqrt(spectrum.eigenvalues)[:, None] * coordinates
    return rule.gain(spectrum.eigenvalues, t).T[:, :, None] * force[:, None, :]


def _remaining(
    spectrum: Spectrum, rule: Rule, t: Times, start: Start | None
) -> Float[Array, "features times targets"] | None:
    """What is left of the start's weights; outside all modes they only feel the ridge."""
    if start is None or start.weights is None:
        return None
    coordinates = spectrum.modes.T @ start.weights
    outside = start.weights - spectrum.modes @ coordinates
    kept = rule.residual(spectrum.eigenvalues, t).T[:, :, None] * coordinates[:, None, :]
    kept_outside = _null_residual(spectrum, rule, t)
    return jnp.tensordot(spectrum.modes, kept, 1) + kept_outside[None, :, None] * outside[:, None, :]


def _remaining_power(spectrum: Spectrum, averages: Averages, rule: Rule, t: Times) -> Float[Array, "times"]:
    """tr(C r_t^2), the risk of what is left of a start of unit variance."""
    power = averages.mode_power(spectrum.modes)
    outside = averages.power - jnp.sum(power)
    if spectrum.modes.shape[1] == spectrum.modes.shape[0]:
        outside = jnp.zeros_like(outside)
    return rule.residual(spectrum.eigenvalues, t) ** 2 @ power + _null_residual(spectrum, rule, t) ** 2 * outside


def _null_residual(spectrum: Spectrum, rule: Rule, t: Times) -> Float[Array, "times"]:
    return rule.residual(jnp.zeros_like(spectrum.eigenvalues[:1]), t)[:, 0]


def _is_zero(variance: float | Array) -> bool:
    return isinstance(variance, float | int) and variance == 0
