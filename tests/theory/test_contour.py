"""The contour's sum against the exponential that it stands for, for every mode and time."""

import functools

import mpmath
import numpy as np
import pytest

from tests.tolerances import CONTOUR
from theory.contour import FINEST, LONGEST, SAFETY, SLOW, TOLERANCE, Contour, contours

RATES = np.concatenate([[0.0, 1e-300], np.logspace(-30, 30, 601), [1e300]])
RATIOS = (1.0, 1.0001, 1.5, 3.0, 10.0, 100.0, LONGEST)
TOLERANCES = (1e-3, 1e-8, TOLERANCE, FINEST)


@functools.cache
def window(ratio: float, tolerance: float) -> tuple[np.ndarray, Contour]:
    """Times up to 1 from one over the ratio on, and their contour."""
    times = np.unique(np.geomspace(1 / ratio, 1, 30))
    (found,) = contours(times, tolerance)
    return times, found


def errors(ratio: float, tolerance: float, rates: np.ndarray) -> np.ndarray:
    times, found = window(ratio, tolerance)
    return found.in_time(1 / (found.nodes[:, None] + rates[None, :])) - np.exp(-times[:, None] * rates[None, :])


@pytest.mark.parametrize("tolerance", TOLERANCES)
@pytest.mark.parametrize("ratio", RATIOS)
def test_exponentials_of_every_rate_are_as_wrong_as_is_said(ratio: float, tolerance: float) -> None:
    assert np.max(np.abs(errors(ratio, tolerance, RATES))) <= SAFETY * tolerance


@pytest.mark.parametrize("tolerance", TOLERANCES[:3])
@pytest.mark.parametrize("ratio", RATIOS)
def test_the_error_is_the_same_for_all_modes_that_are_slow(ratio: float, tolerance: float) -> None:
    rates = RATES[(RATES == 0) | ((RATES > 1e-2 / SLOW) & (RATES < 1e3))]
    found = errors(ratio, tolerance, rates)
    apart = np.abs(found - found[:, :1])
    assert np.all(apart <= 2 * SAFETY * tolerance * np.minimum(1, SLOW * rates)[None, :])


def test_a_claim_is_not_uselessly_careful() -> None:
    worst = max(np.max(np.abs(errors(ratio, TOLERANCE, RATES))) for ratio in RATIOS)
    assert worst > TOLERANCE


def test_the_exponential_is_that_of_another_library_at_any_unit_of_time() -> None:
    for unit in (1e-300, 1e-9, 1.0, 1e300):
        times = np.geomspace(1e-2, 1, 3) * unit if unit > 1e-300 else np.asarray([unit])
        (found,) = contours(times)
        right = [float(mpmath.exp(-mpmath.mpf(t) / mpmath.mpf(unit))) for t in times]
        np.testing.assert_allclose(found.in_time(1 / (found.nodes + 1 / unit)), right, rtol=0, atol=SAFETY * TOLERANCE)


def test_many_decades_are_split_into_windows_of_few_nodes_that_leave_no_time_out() -> None:
    times = np.sort(10.0 ** np.random.default_rng(0).uniform(-12, 12, 200))
    found = contours(times)
    assert sum(len(part.weights) for part in found) == len(times)
    assert sum(len(part.nodes) for part in found) <= 21 * 24
    decayed = np.concatenate([part.in_time(1 / (part.nodes + 1e-3)) for part in found])
    np.testing.assert_allclose(decayed, np.exp(-1e-3 * times), rtol=0, atol=SAFETY * TOLERANCE)


def test_times_far_apart_leave_the_windows_between_them_out() -> None:
    found = contours(np.asarray([1e-300, 1.0, 1e300]))
    assert [part.weights.shape[0] for part in found] == [1, 1, 1]
    assert all(len(part.nodes) < 20 for part in found)


def test_a_matrix_exponential_comes_from_resolvents_alone() -> None:
    rng = np.random.default_rng(1)
    half = rng.normal(size=(6, 4))
    times = np.geomspace(0.1, 1e4, 9)
    covariance, start = half @ half.T / 6, rng.normal(size=6)
    values, modes = np.linalg.eigh(covariance)
    for part, now in zip(contours(times), np.split(times, [5]), strict=True):
        resolvents = np.stack([np.linalg.solve(covariance + s * np.eye(6), start) for s in part.nodes])
        exact = np.exp(-now[:, None] * values[None, :]) * (modes.T @ start)[None, :] @ modes.T
        np.testing.assert_allclose(part.in_time(resolvents), exact, rtol=0, atol=CONTOUR)


@pytest.mark.parametrize("tolerance", [1e-14, 1.0, float("nan")])
def test_a_tolerance_that_rounding_does_not_allow_is_refused(tolerance: float) -> None:
    with pytest.raises(ValueError, match=r"^tolerance: must lie between 1e-13 and 0\.1, got"):
        contours(np.ones(1), tolerance)
