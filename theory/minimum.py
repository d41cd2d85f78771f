"""The bottom of the U: the time at which a risk curve turns, refined off the grid it was sampled on.

Between two grid points a risk curve is analytic in log t, so a handful of Chebyshev nodes there pin the minimum down to
rounding, with one more evaluation of the curve and no derivative of it. Steps are counted: there, the best whole step
between the two grid points is found. Between t = 0 and the first time after it, the curve is looked at as well.

A risk is known to within its rounding error, and of two that lie closer than that, neither is the lower one. So a curve
turns at the earliest time that may be the lowest: one that falls to rounding and wiggles there turns where it gets
there, a flat one at its first time. A bottom that stands out from the times around it turns where it is lowest. And
what over-training costs is the ratio of two risks that can be told apart, or 1.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.polynomial import Chebyshev

Curve = Callable[[np.ndarray], np.ndarray]

NUM_NODES = 17
MAX_LOG_WIDTH = 1.0
"""Wider brackets (in log t) are first narrowed: the interpolant is exact to rounding only on narrow ones."""
CANDIDATES = 3
"""How many of the grid's local minima are refined, lowest first."""
FASTEST = 1e-2
"""Of the time scale of the fastest mode: until then, a curve is as good as straight."""
EARLIEST = 1e-3
"""Of the first time after 0: the curve is looked at from there on, where no fastest mode is known."""


def turning_point(
    risk: Curve,
    grid: np.ndarray,
    values: np.ndarray,
    errors: np.ndarray | None = None,
    *,
    whole_steps: bool,
    fastest: float | None = None,
) -> tuple[float, float]:
    """The time and the value of a curve's global minimum; of several that rounding does not part, the earliest.

    The end points count: a curve that still falls turns at its last time, one that only rises at its first.

    Args:
        risk: the curve, not negative, at ascending times; it is called with arrays of `NUM_NODES` values.
        grid: the times at which it was sampled, ascending, 0 allowed.
        values: the curve there.
        errors: how far rounding may have moved each value; None for values that are exact.
        whole_steps: times are whole numbers of steps.
        fastest: the largest eigenvalue; it says how soon after t = 0 a curve can turn.

    Raises:
        ValueError: grid and values, or errors, differ in length.

    >>> grid = np.asarray([1.0, 2.0, 4.0, 8.0])
    >>> time, value = turning_point(lambda t: (np.log(t) - 1) ** 2, grid, (np.log(grid) - 1) ** 2, whole_steps=False)
    >>> round(time, 9)
    2.718281828
    >>> falls = np.asarray([1.0, 0.4, 0.1, 0.09])
    >>> turning_point(np.sqrt, grid, falls, np.full(4, 0.01), whole_steps=False)  # 0.1 and 0.09 are told apart barely
    (4.0, 0.1)
    """
    errors = np.zeros_like(values) if errors is None else errors
    for name, found in (("values", values), ("errors", errors)):
        if len(found) != len(grid):
            raise ValueError(f"{name}: there are {len(found)} for {len(grid)} grid points; pass one a point")
    soon = FASTEST / fastest if fastest else np.inf
    places = [
        _best_step(risk, low, high) if whole_steps else _best_time(risk, low or min(soon, EARLIEST * high), high)
        for low, high in _brackets(grid, values, 1.0 if whole_steps else 0.0)
    ]
    refined = [(time, value, error_at(time, grid, errors)) for time, value in places if np.isfinite(value)]
    points = sorted([*zip(grid, values, errors, strict=True), *refined], key=lambda point: point[0])
    times, values, errors = map(np.asarray, zip(*points, strict=True))
    best = earliest_lowest(values, errors)
    return float(times[best]), float(values[best])


def error_at(time: Any, grid: Any, errors: Any) -> Any:
    """The rounding error between grid points: the larger of those on both sides.

    >>> float(error_at(2.5, np.asarray([1.0, 2.0, 3.0]), np.asarray([0.1, 0.2, 0.3])))
    0.3
    """
    before, after = (grid.searchsorted(time, side="right") - 1).clip(0), grid.searchsorted(time).clip(0, len(grid) - 1)
    return errors[before].clip(min=errors[after])


def earliest_lowest(values: Any, errors: Any) -> Any:
    """The index of the earliest value that may be the lowest, of values known to within their errors.

    The exact lowest lies below all upper ends, values + errors; so whatever has a lower end below these may be it. A
    value of infinite error is no reason to overlook a known one. Arrays may be NumPy's, or JAX's and traced.

    >>> int(earliest_lowest(np.asarray([3.0, 1.2, 1.0, 0.0]), np.asarray([0.1, 0.1, 0.1, np.inf])))
    1
    """
    return (values - errors <= (values + errors).min()).argmax()


