"""Advice: its curves against loops that know no closed form, and what may and may not depend on what."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

import rfm
import theory
from rfm.data.datasets import as_numbers
from rfm.decide.actions import SAME
from rfm.decide.estimates import Estimate
from rfm.decide.featured import Data, MappedFeatures, linear_mixup
from rfm.decide.parts import Part
from rfm.decide.splits import Rows
from tests.tolerances import IDENTITY, ORACLE

ROWS, COLUMNS = 18, 3
FOLDS = np.arange(ROWS) % 3
LAW = rfm.Mixup(lam=0.3, pairs="expected")
KEY = jax.random.key(7)


@pytest.fixture(scope="module")
def features() -> rfm.RandomFeatures:
    return rfm.RandomFeatures(COLUMNS, 8, "tanh", weight_std=2.0, key=jax.random.key(1))


def data(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(ROWS, COLUMNS)) * [1.0, 10.0, 0.1] + [0.0, 5.0, 1.0]
    return x, 3 + np.sin(x[:, 0]) + 0.3 * rng.normal(size=ROWS)


@pytest.fixture(scope="module")
def advice(features: rfm.RandomFeatures) -> rfm.decide.Advice:
    return rfm.advise(*data(), features=features, law=LAW, folds=FOLDS, num_times=9, key=KEY)


def flow(rows: np.ndarray, labels: np.ndarray, theta: np.ndarray, time: float) -> np.ndarray:
    """Gradient flow on a table of rows, by the exponential of one matrix; no eigenvalues."""
    covariance, force = rows.T @ rows / len(rows), rows.T @ labels / len(rows)
    size = len(force)
    generator = np.zeros((size + 1, size + 1))
    generator[:size, :size], generator[:size, size] = -covariance, force
    return (scipy.linalg.expm(generator * time) @ np.append(theta, 1.0))[:size]


def of_fold(advice: rfm.decide.Advice, risk: np.ndarray, fold: int) -> np.ndarray:
    """The mean over the rows of one fold."""
    return risk[advice.held.part == fold].mean(axis=0)


def power_of_held_out(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The mean square of each fold's labels, standardised by the others."""
    others = [(y[fold != FOLDS], y[fold == FOLDS]) for fold in np.unique(FOLDS)]
    return np.asarray([np.mean(((held - seen.mean()) / seen.std()) ** 2) for seen, held in others])


def test_curves_are_those_of_all_pairs_written_out(advice: rfm.decide.Advice, features: rfm.RandomFeatures) -> None:
    x, y = data()
    null = power_of_held_out(x, y).mean()
    nulls = [of_fold(advice, advice.null_risk, fold) for fold in range(3)]
    assert np.allclose(nulls, power_of_held_out(x, y) / null, rtol=IDENTITY)
    for fold in range(3):
        seen, held = fold != FOLDS, fold == FOLDS
        mean, scale = x[seen].mean(axis=0), x[seen].std(axis=0)
        z, labels = (x - mean) / scale, (y - y[seen].mean()) / y[seen].std()
        pairs = [(i, j) for i in np.flatnonzero(seen) for j in np.flatnonzero(seen)]
        mixed = np.asarray(features(jnp.asarray([0.3 * z[i] + 0.7 * z[j] for i, j in pairs])))
        mixed_labels = np.asarray([0.3 * labels[i] + 0.7 * labels[j] for i, j in pairs])
        plain, test, zero = np.asarray(features(jnp.asarray(z[seen]))), features(jnp.asarray(z[held])), np.zeros(8)

        def risk(theta: np.ndarray, test: jax.Array = test, goal: np.ndarray = labels[held]) -> float:
            return float(np.mean((goal - np.asarray(test) @ theta) ** 2) / null)

        for index in (2, 6):
            time = advice.times[index]
            with_mixup, without = (of_fold(advice, curve, fold) for curve in (advice.mixup_risk, advice.plain_risk))
            assert np.isclose(with_mixup[index], risk(flow(mixed, mixed_labels, zero, time)), rtol=ORACLE)
            assert np.isclose(without[index], risk(flow(plain, labels[seen], zero, time)), rtol=ORACLE)
        for index in (1, 3, 5):
            begun = flow(mixed, mixed_labels, zero, advice.switch_times[index])
            end = flow(plain, labels[seen], begun, advice.budget - advice.switch_times[index])
            assert np.isclose(of_fold(advice, advice.switch_risk, fold)[index], risk(end), rtol=ORACLE)


