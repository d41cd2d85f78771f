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

import functools

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from theory.checks import as_floating, check_finite, check_not_negative, check_real, check_type, trusted
from theory.population import Averages, RiskParts
from theory.rules.rule import Response, Rule, compiled
from theory.spectrum import Spectrum

Times = Float[Array, "times"]


class Start(eqx.Module):
    """Where training starts: theta_0 = `weights` + xi `spread` g, g standard normal and averaged over exactly.

    Attributes:
        weights: the mean of theta_0; None for zero.
        variance: xi^2, by default the variance of each independent entry of theta_0 about that mean.
        noise_weights: the part of `weights` that label noise has made, in an earlier phase of training; None for zero.
        spread: how independent draws enter the weights; None for the identity.
        error: a bound on what rounding has done to the weights before, in length.
    """

    weights: Float[Array, "features targets"] | None = None
    variance: float | Float[Array, ""] = eqx.field(
        default=0.0, converter=functools.partial(check_not_negative, "variance")
    )
    noise_weights: Float[Array, "features targets"] | None = None
    spread: Float[Array, "features draws"] | None = None
    error: float | Float[Array, ""] = 0.0

    def __check_init__(self) -> None:
        for name in ("weights", "noise_weights", "spread"):
            if (part := getattr(self, name)) is not None:
                check_real(name, part)
                check_finite(name, as_floating(name, part), degree=2)
        if self.noise_weights is not None and self.weights is None:
            raise ValueError("noise_weights: they are a part of the weights, and there are none; pass weights= as well")


def check_start(start: object) -> None:
    """Raises TypeError unless it is a `Start` or None."""
    check_type("start", start, (Start, type(None)), "rfm.Start(weights=...), or None for zero weights")


@compiled
def weights(
    spectrum: Spectrum, rule: Rule, t: Times, start: Start | None = None
) -> Float[Array, "features times targets"]:
    """The (mean) weights theta_t.

    >>> import jax.numpy as jnp, theory
    >>> spectrum = theory.decompose(jnp.eye(2), jnp.asarray([2.0, 4.0]))
    >>> weights(spectrum, theory.GradientFlow(), jnp.asarray([0.0, jnp.inf]))[:, :, 0].round(4).tolist()
    [[0.0, 2.0], [0.0, 4.0]]
    """
    return _weights(spectrum, rule, t, rule.response(spectrum.eigenvalues, t), start)


@compiled
def noise_weights(
    spectrum: Spectrum, rule: Rule, t: Times, start: Start | None = None
) -> Float[Array, "features times targets"]:
    """The part of the weights that learnt the label noise z = y - y*.

    Raises:
        ValueError: the spectrum holds no clean labels.
    """
    return _noise(spectrum, rule, t, rule.response(spectrum.eigenvalues, t), start)


class Learnt(eqx.Module):
    """What training has made of the weights at the given times.

    Attributes:
        weights: theta_t, in the mean over a random start.
        noise: the part of them that learnt the label noise; None without clean labels.
        loss: |Phi theta_t - y|^2 / (2 m), in the mean over a random start.
        response: of the modes.
    """

    weights: Float[Array, "features times targets"]
    noise: Float[Array, "features times targets"] | None
    loss: Float[Array, "times targets"]
    response: Response


@compiled
def learnt(spectrum: Spectrum, rule: Rule, t: Times, start: Start | None = None) -> Learnt:
    """Weights and training loss, from one evaluation of the rule."""
    response = rule.response(spectrum.eigenvalues, t)
    theta = _weights(spectrum, rule, t, response, start)
    noise = None if spectrum.clean_coordinates is None else _noise(spectrum, rule, t, response, start)
    return Learnt(theta, noise, _loss(spectrum, rule, response, start), response)


@compiled
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
    return parts_of(learnt(spectrum, rule, t, start), spectrum, averages, rule, t, start)


