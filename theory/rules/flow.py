"""Gradient flow: steps so small that only the time counts, theta' = -grad(theta)."""

import math
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from theory.rules.rule import ROUNDINGS, Response, Rule, as_ridge, rows
from theory.rules.series import mean_decay, mean_learnt


class GradientFlow(Rule):
    """Gradient descent with infinitesimal steps: residual = exp(-(mu + ridge) t).

    The gain (1 - exp(-mu t)) / mu is exact, in value and in derivative, down to mu = 0, where it is t
    (``tests/theory/rules/test_filters.py``). ``t = inf`` gives the limit, in which null modes have not moved.

    >>> rule = GradientFlow()
    >>> rule.gain(jnp.asarray([0.0, 1e-300, 1.0]), jnp.asarray(2.0)).round(4).tolist()
    [2.0, 2.0, 0.8647]
    """

    ridge: float | Float[Array, ""] = eqx.field(default=0.0, converter=as_ridge)
    counts_steps: ClassVar[bool] = False

    def course(self, eigenvalues: Float[Array, "modes"], t: Float[Array, "*times"]) -> Response:
        decay = self._decay(eigenvalues, t)
        return Response(jnp.exp(-decay), t[..., None] * mean_decay(decay))

    def mean_course(self, eigenvalues: Float[Array, "modes"], t: Float[Array, "*times"]) -> Response:
        decay = self._decay(eigenvalues, t)
        return Response(mean_decay(decay), t[..., None] * mean_learnt(decay))

    def time(self, t: Float[Array, "*times"]) -> Float[Array, "*times"]:
        return t

    def largest_stable_step(self, largest_eigenvalue: float | Float[Array, ""]) -> float | Float[Array, ""]:
        """Infinite: the flow takes no steps."""
        return math.inf

    def check_stable(self, largest_eigenvalue: float) -> None:
        """Returns: the flow never diverges."""

    def roundings(self, t: Float[Array, "*times"]) -> Float[Array, "*times"]:
        """Those of a formula."""
        return jnp.full_like(t, ROUNDINGS)

    def _decay(self, eigenvalues: Float[Array, "modes"], t: Float[Array, "*times"]) -> Float[Array, "*times modes"]:
        return t[..., None] * rows(eigenvalues + self.ridge, t[..., None])
