"""What a training rule does to one mode: how much of it is left to learn, and how far a unit force has moved it.

Linear least squares trained by a linear rule falls apart into independent modes, the eigenvectors of the feature
covariance. A mode of eigenvalue mu, pushed by a constant force b from a start u_0, stands at time t at

    u_t = residual(mu, t) u_0 + gain(mu, t) b,        (mu + ridge) gain + residual = 1.

So a training rule *is* a pair of functions. A mode learns once mu t passes 1: modes of large eigenvalue, which carry
the clean pattern, first; modes of small eigenvalue, which carry Mixup's label noise, late. That order is the U-curve.

A rule is known twice. Its ``step`` is the textbook update, which sees a gradient and nothing of eigenvalues: training
takes it. Its ``course`` is the pair of functions in closed form. A rule that has only the step gets the pair by taking
its steps on each mode, where they cost a number each instead of a pass over the data.
"""

import functools
import math
from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theory.checks import Parameters, Returned, check_not_negative, check_positive, check_type, trusted
from theory.linalg import on_device

Weights = Float[Array, "rows features"]
Gradient = Callable[[Weights], Weights]
"""Of the loss, the decay in it."""
State = Any
"""A training on its way: the weights, and whatever else the rule remembers; a pytree."""

ROUNDINGS = 8.0
"""Of a formula: its own, and those of the functions in it."""


class Response(NamedTuple):
    """What a rule makes of all modes."""

    residual: Float[Array, "*times modes"]
    gain: Float[Array, "*times modes"]


class Rule(eqx.Module):
    """A training rule of the loss L(theta) = |Phi theta - y|^2 / (2 m) + ridge |theta|^2 / 2.

    A rule of your own says how it steps, what time that takes and what is stable (docs/extending.md); a ``course`` in
    closed form makes its curves fast and accurate at any number of steps.

    Attributes:
        ridge: coupled weight decay, unit 1/time, as the eigenvalues.
        counts_steps: whether t is a number of steps (otherwise a time, ``step_size * steps``).
    """

    if TYPE_CHECKING:  # checkers take a variable for a field, and for the first argument of every rule

        @property
        def ridge(self) -> float | Float[Array, ""]: ...

    else:
        ridge: eqx.AbstractVar[float | Float[Array, ""]]
    counts_steps: eqx.AbstractClassVar[bool]

    @abstractmethod
    def time(self, t: Float[Array, "*times"]) -> Float[Array, "*times"]:
        """The time that t stands for: a slow mode is learnt at about 1/mu of it, whatever the rule."""

    @abstractmethod
    def largest_stable_step(self, largest_eigenvalue: float | Float[Array, ""]) -> float | Float[Array, ""]:
        """The step size from which on the fastest mode no longer converges; infinite where there are no steps."""

    @abstractmethod
    def check_stable(self, largest_eigenvalue: float) -> None:
        """Raises ValueError if the rule's steps are too long for the fastest mode; says what to pass instead."""

    def check_reached(self, t: np.ndarray) -> None:
        """Raises ValueError if the rule ends before the last of the times; few do."""

    def begin(self, weights: Weights) -> State:
        """Before the first step: the weights, and what the rule remembers beside them."""
        return weights

    def step(self, gradient: Gradient, k: Array, state: State) -> State:
        """From the state after k steps to that after k + 1; the gradient has the weight decay in it.

        Raises:
            TypeError: the rule takes no steps.
        """
        raise _takes_no_steps(self)

    def answer(self, state: State, k: Array | int) -> Weights:
        """The weights that the rule answers with after k steps."""
        return state

    def course(self, eigenvalues: Float[Array, "modes"], t: Float[Array, "*times"]) -> Response:
        """Residual and gain at finite t: in closed form, or else by the rule's own steps, at a cost that grows as t."""
        return _by_steps(self, eigenvalues, t)[0]

    def mean_course(self, eigenvalues: Float[Array, "modes"], t: Float[Array, "*times"]) -> Response:
        """Their means over the steps 1..t, or over [0, t]; at t = 0, those of the start."""
        return _by_steps(self, eigenvalues, t)[1]

    def response(self, eigenvalues: Float[Array, "modes"], t: Float[Array, "*times"]) -> Response:
        """Residual and gain; at infinite t the limits, in which null modes have not moved."""
        return _response(self, eigenvalues, t)

    def residual(self, eigenvalues: Float[Array, "modes"], t: Float[Array, "*times"]) -> Float[Array, "*times modes"]:
        """The share of a mode's start that is still there at t."""
        return self.response(eigenvalues, t).residual

    def gain(self, eigenvalues: Float[Array, "modes"], t: Float[Array, "*times"]) -> Float[Array, "*times modes"]:
        """How far a unit force has moved a mode by t; on a null mode the time, but for momentum's late start."""
        return self.response(eigenvalues, t).gain

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
        """By how many roundings residual and gain may be wrong, in units of the overshoot and of it times the reach.

        One a step, unless the rule's course knows better.
        """
        return ROUNDINGS + t

    def with_ridge(self, ridge: float | Float[Array, ""]) -> "Rule":
        """The same rule under another decay."""
        return eqx.tree_at(lambda rule: rule.ridge, self, ridge)

    def fixed_gain(self, eigenvalues: Float[Array, "*times modes"]) -> Float[Array, "*times modes"]:
        """The gain at t = infinity, 1 / (mu + ridge); 0 on null modes, which no force moves."""
        shifted = eigenvalues + self.ridge
        return jnp.where(shifted > 0, 1 / jnp.where(shifted > 0, shifted, 1), 0)

    def with_limits(
        self,
        course: Callable[[Float[Array, "modes"], Float[Array, "*times"]], Response],
        eigenvalues: Float[Array, "modes"],
        t: Float[Array, "*times"],
    ) -> Response:
        """What a course says at finite times, and at infinite ones the limits."""
        at_infinity = jnp.isinf(t)
        left, moved = course(eigenvalues, jnp.where(at_infinity, 0, t))
        at_infinity = at_infinity[..., None]
        # A null mode does not decay, however long one waits; every other one has.
        null = rows(jnp.where(eigenvalues + self.ridge == 0, 1.0, jnp.zeros_like(eigenvalues)), at_infinity)
        # Elsewhere 1 / mu^2, the derivative of the limit, must not overflow.
        fixed = self.fixed_gain(jnp.where(at_infinity, rows(eigenvalues, at_infinity), 1))
        return Response(jnp.where(at_infinity, null, left), jnp.where(at_infinity, fixed, moved))


