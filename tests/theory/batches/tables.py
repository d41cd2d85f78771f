"""Tables of pairs, small enough that every batch of them can be written out."""

import collections
import itertools
from collections.abc import Iterable, Iterator
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


OF_THEMSELVES = [
    theory.Batches(size, partners, shared_ratio=shared_ratio)
    for size in (1, 2, 3, 4)
    for partners in ("permuted", "flipped", "rolled")
    for shared_ratio in (False, True)
]


def name_of(law: theory.Batches) -> str:
    kind = law.partners if law.mixes_itself else "" if law.replacement else "distinct"
    return f"B={law.size}{' shared' if law.shared_ratio else ''} {kind}".strip()


EVERY_LAW_OF_THEMSELVES = pytest.mark.parametrize("law", OF_THEMSELVES, ids=name_of)
EVERY_LAW = pytest.mark.parametrize("law", LAWS, ids=name_of)
LAWS_OF_TWO = pytest.mark.parametrize("law", [law for law in LAWS if law.size == 2], ids=name_of)


class Table(NamedTuple):
    """Pairs at each node of a rule over lam, and what the risk is averaged over."""

    features: np.ndarray  # pairs, nodes, features
    labels: np.ndarray  # pairs, nodes, targets
    node_weights: np.ndarray
    test: theory.TestSet
    pair_weights: np.ndarray | None = None  # proportional to probabilities; None for equal ones

    @property
    def row_weights(self) -> np.ndarray:
        """The probability of each row, pairs first."""
        of_pairs = np.ones_like(self.node_weights, shape=len(self.features))
        of_pairs = of_pairs if self.pair_weights is None else self.pair_weights
        return np.outer(of_pairs / of_pairs.sum(), self.node_weights).ravel()

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
        weights, blocks = jnp.asarray(self.node_weights), self.blocks(law, block)
        return theory.batches.batch_moments(self.spectrum, blocks, weights, law, ridge=ridge, diagonal=diagonal)

    def blocks(self, law: theory.Batches, length: int = 1000) -> Iterator[tuple]:
        """As theory asks for them: stars, or so many pairs at a time."""
        arrays = [self.features, self.labels]
        every = np.arange(len(self.features))
        pieces: Iterable[np.ndarray] = (every[i : i + length] for i in range(0, len(every), length))
        if law.mixes_itself:
            pieces = theory.batches.stars(round(len(every) ** 0.5))
        elif self.pair_weights is not None:
            arrays.append(self.pair_weights)
        return (tuple(jnp.asarray(array[piece]) for array in arrays) for piece in pieces)

    def mixed_by(self, law: theory.Batches) -> "Table":
        """The same pairs, each as likely as such batches have it: counted, not calculated."""
        weights = np.zeros(len(self.features))
        for chance, batch in batches(self, law):
            np.add.at(weights, [pair for pair, _ in batch], chance)
        return self._replace(pair_weights=weights)

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


def partners_of(law: theory.Batches) -> list[tuple[int, ...]]:
    """With which row's original each row of a batch may be mixed, all equally likely."""
    rows = range(law.size)
    known = {
        "permuted": list(itertools.permutations(rows)),
        "flipped": [tuple(reversed(rows))],
        "rolled": [tuple(rows[k - 1] for k in rows)],
    }
    return known[law.partners]


def drawn(table: Table, law: theory.Batches) -> list[tuple[int, ...]]:
    """Every batch, as the pairs of its rows; all equally likely."""
    every = range(len(table.features))
    if not law.mixes_itself:
        return list(itertools.product(every, repeat=law.size) if law.replacement else
                    itertools.permutations(every, law.size))  # fmt: skip
    num_originals = round(len(every) ** 0.5)
    return [
        tuple(originals[k] * num_originals + originals[partner[k]] for k in range(law.size))
        for originals in itertools.permutations(range(num_originals), law.size)
        for partner in partners_of(law)
    ]


def batches(table: Table, law: theory.Batches) -> Iterator[tuple[float, list[tuple[int, int]]]]:
    """Every batch, as pairs and nodes of its rows, with its probability."""
    num_nodes, chances = table.features.shape[1], collections.Counter(drawn(table, law))
    of_pairs = np.ones(len(table.features)) if table.pair_weights is None else table.pair_weights
    for chosen, count in chances.items():
        chance = count / chances.total()
        if law.replacement:
            chance = float(np.prod(of_pairs[list(chosen)] / of_pairs.sum()))
        for nodes in itertools.product(range(num_nodes), repeat=1 if law.shared_ratio else law.size):
            weight = chance * float(np.prod(table.node_weights[list(nodes)]))
            yield weight, list(zip(chosen, nodes * law.size if law.shared_ratio else nodes, strict=True))


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
