"""Mini-batch training against laws of batches that are written out, 60 digits, seeds that really train, and limits."""

import functools
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import theory
from tests.theory.oracles import power
from tests.tolerances import FLOAT32, IDENTITY, ORACLE, SAMPLING

STEPS = (0, 1, 2, 7, 60)
DIGITS = 60

LAWS = [
    theory.Batches(size, shared_ratio=shared_ratio, replacement=replacement)
    for size in (1, 2)
    for shared_ratio in (False, True)
    for replacement in (False, True)
]


def name_of(law: theory.Batches) -> str:
    return f"B={law.size}{' shared' if law.shared_ratio else ''}{'' if law.replacement else ' distinct'}"


EVERY_LAW = pytest.mark.parametrize("law", LAWS, ids=name_of)
LAWS_OF_TWO = pytest.mark.parametrize("law", [law for law in LAWS if law.size == 2], ids=name_of)


class Table(NamedTuple):
    """Pairs at each node of a rule over lam, and what the risk is averaged over."""

    features: np.ndarray  # pairs, nodes, features
    labels: np.ndarray  # pairs, nodes, targets
    node_weights: np.ndarray
    test: theory.TestSet

    @property
    def row_weights(self) -> np.ndarray:
        """The probability of each row, pairs first."""
        return np.tile(self.node_weights, len(self.features)) / len(self.features)

    @property
    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        return tuple(array.reshape(-1, array.shape[2]) for array in (self.features, self.labels))

    @property
    def spectrum(self) -> theory.Spectrum:
        root = np.sqrt(self.row_weights * len(self.row_weights))[:, None]
        features, labels = self.rows
        return theory.decompose(jnp.asarray(root * features), jnp.asarray(root * labels))

    def moments(
        self, law: theory.Batches, *, ridge: float = 0.0, diagonal: bool = False, block: int = 1000
    ) -> theory.batches.BatchMoments:
        arrays = tuple(map(jnp.asarray, (self.features, self.labels)))
        blocks = (tuple(array[i : i + block] for array in arrays) for i in range(0, len(self.features), block))
        weights = jnp.asarray(self.node_weights)
        return theory.batches.batch_moments(self.spectrum, blocks, weights, law, ridge=ridge, diagonal=diagonal)

    def curve(
        self,
        moments: theory.batches.BatchMoments,
        step_size: float,
        steps: tuple[int, ...] = STEPS,
        start: theory.Start | None = None,
    ) -> theory.batches.MinibatchCurve:
        return theory.batches.minibatch_curve(self.spectrum, self.test, moments, step_size, list(steps), start=start)


def make(pairs: int, nodes: int, features: int, targets: int, *, seed: int, scales: np.ndarray | None = None) -> Table:
    rng = np.random.default_rng(seed)
    scales = np.ones(features) if scales is None else scales
    phi = rng.normal(size=(pairs, nodes, features)) * scales
    weights = rng.uniform(0.5, 1.5, size=nodes)
    test = theory.TestSet(rng.normal(size=(9, features)) * scales, rng.normal(size=(9, targets)))
    return Table(phi, rng.normal(size=(pairs, nodes, targets)), weights / weights.sum(), test)


TABLES = {
    "tall": make(4, 2, 3, 2, seed=1),
    "wide": make(2, 2, 6, 1, seed=2),
    "one node": make(4, 1, 3, 2, seed=3),
}
EVERY_TABLE = pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)


def batches(table: Table, law: theory.Batches) -> Iterator[tuple[float, list[tuple[int, int]]]]:
    """Every batch, as pairs and nodes of its rows, with its probability."""
    num_pairs, num_nodes = table.features.shape[:2]
    drawn = (
        itertools.product(range(num_pairs), repeat=law.size)
        if law.replacement
        else itertools.permutations(range(num_pairs), law.size)
    )
    pairs = list(drawn)
    for chosen in pairs:
        for nodes in itertools.product(range(num_nodes), repeat=1 if law.shared_ratio else law.size):
            chance = float(np.prod(table.node_weights[list(nodes)])) / len(pairs)
            yield chance, list(zip(chosen, nodes * law.size if law.shared_ratio else nodes, strict=True))


