"""How numbers are scaled: columns by themselves, images all alike, and nothing by rows that are not trained on."""

import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import rfm
from rfm.data.scaling import Components, Numbers, Scaling
from tests.tolerances import IDENTITY, ORACLE


def test_columns_of_classes_count_alike_whatever_their_units() -> None:
    rng = np.random.default_rng(0)
    incomes, ages = rng.normal(5e4, 2e4, 30), rng.normal(40, 10, 30)
    inputs = rfm.data.prepare(np.stack([incomes, ages], axis=1), np.arange(30) % 2).inputs
    assert np.allclose(inputs.std(axis=0), 1, rtol=IDENTITY)


def test_pixels_of_images_share_one_scale_whatever_they_are_to_tell() -> None:
    images = np.random.default_rng(0).normal(size=(30, 2, 2)) * [[1.0, 0.1], [2.0, 0.0]]
    for targets in (np.arange(30) % 2, np.arange(30.0)):
        inputs = np.asarray(rfm.data.prepare(images, targets).inputs)
        flat = images.reshape(30, 4)
        assert np.allclose(inputs, (flat - flat.mean(axis=0)) / (flat - flat.mean(axis=0)).std(), atol=10 * IDENTITY)


@given(value=st.floats(-1e6, 1e6), number=st.integers(2, 60), are_images=st.booleans())
def test_what_was_the_same_in_all_rows_is_zero_in_others_too(value: float, number: int, are_images: bool) -> None:
    # The mean of equal numbers may be off by rounding, by which nothing must be divided.
    rows = np.stack([np.full(number, value), np.arange(number)], axis=1)
    scaling = Scaling.of(Numbers(rows, np.arange(number * 1.0), False, are_images))
    new = scaling(np.asarray([[5e4, 0.5]]), np.zeros(1)).inputs
    assert new[0, 0] == 0
    assert np.all(scaling(rows, np.zeros(number)).inputs[:, 0] == 0)


def test_components_are_directions_of_largest_variance() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(40, 5)) @ rng.normal(size=(5, 5))
    rows -= rows.mean(axis=0)
    scores = np.asarray(Components.of(jnp.asarray(rows), 3)(jnp.asarray(rows)))
    covariance = rows.T @ rows / 40
    largest = np.linalg.eigvalsh(covariance)[::-1][:3]
    assert np.allclose(scores.T @ scores / 40, np.diag(largest) / largest.mean(), atol=ORACLE)
    assert np.isclose(np.mean(scores**2), 1, rtol=IDENTITY)


def test_what_does_not_vary_among_rows_to_train_on_is_zero_in_others() -> None:
    rng = np.random.default_rng(0)
    rows, new = rng.normal(size=(10, 30)), rng.normal(size=(4, 30))
    for seen in (rows, np.repeat(rows[:6], 3, axis=0)):
        centred = seen - seen.mean(axis=0)
        rank = np.linalg.matrix_rank(centred)
        scores = np.asarray(Components.of(jnp.asarray(centred), 10)(jnp.asarray(new)))
        assert rank in (5, 9)
        assert np.all(scores[:, rank:] == 0)
        assert np.all(scores[:, :rank] != 0)
