"""What a batch is drawn from: pairs of originals mixed afresh, or rows of a table.

Training draws from it, one key a step; theory enumerates it, all equally likely pairs at all ratios of the quadrature.
"""

from abc import abstractmethod
from collections.abc import Iterator

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

import theory
from rfm.checks import check_count
from rfm.expected import ExpectedProblem
from rfm.features import FeatureMap
from rfm.mixup import Mixup
from rfm.problem import Problem
from rfm.ratios import RatioRule, spread_evenly
from rfm.tasks import Sample
from theory.checks import check_untraced

BLOCK_BYTES = 2**26
"""Of the features of pairs that are enumerated at a time."""

Rows = tuple[Float[Array, "rows features"], Float[Array, "rows columns"]]


class Source(eqx.Module):
    """What a batch is drawn from."""

    @property
    @abstractmethod
    def num_pairs(self) -> int:
        """How many equally likely pairs (or rows of a table) there are."""

    @property
    @abstractmethod
    def node_weights(self) -> Float[Array, "nodes"]:
        """Probabilities of the ratios."""

    @abstractmethod
    def draw(self, key: PRNGKeyArray, law: theory.BatchLaw) -> Rows:
        """A batch: features, and the labels with the clean labels beside them, if they are known."""

    @abstractmethod
    def pairs(
        self, index: Int[np.ndarray, "pairs"]
    ) -> tuple[Float[Array, "pairs nodes features"], Float[Array, "pairs nodes targets"]]:
        """Some of the pairs, at all ratios."""

    def blocks(self, most: int | None = None) -> Iterator[tuple[Array, Array]]:
        """All pairs, or so many of them, block by block."""
        index = np.arange(self.num_pairs)
        if most is not None and most < self.num_pairs:
            index = spread_evenly(most, self.num_pairs)
        probe = self.pairs(index[:1])[0]
        length = max(1, BLOCK_BYTES // (probe.size * probe.dtype.itemsize))
        for first in range(0, len(index), length):
            yield self.pairs(index[first : first + length])


class TableRows(Source):
    """The rows of a `Problem`."""

    features: Float[Array, "samples features"]
    columns: Float[Array, "samples columns"]
    num_targets: int = eqx.field(static=True)

    @property
    def num_pairs(self) -> int:
        return self.features.shape[0]

    @property
    def node_weights(self) -> Float[Array, "nodes"]:
        return jnp.ones(1, self.features.dtype)

    def draw(self, key: PRNGKeyArray, law: theory.BatchLaw) -> Rows:
        rows = draw_pairs(key, law, self.num_pairs)
        return self.features[rows], self.columns[rows]

    def pairs(self, index: Int[np.ndarray, "pairs"]) -> tuple[Array, Array]:
        return self.features[index][:, None, :], self.columns[index][:, None, : self.num_targets]


class FreshPairs(Source):
    """Pairs of originals, mixed at ratios of their law."""

    sample: Sample
    labels: Float[Array, "samples targets"]
    features: FeatureMap
    law: Mixup
    ratios: RatioRule

    @property
    def num_pairs(self) -> int:
        return self.labels.shape[0] ** 2

    @property
    def node_weights(self) -> Float[Array, "nodes"]:
        return jnp.asarray(self.ratios.weights, self.sample.inputs.dtype)

    def draw(self, key: PRNGKeyArray, law: theory.BatchLaw) -> Rows:
        pair_key, ratio_key = jax.random.split(key)
        pairs = draw_pairs(pair_key, law, self.num_pairs)
        lam = self._draw_ratios(ratio_key, 1 if law.shared_lam else law.size)[:, None]
        first, second = pairs // self.labels.shape[0], pairs % self.labels.shape[0]
        inputs = lam * self.sample.inputs[first] + (1 - lam) * self.sample.inputs[second]
        labels = lam * self.labels[first] + (1 - lam) * self.labels[second]
        if self.sample.truth is not None:
            clean = self.sample.truth(inputs)
            labels = jnp.concatenate([labels, clean.reshape(law.size, -1)], axis=1)
        return self.features(inputs), labels

    def _draw_ratios(self, key: PRNGKeyArray, number: int) -> Float[Array, "ratios"]:
        dtype = self.sample.inputs.dtype
        if self.law.alpha is None:
            return jnp.full(number, jnp.asarray(self.law.lam, dtype))
        if self.law.alpha == 1:  # draws of a Beta distribution are a hundred times slower
            return jax.random.uniform(key, (number,), dtype)
        return jax.random.beta(key, self.law.alpha, self.law.alpha, (number,), dtype)

    def pairs(self, index: Int[np.ndarray, "pairs"]) -> tuple[Array, Array]:
        first, second = index // self.labels.shape[0], index % self.labels.shape[0]

        # By numpy, which need not compile for each number of pairs.
        def mix(values: Array) -> np.ndarray:
            there = np.asarray(values)
            lam = self.ratios.lam.astype(there.dtype)[None, :, None]
            return lam * there[first][:, None, :] + (1 - lam) * there[second][:, None, :]

        inputs = mix(self.sample.inputs)
        phi = self.features(jnp.asarray(inputs.reshape(-1, inputs.shape[2])))
        return phi.reshape(*inputs.shape[:2], -1), jnp.asarray(mix(self.labels))


def source_of(problem: Problem | ExpectedProblem) -> Source:
    """What a batch of the problem is drawn from."""
    check_untraced("problem", problem)
    if isinstance(problem, Problem):
        known = [problem.labels] if problem.clean_labels is None else [problem.labels, problem.clean_labels]
        return TableRows(problem.features, jnp.concatenate(known, axis=1), problem.labels.shape[1])
    if isinstance(problem, ExpectedProblem):
        labels = problem.sample.labels
        return FreshPairs(
            problem.sample, labels.reshape(len(labels), -1), problem.features, problem.law, problem.ratios
        )
    raise TypeError(
        f"problem: pass an rfm.Problem or an rfm.ExpectedProblem, got {type(problem).__name__}; a batch is drawn from "
        "rows that can be made one by one"
    )


def batch_law(source: Source, batch_size: int, shared_lam: bool, replace: bool) -> theory.BatchLaw:
    """How batches are drawn.

    Raises:
        ValueError: a size that is not a positive whole number, or more different pairs than there are.
    """
    check_count("batch_size", batch_size)
    law = theory.BatchLaw(batch_size, shared_lam, replace)
    if not replace and batch_size > source.num_pairs:
        what = "rows" if isinstance(source, TableRows) else "pairs"
        raise ValueError(
            f"batch_size: {batch_size} different {what} asked for, but there are only {source.num_pairs}; pass at most "
            "that many, or replace=True"
        )
    return law


def draw_pairs(key: PRNGKeyArray, law: theory.BatchLaw, num_pairs: int) -> Int[Array, "rows"]:
    """B of the pairs, uniformly: independent ones, or all different."""
    if law.replace:
        return jax.random.randint(key, (law.size,), 0, num_pairs)
    if law.size**2 > num_pairs:
        return jax.random.permutation(key, num_pairs)[: law.size]

    # Drawn again until all differ, which a small batch mostly does at once: uniform over all different ones.
    def clashes(state: tuple[PRNGKeyArray, Array]) -> Array:
        ordered = jnp.sort(state[1])
        return jnp.any(ordered[1:] == ordered[:-1])

    def again(state: tuple[PRNGKeyArray, Array]) -> tuple[PRNGKeyArray, Array]:
        now, later = jax.random.split(state[0])
        return later, jax.random.randint(now, (law.size,), 0, num_pairs)

    return jax.lax.while_loop(clashes, again, again((key, jnp.zeros(law.size, int))))[1]