def parts_of(
    found: Learnt, spectrum: Spectrum, averages: Averages, rule: Rule, t: Times, start: Start | None = None
) -> RiskParts:
    """The risk of a training whose weights are known."""
    parts = averages.risk_parts(found.weights, found.noise)
    if start is None or _is_zero(start.variance):
        return parts
    power = _spread_power(spectrum, averages, rule, t, found.response, start)
    spread = start.variance * jnp.maximum(power, 0)[:, None]
    clean = None if parts.clean is None else parts.clean + spread
    return RiskParts(parts.risk + spread, clean, parts.noise, parts.cross, parts.error_rate)


@compiled
def train_loss(spectrum: Spectrum, rule: Rule, t: Times, start: Start | None = None) -> Float[Array, "times targets"]:
    """|Phi theta_t - y|^2 / (2 m) in expectation over the start, the part outside the range of Phi included.

    The penalty ridge |theta|^2 / 2 is not counted.

    >>> import jax.numpy as jnp, theory
    >>> spectrum = theory.decompose(jnp.asarray([[1.0], [0.0]]), jnp.asarray([1.0, 1.0]))
    >>> train_loss(spectrum, theory.GradientFlow(), jnp.asarray([0.0, jnp.inf]))[:, 0].round(6).tolist()
    [0.5, 0.25]
    """
    return _loss(spectrum, rule, rule.response(spectrum.eigenvalues, t), start)


def after(spectrum: Spectrum, rule: Rule, duration: float | Float[Array, ""], start: Start | None = None) -> Start:
    """The start of a next phase of training: what this one has made of the weights, of their noise and their spread.

    >>> import jax.numpy as jnp, theory
    >>> spectrum = theory.decompose(jnp.eye(2), jnp.asarray([2.0, 4.0]), jnp.asarray([2.0, 3.0]))
    >>> after(spectrum, theory.GradientFlow(), jnp.inf).noise_weights.round(6).tolist()
    [[0.0], [1.0]]
    """
    t = jnp.asarray(duration, spectrum.eigenvalues.dtype)[None]
    trained = learnt(spectrum, rule, t, start)
    noise = None if trained.noise is None else trained.noise[:, 0]
    if start is None or _is_zero(start.variance):
        return Start(trained.weights[:, 0], noise_weights=noise)
    features = spectrum.modes.shape[0]
    spread = jnp.eye(features, dtype=spectrum.modes.dtype) if start.spread is None else start.spread
    shrunk = remaining(spectrum, rule, t, trained.response, spread[:, None, :])[:, 0]
    with trusted():
        return Start(trained.weights[:, 0], start.variance, noise, shrunk)