def risk_ratio(
    risk: Float[Array, "*any"],
    lowest: Float[Array, "*any"],
    risk_error: Float[Array, "*any"],
    lowest_error: Float[Array, "*any"],
) -> Float[Array, "*any"]:
    """risk / lowest of two risks that are known to within their rounding errors, and at least 1.

    1 where they differ by no more than rounding. A lowest risk below its own error counts as that error, so that the
    ratio is then a lower bound; and as no risk, a mean of squares, is known to less than epsilon squared of another,
    no ratio is larger than the inverse of that.

    >>> exact, rounding = jnp.asarray([0.0, 0.0]), jnp.asarray([0.0, 1e-3])
    >>> risk_ratio(jnp.asarray([3.0, 2e-4]), jnp.asarray([2.0, 1e-4]), exact, rounding).tolist()
    [1.5, 1.0]
    """
    rises = risk - lowest > risk_error + lowest_error
    floor = jnp.maximum(jnp.maximum(lowest, lowest_error), jnp.finfo(risk.dtype).eps ** 2 * risk)
    return jnp.where(rises, risk / jnp.where(rises, floor, 1), 1)


def _brackets(grid: np.ndarray, values: np.ndarray, next_time: float) -> list[tuple[float, float]]:
    """Around the lowest of the local minima; and from 0 to the first time after it, if that is not the next time."""
    inner = np.arange(1, len(values) - 1)
    minima = inner[(values[inner] <= values[inner - 1]) & (values[inner] <= values[inner + 1])]
    chosen = sorted(minima.tolist(), key=lambda index: values[index])[:CANDIDATES]
    brackets = [(float(grid[index - 1]), float(grid[index + 1])) for index in chosen]
    if len(grid) > 1 and grid[0] == 0 and grid[1] > next_time and 1 not in chosen:
        brackets.append((0.0, float(grid[1])))
    return brackets


def _best_time(risk: Curve, low: float, high: float) -> tuple[float, float]:
    """Narrows the bracket, then looks for the minimum of the Chebyshev interpolant."""
    while np.log(high / low) > MAX_LOG_WIDTH:
        times = np.geomspace(low, high, NUM_NODES)
        index = int(np.clip(np.argmin(risk(times)), 1, NUM_NODES - 2))
        low, high = times[index - 1], times[index + 1]
    # The interpolant samples NUM_NODES Chebyshev points of log t.
    with np.errstate(invalid="ignore"):
        interpolant = Chebyshev.interpolate(lambda log_t: risk(np.exp(log_t)), NUM_NODES - 1, np.log([low, high]))
    height, *bends = np.abs(interpolant.coef)
    # A flat curve has no bottom, and one that overflows none that could be found.
    if not np.isfinite(height + max(bends)) or max(bends) <= NUM_NODES * np.finfo(float).eps * height:
        return high, np.inf
    roots = interpolant.deriv().roots()
    inside = np.real(
        roots[(np.abs(np.imag(roots)) < 1e-6) & (np.real(roots) > np.log(low)) & (np.real(roots) < np.log(high))]
    )
    if inside.size == 0:
        return high, np.inf
    log_best = inside[np.argmin(interpolant(inside))]
    return float(np.exp(log_best)), max(float(interpolant(log_best)), 0.0)  # between zeros it may swing below


def _best_step(risk: Curve, low: float, high: float) -> tuple[float, float]:
    """Samples the bracket's whole steps ever more closely around the best of them, evenly in their logarithm."""
    while True:
        narrow = high - low < NUM_NODES
        inner = np.linspace(low, high, NUM_NODES) if narrow else np.geomspace(max(low, 1.0), high, NUM_NODES - 1)
        steps = np.round(inner) if narrow else np.append(low, np.round(inner))
        steps = np.clip(steps, low, high)  # logarithms round
        values = risk(steps)
        index = int(np.argmin(values))
        before = np.max(steps, where=steps < steps[index], initial=low)
        after = np.min(steps, where=steps > steps[index], initial=high)
        # Of steps beyond 1e15 the whole numbers lie too far apart for a bracket to narrow as it should.
        if narrow or after - before >= high - low:
            return float(steps[index]), float(values[index])
        low, high = before, after
