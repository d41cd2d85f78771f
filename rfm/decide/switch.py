"""When to switch Mixup off: the exact risk at the end of a budget, against the time of the switch."""

from collections.abc import Sequence
from typing import Literal

import jax.numpy as jnp
import numpy as np

import theory
from rfm.clocks import log_clock
from rfm.phases import check_same_features
from rfm.precision import warn
from rfm.problem import Solvable
from rfm.solve import Solution, solution_of
from theory.checks import Clock, untraced
from theory.rules.rule import elapsed
from theory.spectrum import Method
from theory.switching import check_budget


@untraced
def closed_form_switch(
    first: Solvable | Solution,
    second: Solvable | Solution,
    *,
    budget: float,
    rule: theory.Rule | None = None,
    switch_times: Clock | None = None,
    method: Method | Literal["auto"] = "auto",
) -> theory.switching.SwitchCurve:
    """When to switch from one problem to another, such as from Mixup to plain training, if both share a budget.

    Args:
        first: what is trained on until the switch, or its solution.
        second: what is trained on from there on; the risk is that over the first one's population.
        budget: when training ends, in the rule's clock.
        rule: of both legs; None for gradient flow.
        switch_times: in the rule's clock; None for about `NUM_SWITCHES` of them, dense in log time at both ends.
        method: as in `rfm.closed_form`.

    Raises:
        ValueError: as `theory.switching.switch_curve`.

    Warns:
        PrecisionWarning: rounding may exceed a millionth of the risk.

    >>> import rfm
    >>> test = theory.TestSet(jnp.eye(2), jnp.ones(2))
    >>> noisy, plain = (rfm.Problem(jnp.eye(2), labels, population=test) for labels in (2 * jnp.ones(2), jnp.ones(2)))
    >>> curve = closed_form_switch(noisy, plain, budget=6.0)
    >>> round(float(curve.best_time), 3), round(abs(float(curve.best_risk)), 6)
    (1.386, 0.0)
    """
    rule = theory.GradientFlow() if rule is None else rule
    check_budget(rule, budget)
    check_same_features({"first": first, "second": second})
    latest = float(elapsed(rule, budget))
    spectra = [solution_of(problem, latest, method).spectrum_until(latest) for problem in (first, second)]
    times = _switch_times(rule, budget, spectra) if switch_times is None else switch_times
    curve = theory.switching.switch_curve(spectra[0], spectra[1], first.population, rule, budget, times)
    tiny = jnp.finfo(curve.risk.dtype).tiny
    worst = min(float(jnp.max(curve.rounding_error / jnp.maximum(curve.risk, tiny))), 1.0)
    if worst > ROUNDING:
        warn(
            f"rounding may change the risk by a share of {worst:.1g} ({curve.risk.dtype}); switch on float64, pass "
            "method='qr' or 'svd', or a smaller budget"
        )
    return curve


ROUNDING = 1e-6


NUM_SWITCHES = 120


def _switch_times(rule: theory.Rule, budget: float, spectra: Sequence[theory.Spectrum]) -> np.ndarray:
    """Evenly in the log of the time trained before the switch, and of that left after it: both legs have slow modes."""
    largest = max(spectrum.fastest for spectrum in spectra)
    times = log_clock(rule, budget, largest, NUM_SWITCHES // 2)
    return np.unique(np.concatenate([times, budget - times]))
