"""The bottom of the U: the time at which a risk curve turns, refined off the grid it was sampled on.

Between two grid points a risk curve is analytic in log t, so a handful of Chebyshev nodes there pin the minimum down to
rounding, with one more evaluation of the curve and no derivative of it. Steps are counted: there, the best whole step
between the two grid points is found. Between t = 0 and the first time after it, the curve is looked at as well.

A risk is known to within its rounding error, and of two that lie closer than that, neither is the lower one. So a curve
turns at the earliest time that may be the lowest: one that falls to rounding and wiggles there turns where it gets
there, a flat one at its first time. A bottom that stands out from the times around it turns where it is lowest. And
what over-training costs is the ratio of two risks that can be told apart, or 1.

One search serves all curves. It looks at `NUM_NODES` times of one bracket after the other, whatever the grid, so that a
curve is compiled for it once. Where there are values it runs by NumPy, and compiles nothing itself; traced by JAX, as a
part of what is differentiated, it is compiled with the curve.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from numpy.polynomial import chebyshev

from theory.checks import is_traced

Times = Float[Array, "times"] | np.ndarray
Curve = Callable[[Any], Times]
Number = Float[Array, ""] | np.ndarray | np.floating
Count = Int[Array, ""] | np.ndarray | np.integer | int
Flag = Bool[Array, ""] | np.ndarray | np.bool_
State = TypeVar("State")

NUM_NODES = 17
MAX_LOG_WIDTH = 1.0
"""Wider brackets (in log t) are first narrowed: the interpolant is exact to rounding only on narrow ones."""
CANDIDATES = 3
"""How many of the grid's local minima are refined, lowest first."""
FASTEST = 1e-2
"""Of the time scale of the fastest mode: until then, a curve is as good as straight."""
EARLIEST = 1e-3
"""Of the first time after 0: the curve is looked at from there on, where no fastest mode is known."""
CUTS = 13
"""Of the interval around a root into `NUM_NODES` - 1 parts; float64 has 53 bits."""


def turning_point(
    risk: Curve,
    grid: Times,
    values: Times,
    errors: Times | None = None,
    *,
    whole_steps: bool,
    fastest: float | Number = 0.0,
) -> tuple[Any, Any]:
    """The time and the value of a curve's global minimum; of several that rounding does not part, the earliest.

    The end points count: a curve that still falls turns at its last time, one that only rises at its first.

    Args:
        risk: the curve, not negative, at ascending times; it is called with arrays of `NUM_NODES` values.
        grid: the times at which it was sampled, ascending, 0 allowed.
        values: the curve there.
        errors: how far rounding may have moved each value; None for values that are exact.
        whole_steps: times are whole numbers of steps.
        fastest: the largest eigenvalue; it says how soon after t = 0 a curve can turn. 0 if it is not known.

    Returns:
        Numbers of NumPy, or traced ones where any of these is traced.

    Raises:
        ValueError: grid and values, or errors, differ in length.

    >>> grid = np.asarray([1.0, 2.0, 4.0, 8.0])
    >>> time, value = turning_point(lambda t: (np.log(t) - 1) ** 2, grid, (np.log(grid) - 1) ** 2, whole_steps=False)
    >>> float(time.round(9))
    2.718281828
    >>> falls = np.asarray([1.0, 0.4, 0.1, 0.09])
    >>> found = turning_point(np.sqrt, grid, falls, np.full(4, 0.01), whole_steps=False)
    >>> tuple(map(float, found))  # 0.1 and 0.09 are told apart barely
    (4.0, 0.1)
    """
    xp = _library(grid, values, errors, fastest)
    grid, values = xp.asarray(grid), xp.asarray(values)
    errors = xp.zeros_like(values) if errors is None else xp.asarray(errors)
    for name, found in (("values", values), ("errors", errors)):
        if len(found) != len(grid):
            raise ValueError(f"{name}: there are {len(found)} for {len(grid)} grid points; pass one a point")
    brackets = _brackets(grid, values, whole_steps=whole_steps, fastest=fastest)
    with np.errstate(invalid="ignore", divide="ignore"):  # of a curve that overflows
        found, lowest = _search(risk, brackets, whole_steps=whole_steps)
    error = xp.where(xp.isfinite(lowest), error_at(found, grid, errors), 0)
    times, values, errors = xp.append(grid, found), xp.append(values, lowest), xp.append(errors, error)
    order = xp.argsort(times, stable=True)
    best = order[earliest_lowest(values[order], errors[order])]
    return times[best], values[best]


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


class Extremum(NamedTuple):
    """A local minimum or maximum of a risk curve.

    Attributes:
        is_minimum: which of the two.
        time: when; unit 1/eigenvalue.
        step: the number of steps until then, or None for gradient flow.
        risk: there.
    """

    is_minimum: bool
    time: float
    step: int | None
    risk: float


