"""Training in phases: which problem is trained by which rule, and for how long; and their exact curves."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import theory
from rfm.clocks import checked_clock
from rfm.precision import warn_if_rounded
from rfm.problem import Solvable
from rfm.solve import Solution, check_solvable, solution_of
from theory.checks import Clock, check_positive, check_type, untraced
from theory.phases import check_reached
from theory.population import check_same_map
from theory.risk import check_start
from theory.rules.rule import elapsed
from theory.spectrum import Method


class TrainingPhase(NamedTuple):
    """One problem and one rule, for a while.

    Attributes:
        problem: what is trained on, or its solution.
        rule: how; for `rfm.simulate_phases`, one that takes steps.
        duration: a time for gradient flow, a number of steps for other rules; infinite for a last phase of open end.
    """

    problem: Solvable | Solution
    rule: theory.Rule
    duration: float = math.inf


@untraced
def closed_form_phases(
    phases: Sequence[TrainingPhase],
    *,
    times: Clock | None = None,
    steps: Clock | None = None,
    method: Method | Literal["auto"] = "auto",
    start: theory.Start | None = None,
    tolerance: float = 1e-6,
) -> theory.Curve:
    """The exact risk curve of training in phases, such as Mixup until t_1 and plain training after it.

    Args:
        phases: in their order, of the same features and targets; the risk is that over the first one's population.
        times: from the beginning of the first phase on, for gradient flow; or
        steps: for rules that count them.
        method: as in `rfm.closed_form`; a problem that comes again is decomposed once.
        start: the initial weights, or their variance; None for zero.
        tolerance: relative; the curve's ``trusted_until`` answers for it.

    Raises:
        ValueError: as `theory.phases.phased_curve`.

    Warns:
        PrecisionWarning: the last time lies past ``trusted_until``.

    >>> import rfm
    >>> test = theory.TestSet(jnp.eye(2), jnp.ones(2))
    >>> noisy, plain = (rfm.Problem(jnp.eye(2), labels, population=test) for labels in (3 * jnp.ones(2), jnp.ones(2)))
    >>> descent = theory.GradientDescent(1.0)
    >>> phases = [TrainingPhase(noisy, descent, 2), TrainingPhase(plain, descent)]
    >>> closed_form_phases(phases, steps=[0, 1, 2, 3]).risk.tolist()
    [1.0, 0.25, 1.5625, 0.390625]
    """
    check_phases(phases)
    check_start(start)
    check_positive("tolerance", tolerance)
    ends = theory.phases.phase_ends([(phase.rule, phase.duration) for phase in phases])
    _, t = checked_clock(phases[0].rule, times, steps)
    check_reached(t, ends[-1])
    # What is left of a phase's rounding error stays, so all phases must be as accurate as the latest time asks for.
    begins = [0.0, *ends[:-1]]
    lengths = [
        min(float(phase.duration), max(float(t[-1]) - begin, 0.0)) for phase, begin in zip(phases, begins, strict=True)
    ]
    latest = sum(float(elapsed(phase.rule, length)) for phase, length in zip(phases, lengths, strict=True))
    problems = {id(phase.problem): phase.problem for phase in phases}
    solutions = {name: solution_of(problem, latest, method) for name, problem in problems.items()}
    solved = [
        theory.phases.Phase(solutions[id(phase.problem)].spectrum_until(latest), phase.rule, phase.duration)
        for phase in phases
    ]
    curve = theory.phases.phased_curve(solved, phases[0].problem.population, t, start=start, tolerance=tolerance)
    warn_if_rounded(curve, tolerance, phases[0].problem.more_accurate)
    return curve


def check_phases(phases: Sequence[TrainingPhase]) -> None:
    """Raises unless all are phases, of problems whose weights can be handed on."""
    for phase in phases:
        check_type("phases", phase, TrainingPhase, "rfm.TrainingPhase(problem, rule, duration) in a list")
    check_same_features({f"problem of phase {k + 1}": phase.problem for k, phase in enumerate(phases)})


def check_same_features(problems: Mapping[str, Solvable | Solution]) -> None:
    """Raises unless weights can be handed on from each problem to the next."""
    population = None
    for name, problem in problems.items():
        check_solvable(problem, name)
        population = problem.population if population is None else population
        if problem.own_coordinates:
            raise TypeError(
                "problem: in infinitely many features each problem has coordinates of its own, so weights cannot be "
                "handed on; pass problems of finitely many features"
            )
        check_same_map(population.signature, problem.population.signature, "features of the first problem")
