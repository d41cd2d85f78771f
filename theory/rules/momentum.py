"""Momentum: a mode as a damped oscillator, pushed by its force and carried on by its own velocity.

A share beta of the last step is repeated at the next one. Slow modes then go 1 / (1 - beta) times as fast; fast modes
ring. With s = eta (mu + ridge) and D what is kept of the velocity, the part e still to be learnt and its velocity obey

    velocity_{k+1} = D velocity_k - s e_k,      e_{k+1} = e_k + velocity_{k+1},       velocity_0 = 0,

D = beta for the heavy ball, beta (1 - s) for Nesterov. The two roots of z^2 - (1 + D - s) z + D say how a mode learns:
both real (over-damped), equal (critical), or a complex pair (under-damped, it rings). `theory.rules.powers` takes the
steps, for every kind of mode alike.

Source: Polyak (1964), `polyak1964`; Nesterov (1983), `nesterov1983`.
"""

from abc import abstractmethod
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from theory.checks import check_within
from theory.rules.powers import after, mean_after
from theory.rules.rule import (
    ROUNDINGS,
    ConstantStep,
    Gradient,
    Response,
    Weights,
    as_ridge,
    as_step_size,
    number,
    over_rate,
    recorded,
    rows,
)


class Moving(NamedTuple):
    """Weights and where they come from; at the first step the same, for momentum starts from rest."""

    weights: Weights
    previous: Weights


class _Remembering(ConstantStep):
    """A rule that remembers its last step."""

    def begin(self, weights: Weights) -> Moving:
        return Moving(weights, weights)

    def answer(self, state: Moving, k: Array | int) -> Weights:
        return state.weights


def _as_momentum(value: float | Array) -> float | Array:
    return check_within("momentum", number(value), lambda x: (x >= 0) & (x < 1), "must lie in [0, 1)")


class _Momentum(_Remembering):
    """What the two momentum rules share: all but what is kept of the velocity."""

    step_size: float | Float[Array, ""] = eqx.field(converter=as_step_size)
    momentum: float | Float[Array, ""] = eqx.field(converter=_as_momentum)
    ridge: float | Float[Array, ""] = eqx.field(default=0.0, converter=as_ridge)

    @abstractmethod
    def kept(self, progress: Float[Array, "modes"]) -> Float[Array, "modes"]:
        """D, the share of the velocity that a step of progress s keeps."""

    def course(self, eigenvalues: Float[Array, "modes"], t: Float[Array, "*times"]) -> Response:
        progress = self._progress(eigenvalues)
        found = after(progress, self.kept(progress), t)
        return Response(found.left, self.step_size * found.moved)

    def mean_course(self, eigenvalues: Float[Array, "modes"], t: Float[Array, "*times"]) -> Response:
        progress = self._progress(eigenvalues)
        left, moved = mean_after(progress, self.kept(progress), t)
        return Response(left, self.step_size * moved)

    def time(self, t: Float[Array, "*times"]) -> Float[Array, "*times"]:
        """The effective time eta k / (1 - beta), at which slow modes stand where flow has them."""
        return self.step_size * t / (1 - self.momentum)

    def roundings(self, t: Float[Array, "*times"]) -> Float[Array, "*times"]:
        """Of slow modes, as many as the velocity lives steps: what it loses in one is a difference from 1."""
        return jnp.broadcast_to(ROUNDINGS + 4 / (1 - self.momentum), t.shape).astype(t.dtype)

    def overshoot(self, eigenvalues: Float[Array, "modes"]) -> Float[Array, "modes"]:
        """s / ((1 - |z|) (1 - |z'|)) of the roots z and z' of a mode, s = eta (mu + ridge); 1 if neither alternates.

        Of a complex pair r exp(+-i phi) also s / ((1 - r) sin phi): what a push does rings as r^j sin(j phi) / sin phi.
        """
        progress = self._progress(eigenvalues)
        kept = self.kept(progress)
        trace = 1 + kept - progress
        discriminant = trace**2 - 4 * kept
        is_complex, root = discriminant < 0, jnp.sqrt(jnp.abs(discriminant))
        least = jnp.finfo(progress.dtype).tiny
        radius = jnp.sqrt(jnp.where(is_complex, kept, 0))
        larger = jnp.where(trace < 0, trace - root, trace + root) / 2
        smaller = kept / jnp.where(larger == 0, 1, larger)
        of_real = (1 - jnp.abs(larger)) * (1 - jnp.abs(smaller))
        left = 1 - radius
        of_pair = left * jnp.maximum(left, root / (2 * jnp.where(radius > 0, radius, 1)))
        found = progress / jnp.maximum(jnp.where(is_complex, of_pair, of_real), least)
        # Roots that are both positive never alternate, and of slow modes 1 - |z| would cancel.
        return jnp.where((discriminant >= 0) & (trace > 0) & (kept >= 0), 1, jnp.maximum(found, 1))


