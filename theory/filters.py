"""What a training rule does to one mode: how much of it is left to learn, and how far a unit force has moved it.

Linear least squares trained by a linear rule falls apart into independent modes, the eigenvectors of the feature
covariance. A mode of eigenvalue mu, pushed by a constant force b from a start u_0, stands at time t at

    u_t = residual(mu, t) u_0 + gain(mu, t) b,        (mu + ridge) gain + residual = 1.

So a training rule *is* a pair of functions. A mode learns once mu t passes 1: modes of large eigenvalue, which carry
the clean pattern, first; modes of small eigenvalue, which carry Mixup's label noise, late. That order is the U-curve.
"""

import math
from abc import abstractmethod
from typing import ClassVar, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from theory.checks import check_not_negative, check_positive, check_type, check_untraced


def number(value: float | Array) -> float | Array:
    """The value as a Python float, unless it is an array, whose precision and derivatives count."""
    return float(value) if isinstance(value, int | np.number) else value


class Response(NamedTuple):
    """What a rule makes of all modes."""

    residual: Float[Array, "*times modes"]
    gain: Float[Array, "*times modes"]


class Rule(eqx.Module):
    """A training rule of the loss L(theta) = |Phi theta - y|^2 / (2 m) + ridge |theta|^2 / 2.

    Attributes:
        ridge: coupled weight decay, unit 1/time, as the eigenvalues.
        counts_steps: whether t is a number of steps (otherwise a time, ``step_size * steps``).
    """

    ridge: eqx.AbstractVar[float | Float[Array, ""]]
    counts_steps: eqx.AbstractClassVar[bool]

    @abstractmethod
    def residual(self, eigenvalues: Float[Array, "modes"], t: Float[Array, "*times"]) -> Float[Array, "*times modes"]:
        """The share of a mode's start that is still there at t."""

    @abstractmethod
    def gain(self, eigenvalues: Float[Array, "modes"], t: Float[Array, "*times"]) -> Float[Array, "*times modes"]:
        """How far a unit force has moved a mode by t; on a null mode the time, but for momentum's late start."""

    def response(self, eigenvalues: Float[Array, "modes"], t: Float[Array, "*times"]) -> "Response":
        """Residual and gain, in one pass where the rule can."""
        return Response(self.residual(eigenvalues, t), self.gain(eigenvalues, t))

    @abstractmethod
    def time(self, t: Float[Array, "*times"]) -> Float[Array, "*times"]:
        """The time that t stands for: a slow mode is learnt at about 1/mu of it, whatever the rule."""

    @abstractmethod
    def largest_stable_step(self, largest_eigenvalue: float | Float[Array, ""]) -> float | Float[Array, ""]:
        """The step size from which on the fastest mode no longer converges; infinite where there are no steps."""

    @abstractmethod
    def check_stable(self, largest_eigenvalue: float) -> None:
        """Raises ValueError if the rule's steps are too long for the fastest mode; says what to pass instead."""

    def overshoot(self, eigenvalues: Float[Array, "modes"]) -> Float[Array, "modes"]:
        """By how much pushes that alternate move a mode farther than steady ones; 1 for rules that never overshoot.

        A bound on (mu + ridge) times the sum of the sizes of what a unit push at one instant does at all later ones;
        no residual exceeds it either. The error of a curve rests on it (`theory.trust`): a rule of your own whose
        fast modes ring must say by how much.
        """
        return jnp.ones_like(eigenvalues)

    def reach(self, eigenvalues: Float[Array, "modes"], t: Float[Array, "*times"]) -> Float[Array, "*times modes"]:
        """How far pushes of size one, each of the worst sign, can have moved a mode by t: at least the gain."""
        rate = eigenvalues + self.ridge
        return jnp.minimum(self.time(t)[..., None], rows(self.overshoot(eigenvalues) / rate, t[..., None]))

    def roundings(self, t: Float[Array, "*times"]) -> Float[Array, "*times"]:
        """By how many roundings residual and gain may be wrong, in units of the overshoot and of it times the reach."""
        return jnp.full_like(t, ROUNDINGS)

    def fixed_gain(self, eigenvalues: Float[Array, "*times modes"]) -> Float[Array, "*times modes"]:
        """The gain at t = infinity, 1 / (mu + ridge); 0 on null modes, which no force moves."""
        shifted = eigenvalues + self.ridge
        return jnp.where(shifted > 0, 1 / jnp.where(shifted > 0, shifted, 1), 0)

    def _left_at_infinity(
        self, eigenvalues: Float[Array, "modes"], steps: Float[Array, "*times 1"]
    ) -> Float[Array, "*times modes"]:
        """A null mode does not decay, however long one waits; every other one has."""
        return rows(jnp.where(eigenvalues + self.ridge == 0, 1.0, jnp.zeros_like(eigenvalues)), steps)

    def _in_the_limit(
        self,
        eigenvalues: Float[Array, "modes"],
        t: Float[Array, "*times"],
        residual: Float[Array, "*times modes"],
        gain: Float[Array, "*times modes"],
    ) -> Response:
        """What was found at finite times, and at infinite ones the limits."""
        at_infinity = jnp.isinf(t)[..., None]
        left = jnp.where(at_infinity, self._left_at_infinity(eigenvalues, t[..., None]), residual)
        return Response(left, self._with_limit(at_infinity, eigenvalues, gain))

    def _with_limit(
        self, at_infinity: Bool[Array, "*times 1"], eigenvalues: Float[Array, "modes"], gain: Array
    ) -> Float[Array, "*times modes"]:
        """The gain, and the fixed one at infinity; elsewhere 1 / mu^2, its derivative, must not overflow."""
        return jnp.where(at_infinity, self.fixed_gain(jnp.where(at_infinity, rows(eigenvalues, at_infinity), 1)), gain)


