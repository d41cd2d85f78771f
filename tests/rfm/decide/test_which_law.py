"""Which law: the same parts for all, gains row by row, and what chance makes of many comparisons."""

import math

import equinox as eqx
import jax
import numpy as np
import pytest

import rfm
from rfm.decide.which_law import NO_MIXUP
from tests.tolerances import ORACLE

KEY = jax.random.key(2)
FEATURES = rfm.RandomFeatures(2, 12, "relu", bias_std=0.5, key=jax.random.key(1))
LAWS = {NO_MIXUP: rfm.ERM(), "Mixup": rfm.Mixup(alpha=1.0, pairs="expected"), "half": rfm.Mixup(lam=0.5, pairs=60)}


def data(num_rows: int = 40) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(num_rows, 2))
    return x, x[:, 0] ** 2 + 0.3 * rng.normal(size=num_rows)


@pytest.fixture(scope="module")
def found() -> rfm.decide.LawComparison:
    return rfm.decide.compare_laws(*data(), features=FEATURES, laws=LAWS, num_folds=4, num_times=9, key=KEY)


def test_a_law_has_the_risk_that_advice_on_it_has(found: rfm.decide.LawComparison) -> None:
    budget = float(found.times[-1])
    alone = rfm.advise(*data(), features=FEATURES, law=LAWS["Mixup"], num_folds=4, num_times=9, budget=budget, key=KEY)
    assert np.array_equal(alone.held.row, found.held.row)  # the same folds
    assert np.allclose(found.risk[0, :, -1], alone.plain_risk[:, -1], rtol=ORACLE)
    assert np.allclose(found.risk[1, :, -1], alone.mixup_risk[:, -1], rtol=ORACLE)


def changed(found: rfm.decide.LawComparison, *gains: float) -> rfm.decide.LawComparison:
    """Every other row has twice the gain, the others none: an error of about 0.16 of the gain's mean, widened."""
    row = np.arange(40) % 2 * 2.0
    risks = np.stack([np.ones(40), *(1 - gain * row for gain in gains)])
    return eqx.tree_at(lambda found: found.row_risk, found, risks)


def test_the_best_of_those_that_show_to_be_better_is_recommended(found: rfm.decide.LawComparison) -> None:
    assert changed(found, 0.1, 0.2).recommended == 2
    assert changed(found, 0.1, 0.2).is_better(1)
    assert changed(found, -0.1, -0.2).recommended == 0
    assert "no law has a lower risk than no Mixup" in str(changed(found, -0.1, -0.2))
    assert "half is better than no Mixup, by 0.2 ± " in str(changed(found, 0.1, 0.2))


def test_the_more_laws_are_compared_the_more_it_takes(found: rfm.decide.LawComparison) -> None:
    assert found.errors_to_tell == pytest.approx(2.2776, abs=1e-3)  # half of 0.02275, two errors' tail
    two = eqx.tree_at(lambda found: (found.risk, found.row_risk), found, (found.risk[:2], found.row_risk[:2]))
    two = rfm.decide.LawComparison(found.names[:2], two.times, two.held, two.risk, two.row_risk, two.pace, two.metric)
    assert two.errors_to_tell == pytest.approx(2.0)
    noisy = np.random.default_rng(1).normal(size=(3, 40))
    none = eqx.tree_at(lambda found: found.row_risk, found, noisy)
    best = 1 + int(np.argmin(noisy[1:].mean(axis=1)))
    if none.gain(best).mean > 0:
        assert none.recommended == 0
    assert "no law" in none.in_words


def test_the_rows_that_would_tell_are_those_at_which_the_gain_would_count(found: rfm.decide.LawComparison) -> None:
    gain = changed(found, 0.05, 0.1).gain(1)
    rows = changed(found, 0.05, 0.1).rows_to_tell(1)
    assert math.isclose(gain.mean, found.errors_to_tell * gain.error * (40 / rows) ** 0.5, rel_tol=ORACLE)
    assert changed(found, -0.05, 0.1).rows_to_tell(1) == math.inf


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["numbers", "classes"])
def test_the_usual_laws_can_all_be_compared(kind: str) -> None:
    x, y = data()
    y = y if kind == "numbers" else (y > np.median(y)).astype(int) + (y > np.quantile(y, 0.8))
    metric = "squared-error" if kind == "numbers" else "accuracy"
    found = rfm.decide.compare_laws(x, y, features=FEATURES, num_folds=3, num_times=9, metric=metric, key=KEY)
    assert found.names[0] == NO_MIXUP
    assert len(found.names) == len(set(found.names)) >= 7
    assert found.risk.shape == (len(found.names), 40, 9)
    assert np.all(np.isfinite(found.risk))
    assert str(found).startswith("Laws: ")
    assert found._repr_html_()


def test_raw_features_show_no_law_to_be_better_or_worse() -> None:
    """Where features mix as their inputs do, Mixup is a slower clock: the lowest risk is the same."""
    laws = {NO_MIXUP: rfm.ERM(), "Mixup": rfm.Mixup(alpha=1.0, pairs="expected")}
    x, noise = data()
    found = rfm.decide.compare_laws(x, x[:, 0] + noise, features="raw", laws=laws, num_times=500, key=KEY)
    assert found.recommended == 0
    lowest = found.risk.mean(axis=1).min(axis=1)
    assert np.isclose(lowest[0], lowest[1], rtol=1e-3)


def test_one_law_is_nothing_to_compare() -> None:
    with pytest.raises(ValueError, match=r"^laws: there is one, 'a', and nothing to compare it with; pass two or more"):
        rfm.decide.compare_laws(*data(), features=FEATURES, laws={"a": rfm.ERM()}, key=KEY)
