"""Leave-one-out by resolvents against trainings without each row, and its bound on rounding against many digits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rfm
import theory
from tests.problems import _of_whole_numbers, _random, with_singular_values
from tests.rfm.decide.refits import exact, exact_moments, refits
from tests.theory import ill_conditioned, oracles
from tests.theory.ill_conditioned import FEATURES, KINDS
from tests.tolerances import IDENTITY, LEFT_OUT, ORACLE, REFIT
from theory import linalg
from theory.left_out import left_out_residuals

LATEST = 1e14
SCALED_TIMES = np.concatenate([[0.0], np.logspace(-2, np.log10(LATEST), 33)])
"""In units of 1 / mu_max."""


def _with_an_outlier() -> np.ndarray:
    features = _random(20, 10, seed=25)
    features[3] *= 1e4
    return features


def _of_which_some_are_of_one_row_each() -> np.ndarray:
    return np.concatenate([_random(20, 8, seed=26), np.eye(20)[:, :2]], axis=1)


ROWS = {
    "tall": _random(40, 10, seed=21),
    "square": _random(20, 20, seed=22),
    "one feature less than rows": _random(20, 19, seed=23),
    "wide": _random(12, 30, seed=24),
    "of low rank": _of_whole_numbers(24, 12, rank=5, seed=27),
    "duplicated, tall": np.repeat(_random(12, 8, seed=28), 2, axis=0),
    "duplicated, wide": np.repeat(_random(8, 30, seed=29), 2, axis=0),
    "nearly duplicated": np.repeat(_random(12, 8, seed=28), 2, axis=0) + 1e-7 * _random(24, 8, seed=30),
    "power law": with_singular_values(40, 20, np.geomspace(1, 1e-6, 20), seed=31),
    "in huge units": 1e40 * _random(20, 10, seed=32),
    "in tiny units": 1e-40 * _random(20, 30, seed=33),
    "one outlier": _with_an_outlier(),
    "features of one row each": _of_which_some_are_of_one_row_each(),
}

LEFT_WITH_A_NULL_MODE = ("one outlier", "features of one row each")
"""Without that row, its direction is hardly seen, or not at all: what is known of it is known as to t."""


def _labels(features: np.ndarray, noise_std: float) -> np.ndarray:
    """Two targets, of a pattern of size one and noise."""
    rng = np.random.default_rng(34)
    pattern = features @ rng.normal(size=(features.shape[1], 2))
    return pattern / np.std(pattern) + noise_std * rng.normal(size=pattern.shape)


def _rms(residuals: np.ndarray) -> np.ndarray:
    """Over rows, all targets together."""
    return np.sqrt(np.mean(np.sum(np.asarray(residuals, float) ** 2, axis=2), axis=0))


@pytest.mark.parametrize("share", [0.0, 1e-4], ids=["no ridge", "ridge"])
@pytest.mark.parametrize("noise_std", [0.0, 0.5])
@pytest.mark.parametrize("name", ROWS)
def test_residuals_are_those_of_training_without_the_row(name: str, noise_std: float, share: float) -> None:
    features = ROWS[name]
    labels, largest = _labels(features, noise_std), np.linalg.norm(features, 2) ** 2 / len(features)
    times, ridge = SCALED_TIMES / largest, share * largest
    found = left_out_residuals(jnp.asarray(features), jnp.asarray(labels), times, ridge)
    right = refits(features, labels, times, ridge)
    size = np.maximum(_rms(right), np.std(labels))
    known = np.asarray(found.error) < REFIT * size
    wrong = np.max(np.abs(found.residuals - right), axis=(0, 2))
    assert np.all(wrong[known] <= REFIT * size[known])
    late = LATEST if ridge else 1e3 if name in LEFT_WITH_A_NULL_MODE else 3e5
    assert np.all(known[late >= SCALED_TIMES])
    assert np.all(wrong[SCALED_TIMES <= 1e3] <= LEFT_OUT * size[SCALED_TIMES <= 1e3])


def test_residuals_are_those_of_exponentials_of_the_other_rows_alone() -> None:
    features = _random(12, 5, seed=35)
    labels, times = _labels(features, 0.5), np.asarray([0.0, 0.3, 4.0, 300.0])
    found = left_out_residuals(jnp.asarray(features), jnp.asarray(labels), times, 0.01).residuals
    for i, t in np.ndindex(12, 4):
        rest = np.delete(np.arange(12), i)
        problem = rfm.Problem(features[rest], labels[rest], population=theory.TestSet(features, labels))
        said = features[i] @ oracles.expm_weights(problem, times[t], 0.01)
        np.testing.assert_allclose(found[i, t], labels[i] - said, rtol=0, atol=ORACLE)


def test_labels_in_a_vector_are_one_target_and_time_zero_knows_nothing() -> None:
    features, labels = jnp.asarray(ROWS["tall"]), jnp.asarray(_labels(ROWS["tall"], 0.5)[:, 0])
    found = left_out_residuals(features, labels, np.zeros(1))
    assert found.residuals.shape == (40, 1, 1)
    np.testing.assert_array_equal(found.residuals[:, 0, 0], labels)


@pytest.mark.parametrize("shape", [(7, 4), (4, 7)])
def test_left_vectors_are_those_of_xla_but_for_signs(shape: tuple[int, int]) -> None:
    features = jnp.asarray(_random(*shape, seed=37))
    (singular, left), (traced, others) = linalg.left_vectors(features), jax.jit(linalg.left_vectors)(features)
    np.testing.assert_allclose(singular, traced, rtol=IDENTITY)
    np.testing.assert_allclose(np.abs(np.sum(left * others, axis=1)), 1, rtol=IDENTITY)


# --- rounding --------------------------------------------------------------------------------------------------------


SHAPES = ((9, 4), (7, 7), (6, 9), (8, 7))


def _hard(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Features of every kind, some with a row of another size or a feature of one row, some labels with an outlier."""
    rng = np.random.default_rng([77, number])
    rows, columns = SHAPES[number % len(SHAPES)]
    features = np.asarray(FEATURES[KINDS[number % len(KINDS)]](rng, rows, columns), float)
    if rng.random() < 0.3:
        features[rng.integers(rows)] *= 10.0 ** rng.uniform(-6, 6)
    if rng.random() < 0.2:
        features[:, rng.integers(columns)] *= np.arange(rows) == rng.integers(rows)
    labels = ill_conditioned._labels(rng, features, 1 + number % 2)
    if rng.random() < 0.2:
        labels[rng.integers(rows)] *= 1e5
    return features, labels


