"""Gaussian expectations of pairs of activations that have a closed form, in the moments of the two pre-activations.

Piecewise-linear functions pair up with each other, and so do their derivatives; the others pair with themselves.
Without bias only: with one, most of these forms are lost.

Nearly collinear rows are the hard case: 1 - rho^2 and |w|^2 + |v|^2 - 2 w . v are all that counts there, and both
cancel. So they are formed from the differences w - v and w / |w| - v / |v|, which do not.
"""

import dataclasses
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from theory.duals.activations import ACTIVATIONS, Activation, BrokenConstant, BrokenLine

Pairs = Float[Array, "rows1 rows2"]


class PairMoments(eqx.Module):
    """Of pairs of pre-activations. The determinant is power1 power2 - covariance^2, which cancels if formed so."""

    power1: Float[Array, "rows1"]
    covariance: Pairs
    power2: Float[Array, "rows2"]
    determinant: Pairs
    mean1: Float[Array, "rows1"]
    mean2: Float[Array, "rows2"]


class RowPairs(eqx.Module):
    """Pre-activations u = w . x and v = w' . x', x and x' standard normal with that correlation, entry by entry."""

    weights1: Float[Array, "rows1 inputs"]
    weights2: Float[Array, "rows2 inputs"]
    correlation: float | Float[Array, ""] = 1.0

    @property
    def power1(self) -> Float[Array, "rows1 1"]:
        return jnp.sum(self.weights1**2, axis=1)[:, None]

    @property
    def power2(self) -> Float[Array, "1 rows2"]:
        return jnp.sum(self.weights2**2, axis=1)[None, :]

    @property
    def covariance(self) -> Pairs:
        return self.correlation * (self.weights1 @ self.weights2.T)

    @property
    def sum_power(self) -> Pairs:
        """E (u + v)^2."""
        return self._power_of(1.0)

    @property
    def difference_power(self) -> Pairs:
        """E (u - v)^2."""
        return self._power_of(-1.0)

    @property
    def determinant(self) -> Pairs:
        """E u^2 E v^2 - (E u v)^2, at least 0."""
        c = self.correlation
        unit1, unit2 = _unit(self.weights1), _unit(self.weights2)
        share = (1 - c) * (1 + c) + c**2 * _distances(unit1, unit2) * _distances(unit1, -unit2) / 4
        powers = self.power1 * self.power2
        return _with_slope_of(powers * share, powers - self.covariance**2)

    def moments(self, mean1: Float[Array, "rows1"], mean2: Float[Array, "rows2"]) -> PairMoments:
        """Those that biases shift."""
        return PairMoments(self.power1[:, 0], self.covariance, self.power2[0], self.determinant, mean1, mean2)

    def _power_of(self, sign: float) -> Pairs:
        powers = self.power1 + self.power2
        signed = sign * jnp.asarray(self.correlation, self.weights1.dtype)
        towards = jnp.where(signed < 0, 1.0, -1.0).astype(self.weights2.dtype)
        share = jnp.abs(signed)
        exact = share * _distances(self.weights1, towards * self.weights2) + (1 - share) * powers
        return _with_slope_of(exact, powers + 2 * sign * self.covariance)


def _unit(rows: Array) -> Array:
    length = jnp.linalg.norm(rows, axis=1, keepdims=True)
    return rows / jnp.where(length > 0, length, 1)


@jax.jit
def _distances(rows1: Array, rows2: Array) -> Pairs:
    """|w - v|^2, of which no part cancels; compiled, so that the differences are never held."""
    return jnp.sum((rows1[:, None, :] - rows2[None, :, :]) ** 2, axis=2)


def _with_slope_of(exact: Pairs, formula: Pairs) -> Pairs:
    """The value of the one and the derivatives of the other, which are the same function of the rows."""
    return jax.lax.stop_gradient(exact) + (formula - jax.lax.stop_gradient(formula))


ClosedForm = Callable[[RowPairs], Pairs]


@dataclasses.dataclass(frozen=True)
class _OfLines:
    """The dual of two broken lines."""

    first: BrokenLine
    second: BrokenLine

    def __call__(self, m: RowPairs) -> Pairs:
        straight, bent = self.first.slope * self.second.slope, self.first.bend * self.second.bend
        return straight * m.covariance + bent * _absolute_dual(m)


@dataclasses.dataclass(frozen=True)
class _OfConstants:
    """The dual of two functions that only jump."""

    first: BrokenConstant
    second: BrokenConstant

    def __call__(self, m: RowPairs) -> Pairs:
        level, jump = self.first.level * self.second.level, self.first.jump * self.second.jump
        return level + jump * _sign_dual(m)


