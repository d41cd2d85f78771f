"""The literature's bounds with their assumptions measured on the problem at hand."""

import jax.numpy as jnp

import theory
from rfm.problem import Problem
from rfm.solve import Solution, problem_of, solution_of
from theory.checks import Clock, check_clock, untraced


@untraced
def liu2023_risk_bound(
    problem: Problem | Solution, times: Clock, *, start: theory.Start | None = None
) -> theory.bounds.RiskBound:
    """`theory.bounds.liu2023_risk_bound` under gradient flow, its constants measured, so that its assumptions hold.

    C1 / 2 is the largest |phi|^2 among the test inputs and sqrt(C2) the largest |z| among the training rows. The bound
    thus covers the risk over this test set; ``looseness`` is how much it gives away, as a curve.

    Args:
        problem: with one target, clean labels and a test set; or its solution.
        times: ascending.
        start: its variance is xi^2; None for zero weights.

    Raises:
        ValueError: the problem has several targets or no clean labels, or its population has no rows.

    >>> import rfm
    >>> test = rfm.TestSet(jnp.eye(2), jnp.asarray([2.0, 3.0]))
    >>> problem = rfm.Problem(jnp.eye(2), jnp.asarray([2.0, 4.0]), jnp.asarray([2.0, 3.0]), population=test)
    >>> liu2023_risk_bound(problem, [50.0]).looseness.round(3).tolist()
    [16.0]
    """
    rows = problem_of(problem).table()
    if rows.clean_labels is None:
        raise ValueError("clean_labels: the bound is on noise, which is unknown; pass clean_labels= to Problem")
    if rows.labels.shape[1] != 1:
        raise ValueError(f"labels: the bound is for one target, got {rows.labels.shape[1]}; pass one column at a time")
    if not isinstance(rows.population, theory.TestSet):
        raise ValueError("population: the bound asks for the largest |phi| among test inputs; pass an rfm.TestSet")
    return theory.bounds.liu2023_risk_bound(
        solution_of(problem).spectrum,
        rows.population,
        theory.GradientFlow(),
        jnp.asarray(check_clock("times", times), rows.features.dtype),
        largest_feature_power=jnp.max(jnp.sum(rows.population.features**2, axis=1)),
        largest_noise=jnp.max(jnp.abs(rows.labels - rows.clean_labels)),
        start=start,
    )