def _errors(number: int, dtype: type = np.float64) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Claimed, true, and the size of the residuals, at some times."""
    features, labels = _hard(number)
    features, labels = features.astype(dtype), labels.astype(dtype)
    rng = np.random.default_rng([79, number])
    largest = float(np.linalg.norm(features.astype(float), 2) ** 2 / len(features))
    times = 10.0 ** np.sort(rng.uniform(-3, 20, 5)) / largest
    ridge = float(rng.choice([0.0, 0.0, 1e-3, 1e-9]) * largest)
    found = left_out_residuals(jnp.asarray(features), jnp.asarray(labels), times, ridge)
    rest = [np.delete(np.arange(len(features)), i) for i in range(len(features))]
    right = np.stack([
        exact(features[i], labels[i], exact_moments(features[own], labels[own]), times, ridge)
        for i, own in enumerate(rest)
    ])  # fmt: skip
    return np.asarray(found.error), _rms(np.asarray(found.residuals).astype(object) - right), _rms(right)


@pytest.mark.parametrize(
    ("dtype", "numbers"),
    [
        (np.float64, range(12)),
        pytest.param(np.float64, range(12, 90), marks=pytest.mark.slow),
        pytest.param(np.float32, range(90, 126), marks=pytest.mark.slow),
    ],
    ids=["double", "many in double", "single"],
)
def test_an_error_is_never_larger_than_claimed_and_claims_are_of_use(dtype: type, numbers: range) -> None:
    claimed, wrong, size = (np.concatenate(parts) for parts in zip(*(_errors(k, dtype) for k in numbers), strict=True))
    assert np.all(wrong <= claimed)
    measured = np.isfinite(claimed) & (wrong > 1e-15 * size)
    assert np.median(claimed[measured] / wrong[measured]) < 3e4


def test_what_rounding_makes_of_a_row_that_alone_has_a_feature_is_not_taken_for_a_leverage() -> None:
    features, labels = _of_which_some_are_of_one_row_each(), _labels(ROWS["features of one row each"], 0.0)
    times = np.asarray([1e12])
    found = left_out_residuals(jnp.asarray(features), jnp.asarray(labels), times)
    np.testing.assert_allclose(found.residuals, refits(features, labels, times), rtol=0, atol=REFIT)


def test_nothing_is_claimed_once_the_slowest_modes_are_rounding() -> None:
    features = jnp.asarray(with_singular_values(24, 8, np.geomspace(1, 1e-15, 8), seed=36))
    found = left_out_residuals(features, jnp.arange(24.0), np.asarray([1.0, 1e32]))
    assert np.isfinite(found.error[0])
    assert np.isinf(found.error[1])


def test_values_are_looked_at_so_it_cannot_be_traced() -> None:
    with pytest.raises(TypeError, match=r"^features: is traced by jit"):
        jax.jit(lambda phi: left_out_residuals(phi, jnp.ones(3), np.ones(1)).error)(jnp.ones((3, 2)))
