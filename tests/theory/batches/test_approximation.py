"""Limits of the batch size, the diagonal approximation, and how rows come."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest

import theory
from tests.theory.batches.tables import (
    EVERY_LAW,
    LAWS_OF_TWO,
    STEPS,
    TABLES,
    Table,
    agree,
    at_infinity,
    by_target,
    gradients,
    make,
    name_of,
)
from tests.tolerances import FLOAT32, IDENTITY, ORACLE

# --- limits of the batch size, and interpolation ------------------------------------------------------------------


def test_the_spread_of_large_batches_falls_as_one_over_their_size() -> None:
    table, step = TABLES["tall"], 0.05
    spread = [
        np.asarray(size * table.curve(table.moments(theory.Batches(size)), step).spread[1:])
        for size in (10**6, 4 * 10**6, 10**12)
    ]
    assert np.allclose(spread[0], spread[2], rtol=10 / 10**6)
    assert np.allclose(spread[1], spread[2], rtol=10 / (4 * 10**6))


def test_large_batches_of_one_ratio_keep_the_spread_of_that_ratio() -> None:
    table, step = TABLES["tall"], 0.05
    own, shared = (
        table.curve(table.moments(theory.Batches(10**12, shared_ratio=shared)), step).spread[1:]
        for shared in (False, True)
    )
    assert np.all(own < 1e-9 * shared)


def test_a_batch_of_all_pairs_is_gradient_descent() -> None:
    table = TABLES["one node"]
    moments = table.moments(theory.Batches(4, replacement=False))
    limit = theory.batches.largest_stable_step(moments)
    assert np.isclose(limit, 2 / float(moments.eigenvalues[0]), rtol=IDENTITY)
    curve = table.curve(moments, 0.5 * limit)
    assert np.all(np.abs(curve.spread) <= IDENTITY * curve.mean_risk)
    rule, clock = theory.GradientDescent(0.5 * limit), jnp.asarray(STEPS, float)
    features, labels = table.rows
    error = np.tensordot(features, theory.risk.weights(table.spectrum, rule, clock), 1) - labels[:, None, :]
    expected = np.sum((np.tensordot(features.T, error, 1) / len(labels)) ** 2, axis=(0, 2))
    assert np.allclose(curve.gradient_norm**2, expected, rtol=ORACLE, atol=IDENTITY * expected[0])


@LAWS_OF_TWO
def test_training_that_fits_every_row_comes_to_rest(law: theory.Batches) -> None:
    table = TABLES["tall"]
    pattern = np.random.default_rng(8).normal(size=(3, 2))
    table = table._replace(labels=table.features @ pattern)
    moments = table.moments(law)
    curve = table.curve(moments, 0.5 * theory.batches.largest_stable_step(moments), (0, 1, 2, 3, 10**6))
    assert curve.spread[1] > 1e-3 * curve.mean_risk[1]
    assert np.all(np.abs(at_infinity(curve)[1:]) <= IDENTITY**2)
    assert abs(float(curve.spread[-1])) <= IDENTITY * float(curve.spread[1])
    assert float(curve.gradient_norm[-1]) <= IDENTITY * float(curve.gradient_norm[0])


# --- the diagonal approximation -----------------------------------------------------------------------------------


@EVERY_LAW
def test_the_diagonal_is_exact_where_rows_are_single_features(law: theory.Batches) -> None:
    rng = np.random.default_rng(9)
    at, sizes = np.asarray([0, 1, 2, 0]), rng.normal(size=(4, 2))
    features = np.eye(3)[at][:, None, :] * sizes[:, :, None]
    table = make(4, 2, 3, 2, seed=10)._replace(features=features)
    exact, diagonal = (table.moments(law, ridge=0.1, diagonal=only) for only in (False, True))
    step = 0.5 * theory.batches.largest_stable_step(exact)
    curves = [table.curve(moments, step) for moments in (exact, diagonal)]
    assert [curve.is_diagonal for curve in curves] == [False, True]
    variance, gradient = (
        [np.asarray(getattr(curve, name)) for curve in curves]
        for name in ("weight_variance_by_target", "gradient_power_by_target")
    )
    assert np.allclose(*variance, rtol=ORACLE)
    assert np.allclose(*gradient, rtol=ORACLE)


def restricted(
    table: Table, law: theory.Batches, ridge: float, step_size: float, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Variances of the first target in the modes, and E |g|^2, of steps that forget the second moment's off-diagonal.

    The second moment is that of theta - theta*, in the modes.
    """
    moments, modes = table.moments(law, ridge=ridge), np.asarray(table.spectrum.modes)
    size = modes.shape[1]
    optimum = np.asarray(moments.optimum)[:, 0]
    shift = np.block([[modes, (modes @ optimum)[:, None]], [np.zeros((1, modes.shape[0])), np.ones((1, 1))]])
    drawn = [(chance, modes.T @ gradient @ shift) for chance, gradient in gradients(table, law, 0, ridge)]
    offset = np.append(-optimum, 1.0)

    def forget(second: np.ndarray) -> np.ndarray:
        kept = second.copy()
        kept[:size, :size] = np.diag(np.diag(second)[:size])
        return kept

    second = forget(np.outer(offset, offset))
    for _ in range(steps):
        total = np.zeros_like(second)
        for chance, gradient in drawn:
            step = np.eye(size + 1)
            step[:size] -= step_size * gradient
            total += chance * step @ second @ step.T
        second = forget(total)
    power = sum(chance * np.trace(gradient @ second @ gradient.T) for chance, gradient in drawn)
    return np.diag(second)[:size] - second[:size, size] ** 2, np.asarray(power)


