"""Until when a curve can be trusted: a running estimate of its rounding error.

The factorisation is exact for features perturbed by about machine epsilon. A perturbed small eigenvalue is felt once
its mode begins to learn, and no longer once all have learnt. So weights, and with them predictions, drift by a share of
eps sqrt(mu_max / mu) from the singular values of Phi, and of eps mu_max / mu from the eigenvalues of a Gram matrix,
where the small ones carry the absolute error of the large; mu is 1/t, or the smallest eigenvalue if that is larger. A
risk through moments squares the rounding of theta . phi, because its terms cancel.

These are estimates with measured constants, not bounds: ``tests/theory/test_trust.py`` holds them against 60-digit
arithmetic, and asks that they are never too hopeful there.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from theory.population import Averages, Population
from theory.spectrum import Spectrum


def rounding_error(
    spectrum: Spectrum,
    averages: Averages,
    times: Float[Array, "times"],
    risk: Float[Array, "times"],
    weight_power: Float[Array, "times"],
) -> Float[Array, "times"]:
    """An estimate of the absolute rounding error of a risk curve.

    Args:
        spectrum: where the curve came from.
        averages: what it was averaged over.
        times: in units of 1/eigenvalue.
        risk: the curve.
        weight_power: |theta_t|^2 along it.
    """
    epsilon = jnp.finfo(risk.dtype).eps
    label_power = jnp.sum(spectrum.label_coordinates**2)
    slowest = jnp.min(jnp.where(spectrum.eigenvalues > 0, spectrum.eigenvalues, jnp.inf))
    condition = 1 + jnp.minimum(times, 1 / slowest) * spectrum.eigenvalues[0]
    spread = jnp.sqrt(averages.power * weight_power)
    prediction = SAFETY * epsilon * condition**spectrum.rounding_order * (jnp.sqrt(label_power) + spread)
    error = 2 * jnp.sqrt(jnp.abs(risk)) * prediction + prediction**2
    floor = epsilon * jnp.sum(averages.target_power_by_target)
    if isinstance(averages, Population):
        return error + floor + epsilon * spread**2
    return error + epsilon * risk


SAFETY = 3.0


def trusted_until(
    times: Float[Array, "times"],
    risk: Float[Array, "times"],
    error: Float[Array, "times"],
    tolerance: float,
    order: float,
) -> Float[Array, ""]:
    """The latest time up to which the estimated error stays below `tolerance` times the risk.

    Past the last time the risk is taken to stay as it is, and the error to grow with the power `order` of time.
    """
    excess = error / (tolerance * jnp.abs(risk))
    broken = excess > 1
    first = jnp.argmax(broken)
    before = jnp.where(first > 0, times[jnp.maximum(first - 1, 0)], 0)
    beyond = times[-1] * jnp.maximum(excess[-1], jnp.finfo(risk.dtype).tiny) ** (-1 / order)
    return jnp.where(jnp.any(broken), before, beyond)
