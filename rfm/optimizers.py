"""The textbook update of every training rule, step by step: what the closed forms of `theory` are held against.

An optimizer sees gradients only, and knows nothing of eigenvalues.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

import theory

Weights = Float[Array, "rows features"]
Gradient = Callable[[Weights], Weights]


class State(NamedTuple):
    """A training on its way.

    Attributes:
        weights: theta_k.
        previous: theta_{k-1}; at the first step theta_0, for momentum starts from rest.
        total: theta_1 + ... + theta_k, for averages.
    """

    weights: Weights
    previous: Weights
    total: Weights

    @staticmethod
    def at_rest(weights: Weights) -> "State":
        """Before the first step."""
        return State(weights, weights, jnp.zeros_like(weights))


TRAINABLE = (
    theory.GradientDescent,
    theory.HeavyBall,
    theory.Nesterov,
    theory.NesterovIncreasing,
    theory.StepSchedule,
)


def check_trainable(rule: theory.Rule) -> None:
    """Raises TypeError unless the rule takes steps that are written down here."""
    if isinstance(rule, theory.Averaged):
        check_trainable(rule.rule)
    elif not isinstance(rule, TRAINABLE):
        raise TypeError(
            f"rule: {type(rule).__name__} takes no steps that could be trained; pass theory.GradientDescent, "
            "HeavyBall, Nesterov, NesterovIncreasing, a StepSchedule, or one of them Averaged"
        )


def step(rule: theory.Rule, gradient: Gradient, k: Array, state: State) -> State:
    """From theta_k to theta_{k+1}; the gradient has the weight decay in it.

    >>> from theory import HeavyBall
    >>> state = State.at_rest(jnp.ones((1, 1)))
    >>> for k in range(2):
    ...     state = step(HeavyBall(0.5, 0.5), lambda weights: weights, jnp.asarray(k), state)
    >>> state.weights.tolist(), state.total.tolist()
    ([[0.0]], [[0.5]])
    """
    if isinstance(rule, theory.Averaged):
        rule = rule.rule
    theta, velocity = state.weights, state.weights - state.previous
    if isinstance(rule, theory.HeavyBall):
        new = theta - rule.step_size * gradient(theta) + rule.momentum * velocity
    elif isinstance(rule, theory.Nesterov | theory.NesterovIncreasing):
        momentum = rule.momentum if isinstance(rule, theory.Nesterov) else (k / (k + 3)).astype(theta.dtype)
        ahead = theta + momentum * velocity
        new = ahead - rule.step_size * gradient(ahead)
    elif isinstance(rule, theory.StepSchedule):
        new = theta - rule.step_sizes[k] * gradient(theta)
    else:
        assert isinstance(rule, theory.GradientDescent)
        new = theta - rule.step_size * gradient(theta)
    return State(new, theta, state.total + new)


def solution(rule: theory.Rule, state: State, steps: int) -> Weights:
    """The weights that a rule answers with: the last, or for `theory.Averaged` the mean of theta_1..theta_k."""
    return state.total / steps if isinstance(rule, theory.Averaged) and steps > 0 else state.weights