@LAWS_OF_TWO
@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_the_diagonal_approximation_forgets_what_is_off_the_diagonal_at_every_step(
    law: theory.Batches, ridge: float
) -> None:
    table = TABLES["tall"]
    moments = table.moments(law, ridge=ridge, diagonal=True)
    step = 0.5 * theory.batches.largest_stable_step(table.moments(law, ridge=ridge))
    curve = table.curve(moments, step)
    modes = np.asarray(table.spectrum.modes)
    seen = np.mean((np.asarray(table.test.features) @ modes) ** 2, axis=0)
    for index, steps in enumerate(STEPS):
        variances, power = restricted(table, law, ridge, step, steps)
        assert np.isclose(curve.weight_variance_by_target[index, 0], variances.sum(), rtol=ORACLE, atol=IDENTITY)
        assert np.isclose(curve.spread_by_target[index, 0], seen @ variances, rtol=ORACLE, atol=IDENTITY)
        assert np.isclose(curve.gradient_power_by_target[index, 0], power, rtol=ORACLE)


DIAGONAL_ERROR = {"first": 0.5, "last": 0.35}
"""Of the spread: measured 0.45 and 0.30 at worst, on the problem below. What is left out are products of different
modes. They would vanish for Gaussian features; here they do not, and no theorem says how large they are."""


@functools.cache
def mixup_of_random_features() -> Table:
    """All ordered pairs of ten originals, at a rule of four nodes for lam ~ Beta(1, 1)."""
    rng = np.random.default_rng(11)
    inputs, projection, bias = rng.normal(size=(10, 3)), rng.normal(size=(12, 3)), rng.normal(size=12)
    lam, weights = theory.noise.beta_quadrature(1.0, 4)

    def truth(x: np.ndarray) -> np.ndarray:
        return np.tanh(2 * x[..., :1]) + x[..., 1:2] ** 2 / 2

    def features(x: np.ndarray) -> np.ndarray:
        return np.maximum(x @ projection.T / np.sqrt(3) + bias, 0) / np.sqrt(12)

    labels = truth(inputs) + 0.3 * rng.normal(size=(10, 1))
    first, second = np.divmod(np.arange(100), 10)
    mixed, mixed_labels = (
        lam[None, :, None] * of[first][:, None, :] + (1 - lam)[None, :, None] * of[second][:, None, :]
        for of in (inputs, labels)
    )
    unseen = rng.normal(size=(200, 3))
    return Table(features(mixed), mixed_labels, weights, theory.TestSet(features(unseen), truth(unseen)))