class HeavyBall(_Momentum):
    """Polyak's heavy ball: theta_{k+1} = theta_k - eta grad(theta_k) + beta (theta_k - theta_{k-1}), from rest.

    The residual is e_k of this chapter with D = beta; critical at eta (mu + ridge) = (1 - sqrt(beta))^2, under-damped
    above. On a null mode the gain is eta times the sum of (1 - beta^j) / (1 - beta) over j = 1..k. Exact in value and
    in derivative for modes of every kind, down to mu = 0, to some hundred roundings of the largest value that the mode
    takes; stable below 2 (1 + beta) / (mu_max + ridge) (``tests/theory/rules/test_momentum.py``).

    Attributes:
        step_size: eta, unit time.
        momentum: beta, in [0, 1); at 0 this is `GradientDescent`.
        ridge: coupled weight decay, part of grad; unit 1/time.

    Raises:
        ValueError: a momentum outside of [0, 1), a step size that is not positive, a negative decay.

    >>> rule = HeavyBall(step_size=0.5, momentum=0.5)
    >>> rule.residual(jnp.asarray([0.0, 1.0]), jnp.asarray([1.0, 2.0])).tolist()
    [[1.0, 0.5], [1.0, 0.0]]
    >>> float(rule.time(jnp.asarray(3.0)))
    3.0
    """

    stable_below: ClassVar[str] = "2 (1 + momentum) / (mu_max + ridge)"

    def step(self, gradient: Gradient, k: Array, state: Moving) -> Moving:
        """theta - eta grad(theta) + beta (theta - theta_{k-1})."""
        theta, previous = state
        return Moving(theta - self.step_size * gradient(theta) + self.momentum * (theta - previous), theta)

    def largest_stable_step(self, largest_eigenvalue: float | Float[Array, ""]) -> float | Float[Array, ""]:
        """2 (1 + beta) / (mu_max + ridge), where a root passes -1.

        >>> HeavyBall(step_size=0.1, momentum=0.5).largest_stable_step(4.0)
        0.75
        """
        return over_rate(2 * (1 + self.momentum), largest_eigenvalue + self.ridge)

    def kept(self, progress: Float[Array, "modes"]) -> Float[Array, "modes"]:
        return jnp.broadcast_to(jnp.asarray(self.momentum, progress.dtype), progress.shape)


class Nesterov(_Momentum):
    """Nesterov's momentum, of constant beta: y = theta_k + beta (theta_k - theta_{k-1}), theta_{k+1} = y - eta grad(y).

    The residual is e_k of this chapter with D = beta (1 - s), s = eta (mu + ridge); critical at
    s = ((1 - beta) / (1 + beta))^2, under-damped above, up to s = 1. On null modes it is the heavy ball; the accuracy
    is the same (``tests/theory/rules/test_momentum.py``). Stable below (2 + 2 beta) / ((1 + 2 beta) (mu_max + ridge)).

    Attributes:
        step_size: eta, unit time.
        momentum: beta, in [0, 1); at 0 this is `GradientDescent`.
        ridge: coupled weight decay, part of grad; unit 1/time.

    Raises:
        ValueError: a momentum outside of [0, 1), a step size that is not positive, a negative decay.

    >>> rule = Nesterov(step_size=0.5, momentum=0.5)
    >>> rule.residual(jnp.asarray([0.0, 1.0]), jnp.asarray([1.0, 2.0])).tolist()
    [[1.0, 0.5], [1.0, 0.125]]
    """

    stable_below: ClassVar[str] = "(2 + 2 momentum) / ((1 + 2 momentum) (mu_max + ridge))"

    def step(self, gradient: Gradient, k: Array, state: Moving) -> Moving:
        """y - eta grad(y), y = theta + beta (theta - theta_{k-1})."""
        return _look_ahead(state, gradient, self.step_size, self.momentum)

    def largest_stable_step(self, largest_eigenvalue: float | Float[Array, ""]) -> float | Float[Array, ""]:
        """(2 + 2 beta) / ((1 + 2 beta) (mu_max + ridge)), where a root passes -1.

        >>> Nesterov(step_size=0.1, momentum=0.5).largest_stable_step(1.0)
        1.5
        """
        bound = (2 + 2 * self.momentum) / (1 + 2 * self.momentum)
        return over_rate(bound, largest_eigenvalue + self.ridge)

    def kept(self, progress: Float[Array, "modes"]) -> Float[Array, "modes"]:
        return self.momentum * (1 - progress)


