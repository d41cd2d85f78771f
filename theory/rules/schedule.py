"""Step sizes that change as training goes on: a mode forgets by a product of factors, one a step.

Gradient descent with step eta_k at step k leaves of a mode what each step leaves in turn, and its gain follows along,

    residual_{k+1} = (1 - eta_k (mu + ridge)) residual_k,      gain_{k+1} = (1 - eta_k (mu + ridge)) gain_k + eta_k.

One pass over the steps serves all times that are asked for; what it holds is of the size of its answer, however many
steps there are. Time is the sum of the steps: curves of different schedules, drawn against it, differ only as far as
their fast modes overshoot.
"""

from collections.abc import Sequence
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theory.checks import as_floating, check_finite, check_shape, check_within, is_traced
from theory.rules.descent import of_alternating
from theory.rules.rule import ROUNDINGS, Gradient, Response, Rule, Weights, as_ridge, over_rate


def _step_sizes(values: ArrayLike | Sequence[float]) -> Array:
    sizes = as_floating("step_sizes", values)
    check_shape("step_sizes", sizes, ndim=1)
    if is_traced(sizes):
        return check_within("step_sizes", sizes, lambda x: x >= 0, "must not be negative")
    return check_finite("step_sizes", sizes, degree=2)


class StepSchedule(Rule):
    """Full-batch gradient descent with step eta_k at step k: residual = product of (1 - eta_k (mu + ridge)).

    Exact in value and in derivative down to mu = 0, where the gain is the sum of the steps, to 1e-13 after 100 000
    steps (``tests/theory/rules/test_schedules.py``). A schedule ends: ``steps`` past its length are refused by
    `risk_curve`, and residual and gain are NaN there. Its limit t = infinity is that of training on to convergence, by
    further steps
    whose sum diverges: the minimum-norm (or ridge) solution.

    Differentiated in reverse, it holds the residuals of all steps.

    Attributes:
        step_sizes: eta_0, eta_1, ..., unit time; 0 is allowed. All must be below 2 / (mu_max + ridge).
        ridge: coupled weight decay, unit 1/time.

    Raises:
        ValueError: step sizes that are negative or not finite, a negative decay.

    >>> rule = StepSchedule(jnp.asarray([1.0, 0.5, 0.5]))
    >>> rule.residual(jnp.asarray([0.0, 0.5]), jnp.asarray([1.0, 3.0])).tolist()
    [[1.0, 0.5], [1.0, 0.28125]]
    >>> rule.time(jnp.asarray([1.0, 3.0])).tolist()
    [1.0, 2.0]
    """

    step_sizes: Float[Array, "steps"] = eqx.field(converter=_step_sizes)
    ridge: float | Float[Array, ""] = eqx.field(default=0.0, converter=as_ridge)
    counts_steps: ClassVar[bool] = True

    def __check_init__(self) -> None:
        if not is_traced(self.step_sizes) and np.any(np.asarray(self.step_sizes) < 0):
            first = int(np.argmax(np.asarray(self.step_sizes) < 0))
            raise ValueError(f"step_sizes: must not be negative, got {self.step_sizes[first]:g} at index {first}")

    def step(self, gradient: Gradient, k: Array, state: Weights) -> Weights:
        """theta - eta_k grad(theta); NaN past the end of the schedule."""
        size = jnp.where(k < len(self.step_sizes), self.step_sizes[k], jnp.nan)
        return state - size.astype(state.dtype) * gradient(state)

    def check_reached(self, t: np.ndarray) -> None:
        """Raises ValueError for a finite number of steps past the end of the schedule."""
        latest = float(np.max(t, where=np.isfinite(t), initial=0))
        if latest > (length := len(self.step_sizes)):
            raise ValueError(
                f"steps: {latest:g} is past the end of the schedule; pass steps up to {length}, or a StepSchedule of "
                "more step_sizes"
            )

    def time(self, t: Float[Array, "*times"]) -> Float[Array, "*times"]:
        """The sum of the steps up to t.

        Raises:
            ValueError: t is past the end of the schedule.
        """
        length = len(self.step_sizes)
        if not is_traced(t):
            self.check_reached(np.asarray(t))
        sums = jnp.concatenate([jnp.zeros(1, self.step_sizes.dtype), jnp.cumsum(self.step_sizes)]).astype(t.dtype)
        known = sums[jnp.where(t <= length, t, 0).astype(int)]
        return jnp.where(t <= length, known, jnp.where(jnp.isinf(t), jnp.inf, jnp.nan))

    def largest_stable_step(self, largest_eigenvalue: float | Float[Array, ""]) -> float | Float[Array, ""]:
        """2 / (mu_max + ridge), that of gradient descent."""
        return over_rate(2.0, largest_eigenvalue + self.ridge)

    def check_stable(self, largest_eigenvalue: float) -> None:
        """Raises ValueError if any step reaches the largest stable one; says from which step on."""
        largest = self.largest_stable_step(largest_eigenvalue)
        unstable = np.asarray(self.step_sizes) >= largest
        if unstable.any():
            first = int(np.argmax(unstable))
            raise ValueError(
                f"step_sizes: from step {first + 1} on (step_sizes[{first}] = {float(self.step_sizes[first]):g}) they "
                f"diverge on this problem; pass steps below the largest stable one, 2 / (mu_max + ridge) = "
                f"{float(largest):.6g}"
            )

    def overshoot(self, eigenvalues: Float[Array, "modes"]) -> Float[Array, "modes"]:
        """That of gradient descent with the longest step."""
        return of_alternating(jnp.max(self.step_sizes, initial=0) * (eigenvalues + self.ridge))

    def roundings(self, t: Float[Array, "*times"]) -> Float[Array, "*times"]:
        """One a step."""
        return ROUNDINGS + jnp.minimum(t, len(self.step_sizes))

    def course(self, eigenvalues: Float[Array, "modes"], t: Float[Array, "*times"]) -> Response:
        """By one pass over the steps."""
        rate = eigenvalues + self.ridge
        wanted = jnp.sort(t.ravel())
        num_steps = len(self.step_sizes)
        # Each step writes to the row of the next time to come, which its own step writes last. Those after go nowhere.
        row = jnp.searchsorted(wanted, jnp.arange(1, num_steps + 1, dtype=t.dtype))

        def step(carry: _Course, now: tuple[Array, Array]) -> tuple[_Course, None]:
            left, moved, lefts, moveds = carry
            size, row = now
            # Adding up what each step changes rounds at random; a factor 1 - eta mu would round alike at every step.
            moved = moved + size * left
            # Of a slow mode 1 - mu gain has all digits; of a fast one the difference, which keeps its small size.
            left = jnp.where(rate * moved < 0.5, 1 - rate * moved, left - size * rate * left)
            return (left, moved, lefts.at[row].set(left), moveds.at[row].set(moved)), None

        ones, zeros = jnp.ones_like(rate), jnp.zeros_like(rate)
        empty = jnp.zeros((wanted.size + 1, 1), rate.dtype)
        start = (ones, zeros, empty + ones[None, :], empty + zeros[None, :])
        sizes = self.step_sizes.astype(rate.dtype)
        (_, _, lefts, moveds), _ = jax.lax.scan(step, start, (sizes, row))
        place = jnp.searchsorted(wanted, t)
        known = (t <= num_steps)[..., None]
        return Response(jnp.where(known, lefts[place], jnp.nan), jnp.where(known, moveds[place], jnp.nan))


