"""The probability of each ordered pair of a sample: W_ij >= 0, of sum one.

Mixup has W = 1 / n^2. A sample mixed with itself is itself, at every ratio; so plain training is the law W = I / n, and
where only a share q of the rows is mixed, it is q W + (1 - q) I / n. The n^2 weights are never held at once.
"""

from abc import abstractmethod
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, Shaped

from theory.linalg import on_device

Indices = Int[Array, "_"]
Affinity = Callable[[Indices, Indices], Array]
"""Of each of the first samples to each of the second: an array of as many rows and columns, traceable by JAX."""

CHUNK = 2**22
"""Weights that are held at a time."""
EVEN = 16
"""Weights that differ by so many roundings are the same."""


class PairWeights(eqx.Module):
    """W for one sample: the probability of each ordered pair."""

    @property
    @abstractmethod
    def num_samples(self) -> int:
        """The number of samples, n."""

    @property
    @abstractmethod
    def num_pairs(self) -> int:
        """How many pairs have a weight that is not zero."""

    @property
    @abstractmethod
    def is_even(self) -> bool:
        """Whether those all have the same."""

    @abstractmethod
    def block(self, first: Indices, second: Indices) -> Float[Array, "firsts seconds"]:
        """W of each of the first samples and each of the second."""

    @abstractmethod
    def row_sums(self) -> Float[Array, "samples"]:
        """How often each sample is the first of a pair."""

    def column_sums(self) -> Float[Array, "samples"]:
        """How often each is the second."""
        (sums,) = over_chunks(self.num_samples, lambda some: (_column_sums(self, some),))
        return on_device(sums)

    def draw(self, key: PRNGKeyArray) -> tuple[Int[Array, ""], Int[Array, ""]]:
        """A pair."""
        first, second = jax.random.uniform(key, (2,))
        i = _inverse(self.row_sums(), first)
        return i, _inverse(self.block(i[None], jnp.arange(self.num_samples))[0], second)

    @abstractmethod
    def listed(self, place: Int[Array, ""]) -> tuple[Int[Array, ""], Int[Array, ""]]:
        """The pair of that place, of those whose weight is not zero."""

    def rows(self, function: Callable[[Array], tuple], places: Shaped[Array, "rows"]) -> tuple:
        """What a function of one place, or key, gives for all, so many at once that their weights fit in memory."""
        return jax.lax.map(function, places, batch_size=max(1, CHUNK // self.num_samples))

    def times(self, values: Float[Array, "samples columns"]) -> Float[Array, "samples columns"]:
        """W values."""
        (product,) = over_chunks(self.num_samples, lambda some: (_times(self, some, values),))
        return on_device(product)


class EvenPairs(PairWeights):
    """All pairs equally likely, a sample with itself included: W = 1 / n^2.

    >>> EvenPairs(3).block(jnp.arange(1), jnp.arange(3)).round(3).tolist()
    [[0.111, 0.111, 0.111]]
    """

    number: int = eqx.field(static=True)

    @property
    def num_samples(self) -> int:
        return self.number

    @property
    def num_pairs(self) -> int:
        return self.num_samples**2

    @property
    def is_even(self) -> bool:
        return True

    def block(self, first: Indices, second: Indices) -> Float[Array, "firsts seconds"]:
        return jnp.full((len(first), len(second)), 1 / self.num_samples**2)

    def row_sums(self) -> Float[Array, "samples"]:
        return jnp.full(self.num_samples, 1 / self.num_samples)

    def column_sums(self) -> Float[Array, "samples"]:
        return self.row_sums()

    def draw(self, key: PRNGKeyArray) -> tuple[Int[Array, ""], Int[Array, ""]]:
        first, second = jax.random.randint(key, (2,), 0, self.num_samples)
        return first, second

    def listed(self, place: Int[Array, ""]) -> tuple[Int[Array, ""], Int[Array, ""]]:
        return place // self.num_samples, place % self.num_samples

    def rows(self, function: Callable[[Array], tuple], places: Shaped[Array, "rows"]) -> tuple:
        return jax.vmap(function)(places)

    def times(self, values: Float[Array, "samples columns"]) -> Float[Array, "samples columns"]:
        mean = np.mean(np.asarray(values), axis=0, keepdims=True)
        return on_device(np.broadcast_to(mean / self.num_samples, values.shape))


class AffinityWeights(PairWeights):
    """Weights in proportion to an affinity, times a scale of the first sample; what is left of 1 is each by itself.

    Attributes:
        affinity: a_ij.
        scale: of the first sample.
        share: q, of rows that are mixed.
        sums: of the rows of W.
        places: where the pairs of each first sample begin, of those that have a weight.
        number: of such pairs.
        even: whether those all have the same.
    """

    affinity: Affinity
    scale: Float[Array, "samples"]
    share: Float[Array, ""]
    sums: Float[Array, "samples"]
    places: Int[Array, "samples"]
    number: int = eqx.field(static=True)
    even: bool = eqx.field(static=True)

    @staticmethod
    def of(affinity: Affinity, scale: Float[np.ndarray, "samples"], share: float) -> "AffinityWeights":
        """Looks once at all weights."""
        dtype = jnp.result_type(float)
        scaled, mixed = on_device(scale, dtype), on_device(share, dtype)
        sums, counts, least, most = over_chunks(len(scale), lambda some: _facts(affinity, scaled, mixed, some))
        even = most.max() - least.min() <= EVEN * float(jnp.finfo(dtype).eps) * most.max()
        places, number = np.cumsum(counts) - counts, int(np.sum(counts))
        return AffinityWeights(affinity, scaled, mixed, on_device(sums), on_device(places), number, bool(even))

    @property
    def num_samples(self) -> int:
        return len(self.scale)

    @property
    def num_pairs(self) -> int:
        return self.number

    @property
    def is_even(self) -> bool:
        return self.even

    def block(self, first: Indices, second: Indices) -> Float[Array, "firsts seconds"]:
        return _block(self.affinity, self.scale, self.share, first, second)

    def row_sums(self) -> Float[Array, "samples"]:
        return self.sums

    def listed(self, place: Int[Array, ""]) -> tuple[Int[Array, ""], Int[Array, ""]]:
        i = jnp.searchsorted(self.places, place, side="right") - 1
        there = self.block(i[None], jnp.arange(self.num_samples))[0] > 0
        return i, jnp.searchsorted(jnp.cumsum(there), place - self.places[i], side="right")


def over_chunks(
    num_samples: int, function: Callable[[Indices], tuple[Array | np.ndarray, ...]], most: int = CHUNK
) -> tuple[np.ndarray, ...]:
    """Arrays of one row a sample, made of so many samples at a time that no more of their pairs are held than that."""
    length = min(num_samples, max(1, most // num_samples))
    starts = range(0, num_samples, length)
    # The last chunk is filled up, or it would compile again.
    parts = [function(on_device(np.minimum(np.arange(i, i + length), num_samples - 1))) for i in starts]
    return tuple(np.concatenate(list(map(np.asarray, part)))[:num_samples] for part in zip(*parts, strict=True))


@eqx.filter_jit
def _block(
    affinity: Affinity, scale: Float[Array, "samples"], share: Float[Array, ""], first: Indices, second: Indices
) -> Float[Array, "firsts seconds"]:
    alone = jnp.where(first[:, None] == second[None, :], (1 - share) / len(scale), 0)
    return share * affinity(first, second) * scale[first][:, None] + alone


@eqx.filter_jit
def _facts(
    affinity: Affinity, scale: Float[Array, "samples"], share: Float[Array, ""], first: Indices
) -> tuple[Array, Array, Array, Array]:
    """Of each row of W: its sum, how many weights are not zero, the least of them and the largest."""
    rows = _block(affinity, scale, share, first, jnp.arange(len(scale)))
    there = rows > 0
    least = jnp.min(rows, axis=1, where=there, initial=jnp.inf)
    return jnp.sum(rows, axis=1), jnp.sum(there, axis=1), least, jnp.max(rows, axis=1)


@eqx.filter_jit
def _column_sums(weights: PairWeights, second: Indices) -> Float[Array, "seconds"]:
    return jnp.sum(weights.block(jnp.arange(weights.num_samples), second), axis=0)


@eqx.filter_jit
def _times(weights: PairWeights, first: Indices, values: Float[Array, "samples columns"]) -> Array:
    return weights.block(first, jnp.arange(weights.num_samples)).astype(values.dtype) @ values


def _inverse(weights: Float[Array, "samples"], uniform: Float[Array, ""]) -> Int[Array, ""]:
    """The index at which the sum of weights passes that share of all; never one of weight zero."""
    total = jnp.cumsum(weights)
    passed = jnp.searchsorted(total, uniform * total[-1], side="right")
    return jnp.minimum(passed, jnp.searchsorted(total, total[-1], side="left"))
