"""Many steps of one mode at once: powers of the matrix of a step, and the sums of all powers so far, by squaring.

With s = eta (mu + ridge) and D what is kept of the velocity, the part e still to be learnt and its velocity obey

    velocity_{k+1} = D velocity_k - s e_k,      e_{k+1} = e_k + velocity_{k+1},       velocity_0 = 0.

Written in the roots of z^2 - (1 + D - s) z + D, k steps are powers of them over their difference, which cancels near
the critical mode, and has no derivative at it. Written as a matrix, k steps are its k-th power, a polynomial in s and
D: the same for every kind of mode, with all its derivatives. Squaring reaches k in log2(k) multiplications, and the
share s is kept out of the entries, so that slow modes keep their digits, and null modes need no special care. The sums
over all steps so far, which means are made of, obey a law of the same kind, and are reached likewise.

Powers of the matrix are our own way.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from theory.rules.rule import Response, rows

MOST_STEPS = 2.0**63
"""Later steps count as this one."""

States = TypeVar("States")
Powers = TypeVar("Powers")


class PowerState(NamedTuple):
    """A mode on its way: e, what is left; -velocity / s; and (1 - e) / s, how far a force of 1/eta has moved it."""

    left: Float[Array, "*times modes"]
    speed: Float[Array, "*times modes"]
    moved: Float[Array, "*times modes"]


class Power(NamedTuple):
    """The matrix of n steps, (e, velocity) -> (left e + D speed velocity, -s speed e + kept velocity).

    Left = 1 - s moved; moved and speed are what a mode at rest gets, and of the order of n on null modes.
    """

    left: Float[Array, "modes"]
    speed: Float[Array, "modes"]
    moved: Float[Array, "modes"]
    kept: Float[Array, "modes"]


def after(progress: Float[Array, "modes"], kept: Float[Array, "modes"], steps: Float[Array, "*times"]) -> PowerState:
    """The state after so many steps from rest."""
    return by_squaring(
        at_rest(progress, steps),
        one_step(progress, kept),
        steps,
        lambda state, power: advance(state, power, progress, kept),
        lambda power: squared(power, progress, kept),
    )


def by_squaring(
    state: States,
    power: Powers,
    steps: Float[Array, "*times"],
    advance: Callable[[States, Powers], States],
    squared: Callable[[Powers], Powers],
) -> States:
    """The state after so many steps: for each binary digit of the number, it advances by the power of that many."""

    def digit(carry: tuple[States, Powers, Array]) -> tuple[States, Powers, Array]:
        state, power, remaining = carry
        half = jnp.floor(remaining / 2)
        chosen = (remaining > 2 * half)[..., None]
        taken = jax.tree.map(lambda new, old: jnp.where(chosen, new, old), advance(state, power), state)
        return taken, squared(power), half

    def digits(carry: tuple[States, Powers, Array], _: None) -> tuple[tuple[States, Powers, Array], None]:
        return jax.lax.cond(jnp.any(carry[2] > 0), digit, lambda same: same, carry), None

    remaining = jnp.minimum(steps, MOST_STEPS)
    (state, _, _), _ = jax.lax.scan(digits, (state, power, remaining), length=int(np.log2(MOST_STEPS)) + 1)
    return state


def at_rest(progress: Float[Array, "modes"], steps: Float[Array, "*times"]) -> PowerState:
    """Before the first step."""
    ones = jnp.ones((*steps.shape, *progress.shape), progress.dtype)
    return PowerState(ones, jnp.zeros_like(ones), jnp.zeros_like(ones))


def one_step(progress: Float[Array, "modes"], kept: Float[Array, "modes"]) -> Power:
    """The matrix of one step."""
    return Power(1 - progress, jnp.ones_like(progress), jnp.ones_like(progress), kept)


def advance(state: PowerState, power: Power, progress: Array, kept: Array) -> PowerState:
    left, speed, moved, still = (rows(entry, state.left) for entry in power)
    coupled = rows(kept, state.left) * speed * state.speed
    return PowerState(
        left * state.left - rows(progress, state.left) * coupled,
        speed * state.left + still * state.speed,
        moved + left * state.moved + coupled,
    )


def squared(power: Power, progress: Array, kept: Array) -> Power:
    coupled = kept * power.speed**2
    moved = power.moved * (1 + power.left) + coupled
    # Of a slow mode 1 - s moved has all digits; of a fast one the square, which keeps its small size.
    slow = progress * moved < 0.5
    left = jnp.where(slow, 1 - progress * moved, power.left**2 - progress * coupled)
    return Power(left, power.speed * (power.left + power.kept), moved, power.kept**2 - progress * coupled)


def mean_after(progress: Float[Array, "modes"], kept: Float[Array, "modes"], steps: Float[Array, "*times"]) -> Response:
    """Means over 1..k of what is left, and of how far a force of 1/eta has moved a mode; before any step, the start."""
    state, moved = _sums_after(progress, kept, steps)
    return _means(_left_so_far(state, progress, kept), moved, progress, steps)


def plain_mean_after(progress: Float[Array, "modes"], steps: Float[Array, "*times"]) -> Response:
    """The same without a velocity, D = 0, in half of the entries."""
    way, moved = _plain_sums_after(progress, steps)
    return _means(rows(1 - progress, way) * way, moved, progress, steps)


def _means(
    left: Float[Array, "*times modes"],
    moved: Float[Array, "*times modes"],
    progress: Float[Array, "modes"],
    steps: Float[Array, "*times"],
) -> Response:
    """From the sums."""
    none = (steps == 0)[..., None]
    number = jnp.where(none, 1, steps[..., None])
    # Of a mode that rings the sum of what it has moved cancels; it is what is not left, which a slow mode cancels.
    slow = (left > number / 2) | none
    moved = jnp.where(slow, moved, (number - left) / jnp.where(slow, 1, rows(progress, left)))
    return Response(jnp.where(none, 1, left / number), moved / number)


class _Sums(NamedTuple):
    """A mode on its way, and the sum of how far it had moved after each step so far."""

    state: PowerState
    moved: Float[Array, "*times modes"]


class _SumsPower(NamedTuple):
    """The matrix of n steps, and the sum over 1..n of its entry moved; that of speed is moved itself."""

    power: Power
    moved: Float[Array, "modes"]


def _left_so_far(
    state: PowerState | Power, progress: Float[Array, "modes"], kept: Float[Array, "modes"]
) -> Float[Array, "*times modes"]:
    """The sum of what was left after each step: s e is what the velocity loses, D velocity - velocity'."""
    return rows(1 - kept - progress, state.moved) * state.moved + rows(kept, state.moved) * state.speed


