"""How the bottom of the U moves: risk and turning risk as smooth functions of whatever training was set up with.

Risk depends on the training data through a few moments, and those depend smoothly on Mixup's alpha, on the scales of
the features and on the labels; on ridge, step size and time it depends through the gain. So one derivative in reverse
tells at once what each setting does to the best risk that a run can reach. Two obstacles are taken out of its way.

The eigen-decomposition has no derivative where eigenvalues are equal; the weights do (`theory.matrix_functions`). And
the turning time is a minimum over times, found by a search, which has none either. But at the minimum the risk does not
change with time, so to first order the minimal risk changes as if the time stood still (the envelope theorem):

    d min_t R(t, s) / ds = (dR/ds)(t*, s).

At an end of the grid, or at a whole step, the time does stand still, and the same holds. Derived here.
"""

from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
from jaxtyping import Array, Float

from theory.checks import check_alpha, check_not_negative
from theory.matrix_functions import Eigen, eigen, filtered_force, first_derivative_only, gains
from theory.population import Averages, RiskParts
from theory.rules.rule import Rule, traced
from theory.trust import evaluation_error
from theory.turning import CANDIDATES, EARLIEST, FASTEST, NUM_NODES, earliest_lowest

NARROWINGS = 2
"""Each divides a bracket by (NUM_NODES - 1) / 2. After two of them, the widest is below a quarter in log t."""
ROOT_HALVINGS = 60
"""Of the interval that holds the root of the interpolant's derivative; float64 has 53 bits."""

Clock = Float[Array, "times"]
Variance = float | Float[Array, ""]


class Moments(eqx.Module):
    """What training sees of its data.

    Attributes:
        second_moment: C, the mean of phi phiᵀ.
        force: b, the mean of phi y, by target.
        clean_force: the mean of phi y* of the clean labels, or None where they are not known.
        noise_force: by what a unit of label noise on original i changes the force, one column an original: Phiᵀ / m
            for plain rows, Hᵀ / n for expected Mixup with the smoother H; None where no such noise is asked for.
    """

    second_moment: Float[Array, "features features"]
    force: Float[Array, "features targets"]
    clean_force: Float[Array, "features targets"] | None = None
    noise_force: Float[Array, "features samples"] | None = None

    @staticmethod
    def of_rows(
        features: Float[Array, "rows features"],
        labels: Float[Array, "rows targets"],
        clean_labels: Float[Array, "rows targets"] | None = None,
    ) -> "Moments":
        """Those of a table of rows, each row an original of its own.

        >>> Moments.of_rows(jnp.eye(2), jnp.asarray([[2.0], [4.0]])).force.tolist()
        [[1.0], [2.0]]
        """
        mean = features.T / len(features)
        return Moments(mean @ features, mean @ labels, None if clean_labels is None else mean @ clean_labels, mean)


class MomentsOverRatios(eqx.Module):
    """Moments at fixed ratios, the nodes of `beta_weights`, to be averaged over lam ~ Beta(alpha, alpha).

    Attributes:
        second_moment: C at each node.
        force: b at each node.
        clean_force: its part by the clean labels, or None.
        noise_force: its change by label noise, or None.
    """

    second_moment: Float[Array, "nodes features features"]
    force: Float[Array, "nodes features targets"]
    clean_force: Float[Array, "nodes features targets"] | None = None
    noise_force: Float[Array, "nodes features samples"] | None = None

    @staticmethod
    def stacked(moments: Sequence[Moments]) -> "MomentsOverRatios":
        """From the moments at each node, in the order of the nodes."""
        stack = jax.tree.map(lambda *each: jnp.stack(each), *moments)
        return MomentsOverRatios(stack.second_moment, stack.force, stack.clean_force, stack.noise_force)

    def at(self, alpha: float | Float[Array, ""]) -> Moments:
        """The mean over lam, differentiable in alpha.

        >>> each = [Moments(lam * jnp.eye(1), jnp.full((1, 1), lam**2)) for lam in beta_weights(1.0, 3)[0]]
        >>> float(MomentsOverRatios.stacked(each).at(1.0).force[0, 0].round(6))  # E lam^2
        0.333333
        """
        _, weights = beta_weights(alpha, len(self.second_moment))

        def mean(stack: Array) -> Array:
            return jnp.tensordot(weights.astype(stack.dtype), stack, 1)

        at_nodes = (self.second_moment, self.force, self.clean_force, self.noise_force)
        return Moments(*jax.tree.map(mean, at_nodes))


