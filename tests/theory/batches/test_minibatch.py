"""Mini-batch training against laws of batches that are written out, 60 digits, seeds that really train, and limits."""

import functools
from typing import NamedTuple

import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import theory
from tests.theory.batches.tables import (
    EVERY_LAW,
    EVERY_TABLE,
    LAWS_OF_TWO,
    STEPS,
    TABLES,
    Table,
    agree,
    at_infinity,
    by_target,
    gradients,
    make,
)
from tests.theory.oracles import power
from tests.tolerances import ORACLE

DIGITS = 60


def step_of_moments(table: Table, law: theory.Batches, target: int, ridge: float, step_size: float) -> np.ndarray:
    """What a step does to E of (theta, 1) (theta, 1)ᵀ, its rows end to end: the mean of the square of every step."""
    size = table.features.shape[2] + 1
    total = np.zeros((size**2, size**2))
    for chance, gradient in gradients(table, law, target, ridge):
        step = np.eye(size)
        step[:-1] -= step_size * gradient
        total += chance * np.kron(step, step)
    return total


class Moments(NamedTuple):
    mean_risk: float
    spread: float
    variance: float
    gradient_power: float


def read_off(table: Table, law: theory.Batches, target: int, ridge: float, second: np.ndarray) -> Moments:
    """From E of (theta, 1) (theta, 1)ᵀ."""
    mean = second[:-1, -1]
    covariance = second[:-1, :-1] - np.outer(mean, mean)
    test, truth = np.asarray(table.test.features), np.asarray(table.test.targets)[:, target]
    power = sum(chance * np.trace(g @ second @ g.T) for chance, g in gradients(table, law, target, ridge))
    return Moments(
        np.mean((truth - test @ mean) ** 2),
        np.trace(test @ covariance @ test.T) / len(test),
        np.trace(covariance),
        power,
    )


def written_out(
    table: Table,
    law: theory.Batches,
    ridge: float,
    step_size: float,
    steps: int,
    start: np.ndarray | None = None,
) -> np.ndarray:
    """The four moments after so many steps, [moments, targets], by every batch of the law and a loop."""
    columns = []
    for target in range(table.labels.shape[2]):
        one_step = step_of_moments(table, law, target, ridge, step_size)
        at_first = np.append(np.zeros(table.features.shape[2]) if start is None else start[:, target], 1.0)
        second = np.kron(at_first, at_first)
        for _ in range(steps):
            second = one_step @ second
        columns.append(read_off(table, law, target, ridge, second.reshape(len(at_first), -1)))
    return np.asarray(columns).T


# --- every batch written out --------------------------------------------------------------------------------------


@EVERY_LAW
@EVERY_TABLE
@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_moments_are_those_of_every_batch_written_out(table: Table, law: theory.Batches, ridge: float) -> None:
    moments = table.moments(law, ridge=ridge)
    step = 0.6 * theory.batches.largest_stable_step(moments)
    curve = table.curve(moments, step)
    expected = np.stack([written_out(table, law, ridge, step, k) for k in STEPS], axis=1)
    assert agree(by_target(curve), expected)
    assert np.allclose(curve.risk, expected[0].sum(axis=1) + expected[1].sum(axis=1), rtol=ORACLE)
    assert np.allclose(curve.gradient_norm**2, expected[3].sum(axis=1), rtol=ORACLE)


@pytest.mark.parametrize("share", [1.0, 1.8])
def test_moments_are_exact_where_modes_overshoot_or_land_at_once(share: float) -> None:
    table, law = (
        TABLES["one node"],
        theory.Batches(3, replacement=False),
    )  # nearly all rows: stable at long steps
    moments = table.moments(law)
    step = share / float(moments.eigenvalues[0])
    steps = (0, 1, 2, 7, 30)
    expected = np.stack([written_out(table, law, 0.0, step, k) for k in steps], axis=1)
    assert agree(by_target(table.curve(moments, step, steps)), expected)


