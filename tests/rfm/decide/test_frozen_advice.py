"""Advice about frozen networks: their features of mixed inputs, by a callable or by arrays."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rfm
from rfm.data import Encoder, MixedFeatures
from rfm.data.datasets import as_numbers
from rfm.decide.featured import Data, EncodedFeatures, pairs_for
from rfm.decide.parts import Part
from rfm.decide.splits import Rows
from tests.tolerances import ORACLE

KEY = jax.random.key(4)
IMAGES = np.random.default_rng(0).normal(size=(30, 2, 2))
GOAL = np.sin(IMAGES[:, 0, 0]) + IMAGES[:, 1, 1] ** 2 + 0.1 * np.random.default_rng(1).normal(size=30)
FOLDS = np.arange(30) % 3
SETTINGS = {"folds": FOLDS, "budget": 50.0, "num_times": 9, "key": KEY}


def network(images: np.ndarray) -> np.ndarray:
    flat = images.reshape(len(images), -1)
    return np.concatenate([np.maximum(flat, 0), np.maximum(-flat, 0)], axis=1)


def mixed() -> MixedFeatures:
    rng = np.random.default_rng(2)
    first, second, lam = rng.integers(0, 30, size=400), rng.integers(0, 30, size=400), rng.uniform(size=400)
    share = lam[:, None, None]
    return MixedFeatures(first, second, lam, network(share * IMAGES[first] + (1 - share) * IMAGES[second]))


def test_risks_are_those_of_training_on_the_mixed_rows_of_a_part() -> None:
    found = rfm.advise(network(IMAGES), GOAL, features=mixed(), **SETTINGS)
    pairs, total = mixed(), 0.0
    for fold in range(3):
        seen = np.not_equal(FOLDS, fold)
        mean, std = GOAL[seen].mean(), GOAL[seen].std()
        labels = (GOAL - mean) / std
        first, second, lam = (np.asarray(column) for column in (pairs.pairs.first, pairs.pairs.second, pairs.pairs.lam))
        kept = seen[first] & seen[second]
        goal = lam * labels[first] + (1 - lam) * labels[second]

        def with_constant(rows: np.ndarray) -> np.ndarray:
            return np.column_stack([rows, np.ones(len(rows))])

        test = rfm.TestSet(with_constant(network(IMAGES))[~seen], labels[~seen])
        problem = rfm.Problem(with_constant(np.asarray(pairs.features))[kept], goal[kept], population=test)
        total += rfm.closed_form(problem, times=[50.0]).risk[0] * np.sum(~seen)
    assert np.isclose(found.squared.unit * found.mixup_risk[:, -1].mean(), total / 30, rtol=ORACLE)


def test_an_encoder_gives_the_advice_of_the_arrays_that_it_makes() -> None:
    encoder, law = Encoder(network, pairs_per_row=10), rfm.Mixup(alpha=0.5, pairs="expected")
    by_callable = rfm.advise(IMAGES, GOAL, features=encoder, law=law, **SETTINGS)
    table = pairs_for(law, 30, 10, jax.random.split(KEY)[1])
    assert len(table) == 300
    by_arrays = rfm.advise(network(IMAGES), GOAL, features=encoder.mixed(IMAGES, table), **SETTINGS)
    assert eqx.tree_equal(by_callable.squared, by_arrays.squared)


def test_nothing_that_is_trained_on_knows_the_held_out_rows() -> None:
    rows = Rows(np.flatnonzero(FOLDS != 0), np.flatnonzero(FOLDS == 0))
    pairs = mixed()
    touched = np.isin(np.asarray(pairs.pairs.first), rows.held_out) | np.isin(
        np.asarray(pairs.pairs.second), rows.held_out
    )
    other = eqx.tree_at(lambda m: m.features, pairs, np.where(touched[:, None], 9.0, np.asarray(pairs.features)))
    held = np.isin(np.arange(30), rows.held_out)
    once = Data.of(as_numbers(network(IMAGES), GOAL))
    twice = Data.of(as_numbers(np.where(held[:, None], 7.0, network(IMAGES)), np.where(held, -3.0, GOAL)))
    parts = [Part.of(data, rows, EncodedFeatures(), [table, rfm.ERM()], 1e-3, KEY)
             for data, table in ((once, pairs), (twice, other))]  # fmt: skip
    assert eqx.tree_equal(parts[0].spectra, parts[1].spectra)


def test_partners_that_hang_on_held_out_rows_are_refused() -> None:
    law = rfm.Mixup(alpha=1.0, pairs="expected", partners=rfm.SimilarLabels(0.5))
    with pytest.raises(
        ValueError, match=r"^law: Mixup.* chooses partners by what they are, and would look at rows that"
    ):
        rfm.advise(IMAGES, GOAL, features=Encoder(network), law=law, **SETTINGS)
    law = rfm.Mixup(alpha=1.0, pairs="expected", space="features")
    with pytest.raises(ValueError, match=r"^law: Mixup.* mixes features, which needs no network"):
        rfm.advise(IMAGES, GOAL, features=Encoder(network), law=law, **SETTINGS)
    with pytest.raises(ValueError, match=r"^features: rows that are mixed already are of one law"):
        rfm.decide.compare_laws(network(IMAGES), GOAL, features=mixed(), **SETTINGS)
    with pytest.raises(ValueError, match=r"^law: Mixup.* is given beside features of rows that are mixed already"):
        rfm.advise(network(IMAGES), GOAL, features=mixed(), law=law, **SETTINGS)


def test_laws_of_an_encoder_are_compared_on_the_same_parts() -> None:
    others = rfm.Mixup(alpha=1.0, pairs="expected", partners=rfm.mixup.OtherSamples())
    laws = {"no Mixup": rfm.ERM(), "Mixup": rfm.Mixup(alpha=1.0, pairs="expected"), "never itself": others}
    found = rfm.decide.compare_laws(IMAGES, GOAL, features=Encoder(network), laws=laws, **SETTINGS)
    assert found.risk.shape == (3, 30, 9)
    assert not np.array_equal(found.risk[1], found.risk[2])
    assert "never itself" in rfm.decide.compare_laws(IMAGES, GOAL, features=Encoder(network), **SETTINGS).names
    plain = rfm.advise(network(IMAGES), GOAL, features=mixed(), **SETTINGS)
    assert np.allclose(found.risk[0], plain.plain_risk, rtol=ORACLE)


def test_labels_may_have_a_ratio_of_their_own() -> None:
    law = rfm.Mixup(alpha=1.0, pairs="expected", label_lam=0.0)
    table = pairs_for(law, 30, 5, KEY)
    labels = Encoder(network).mixed(IMAGES, table).within(np.arange(30)).pairs.mix_labels(jnp.asarray(GOAL))
    assert np.array_equal(labels, GOAL[np.asarray(table.second)])


@pytest.mark.parametrize(("dtype", "given"), [("float32", "float32"), ("uint8", "float64")])
def test_a_network_is_given_rows_and_mixtures_of_one_type(dtype: str, given: str) -> None:
    seen = set()

    def typed(images: np.ndarray) -> np.ndarray:
        seen.add(str(images.dtype))
        return network(images / 255)

    images = (100 + 40 * IMAGES).clip(0, 255).astype(dtype)
    found = rfm.advise(images, GOAL, features=Encoder(typed), **SETTINGS)
    assert seen == {given}
    assert found.stop.row_risk.mean() < 3  # features of mixtures are of the size of those of rows