def closed_dual(first: str | Activation, second: str | Activation) -> ClosedForm | None:
    """The closed form for a pair of activations without bias, or None."""
    line1, line2 = broken_line(first), broken_line(second)
    if line1 is not None and line2 is not None:
        return _OfLines(line1, line2)
    constant1, constant2 = broken_constant(first), broken_constant(second)
    if constant1 is not None and constant2 is not None:
        return _OfConstants(constant1, constant2)
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


def broken_constant(function: str | Activation) -> BrokenConstant | None:
    if isinstance(function, BrokenConstant):
        return function
    return BrokenConstant(0.0, 1.0) if _name(function) == "sign" else None


_BROKEN_LINES = {"identity": BrokenLine(1.0, 0.0), "relu": BrokenLine(0.5, 0.5), "abs": BrokenLine(0.0, 1.0)}


def _absolute_dual(m: RowPairs) -> Pairs:
    """E |u| |v| = (2 / pi) (sqrt(C11 C22 - C12^2) + C12 asin(rho)); the arc-cosine kernel."""
    return _absolute(m.power1, m.covariance, m.power2, m.determinant)


@jax.custom_jvp
def _absolute(power1: Array, covariance: Array, power2: Array, determinant: Array) -> Array:
    root = jnp.sqrt(determinant)
    return 2 / jnp.pi * (root + covariance * jnp.arctan2(covariance, root))


@_absolute.defjvp
def _absolute_jvp(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[Array, Array]:
    power1, covariance, power2, determinant = primals
    root = jnp.sqrt(determinant)
    relative1 = jnp.where(power1 > 0, tangents[0] / jnp.where(power1 > 0, power1, 1), 0)
    relative2 = jnp.where(power2 > 0, tangents[2] / jnp.where(power2 > 0, power2, 1), 0)
    slope = jnp.arctan2(covariance, root) * tangents[1] + root * (relative1 + relative2) / 2
    return _absolute(*primals), 2 / jnp.pi * slope


def _sign_dual(m: RowPairs) -> Pairs:
    return 2 / jnp.pi * jnp.arctan2(m.covariance, jnp.sqrt(m.determinant))


def _erf_dual(m: RowPairs) -> Pairs:
    return 2 / jnp.pi * jnp.arctan2(2 * m.covariance, jnp.sqrt(_enlarged(m, 2)))


def _enlarged(m: RowPairs, factor: int) -> Pairs:
    """(1 + k C11) (1 + k C22) - k^2 C12^2, all of whose terms are positive."""
    return 1 + factor * (m.power1 + m.power2) + factor**2 * m.determinant


def _sin_dual(m: RowPairs) -> Pairs:
    """exp(-damping) sinh(covariance), without the cancellation of tiny rows or the overflow of long ones."""
    positive = m.covariance >= 0
    sign = jnp.where(positive, 1, -1)
    nearest = jnp.where(positive, m.difference_power, m.sum_power)
    return -sign * jnp.exp(-nearest / 2) * jnp.expm1(-2 * sign * m.covariance) / 2


def _cos_dual(m: RowPairs) -> Pairs:
    return (jnp.exp(-m.difference_power / 2) + jnp.exp(-m.sum_power / 2)) / 2


def _exp_dual(m: RowPairs) -> Pairs:
    return jnp.exp(m.sum_power / 2)


def _gaussian_dual(m: RowPairs) -> Pairs:
    return _enlarged(m, 2) ** -0.5


def _gelu_dual(m: RowPairs) -> Pairs:
    """By Stein's identity from E[Phi(u) Phi(v)] and G = E[phi(u) phi(v)], Phi and phi the normal cdf and density."""
    power1, power2, covariance = m.power1, m.power2, m.covariance
    root = jnp.sqrt(_enlarged(m, 1))
    density = 1 / (2 * jnp.pi * root)
    both = 0.25 + jnp.arctan2(covariance, root) / (2 * jnp.pi)
    across = power1 * (power2 + m.determinant) / (1 + power1)  # C11 (C22 - C12^2 / (1 + C11))
    return across * density + covariance * (both + covariance * density / (1 + power2))


_CLOSED_FORMS: dict[str, ClosedForm] = {
    "erf": _erf_dual,
    "sin": _sin_dual,
    "cos": _cos_dual,
    "exp": _exp_dual,
    "gaussian": _gaussian_dual,
    "gelu": _gelu_dual,
}