class ConstantStep(Rule):
    """A rule whose steps all have one size.

    Attributes:
        step_size: eta, unit time.
        stable_below: what bounds it, as the message about a longer one writes it.
    """

    if TYPE_CHECKING:

        @property
        def step_size(self) -> float | Float[Array, ""]: ...

    else:
        step_size: eqx.AbstractVar[float | Float[Array, ""]]
    counts_steps: ClassVar[bool] = True
    stable_below: ClassVar[str] = "this rule's largest_stable_step(mu_max)"

    def __check_init__(self) -> None:
        with trusted():  # what is traced can be checked only where it is passed on, by the field's converter
            check_not_negative("ridge", self.ridge)
            check_positive("step_size", self.step_size)

    def time(self, t: Float[Array, "*times"]) -> Float[Array, "*times"]:
        """``step_size * steps``."""
        return self.step_size * t

    def roundings(self, t: Float[Array, "*times"]) -> Float[Array, "*times"]:
        """One a step, carried on as far as momentum carries a step."""
        return ROUNDINGS + jnp.maximum(t, self.time(t) / self.step_size)

    def check_stable(self, largest_eigenvalue: float) -> None:
        """Raises ValueError at the largest stable step and past it."""
        largest = self.largest_stable_step(largest_eigenvalue)
        if self.step_size >= largest:
            raise ValueError(
                f"step_size: {float(self.step_size):g} diverges on this problem; pass a step below the largest stable "
                f"one, {self.stable_below} = {float(largest):.6g}"
            )

    def _progress(self, eigenvalues: Float[Array, "modes"]) -> Float[Array, "modes"]:
        """s = eta (mu + ridge), the share of a mode that a plain step learns."""
        return self.step_size * (eigenvalues + self.ridge)


def number(value: float | Array) -> float | Array:
    """The value as a Python float, unless it is an array, whose precision and derivatives count."""
    return float(value) if isinstance(value, int | np.number) else value


def as_ridge(value: float | Array) -> float | Array:
    """The value as a weight decay, which is not negative."""
    return check_not_negative("ridge", number(value))


def as_step_size(value: float | Array) -> float | Array:
    """The value as the size of a step, which is positive."""
    return check_positive("step_size", number(value))


def rows(vector: Array, steps: Array) -> Array:
    """The vector of modes, repeated for all times; steps has one axis more than the times."""
    return jnp.broadcast_to(vector, steps.shape[:-1] + vector.shape)