def test_switches_are_those_of_the_switch_curve(features: rfm.RandomFeatures, advice: rfm.decide.Advice) -> None:
    part = _part(*data(), features)
    curve = theory.switching.switch_curve(
        part.spectra[0], part.spectra[1], part.split.test, theory.GradientFlow(), advice.budget, advice.switch_times
    )
    null = power_of_held_out(*data()).mean()
    assert np.allclose(of_fold(advice, advice.switch_risk, 0), curve.risk / null, rtol=ORACLE)
    assert np.allclose(advice.switch_risk[:, -1], advice.mixup_risk[:, -1], rtol=ORACLE)


def _part(inputs: np.ndarray, targets: np.ndarray, features: rfm.RandomFeatures) -> Part:
    rows = Rows(np.flatnonzero(FOLDS != 0), np.flatnonzero(FOLDS == 0))
    return Part.of(_data(inputs, targets), rows, MappedFeatures(features), [LAW, rfm.ERM()], 1e-3, KEY)


def _data(inputs: np.ndarray, targets: np.ndarray) -> Data:
    return Data.of(as_numbers(inputs, targets))


def test_nothing_that_is_trained_on_knows_the_held_out_rows(features: rfm.RandomFeatures) -> None:
    x, y = data()
    other_x, other_y = (np.where((FOLDS == 0).reshape(-1, *[1] * (a.ndim - 1)), 2 * a + 5, a) for a in (x, y))
    once, twice = (_part(a, b, features) for a, b in ((x, y), (other_x, other_y)))
    assert eqx.tree_equal(once.spectra, twice.spectra)
    assert not np.allclose(once.split.test.targets, twice.split.test.targets)
    # The check would see it: rows to train on that change do change what is trained.
    assert not eqx.tree_equal(once.spectra, _part(x + FOLDS[:, None] ** 2, y, features).spectra)


def test_the_order_of_rows_and_the_units_of_columns_mean_nothing(
    features: rfm.RandomFeatures, advice: rfm.decide.Advice
) -> None:
    x, y = data()
    order = np.random.default_rng(1).permutation(ROWS)
    shuffled = rfm.advise(
        (1000 * x - 3)[order], 7 * y[order] + 2, features=features, law=LAW, folds=FOLDS[order], num_times=9, key=KEY
    )
    back = np.argsort(order[shuffled.held.row])[np.argsort(np.argsort(advice.held.row))]
    assert np.allclose(advice.times, shuffled.times, rtol=ORACLE)
    for name in ("mixup_risk", "plain_risk", "switch_risk"):
        assert np.allclose(getattr(advice, name), getattr(shuffled, name)[back], rtol=ORACLE)
    assert shuffled.recommended.name == advice.recommended.name
    assert np.allclose(shuffled.stop.row_risk[back], advice.stop.row_risk, rtol=ORACLE)


def test_rows_held_out_once_are_those_of_one_of_two_folds(features: rfm.RandomFeatures) -> None:
    once = rfm.advise(*data(), features=features, law=LAW, num_held_out=6, num_times=9, key=KEY)
    assert once.mixup_risk.shape == (6, 9)
    assert (once.held.num_parts, once.num_train) == (1, 12)
    fold_of_row = np.isin(np.arange(ROWS), once.held.row).astype(int)
    both = rfm.advise(*data(), features=features, law=LAW, folds=fold_of_row, budget=once.budget, num_times=9, key=KEY)
    there = both.held.part == 1
    for alone, together in ((once.mixup_risk, both.mixup_risk), (once.plain_risk, both.plain_risk)):
        assert np.allclose(alone[:, -1], together[there, -1] / both.null_risk[there].mean(), rtol=ORACLE)


def test_risks_are_those_of_rows_whichever_way_they_were_held_out(features: rfm.RandomFeatures) -> None:
    settings = {"features": features, "law": LAW, "budget": 5.0, "num_times": 9, "key": KEY}
    splits = [(np.flatnonzero(fold != FOLDS), np.flatnonzero(fold == FOLDS)) for fold in (2, 0)]
    found, three = rfm.advise(*data(), splits=splits, **settings), rfm.advise(*data(), folds=FOLDS, **settings)
    place = [int(np.flatnonzero(three.held.row == row)[0]) for row in found.held.row]
    ratio = three.squared.unit / found.squared.unit
    for name in ("plain_risk", "mixup_risk", "switch_risk"):  # at the budget: earlier times hang on the parts' spectra
        alone, together = (getattr(advice, name)[:, -1] for advice in (found, three))
        assert np.allclose(alone, together[place] * ratio, rtol=ORACLE)
    assert len(found.held.row) == 12


