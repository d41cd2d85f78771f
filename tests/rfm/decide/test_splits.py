"""Rows to train on and rows to hold out: what each way to choose them promises, and what it refuses."""

import jax
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.model_selection import KFold, PredefinedSplit, TimeSeriesSplit

from rfm.decide.splits import Rows, Ways

KEY = jax.random.key(3)


def parts_of(num_rows: int, classes: np.ndarray | None = None, **ways: object) -> list[Rows]:
    return Ways(**ways).parts(num_rows, classes, KEY)


def as_lists(parts: list[Rows]) -> list[list[int]]:
    return sorted(part.held_out.tolist() for part in parts)


@given(num_rows=st.integers(4, 40), num_folds=st.integers(2, 4))
def test_folds_hold_every_row_out_once_and_are_as_large_as_each_other(num_rows: int, num_folds: int) -> None:
    parts = parts_of(num_rows, num_folds=num_folds)
    assert sorted(np.concatenate([part.held_out for part in parts])) == list(range(num_rows))
    sizes = [len(part.held_out) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    for train, held_out in parts:
        assert sorted(np.concatenate([train, held_out])) == list(range(num_rows))


def test_every_class_is_dealt_out_to_all_folds() -> None:
    classes = np.repeat([0, 1, 2], [60, 7, 5])  # at random, a fold would miss the rare ones
    for part in parts_of(72, classes, num_folds=5):
        assert np.bincount(classes[part.held_out], minlength=3).tolist() in ([12, 1, 1], [12, 2, 1])


@given(st.lists(st.integers(0, 6), min_size=8, max_size=30), st.integers(1, 3))
def test_nothing_is_trained_on_what_comes_later(order: list[int], num_folds: int) -> None:
    times = np.asarray(order)
    assume(len(set(order)) > num_folds and np.sum(times == times.min()) >= 2 and np.sum(times == times.max()) >= 2)
    parts = parts_of(len(times), order=times, num_folds=num_folds)
    assert len(parts) == num_folds
    for train, held_out in parts:
        assert times[train].max() < times[held_out].min()  # rows of one time are on one side
    held = np.concatenate([part.held_out for part in parts])
    assert len(np.unique(held)) == len(held)
    assert sorted(np.concatenate([parts[0].train, held])) == list(range(len(times)))


def test_distinct_times_are_split_as_scikit_learn_splits_them() -> None:
    order = np.random.default_rng(0).permutation(24)
    ours = parts_of(24, order=order, num_folds=5)
    place = np.argsort(order)
    for part, (train, held_out) in zip(ours, TimeSeriesSplit(5).split(np.zeros(24)), strict=True):
        assert (part.train.tolist(), part.held_out.tolist()) == (sorted(place[train]), sorted(place[held_out]))


def test_dates_and_words_may_say_what_belongs_where() -> None:
    dates = np.datetime64("2024-01-01") + np.arange(12)[::-1] * np.timedelta64(1, "D")
    assert as_lists(parts_of(12, order=dates, num_folds=2)) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    patients = np.asarray(["a", "b", "c", "d"])[np.arange(12) % 4]
    for part in parts_of(12, groups=patients, num_folds=4):
        assert len(set(patients[part.held_out])) == 1
        assert not set(patients[part.held_out]) & set(patients[part.train])


def test_a_splitter_of_scikit_learn_gives_the_parts_it_gives() -> None:
    wanted = list(KFold(3).split(np.zeros(9)))
    for part, (train, held_out) in zip(parts_of(9, splits=wanted), wanted, strict=True):
        assert np.array_equal(part.train, train)
        assert np.array_equal(part.held_out, held_out)
    masks = [(np.arange(9) < 6, np.arange(9) >= 6)]
    assert as_lists(parts_of(9, splits=masks)) == [[6, 7, 8]]


@pytest.mark.parametrize("names", ["numbers", "floats", "words"])
def test_rows_of_fold_minus_one_are_never_held_out(names: str) -> None:
    """As scikit-learn's PredefinedSplit has it: they are trained on whichever fold is held out."""
    folds = np.where(np.arange(18) < 6, -1, np.arange(18) % 3)
    splits = list(PredefinedSplit(folds).split())
    if names == "words":  # only numbers can be -1
        folds = np.asarray(["never", "a", "b", "c"])[folds + 1]
    parts = parts_of(18, folds=folds * 1.0 if names == "floats" else folds)
    held_out = [np.arange(6)] * (names == "words") + [test for _, test in splits]
    assert as_lists(parts) == sorted(test.tolist() for test in held_out)


@pytest.mark.parametrize("never", ["train", "-1"])
def test_words_may_say_which_rows_are_never_held_out(never: str) -> None:
    folds = np.where(np.arange(12) < 8, never, "test")
    (part,) = parts_of(12, folds=folds)
    assert part.held_out.tolist() == [8, 9, 10, 11]
    assert Ways(folds=folds).rows_of_an_epoch([part], 12) == 8
    assert Ways(num_held_out=4).rows_of_an_epoch([part], 12) == 12


RARE = np.repeat([0, 1, 2], [10, 9, 1])


@pytest.mark.parametrize(
    ("ways", "classes", "message"),
    [
        (
            {"num_folds": 3},
            RARE,
            "num_folds: part 1 trains on no row of class 2, which has 1 row in all; drop that class",
        ),
        ({"order": np.sort(RARE), "num_folds": 1}, RARE, "order: part 0 trains on no row of class 1, which has 9 rows"),
        ({"order": np.zeros(20)}, None, "order: there are 1 different times for 5 folds, each held out from the times"),
        ({"order": np.asarray(["Jan", "Feb"] * 10)}, None, "order: holds text, such as 'Jan', which tells no earlier"),
        ({"order": np.arange(5)}, None, "order: has shape (5,); pass one a row, shape (20,)"),
        ({"groups": np.arange(20) % 2}, None, "groups: there are 2 for 5 folds; pass fewer folds (num_folds)"),
        (
            {"groups": [None, *range(19)]},
            None,
            "groups: row 0 has none (1 rows in all are missing theirs); pass that of every row",
        ),
        ({"splits": []}, None, "splits: there is none; pass pairs (rows to train on, rows held out)"),
        ({"splits": 5}, None, "splits: must be pairs (rows to train on, rows held out), got 5; pass such as KFold(5)"),
        ({"splits": [([0, 1, 2], [2, 3])]}, None, "splits: part 0 both trains on row 2 and holds it out; leave it out"),
        (
            {"splits": [([0, 1], [3, 4]), ([0, 1], [4, 5])]},
            None,
            "splits: row 4 is held out 2 times, so that its errors would count as so many rows'",
        ),
        ({"splits": [([0, 1], [20])]}, None, "splits: there is no row 20 among 20; rows are counted from 0"),
        ({"splits": [([0.5, 1], [3])]}, None, "splits: must be indices of rows, got "),
        ({"splits": [(np.ones(3, bool), [3])]}, None, "splits: a mask has 3 entries for 20 rows; pass one a row"),
        (
            {"splits": [([0], [3, 4])]},
            None,
            "splits: 1 folds of 20 rows ask for too many; each part needs a row, and two",
        ),
        ({"groups": np.arange(20), "order": np.arange(20)}, None, "groups, order: each says which rows are held out"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_what_makes_no_parts_is_refused(ways: dict[str, object], classes: np.ndarray | None, message: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]*$") as caught:
        parts_of(20, classes, **ways)
    assert str(caught.value).startswith(message)