def compiled(function: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
    """Decorates what computes with a rule: it is compiled once for all rules of a kind, whatever their numbers."""
    inside: Callable[..., Returned] = eqx.filter_jit(function)

    def weak(value: object) -> object:
        # As a number of Python does, an array of one sets no precision.
        return jnp.asarray(value) if isinstance(value, float) else value

    def arrays_for_numbers(argument: object) -> object:
        return jax.tree.map(weak, argument) if isinstance(argument, Rule) else argument

    @functools.wraps(function)
    def outside(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Returned:
        named = {name: arrays_for_numbers(value) for name, value in kwargs.items()}
        return inside(*map(arrays_for_numbers, args), **named)

    return outside


@compiled
def _response(rule: Rule, eigenvalues: Float[Array, "modes"], t: Float[Array, "*times"]) -> Response:
    return rule.with_limits(rule.course, eigenvalues, t)


RuleKind = TypeVar("RuleKind", bound=Rule)


def traced(rule: RuleKind, dtype: jnp.dtype) -> RuleKind:
    """The rule with arrays for its numbers: compiled functions take them as they come, and compile once for all."""
    return jax.tree.map(lambda value: on_device(value, dtype), rule)


def elapsed(rule: Rule, t: ArrayLike, dtype: jnp.dtype | None = None) -> Array:
    """`Rule.time` of values of t, compiled once for all rules of a kind.

    Raises:
        ValueError: the rule ends before.
    """
    rule.check_reached(np.asarray(t))
    dtype = jnp.result_type(float) if dtype is None else dtype
    return _time(traced(rule, dtype), on_device(t, dtype))


@eqx.filter_jit
def _time(rule: Rule, t: Array) -> Array:
    return rule.time(t)


def check_rule(rule: object) -> None:
    """Raises TypeError unless it is a training rule."""
    check_type("rule", rule, Rule, "a rule, such as theory.GradientFlow() or theory.GradientDescent(step_size)")


def check_takes_steps(rule: Rule) -> None:
    """Raises TypeError unless the rule counts steps, which can be trained."""
    if not rule.counts_steps:
        raise _takes_no_steps(rule)


def _takes_no_steps(rule: Rule) -> TypeError:
    return TypeError(
        f"rule: {type(rule).__name__} takes no steps that could be trained; pass one that does, such as "
        "theory.GradientDescent(step_size)"
    )


def over_rate(bound: float | Array, rate: float | Array) -> float | Array:
    """Bound / rate, infinite at rate zero for plain numbers too: where nothing is learnt, nothing diverges."""
    return math.inf if isinstance(rate, int | float) and rate == 0 else bound / rate


Records = TypeVar("Records")


def recorded(
    step: Callable[[Array, State], State],
    start: State,
    read: Callable[[State, Array | int], Records],
    t: Float[Array, "*times"],
) -> Records:
    """What is read of a state after t steps, for all t by one pass over the steps; arrays of it get the times in front.

    What is held does not grow with the number of steps; there is no derivative in reverse.
    """
    wanted = jnp.sort(t.ravel())

    def one(k: Array, carry: tuple[State, Records]) -> tuple[State, Records]:
        state, records = carry
        state = step(k, state)
        # Each step writes to the row of the next time to come, which its own step writes last.
        row = jnp.searchsorted(wanted, jnp.asarray(k + 1, wanted.dtype))
        return state, jax.tree.map(lambda rows, new: rows.at[row].set(new), records, read(state, k + 1))

    begun = jax.tree.map(lambda entry: jnp.broadcast_to(entry, (wanted.size, *entry.shape)), read(start, 0))
    _, records = jax.lax.fori_loop(0, wanted[-1].astype(int), one, (start, begun))
    place = jnp.searchsorted(wanted, t)
    return jax.tree.map(lambda rows: rows[place], records)


def _by_steps(rule: Rule, eigenvalues: Float[Array, "modes"], t: Float[Array, "*times"]) -> tuple[Response, Response]:
    """Residual and gain after t steps, and their means over all steps until then, by taking the steps.

    One row of weights starts from one and is not pushed, the other is pushed from zero.
    """
    rate = eigenvalues + rule.ridge
    start = jnp.stack([jnp.ones_like(rate), jnp.zeros_like(rate)])
    force = 1 - start

    def gradient(weights: Weights) -> Weights:
        return rate[None, :] * weights - force

    def step(k: Array, sums: tuple[State, Array]) -> tuple[State, Array]:
        state = rule.step(gradient, k, sums[0])
        return state, sums[1] + rule.answer(state, k + 1)

    def read(sums: tuple[State, Array], k: Array | int) -> tuple[Response, Response]:
        state, total = sums
        return Response(*rule.answer(state, k)), Response(*jnp.where(k > 0, total / jnp.maximum(k, 1), start))

    return recorded(step, (rule.begin(start), jnp.zeros_like(start)), read, t)