ROUNDINGS = 8.0
"""Of a formula: its own, and those of the functions in it."""


class ConstantStep(Rule):
    """A rule whose steps all have one size.

    Attributes:
        step_size: eta, unit time.
        stable_below: what bounds it, as the message about a longer one writes it.
    """

    step_size: eqx.AbstractVar[float | Float[Array, ""]]
    counts_steps: ClassVar[bool] = True
    stable_below: eqx.AbstractClassVar[str]

    def __check_init__(self) -> None:
        check_not_negative("ridge", self.ridge)
        check_positive("step_size", self.step_size)

    def check_stable(self, largest_eigenvalue: float) -> None:
        """Raises ValueError at the largest stable step and past it."""
        largest = self.largest_stable_step(largest_eigenvalue)
        if self.step_size >= largest:
            raise ValueError(
                f"step_size: {float(self.step_size):g} diverges on this problem; pass a step below the largest stable "
                f"one, {self.stable_below} = {float(largest):.6g}"
            )


RuleKind = TypeVar("RuleKind", bound=Rule)


class GradientFlow(Rule):
    """Gradient descent with infinitesimal steps: residual = exp(-(mu + ridge) t).

    The gain (1 - exp(-mu t)) / mu is exact, in value and in derivative, down to mu = 0, where it is t
    (``tests/theory/test_filters.py``). ``t = inf`` gives the limit, in which null modes have not moved.

    >>> rule = GradientFlow()
    >>> rule.gain(jnp.asarray([0.0, 1e-300, 1.0]), jnp.asarray(2.0)).round(4).tolist()
    [2.0, 2.0, 0.8647]
    """

    ridge: float | Float[Array, ""] = eqx.field(default=0.0, converter=number)
    counts_steps: ClassVar[bool] = False

    def __check_init__(self) -> None:
        check_not_negative("ridge", self.ridge)

    def residual(self, eigenvalues: Float[Array, "modes"], t: Float[Array, "*times"]) -> Float[Array, "*times modes"]:
        at_infinity = jnp.isinf(t)
        left = jnp.exp(-self._decay(eigenvalues, jnp.where(at_infinity, 0, t)))
        return jnp.where(at_infinity[..., None], self._left_at_infinity(eigenvalues, t[..., None]), left)

    def gain(self, eigenvalues: Float[Array, "modes"], t: Float[Array, "*times"]) -> Float[Array, "*times modes"]:
        at_infinity = jnp.isinf(t)
        finite = jnp.where(at_infinity, 0, t)
        moved = finite[..., None] * mean_decay(self._decay(eigenvalues, finite))
        return self._with_limit(at_infinity[..., None], eigenvalues, moved)

    def time(self, t: Float[Array, "*times"]) -> Float[Array, "*times"]:
        return t

    def largest_stable_step(self, largest_eigenvalue: float | Float[Array, ""]) -> float | Float[Array, ""]:
        """Infinite: the flow takes no steps."""
        return math.inf

    def check_stable(self, largest_eigenvalue: float) -> None:
        """Returns: the flow never diverges."""

    def _decay(self, eigenvalues: Float[Array, "modes"], t: Float[Array, "*times"]) -> Float[Array, "*times modes"]:
        return t[..., None] * rows(eigenvalues + self.ridge, t[..., None])


