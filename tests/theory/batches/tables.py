"""Tables of pairs, small enough that every batch of them can be written out."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest

import theory
from tests.tolerances import ORACLE

STEPS = (0, 1, 2, 7, 60)
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
        features, labels = (array.reshape(-1, array.shape[2]) for array in (self.features, self.labels))
        return features, labels

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