class NesterovIncreasing(_Remembering):
    """Nesterov's momentum as it is usually run, with beta_k = k / (k + 3) at step k = 0, 1, ...

    No power of one matrix tells k steps here: one pass over them serves all times that are asked for, and costs as many
    steps as the latest of them. On a null mode the gain is eta k (k + 7) / 8, which is what it calls the time of k
    steps: slow modes are learnt at the square of the number of steps. Every mode rings in the end. Exact in value and
    in (first) derivative, forward and reverse, down to mu = 0, to about a rounding a step
    (``tests/theory/rules/test_increasing.py``); stable below 4 / (3 (mu_max + ridge)), where the momentum has risen to
    1.

    Attributes:
        step_size: eta, unit time.
        ridge: coupled weight decay, part of the gradient; unit 1/time.

    Raises:
        ValueError: a step size that is not positive, a negative decay.

    >>> rule = NesterovIncreasing(step_size=0.5)
    >>> rule.residual(jnp.asarray([0.0, 1.0]), jnp.asarray([1.0, 2.0])).tolist()
    [[1.0, 0.5], [1.0, 0.1875]]
    >>> rule.gain(jnp.asarray([0.0]), jnp.asarray(8.0)).tolist(), float(rule.time(jnp.asarray(8.0)))
    ([7.5], 7.5)
    """

    step_size: float | Float[Array, ""] = eqx.field(converter=as_step_size)
    ridge: float | Float[Array, ""] = eqx.field(default=0.0, converter=as_ridge)
    stable_below: ClassVar[str] = "4 / (3 (mu_max + ridge))"

    def step(self, gradient: Gradient, k: Array, state: Moving) -> Moving:
        """The momentum k / (k + 3) in `Nesterov`'s step."""
        return _look_ahead(state, gradient, self.step_size, (k / (k + 3)).astype(state.weights.dtype))

    def course(self, eigenvalues: Float[Array, "modes"], t: Float[Array, "*times"]) -> Response:
        left, moved = _rising(self._progress(eigenvalues), t)
        return Response(left, self.step_size * moved)

    def time(self, t: Float[Array, "*times"]) -> Float[Array, "*times"]:
        """The effective time eta k (k + 7) / 8, the gain of a null mode."""
        return self.step_size * t * (t + 7) / 8

    def roundings(self, t: Float[Array, "*times"]) -> Float[Array, "*times"]:
        """One a step."""
        return ROUNDINGS + t

    def reach(self, eigenvalues: Float[Array, "modes"], t: Float[Array, "*times"]) -> Float[Array, "*times modes"]:
        """At most the root of time / (mu + ridge), times that of s = eta (mu + ridge) where s > 1: it rings on and on.

        What a push at step j does rings at step k as (j / k)^(3/2): of all pushes so far, a share of k is still heard.
        """
        time, rate = self.time(t)[..., None], rows(eigenvalues + self.ridge, t[..., None])
        moves = rate > 0
        ringing = jnp.sqrt(time * jnp.maximum(1, self.step_size * rate) / jnp.where(moves, rate, 1))
        return jnp.where(moves, jnp.minimum(time, ringing), time)

    def largest_stable_step(self, largest_eigenvalue: float | Float[Array, ""]) -> float | Float[Array, ""]:
        """4 / (3 (mu_max + ridge)), that of `Nesterov` as its momentum rises to 1.

        >>> NesterovIncreasing(step_size=0.1).largest_stable_step(4 / 3)
        1.0
        """
        return over_rate(4 / 3, largest_eigenvalue + self.ridge)


def _look_ahead(state: Moving, gradient: Gradient, step_size: float | Array, momentum: float | Array) -> Moving:
    theta, previous = state
    ahead = theta + momentum * (theta - previous)
    return Moving(ahead - step_size * gradient(ahead), theta)


@jax.custom_jvp
def _rising(
    progress: Float[Array, "modes"], steps: Float[Array, "*times"]
) -> tuple[Float[Array, "*times modes"], Float[Array, "*times modes"]]:
    """What is left, and how far a force of 1/eta has moved it, under the momentum k / (k + 3)."""

    def step(k: Array, mode: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        left, speed, moved = mode
        beta = jnp.asarray(k / (k + 3), progress.dtype)
        speed = beta * (1 - progress) * speed + left
        moved = moved + speed
        # Of a slow mode 1 - s moved has all digits; of a fast one the difference, which keeps its small size.
        left = jnp.where(progress * moved < 0.5, 1 - progress * moved, left - progress * speed)
        return left, speed, moved

    ones, zeros = jnp.ones_like(progress), jnp.zeros_like(progress)
    return recorded(step, (ones, zeros, zeros), lambda mode, _: (mode[0], mode[2]), steps)


@_rising.defjvp
def _rising_slope(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[tuple, tuple]:
    """Modes do not mix: forward slopes are all that a derivative in reverse needs, which no loop of open end has."""
    progress, steps = primals
    values, slopes = jax.jvp(lambda progress: _rising.fun(progress, steps), (progress,), (jnp.ones_like(progress),))
    return values, tuple(slope * rows(tangents[0], slope) for slope in slopes)