class GradientDescent(ConstantStep):
    """Full-batch gradient descent, k steps of size eta: residual = (1 - eta (mu + ridge))^k.

    Stable below eta = 2 / (mu_max + ridge); between half of that and that, the fastest modes overshoot and alternate.
    Exact in value and in derivative down to mu = 0, where the gain is eta k (``tests/theory/test_filters.py``).

    >>> rule = GradientDescent(step_size=0.5)
    >>> rule.residual(jnp.asarray([0.0, 1.0, 3.0]), jnp.asarray(2.0)).tolist()
    [1.0, 0.25, 0.25]
    """

    # mypy counts the abstract ridge as the first field; equinox does not.
    step_size: float | Float[Array, ""] = eqx.field(converter=number)  # type: ignore[misc]
    ridge: float | Float[Array, ""] = eqx.field(default=0.0, converter=number)
    stable_below: ClassVar[str] = "2 / (mu_max + ridge)"

    def residual(self, eigenvalues: Float[Array, "modes"], t: Float[Array, "*times"]) -> Float[Array, "*times modes"]:
        progress = self._progress(eigenvalues)
        at_infinity = jnp.isinf(t)[..., None]
        steps = jnp.where(at_infinity, 0, t[..., None])
        slow = progress < SERIES_BELOW
        log_form = jnp.exp(-steps * rows(_minus_log1m(jnp.where(slow, progress, 0)), steps))
        # On a fast mode a power is as accurate, and it knows the sign of an overshooting mode.
        power_form = jnp.power(rows(1 - jnp.where(slow, 0, progress), steps), jnp.maximum(steps, 1))
        left = jnp.where(rows(slow, steps) | (steps == 0), log_form, power_form)
        return jnp.where(at_infinity, self._left_at_infinity(eigenvalues, steps), left)

    def gain(self, eigenvalues: Float[Array, "modes"], t: Float[Array, "*times"]) -> Float[Array, "*times modes"]:
        progress = self._progress(eigenvalues)
        at_infinity = jnp.isinf(t)
        steps = jnp.where(at_infinity, 0, t)[..., None]
        slow = progress < SERIES_BELOW
        small = jnp.where(slow, progress, 0)
        decay = steps * rows(_minus_log1m(small), steps)
        log_form = steps * mean_decay(decay) * rows(_mean_log1m(small), steps)
        power_form = (1 - self.residual(eigenvalues, steps[..., 0])) / rows(jnp.where(slow, 1, progress), steps)
        moved = self.step_size * jnp.where(rows(slow, steps), log_form, power_form)
        return self._with_limit(at_infinity[..., None], eigenvalues, moved)

    def time(self, t: Float[Array, "*times"]) -> Float[Array, "*times"]:
        return self.step_size * t

    def largest_stable_step(self, largest_eigenvalue: float | Float[Array, ""]) -> float | Float[Array, ""]:
        """2 / (mu_max + ridge), from which size on the fastest mode no longer converges.

        >>> GradientDescent(step_size=0.1).largest_stable_step(4.0)
        0.5
        """
        return over_rate(2.0, largest_eigenvalue + self.ridge)

    def overshoot(self, eigenvalues: Float[Array, "modes"]) -> Float[Array, "modes"]:
        """1 up to eta (mu + ridge) = 1, and s / (2 - s) of a mode that alternates, s = eta (mu + ridge)."""
        return of_alternating(self._progress(eigenvalues))

    def _progress(self, eigenvalues: Float[Array, "modes"]) -> Float[Array, "modes"]:
        return self.step_size * (eigenvalues + self.ridge)


