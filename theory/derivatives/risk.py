"""How the bottom of the U moves: risk and turning risk as smooth functions of whatever training was set up with.

Risk depends on the training data through a few moments, and those depend smoothly on Mixup's alpha, on the scales of
the features and on the labels; on ridge, step size and time it depends through the gain. So one derivative in reverse
tells at once what each setting does to the best risk that a run can reach. Two obstacles are taken out of its way.

The eigen-decomposition has no derivative where eigenvalues are equal; the weights do (`derivatives.covariance`). And
the turning time is a minimum over times, found by a search, which has none either. But at the minimum the risk does not
change with time, so to first order the minimal risk changes as if the time stood still (the envelope theorem):

    d min_t R(t, s) / ds = (dR/ds)(t*, s).

At an end of the grid, or at a whole step, the time does stand still, and the same holds. Derived here.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from theory.checks import check_not_negative
from theory.derivatives.covariance import Eigen, eigen, filtered_force, first_derivative_only, gains
from theory.derivatives.moments import Moments
from theory.minimum import turning_point
from theory.population import Averages, RiskParts
from theory.rules.rule import Rule, traced
from theory.trust import evaluation_error

Times = Float[Array, "times"]
Variance = float | Float[Array, ""]


def differentiable_risk(
    moments: Moments, averages: Averages, rule: Rule, t: Times, *, label_noise_variance: Variance = 0.0
) -> Float[Array, "times targets"]:
    """The expected risk of training from zero, differentiable in everything that is an array.

    In C, b, the averages' own arrays, the times, the rule's settings and the variance. First derivatives only; what
    they mean at t = infinity is said in `filtered_force`. Label noise takes features x times x originals numbers.

    Args:
        moments: of the training data.
        averages: what the risk is averaged over.
        rule: how it is trained; its settings are differentiated where they are arrays.
        t: times, or steps for a rule that counts them.
        label_noise_variance: of independent noise on each original's label, averaged over.

    Raises:
        ValueError: a negative variance, or one without `noise_force`.

    >>> import theory
    >>> rows, test = Moments.of_rows(jnp.eye(2), jnp.ones((2, 1))), theory.TestSet(jnp.eye(2), jnp.zeros(2))
    >>> def risk(ridge):
    ...     return differentiable_risk(rows, test, theory.GradientFlow(ridge), jnp.asarray([jnp.inf]))[0, 0]
    >>> jax.value_and_grad(risk)(jnp.asarray(0.5))  # (1/2 / (1/2 + ridge))^2
    (Array(0.25, dtype=float64...), Array(-0.5, dtype=float64...))
    """
    variance = _checked(moments, label_noise_variance)
    return _risk(moments, averages, rule, t, variance, eigen(moments.second_moment))


def differentiable_parts(
    moments: Moments, averages: Averages, rule: Rule, t: Times, *, label_noise_variance: Variance = 0.0
) -> RiskParts:
    """The same risk and its clean, noise and cross parts, each as differentiable; independent noise adds to `noise`.

    Raises:
        ValueError: a negative variance, or one without `noise_force`; no `clean_force`.

    >>> import theory
    >>> rows = Moments.of_rows(jnp.eye(2), jnp.asarray([[2.0], [4.0]]), jnp.asarray([[2.0], [3.0]]))
    >>> test = theory.TestSet(jnp.eye(2), jnp.asarray([2.0, 3.0]))
    >>> parts = differentiable_parts(rows, test, theory.GradientFlow(), jnp.asarray([0.0, jnp.inf]))
    >>> parts.risk[:, 0].tolist(), parts.noise[:, 0].tolist()
    ([6.5, 0.5], [0.0, 0.5])
    """
    variance = _checked(moments, label_noise_variance)
    if moments.clean_force is None:
        raise ValueError("clean_force: None, so the risk is known only in total; pass Moments(..., clean_force=)")
    return _risk_parts(moments, averages, rule, t, variance, eigen(moments.second_moment))


class TurningPoint(eqx.Module):
    """Where the risk is lowest.

    Attributes:
        time: training time there; derivatives take it for a constant.
        risk: the risk there, summed over targets.
    """

    time: Float[Array, ""]
    risk: Float[Array, ""]


def turning_risk(
    moments: Moments, averages: Averages, rule: Rule, grid: Times, *, label_noise_variance: Variance = 0.0
) -> TurningPoint:
    """The lowest risk along training from zero, with its derivatives, refined off the grid.

    Works under ``jit``, ``vmap``, ``jvp`` and ``grad``. One eigen-decomposition serves the search and the derivatives,
    so that a gradient in all settings costs little more than the value. The value is that of
    `theory.risk_curve` by the Gram route; its trusted times are as late, and whether a rule is stable is for
    `Rule.check_stable` to say. Where two minima are equally low, the derivative is that of one of them. The turning
    time has derivatives too, which are not given here: they would need the risk's second ones.

    Args:
        moments: of the training data.
        averages: what the risk is averaged over.
        rule: how it is trained; its settings are differentiated where they are arrays.
        grid: ascending times, 0 allowed, or whole steps for a rule that counts them. End points count.
        label_noise_variance: of independent noise on each original's label, averaged over.

    Raises:
        ValueError: a negative variance, or one without `noise_force`.
        NotImplementedError: a second derivative.

    >>> import theory
    >>> rows = Moments.of_rows(jnp.eye(2), jnp.asarray([[2.0], [4.0]]))
    >>> test = theory.TestSet(jnp.eye(2), jnp.asarray([2.0, 3.0]))
    >>> turn = turning_risk(rows, test, theory.GradientFlow(), jnp.asarray([0.0, 1.0, 2.0, 9.0]))
    >>> float(turn.time.round(3)), float(turn.risk.round(3))
    (3.219, 0.1)
    """
    variance = _checked(moments, label_noise_variance)
    dtype = moments.second_moment.dtype
    rule = traced(rule, dtype)
    variance = None if variance is None else jnp.asarray(variance, dtype)
    return _compiled_turning_point(moments, averages, rule, jnp.asarray(grid, dtype), variance)


@eqx.filter_custom_jvp
def _turning_point(
    moments: Moments, averages: Averages, rule: Rule, grid: Times, variance: Array | None
) -> TurningPoint:
    known, clock = _turning_clock(moments, averages, rule, grid, variance)
    return TurningPoint(rule.time(clock), jnp.sum(_risk(moments, averages, rule, clock[None], variance, known)))


@_turning_point.def_jvp
def _envelope(primals: tuple, tangents: tuple) -> tuple[TurningPoint, TurningPoint]:
    """The derivative at a fixed turning time."""
    moments, averages, rule, grid, variance = jax.tree.map(first_derivative_only, primals)
    known, clock = _turning_clock(moments, averages, rule, grid, variance)

    def at_clock(moments: Moments, averages: Averages, rule: Rule, variance: Array | None) -> Float[Array, ""]:
        return jnp.sum(_risk(moments, averages, rule, clock[None], variance, known))

    in_moments, in_averages, in_rule, _, in_variance = tangents
    risk, slope = eqx.filter_jvp(
        at_clock, (moments, averages, rule, variance), (in_moments, in_averages, in_rule, in_variance)
    )
    time = rule.time(clock)
    return TurningPoint(time, risk), TurningPoint(jnp.zeros_like(time), slope)


_compiled_turning_point = eqx.filter_jit(_turning_point)


def _risk(
    moments: Moments, averages: Averages, rule: Rule, t: Times, variance: Variance | None, known: Eigen
) -> Float[Array, "times targets"]:
    unsplit = Moments(moments.second_moment, moments.force, None, moments.noise_force)
    return _risk_parts(unsplit, averages, rule, t, variance, known).risk


def _risk_parts(
    moments: Moments, averages: Averages, rule: Rule, t: Times, variance: Variance | None, known: Eigen
) -> RiskParts:
    """The risk of the labels as they are, and what independent noise on them adds to its mean."""
    num_targets = moments.force.shape[1]
    empty = moments.force[:, :0]
    known_noise = empty if moments.clean_force is None else moments.force - moments.clean_force
    unit_noise = empty if variance is None or moments.noise_force is None else moments.noise_force
    # Side by side: the divided differences behind their derivatives are the same.
    forces = jnp.concatenate([moments.force, known_noise, unit_noise], axis=1)
    learnt = filtered_force(moments.second_moment, forces, rule, t, known=known)
    weights, noise, by_unit = jnp.split(learnt, [num_targets, num_targets + known_noise.shape[1]], axis=2)
    parts = averages.risk_parts(weights, None if moments.clean_force is None else noise)
    if variance is None:
        return parts
    spread = variance * jnp.sum(by_unit * jnp.tensordot(averages.second_moment, by_unit, 1), axis=(0, 2))[:, None]
    return RiskParts(
        parts.risk + spread, parts.clean, None if parts.noise is None else parts.noise + spread, parts.cross
    )


def _quick_risk(
    moments: Moments, averages: Averages, rule: Rule, variance: Array | None, known: Eigen
) -> Callable[[Times], Times]:
    """The same, summed over targets, at many times: all label noise at once is a quadratic form in the gains."""
    noise_form = None
    if variance is not None and moments.noise_force is not None:
        forces = known.modes.T @ moments.noise_force
        in_modes = known.modes.T @ averages.second_moment @ known.modes
        noise_form = moments.force.shape[1] * variance * in_modes * (forces @ forces.T)

    def risk(t: Times) -> Times:
        weights = filtered_force(moments.second_moment, moments.force, rule, t, known=known)
        total = jnp.sum(averages.risk_parts(weights, None).risk, axis=1)
        if noise_form is None:
            return total
        gain = gains(rule, known.eigenvalues, t)
        return total + jnp.maximum(jnp.sum(gain @ noise_form * gain, axis=1), 0)

    return risk


def _turning_clock(
    moments: Moments, averages: Averages, rule: Rule, grid: Times, variance: Array | None
) -> tuple[Eigen, Float[Array, ""]]:
    """The time, or the whole step, of the lowest risk; the earliest of those that rounding does not part."""
    known = eigen(moments.second_moment)
    risk = _quick_risk(moments, averages, rule, variance, known)
    found = risk(grid)
    weights = filtered_force(moments.second_moment, moments.force, rule, grid, known=known)
    error = evaluation_error(averages, found, jnp.sum(weights**2, axis=(0, 2)))
    fastest = known.eigenvalues[0]
    clock, _ = turning_point(risk, grid, found, error, whole_steps=rule.counts_steps, fastest=fastest)
    return known, clock


def _checked(moments: Moments, variance: Variance) -> Variance | None:
    """The variance, None for zero; raises ValueError where it is negative, or the originals are not known."""
    variance = check_not_negative("label_noise_variance", variance)
    if isinstance(variance, float | int) and variance == 0:
        return None
    if moments.noise_force is None:
        raise ValueError(
            "noise_force: None, so it is unknown what noise on the originals' labels does to the force; pass "
            "Moments(..., noise_force=), one column an original, or no label_noise_variance"
        )
    return variance
