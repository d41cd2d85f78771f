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

    def _means(self, eigenvalues: Float[Array, "modes"], t: Float[Array, "*times"]) -> tuple[Array, Array]:
        """The mean residual and the mean gain up to a finite t."""
        if isinstance(self.rule, GradientFlow):
            decay = t[..., None] * rows(eigenvalues + self.ridge, t[..., None])
            return mean_decay(decay), t[..., None] * _mean_learnt(decay)
        rule = self.rule
        progress = rule.step_size * (eigenvalues + rule.ridge)
        if isinstance(rule, GradientDescent):
            sums: _Sums | _PlainSums = _plain_sums_after(progress, t)
        else:
            sums = _sums_after(progress, rule.kept(progress), t)
        none = (t == 0)[..., None]
        steps = jnp.where(none, 1, t[..., None])
        return jnp.where(none, 1, sums.left / steps), rule.step_size * sums.moved / steps


class _Sums(NamedTuple):
    """A mode on its way, and the sums of what was left and of how far it had moved, after each step so far."""

    state: State
    left: Float[Array, "*times modes"]
    moved: Float[Array, "*times modes"]


class _SumsPower(NamedTuple):
    """The matrix of n steps, and the sums over 1..n of its entries left and moved; that of speed is moved itself."""

    power: Power
    left: Float[Array, "modes"]
    moved: Float[Array, "modes"]


def _sums_after(progress: Float[Array, "modes"], kept: Float[Array, "modes"], steps: Float[Array, "*times"]) -> _Sums:
    def advance_sums(sums: _Sums, powers: _SumsPower) -> _Sums:
        state, power = sums.state, powers.power
        coupled = rows(kept * power.moved, state.left) * state.speed
        left, moved = rows(powers.left, state.left), rows(powers.moved, state.left)
        return _Sums(
            advance(state, power, progress, kept),
            sums.left + state.left * left - rows(progress, state.left) * coupled,
            sums.moved + moved + state.moved * left + coupled,
        )

    def squared_sums(powers: _SumsPower) -> _SumsPower:
        power = powers.power
        coupled = kept * power.moved * power.speed
        return _SumsPower(
            squared(power, progress, kept),
            powers.left * (1 + power.left) - progress * coupled,
            2 * powers.moved + power.moved * powers.left + coupled,
        )

    rest, one = at_rest(progress, steps), one_step(progress, kept)
    zeros = jnp.zeros_like(rest.left)
    return by_squaring(
        _Sums(rest, zeros, zeros), _SumsPower(one, one.left, one.moved), steps, advance_sums, squared_sums
    )


class _PlainSums(NamedTuple):
    """The same without a velocity: a mode, or the factor of n steps; and the sums after each step so far."""

    now: Float[Array, "*times modes"]
    way: Float[Array, "*times modes"]
    left: Float[Array, "*times modes"]
    moved: Float[Array, "*times modes"]


def _plain_sums_after(progress: Float[Array, "modes"], steps: Float[Array, "*times"]) -> _PlainSums:
    """Of gradient descent, whose steps need half of the entries."""

    def advance(mode: _PlainSums, power: _PlainSums) -> _PlainSums:
        now, way, left, moved = (rows(entry, mode.now) for entry in power)
        return _PlainSums(
            mode.now * now, way + now * mode.way, mode.left + mode.now * left, mode.moved + moved + left * mode.way
        )

    def squared(power: _PlainSums) -> _PlainSums:
        now, way, left, moved = power
        further = way * (1 + now)
        # Of a slow mode 1 - s way has all digits; of a fast one the square, which keeps its small size.
        factor = jnp.where(progress * further < 0.5, 1 - progress * further, now**2)
        return _PlainSums(factor, further, left * (1 + now), 2 * moved + left * way)

    rest, one = at_rest(progress, steps), 1 - progress
    zeros, ones = jnp.zeros_like(rest.left), jnp.ones_like(progress)
    return by_squaring(
        _PlainSums(rest.left, zeros, zeros, zeros), _PlainSums(one, ones, one, ones), steps, advance, squared
    )


def _mean_learnt(x: Float[Array, "*any"]) -> Float[Array, "*any"]:
    """(1 - mean_decay(x)) / x; 1/2 at x = 0, with all its derivatives."""
    small = x < 1
    series = horner(jnp.where(small, x, 0), _LEARNT_SERIES)
    safe = jnp.where(small, 1, x)
    return jnp.where(small, series, (1 - mean_decay(safe)) / safe)


_LEARNT_SERIES = [(-1.0) ** k / float(np.prod(np.arange(1.0, k + 3))) for k in range(18)]
