"""What held-out rows say: errors against resampling, times that others choose, and times that cannot be told apart."""

import numpy as np
import pytest
from scipy.stats import norm

from rfm.decide.estimates import UNTOLD, WIDER, WIDER_OF_FEW, HeldOut
from tests.tolerances import IDENTITY


def rows(number: int, parts: int = 1, units: int | None = None) -> HeldOut:
    index = np.arange(number)
    return HeldOut(index, index % parts, index if units is None else index % units)


def test_an_error_is_that_of_independent_rows_and_wider() -> None:
    values = np.random.default_rng(0).normal(size=50)
    found = rows(50).mean(values)
    assert np.isclose(found.mean, values.mean(), rtol=IDENTITY)
    assert np.isclose(
        found.error, values.std(ddof=1) / 50**0.5 * (WIDER["risk"] + WIDER_OF_FEW["risk"] / 50**0.5), rtol=IDENTITY
    )


def test_copies_of_rows_in_one_unit_add_nothing_to_what_is_known() -> None:
    values = np.random.default_rng(1).normal(size=20)
    once, thrice = rows(20).mean(values), rows(60, units=20).mean(np.tile(values, 3))
    assert np.allclose(once, thrice, rtol=IDENTITY)
    assert rows(60).mean(np.tile(values, 3)).error < 0.7 * once.error


def test_the_error_of_a_ratio_is_that_of_resampling() -> None:
    rng = np.random.default_rng(2)
    below = rng.uniform(0.2, 4, size=400)  # so that the mean of ratios would be another matter
    above = 1 + 0.5 * below + 0.2 * rng.normal(size=400)
    drawn = rng.integers(0, 400, size=(2000, 400))
    ratios = above[drawn].mean(axis=1) / below[drawn].mean(axis=1) - 1
    found = rows(400).excess(above, below)
    assert np.isclose(found.mean, above.mean() / below.mean() - 1, rtol=IDENTITY)
    assert np.isclose(found.error / (WIDER["difference"] + WIDER_OF_FEW["difference"] / 20), ratios.std(), rtol=0.1)


@pytest.mark.parametrize(("number", "parts"), [(3, 3), (23, 23), (23, 1), (24, 4)])
def test_a_part_does_not_choose_its_own_time(number: int, parts: int) -> None:
    held, risk = rows(number, parts), np.random.default_rng(0).uniform(size=(number, 4))
    group = (held.part if parts > 1 else held.unit) % 10
    for row, value in enumerate(held.at_times_of_others(risk)):
        others = risk[group != group[row]]
        assert value == risk[row, np.argmin(others.sum(axis=0))]


def test_times_whose_risk_is_the_same_row_by_row_cannot_be_told_apart() -> None:
    hard = np.random.default_rng(3).exponential(size=(30, 1))  # rows differ far more than times do
    higher = np.asarray([[0.5, 0.0, 1e-9, 0.5]])
    signs = np.where(np.arange(30) % 2, 1.0, -1.0)[:, None] * np.asarray([[0.0, 0.0, 1.0, 0.0]])
    found = rows(30).may_be_best(hard + higher + signs)
    assert found.tolist() == [False, True, True, False]


def test_the_share_of_times_told_apart_is_that_of_the_normal_law() -> None:
    """A time whose mean risk is the same as that of the lowest is kept as often as UNTOLD standard errors say."""
    rng = np.random.default_rng(4)
    kept = []
    for _ in range(400):
        difference = rng.normal(size=(60, 1))
        kept.append(rows(60).may_be_best(np.concatenate([0 * difference, difference], axis=1)).all())
    # Both are kept if the mean lies within UNTOLD standard errors of zero, whichever of the two is lowest.
    assert abs(np.mean(kept) - (1 - 2 * norm.sf(UNTOLD))) < 0.06
