"""Which action is advised, and whether going on is told from it: on risks that were made up."""

import dataclasses

import equinox as eqx
import jax
import numpy as np
import pytest

import rfm
from rfm.decide.actions import Action
from rfm.decide.estimates import Estimate, is_significant
from tests.tolerances import ORACLE

ROWS = 18


@pytest.fixture(scope="module")
def advice() -> rfm.decide.Advice:
    x = np.random.default_rng(0).normal(size=(ROWS, 3))
    features = rfm.RandomFeatures(3, 8, "tanh", weight_std=2.0, key=jax.random.key(1))
    y = np.sin(x[:, 0])
    return rfm.advise(x, y, features=features, folds=np.arange(ROWS) % 3, num_times=9, key=jax.random.key(7))


def test_the_simplest_of_what_cannot_be_told_apart_is_advised(advice: rfm.decide.Advice) -> None:
    def advised(*means: float, spread: float = 0.0) -> str:
        """Of plain training, a stop, a switch; they are apart by the spread on half of the rows, and on others back."""
        sides = np.where(np.arange(ROWS) % 2, spread, -spread)
        risks = [np.full(ROWS, mean) + side for mean, side in zip(means, (sides, -sides, 0 * sides), strict=True)]
        changed = eqx.tree_at(lambda a: [action.row_risk for action in a.actions], advice, risks)
        return changed.recommended.name

    assert advised(0.6, 0.5, 0.9) == "stop"
    assert advised(0.6, 0.5, 0.9, spread=0.3) == "plain"
    assert advised(0.6, 0.5, 0.3, spread=0.05) == "switch"
    assert advised(0.2, 0.5, 0.3) == "plain"
    assert not is_significant(Estimate(0.2, 0.1))


def test_going_on_is_told_from_a_stop_by_two_errors_or_where_the_end_is_best(advice: rfm.decide.Advice) -> None:
    sides = np.where(np.arange(ROWS) % 2, 1.0, -1.0)
    error = np.std(sides, ddof=1) / ROWS**0.5 * advice.held.widening("difference")

    def changed(errors: float, time: float) -> rfm.decide.Advice:
        """All are at 0.5 at their times, and above it at the end by so many errors of that difference."""
        at_end = np.full((ROWS, 1), 0.6) + 0.1 / errors / error * sides[:, None]
        ends = {name: np.concatenate([getattr(advice.squared, name)[:, :-1], at_end], axis=1)
                for name in ("mixup", "plain", "switched")}  # fmt: skip
        actions = {each.name: Action(each.name, time, (time, advice.budget), np.full(ROWS, 0.5), None)
                   for each in advice.actions}  # fmt: skip
        return dataclasses.replace(advice, squared=advice.squared._replace(**ends), **actions)

    for errors, told in ((2.02, True), (1.98, False)):
        found = changed(errors, advice.budget / 2)
        for action in found.actions:
            cost = found.cost_of_going_on(action)
            assert np.allclose(cost, (0.2, 0.2 / errors), rtol=ORACLE)
            assert found.is_told(action) is told
        assert found.in_words.endswith("which is better does not show") is not told
        assert all(found.is_told(action) for action in changed(errors, advice.budget).actions)
