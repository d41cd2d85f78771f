"""The bottom of the U, off the grid: against curves with a known minimum, brute force and 30 digits."""

from collections.abc import Callable

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
    return theory.turning_point(risk, grid, risk(grid), whole_steps=whole_steps)


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


def test_grid_and_values_must_match() -> None:
    with pytest.raises(ValueError, match="values: there are 2 for 3 grid points; pass one a point"):
        theory.turning_point(np.exp, np.arange(3.0), np.arange(2.0), whole_steps=False)