def extrema(times: Times, steps: Times | None, risk: Times, errors: Times) -> tuple[Extremum, ...]:
    """All local minima and maxima of a risk that was sampled, in their order; its ends are none.

    It has turned once it has moved away by more than the errors, and did so at the earliest of the times that may be
    the lowest, or the highest, of those that are told apart from the turn before. So minima and maxima take turns.

    Args:
        times: ascending.
        steps: beside them, or None.
        risk: there, known to within
        errors: these.

    >>> times, exact = np.arange(6.0), np.zeros(6)
    >>> risk = np.asarray([3.0, 1.0, 2.0, 2.1, 0.0, 5.0])
    >>> [(turn.is_minimum, turn.time) for turn in extrema(times, None, risk, exact)]
    [(True, 1.0), (False, 3.0), (True, 4.0)]
    >>> extrema(times[:4], None, np.asarray([3.0, 1.0, 1.1, 0.5]), np.full(4, 0.1))
    ()
    """
    times, values, errors = (np.asarray(each, float) for each in (times, risk, errors))
    found: list[Extremum] = []
    begin, moved, falls, rises = 0, 0, False, False  # the last turn, and where the curve had first moved away from it

    def turn(sign: int, until: int, *, is_one: bool) -> int:
        since = slice(moved, until)
        place = moved + int(earliest_lowest(sign * values[since], errors[since]))
        if is_one:
            step = None if steps is None else int(np.asarray(steps)[place])
            found.append(Extremum(sign > 0, float(times[place]), step, float(values[place])))
        return place

    lower, upper = values - errors, values + errors
    least, most = np.inf, -np.inf  # upper and lower ends since the last turn
    for place in range(len(values)):
        least, most = min(least, upper[place]), max(most, lower[place])
        if not rises and lower[place] > least:
            begin, moved, falls, rises = turn(1, place, is_one=falls), place, False, True
        elif not falls and upper[place] < most:
            begin, moved, falls, rises = turn(-1, place, is_one=rises), place, True, False
        else:
            continue
        least, most = upper[begin : place + 1].min(), lower[begin : place + 1].max()
    return tuple(found)


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


class _Brackets(NamedTuple):
    """Where to look: around the lowest of the local minima, and between 0 and the first time after it.

    Attributes:
        low: where each begins.
        high: where it ends.
        number: how many there are; what comes after them is no bracket.
    """

    low: Times
    high: Times
    number: Count


def _brackets(grid: Times, values: Times, *, whole_steps: bool, fastest: float | Number) -> _Brackets:
    """If 0 is followed by the next step, there is nothing in between."""
    xp, dtype = _library(grid, values, fastest), values.dtype
    inner = values[1:-1]
    is_minimum = (inner <= values[:-2]) & (inner <= values[2:])
    before = xp.argsort(xp.where(is_minimum, inner, xp.inf), stable=True)[:CANDIDATES]
    second = grid[min(1, len(grid) - 1)]
    begins = (grid[0] == 0) & (second > (1 if whole_steps else 0)) & ~xp.any(is_minimum[before] & (before == 0))
    exists = xp.append(is_minimum[before], begins)
    low, high = xp.append(grid[before], grid[0]), xp.append(grid[before + 2], second)
    first = xp.argsort(~exists, stable=True)
    low, high = low[first].astype(dtype), high[first].astype(dtype)
    if not whole_steps:
        soon = xp.minimum(FASTEST / xp.maximum(fastest, xp.finfo(dtype).tiny), EARLIEST * high)
        low = xp.where(low > 0, low, soon).astype(dtype)
    return _Brackets(low, high, xp.sum(exists))


class _Look(NamedTuple):
    """What one look into a bracket has shown: a narrower bracket, or in the end the minimum."""

    low: Number
    high: Number
    is_last: Flag
    time: Number
    value: Number


class _Found(NamedTuple):
    """A search on its way: which bracket it is in, what is left of that, and the minima of those before."""

    bracket: Count
    low: Number
    high: Number
    times: Times
    values: Times


def _search(risk: Curve, brackets: _Brackets, *, whole_steps: bool) -> tuple[Times, Times]:
    """The times and values of the minima in all brackets; infinite values where there is none."""
    xp = _library(*brackets)
    low, high = brackets.low, brackets.high
    order = np.arange(len(high))

    def look(found: _Found) -> _Found:
        seen = (_look_at_steps if whole_steps else _look_at_times)(risk, found.low, found.high)
        value = xp.where(xp.isfinite(seen.value), seen.value, xp.inf)
        following = found.bracket + seen.is_last
        next_one = xp.minimum(following, len(high) - 1)
        return _Found(
            following,
            xp.where(seen.is_last, low[next_one], seen.low),
            xp.where(seen.is_last, high[next_one], seen.high),
            xp.where(order == found.bracket, seen.time, found.times),
            xp.where(order == found.bracket, value, found.values),
        )

    begin = _Found(0, low[0], high[0], high, xp.full_like(high, xp.inf))
    found = _loop(xp, lambda found: found.bracket < brackets.number, look, begin)
    return found.times, found.values


