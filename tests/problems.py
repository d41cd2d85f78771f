"""The table of problems that the tests share: small, named, tagged, and of few shapes (a new shape compiles again)."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

import rfm
import theory

NUM_TEST = 15


class Case(NamedTuple):
    """A problem with its name and what is special about it."""

    name: str
    tags: frozenset[str]
    problem: rfm.Problem


def _random(rows: int, columns: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, columns)) / np.sqrt(columns)


def with_singular_values(rows: int, columns: int, singular: np.ndarray, seed: int) -> np.ndarray:
    left, _, right = np.linalg.svd(_random(rows, columns, seed), full_matrices=False)
    return np.sqrt(rows) * (left * singular) @ right


def _of_whole_numbers(rows: int, columns: int, rank: int, seed: int) -> np.ndarray:
    """Of that rank exactly, and not only up to the rounding of a product: late enough, that makes a difference."""
    rng = np.random.default_rng(seed)
    return rng.integers(-3, 4, (rows, rank)) @ rng.integers(-3, 4, (rank, columns)) / 16


def make(
    features: np.ndarray,
    *,
    seed: int,
    noise_std: float = 0.5,
    num_targets: int = 1,
    population: theory.Averages | None = None,
) -> rfm.Problem:
    """Labels from a linear pattern plus noise; the test set's targets hold something that no weights can fit."""
    rng = np.random.default_rng(seed)
    num_features = features.shape[1]
    pattern = rng.normal(size=(num_features, num_targets))
    clean = features @ pattern
    labels = clean + noise_std * rng.normal(size=clean.shape)
    test = rng.normal(size=(NUM_TEST, num_features)) / np.sqrt(num_features)
    targets = test @ pattern + 0.2 * rng.normal(size=(NUM_TEST, num_targets))
    if population is None:
        population = theory.TestSet(jnp.asarray(test), jnp.asarray(targets))
    return rfm.Problem(jnp.asarray(features), jnp.asarray(labels), jnp.asarray(clean), population=population)


def _case(name: str, tags: str, features: np.ndarray, **settings: float) -> Case:
    return Case(name, frozenset(tags.split()), make(features, **settings))


CASES = (
    _case("tall", "tall gapped", _random(24, 8, seed=1), seed=11),
    _case("wide", "wide gapped", _random(8, 24, seed=2), seed=12),
    _case("square", "square gapped", _random(8, 8, seed=3), seed=13),
    _case("rank-deficient", "tall singular", _of_whole_numbers(24, 8, rank=5, seed=4), seed=14),
    _case("duplicated rows, tall", "tall singular", np.repeat(_random(4, 8, seed=6), 6, axis=0), seed=15),
    _case("duplicated rows, wide", "wide singular", np.repeat(_random(4, 24, seed=7), 2, axis=0), seed=16),
    _case("power law", "tall gapless", with_singular_values(24, 8, np.geomspace(1, 1e-4, 8), seed=8), seed=17),
    _case("noiseless", "tall gapped noiseless", _random(24, 8, seed=9), seed=18, noise_std=0.0),
)


def tagged(*tags: str) -> tuple[Case, ...]:
    """The cases with any of the tags."""
    return tuple(case for case in CASES if case.tags & set(tags))


def named(name: str) -> rfm.Problem:
    """The problem of that name."""
    (found,) = (case.problem for case in CASES if case.name == name)
    return found
