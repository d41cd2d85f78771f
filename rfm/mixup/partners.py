"""Who is mixed with whom: a `Partners` is the law, and makes of one sample the weights W of its pairs.

Most laws go row by row: each sample is as often the first of a pair, and its partner is drawn in proportion to an
affinity of the two,

    W_ij = a_ij / (n sum_k a_ik).
"""

from abc import abstractmethod

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from rfm.mixup.ratios import written
from rfm.mixup.weights import Affinity, AffinityWeights, EvenPairs, Indices, PairWeights, over_chunks
from rfm.sample import Sample
from theory.checks import as_floating, check_count, check_positive, check_shape, described, is_number, is_traced
from theory.linalg import as_matrix, on_device

SUM_TOLERANCE = 1e-5
"""How far from one the sum of given weights may be: what single precision leaves of many."""


class Partners(eqx.Module):
    """With whom each sample may be mixed. One of your own says how affine two samples are."""

    @abstractmethod
    def affinity(self, sample: Sample) -> Affinity:
        """a_ij >= 0, of samples by their indices: an array of one row a first, one column a second.

        Raises:
            ValueError: a sample of which there are no such pairs.
        """

    def weights(self, sample: Sample, share: float = 1.0) -> PairWeights:
        """W, for that share of mixed rows.

        Raises:
            ValueError: a sample that has no partner.

        >>> SameClass().weights(Sample(jnp.eye(2), jnp.zeros(2), None)).num_pairs
        4
        """
        affinity, n = self.affinity(sample), len(sample.inputs)
        everyone = on_device(np.arange(n))
        (total,) = over_chunks(n, lambda some: (_row_sums(affinity, some, everyone),))
        if not np.all((total > 0) & np.isfinite(total)):
            raise ValueError(
                f"partners: sample {int(np.argmin(total > 0))} has nobody to be mixed with under {self}; leave it out"
            )
        return AffinityWeights.of(affinity, 1 / (n * total), share)


class AnyPartner(Partners):
    """Every sample, itself included."""

    def affinity(self, sample: Sample) -> Affinity:
        return _everyone

    def weights(self, sample: Sample, share: float = 1.0) -> PairWeights:
        if share == 1:
            return EvenPairs(len(sample.inputs))
        return super().weights(sample, share)

    def __str__(self) -> str:
        return "any"


class OtherSamples(Partners):
    """Every sample but itself.

    >>> weights = OtherSamples().weights(Sample(jnp.eye(3), jnp.zeros(3), None))
    >>> weights.num_pairs, weights.block(jnp.arange(1), jnp.arange(3)).round(3).tolist()
    (6, [[0.0, 0.167, 0.167]])
    """

    def affinity(self, sample: Sample) -> Affinity:
        return _others

    def __str__(self) -> str:
        return "others"


class SimilarLabels(Partners):
    """C-Mixup: a_ij = exp(-|y_i - y_j|^2 / (2 h^2)), itself included (Yao et al. 2022, `yao2022cmixup`).

    For large h it is plain Mixup. For small h samples are mixed with those of the same label alone, which is plain
    training where labels are distinct.

    Args:
        bandwidth: h; unit: that of the labels. Of several targets, |y_i - y_j| is the Euclidean distance.

    Raises:
        ValueError: a bandwidth that is not a positive number.

    >>> weights = SimilarLabels(bandwidth=1.0).weights(Sample(jnp.eye(2), jnp.asarray([0.0, 1.0]), None))
    >>> weights.block(jnp.arange(1), jnp.arange(2)).round(3).tolist()
    [[0.311, 0.189]]
    """

    bandwidth: float | Float[Array, ""] = eqx.field(converter=lambda value: _checked_bandwidth(value))

    def affinity(self, sample: Sample) -> Affinity:
        labels = as_matrix(sample.labels)
        return eqx.Partial(_similarity, labels, jnp.asarray(self.bandwidth, labels.dtype))

    def __str__(self) -> str:
        return f"similar labels (h={written(self.bandwidth)})"