def of_alternating(progress: Float[Array, "modes"]) -> Float[Array, "modes"]:
    """The overshoot of gradient descent: s times the sum of |1 - s|^k."""
    return jnp.where(progress <= 1, 1, progress / jnp.maximum(2 - progress, jnp.finfo(progress.dtype).tiny))


SERIES_BELOW = 0.1
"""Below this argument the functions under here are summed as series, whose derivatives are exact too."""


def mean_decay(x: Float[Array, "*any"]) -> Float[Array, "*any"]:
    """(1 - exp(-x)) / x, the mean of exp(-x s) over s in [0, 1]; 1 at x = 0, with all its derivatives.

    Dividing loses nothing in value (expm1 is exact) but its derivative (exp(-x) - f(x)) / x cancels near zero,
    and is NaN at it; below `SERIES_BELOW` the series is exact in both.

    >>> mean_decay(jnp.asarray([0.0, 1.0])).round(4).tolist()
    [1.0, 0.6321]
    """
    small = x < SERIES_BELOW
    series = horner(jnp.where(small, x, 0), _DECAY_SERIES)
    safe = jnp.where(small, 1, x)
    return jnp.where(small, series, -jnp.expm1(-safe) / safe)


def _mean_log1m(s: Float[Array, "*any"]) -> Float[Array, "*any"]:
    """-log(1 - s) / s for 0 <= s < SERIES_BELOW."""
    return horner(s, _LOG_SERIES)


def _minus_log1m(s: Float[Array, "*any"]) -> Float[Array, "*any"]:
    return -jnp.log1p(-s)


_TERMS = 16  # SERIES_BELOW ** 16 is below the resolution of float64
_DECAY_SERIES = [(-1.0) ** k / float(np.prod(np.arange(1.0, k + 2))) for k in range(_TERMS)]
_LOG_SERIES = [1.0 / (k + 1) for k in range(_TERMS)]


def horner(x: Float[Array, "*any"], coefficients: list[float]) -> Float[Array, "*any"]:
    """The polynomial of these coefficients, lowest order first."""
    total = jnp.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * x + coefficient
    return total


def rows(vector: Array, steps: Array) -> Array:
    """The vector of modes, repeated for all times; steps has one axis more than the times."""
    return jnp.broadcast_to(vector, steps.shape[:-1] + vector.shape)


def traced(rule: "RuleKind", dtype: jnp.dtype) -> "RuleKind":
    """The rule with arrays for its numbers: compiled functions take them as they come, and compile once for all."""
    return jax.tree.map(lambda value: jnp.asarray(value, dtype), rule)


def check_rule(rule: object) -> None:
    """Raises TypeError unless it is a training rule whose numbers are known."""
    check_type("rule", rule, Rule, "a rule, such as theory.GradientFlow() or theory.GradientDescent(step_size)")
    check_untraced("rule", rule)


def over_rate(bound: float | Array, rate: float | Array) -> float | Array:
    """Bound / rate, infinite at rate zero for plain numbers too: where nothing is learnt, nothing diverges."""
    return math.inf if isinstance(rate, int | float) and rate == 0 else bound / rate