def _sums_after(progress: Float[Array, "modes"], kept: Float[Array, "modes"], steps: Float[Array, "*times"]) -> _Sums:
    def advance_sums(sums: _Sums, powers: _SumsPower) -> _Sums:
        state, left = sums.state, _left_so_far(powers.power, progress, kept)
        coupled = rows(kept * powers.power.moved, state.left) * state.speed
        moved = rows(powers.moved, state.left) + state.moved * rows(left, state.left) + coupled
        return _Sums(advance(state, powers.power, progress, kept), sums.moved + moved)

    def squared_sums(powers: _SumsPower) -> _SumsPower:
        power = powers.power
        again = power.moved * _left_so_far(power, progress, kept) + kept * power.moved * power.speed
        return _SumsPower(squared(power, progress, kept), 2 * powers.moved + again)

    rest, one = at_rest(progress, steps), one_step(progress, kept)
    zeros = jnp.zeros_like(rest.left)
    return by_squaring(_Sums(rest, zeros), _SumsPower(one, one.moved), steps, advance_sums, squared_sums)


class _PlainSums(NamedTuple):
    """Without a velocity: a mode, or the factor of n steps."""

    now: Float[Array, "*times modes"]
    way: Float[Array, "*times modes"]
    moved: Float[Array, "*times modes"]


def _plain_sums_after(
    progress: Float[Array, "modes"], steps: Float[Array, "*times"]
) -> tuple[Float[Array, "*times modes"], Float[Array, "*times modes"]]:
    """How far gradient descent has moved a mode, and the sum of that over all steps so far."""

    def advance(mode: _PlainSums, power: _PlainSums) -> _PlainSums:
        now, way, moved = (rows(entry, mode.now) for entry in power)
        further = moved + rows(1 - progress, mode.now) * way * mode.way
        return _PlainSums(mode.now * now, way + now * mode.way, mode.moved + further)

    def squared(power: _PlainSums) -> _PlainSums:
        now, way, moved = power
        further = way * (1 + now)
        # Of a slow mode 1 - s way has all digits; of a fast one the square, which keeps its small size.
        factor = jnp.where(progress * further < 0.5, 1 - progress * further, now**2)
        return _PlainSums(factor, further, 2 * moved + (1 - progress) * way**2)

    rest, ones = at_rest(progress, steps), jnp.ones_like(progress)
    zeros = jnp.zeros_like(rest.left)
    start, one = _PlainSums(rest.left, zeros, zeros), _PlainSums(1 - progress, ones, ones)
    after = by_squaring(start, one, steps, advance, squared)
    return after.way, after.moved
