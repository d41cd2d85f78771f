"""Real training on batches, and the largest step at which it settles."""

import jax.numpy as jnp
import numpy as np
import pytest

import theory
from tests.theory.batches.tables import EVERY_LAW, EVERY_TABLE, LAWS_OF_TWO, TABLES, Table, gradients
from tests.tolerances import IDENTITY, ORACLE, SAMPLING

# --- real training ------------------------------------------------------------------------------------------------


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
    table, law, ridge = (
        TABLES["tall"],
        theory.Batches(3, shared_ratio=law.shared_ratio, replacement=law.replacement),
        0.05,
    )
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


# --- stability ----------------------------------------------------------------------------------------------------


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


def test_rows_that_no_batch_can_be_drawn_from_have_no_largest_step() -> None:
    table, law = TABLES["tall"], theory.Batches(2)
    one = jnp.asarray(table.node_weights)
    limit, block = theory.batches.largest_stable_step_of_rows, (jnp.asarray(table.features), jnp.asarray(table.labels))
    with pytest.raises(ValueError, match="blocks: the iterator gave no rows"):
        limit(table.spectrum, [], one, law, num_pairs=4)
    with pytest.raises(ValueError, match="law: a batch of 5 distinct pairs cannot be drawn from 4"):
        limit(table.spectrum, [block], one, theory.Batches(5, replacement=False), num_pairs=4)
    with pytest.raises(ValueError, match="node_weights: row 0 sums to 2"):
        limit(table.spectrum, [block], 2 * one, law, num_pairs=4)


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