@LAWS_OF_TWO
@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_a_start_is_remembered(law: theory.Batches, ridge: float) -> None:
    table = TABLES["wide"]  # part of the start lies outside of all modes
    start = np.random.default_rng(4).normal(size=(6, 1))
    moments = table.moments(law, ridge=ridge)
    step = 0.6 * theory.batches.largest_stable_step(moments)
    curve = table.curve(moments, step, start=theory.Start(jnp.asarray(start)))
    expected = np.stack([written_out(table, law, ridge, step, k, start) for k in STEPS], axis=1)
    assert agree(by_target(curve), expected)
    late = written_out(table, law, ridge, step, 4000, start).sum(axis=1)
    assert np.allclose(at_infinity(curve), late[[0, 1, 3]], rtol=ORACLE)


@EVERY_LAW
@EVERY_TABLE
@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_training_settles_where_the_loop_does(table: Table, law: theory.Batches, ridge: float) -> None:
    moments = table.moments(law, ridge=ridge)
    step = 0.6 * theory.batches.largest_stable_step(moments)
    curve = table.curve(moments, step, (0, 1, 2, 7, 10**9))
    size = table.features.shape[2] + 1
    total = np.zeros(4)
    for target in range(table.labels.shape[2]):
        power = np.linalg.matrix_power(step_of_moments(table, law, target, ridge, step), 2**14)
        second = power[:, -1].reshape(size, size)  # of the start (0, 1) (0, 1)ᵀ
        total += read_off(table, law, target, ridge, second)
    assert np.allclose(at_infinity(curve), total[[0, 1, 3]], rtol=ORACLE)
    assert np.allclose(curve.spread[-1], curve.spread_at_infinity, rtol=ORACLE)
    assert np.allclose(curve.risk_at_infinity, total[0] + total[1], rtol=ORACLE)
    assert np.allclose(curve.gradient_floor**2, total[3], rtol=ORACLE)
    assert bool(curve.infinity_is_resolved)


# --- late times, in 60 digits -------------------------------------------------------------------------------------


LATE_STEPS = (0, 1, 10**3, 10**6, 10**9)
STEEP = make(4, 2, 3, 2, seed=5, scales=np.asarray([1.0, 1e-2, 1e-4]))


