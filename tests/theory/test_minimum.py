"""The bottom of the U, off the grid: against curves with a known minimum, brute force and 30 digits."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import theory
from tests.problems import named
from tests.tolerances import TURNING, TURNING_RISK

GRID = np.concatenate([[0.0], np.geomspace(1e-2, 1e4, 31)])


def rise_and_fall(t: np.ndarray, fast: float, slow: float) -> np.ndarray:
    """A pattern learnt at one rate, noise learnt at a slower one: the U-curve in its simplest form."""
    return np.exp(-2 * fast * t) + 0.5 * (1 - np.exp(-slow * t)) ** 2


def minimum(fast: float, slow: float) -> tuple[float, float]:
    with mpmath.workdps(30):
        fast, slow = mpmath.mpf(fast), mpmath.mpf(slow)

        def slope(t: mpmath.mpf) -> mpmath.mpf:
            rise = slow * mpmath.exp(-slow * t) * (1 - mpmath.exp(-slow * t))
            return -2 * fast * mpmath.exp(-2 * fast * t) + rise

        low, high = mpmath.mpf("1e-3"), mpmath.mpf(1000)
        for _ in range(100):
            t = mpmath.sqrt(low * high)
            low, high = (t, high) if slope(t) < 0 else (low, t)
        return float(t), float(mpmath.exp(-2 * fast * t) + (1 - mpmath.exp(-slow * t)) ** 2 / 2)


def turn(risk: Callable[[np.ndarray], np.ndarray], grid: np.ndarray, whole_steps: bool = False) -> tuple[float, float]:
    return theory.minimum.turning_point(risk, grid, risk(grid), whole_steps=whole_steps)


@given(st.floats(0.1, 10), st.floats(0.001, 0.05))
def test_the_turning_point_is_exact_off_the_grid(fast: float, slow: float) -> None:
    time, risk = turn(lambda t: rise_and_fall(t, fast, slow), GRID)
    exact_time, exact_risk = minimum(fast, slow)
    assert np.isclose(time, exact_time, rtol=100 * TURNING, atol=0)
    assert np.isclose(risk, exact_risk, rtol=TURNING_RISK, atol=1e-15)


def test_any_grid_around_it_finds_the_same_turning_point() -> None:
    exact_time, exact_risk = minimum(1.0, 0.01)
    for grid in (GRID, np.geomspace(0.1, 1e3, 9), np.geomspace(1e-3, 1e5, 200), np.asarray([0, 1.0, 2.0, 1e4])):
        time, risk = turn(lambda t: rise_and_fall(t, 1.0, 0.01), grid)
        assert np.isclose(time, exact_time, rtol=TURNING, atol=0)
        assert np.isclose(risk, exact_risk, rtol=TURNING_RISK, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_traced_it_finds_what_it_finds_of_numbers(dtype: Any) -> None:
    steps = np.unique(np.round(np.concatenate([[0], np.geomspace(1, 1e4, 31)])))
    slows = np.asarray([1e-3, 0.01, 0.04], dtype)

    def search(slow: Any, grid: np.ndarray, whole_steps: bool) -> tuple[Any, Any]:
        def risk(t: Any) -> Any:
            return jnp.exp(-2 * t / 3) + 0.5 * (1 - jnp.exp(-slow * t)) ** 2

        there: Any = grid.astype(dtype) if isinstance(slow, np.floating) else jnp.asarray(grid, dtype)
        return theory.minimum.turning_point(risk, there, risk(there), whole_steps=whole_steps, fastest=2 / 3)

    for grid, whole_steps in ((GRID, False), (np.asarray([0, 1e4]), False), (steps, True), (np.asarray([7.0]), False)):
        times, values = jax.jit(jax.vmap(lambda slow, g=grid, w=whole_steps: search(slow, g, w)))(slows)
        assert (times.dtype, values.dtype) == (dtype, dtype)
        found = np.asarray([search(slow, grid, whole_steps) for slow in slows])
        precision = float(np.finfo(dtype).eps)
        assert np.allclose(values, found[:, 1], rtol=100 * precision, atol=0)
        assert np.allclose(times, found[:, 0], rtol=0 if whole_steps else 10 * precision**0.5, atol=0)


def test_of_several_minima_the_lowest_counts() -> None:
    def waves(t: np.ndarray) -> np.ndarray:
        s = np.log(t)
        return 2 - np.exp(-((s + 2) ** 2)) - 1.5 * np.exp(-((s - 1) ** 2)) - 1.2 * np.exp(-((s - 4) ** 2))

    grid = np.geomspace(1e-2, 1e3, 40)
    time, risk = turn(waves, grid)
    fine = np.geomspace(1e-2, 1e3, 400001)
    assert np.isclose(time, fine[np.argmin(waves(fine))], rtol=1e-4)  # the fine grid's spacing is 3e-5
    assert risk <= waves(fine).min()


def test_a_lower_minimum_between_grid_points_beats_the_lowest_grid_point() -> None:
    # Sampled at -1 and 1, the deep well at log t = 0 looks shallower than the broad one at 8.
    def wells(t: np.ndarray) -> np.ndarray:
        s = np.log(t)
        return 3 - 2 * np.exp(-(s**2)) - 1.0 * np.exp(-((s - 8) ** 2) / 9)

    grid = np.exp(np.asarray([-5.0, -3, -1, 1, 3, 5, 8, 11, 14]))
    assert np.argmin(wells(grid)) == 6
    time, _ = turn(wells, grid)
    assert 0.9 < time < 1.1


def test_a_curve_that_never_turns_ends_at_its_ends() -> None:
    assert turn(lambda t: np.exp(-t), GRID[:20]) == (GRID[19], np.exp(-GRID[19]))
    assert turn(lambda t: 1 + t, GRID) == (0.0, 1.0)
    assert turn(lambda t: 1 + t, np.asarray([5.0])) == (5.0, 6.0)


@given(st.floats(0.3, 3), st.floats(0.0005, 0.02), st.sampled_from([4, 9, 40]))
def test_counted_in_steps_the_best_whole_step_is_found(fast: float, slow: float, points: int) -> None:
    def risk(k: np.ndarray) -> np.ndarray:
        return rise_and_fall(0.01 * k, fast, slow)

    grid = np.unique(np.round(np.concatenate([[0], np.geomspace(1, 1e5, points)])))
    step, value = turn(risk, grid, whole_steps=True)
    every = np.arange(0, 100001.0)
    best = every[np.argmin(risk(every))]
    assert step == best or risk(np.asarray([step]))[0] == risk(np.asarray([best]))[0]
    assert value == risk(np.asarray([step]))[0]


def test_the_turning_point_of_a_curve_is_below_all_its_neighbours() -> None:
    problem = named("power law")
    spectrum, grid = problem.spectrum(), np.geomspace(1e-2, 1e4, 25)
    curve = theory.risk_curve(spectrum, problem.population, theory.GradientFlow(), grid)
    around = float(curve.turning_time) * np.linspace(0.9, 1.1, 401)
    near = theory.risk_curve(spectrum, problem.population, theory.GradientFlow(), around)
    assert grid[0] < curve.turning_time < grid[-1]
    assert curve.turning_risk < curve.risk.min()
    assert np.isclose(curve.turning_risk, near.risk.min(), rtol=TURNING_RISK)
    assert np.argmin(near.risk) == 200


def test_the_turning_step_of_a_curve_is_the_best_of_all_steps() -> None:
    problem = named("square")
    spectrum, rule = problem.spectrum(), theory.GradientDescent(0.5)
    every = theory.risk_curve(spectrum, problem.population, rule, np.arange(0, 5001.0))
    best = int(np.argmin(every.risk))
    for grid in ([0, 1, 10, 100, 1000, 5000], [0, 5, 30, 5000]):
        curve = theory.risk_curve(spectrum, problem.population, rule, grid)
        assert curve.turning_time == 0.5 * best
        assert np.isclose(curve.turning_risk, every.risk[best], rtol=TURNING_RISK)


# --- values that are known to within their rounding ----------------------------------------------------------------


@pytest.mark.parametrize("whole_steps", [False, True])
def test_a_flat_curve_turns_at_its_first_time(whole_steps: bool) -> None:
    for grid in (np.asarray([0.0, 1.0, 50.0, 1e3]), np.asarray([2.0, 7.0, 1e3]), np.asarray([0.0]), np.asarray([3.0])):
        assert turn(lambda t: np.full_like(t, 0.7), grid, whole_steps) == (grid[0], 0.7)
        assert turn(np.zeros_like, grid, whole_steps) == (grid[0], 0.0)


def wiggling(t: np.ndarray) -> np.ndarray:
    """Falls to 1e-10 and wiggles there."""
    return np.exp(-t) + 1e-10 * (1 + np.sin(1e3 * t))


def test_a_curve_that_falls_to_rounding_turns_where_it_gets_there() -> None:
    grid = np.concatenate([[0.0], np.geomspace(0.1, 1e4, 200)])
    values = wiggling(grid)
    time, value = theory.minimum.turning_point(wiggling, grid, values, np.full_like(grid, 2e-10), whole_steps=False)
    there = int(np.argmax(values <= values.min() + 4e-10))
    assert time in grid[there - 1 : there + 1]  # a lower value between grid points may ask for one point more or less
    assert value == values[grid == time]
    assert 20 < time < 30


def test_a_value_that_nobody_knows_is_not_the_lowest() -> None:
    grid, values = np.asarray([1.0, 2.0, 3.0, 4.0]), np.asarray([3.0, 2.0, 1.9, 0.0])
    found = theory.minimum.turning_point(
        np.sqrt, grid, values, np.asarray([0.0, 0.01, 0.01, np.inf]), whole_steps=False
    )
    assert found == (3.0, 1.9)


def test_small_errors_leave_a_minimum_off_the_grid_as_it_is() -> None:
    exact, _ = minimum(1.0, 0.01)
    values = rise_and_fall(GRID, 1.0, 0.01)
    time, _ = theory.minimum.turning_point(
        lambda t: rise_and_fall(t, 1.0, 0.01), GRID, values, 1e-10 * values, whole_steps=False
    )
    assert np.isclose(time, exact, rtol=TURNING, atol=0)


@given(st.floats(0.05, 20))
def test_a_dip_before_the_first_positive_time_is_found(fast: float) -> None:
    # Both ends of the first interval are higher, and so is all that follows, falling or rising.
    for grid in (np.asarray([0.0, 1e4]), np.asarray([0.0, 1e4, 1e5]), np.asarray([0.0, 1e6, 1e7, 1e8])):
        for late in (0.0, 1e-9):
            time, risk = theory.minimum.turning_point(
                lambda t, late=late: rise_and_fall(t, fast, 0.01) - 0.1 * (1 - np.exp(-late * t)),
                grid,
                rise_and_fall(grid, fast, 0.01) - 0.1 * (1 - np.exp(-late * grid)),
                whole_steps=False,
                fastest=2 * fast,
            )
            exact_time, exact_risk = minimum(fast, 0.01)
            assert np.isclose(time, exact_time, rtol=1e-3)
            assert np.isclose(risk, exact_risk, rtol=1e-5)


def test_a_dip_before_the_first_positive_step_is_found() -> None:
    def risk(k: np.ndarray) -> np.ndarray:
        return rise_and_fall(0.1 * k, 1.0, 0.01)

    best = float(np.argmin(risk(np.arange(1000.0))))
    assert turn(risk, np.asarray([0.0, 1e6]), whole_steps=True)[0] == best
    assert turn(risk, np.asarray([0.0, 1e5, 1e6]), whole_steps=True)[0] == best


def test_a_ratio_of_risks_is_one_unless_it_is_known_to_be_more() -> None:
    def ratio(*numbers: float) -> float:
        return float(theory.minimum.risk_ratio(*map(jnp.asarray, numbers)))

    assert ratio(3.0, 2.0, 0.0, 0.0) == 1.5
    assert ratio(3.0, 2.0, 0.5, 0.5) == 1.0
    assert ratio(1.0, 2.0, 0.0, 0.0) == 1.0  # of two that are told apart barely, the earlier may be the higher one
    assert ratio(0.0, 0.0, 0.0, 0.0) == 1.0
    assert ratio(4.0, 0.0, 0.0, 0.5) == 8.0  # at least
    assert ratio(4.0, 0.0, np.inf, 0.5) == 1.0
    assert 1 < ratio(4.0, 0.0, 0.0, 0.0) < np.inf


def test_grid_values_and_errors_must_match() -> None:
    with pytest.raises(ValueError, match="values: there are 2 for 3 grid points; pass one a point"):
        theory.minimum.turning_point(np.exp, np.arange(3.0), np.arange(2.0), whole_steps=False)
    with pytest.raises(ValueError, match="errors: there are 2 for 3 grid points; pass one a point"):
        theory.minimum.turning_point(np.exp, np.arange(3.0), np.arange(3.0), np.arange(2.0), whole_steps=False)


@pytest.mark.parametrize("steps", [[3e14, 4.5e15, 2.7e16], [1e16, 5e16, 1.2e17], [1.0, 1e16, 9e18]])
@pytest.mark.parametrize("flat", [False, True])
def test_steps_beyond_what_floats_count_are_searched_and_the_search_ends(steps: list[float], flat: bool) -> None:
    grid = np.asarray(steps)

    def risk(k: np.ndarray) -> np.ndarray:
        return np.ones_like(k) if flat else np.log(np.maximum(k, 1) / 3e15) ** 2 + 1

    step, value = theory.minimum.turning_point(risk, grid, risk(grid), whole_steps=True)
    assert grid[0] <= step <= grid[-1]
    assert value <= np.min(risk(grid))