def beta_weights(
    alpha: float | Float[Array, ""], num_nodes: int
) -> tuple[Float[np.ndarray, "nodes"], Float[Array, "nodes"]]:
    """Nodes on [0, 1] that do not depend on alpha, and weights of Beta(alpha, alpha) there, smooth in alpha.

    The n nodes x_q, on [-1, 1], and weights v_q are those of Gauss-Lobatto, which has nodes at 0 and 1, where small
    alphas have their masses. With the Legendre moments of the law,

        w_q = v_q / 2 sum_{2k < n} (4k + 1) M_k P_2k(x_q),        (4k + 1 becomes 2k where 2k = n - 1)
        M_k = E P_2k = prod_{j<=k} (alpha - j) (1/2 - j) / ((alpha + j - 1/2) j),

    they are exact for polynomials of degree n - 1 at every alpha, half of what `theory.beta_rule` reaches with nodes
    that move with alpha. They are probabilities, so that a mean of covariances is a covariance. Above alpha = 2 one may
    come out negative; it is set to 0, the rest is scaled, and exactness is lost by as much: with 24 nodes by at most
    3e-6 up to alpha = 12, and by 9e-5 at 20, where the law is narrower than their distances.

    Raises:
        ValueError: an alpha out of the range of `theory.checks.ALPHAS`, or less than two nodes.

    >>> nodes, weights = beta_weights(0.5, 4)
    >>> float((weights @ nodes**3).round(12))  # E lam^3 of the arcsine law
    0.3125
    """
    check_alpha("alpha", alpha)
    if num_nodes < 2:
        raise ValueError(f"num_nodes: must be at least 2, for the two ends, got {num_nodes}")
    inner = scipy.special.roots_jacobi(num_nodes - 2, 1, 1)[0] if num_nodes > 2 else np.empty(0)
    nodes = np.concatenate([[-1.0], inner, [1.0]])
    polynomials = np.polynomial.legendre.legvander(nodes, num_nodes - 1)
    plain = 2 / (num_nodes * (num_nodes - 1) * polynomials[:, -1] ** 2)
    orders = np.arange(0, num_nodes, 2)
    inverse_norms = np.where(orders < num_nodes - 1, 2 * orders + 1, num_nodes - 1)
    j = np.arange(1, len(orders))
    ratios = (jnp.asarray(alpha) - j) * (0.5 - j) / ((jnp.asarray(alpha) + j - 0.5) * j)
    moments = jnp.concatenate([jnp.ones(1, ratios.dtype), jnp.cumprod(ratios)])
    exact = jnp.asarray(plain[:, None] / 2 * polynomials[:, ::2] * inverse_norms[None, :]) @ moments
    weights = jnp.where(exact > 0, exact, 0)
    return (1 + nodes) / 2, weights / jnp.sum(weights)