def gradients(table: Table, law: theory.Batches, target: int, ridge: float) -> Iterator[tuple[float, np.ndarray]]:
    """Each batch's gradient, as a matrix that acts on (theta, 1), with its probability."""
    for chance, batch in batches(table, law):
        phi = np.asarray([table.features[row] for row in batch])
        y = np.asarray([table.labels[row][target] for row in batch])
        pull = phi.T @ phi / len(batch) + ridge * np.eye(phi.shape[1])
        yield chance, np.column_stack([pull, -phi.T @ y / len(batch)])


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


def by_target(curve: theory.batches.MinibatchCurve) -> np.ndarray:
    """The four moments, [moments, times, targets]."""
    return np.stack(
        [
            curve.mean_risk_by_target,
            curve.spread_by_target,
            curve.weight_variance_by_target,
            curve.gradient_power_by_target,
        ]
    )


def at_infinity(curve: theory.batches.MinibatchCurve) -> np.ndarray:
    return np.stack([curve.mean_risk_at_infinity, curve.spread_at_infinity, curve.gradient_power_at_infinity])


def agree(ours: np.ndarray, expected: np.ndarray, tolerance: float = ORACLE) -> bool:
    """Relative to the largest value along the curve: the loop subtracts the mean's power from the second moment."""
    scale = np.max(np.abs(expected), axis=1, keepdims=True)
    return bool(np.all(np.abs(ours - expected) <= tolerance * scale))


# --- every batch written out ---------------------------------------------------------------------------------------


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


# --- late times, in 60 digits --------------------------------------------------------------------------------------

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


# --- real training -------------------------------------------------------------------------------------------------

SEEDS = 4000
TRAINED_STEPS = 40


