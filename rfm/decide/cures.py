"""Four cures for over-training, at equal budget: stop, switch Mixup off, decay the weights, average them."""

from typing import Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import theory
from rfm.clocks import log_clock
from rfm.decide.switch import closed_form_switch
from rfm.problem import Solvable
from rfm.solve import NUM_TIMES, Solution, check_solvable, solution_of
from theory.checks import untraced
from theory.minimum import error_at
from theory.population import Averages
from theory.rules.rule import elapsed
from theory.spectrum import Method, Spectrum
from theory.switching import check_budget
from theory.trust import Begun, Seen, rounding_error

NUM_RIDGES = 73
DECADES = (-12, 6)
"""Ridges are tried over so many decades below and above the largest eigenvalue, and none at all."""


class Cure(NamedTuple):
    """What is done about over-training, and what is left of the risk.

    Attributes:
        name: of the cure.
        setting: the best time to stop or to switch, in the rule's clock, or the best ridge; None without a setting.
        risk: with it, summed over targets, when the budget is spent.
        rounding_error: what rounding may do to that risk, absolute: cures that are closer are equally good.
    """

    name: Literal["none", "stop", "switch", "decay", "average"]
    setting: float | None
    risk: float
    rounding_error: float


@untraced
def compare_cures(
    mixed: Solvable | Solution,
    plain: Solvable | Solution,
    *,
    budget: float,
    rule: theory.Rule | None = None,
    method: Method | Literal["auto"] = "auto",
) -> dict[str, Cure]:
    """The lowest risk that each cure reaches, with the setting that reaches it.

    Of settings whose risks rounding does not part, it is the smallest: the earliest stop or switch, the least ridge.

    - ``none``: training on the mixed problem until the budget is spent;
    - ``stop``: the same, left at its turning time;
    - ``switch``: the same until the best time, then the plain problem until the budget is spent;
    - ``decay``: the mixed problem until the budget is spent, under the best ridge;
    - ``average``: the mean of the mixed problem's iterates until then, unless the rule is such a mean already.

    Args:
        mixed: trained under Mixup, or its solution; the risk is that over its population.
        plain: the same originals without mixing.
        budget: when training ends, in the rule's clock.
        rule: how it is trained; None for gradient flow. A ridge that it has is the least that ``decay`` tries.
        method: as in `rfm.closed_form`.

    Raises:
        ValueError: a budget that is not a positive number, problems of different features.

    >>> import rfm
    >>> test = theory.TestSet(jnp.eye(2), jnp.ones(2))
    >>> noisy, plain = (rfm.Problem(jnp.eye(2), labels, population=test) for labels in (2 * jnp.ones(2), jnp.ones(2)))
    >>> cures = compare_cures(noisy, plain, budget=20.0)
    >>> {name: round(cure.risk, 3) for name, cure in cures.items()}
    {'none': 1.0, 'stop': 0.0, 'switch': 0.0, 'decay': 0.0, 'average': 0.64}
    >>> round(cures["stop"].setting, 3), round(cures["decay"].setting, 3)  # half of the labels, by time and by ridge
    (1.386, 0.5)
    """
    for name, problem in (("mixed", mixed), ("plain", plain)):
        check_solvable(problem, name)
    rule = theory.GradientFlow() if rule is None else rule
    check_budget(rule, budget)
    latest = float(elapsed(rule, budget))
    mixed, plain = (solution_of(problem, latest, method) for problem in (mixed, plain))
    switched = closed_form_switch(mixed, plain, budget=budget, rule=rule)
    spectrum, averages = mixed.spectrum_until(latest), mixed.population
    curve = theory.risk_curve(spectrum, averages, rule, log_clock(rule, budget, spectrum.fastest, NUM_TIMES))
    stopped_at = curve.turning_time if curve.turning_step is None else curve.turning_step
    cures = [
        Cure("none", None, float(curve.final_risk), float(curve.final_error)),
        Cure("stop", float(stopped_at), float(curve.turning_risk), float(curve.turning_error)),
        Cure("switch", float(switched.best_time), float(switched.best_risk), float(switched.best_error)),
        best_ridge(spectrum, averages, rule, budget),
    ]
    if not isinstance(rule, theory.Averaged):
        mean = theory.risk_curve(spectrum, averages, theory.Averaged(rule), [budget])
        cures.append(Cure("average", None, float(mean.final_risk), float(mean.final_error)))
    return {cure.name: cure for cure in cures}


@untraced
def best_ridge(spectrum: Spectrum, averages: Averages, rule: theory.Rule, budget: float) -> Cure:
    """The ridge of the lowest risk when the budget is spent; ridges that diverge are not tried.

    >>> import theory
    >>> spectrum = theory.decompose(jnp.eye(2), 2 * jnp.ones(2))
    >>> decay = best_ridge(spectrum, theory.TestSet(jnp.eye(2), jnp.ones(2)), theory.GradientFlow(), 1e3)
    >>> round(decay.setting, 6), round(decay.risk, 6)
    (0.5, 0.0)
    """
    check_budget(rule, budget)
    rule.check_reached(np.asarray(budget))
    dtype, largest = spectrum.eigenvalues.dtype, spectrum.fastest
    rule.check_stable(largest)
    added = np.concatenate([[0.0], (largest or 1.0) * np.logspace(*DECADES, NUM_RIDGES)])
    ridges = float(rule.ridge) + added
    stable = np.asarray([_is_stable(rule, largest, ridge) for ridge in ridges])
    rule = jax.tree.map(lambda number: jnp.asarray(number, dtype), rule)
    t = jnp.asarray(budget, dtype)

    def risk_under(ridges: np.ndarray) -> Array:
        return _risk_under_ridges(spectrum, averages, rule, t, jnp.asarray(ridges, dtype))

    tried = ridges[stable]
    risk, error = map(np.asarray, _risk_and_error(spectrum, averages, rule, t, jnp.asarray(tried, dtype)))
    ridge, lowest = theory.minimum.turning_point(risk_under, tried, risk, error, whole_steps=False)
    return Cure("decay", float(ridge), float(lowest), float(error_at(ridge, tried, error)))


@eqx.filter_jit
def _risk_under_ridges(
    spectrum: Spectrum, averages: Averages, rule: theory.Rule, t: Array, ridges: Float[Array, "ridges"]
) -> Float[Array, "ridges"]:
    return _risk_and_error(spectrum, averages, rule, t, ridges)[0]


@eqx.filter_jit
def _risk_and_error(
    spectrum: Spectrum, averages: Averages, rule: theory.Rule, t: Array, ridges: Float[Array, "ridges"]
) -> tuple[Float[Array, "ridges"], Float[Array, "ridges"]]:
    """Risks and their rounding errors."""
    begun, seen = Begun.of(None, spectrum), Seen.by(averages, spectrum)

    def risk(ridge: Array) -> tuple[Array, Array]:
        decayed = rule.with_ridge(ridge)
        theta = theory.risk.weights(spectrum, decayed, t[None])
        total = jnp.sum(averages.risk_parts(theta, None).risk, axis=1)
        error = rounding_error(spectrum, averages, decayed, t[None], total, begun, seen)
        return total[0], error[0]

    return jax.vmap(risk)(ridges)


def _is_stable(rule: theory.Rule, largest_eigenvalue: float, ridge: float) -> bool:
    try:
        rule.with_ridge(ridge).check_stable(largest_eigenvalue)
    except ValueError:
        return False
    return True
