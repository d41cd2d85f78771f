"""When a curve is asked for: times or steps, as the rule counts them."""

import numpy as np
from jaxtyping import Float

import theory
from theory.checks import Clock, check_clock, check_steps
from theory.minimum import FASTEST
from theory.rules.rule import check_rule, elapsed
from theory.switching import check_budget


def checked_clock(rule: theory.Rule | None, times: Clock | None, steps: Clock | None) -> tuple[theory.Rule, np.ndarray]:
    """The rule, gradient flow if there is none, and the one of both clocks that it asks for.

    Raises:
        ValueError: it is not given, or the other one is.
    """
    rule = theory.GradientFlow() if rule is None else rule
    check_rule(rule)
    if rule.counts_steps:
        if steps is None or times is not None:
            raise ValueError(f"steps: {type(rule).__name__} counts steps; pass steps=, and not times=")
        return rule, check_steps(steps)
    if times is None or steps is not None:
        raise ValueError(
            f"times: {type(rule).__name__} runs in continuous time; pass times= (or a rule that counts steps, such as "
            "theory.GradientDescent(step_size), with steps=)"
        )
    return rule, check_clock("times", times)


def latest_time(rule: theory.Rule, t: np.ndarray) -> float:
    """The time that the last of the rule's clock stands for."""
    return float(elapsed(rule, t[-1]))


def log_clock(
    rule: theory.Rule, budget: float, largest_eigenvalue: float, num_times: int
) -> Float[np.ndarray, "times"]:
    """0, and from the first time that matters to the budget evenly in log t; whole and distinct where they are steps.

    >>> log_clock(theory.GradientDescent(1.0), 100, 1.0, 5).tolist()
    [0.0, 1.0, 3.0, 10.0, 32.0, 100.0]
    """
    check_budget(rule, budget, largest_eigenvalue)
    first = 1.0 if rule.counts_steps else FASTEST / max(largest_eigenvalue, 1 / budget)
    times = np.geomspace(min(first, budget / 10), budget, num_times)
    return np.unique(np.concatenate([[0.0], np.clip(np.round(times), 1, budget) if rule.counts_steps else times]))