class ModeRisk(eqx.Module):
    """What each mode contributes to the risk, summed over targets.

    Summed over modes, `noise` and `cross` are the noise and the cross risk, and `clean` is the clean risk less the risk
    of predicting zero, E f^2, for a start at zero; of another start, what lies outside of all modes is not counted. A
    mode that has learnt its share of the pattern is negative. Modes are correlated over the population, so one mode may
    be negative in `noise`.

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


@compiled
def mode_risk(spectrum: Spectrum, averages: Averages, rule: Rule, t: Times, start: Start | None = None) -> ModeRisk:
    """Which modes fit the pattern, which the label noise, and when.

    Raises:
        ValueError: the spectrum holds no clean labels.
    """
    noise = noise_weights(spectrum, rule, t, start)
    noise_coordinates = jnp.tensordot(spectrum.modes.T, noise, 1)
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


def remaining(
    spectrum: Spectrum, rule: Rule, t: Times, response: Response, weights: Float[Array, "features starts columns"]
) -> Float[Array, "features times columns"]:
    """What is left at t of weights at the start, one start for all times or one each.

    Outside of all modes they only feel the ridge.
    """
    coordinates = jnp.tensordot(spectrum.modes.T, weights, 1)
    kept = _carried(spectrum, response.residual.T[:, :, None] * coordinates)
    outside = weights - _carried(spectrum, coordinates)
    return kept + _null_residual(spectrum, rule, t)[None, :, None] * outside


def _carried(spectrum: Spectrum, coordinates: Float[Array, "modes times columns"]) -> Array:
    """From the coordinates of the modes to weights."""
    return jnp.tensordot(spectrum.modes, coordinates, 1)


def _learnt(
    spectrum: Spectrum, response: Response, coordinates: Float[Array, "modes targets"]
) -> Float[Array, "modes times targets"]:
    """What the force of the labels has moved: gain * sqrt(mu) a."""
    force = jnp.sqrt(spectrum.eigenvalues)[:, None] * coordinates
    return response.gain.T[:, :, None] * force[:, None, :]


def _weights(
    spectrum: Spectrum, rule: Rule, t: Times, response: Response, start: Start | None
) -> Float[Array, "features times targets"]:
    theta = _carried(spectrum, _learnt(spectrum, response, spectrum.label_coordinates))
    if start is None or start.weights is None:
        return theta
    return theta + remaining(spectrum, rule, t, response, start.weights[:, None, :])


def _noise(
    spectrum: Spectrum, rule: Rule, t: Times, response: Response, start: Start | None
) -> Float[Array, "features times targets"]:
    noise = _carried(spectrum, _learnt(spectrum, response, spectrum.noise_coordinates))
    if start is None or start.noise_weights is None:
        return noise
    return noise + remaining(spectrum, rule, t, response, start.noise_weights[:, None, :])


def _loss(spectrum: Spectrum, rule: Rule, response: Response, start: Start | None) -> Float[Array, "times targets"]:
    # 1 - mu gain, without the cancellation
    unfitted = response.residual + rule.ridge * response.gain
    singular = jnp.sqrt(spectrum.eigenvalues)
    error = unfitted[:, :, None] * spectrum.label_coordinates[None, :, :]
    if start is not None and start.weights is not None:
        begun = spectrum.modes.T @ start.weights
        error = error - (singular[None, :] * response.residual)[:, :, None] * begun[None, :, :]
    loss = (jnp.sum(error**2, axis=1) + spectrum.label_outside[None, :]) / 2
    if start is None or _is_zero(start.variance):
        return loss
    power = jnp.sum((spectrum.modes.T if start.spread is None else spectrum.modes.T @ start.spread) ** 2, axis=1)
    spread = (singular[None, :] * response.residual) ** 2 @ power
    return loss + start.variance / 2 * spread[:, None]


def _spread_power(
    spectrum: Spectrum, averages: Averages, rule: Rule, t: Times, response: Response, start: Start
) -> Float[Array, "times"]:
    """The risk of what is left of a start of unit variance: tr(C r_t^2) if its entries are independent."""
    modes, null = spectrum.modes, _null_residual(spectrum, rule, t)
    if start.spread is None:
        power = averages.mode_power(modes)
        outside = averages.power - jnp.sum(power)
        if modes.shape[1] == modes.shape[0]:
            outside = jnp.zeros_like(outside)
        return response.residual**2 @ power + null**2 * outside
    inside = modes.T @ start.spread
    beyond = start.spread - modes @ inside
    second_moment = averages.second_moment
    # E (phi . (U r inside + null beyond))^2, a quadratic form in (r, null).
    pairs = (modes.T @ second_moment @ modes) * (inside @ inside.T)
    mixed = jnp.sum((modes.T @ second_moment @ beyond) * inside, axis=1)
    alone = jnp.sum(beyond * (second_moment @ beyond))
    of_pairs = jnp.sum((response.residual @ pairs) * response.residual, axis=1)
    return of_pairs + 2 * null * (response.residual @ mixed) + null**2 * alone


def _null_residual(spectrum: Spectrum, rule: Rule, t: Times) -> Float[Array, "times"]:
    return rule.residual(jnp.zeros_like(spectrum.eigenvalues[:1]), t)[:, 0]


def _is_zero(variance: float | Array) -> bool:
    return isinstance(variance, float | int) and variance == 0