MIXUP_LAWS = [
    theory.Batches(1),
    theory.Batches(8),
    theory.Batches(8, shared_ratio=True, replacement=False),
]


@pytest.mark.parametrize("law", MIXUP_LAWS, ids=name_of)
@pytest.mark.parametrize("share", [0.1, 0.9])
def test_the_diagonal_approximation_is_close_on_mixup_of_random_features(law: theory.Batches, share: float) -> None:
    table = mixup_of_random_features()
    exact, diagonal = (table.moments(law, diagonal=only) for only in (False, True))
    step = share * theory.batches.largest_stable_step(exact)
    curves = [table.curve(moments, step, (0, 1, 30, 1000, 10**5)) for moments in (exact, diagonal)]
    spread, norm = ([np.asarray(getattr(curve, name)) for curve in curves] for name in ("spread", "gradient_norm"))
    error = np.abs(spread[1][1:] / spread[0][1:] - 1)
    assert np.all(error <= DIAGONAL_ERROR["first"])
    assert error[-1] <= DIAGONAL_ERROR["last"]
    assert np.abs(curves[1].spread_at_infinity / curves[0].spread_at_infinity - 1) <= DIAGONAL_ERROR["last"]
    assert np.all(np.abs(norm[1] / norm[0] - 1) <= DIAGONAL_ERROR["first"] / 2)  # a root halves it


@pytest.mark.parametrize("table", [TABLES["tall"], mixup_of_random_features()], ids=["tall", "mixup"])
@LAWS_OF_TWO
def test_the_diagonal_approximation_claims_at_least_the_exact_stable_step(table: Table, law: theory.Batches) -> None:
    exact, diagonal = (theory.batches.largest_stable_step(table.moments(law, diagonal=only)) for only in (False, True))
    plain = 2 / float(table.spectrum.eigenvalues[0])
    assert exact <= diagonal * (1 + IDENTITY)
    assert diagonal <= plain * (1 + IDENTITY)


# --- how the rows come, what they are averaged over, precision ----------------------------------------------------


@pytest.mark.parametrize("diagonal", [False, True])
@LAWS_OF_TWO
def test_moments_do_not_depend_on_the_blocks(
    law: theory.Batches, diagonal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = TABLES["tall"]
    whole = table.moments(law, diagonal=diagonal)
    in_blocks = table.moments(law, diagonal=diagonal, block=3)
    monkeypatch.setattr(theory.batches.covariances, "CHUNK_BYTES", 1)
    in_chunks = table.moments(law, diagonal=diagonal)
    for other in (in_blocks, in_chunks):
        for name in ("curvature", "cross", "noise"):
            expected = np.asarray(getattr(whole, name))
            assert np.allclose(getattr(other, name), expected, rtol=0, atol=IDENTITY * np.abs(expected).max())


def test_a_population_of_the_same_moments_gives_the_same_curve() -> None:
    table, law = TABLES["tall"], theory.Batches(2)
    features, targets = (np.asarray(array) for array in (table.test.features, table.test.targets))
    population = theory.Population(
        features.T @ features / len(features), features.T @ targets / len(features), np.mean(targets**2, axis=0)
    )
    moments = table.moments(law)
    ours = theory.batches.minibatch_curve(table.spectrum, population, moments, 0.1, list(STEPS))
    expected = table.curve(moments, 0.1)
    assert agree(by_target(ours), by_target(expected))
    assert np.allclose(at_infinity(ours), at_infinity(expected), rtol=ORACLE)


def test_single_precision_stays_single_and_close() -> None:
    table, law = TABLES["tall"], theory.Batches(2, shared_ratio=True)
    expected = table.curve(table.moments(law), 0.1)
    features, labels, weights = (array.astype(np.float32) for array in table[:3])
    test = theory.TestSet(table.test.features.astype(jnp.float32), table.test.targets.astype(jnp.float32))
    single = Table(features, labels, weights, test)
    ours = single.curve(single.moments(law), 0.1)
    assert all(getattr(ours, name).dtype == jnp.float32 for name in ("risk", "spread", "gradient_norm"))
    assert agree(by_target(ours), by_target(expected), FLOAT32)
