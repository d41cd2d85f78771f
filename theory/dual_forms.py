"""Gaussian expectations of pairs of activations that have a closed form, in the moments of the two pre-activations.

Piecewise-linear functions pair up with each other, and so do their derivatives; the others pair with themselves.
Without bias only: with one, most of these forms are lost.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from theory.activations import ACTIVATIONS, Activation, BrokenConstant, BrokenLine

Pairs = Float[Array, "rows1 rows2"]


class Moments(eqx.Module):
    """Variances, covariance and means of the pairs of pre-activations."""

    power1: Float[Array, "rows1"]
    covariance: Pairs
    power2: Float[Array, "rows2"]
    mean1: Float[Array, "rows1"]
    mean2: Float[Array, "rows2"]


ClosedForm = Callable[[Moments], Pairs]


def closed_dual(first: str | Activation, second: str | Activation) -> ClosedForm | None:
    """The closed form for a pair of activations without bias, or None."""
    line1, line2 = broken_line(first), broken_line(second)
    if line1 is not None and line2 is not None:
        return lambda m: line1.slope * line2.slope * m.covariance + line1.bend * line2.bend * _absolute_dual(m)
    constant1, constant2 = _broken_constant(first), _broken_constant(second)
    if constant1 is not None and constant2 is not None:
        return lambda m: constant1.level * constant2.level + constant1.jump * constant2.jump * _sign_dual(m)
    name = _name(first)
    return _CLOSED_FORMS.get(name) if name is not None and name == _name(second) else None


def _name(function: str | Activation) -> str | None:
    if isinstance(function, str):
        return function
    return next((name for name, known in ACTIVATIONS.items() if known is function), None)


def broken_line(function: str | Activation) -> BrokenLine | None:
    if isinstance(function, BrokenLine):
        return function
    return _BROKEN_LINES.get(_name(function) or "")


def _broken_constant(function: str | Activation) -> BrokenConstant | None:
    if isinstance(function, BrokenConstant):
        return function
    return BrokenConstant(0.0, 1.0) if _name(function) == "sign" else None


_BROKEN_LINES = {"identity": BrokenLine(1.0, 0.0), "relu": BrokenLine(0.5, 0.5), "abs": BrokenLine(0.0, 1.0)}


def _absolute_dual(m: Moments) -> Pairs:
    """E |u| |v| = (2 / pi) (sqrt(C11 C22 - C12^2) + C12 asin(rho)); the arc-cosine kernel."""
    return _absolute(m.power1, m.covariance, m.power2)


@jax.custom_jvp
def _absolute(power1: Array, covariance: Array, power2: Array) -> Array:
    scale, rho = _correlation(power1, covariance, power2)
    return 2 / jnp.pi * scale * (jnp.sqrt((1 - rho) * (1 + rho)) + rho * jnp.arcsin(rho))


@_absolute.defjvp
def _absolute_jvp(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[Array, Array]:
    power1, _, power2 = primals
    scale, rho = _correlation(*primals)
    swing = scale * jnp.sqrt((1 - rho) * (1 + rho)) / 2
    relative1 = jnp.where(power1 > 0, tangents[0] / jnp.where(power1 > 0, power1, 1), 0)
    relative2 = jnp.where(power2 > 0, tangents[2] / jnp.where(power2 > 0, power2, 1), 0)
    slope = jnp.arcsin(rho) * tangents[1] + swing * (relative1[:, None] + relative2[None, :])
    return _absolute(*primals), 2 / jnp.pi * slope


def _correlation(power1: Array, covariance: Array, power2: Array) -> tuple[Array, Array]:
    scale = jnp.sqrt(power1)[:, None] * jnp.sqrt(power2)[None, :]
    return scale, jnp.clip(jnp.where(scale > 0, covariance / jnp.where(scale > 0, scale, 1), 0), -1, 1)


def _sign_dual(m: Moments) -> Pairs:
    return 2 / jnp.pi * jnp.arcsin(_correlation(m.power1, m.covariance, m.power2)[1])


def _erf_dual(m: Moments) -> Pairs:
    scale = jnp.sqrt(1 + 2 * m.power1)[:, None] * jnp.sqrt(1 + 2 * m.power2)[None, :]
    return 2 / jnp.pi * jnp.arcsin(2 * m.covariance / scale)


def _sin_dual(m: Moments) -> Pairs:
    """exp(-damping) sinh(covariance), without the cancellation of tiny rows or the overflow of long ones."""
    damping = (m.power1[:, None] + m.power2[None, :]) / 2
    sign = jnp.where(m.covariance < 0, -1, 1)
    size = sign * m.covariance
    return -sign * jnp.exp(size - damping) * jnp.expm1(-2 * size) / 2


def _cos_dual(m: Moments) -> Pairs:
    damping = (m.power1[:, None] + m.power2[None, :]) / 2
    return (jnp.exp(m.covariance - damping) + jnp.exp(-m.covariance - damping)) / 2


def _exp_dual(m: Moments) -> Pairs:
    return jnp.exp((m.power1[:, None] + m.power2[None, :]) / 2 + m.covariance)


def _gaussian_dual(m: Moments) -> Pairs:
    return (jnp.outer(1 + 2 * m.power1, 1 + 2 * m.power2) - 4 * m.covariance**2) ** -0.5


def _gelu_dual(m: Moments) -> Pairs:
    """By Stein's identity from E[Phi(u) Phi(v)] and G = E[phi(u) phi(v)], Phi and phi the normal cdf and density."""
    one1, one2, covariance = (1 + m.power1)[:, None], (1 + m.power2)[None, :], m.covariance
    density = 1 / (2 * jnp.pi * jnp.sqrt(one1 * one2 - covariance**2))
    both = 0.25 + jnp.arcsin(covariance / jnp.sqrt(one1 * one2)) / (2 * jnp.pi)
    power1, power2 = m.power1[:, None], m.power2[None, :]
    return power1 * (power2 - covariance**2 / one1) * density + covariance * (both + covariance * density / one2)


_CLOSED_FORMS: dict[str, ClosedForm] = {
    "erf": _erf_dual,
    "sin": _sin_dual,
    "cos": _cos_dual,
    "exp": _exp_dual,
    "gaussian": _gaussian_dual,
    "gelu": _gelu_dual,
}
