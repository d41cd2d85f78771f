"""Shapes of data that people bring, each as they bring it: what it must be the same as, or in what words it is refused.

`CASES` says of each how it differs from a plain one (24 rows, 3 columns, 3 folds), and what advice may differ by.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest
from sklearn import model_selection as sklearn_splits

import rfm
from tests.tolerances import ORACLE

N = 24
KEY = jax.random.key(2)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 3))
Y = X[:, 0] - X[:, 1] * X[:, 2] + 0.3 * RNG.normal(size=N)
LABELS = (np.median(Y) < Y).astype(int)
FOLDS = np.arange(N) % 3
PATIENT = np.arange(N) // 2 % 6
DAY = np.arange(N)[::-1]
FEATURES = rfm.RandomFeatures(3, 8, "relu", bias_std=0.5, key=jax.random.key(1))
SINGLE = np.float32(X).astype(float)

Case = dict[str, Any]


def asked(**changes: Any) -> rfm.decide.Advice:
    """Generators of splits are gone once they were looked at, so that functions make them."""
    usual = {"inputs": X, "targets": Y, "features": FEATURES, "folds": FOLDS, "num_times": 5, "key": KEY}
    settings = usual | {name: value() if name == "splits" else value for name, value in changes.items()}
    ways = {"num_folds", "num_held_out", "groups", "order", "splits"} & set(changes)
    if ways:
        del settings["folds"]
    return rfm.advise(settings.pop("inputs"), settings.pop("targets"), **settings)


def curves(advice: rfm.decide.Advice) -> np.ndarray:
    """All risks, in the order of the rows of the data."""
    return np.concatenate([advice.mixup_risk, advice.plain_risk, advice.switch_risk], axis=1)[
        np.argsort(advice.held.row, kind="stable")
    ]


def folds_of(splitter: Any, targets: np.ndarray = Y, groups: np.ndarray | None = None) -> np.ndarray:
    """The fold of each row, -1 where it is in none."""
    folds = np.full(N, -1)
    for index, (_, held) in enumerate(splitter.split(X, targets, groups)):
        folds[held] = index
    return folds


SAME: dict[str, tuple[Case, Case]] = {
    "k folds of scikit-learn": (
        {"splits": lambda: sklearn_splits.KFold(3, shuffle=True, random_state=0).split(X)},
        {"folds": folds_of(sklearn_splits.KFold(3, shuffle=True, random_state=0))},
    ),
    "stratified folds": (
        {"targets": LABELS, "splits": lambda: sklearn_splits.StratifiedKFold(3).split(X, LABELS)},
        {"targets": LABELS, "folds": folds_of(sklearn_splits.StratifiedKFold(3), LABELS)},
    ),
    "patients, by a splitter of groups": (
        {"splits": lambda: sklearn_splits.GroupKFold(3).split(X, Y, PATIENT)},
        {"folds": folds_of(sklearn_splits.GroupKFold(3), groups=PATIENT)},
    ),
    "a predefined split": (
        {"splits": lambda: sklearn_splits.PredefinedSplit(np.where(FOLDS == 0, 0, -1)).split()},
        {"folds": np.where(FOLDS == 0, 0, -1)},
    ),
    "folds by name": ({"folds": np.asarray(["a", "b", "c"])[FOLDS]}, {}),
    "numbers in single precision": ({"inputs": np.float32(X), "targets": np.float32(Y)},
                                    {"inputs": SINGLE, "targets": np.float32(Y).astype(float)}),
    "whole inputs": ({"inputs": np.round(9 * X).astype(int)}, {"inputs": np.round(9 * X)}),
    "a column vector of targets": ({"targets": Y[:, None]}, {}),
    "targets in other units": ({"targets": 1e6 * Y - 3e7}, {}),
    "huge units": ({"inputs": X * [1e200, 1.0, 1e-170]}, {}),
    "a currency and its cents": ({"inputs": X * [1e2, 1.0, 1.0] + [5e4, 0.0, 0.0]}, {}),
    "classes that are not counted from zero": ({"targets": np.asarray([3, 9])[LABELS]}, {"targets": LABELS}),
    "classes -1 and 1": ({"targets": 2 * LABELS - 1}, {"targets": LABELS}),
    "classes as unsigned bytes": ({"targets": LABELS.astype(np.uint8)}, {"targets": LABELS}),
    "a data frame": ({"inputs": pd.DataFrame(X, columns=list("abc")), "targets": pd.Series(Y, name="y")}, {}),
    "the name of a data frame's column": (
        {"inputs": pd.DataFrame(X, columns=list("abc")).assign(y=Y), "targets": "y"}, {},
    ),
    "classes in words": (
        {"inputs": pd.DataFrame(X), "targets": pd.Series(np.asarray(["no", "yes"])[LABELS], name="y")},
        {"targets": LABELS},
    ),
    "zeros and ones for categories": (
        {"inputs": pd.DataFrame({"a": X[:, 0], "b": np.where(LABELS, "u", "v")}), "features": "raw"},
        {"inputs": np.stack([X[:, 0], LABELS, 1 - LABELS], axis=1), "features": "raw"},
    ),
    "a constant column": (
        {"inputs": np.concatenate([X, np.full((N, 1), 0.1)], axis=1), "features": lambda x: FEATURES(x[:, :3])}, {},
    ),
    "columns that cannot be told apart from the data's": (
        {"inputs": X[:, ::-1], "features": lambda x: FEATURES(x[:, ::-1])}, {},
    ),
    "images": ({"inputs": X[:, :, None] / X.std() * np.ones((1, 1, 2)), "features": lambda x: FEATURES(x[:, ::2])},
               {"inputs": X[:, :, None] * 255.0, "features": FEATURES}),
}  # fmt: skip
"""A case, and another one that must give the same advice."""


@pytest.mark.parametrize(("case", "other"), SAME.values(), ids=SAME)
def test_what_is_the_same_gets_the_same_advice(case: Case, other: Case) -> None:
    one, two = asked(**case), asked(**other)
    assert np.allclose(curves(one), curves(two), rtol=ORACLE, atol=ORACLE)
    assert one.recommended.name == two.recommended.name
    assert one.beats_mean == two.beats_mean


def _each(counts: dict[str, int]) -> Callable[[rfm.decide.Advice], bool]:
    return lambda advice: all(getattr(advice.held, name) == number for name, number in counts.items())


RUNS: dict[str, tuple[Case, Callable[[rfm.decide.Advice], bool]]] = {
    "patients": ({"groups": PATIENT, "num_folds": 3}, _each({"num_units": 6, "num_parts": 3})),
    "a time series": ({"order": DAY, "num_folds": 3}, lambda found: set(found.held.row) == set(range(18))),
    "a series that was taken at few times": ({"order": DAY // 4, "num_folds": 3}, _each({"num_parts": 3})),
    "a gap between training and what comes": (
        {"splits": lambda: sklearn_splits.TimeSeriesSplit(3, gap=2).split(X)}, lambda found: len(found.held.row) == 18,
    ),
    "one row at a time": (
        {"inputs": X[:12], "targets": Y[:12], "splits": lambda: sklearn_splits.LeaveOneOut().split(X[:12])},
        _each({"num_parts": 12}),
    ),
    "one in eight of a class": (
        {"targets": (np.arange(N) % 8 == 0).astype(int), "num_folds": 3, "metric": "accuracy"},
        lambda found: found.wrong is not None and bool(np.isclose(found.wrong.unit, 1 / 8)),
    ),
    "12 rows of 500 columns": (
        {"inputs": RNG.normal(size=(12, 500)), "targets": Y[:12], "folds": FOLDS[:12], "features": "raw"},
        lambda found: found.slowdown is not None,
    ),
    "one column": ({"inputs": X[:, :1], "features": "raw"}, lambda found: found.slowdown is not None),
    "rows that are there twice": (
        {"inputs": np.repeat(X[:12], 2, axis=0), "targets": np.repeat(Y[:12], 2), "groups": np.repeat(np.arange(12), 2),
         "num_folds": 3}, _each({"num_units": 12}),
    ),
    "two targets": ({"targets": np.stack([Y, X[:, 0]], axis=1)}, lambda found: found.wrong is None),
    "fewer rows than features": ({"inputs": X[:6], "targets": Y[:6], "folds": FOLDS[:6]}, _each({"num_parts": 3})),
    "ratings": ({"targets": np.round(Y) + 3.0}, lambda found: found.wrong is None),
    "one target out of all bounds": (
        {"targets": np.where(np.arange(N) == 5, 1e6, Y)}, lambda found: not found.beats_mean,
    ),
    "values that are missing": (
        {"inputs": np.where(RNG.random((N, 3)) < 0.2, np.nan, X), "missing": "mean"}, _each({"num_parts": 3}),
    ),
    "rows that are never held out": (
        {"folds": np.where(np.arange(N) < 12, -1, FOLDS)}, lambda found: found.held.row.min() == 12,
    ),
}  # fmt: skip
"""A case, and what must be true of its advice."""


OF_MANY_SHAPES = (
    "a time series", "a series that was taken at few times", "a gap between training and what comes",
    "one row at a time", "12 rows of 500 columns",
)  # fmt: skip
"""Whose parts are of shapes that no other case has, and take long to compile."""


@pytest.mark.parametrize(
    ("case", "holds"),
    [pytest.param(*RUNS[name], id=name, marks=[pytest.mark.slow] * (name in OF_MANY_SHAPES)) for name in RUNS],
)
def test_what_people_bring_is_advised_on(case: Case, holds: Callable[[rfm.decide.Advice], bool]) -> None:
    found = asked(**case)
    assert holds(found)
    assert np.all(np.isfinite(curves(found)))
    assert np.isclose(found.null_risk.mean(), 1, rtol=ORACLE)


REFUSED: dict[str, tuple[Case, str]] = {
    "rows that are held out again and again": (
        {"splits": lambda: sklearn_splits.RepeatedKFold(n_splits=3, n_repeats=2).split(X)}, r"^splits: ",
    ),
    "a class of one row": ({"targets": np.r_[LABELS[1:], 7]}, r"^folds: part 2 trains on no row of class 2, which has"),
    "every row a class of its own": ({"targets": np.arange(N)}, r"trains on no row of class"),
    "classes as truth values": ({"targets": LABELS > 0}, r"^targets: holds values of type bool; pass numbers"),
    "the same target everywhere": ({"targets": np.ones(N)}, r"^targets: all rows are the same"),
    "missing values": ({"inputs": np.where(X > 1, np.nan, X)}, r"^inputs: holds values"),
    "fewer labels than rows": ({"targets": Y[:-1]}, r"^targets: .*24"),
    "two ways to hold out": ({"groups": PATIENT, "order": DAY}, r"^groups, order: each says which rows are held out"),
    "no row to train on": ({"num_held_out": N}, r"^num_held_out: 24 rows held out of 24 rows ask for too many"),
    "accuracy of numbers": ({"metric": "accuracy"}, r"^metric: accuracy is of classes, and the targets are numbers"),
}  # fmt: skip
"""A case, and how what is said of it begins."""


@pytest.mark.parametrize(("case", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_refused(case: Case, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        asked(**case)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["numbers", "classes"])
def test_pure_noise_is_never_advised_to_be_trained_on(kind: str) -> None:
    told = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(60, 3))
        noise = rng.normal(size=60) if kind == "numbers" else rng.integers(0, 2, 60)
        metric = "squared-error" if kind == "numbers" else "accuracy"
        advice = rfm.advise(x, noise, features=FEATURES, num_times=21, metric=metric, key=jax.random.key(seed))
        told.append(advice.beats_mean)
    assert not any(told)
