"""Gradient descent on all rows, with steps of one size."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from theory.rules.powers import plain_mean_after
from theory.rules.rule import (
    ROUNDINGS,
    ConstantStep,
    Gradient,
    Response,
    Weights,
    as_ridge,
    as_step_size,
    over_rate,
    rows,
)
from theory.rules.series import SERIES_BELOW, mean_decay, mean_log1m


class GradientDescent(ConstantStep):
    """Full-batch gradient descent, k steps of size eta: residual = (1 - eta (mu + ridge))^k.

    Stable below eta = 2 / (mu_max + ridge); between half of that and that, the fastest modes overshoot and alternate.
    Exact in value and in derivative down to mu = 0, where the gain is eta k (``tests/theory/rules/test_filters.py``).

    >>> rule = GradientDescent(step_size=0.5)
    >>> rule.residual(jnp.asarray([0.0, 1.0, 3.0]), jnp.asarray(2.0)).tolist()
    [1.0, 0.25, 0.25]
    """

    step_size: float | Float[Array, ""] = eqx.field(converter=as_step_size)
    ridge: float | Float[Array, ""] = eqx.field(default=0.0, converter=as_ridge)
    stable_below: ClassVar[str] = "2 / (mu_max + ridge)"

    def step(self, gradient: Gradient, k: Array, state: Weights) -> Weights:
        """theta - eta grad(theta)."""
        return state - self.step_size * gradient(state)

    def course(self, eigenvalues: Float[Array, "modes"], t: Float[Array, "*times"]) -> Response:
        progress, steps = self._progress(eigenvalues), t[..., None]
        slow = rows(progress < SERIES_BELOW, steps)
        small = jnp.where(progress < SERIES_BELOW, progress, 0)
        decay = steps * rows(-jnp.log1p(-small), steps)
        # On a fast mode a power is as accurate, and it knows the sign of an overshooting mode.
        fast = jnp.where(progress < SERIES_BELOW, 0, progress)
        power = jnp.power(rows(1 - fast, steps), jnp.maximum(steps, 1))
        left = jnp.where(slow | (steps == 0), jnp.exp(-decay), power)
        log_form = steps * mean_decay(decay) * rows(mean_log1m(small), steps)
        power_form = (1 - left) / rows(jnp.where(progress < SERIES_BELOW, 1, progress), steps)
        return Response(left, self.step_size * jnp.where(slow, log_form, power_form))

    def mean_course(self, eigenvalues: Float[Array, "modes"], t: Float[Array, "*times"]) -> Response:
        left, moved = plain_mean_after(self._progress(eigenvalues), t)
        return Response(left, self.step_size * moved)

    def largest_stable_step(self, largest_eigenvalue: float | Float[Array, ""]) -> float | Float[Array, ""]:
        """2 / (mu_max + ridge), from which size on the fastest mode no longer converges.

        >>> GradientDescent(step_size=0.1).largest_stable_step(4.0)
        0.5
        """
        return over_rate(2.0, largest_eigenvalue + self.ridge)

    def overshoot(self, eigenvalues: Float[Array, "modes"]) -> Float[Array, "modes"]:
        """1 up to eta (mu + ridge) = 1, and s / (2 - s) of a mode that alternates, s = eta (mu + ridge)."""
        return of_alternating(self._progress(eigenvalues))

    def roundings(self, t: Float[Array, "*times"]) -> Float[Array, "*times"]:
        """Those of a formula."""
        return jnp.full_like(t, ROUNDINGS)


def of_alternating(progress: Float[Array, "modes"]) -> Float[Array, "modes"]:
    """The overshoot of gradient descent: s times the sum of |1 - s|^k."""
    return jnp.where(progress <= 1, 1, progress / jnp.maximum(2 - progress, jnp.finfo(progress.dtype).tiny))