def train(
    table: Table, law: theory.Batches, step_size: float, ridge: float, *, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the first target after `TRAINED_STEPS`, one row a seed, and the next batch's gradient there."""
    rng = np.random.default_rng(seed)
    num_pairs, num_nodes, num_features = table.features.shape

    def gradient(theta: np.ndarray) -> np.ndarray:
        if law.replacement:
            pairs = rng.integers(num_pairs, size=(SEEDS, law.size))
        else:
            pairs = np.argsort(rng.uniform(size=(SEEDS, num_pairs)), axis=1)[:, : law.size]
        shape = (SEEDS, 1) if law.shared_ratio else (SEEDS, law.size)
        nodes = np.broadcast_to(rng.choice(num_nodes, p=table.node_weights, size=shape), pairs.shape)
        phi, y = table.features[pairs, nodes], table.labels[pairs, nodes, 0]
        error = np.einsum("sbp,sp->sb", phi, theta) - y
        return np.einsum("sb,sbp->sp", error, phi) / law.size + ridge * theta

    theta = np.zeros((SEEDS, num_features))
    for _ in range(TRAINED_STEPS):
        theta = theta - step_size * gradient(theta)
    return theta, gradient(theta)


def within_standard_errors(samples: np.ndarray, expected: float) -> bool:
    return bool(abs(samples.mean() - expected) <= SAMPLING * samples.std() / np.sqrt(len(samples)))


@LAWS_OF_TWO
def test_many_seeds_of_training_spread_as_predicted(law: theory.Batches) -> None:
    table, law, ridge = TABLES["tall"], theory.Batches(3, law.shared_ratio, law.replacement), 0.05
    moments = table.moments(law, ridge=ridge)
    step = 0.3 * theory.batches.largest_stable_step(moments)
    curve = table.curve(moments, step, (0, 1, 2, 7, TRAINED_STEPS))
    theta, gradient = train(table, law, step, ridge, seed=7)
    test, truth = np.asarray(table.test.features), np.asarray(table.test.targets)[:, :1]
    expected_weights = theory.risk.weights(
        table.spectrum, theory.GradientDescent(step, ridge), jnp.asarray([float(TRAINED_STEPS)])
    )[:, 0, 0]
    off = theta - np.asarray(expected_weights)
    risk = float(curve.mean_risk_by_target[-1, 0] + curve.spread_by_target[-1, 0])
    assert within_standard_errors(np.mean((truth - test @ theta.T) ** 2, axis=0), risk)
    assert within_standard_errors(np.mean((test @ off.T) ** 2, axis=0), float(curve.spread_by_target[-1, 0]))
    assert within_standard_errors(np.sum(off**2, axis=1), float(curve.weight_variance_by_target[-1, 0]))
    assert within_standard_errors(np.sum(gradient**2, axis=1), float(curve.gradient_power_by_target[-1, 0]))


# --- stability -----------------------------------------------------------------------------------------------------


@EVERY_LAW
@pytest.mark.parametrize("name", ["tall", "one node"])
@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_the_spread_shrinks_below_the_largest_stable_step_and_grows_above(
    name: str, law: theory.Batches, ridge: float
) -> None:
    table = TABLES[name]
    limit = theory.batches.largest_stable_step(table.moments(law, ridge=ridge))
    size = table.features.shape[2]
    for share, grows in ((0.98, False), (1.02, True)):
        total = np.zeros((size**2, size**2))
        for chance, gradient in gradients(table, law, 0, ridge):
            step = np.eye(size) - share * limit * gradient[:, :-1]
            total += chance * np.kron(step, step)
        early, late = (
            np.trace((np.linalg.matrix_power(total, k) @ np.eye(size).ravel()).reshape(size, size))
            for k in (1000, 2000)
        )
        assert (late > early) == grows


@EVERY_LAW
@EVERY_TABLE
@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_the_largest_stable_step_is_found_without_a_matrix(table: Table, law: theory.Batches, ridge: float) -> None:
    features, labels = map(jnp.asarray, (table.features, table.labels))
    blocks = ((features[part], labels[part]) for part in (slice(0, 1), slice(1, None)))
    weights, num_pairs = jnp.asarray(table.node_weights), len(table.features)
    found = theory.batches.largest_stable_step_of_rows(
        table.spectrum, blocks, weights, law, num_pairs=num_pairs, ridge=ridge
    )
    assert np.isclose(found, theory.batches.largest_stable_step(table.moments(law, ridge=ridge)), rtol=ORACLE, atol=0)


def test_infinite_batches_are_as_stable_as_gradient_descent() -> None:
    table = TABLES["tall"]
    moments = table.moments(theory.Batches(10**15), ridge=0.2)
    plain = theory.GradientDescent(1.0, 0.2).largest_stable_step(float(moments.eigenvalues[0]))
    assert np.isclose(theory.batches.largest_stable_step(moments), plain, rtol=IDENTITY)


def test_smaller_batches_need_smaller_steps() -> None:
    limits = [
        theory.batches.largest_stable_step(TABLES["tall"].moments(theory.Batches(size))) for size in (1, 2, 8, 64)
    ]
    assert np.all(np.diff(limits) > 0)


# --- limits of the batch size, and interpolation -------------------------------------------------------------------


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


# --- the diagonal approximation ------------------------------------------------------------------------------------


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


# --- how the rows come, what they are averaged over, precision -----------------------------------------------------


@pytest.mark.parametrize("diagonal", [False, True])
@LAWS_OF_TWO
def test_moments_do_not_depend_on_the_blocks(
    law: theory.Batches, diagonal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = TABLES["tall"]
    whole = table.moments(law, diagonal=diagonal)
    in_blocks = table.moments(law, diagonal=diagonal, block=3)
    monkeypatch.setattr(theory.batches.moments, "CHUNK_BYTES", 1)
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
    single = Table(
        *(array.astype(np.float32) for array in table[:3]),
        theory.TestSet(table.test.features.astype(jnp.float32), table.test.targets.astype(jnp.float32)),
    )
    ours = single.curve(single.moments(law), 0.1)
    assert all(getattr(ours, name).dtype == jnp.float32 for name in ("risk", "spread", "gradient_norm"))
    assert agree(by_target(ours), by_target(expected), FLOAT32)


# --- errors --------------------------------------------------------------------------------------------------------


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
