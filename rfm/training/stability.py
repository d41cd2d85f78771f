"""The largest step size at which the variance of mini-batch training settles, for problems of any size."""

import theory
from rfm.precision import warn
from rfm.problem import Solvable
from rfm.solve import Solution, problem_of, solution_of
from rfm.source import Source, check_batches
from theory.checks import untraced

STABILITY_WORK = 2e9
"""Rows times modes squared, above which the largest stable step is that of some of the pairs."""
STABILITY_BYTES = 2**27
"""Of the rows, likewise."""


@untraced
def largest_stable_step(
    problem: Solvable | Solution,
    batches: theory.Batches,
    *,
    ridge: float = 0.0,
) -> float:
    """The step size from which on the variance of mini-batch training grows without bound.

    By Lanczos iteration on E X S X, without its matrix: exact, as that of `theory.batches`, as long as rows times
    features squared stay below `STABILITY_WORK`; beyond that some of the pairs stand for all, and a warning says so.

    Warns:
        PrecisionWarning: only some of the pairs were looked at.

    >>> import rfm
    >>> problem = rfm.Problem(jnp.asarray([[1.0], [3.0]]), jnp.ones(2), population=rfm.TestSet(jnp.eye(1), jnp.ones(1)))
    >>> round(largest_stable_step(problem, rfm.Batches(1)), 6)  # 2 E phi^2 / E phi^4
    0.243902
    """
    source = problem_of(problem, "what batches are drawn from").source()
    check_batches(batches, source)
    return limit_of(solution_of(problem).spectrum, source, batches, ridge)


def limit_of(spectrum: theory.Spectrum, source: Source, batches: theory.Batches, ridge: float) -> float:
    """The same, of rows whose spectrum is known."""
    nodes, rank = len(source.node_weights), max(1, spectrum.rank)
    most = max(1, int(min(STABILITY_WORK / (nodes * rank**2), STABILITY_BYTES / (8 * nodes * rank))))
    if most < source.num_pairs:
        warn(f"the largest stable step is estimated from {most} of {source.num_pairs} pairs; it may be ten percent off")
    return theory.batches.largest_stable_step_of_rows(
        spectrum, source.blocks(most), source.node_weights, batches, num_pairs=source.num_pairs, ridge=ridge
    )
