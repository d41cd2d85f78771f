"""The mean of the iterates: training that looks back on all of its way, and so forgets its noise only slowly.

Averaging theta_1..theta_k (Polyak and Juditsky, 1992, `polyak1992averaging`) replaces residual and gain by their
means along the way. A fast mode, learnt at once, still owes what it owed at the start, shared out over all steps: the
averaged residual falls as 1 / (mu t), not exponentially. A slow mode stands where it stood at half of the time. On
the average of a flow the late residual 1 / (mu t) is that of ridge regression of ridge 1/t: averaging is a decay that
fades as training goes on.

The sums obey the same two-term law as the iterates (`theory.rules.powers`), and are reached by squaring as they are.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from theory.checks import check_type
from theory.rules.rule import Gradient, Response, Rule, State, Weights


class Summed(NamedTuple):
    """A training on its way, and the sum theta_1 + ... + theta_k."""

    state: State
    total: Weights


class Averaged(Rule):
    """The mean of a rule's weights: theta_1..theta_k by steps, or those over [0, t] of gradient flow.

    Of the flow, with x = (mu + ridge) t: residual = (1 - exp(-x)) / x and gain = t (1 - residual) / x, t / 2 on a null
    mode. Of gradient descent, eta (k + 1) / 2 there. Exact in value and in derivative, down to mu = 0, as the rule
    itself (``tests/theory/rules/test_averaging.py``). After no steps, it is the start. The limit t = infinity is that
    of the rule, which it approaches as 1 / (mu t).

    Flow, descent, heavy ball and Nesterov's have means in closed form; those of other rules are summed over their
    steps, mode by mode, and have no derivative in reverse. Time, stability and decay are the rule's: t is how long was
    trained, of which a slow mode has lived half.

    Attributes:
        rule: whose weights are averaged.

    Raises:
        TypeError: not a rule, or the mean of a mean.

    >>> import theory
    >>> Averaged(theory.GradientFlow()).residual(jnp.asarray([0.0, 1.0]), jnp.asarray(2.0)).round(4).tolist()
    [1.0, 0.4323]
    >>> Averaged(theory.GradientDescent(0.5)).residual(jnp.asarray([0.0, 1.0]), jnp.asarray(2.0)).tolist()
    [1.0, 0.375]
    """

    rule: Rule

    def __init__(self, rule: Rule) -> None:
        check_type("rule", rule, Rule, "a rule, such as theory.GradientDescent(step_size)")
        if isinstance(rule, Averaged):
            raise TypeError("rule: is averaged already, and a mean of means is not trained; pass the rule inside of it")
        self.rule = rule

    @property
    def ridge(self) -> float | Float[Array, ""]:
        """The rule's."""
        return self.rule.ridge

    @property
    def counts_steps(self) -> bool:  # type: ignore[override]
        """As the rule."""
        return self.rule.counts_steps

    def begin(self, weights: Weights) -> Summed:
        return Summed(self.rule.begin(weights), jnp.zeros_like(weights))

    def step(self, gradient: Gradient, k: Array, state: Summed) -> Summed:
        """The rule's."""
        inner = self.rule.step(gradient, k, state.state)
        return Summed(inner, state.total + self.rule.answer(inner, k + 1))

    def answer(self, state: Summed, k: Array | int) -> Weights:
        return jnp.where(k > 0, state.total / jnp.maximum(k, 1), self.rule.answer(state.state, k))

    def course(self, eigenvalues: Float[Array, "modes"], t: Float[Array, "*times"]) -> Response:
        return self.rule.mean_course(eigenvalues, t)

    def check_reached(self, t: np.ndarray) -> None:
        """As the rule."""
        self.rule.check_reached(t)

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

    def reach(self, eigenvalues: Float[Array, "modes"], t: Float[Array, "*times"]) -> Float[Array, "*times modes"]:
        """That of the rule, which grows with time."""
        return self.rule.reach(eigenvalues, t)

    def roundings(self, t: Float[Array, "*times"]) -> Float[Array, "*times"]:
        """Those of the rule, and as many of its sum."""
        return 2 * self.rule.roundings(t)

    def with_ridge(self, ridge: float | Float[Array, ""]) -> "Averaged":
        """The mean under another decay."""
        return Averaged(self.rule.with_ridge(ridge))