def test_rows_of_one_group_count_as_one(features: rfm.RandomFeatures) -> None:
    groups = np.arange(ROWS) // 2
    found = rfm.advise(
        *data(), features=features, law=LAW, groups=groups, num_folds=3, budget=5.0, num_times=9, key=KEY
    )
    assert found.held.num_units == 9
    assert all(len(set(found.held.part[groups[found.held.row] == group])) == 1 for group in range(9))
    in_order = found.plain.row_risk[np.argsort(found.held.row)]
    means = in_order.reshape(9, 2).mean(axis=1)
    alone = rfm.decide.estimates.HeldOut(np.arange(9), np.zeros(9, int), np.arange(9)).mean(means)
    assert np.allclose(found.risk_of(found.plain), alone, rtol=IDENTITY)


@pytest.mark.parametrize("law", [LAW, rfm.Mixup(alpha=0.7, pairs="expected")], ids=str)
def test_raw_features_need_no_pairs(law: rfm.Mixup) -> None:
    rng = np.random.default_rng(3)
    phi, labels = jnp.asarray(rng.normal(size=(7, 3))), jnp.asarray(rng.normal(size=(7, 2)))
    test = rfm.TestSet(rng.normal(size=(4, 3)), rng.normal(size=(4, 2)))
    pairs = rfm.expected_mixup(rfm.Sample(phi, labels, None), lambda x: x, law, population=test)
    times = [0.1, 1.0, 30.0]
    short = rfm.closed_form(linear_mixup(phi, labels, law, test), times=times)
    assert np.allclose(short.risk, rfm.closed_form(pairs, times=times).risk, rtol=ORACLE)


def test_classes_are_told_by_whole_numbers() -> None:
    x, _ = data()
    classes = np.repeat([0, 1, 2], [4, 6, 8])
    one_hot = np.eye(3)[classes] - 1 / 3
    told = rfm.advise(x, classes * 5, features="raw", folds=FOLDS, num_times=5, budget=2.0, key=KEY)
    assert told.mixup_risk.shape == (ROWS, 5)
    errors, nulls, wrong, wrong_null = [], [], [], []
    for fold in range(3):
        seen = fold != FOLDS
        z = np.column_stack([(x - x[seen].mean(axis=0)) / x[seen].std(axis=0), np.ones(ROWS)])
        weights = np.stack(
            [flow(z[seen], (one_hot - one_hot[seen].mean(axis=0))[seen][:, k], np.zeros(4), 2.0) for k in range(3)],
            axis=1,
        )
        share = one_hot[seen].mean(axis=0)  # weights of zero predict the classes' shares
        scores = share + z[~seen] @ weights
        errors.append(np.sum((one_hot[~seen] - scores) ** 2, axis=1))
        nulls.append(np.sum((one_hot[~seen] - share) ** 2, axis=1))
        wrong.append(scores.argmax(axis=1) != classes[~seen])
        wrong_null.append(share.argmax() != classes[~seen])
    assert np.allclose(told.plain_risk[:, -1], np.concatenate(errors) / np.mean(nulls), rtol=ORACLE)
    assert told.wrong is not None
    assert told.wrong.unit == np.mean(wrong_null)
    assert np.array_equal(told.wrong.plain[:, -1] > 0.5, np.concatenate(wrong))
    by_accuracy = rfm.advise(
        x, classes * 5, features="raw", folds=FOLDS, num_times=5, budget=2.0, metric="accuracy", key=KEY
    )
    assert np.array_equal(by_accuracy.plain_risk[:, -1], told.wrong.plain[:, -1])
    assert by_accuracy.plain.time == by_accuracy.times[np.argmin(by_accuracy.plain_risk.mean(axis=0))]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["numbers", "classes"])
@pytest.mark.parametrize("law", [LAW, rfm.Mixup(alpha=1.0, pairs="expected")], ids=str)
def test_where_features_mix_as_inputs_do_mixup_is_found_to_make_no_difference(law: rfm.Mixup, kind: str) -> None:
    x, y = data()
    y = y if kind == "numbers" else np.repeat([0, 1, 2], [4, 6, 8])
    identity = rfm.RandomFeatures(COLUMNS, 8, "identity", key=jax.random.key(1))
    for features in ("raw", identity, lambda x: 2 * x[:, :2]):
        found = rfm.advise(x, y, features=features, law=law, folds=FOLDS, num_times=9, key=KEY)
        assert found.slowdown == law.ratio.mean_same
        assert found.choices == (found.plain,)
        assert found.recommended is found.lowest is found.plain
        faster = rfm.advise(
            x, y, features=features, law=rfm.Mixup(lam=1.0, pairs="expected"), folds=FOLDS, num_times=9, key=KEY,
            budget=found.budget * law.ratio.mean_same, step_size=1e-3,
        )  # fmt: skip
        assert np.allclose(faster.mixup_risk[:, -1], found.mixup_risk[:, -1], rtol=ORACLE)


