"""Leave-one-out along the whole path of training: what each original's label is worth to the model that never saw it.

No test set is needed, and no folds: for every original there is a model that was trained on all others, and at every
time its error there. Features and scaling stay as they are. Of plain training all these models follow from one
decomposition, exactly (`theory.left_out`); of expected Mixup each has a covariance of its own, from which the sums over
the pairs of one original are gone (`rfm.expected.left_out`).
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import theory
from rfm.expected.left_out import kept_weight, moments, without_each
from rfm.expected.problem import ExpectedProblem
from rfm.precision import warn_of_rounding
from rfm.problem import Problem, Solvable
from rfm.shown import LeaveOneOutView
from rfm.solve import Solution, problem_of
from theory.checks import Clock, check_clock, check_count, check_finite, check_positive, check_type, untraced
from theory.classes import Classes
from theory.left_out import left_out_residuals
from theory.linalg import as_matrix, on_device
from theory.spectrum import Spectrum, from_moments
from theory.trust import FACTOR, FIRST_ORDER, trusted_until


class LeaveOneOut(LeaveOneOutView, eqx.Module):
    """Each original as seen by the model that was trained without it. Made by `leave_one_out`.

    Attributes:
        times: training times.
        residuals: y_i less the prediction at x_i of training without original i; unit: that of the labels.
        rounding_error: a bound on what rounding does to the risk, absolute.
        trusted_until: the latest of the times up to which that stays below the tolerance relative to the risk; the last
            one where all do, 0 where none does.
        error_rate: the share of originals whose class the model without them gets wrong; None where labels are no
            classes.
    """

    times: Float[Array, "times"]
    residuals: Float[Array, "originals times targets"]
    rounding_error: Float[Array, "times"]
    trusted_until: Float[Array, ""]
    error_rate: Float[Array, "times"] | None

    @property
    def risk(self) -> Float[Array, "times"]:
        """The mean over originals of the squared residual, summed over targets: noise of the labels included."""
        return _risk(self.residuals)


@untraced
def leave_one_out(
    problem: Solvable | Solution,
    *,
    times: Clock,
    rule: theory.GradientFlow | None = None,
    tolerance: float = 1e-6,
) -> LeaveOneOut:
    """The error at each original of training without it, at all times.

    Without one of n originals the loss is a mean over the other n - 1, or over all of their pairs, on the same clock
    and from zero weights. Residuals agree with those of n trainings to 1e-8 of the size of labels, or of residuals
    where that is larger, while `trusted_until` at that tolerance says so (``tests/theory/test_left_out.py``,
    ``tests/rfm/decide/test_leave_one_out.py``); of expected Mixup at the ratios of the problem, and as well as by its
    Gram route.

    Args:
        problem: an `rfm.Problem` whose rows are originals, or an `rfm.expected.ExpectedProblem` of any partners, or of
            any other ones. What the rows of a problem of bare arrays are, nobody knows but you.
        times: ascending, from 0 on.
        rule: `theory.GradientFlow`, with a ridge or without; None for no ridge.
        tolerance: relative, of the risk; ``trusted_until`` answers for it.

    Raises:
        TypeError: another problem, or another rule than gradient flow.
        ValueError: rows that are mixed, fewer than three originals, or a law whose weights hang on who is there.

    Warns:
        PrecisionWarning: the last time lies past ``trusted_until``.

    >>> test = rfm.TestSet(jnp.eye(1), jnp.ones(1))
    >>> problem = rfm.Problem(jnp.ones((3, 1)), jnp.asarray([0.0, 0.0, 3.0]), population=test)
    >>> found = leave_one_out(problem, times=[0.0, 50.0])  # the mean of the others, once they are learnt
    >>> found.residuals[:, 1, 0].round(6).tolist()
    [-1.5, -1.5, 3.0]
    >>> found.risk.round(6).tolist()
    [3.0, 4.5]
    """
    flow = theory.GradientFlow() if rule is None else rule
    check_type("rule", flow, theory.GradientFlow, "theory.GradientFlow(ridge), of which alone the path is known so")
    check_positive("tolerance", tolerance)
    clock = _checked_times(times)
    whole = problem_of(problem)
    if isinstance(whole, ExpectedProblem):
        return _of_expected(whole, clock, flow, tolerance)
    table = whole.table()
    _check_rows_are_originals(table)
    check_count("problem (its originals)", len(table.labels), least=FEWEST)
    found = left_out_residuals(table.features, table.labels, clock, float(flow.ridge))
    return _record(table.labels, clock, found.residuals, found.error, tolerance)


FEWEST = 3
"""Originals: two are left to train on, which is what mixing takes."""


def _checked_times(times: Clock) -> np.ndarray:
    there = np.asarray(times)
    if there.dtype.kind == "f" and np.any(np.isinf(there)):
        raise ValueError("times: must be finite, for each model has a limit of its own; pass late times instead")
    return check_clock("times", times)


def _check_rows_are_originals(problem: Problem) -> None:
    table = problem.mixing
    if table is None:
        return
    first = np.asarray(table.first)
    if not np.array_equal(first, np.asarray(table.second)) or len(np.unique(first)) < len(first):
        raise ValueError(
            "problem: its rows are mixed of pairs, so that leaving one out leaves no original out; pass one of "
            'rfm.ERM() or of rfm.Mixup(..., pairs="expected"), or hold out folds: rfm.advise(..., law=law, '
            "num_folds=...)"
        )


def _record(
    labels: Float[Array, "originals targets"],
    times: np.ndarray,
    residuals: Float[Array, "originals times targets"],
    error: Float[Array, "times"],
    tolerance: float,
) -> LeaveOneOut:
    """With what an error of the residuals, in root mean square, makes of their own."""
    risk, clock = _risk(residuals), on_device(times, residuals.dtype)
    rounding = 2 * jnp.sqrt(risk) * error + error**2 + FACTOR * jnp.finfo(risk.dtype).eps * risk
    until = trusted_until(clock, risk, rounding, tolerance)
    if until < times[-1]:
        warn_of_rounding(
            f"leave-one-out can be trusted to a relative {tolerance:g} until t = {float(until):.3g}, but was asked for "
            f"until t = {times[-1]:.3g}",
            "leave-one-out",
            residuals.dtype,
            None,
        )
    classes = Classes.of(labels)
    wrong = None if classes is None else classes.error_rate(labels[:, None, :] - residuals)
    return LeaveOneOut(clock, residuals, rounding, until, wrong)


@jax.jit
def _risk(residuals: Float[Array, "originals times targets"]) -> Float[Array, "times"]:
    return jnp.sum(jnp.mean(residuals**2, axis=0), axis=1)


def _of_expected(
    problem: ExpectedProblem, times: np.ndarray, rule: theory.GradientFlow, tolerance: float
) -> LeaveOneOut:
    """One decomposition for each original."""
    labels = as_matrix(problem.sample.labels).astype(problem.smoother.dtype)
    check_count("problem (its originals)", len(labels), least=FEWEST)
    subtracted = _Scale.of(problem)
    phi = check_finite("features", problem.feature_map(problem.sample.inputs))
    clock = on_device(times, phi.dtype)
    found = []
    for i, left in enumerate(without_each(problem)):
        spectrum = from_moments(left.second, left.force, left.power, num_rows=len(labels) ** 2)
        found.append(_left_out(spectrum, phi[i], labels[i], clock, rule, subtracted))
    residuals, errors = (jnp.stack(parts) for parts in zip(*found, strict=True))
    return _record(labels, times, residuals, jnp.sqrt(jnp.mean(errors**2, axis=0)), tolerance)


class _Scale(eqx.Module):
    """How large the sums are that others are subtracted from: what is left is rounded as they are.

    Attributes:
        eigenvalue: the largest of their covariance, over the weight that is kept.
        labels: the root of their labels' power, all targets together, over the root of that weight.
    """

    eigenvalue: Float[Array, ""]
    labels: Float[Array, ""]

    @staticmethod
    def of(problem: ExpectedProblem) -> "_Scale":
        kept = kept_weight(problem)
        return _Scale(problem.found.eigenvalues[0] / kept, jnp.sqrt(jnp.sum(moments(problem).power) / kept))


@eqx.filter_jit
def _left_out(
    spectrum: Spectrum,
    phi: Float[Array, "features"],
    label: Float[Array, "targets"],
    times: Float[Array, "times"],
    rule: theory.GradientFlow,
    subtracted: _Scale,
) -> tuple[Float[Array, "times targets"], Float[Array, "times"]]:
    """The residual of an original, and a bound on its error by the formula of `theory.trust` for a covariance.

    There covariance and force are known to epsilons of their own norms, here to those of what was subtracted from.
    """
    weights = theory.risk.weights(spectrum, rule, times)
    length = jnp.sqrt(jnp.sum(weights**2, axis=(0, 2)))
    reach = rule.reach(spectrum.eigenvalues, times)
    pushed = jnp.sqrt(reach**2 @ (spectrum.modes.T @ phi) ** 2)
    epsilon = FACTOR * jnp.finfo(times.dtype).eps
    force = subtracted.eigenvalue * length + jnp.sqrt(subtracted.eigenvalue) * subtracted.labels
    error = epsilon * (force * pushed + jnp.linalg.norm(phi) * length + jnp.linalg.norm(label))
    is_small = epsilon * subtracted.eigenvalue * jnp.max(reach, axis=1) < FIRST_ORDER
    return label[None, :] - jnp.tensordot(phi, weights, 1), jnp.where(is_small, error, jnp.inf)
