"""Principal components in the place of inputs: those of the rows to train on, as a decomposition by hand finds them."""

import equinox as eqx
import jax
import numpy as np
import pytest

import rfm
from rfm.data.datasets import as_numbers
from rfm.decide.featured import Data, MappedFeatures
from rfm.decide.parts import Part
from rfm.decide.splits import Rows
from tests.tolerances import ORACLE

ROWS = 18
FOLDS = np.arange(ROWS) % 3
LAW = rfm.Mixup(lam=0.3, pairs="expected")
KEY = jax.random.key(7)
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(ROWS, 5)) @ RNG.normal(size=(5, 5)), RNG.normal(size=ROWS)


def test_components_stand_for_inputs_and_are_those_of_the_rows_to_train_on() -> None:
    features = rfm.RandomFeatures(2, 8, "tanh", key=jax.random.key(1))
    rows = Rows(np.flatnonzero(FOLDS != 0), np.flatnonzero(FOLDS == 0))
    maker = MappedFeatures(features, num_components=2)
    parts = []
    for held in (X, np.where(FOLDS[:, None] == 0, 3 * X + 1, X)):
        parts.append(Part.of(Data.of(as_numbers(held, Y)), rows, maker, [LAW, rfm.ERM()], 1e-3, KEY))
    assert eqx.tree_equal(parts[0].spectra, parts[1].spectra)
    assert not np.allclose(parts[0].split.test.features, parts[1].split.test.features)
    seen = (X - X[rows.train].mean(axis=0)) / X[rows.train].std(axis=0)
    directions = np.linalg.svd(seen[rows.train], full_matrices=False)[2][:2]
    scores = seen @ directions.T
    ours = np.asarray(parts[0].split.train.inputs)
    scores /= np.sqrt(np.mean(scores[rows.train] ** 2))
    assert np.allclose(np.abs(ours), np.abs(scores[rows.train]), rtol=ORACLE, atol=ORACLE)
    told = rfm.advise(X, Y, features=features, num_components=2, folds=FOLDS, num_times=5, key=KEY)
    assert told.mixup_risk.shape == (ROWS, 5)


def test_components_of_a_frozen_network_are_refused() -> None:
    encoder = rfm.data.Encoder(lambda x: x, pairs_per_row=2)
    with pytest.raises(
        ValueError, match=r"^num_components: a frozen network is given inputs as they are; leave it out"
    ):
        rfm.advise(X, Y, features=encoder, num_components=2, folds=FOLDS, key=KEY)


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (6, r"^num_components: 6 of 5 inputs, with 12 rows to train on; pass 5 or fewer$"),
        (0, r"^num_components: must be a whole number of at least 1, got 0$"),
    ],
)
def test_more_components_than_there_can_be_are_refused(number: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rfm.advise(X, Y, features="raw", num_components=number, folds=FOLDS, key=KEY)


def test_components_are_refused_that_the_smallest_subset_does_not_have() -> None:
    message = r"^num_components: 5 of 5 inputs, with 4 rows in the smallest subset; pass 3 or fewer$"
    with pytest.raises(ValueError, match=message):
        rfm.decide.learning_curve(X, Y, features="raw", num_components=5, folds=FOLDS, shares=(0.3, 0.6, 1.0), key=KEY)