def differentiable_risk(
    moments: Moments, averages: Averages, rule: Rule, t: Clock, *, label_noise_variance: Variance = 0.0
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
    moments: Moments, averages: Averages, rule: Rule, t: Clock, *, label_noise_variance: Variance = 0.0
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
    moments: Moments, averages: Averages, rule: Rule, grid: Clock, *, label_noise_variance: Variance = 0.0
) -> TurningPoint:
    """The lowest risk along training from zero, with its derivatives, refined off the grid.

    Works under ``jit``, ``vmap``, ``jvp`` and ``grad``. One eigen-decomposition serves the search and the derivatives,
    so that a gradient in all settings costs little more than the value. The value is that of
    `theory.risk_curve` by the Gram route; its trusted times are as late, and whether a rule is stable is for
    `theory.check_stable` to say. Where two minima are equally low, the derivative is that of one of them. The turning
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
    moments: Moments, averages: Averages, rule: Rule, grid: Clock, variance: Array | None
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
    moments: Moments, averages: Averages, rule: Rule, t: Clock, variance: Variance | None, known: Eigen
) -> Float[Array, "times targets"]:
    unsplit = Moments(moments.second_moment, moments.force, None, moments.noise_force)
    return _risk_parts(unsplit, averages, rule, t, variance, known).risk


def _risk_parts(
    moments: Moments, averages: Averages, rule: Rule, t: Clock, variance: Variance | None, known: Eigen
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
) -> Callable[[Clock], Clock]:
    """The same, summed over targets, at many times: all label noise at once is a quadratic form in the gains."""
    noise_form = None
    if variance is not None and moments.noise_force is not None:
        forces = known.modes.T @ moments.noise_force
        in_modes = known.modes.T @ averages.second_moment @ known.modes
        noise_form = moments.force.shape[1] * variance * in_modes * (forces @ forces.T)

    def risk(t: Clock) -> Clock:
        weights = filtered_force(moments.second_moment, moments.force, rule, t, known=known)
        total = jnp.sum(averages.risk_parts(weights, None).risk, axis=1)
        if noise_form is None:
            return total
        gain = gains(rule, known.eigenvalues, t)
        return total + jnp.maximum(jnp.sum(gain @ noise_form * gain, axis=1), 0)

    return risk


def _turning_clock(
    moments: Moments, averages: Averages, rule: Rule, grid: Clock, variance: Array | None
) -> tuple[Eigen, Float[Array, ""]]:
    """The time, or the whole step, of the lowest risk: as `theory.turning_point`, in shapes known beforehand."""
    known = eigen(moments.second_moment)
    risk = _quick_risk(moments, averages, rule, variance, known)
    if len(grid) == 1:
        return known, grid[0]
    values = risk(grid)
    inner = values[1:-1]
    is_minimum = (inner <= values[:-2]) & (inner <= values[2:])
    # Where there are fewer minima than that, other brackets are searched too, and lose; and so is the first interval.
    middle = 1 + jnp.argsort(jnp.where(is_minimum, inner, jnp.inf))[:CANDIDATES]
    low, high = jnp.append(grid[middle - 1], grid[0]), jnp.append(grid[middle + 1], grid[1])
    if rule.counts_steps:
        refined = _best_steps(risk, low, high)
    else:
        soon = jnp.minimum(FASTEST / known.eigenvalues[0], EARLIEST * high)
        refined = _best_times(risk, jnp.where(low > 0, low, soon), high)
    clocks, found = jnp.append(grid, refined), jnp.append(values, risk(refined))
    order = jnp.argsort(clocks, stable=True)
    clocks, found = clocks[order], found[order]
    weights = filtered_force(moments.second_moment, moments.force, rule, clocks, known=known)
    error = evaluation_error(averages, found, jnp.sum(weights**2, axis=(0, 2)))
    return known, clocks[earliest_lowest(found, error)]


Brackets = Float[Array, "brackets"]


def _best_times(risk: Callable[[Clock], Clock], low: Brackets, high: Brackets) -> Brackets:
    """Narrows each bracket in log t, then finds the minimum of the Chebyshev interpolant."""
    low, high = jnp.log(low), jnp.log(high)

    def narrow(_: int | Array, bounds: tuple[Brackets, Brackets]) -> tuple[Brackets, Brackets]:
        return _narrowed(lambda log_t: risk(jnp.exp(log_t)), jnp.linspace(*bounds, NUM_NODES, axis=1))

    low, high = jax.lax.fori_loop(0, NARROWINGS, narrow, (low, high))
    order = np.arange(NUM_NODES)
    angles = np.pi * (order + 0.5) / NUM_NODES
    centre, half = (low + high) / 2, (high - low) / 2
    places = centre[:, None] + half[:, None] * jnp.asarray(np.cos(angles), low.dtype)[None, :]
    values = risk(jnp.exp(places).ravel()).reshape(places.shape)
    # At x = cos(angle), the interpolant's derivative has the sign of the sum of these times sin(order angle).
    slopes = (values - values[:, :1]) @ jnp.asarray(np.cos(angles[:, None] * order[None, :]) * order, low.dtype)

    def halve(_: int | Array, bounds: tuple[Brackets, Brackets]) -> tuple[Brackets, Brackets]:
        falling, rising = bounds
        angle = (falling + rising) / 2
        rises = jnp.sum(slopes * jnp.sin(angle[:, None] * order[None, :]), axis=1) > 0
        return jnp.where(rises, falling, angle), jnp.where(rises, angle, rising)

    falling, rising = jax.lax.fori_loop(0, ROOT_HALVINGS, halve, (jnp.full_like(low, np.pi), jnp.zeros_like(low)))
    return jnp.exp(centre + half * jnp.cos((falling + rising) / 2))


def _best_steps(risk: Callable[[Clock], Clock], low: Brackets, high: Brackets) -> Brackets:
    """Samples each bracket's whole steps ever more closely around the best of them, evenly in their logarithm."""

    def whole(bounds: tuple[Brackets, Brackets]) -> Float[Array, "brackets nodes"]:
        low, high = bounds
        logs = jnp.linspace(jnp.log(jnp.maximum(low, 1)), jnp.log(high), NUM_NODES - 1, axis=1)
        wide = jnp.concatenate([low[:, None], jnp.clip(jnp.round(jnp.exp(logs)), low[:, None], high[:, None])], axis=1)
        narrow = jnp.round(jnp.linspace(low, high, NUM_NODES, axis=1))
        return jnp.where((high - low < NUM_NODES)[:, None], narrow, wide)

    low, high = jax.lax.while_loop(
        lambda bounds: jnp.any(bounds[1] - bounds[0] >= NUM_NODES),
        lambda bounds: _narrowed(risk, whole(bounds)),
        (low, high),
    )
    steps = whole((low, high))
    best = jnp.argmin(risk(steps.ravel()).reshape(steps.shape), axis=1)
    return jnp.take_along_axis(steps, best[:, None], axis=1)[:, 0]


def _narrowed(risk: Callable[[Clock], Clock], places: Float[Array, "brackets nodes"]) -> tuple[Brackets, Brackets]:
    """The neighbours of the lowest place of each bracket; places ascend, and some may be equal."""
    best = jnp.argmin(risk(places.ravel()).reshape(places.shape), axis=1)
    lowest = jnp.take_along_axis(places, best[:, None], axis=1)
    low = jnp.max(places, axis=1, where=places < lowest, initial=-jnp.inf)
    high = jnp.min(places, axis=1, where=places > lowest, initial=jnp.inf)
    return jnp.maximum(low, places[:, 0]), jnp.minimum(high, places[:, -1])


def _checked(moments: Moments, variance: Variance) -> Variance | None:
    """The variance, None for zero; raises ValueError where it is negative, or the originals are not known."""
    check_not_negative("label_noise_variance", variance)
    if isinstance(variance, float | int) and variance == 0:
        return None
    if moments.noise_force is None:
        raise ValueError(
            "noise_force: None, so it is unknown what noise on the originals' labels does to the force; pass "
            "Moments(..., noise_force=), one column an original, or no label_noise_variance"
        )
    return variance