def test_where_they_do_not_a_comparison_is_made(features: rfm.RandomFeatures, advice: rfm.decide.Advice) -> None:
    assert advice.slowdown is None
    bent = rfm.advise(*data(), features=lambda x: x + 0.01 * x**2, law=LAW, folds=FOLDS, num_times=9, key=KEY)
    assert bent.slowdown is None
    assert len(bent.choices) >= 2


def test_a_switch_before_the_first_step_is_plain_training(advice: rfm.decide.Advice) -> None:
    """However low its risk: it is never advised."""

    def at(time: float) -> rfm.decide.Advice:
        low = eqx.tree_at(lambda a: (a.switch.row_risk, a.switch.time), advice, (advice.stop.row_risk - 1, time))
        return eqx.tree_at(lambda a: a.plain.row_risk, low, advice.stop.row_risk + 1)

    assert at(0.4 * advice.step_size).recommended.name == "stop"
    assert at(0.6 * advice.step_size).recommended.name == "switch"


@pytest.mark.parametrize("features", ["raw", lambda x: jnp.concatenate([x, jnp.ones_like(x), x**2], axis=1)])
def test_risks_below_rounding_are_not_compared(features: object) -> None:
    x, _ = data()
    found = rfm.advise(x, x @ np.arange(1.0, COLUMNS + 1), features=features, law=LAW, folds=FOLDS, key=KEY)
    for risk in (found.mixup_risk, found.plain_risk, found.switch_risk):
        assert risk.min() == risk[:, -1].max() == SAME
    best = found.plain_risk.mean(axis=0)
    assert found.plain.time == found.times[np.argmax(best == SAME)]  # the first that rounding does not part
    assert found.recommended is found.plain
    assert found.overtraining_cost == Estimate(0.0, 0.0)


def test_a_table_of_drawn_pairs_may_be_asked_for(features: rfm.RandomFeatures, advice: rfm.decide.Advice) -> None:
    law = rfm.Mixup(lam=0.3, pairs=3000)
    drawn = rfm.advise(*data(), features=features, law=law, folds=FOLDS, budget=5.0, num_times=9, key=KEY)
    exact = rfm.advise(*data(), features=features, law=LAW, folds=FOLDS, budget=5.0, num_times=9, key=KEY)
    assert np.allclose(drawn.mixup_risk.mean(axis=0), exact.mixup_risk.mean(axis=0), rtol=0.1)
    assert not np.allclose(drawn.mixup_risk, exact.mixup_risk, rtol=1e-6)


