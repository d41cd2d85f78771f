"""The bottom of the U: the time at which a risk curve turns, refined off the grid it was sampled on.

Between two grid points a risk curve is analytic in log t, so a handful of Chebyshev nodes there pin the minimum down to
rounding, with one more evaluation of the curve and no derivative of it. Steps are counted: there, the best whole step
between the two grid points is found.
"""

from collections.abc import Callable

import numpy as np
from numpy.polynomial import Chebyshev

Curve = Callable[[np.ndarray], np.ndarray]

NUM_NODES = 17
MAX_LOG_WIDTH = 1.0
"""Wider brackets (in log t) are first narrowed: the interpolant is exact to rounding only on narrow ones."""
CANDIDATES = 3
"""How many of the grid's local minima are refined, lowest first."""


def turning_point(risk: Curve, grid: np.ndarray, values: np.ndarray, *, whole_steps: bool) -> tuple[float, float]:
    """The time and the value of a curve's global minimum.

    The end points count: a curve that still falls turns at its last time, one that only rises at its first.

    Args:
        risk: the curve, at ascending times; it is called with arrays of `NUM_NODES` values.
        grid: the times at which it was sampled, ascending, 0 allowed.
        values: the curve there.
        whole_steps: times are whole numbers of steps.

    Raises:
        ValueError: grid and values differ in length.

    >>> time, value = turning_point(
    ...     lambda t: (np.log(t) - 1) ** 2,
    ...     np.asarray([1.0, 2.0, 4.0, 8.0]),
    ...     np.asarray([1.0, 0.09, 0.15, 1.2]),
    ...     whole_steps=False,
    ... )
    >>> round(time, 9)
    2.718281828
    """
    if len(grid) != len(values):
        raise ValueError(f"values: there are {len(values)} for {len(grid)} grid points; pass one a point")
    refine = _best_step if whole_steps else _best_time
    best = (float(grid[np.argmin(values)]), float(np.min(values)))
    for index in _local_minima(values):
        low, high = grid[index - 1], grid[index + 1]
        best = min(best, refine(risk, float(low), float(grid[index]), float(high)), key=lambda point: point[1])
    return best


def _local_minima(values: np.ndarray) -> list[int]:
    inner = np.arange(1, len(values) - 1)
    minima = inner[(values[inner] <= values[inner - 1]) & (values[inner] <= values[inner + 1])]
    return sorted(minima.tolist(), key=lambda index: values[index])[:CANDIDATES]


def _best_time(risk: Curve, low: float, middle: float, high: float) -> tuple[float, float]:
    """Narrows the bracket, then looks for the minimum of the Chebyshev interpolant."""
    low = low if low > 0 else min(middle, high) * 1e-3
    while np.log(high / low) > MAX_LOG_WIDTH:
        times = np.geomspace(low, high, NUM_NODES)
        index = int(np.clip(np.argmin(risk(times)), 1, NUM_NODES - 2))
        low, high = times[index - 1], times[index + 1]
    # The interpolant samples NUM_NODES Chebyshev points of log t.
    interpolant = Chebyshev.interpolate(lambda log_t: risk(np.exp(log_t)), NUM_NODES - 1, domain=np.log([low, high]))
    roots = interpolant.deriv().roots()
    inside = np.real(
        roots[(np.abs(np.imag(roots)) < 1e-6) & (np.real(roots) > np.log(low)) & (np.real(roots) < np.log(high))]
    )
    if inside.size == 0:
        return middle, np.inf
    log_best = inside[np.argmin(interpolant(inside))]
    return float(np.exp(log_best)), float(interpolant(log_best))


def _best_step(risk: Curve, low: float, middle: float, high: float) -> tuple[float, float]:
    """Samples the bracket's whole steps ever more closely around the best of them."""
    while True:
        steps = np.round(np.linspace(low, high, NUM_NODES))
        values = risk(steps)
        index = int(np.argmin(values))
        if high - low < NUM_NODES:
            return float(steps[index]), float(values[index])
        low, high = steps[max(index - 1, 0)], steps[min(index + 1, NUM_NODES - 1)]
