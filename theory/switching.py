"""When to switch from one law to another: the risk at a given budget, against the time of the switch.

Mixup until t_1, plain training from there to the budget T. Switched at once, nothing is gained from mixing; switched
too late, there is no time left to forget the label noise that it taught. Both legs are closed forms, so a whole curve
over t_1 costs two decompositions, however many switch times it has: theta_T = r_{T - t_1} theta_{t_1} + g_{T - t_1} b.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from theory.checks import Clock, check_clock, check_steps, described, is_number, untraced
from theory.classes import ErrorRates
from theory.curve import Decomposition, check_matching
from theory.minimum import FASTEST, error_at, turning_point
from theory.population import Averages, RiskParts, in_precision
from theory.risk import Start, learnt, remaining, weights
from theory.rules.rule import Rule, check_rule, traced
from theory.spectrum import Spectrum
from theory.trust import Begun, rounding_error, weight_error
from theory.views import SwitchView


class SwitchCurve(SwitchView, ErrorRates, eqx.Module):
    """The risk at the end of training, against when the law was switched.

    Attributes:
        switch_times: t_1, in the rules' clock: times, or steps.
        budget: T, when training ends.
        risk_by_target: E (f - theta_T . phi)^2.
        decomposition: its parts, or None without clean labels.
        classification_error: `error_rate`, or None where targets are no classes.
        best_time: the t_1 of the lowest risk, the earliest of those that rounding does not part; refined off the grid,
            whole where steps are counted.
        best_risk: the risk with it.
        rounding_error: a bound on what rounding does to the risk, absolute; see `theory.trust`.
    """

    switch_times: Float[Array, "switches"]
    budget: Float[Array, ""]
    risk_by_target: Float[Array, "switches targets"]
    decomposition: Decomposition | None
    classification_error: Float[Array, "switches"] | None
    best_time: Float[Array, ""]
    best_risk: Float[Array, ""]
    rounding_error: Float[Array, "switches"]

    @property
    def risk(self) -> Float[Array, "switches"]:
        """The risk, summed over targets."""
        return jnp.sum(self.risk_by_target, axis=1)

    @property
    def best_error(self) -> Float[Array, ""]:
        """The rounding error of the best risk."""
        return error_at(self.best_time, self.switch_times, self.rounding_error)


@untraced
def switch_curve(
    first: Spectrum,
    second: Spectrum,
    averages: Averages,
    rule: Rule,
    budget: float,
    switch_times: Clock,
    *,
    start: Float[Array, "features targets"] | None = None,
) -> SwitchCurve:
    """The risk at the budget for every switch time, and the best of them.

    Args:
        first: of the law until t_1, such as Mixup.
        second: of the law from there on, such as plain training.
        averages: what the risk is averaged over.
        rule: of both legs; one with momentum begins the second at rest.
        budget: T, in the rule's clock.
        switch_times: t_1, ascending, from 0 (only the second law) to T (only the first).
        start: the initial weights; None for zero.

    Raises:
        ValueError: a budget that is not a positive number (of whole steps), or switch times beyond it.

    >>> import theory
    >>> clean = jnp.asarray([2.0, 3.0])
    >>> noisy, plain = (theory.decompose(jnp.eye(2), labels, clean) for labels in (jnp.asarray([2.0, 4.0]), clean))
    >>> curve = switch_curve(noisy, plain, theory.TestSet(jnp.eye(2), clean), theory.GradientFlow(), 6.0, [0, 3, 6])
    >>> curve.risk.round(3).tolist(), float(curve.best_time.round(3))  # more force, and then the right one
    ([0.016, 0.005, 0.326], 2.773)
    """
    clock = _checked(rule, budget, switch_times)
    for spectrum in (first, second):
        check_matching(spectrum, averages, None if start is None else Start(start))
    largest = max(first.fastest, second.fastest)
    check_budget(rule, budget, largest)
    dtype = first.eigenvalues.dtype
    averages = in_precision(averages, dtype)
    rule.check_stable(largest)
    rule = traced(rule, dtype)
    end = jnp.asarray(budget, dtype)
    begun = jnp.zeros((averages.num_features, first.label_coordinates.shape[1]), dtype) if start is None else start

    def risk_at(t: np.ndarray) -> Array:
        return _total_risk(first, second, averages, rule, end, jnp.asarray(t, dtype), begun)

    spent = jnp.asarray(clock, dtype)
    parts, error = _switched(first, second, averages, rule, end, spent, begun)
    risk = jnp.sum(parts.risk, axis=1)
    best_time, best_risk = turning_point(
        risk_at,
        clock,
        np.asarray(risk),
        np.asarray(error),
        whole_steps=rule.counts_steps,
        fastest=largest,
    )
    return SwitchCurve(
        switch_times=spent,
        budget=end,
        risk_by_target=parts.risk,
        decomposition=None if parts.clean is None else Decomposition.of(parts),
        classification_error=parts.error_rate,
        best_time=jnp.asarray(best_time, dtype),
        best_risk=jnp.asarray(best_risk, dtype),
        rounding_error=error,
    )


@eqx.filter_jit
def _switched(
    first: Spectrum,
    second: Spectrum,
    averages: Averages,
    rule: Rule,
    budget: Array,
    switch_times: Float[Array, "switches"],
    start: Float[Array, "features targets"],
) -> tuple[RiskParts, Float[Array, "switches"]]:
    """The risk at the budget, in its parts, and a bound on its rounding error."""
    theta, noise = switched(first, second, rule, budget, switch_times, Start(start))
    parts = averages.risk_parts(theta, noise)
    left = weight_error(first, rule, switch_times, Begun.of(Start(start), first))
    begun = Begun.at(weights(first, rule, switch_times, Start(start)), second, left)
    risk = jnp.sum(parts.risk, axis=1)
    return parts, rounding_error(second, averages, rule, budget - switch_times, risk, begun)


@eqx.filter_jit
def _total_risk(
    first: Spectrum,
    second: Spectrum,
    averages: Averages,
    rule: Rule,
    budget: Array,
    switch_times: Float[Array, "switches"],
    start: Float[Array, "features targets"],
) -> Float[Array, "switches"]:
    theta, _ = switched(first.unsplit, second.unsplit, rule, budget, switch_times, Start(start))
    return jnp.sum(averages.risk_parts(theta, None).risk, axis=1)


def switched(
    first: Spectrum,
    second: Spectrum,
    rule: Rule,
    budget: Array,
    switch_times: Float[Array, "switches"],
    start: Start | None = None,
) -> tuple[Float[Array, "features switches targets"], Float[Array, "features switches targets"] | None]:
    """The weights at the budget for every switch time, and the part of them that learnt label noise, if it is known.

    >>> import theory
    >>> noisy, plain = (theory.decompose(jnp.eye(1), labels) for labels in (jnp.asarray([2.0]), jnp.asarray([1.0])))
    >>> theta, _ = switched(noisy, plain, theory.GradientFlow(), jnp.asarray(99.0), jnp.asarray([0.0, 98.0, 99.0]))
    >>> theta[0, :, 0].round(2).tolist()  # exp(-1) is left of the difference
    [1.0, 1.37, 2.0]
    """
    left = budget - switch_times
    begun, trained = learnt(first, rule, switch_times, start), learnt(second, rule, left)
    theta = trained.weights + remaining(second, rule, left, trained.response, begun.weights)
    if begun.noise is None or trained.noise is None:
        return theta, None
    return theta, trained.noise + remaining(second, rule, left, trained.response, begun.noise)


def check_budget(rule: Rule, budget: float, largest_eigenvalue: float = 0.0) -> None:
    """Raises ValueError unless the budget is a positive number, whole where steps are counted, that lasts to learn.

    Args:
        rule: how it is trained.
        budget: when training ends, in the rule's clock.
        largest_eigenvalue: says from when on; 0 if it is not known yet.
    """
    check_rule(rule)
    if not (is_number(budget) and np.isfinite(budget) and budget > 0) or (rule.counts_steps and budget != int(budget)):
        kind = "whole number of steps" if rule.counts_steps else "number"
        raise ValueError(f"budget: must be a positive {kind}, got {described(budget)}")
    if not rule.counts_steps and budget * largest_eigenvalue < FASTEST * (largest_eigenvalue > 0):
        raise ValueError(
            f"budget: {budget:g} is over before anything is learnt; the fastest mode is, by "
            f"{1 / largest_eigenvalue:.3g}, so pass {FASTEST / largest_eigenvalue:.3g} or more"
        )


def _checked(rule: Rule, budget: float, switch_times: Clock) -> np.ndarray:
    check_budget(rule, budget)
    clock = check_steps(switch_times) if rule.counts_steps else check_clock("switch_times", switch_times)
    if clock[-1] > budget:
        raise ValueError(f"switch_times: the last, {clock[-1]:g}, lies past the budget {budget:g}; pass earlier ones")
    return clock