class NearestInputs(Partners):
    """One of the k nearest other samples, each as likely, by the Euclidean distance of the inputs.

    Args:
        number: k, of neighbours.

    >>> inputs = jnp.asarray([[0.0], [1.0], [3.0]])
    >>> weights = NearestInputs(1).weights(Sample(inputs, jnp.zeros(3), None))
    >>> (3 * weights.block(jnp.arange(3), jnp.arange(3))).astype(int).tolist()
    [[0, 1, 0], [1, 0, 0], [0, 1, 0]]
    """

    number: int = eqx.field(static=True)

    def __check_init__(self) -> None:
        check_count("number", self.number)

    def affinity(self, sample: Sample) -> Affinity:
        from sklearn.neighbors import NearestNeighbors  # its import takes a second

        others = len(sample.inputs) - 1
        if self.number > others:
            raise ValueError(f"partners: {self.number} nearest asked for, but there are {others} others; pass fewer")
        found = NearestNeighbors(n_neighbors=self.number).fit(np.asarray(sample.inputs))
        return eqx.Partial(_nearness, on_device(found.kneighbors(return_distance=False)))

    def __str__(self) -> str:
        return f"{self.number} nearest inputs"


class SameClass(Partners):
    """Every sample of the same label, itself included.

    >>> weights = SameClass().weights(Sample(jnp.eye(4), jnp.asarray([0.0, 1.0, 0.0, 1.0]), None))
    >>> weights.block(jnp.arange(1), jnp.arange(4)).tolist()
    [[0.125, 0.0, 0.125, 0.0]]
    """

    def affinity(self, sample: Sample) -> Affinity:
        classes, counts = _classes(sample)
        if counts.min() < 2:
            member = int(np.argmax(counts[classes] < 2))
            raise ValueError(
                f"partners: sample {member} is the only one of its class, which has nobody to be mixed with; pass two "
                "or more of each class, or rfm.SimilarLabels(bandwidth) for labels that are numbers"
            )
        return eqx.Partial(_sameness, on_device(classes))

    def __str__(self) -> str:
        return "same class"


class OtherClass(Partners):
    """Every sample of another label.

    >>> weights = OtherClass().weights(Sample(jnp.eye(3), jnp.asarray([0.0, 1.0, 1.0]), None))
    >>> weights.block(jnp.arange(3), jnp.arange(3)).round(3).tolist()
    [[0.0, 0.167, 0.167], [0.333, 0.0, 0.0], [0.333, 0.0, 0.0]]
    """

    def affinity(self, sample: Sample) -> Affinity:
        classes, counts = _classes(sample)
        if len(counts) < 2:
            raise ValueError("partners: there is one class only, and none to mix it with; pass another law")
        return eqx.Partial(_difference, on_device(classes))

    def __str__(self) -> str:
        return "other class"


class GivenWeights(Partners):
    """Weights of one's own. `Mixup` takes the matrix itself.

    Args:
        matrix: W_ij >= 0, of sum one: the probability that i is the first of a pair and j its partner.

    Raises:
        ValueError: negative weights, or those that do not sum to one; of another number of samples, or of one in no
            pair.

    >>> weights = GivenWeights(jnp.asarray([[0.5, 0.5], [0.0, 0.0]])).weights(Sample(jnp.eye(2), jnp.zeros(2), None))
    >>> weights.num_pairs, weights.is_even
    (2, True)
    """

    matrix: Float[Array, "samples samples"]

    def __init__(self, matrix: ArrayLike) -> None:
        self.matrix = as_floating("partners", matrix)
        check_shape("partners", self.matrix, ndim=2)
        there = np.asarray(self.matrix)
        if there.shape[0] != there.shape[1]:
            raise ValueError(f"partners: weights of shape {there.shape}; pass one row and one column a sample")
        if not np.all(there >= 0):  # NaN is not
            place = tuple(map(int, np.argwhere(~(there >= 0))[0]))
            raise ValueError(f"partners: the weight of pair {place} is {there[place]}; pass weights of at least 0")
        if not abs(there.sum() - 1) <= SUM_TOLERANCE:
            raise ValueError(f"partners: the weights sum to {there.sum():.7g}; divide them by that, to sum to one")
        alone = ~(there.any(axis=0) | there.any(axis=1))
        if alone.any():
            raise ValueError(f"partners: sample {int(alone.argmax())} is in no pair; leave it out, or give it a weight")

    def affinity(self, sample: Sample) -> Affinity:
        return eqx.Partial(_given, self.matrix)

    def weights(self, sample: Sample, share: float = 1.0) -> PairWeights:
        given, n = len(self.matrix), len(sample.inputs)
        if given != n:
            raise ValueError(
                f"partners: weights of {given} samples, but there are {n}; pass one row and column a sample"
            )
        total = float(np.asarray(self.matrix, float).sum())
        return AffinityWeights.of(self.affinity(sample), np.full(n, 1 / total), share)

    def __str__(self) -> str:
        return f"weights of {len(self.matrix)} samples"


