"""The risk over the noise of the originals' labels: its mean, and how much it varies, without drawing any."""

from typing import Literal

import jax.numpy as jnp
import numpy as np

import theory
from rfm.clocks import checked_clock, latest_time
from rfm.precision import warn_of_rounding
from rfm.problem import Solvable
from rfm.solve import Solution, problem_of, solution_of
from theory.checks import Clock, check_not_negative, check_positive, untraced
from theory.spectrum import Method


@untraced
def risk_over_labels(
    problem: Solvable | Solution,
    *,
    label_noise_variance: float,
    times: Clock | None = None,
    steps: Clock | None = None,
    rule: theory.Rule | None = None,
    method: Method | Literal["auto"] = "auto",
    tolerance: float = 1e-6,
) -> theory.labels.RiskOverLabels:
    """The risk averaged over the labels' own noise, and how much it varies from draw to draw, without drawing any.

    The *originals* get independent normal noise of that variance on top of the labels that they have; where rows are
    mixed, it is mixed with them. Partners that were chosen by their labels stay the same. Training starts from zero.

    Args:
        problem: a `Problem` or an `ExpectedProblem`, or its solution; its labels without that noise.
        label_noise_variance: s^2; unit: that of the labels, squared.
        times: for gradient flow, ascending; and so on as in `closed_form`:
        steps: for a rule that counts steps.
        rule: how it is trained.
        method: of the factorisation.
        tolerance: relative, of the warning.

    Raises:
        ValueError: a negative variance; as `closed_form`.
        TypeError: a problem that does not know its originals.

    Warns:
        PrecisionWarning: rounding of the risk without that noise may exceed the tolerance of the average.

    >>> import rfm
    >>> problem = rfm.Problem(jnp.eye(2), jnp.ones(2), population=theory.TestSet(jnp.eye(2), jnp.ones(2)))
    >>> over = risk_over_labels(problem, label_noise_variance=0.5, times=[0.0, 1e3])
    >>> over.mean[:, 0].round(6).tolist()  # in the end all of the noise has been learnt
    [1.0, 0.5]
    """
    check_not_negative("label_noise_variance", label_noise_variance)
    check_positive("tolerance", tolerance)
    smoother = problem_of(problem, "the originals").label_smoother()
    rule, t = checked_clock(rule, times, steps)
    latest = latest_time(rule, t)
    solution = solution_of(problem, latest, method)
    spectrum = solution.spectrum_until(latest)
    curve = theory.risk_curve(spectrum, solution.population, rule, t)
    clock = jnp.asarray(t, spectrum.eigenvalues.dtype)
    over = theory.labels.risk_over_labels(spectrum, solution.population, smoother, rule, clock, label_noise_variance)
    rounded = np.asarray(curve.rounding_error > tolerance * jnp.sum(over.mean, axis=1))
    if rounded.any():
        warn_of_rounding(
            f"from t = {float(curve.times[rounded.argmax()]):.3g} on, rounding may exceed a relative {tolerance:g} of "
            "the average",
            spectrum.method,
            clock.dtype,
            solution.more_accurate,
        )
    return over