_ORDERS = np.arange(NUM_NODES)
_NODES = np.pi * (_ORDERS[::-1] + 0.5) / NUM_NODES
_TO_COEFFICIENTS = np.where(_ORDERS > 0, 2, 1)[:, None] * np.cos(_ORDERS[:, None] * _NODES[None, :]) / NUM_NODES
_ANGLES = np.linspace(np.pi, 0, 8 * NUM_NODES)
_POLYNOMIALS = chebyshev.chebvander(np.cos(_ANGLES), NUM_NODES - 1)
_SLOPES = np.stack([chebyshev.chebval(np.cos(_ANGLES), chebyshev.chebder(row)) for row in np.eye(NUM_NODES)], axis=1)
"""At x = cos(angle), from -1 to 1: the nodes; and eight angles for each bend that an interpolant may have."""


def _look_at_times(risk: Curve, low: Number, high: Number) -> _Look:
    """Narrows a wide bracket in log t; in a narrow one, the minimum of the Chebyshev interpolant."""
    xp, dtype = _library(low, high), low.dtype
    centre, half = (xp.log(high) + xp.log(low)) / 2, (xp.log(high) - xp.log(low)) / 2
    is_wide = 2 * half > MAX_LOG_WIDTH
    even, nodes = (xp.asarray(x, dtype) for x in (np.linspace(-1, 1, NUM_NODES), np.cos(_NODES)))
    times = xp.exp(centre + half * xp.where(is_wide, even, nodes))
    values = xp.asarray(risk(times))
    best = xp.clip(xp.argmin(values), 1, NUM_NODES - 2)
    # Differences keep the digits that a bottom is found by.
    bends = xp.asarray(_TO_COEFFICIENTS, dtype) @ (values - values[0])
    swing = xp.max(xp.abs(bends[1:]))
    # A flat curve has no bottom, and one that overflows none that could be found.
    is_bent = xp.isfinite(swing) & (swing > NUM_NODES * xp.finfo(dtype).eps * xp.abs(values[0] + bends[0]))
    angle, is_found = _lowest_valley(bends, is_bent & ~is_wide)
    value = values[0] + xp.sum(bends * xp.cos(_ORDERS * angle))
    value = xp.where(is_found, xp.maximum(value, 0), xp.inf)  # between zeros it may swing below
    return _Look(times[best - 1], times[best + 1], ~is_wide, xp.exp(centre + half * xp.cos(angle)), value)


class _Root(NamedTuple):
    """Angles at which a series still falls, and already rises, after so many cuts."""

    cuts: Count
    falling: Number
    rising: Number


def _lowest_valley(coefficients: Float[Array, "orders"] | np.ndarray, is_wanted: Flag) -> tuple[Number, Flag]:
    """At which angle a Chebyshev series has the lowest of its minima, if it has one between -1 and 1 and is asked."""
    xp, dtype = _library(coefficients), coefficients.dtype
    heights, slopes = (xp.asarray(matrix, dtype) @ coefficients for matrix in (_POLYNOMIALS, _SLOPES))
    lowest = xp.argmin(heights)
    before, after = xp.maximum(lowest - 1, 0), xp.minimum(lowest + 1, len(_ANGLES) - 1)
    is_inside = is_wanted & (slopes[before] < 0) & (slopes[after] > 0)
    angles, parts = xp.asarray(_ANGLES, dtype), xp.linspace(0, 1, NUM_NODES, dtype=dtype)
    weights = _ORDERS * coefficients

    def cut(root: _Root) -> _Root:
        angles = root.falling + (root.rising - root.falling) * parts
        rises = xp.sin(_ORDERS[None, :] * angles[1:-1, None]) @ weights > 0
        first = xp.argmax(xp.append(rises, True))
        return _Root(root.cuts + 1, angles[first], angles[first + 1])

    around = _Root(0, angles[before], angles[after])
    root = _loop(xp, lambda root: is_inside & (root.cuts < CUTS), cut, around)
    return (root.falling + root.rising) / 2, is_inside


def _look_at_steps(risk: Curve, low: Number, high: Number) -> _Look:
    """Samples whole steps evenly in their logarithm, and in a narrow bracket all of them."""
    xp = _library(low, high)
    is_narrow = high - low < NUM_NODES
    logs = xp.linspace(xp.log(xp.maximum(low, 1)), xp.log(high), NUM_NODES - 1)
    steps = xp.where(is_narrow, xp.linspace(low, high, NUM_NODES), xp.append(low, xp.exp(logs)))
    steps = xp.clip(xp.round(steps), low, high)  # logarithms round
    values = xp.asarray(risk(steps))
    best = xp.argmin(values)
    before = xp.max(steps, where=steps < steps[best], initial=low)
    after = xp.min(steps, where=steps > steps[best], initial=high)
    # Of steps beyond 1e15 the whole numbers lie too far apart for a bracket to narrow as it should.
    is_last = is_narrow | (after - before >= high - low)
    return _Look(before, after, is_last, steps[best], values[best])


def _library(*arrays: object) -> ModuleType:
    """NumPy, which need not compile, where there are values; JAX under a trace."""
    return jnp if is_traced(*arrays) else np


def _loop(xp: ModuleType, goes_on: Callable[[State], Any], step: Callable[[State], State], state: State) -> State:
    """Steps for as long as it goes on."""
    if xp is jnp:
        return jax.lax.while_loop(goes_on, step, state)
    while goes_on(state):
        state = step(state)
    return state