def partners_of(partners: Partners | ArrayLike | None) -> Partners:
    """What `Mixup`'s argument stands for."""
    if partners is None:
        return AnyPartner()
    if isinstance(partners, Partners):
        return partners
    if isinstance(partners, str | type) or not np.ndim(partners):
        raise TypeError(
            "partners: pass such as rfm.SimilarLabels(bandwidth) or rfm.mixup.OtherSamples(), or a matrix of weights, "
            f"got {described(partners)}"
        )
    return GivenWeights(partners)


def _checked_bandwidth(bandwidth: float | Array) -> float | Array:
    if not is_traced(bandwidth) and is_number(bandwidth):
        if bandwidth == 0:
            raise ValueError(
                "bandwidth: 0 mixes samples of the same label alone; pass rfm.mixup.SameClass() for that, or rfm.ERM() "
                "where labels are distinct"
            )
        if bandwidth == np.inf:
            raise ValueError("bandwidth: infinite is plain Mixup; leave partners out")
    return check_positive("bandwidth", bandwidth)


def _classes(sample: Sample) -> tuple[Int[np.ndarray, "samples"], Int[np.ndarray, "classes"]]:
    """The class of each sample, and how many each class has: those of equal labels."""
    _, classes, counts = np.unique(
        np.asarray(as_matrix(sample.labels)), axis=0, return_inverse=True, return_counts=True
    )
    return classes.ravel(), counts


def _everyone(first: Indices, second: Indices) -> Array:
    return jnp.ones((len(first), len(second)))


def _others(first: Indices, second: Indices) -> Array:
    return (first[:, None] != second[None, :]).astype(jnp.result_type(float))


def _similarity(
    labels: Float[Array, "samples targets"], bandwidth: Float[Array, ""], first: Indices, second: Indices
) -> Array:
    apart = labels[first][:, None, :] - labels[second][None, :, :]
    scaled = jnp.where(apart == 0, 0, apart / bandwidth)  # where the bandwidth is below the least number as well
    return jnp.exp(-jnp.sum(scaled**2, axis=2) / 2)


def _nearness(neighbours: Int[Array, "samples number"], first: Indices, second: Indices) -> Array:
    return jnp.any(neighbours[first][:, None, :] == second[None, :, None], axis=2).astype(jnp.result_type(float))


def _sameness(classes: Int[Array, "samples"], first: Indices, second: Indices) -> Array:
    return (classes[first][:, None] == classes[second][None, :]).astype(jnp.result_type(float))


def _difference(classes: Int[Array, "samples"], first: Indices, second: Indices) -> Array:
    return (classes[first][:, None] != classes[second][None, :]).astype(jnp.result_type(float))


def _given(matrix: Float[Array, "samples samples"], first: Indices, second: Indices) -> Array:
    return matrix[first[:, None], second[None, :]]


@eqx.filter_jit
def _row_sums(affinity: Affinity, first: Indices, everyone: Indices) -> Float[Array, "firsts"]:
    return jnp.sum(affinity(first, everyone), axis=1)
