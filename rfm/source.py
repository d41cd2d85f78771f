"""What a batch is drawn from: pairs of originals mixed afresh, or rows of a table.

Training draws from it, one key a step; theory enumerates it, all pairs at all ratios of the quadrature, one after
another or, where a batch is mixed with itself, one original at a time.
"""

import math
from abc import abstractmethod
from collections.abc import Iterator
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

import theory
from rfm.precision import warn
from theory.batches.rows import Block
from theory.checks import check_type
from theory.linalg import on_device

BLOCK_BYTES = 2**26
"""Of the features of pairs that are enumerated at a time."""
STABILITY_WORK = 2e9
"""Rows times modes squared, above which the largest stable step is that of some of the pairs."""
STABILITY_BYTES = 2**27
"""Of the rows, likewise."""
FEWEST_ORIGINALS = 16
"""That stand for all where batches are mixed with themselves."""
GOLDEN_RATIO = 0.6180339887498949

Rows = tuple[Float[Array, "rows features"], Float[Array, "rows columns"]]


class Source(eqx.Module):
    """What a batch is drawn from.

    Attributes:
        called: what is drawn, in the plural.
        members_called: what an epoch goes through, likewise.
    """

    called: eqx.AbstractClassVar[str]
    members_called: eqx.AbstractClassVar[str]

    @property
    @abstractmethod
    def num_pairs(self) -> int:
        """How many equally likely pairs (or rows of a table) there are."""

    @property
    @abstractmethod
    def num_members(self) -> int:
        """What an epoch goes through: originals, or rows of a table."""

    @property
    @abstractmethod
    def node_weights(self) -> Float[Array, "nodes"]:
        """Probabilities of the ratios."""

    @abstractmethod
    def draw(self, key: PRNGKeyArray, batches: theory.Batches, members: Int[Array, "rows"] | None = None) -> Rows:
        """A batch: features, and the labels with the clean labels beside them, if they are known.

        Of those members, in that order, where an epoch says which they are.
        """

    @abstractmethod
    def pairs(self, index: Int[np.ndarray, "pairs"]) -> Block:
        """Some of the pairs, at all ratios; with their weights, unless all weigh the same."""

    def blocks(self, batches: theory.Batches, most: int | None = None) -> Iterator[Block]:
        """All pairs, or so many of them, block by block, as a law of batches asks for them."""
        index = np.arange(self.num_pairs)
        if most is not None and most < self.num_pairs:
            index = spread_evenly(most, self.num_pairs)
        probe = self.pairs(index[:1])[0]
        length = max(1, BLOCK_BYTES // (probe.size * probe.dtype.itemsize))
        for first in range(0, len(index), length):
            yield self.pairs(index[first : first + length])

    def check(self, batches: theory.Batches) -> None:
        """Raises unless it is a way to draw batches, and there are as many different rows as it asks for."""
        check_type("batches", batches, theory.Batches, "rfm.Batches(size)")
        by_members = batches.mixes_itself or batches.epochs
        there, what = (self.num_members, self.members_called) if by_members else (self.num_pairs, self.called)
        if not batches.replacement and batches.size > there:
            instead = "" if by_members else ", or replacement=True"
            raise ValueError(
                f"batches: {batches.size} different {what} asked for, but there are only {there}; pass at most that "
                f"many{instead}"
            )

    def largest_stable_step(self, spectrum: theory.Spectrum, batches: theory.Batches, ridge: float) -> float:
        """The step size from which on the variance of training on such batches grows without bound.

        Exact as long as rows times modes squared stay below `STABILITY_WORK`; beyond that some of the pairs, or of the
        originals, stand for all.

        Warns:
            PrecisionWarning: only some of the pairs were looked at.
        """
        nodes, rank = len(self.node_weights), max(1, spectrum.rank)
        most = max(1, int(min(STABILITY_WORK / (nodes * rank**2), STABILITY_BYTES / (8 * nodes * rank))))
        whole, what, share, num_pairs = self.num_pairs, "pairs", "ten percent", self.num_pairs
        if batches.mixes_itself:
            # Three matrices an original, at each node where rows share it: some six products of matrices.
            several = nodes if batches.shared_ratio else 1
            held = min(STABILITY_WORK / (several * rank**3), STABILITY_BYTES / (6 * several * rank**2))
            most, whole, what = max(FEWEST_ORIGINALS, min(math.isqrt(most), int(held))), self.num_members, "originals"
            share, num_pairs = "a third", self.num_members**2
        if most < whole:
            warn(f"the largest stable step is estimated from {most} of {whole} {what}; it may be {share} off")
        blocks = self.blocks(batches, most)
        return theory.batches.largest_stable_step_of_rows(
            spectrum, blocks, self.node_weights, batches, num_pairs=num_pairs, ridge=ridge
        )


class TableRows(Source):
    """The rows of a `Problem`."""

    features: Float[Array, "samples features"]
    columns: Float[Array, "samples columns"]
    num_targets: int = eqx.field(static=True)
    called: ClassVar[str] = "rows"
    members_called: ClassVar[str] = "rows"

    @property
    def num_pairs(self) -> int:
        return self.features.shape[0]

    @property
    def num_members(self) -> int:
        return self.features.shape[0]

    @property
    def node_weights(self) -> Float[Array, "nodes"]:
        return on_device(np.ones(1, self.features.dtype))

    def draw(self, key: PRNGKeyArray, batches: theory.Batches, members: Int[Array, "rows"] | None = None) -> Rows:
        rows = draw_pairs(key, batches, self.num_pairs) if members is None else members
        return self.features[rows], self.columns[rows]

    def check(self, batches: theory.Batches) -> None:
        super().check(batches)
        if batches.mixes_itself:
            raise ValueError(
                f"batches: partners={batches.partners!r} mix the originals of a batch, but the problem's rows are what "
                'they are; pass partners="independent", or the problem of rfm.Mixup(..., pairs="expected")'
            )

    def pairs(self, index: Int[np.ndarray, "pairs"]) -> Block:
        features, columns = (np.asarray(array)[index][:, None, :] for array in (self.features, self.columns))
        return on_device(features), on_device(columns[:, :, : self.num_targets])


def draw_pairs(key: PRNGKeyArray, batches: theory.Batches, num_pairs: int) -> Int[Array, "rows"]:
    """B of the pairs, uniformly: independent ones, or all different."""
    if batches.replacement:
        return jax.random.randint(key, (batches.size,), 0, num_pairs)
    if batches.size**2 > num_pairs:
        return jax.random.permutation(key, num_pairs)[: batches.size]

    # Drawn again until all differ, which a small batch mostly does at once: uniform over all different ones.
    def clashes(state: tuple[PRNGKeyArray, Array]) -> Array:
        ordered = jnp.sort(state[1])
        return jnp.any(ordered[1:] == ordered[:-1])

    def again(state: tuple[PRNGKeyArray, Array]) -> tuple[PRNGKeyArray, Array]:
        now, later = jax.random.split(state[0])
        return later, jax.random.randint(now, (batches.size,), 0, num_pairs)

    return jax.lax.while_loop(clashes, again, again((key, jnp.zeros(batches.size, int))))[1]


def draw_partners(key: PRNGKeyArray, batches: theory.Batches, members: Int[Array, "rows"]) -> Int[Array, "rows"]:
    """With whom each of a batch's originals is mixed: with those of the same batch, in another order."""
    if batches.partners == "permuted":
        return jax.random.permutation(key, members)
    return members[::-1] if batches.partners == "flipped" else jnp.roll(members, 1)


EPOCHS = 2**32 - 1
"""Parts the keys of epochs from those of steps, of which no run has so many."""


def members_at(key: PRNGKeyArray, step: Array, batches: theory.Batches, num_members: int) -> Int[Array, "rows"] | None:
    """What the batch of a run's step is made of, where it goes by epochs; None where every step draws for itself.

    An epoch has as many batches as are full: the rest of its random order is dropped.
    """
    if not batches.epochs:
        return None
    steps = num_members // batches.size
    order = jax.random.permutation(jax.random.fold_in(jax.random.fold_in(key, EPOCHS), step // steps), num_members)
    return jax.lax.dynamic_slice(order, (step % steps * batches.size,), (batches.size,))


def spread_evenly(most: int, num_pairs: int) -> Int[np.ndarray, "pairs"]:
    """So many indices of pairs, or fewer, ascending.

    Steps of the golden ratio spread evenly over both originals of a pair, whatever their number.
    """
    return np.unique((np.arange(most) * GOLDEN_RATIO % 1 * num_pairs).astype(int))
