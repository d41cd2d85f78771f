"""The mean of the iterates: training that looks back on all of its way, and so forgets its noise only slowly.

Averaging theta_1..theta_k (Polyak and Juditsky, 1992, `polyak1992averaging`) replaces residual and gain by their
means along the way. A fast mode, learnt at once, still owes what it owed at the start, shared out over all steps: the
averaged residual falls as 1 / (mu t), not exponentially. A slow mode stands where it stood at half of the time. On
the average of a flow the late residual 1 / (mu t) is that of ridge regression of ridge 1/t: averaging is a decay that
fades as training goes on.

The sums obey the same two-term law as the iterates (see `theory.momentum`), and are reached by squaring as they are.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from theory.filters import GradientDescent, GradientFlow, Response, Rule, horner, mean_decay, rows
from theory.momentum import HeavyBall, Nesterov, Power, State, advance, at_rest, by_squaring, one_step, squared

AVERAGED = (GradientFlow, GradientDescent, HeavyBall, Nesterov)
"""The rules whose mean has a closed form."""


class Averaged(Rule):
    """The mean of a rule's weights: theta_1..theta_k by steps, or those over [0, t] of gradient flow.

    Of the flow, with x = (mu + ridge) t: residual = (1 - exp(-x)) / x and gain = t (1 - residual) / x, t / 2 on a null
    mode. Of gradient descent, eta (k + 1) / 2 there. Exact in value and in derivative, down to mu = 0, as the rule
    itself (``tests/theory/test_averaging.py``). After no steps, it is the start. The limit t = infinity is that of the
    rule, which it approaches as 1 / (mu t).

    Time, stability and decay are the rule's: t is how long was trained, of which a slow mode has lived half.

    Attributes:
        rule: `GradientFlow`, `GradientDescent`, `HeavyBall` or `Nesterov`.

    Raises:
        TypeError: a rule whose mean has no closed form here.

    >>> Averaged(GradientFlow()).residual(jnp.asarray([0.0, 1.0]), jnp.asarray(2.0)).round(4).tolist()
    [1.0, 0.4323]
    >>> Averaged(GradientDescent(0.5)).residual(jnp.asarray([0.0, 1.0]), jnp.asarray(2.0)).tolist()
    [1.0, 0.375]
    """

    rule: GradientFlow | GradientDescent | HeavyBall | Nesterov

    def __init__(self, rule: Rule) -> None:
        if not isinstance(rule, AVERAGED):
            raise TypeError(
                f"rule: the mean of {type(rule).__name__} has no closed form here; pass a GradientFlow, "
                "GradientDescent, HeavyBall or Nesterov"
            )
        self.rule = rule

    @property  # type: ignore[misc]
    def ridge(self) -> float | Float[Array, ""]:  # type: ignore[override]
        """The rule's."""
        return self.rule.ridge

    @property
    def counts_steps(self) -> bool:  # type: ignore[override]
        """As the rule."""
        return self.rule.counts_steps

    def residual(self, eigenvalues: Float[Array, "modes"], t: Float[Array, "*times"]) -> Float[Array, "*times modes"]:
        return self.response(eigenvalues, t).residual

    def gain(self, eigenvalues: Float[Array, "modes"], t: Float[Array, "*times"]) -> Float[Array, "*times modes"]:
        return self.response(eigenvalues, t).gain

    def response(self, eigenvalues: Float[Array, "modes"], t: Float[Array, "*times"]) -> Response:
        left, moved = self._means(eigenvalues, jnp.where(jnp.isinf(t), 0, t))
        return self._in_the_limit(eigenvalues, t, left, moved)

    def time(self, t: Float[Array, "*times"]) -> Float[Array, "*times"]:
        """That of the rule."""
        return self.rule.time(t)

    def largest_stable_step(self, largest_eigenvalue: float | Float[Array, ""]) -> float | Float[Array, ""]:
        """That of the rule: the mean of what diverges diverges."""
        return self.rule.largest_stable_step(largest_eigenvalue)

    def check_stable(self, largest_eigenvalue: float) -> None:
        """Raises ValueError where the rule does."""
        self.rule.check_stable(largest_eigenvalue)

    def overshoot(self, eigenvalues: Float[Array, "modes"]) -> Float[Array, "modes"]:
        """That of the rule, whose mean goes no farther than it does."""
        return self.rule.overshoot(eigenvalues)

    def roundings(self, t: Float[Array, "*times"]) -> Float[Array, "*times"]:
        """Those of the rule."""
        return self.rule.roundings(t)

    def _means(self, eigenvalues: Float[Array, "modes"], t: Float[Array, "*times"]) -> tuple[Array, Array]:
        """The mean residual and the mean gain up to a finite t."""
        if isinstance(self.rule, GradientFlow):
            decay = t[..., None] * rows(eigenvalues + self.ridge, t[..., None])
            return mean_decay(decay), t[..., None] * _mean_learnt(decay)
        rule = self.rule
        progress = rule.step_size * (eigenvalues + rule.ridge)
        if isinstance(rule, GradientDescent):
            way, moved = _plain_sums_after(progress, t)
            left = rows(1 - progress, way) * way
        else:
            kept = rule.kept(progress)
            state, moved = _sums_after(progress, kept, t)
            left = _left_so_far(state, progress, kept)
        none = (t == 0)[..., None]
        steps = jnp.where(none, 1, t[..., None])
        # Of a mode that rings the sum of what it has moved cancels; it is what is not left, which a slow mode cancels.
        slow = (left > steps / 2) | none
        moved = jnp.where(slow, moved, (steps - left) / jnp.where(slow, 1, rows(progress, left)))
        return jnp.where(none, 1, left / steps), rule.step_size * moved / steps


class _Sums(NamedTuple):
    """A mode on its way, and the sum of how far it had moved after each step so far."""

    state: State
    moved: Float[Array, "*times modes"]


class _SumsPower(NamedTuple):
    """The matrix of n steps, and the sum over 1..n of its entry moved; that of speed is moved itself."""

    power: Power
    moved: Float[Array, "modes"]


def _left_so_far(
    state: State | Power, progress: Float[Array, "modes"], kept: Float[Array, "modes"]
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
    """The same without a velocity, whose steps need half of the entries: a mode, or the factor of n steps."""

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


def _mean_learnt(x: Float[Array, "*any"]) -> Float[Array, "*any"]:
    """(1 - mean_decay(x)) / x; 1/2 at x = 0, with all its derivatives."""
    small = x < 1
    series = horner(jnp.where(small, x, 0), _LEARNT_SERIES)
    safe = jnp.where(small, 1, x)
    return jnp.where(small, series, (1 - mean_decay(safe)) / safe)


_LEARNT_SERIES = [(-1.0) ** k / float(np.prod(np.arange(1.0, k + 3))) for k in range(18)]