def test_the_budget_and_the_step_are_what_they_say(features: rfm.RandomFeatures, advice: rfm.decide.Advice) -> None:
    largest = 2 / advice.largest_stable_step
    assert np.isclose(advice.budget, 1e4 / largest, rtol=IDENTITY)
    assert advice.steps(advice.budget) == 10_000
    assert advice.switch_times[-1] == advice.budget
    assert np.all(np.diff(advice.switch_times) > 0)
    shorter = rfm.advise(*data(), features=features, law=LAW, folds=FOLDS, budget=3.0, step_size=0.1, key=KEY)
    assert (shorter.budget, shorter.steps(shorter.budget)) == (3.0, 30)
    for action in shorter.actions:
        low, high = action.interval
        assert low <= high <= shorter.budget


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_folds": 1}, "num_folds: must be a whole number of at least 2, got 1"),
        (
            {"num_folds": 19},
            "num_folds: 19 folds of 18 rows ask for too many; each part needs a row, and two others to train on",
        ),
        (
            {"num_held_out": 17},
            "num_held_out: 17 rows held out of 18 rows ask for too many; each part needs a row, and two others to "
            "train on",
        ),
        ({"folds": np.zeros(ROWS)}, "folds: all rows are in one; pass two folds or more"),
        ({"folds": np.full(ROWS, -1)}, "folds: all are -1, so that no row is ever held out; pass the fold of each"),
        (
            {"folds": np.where(np.arange(ROWS) % 5 == 2, np.nan, FOLDS)},
            "folds: row 2 has none (4 rows in all are missing theirs); pass that of every row, or -1 for rows that are",
        ),
        (
            {"folds": np.where(np.arange(ROWS) == 2, 0, -1)},
            "folds (rows of the only part that is held out): must be a whole number of at least 2, got 1",
        ),
        ({"folds": np.zeros(3)}, "folds: has shape (3,); pass one a row, shape (18,)"),
        ({"budget": 0.0}, "budget: must be a positive number, got 0.0"),
        ({"budget": 1e30}, "budget: 1e+30 is longer than can be resolved; pass at most "),
        ({"step_size": -1.0}, "step_size: must be a positive number, got -1.0"),
        ({"step_size": 1e9}, "step_size: "),
        ({"num_times": 3}, "num_times: must be a whole number of at least 4, got 3"),
        ({"targets": np.ones(ROWS)}, "targets: all rows are the same, so there is nothing to learn; pass some that"),
        ({"inputs": np.ones((ROWS, 3))}, "inputs: all rows are the same, so there is nothing to learn; pass some that"),
        ({"targets": np.arange(3.0)}, "targets: there are 3 for 18 rows of inputs; pass one a row"),
        (
            {"metric": "accuracy"},
            "metric: accuracy is of classes, and the targets are numbers; pass whole numbers that",
        ),
        ({"groups": FOLDS}, "folds, groups: each says which rows are held out; pass one of them"),
        ({"targets": np.full(ROWS, np.nan)}, "targets: holds values that are not finite; drop or impute those rows"),
    ],
)
def test_bad_input_is_named_with_the_remedy(
    features: rfm.RandomFeatures, arguments: dict[str, object], message: str
) -> None:
    x, y = data()
    folds = None if {"num_folds", "num_held_out"} & set(arguments) else FOLDS
    usual = {"inputs": x, "targets": y, "features": features, "law": LAW, "folds": folds, "num_times": 9, "key": KEY}
    with pytest.raises(ValueError, match=r"^[^\n]*$") as caught:
        rfm.advise(**(usual | arguments))
    assert str(caught.value).startswith(message)


def advice_of(x: np.ndarray, y: np.ndarray) -> rfm.decide.Advice:
    return rfm.advise(x, y, features="raw", num_times=13, key=KEY)


NOISE = np.random.default_rng(0).normal(size=(60, 3))
FLAT = np.concatenate([NOISE[:, :1], np.ones((60, 4))], axis=1)
WIDE = np.random.default_rng(1).normal(size=(12, 501))


@pytest.mark.parametrize(
    ("x", "y"),
    [(NOISE[:, :2], NOISE[:, 2]), (FLAT, NOISE[:, 2]), (WIDE[:, :500], WIDE[:, 500])],
    ids=["noise", "constant columns", "many columns"],
)
def test_where_nothing_can_be_learnt_the_mean_is_the_better_choice(x: np.ndarray, y: np.ndarray) -> None:
    found = advice_of(x, y)
    assert not found.beats_mean
    assert found.gain_over_mean.mean <= 2 * found.gain_over_mean.error


@pytest.mark.parametrize("num_folds", [5, 20, 60])
def test_small_folds_do_not_blow_up_what_is_learnt(num_folds: int) -> None:
    clean = NOISE[:, 0] + 0.1 * NOISE[:, 2]
    found = rfm.advise(NOISE[:, :2], clean, features="raw", num_folds=num_folds, num_times=9, key=KEY)
    assert found.beats_mean
    assert found.lowest.row_risk.mean() < 0.02  # the noise, of a hundredth of the power, and little more
    assert found.null_risk.mean() == pytest.approx(1)


def test_where_something_is_learnt_no_choice_ends_before_its_first_step() -> None:
    found = advice_of(NOISE[:, :2], NOISE[:, 0] + 0.1 * NOISE[:, 2])
    assert found.beats_mean
    assert found.gain_over_mean.mean > 0.9
    assert all(found.steps(action.time) > 0 for action in found.choices)


def test_a_stop_before_the_first_step_is_no_choice() -> None:
    found = advice_of(NOISE[:, :2], NOISE[:, 0])
    early = eqx.tree_at(lambda a: (a.slowdown, a.plain.time), found, (None, 0.0), is_leaf=lambda leaf: leaf is None)
    assert "plain" not in {action.name for action in early.choices}
    at_once = eqx.tree_at(lambda a: (a.stop.time, a.switch.time), early, (0.0, 0.0))
    assert at_once.choices == (at_once.plain,)
    assert not at_once.beats_mean
    assert at_once.gain_over_mean == (0.0, 0.0)