_Course = tuple[Float[Array, "modes"], Float[Array, "modes"], Float[Array, "rows modes"], Float[Array, "rows modes"]]
"""Residual and gain now, and at the times asked for."""


def cosine_steps(step_size: float, num_steps: int, final: float = 0.0) -> Float[Array, "steps"]:
    """Half a cosine from step_size down to final: final + (step_size - final) (1 + cos(pi k / num_steps)) / 2.

    >>> cosine_steps(1.0, 4).round(3).tolist()
    [1.0, 0.854, 0.5, 0.146]
    """
    phase = jnp.pi * jnp.arange(num_steps) / num_steps
    return final + (step_size - final) * (1 + jnp.cos(phase)) / 2


def inverse_sqrt_steps(step_size: float, num_steps: int, knee: float = 1.0) -> Float[Array, "steps"]:
    """step_size / sqrt(1 + k / knee): constant up to about the knee, a number of steps, then falling.

    >>> inverse_sqrt_steps(1.0, 4).round(3).tolist()
    [1.0, 0.707, 0.577, 0.5]
    """
    return step_size / jnp.sqrt(1 + jnp.arange(num_steps) / knee)


def step_decay_steps(step_size: float, num_steps: int, *, every: int, factor: float = 0.1) -> Float[Array, "steps"]:
    """step_size factor^floor(k / every): cut by the factor every so many steps.

    >>> step_decay_steps(1.0, 4, every=2, factor=0.5).tolist()
    [1.0, 1.0, 0.5, 0.5]
    """
    return step_size * factor ** jnp.floor(jnp.arange(num_steps) / every)
