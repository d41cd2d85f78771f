"""Advice by accuracy: error rates move in steps, so that many times tie."""

import jax
import numpy as np
import pytest

import rfm

KEY = jax.random.key(0)
CLASSES = np.arange(60) % 2
SETTINGS = {"features": "raw", "metric": "accuracy", "num_times": 21, "key": KEY}


def test_classes_that_are_far_apart_are_learnt_by_the_first_step() -> None:
    x = np.random.default_rng(0).normal(size=(60, 3)) + 4 * CLASSES[:, None]
    found = rfm.advise(x, CLASSES, **SETTINGS)
    assert found.beats_mean
    assert found.recommended is found.plain
    assert found.steps(found.times[0]) == 1
    assert found.plain.error_rate == pytest.approx(0, abs=1e-6)
    assert found.wrong is not None
    assert found.wrong.unit == 0.5


def test_ways_that_are_wrong_alike_count_as_the_simplest() -> None:
    x = np.random.default_rng(1).normal(size=(60, 2)) + CLASSES[:, None]
    features = rfm.RandomFeatures(2, 12, "relu", key=jax.random.key(1))
    folds = np.where(np.arange(60) < 53, -1, 0)  # seven rows held out: few error rates there are
    found = rfm.advise(x, CLASSES, **(SETTINGS | {"features": features, "folds": folds}))
    means = {action.name: action.row_risk.mean() for action in found.actions}
    simplest = next(name for name, mean in means.items() if np.isclose(mean, min(means.values()), rtol=1e-9))
    assert found.lowest.name == simplest
    assert found.gain(found.lowest).mean == 0


def test_the_error_rate_of_an_action_is_at_the_times_that_others_choose() -> None:
    x = np.random.default_rng(2).normal(size=(60, 2)) + CLASSES[:, None]
    found = rfm.advise(x, CLASSES, **SETTINGS)
    assert found.wrong is not None
    assert found.plain.error_rate == pytest.approx(found.wrong.unit * found.plain.row_risk.mean(), abs=1e-8)
    by_square = rfm.advise(x, CLASSES, **(SETTINGS | {"metric": "squared-error"}))
    assert by_square.wrong is not None
    chosen = by_square.held.times_of_others(by_square.plain_risk)
    wrong = by_square.wrong.plain[np.arange(60), chosen].mean() * by_square.wrong.unit
    assert by_square.plain.error_rate == pytest.approx(wrong)
