"""Learning curves: subsets against advice on them, forecasts against laws that they can follow."""

import jax
import numpy as np
import pytest

import rfm
from rfm.decide.estimates import HeldOut
from rfm.decide.learning_curve import LearningCurve, learning_curve
from rfm.decide.splits import Rows, Ways
from tests.tolerances import IDENTITY, ORACLE

KEY = jax.random.key(5)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 2))
Y = X[:, 0] + X[:, 1] ** 2 + 0.3 * RNG.normal(size=40)
FEATURES = rfm.RandomFeatures(2, 8, "relu", bias_std=0.5, key=jax.random.key(1))
SHARES = (0.4, 0.7, 1.0)


@pytest.fixture(scope="module")
def found() -> LearningCurve:
    return learning_curve(X, Y, features=FEATURES, shares=SHARES, num_folds=4, num_times=9, budget=50.0, key=KEY)


def test_each_size_is_the_advice_on_its_rows(found: LearningCurve) -> None:
    split_key, pair_key = jax.random.split(KEY)
    parts = Ways(num_folds=4).parts(40, None, split_key)
    assert found.sizes.tolist() == [12, 21, 30]
    for index in (0, 2):
        thinner = [rows.thinned(SHARES[index], None, None, jax.random.fold_in(pair_key, part))
                   for part, rows in enumerate(parts)]  # fmt: skip
        advice = rfm.advise(X, Y, features=FEATURES, splits=thinner, num_times=9, budget=50.0, key=KEY)
        everything = rfm.advise(X, Y, features=FEATURES, splits=parts, num_times=9, budget=50.0, key=KEY)
        assert np.array_equal(advice.held.row, found.held.row)
        ratio = advice.squared.unit / everything.squared.unit
        if index == 2:
            assert ratio == 1
            assert np.allclose(found.plain_risk[2], advice.plain.row_risk, rtol=ORACLE)
            assert np.allclose(found.mixup_risk[2], advice.stop.row_risk, rtol=ORACLE)
        assert np.allclose(found.end_risk[index], advice.mixup_risk[:, -1] * ratio, rtol=ORACLE)


def test_smaller_subsets_are_part_of_larger_ones_and_hold_every_class() -> None:
    rows, classes = Rows(np.arange(30), np.arange(30, 36)), np.repeat([0, 1, 2], [24, 6, 6])
    before: set[int] = set()
    for share in (0.2, 0.5, 0.8, 1.0):
        thinner = rows.thinned(share, classes, None, KEY)
        assert before < set(thinner.train.tolist())
        before = set(thinner.train.tolist())
        assert np.bincount(classes[thinner.train]).tolist() == [24 * share, 6 * share] or share in (0.2, 0.8)
        assert abs(np.mean(classes[thinner.train]) - 0.2) < 0.04
        assert np.array_equal(thinner.held_out, rows.held_out)
    assert before == set(range(30))


def of_law(power: float, noise: float = 0.0) -> LearningCurve:
    """Risks that go to 0.5 as that power of one over the rows, beside differences between rows."""
    sizes, rows = np.asarray([10.0, 20.0, 40.0, 80.0]), np.arange(60)
    rng = np.random.default_rng(3)
    hard = rng.exponential(size=60)
    mean = 0.5 + (sizes / 10) ** -power
    plain = hard[None, :] / hard.mean() * mean[:, None] + noise * rng.normal(size=(4, 60))
    return LearningCurve(sizes, HeldOut(rows, rows % 3, rows), plain, 0.9 * plain, 1.2 * plain)


@pytest.mark.parametrize("power", [0.5, 0.7, 1.0])
def test_a_law_between_the_powers_lies_in_the_band(power: float) -> None:
    curve = of_law(power)
    true = 0.5 + 32.0**-power
    forecast = curve.forecast("risk", 320)
    assert forecast.low <= true <= forecast.high
    assert forecast.low <= forecast.middle <= forecast.high
    assert np.isclose(curve.forecast("cost", 320).middle, 1.2 / 0.9 - 1, rtol=IDENTITY)
    largest, seen = curve.largest_foretold("risk")
    assert largest.low <= seen.mean <= largest.high
    assert np.isclose(curve.seen("gain", 3).mean, 0.1 * (0.5 + 8.0**-power), rtol=IDENTITY)


def test_the_further_the_wider() -> None:
    curve = of_law(0.7, noise=0.3)
    widths = [curve.forecast("gain", rows).high - curve.forecast("gain", rows).low for rows in (80, 160, 1000)]
    assert widths[0] < widths[1] < widths[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shares": (0.5, 1.0)}, "shares (how many): must be a whole number of at least 3, got 2"),
        ({"shares": (0.5, 0.4, 1.0)}, "shares: must ascend and lie in (0, 1], got (0.5, 0.4, 1.0)"),
        ({"shares": (0.01, 0.5, 1.0)}, "shares: leave 0, 16, 32 rows to train on, and the smallest is too small"),
        ({"shares": (0.5, 0.501, 1.0)}, "shares: leave 16, 16, 32 rows to train on, and two are the same"),
        ({"features": rfm.data.Encoder(np.asarray)}, "features: subsets leave too few mixtures of a frozen network"),
    ],
)
def test_what_makes_no_curve_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]*$") as caught:
        learning_curve(**({"inputs": X, "targets": Y, "features": FEATURES, "key": KEY} | arguments))
    assert str(caught.value).startswith(message)


def test_subsets_of_groups_are_whole_groups() -> None:
    groups, rows = np.arange(36) // 4, Rows(np.arange(32), np.arange(32, 36))
    before: set[int] = set()
    for share, number in ((0.25, 2), (0.5, 4), (1.0, 8)):
        thinner = rows.thinned(share, None, groups, KEY)
        taken = set(groups[thinner.train].tolist())
        assert len(taken) == number
        assert len(thinner.train) == 4 * number
        assert before < taken
        before = taken
    curve = learning_curve(
        X[:36], Y[:36], features=FEATURES, groups=groups, num_folds=3, shares=SHARES, num_times=9, key=KEY
    )
    assert np.all(curve.sizes % 4 == 0)


def test_a_subset_without_a_class_is_refused() -> None:
    classes = (np.arange(40) % 20 == 0).astype(int)
    with pytest.raises(ValueError, match=r"^shares: part 0 trains on no row of class 1, which has 2 rows in all"):
        learning_curve(X, classes, features=FEATURES, num_folds=2, shares=(0.1, 0.5, 1.0), num_times=9, key=KEY)


def test_a_risk_is_never_foretold_below_zero() -> None:
    rows = np.ones(12)
    falling = np.stack([rows * level for level in (1.0, 0.5, 0.01)])
    held = HeldOut(np.arange(12), np.arange(12) % 3, np.arange(12))
    curve = LearningCurve(np.asarray([10.0, 20.0, 40.0]), held, falling, falling, falling)
    assert curve.forecast("risk", 400) == (0, 0, 0)
    assert curve.forecast("gain", 400) == pytest.approx((0, 0, 0), abs=IDENTITY)