@functools.cache
def in_digits(law: theory.Batches, step_size: float) -> np.ndarray:
    """Spread and weight variance of the first target after `LATE_STEPS`, by powers of the matrix of one step."""
    with mpmath.workdps(DIGITS):
        size = STEEP.features.shape[2] + 1
        one_step, certainty = mpmath.zeros(size**2), mpmath.mpf(0)
        for chance, gradient in gradients(STEEP, law, 0, 0.0):
            step = mpmath.eye(size)
            step[: size - 1, :] -= mpmath.mpf(step_size) * mpmath.matrix(gradient.tolist())
            entries = [
                [step[i, a] * step[j, b] for a in range(size) for b in range(size)]
                for i in range(size)
                for j in range(size)
            ]
            one_step += mpmath.mpf(chance) * mpmath.matrix(entries)
            certainty += chance
        one_step /= certainty  # 1 to rounding is not enough for so many steps
        test = mpmath.matrix(np.asarray(STEEP.test.features).tolist())
        rows = []
        for steps in LATE_STEPS:
            column = power(one_step, steps)[:, size**2 - 1]
            second = mpmath.matrix(size)
            for index in range(size**2):
                second[index // size, index % size] = column[index]
            mean = second[: size - 1, size - 1]
            covariance = second[: size - 1, : size - 1] - mean * mean.T
            spread = test * covariance * test.T
            rows.append([float(sum(spread[i, i] for i in range(spread.rows)) / spread.rows)])
            rows[-1].append(float(sum(covariance[i, i] for i in range(size - 1))))
        return np.asarray(rows)


@LAWS_OF_TWO
def test_late_spread_is_exact_to_rounding_where_eigenvalues_span_eight_decades(law: theory.Batches) -> None:
    moments = STEEP.moments(law)
    step = 0.5 * theory.batches.largest_stable_step(moments)
    curve = STEEP.curve(moments, step, LATE_STEPS)
    ours = np.column_stack([curve.spread_by_target[:, 0], curve.weight_variance_by_target[:, 0]])
    assert np.all(ours[0] == 0)
    assert np.allclose(ours[1:], in_digits(law, step)[1:], rtol=ORACLE, atol=0)


# --- errors -------------------------------------------------------------------------------------------------------


def test_a_step_beyond_the_stable_one_is_refused() -> None:
    table = TABLES["tall"]
    for diagonal, words in ((False, "stable one, "), (True, "diagonal approximation")):
        moments = table.moments(theory.Batches(1), diagonal=diagonal)
        limit = theory.batches.largest_stable_step(moments)
        with pytest.raises(ValueError, match=f"step_size: .*{limit:.6g}") as caught:
            table.curve(moments, limit)
        assert words in str(caught.value)
        table.curve(moments, 0.999 * limit)


def test_impossible_batches_are_refused() -> None:
    with pytest.raises(ValueError, match="size: must be a whole number of at least 1, got 0"):
        theory.Batches(0)
    with pytest.raises(ValueError, match="law: a batch of 5 distinct pairs cannot be drawn from 4"):
        TABLES["tall"].moments(theory.Batches(5, replacement=False))


def test_more_modes_than_the_exact_moments_allow_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(theory.batches.moments, "MAX_EXACT_MODES", 2)
    with pytest.raises(ValueError, match=r"of 3 modes are a matrix of 6 x 6 entries.*pass diagonal=True"):
        TABLES["tall"].moments(theory.Batches(1))
    assert TABLES["tall"].moments(theory.Batches(1), diagonal=True).curvature.shape == (3, 3)


def test_rows_that_are_not_those_of_the_spectrum_are_refused() -> None:
    table, law, one = TABLES["one node"], theory.Batches(1), jnp.ones(1)
    features, labels = jnp.asarray(table.features), jnp.asarray(table.labels)
    for blocks in ([(2 * features, labels)], [(features, 2 * labels)]):
        with pytest.raises(ValueError, match="blocks: their moments differ"):
            theory.batches.batch_moments(table.spectrum, blocks, one, law)
    with pytest.raises(ValueError, match="blocks: the iterator gave no rows"):
        theory.batches.batch_moments(table.spectrum, [], one, law)
    with pytest.raises(ValueError, match="node_weights: row 0 sums to 2"):
        theory.batches.batch_moments(table.spectrum, [(features, labels)], 2 * one, law)
    with pytest.raises(ValueError, match="ridge: must be a finite number that is not negative"):
        theory.batches.batch_moments(table.spectrum, [(features, labels)], one, law, ridge=-1.0)
    with pytest.raises(ValueError, match="spectrum: has no mode above its rank cut"):
        theory.batches.batch_moments(theory.decompose(jnp.zeros((2, 3)), jnp.zeros(2)), [], one, law)


def test_arguments_that_do_not_belong_together_are_refused() -> None:
    table = TABLES["one node"]
    moments = table.moments(theory.Batches(2))
    with pytest.raises(ValueError, match="moments: were computed with another spectrum"):
        TABLES["tall"].curve(moments, 0.1)
    with pytest.raises(ValueError, match="averages: have 6 features, but the spectrum has 3"):
        theory.batches.minibatch_curve(table.spectrum, TABLES["wide"].test, moments, 0.1, [0, 1])
    with pytest.raises(ValueError, match="start: has the variance 2"):
        table.curve(moments, 0.1, start=theory.Start(variance=2.0))
    with pytest.raises(ValueError, match="steps: must strictly ascend"):
        table.curve(moments, 0.1, (1, 0))
