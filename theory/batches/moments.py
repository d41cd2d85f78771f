"""What a batch of rows adds to its mean: covariances over batches, for every law by which rows may be drawn.

A step of mini-batch training needs the mean of B rows' products phi phiᵀ and phi e, of the error e = y - theta* . phi
that is left at the optimum. How much these means vary from batch to batch is a matter of sampling theory alone
(`theory.batches.sampling`), and the law enters nowhere else.

Everything is kept in the coordinates of the modes, where the mean of the products is diagonal. p modes have
p (p + 1) / 2 products phi_k phi_l, so the covariances of all of them are of the order p^4 numbers. The diagonal
approximation keeps, of the second moment of the weights, the entries (k, k) alone, and of the covariances p^2 numbers.

Source: derived here.
"""

from collections.abc import Iterable, Iterator

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from theory import linalg
from theory.batches.sampling import Batches
from theory.checks import check_not_negative, check_untraced
from theory.noise.labels import check_probabilities
from theory.spectrum import Spectrum

Modes = Int[np.ndarray, "entries"]
Block = tuple[Float[Array, "pairs nodes features"], Float[Array, "pairs nodes targets"]]

MAX_EXACT_MODES = 100
"""The exact moments of 100 modes are a matrix of 5050 x 5050 entries, 200 MB, of which
some seven are alive at once; their size grows as the fourth power."""

CHUNK_BYTES = 2**26
"""Products of features are formed for so many rows at once that they stay below this."""

SAFETY = 10
"""Roundings that a sum over features may lose beside the largest of them."""


class BatchMoments(eqx.Module):
    """Covariances over batches, in the coordinates of the modes above the rank cut; none depends on the step size.

    An entry is a pair (k, l) of modes, k <= l, and carries a factor sqrt(2) where k < l; the diagonal approximation
    has the entries (k, k) alone.

    Attributes:
        eigenvalues: mu, descending, all of them above the rank cut; unit 1/time.
        optimum: theta* = b / (mu + ridge), where the mean gradient vanishes.
        curvature: S -> E X S X - C S C as a matrix, of X the batch's mean of phi phiᵀ.
        cross: d -> Cov(X d, n) + Cov(n, X d), of n the batch's mean of phi (y - theta* . phi).
        noise: Cov(n), by target.
        ridge: unit 1/time.
        is_diagonal: whether only the entries (k, k) are kept.
    """

    eigenvalues: Float[Array, "modes"]
    optimum: Float[Array, "modes targets"]
    curvature: Float[Array, "entries entries"]
    cross: Float[Array, "entries modes targets"]
    noise: Float[Array, "entries targets"]
    ridge: Float[Array, ""]
    is_diagonal: bool = eqx.field(static=True)

    @property
    def entries(self) -> tuple[Modes, Modes, Float[Array, "entries"]]:
        """The modes k and l of each entry, and its factor."""
        num_modes = len(self.eigenvalues)
        first, second = (np.arange(num_modes),) * 2 if self.is_diagonal else np.triu_indices(num_modes)
        return first, second, _factors(first, second, self.eigenvalues)


def batch_moments(
    spectrum: Spectrum,
    blocks: Iterable[Block],
    node_weights: Float[Array, "nodes"],
    law: Batches,
    *,
    ridge: float = 0.0,
    diagonal: bool = False,
) -> BatchMoments:
    """Covariances over batches of z = (phi phiᵀ, phi e), the products that a batch averages.

    Rows come block by block; memory holds one block, some 64 MB of products, and the moments. The cost is that of a
    Gram matrix: rows * entries^2 operations, or rows * modes^2 for the diagonal approximation.

    Args:
        spectrum: of the same rows, each times the root of its weight, node_weights[q] * nodes.
        blocks: (features, labels) of consecutive pairs at all nodes. Any fixed table of rows has one node.
        node_weights: probabilities of the nodes.
        law: how a batch is drawn.
        ridge: weight decay; unit 1/time.
        diagonal: the approximation that keeps the entries (k, k), for more than `MAX_EXACT_MODES` modes.

    Raises:
        ValueError: node weights that do not sum to one; a negative ridge; more modes than `MAX_EXACT_MODES`, or none;
            rows that are not those of the spectrum; a batch of more distinct pairs than there are.

    Source: derived here.

    >>> import theory
    >>> phi, y = jnp.asarray([[1.0], [3.0]]), jnp.asarray([[2.0], [4.0]])
    >>> blocks = [(phi[:, None, :], y[:, None, :])]
    >>> moments = batch_moments(theory.decompose(phi, y), blocks, jnp.ones(1), theory.Batches(size=2))
    >>> moments.eigenvalues.round(6).tolist(), moments.curvature.round(6).tolist()  # Var phi^2 = 16, over two rows
    ([5.0], [[8.0]])
    """
    check_untraced(spectrum=spectrum, node_weights=node_weights, ridge=ridge)
    check_probabilities("node_weights", linalg.on_device(np.asarray(node_weights)[None, :]))
    rank = spectrum.rank
    _check_rank(rank, diagonal)
    check_not_negative("ridge", ridge)
    eigenvalues, modes, optimum = _optimum(spectrum, rank, linalg.on_device(ridge, spectrum.eigenvalues.dtype))
    layout = _Diagonal() if diagonal else _Exact()
    of_pairs = law.asks_of_pairs
    sums, num_pairs = None, 0
    for features, labels in _pieces(blocks, layout, rank, of_pairs):
        terms = layout.sums(*_in_modes(features, labels, modes, optimum), node_weights, of_pairs)
        sums = terms if sums is None else jax.tree.map(jnp.add, sums, terms)
        num_pairs += features.shape[0]
    law.check_drawn_from(num_pairs)
    first_moments, operators = _covariances(layout, law, num_pairs, sums, node_weights, optimum)
    _check_same_rows(first_moments, optimum, ridge, spectrum)
    return BatchMoments(eigenvalues, optimum, *operators, linalg.on_device(ridge, eigenvalues.dtype), diagonal)


@eqx.filter_jit
def _optimum(
    spectrum: Spectrum, rank: int, ridge: Float[Array, ""]
) -> tuple[Float[Array, "modes"], Float[Array, "features modes"], Float[Array, "modes targets"]]:
    """The modes that count, and where the mean gradient vanishes."""
    eigenvalues = spectrum.eigenvalues[:rank]
    force = jnp.sqrt(eigenvalues)[:, None] * spectrum.label_coordinates[:rank]
    return eigenvalues, spectrum.modes[:, :rank], force / (eigenvalues + ridge)[:, None]


@eqx.filter_jit
def _in_modes(
    features: Float[Array, "pairs nodes features"],
    labels: Float[Array, "pairs nodes targets"],
    modes: Float[Array, "features modes"],
    optimum: Float[Array, "modes targets"],
) -> tuple[Float[Array, "pairs nodes modes"], Float[Array, "pairs nodes targets"]]:
    """Rows in the coordinates of the modes, and the error that is left at the optimum."""
    coordinates = features @ modes
    return coordinates, labels - coordinates @ optimum


@eqx.filter_jit
def _covariances(
    layout: "_Exact | _Diagonal",
    law: Batches,
    num_pairs: int,
    sums: PyTree[Array],
    node_weights: Float[Array, "nodes"],
    optimum: Float[Array, "modes targets"],
) -> tuple[tuple[Array, Array], tuple[Array, Array, Array]]:
    """The first moments of rows, and the operators that covariances over batches make.

    Covariances come from second moments: of rows, of what a pair and a node each share, and of the mean.
    """
    node_means, square, pair_square = jax.tree.map(lambda total: total / num_pairs, sums)
    mean = jnp.tensordot(node_weights, node_means, 1)
    mean_square = layout.products(mean[None], jnp.ones_like(node_weights[:1]))
    node_square = layout.products(node_means, node_weights) if law.shared_ratio else mean_square

    def covariance(mean_square: Array, *squares: Array) -> Array:
        return law.over_batches(num_pairs, *(square - mean_square for square in squares))

    pairs = pair_square if law.asks_of_pairs else square
    covariances = jax.tree.map(covariance, mean_square, square, pairs, node_square)
    return layout.first_moments(mean, len(optimum)), layout.operators(covariances, *optimum.shape)


def _factors(first: Modes, second: Modes, like: Array) -> Float[Array, "entries"]:
    return linalg.on_device(np.where(first == second, 1, np.sqrt(2)), like.dtype)


Products = Float[Array, "entries_and_noises entries_and_noises"]
DiagonalProducts = tuple[Float[Array, "modes columns"], Float[Array, "modes modes targets"]]


class _Exact(eqx.Module):
    """Products of z = (phi_k phi_l for k <= l, phi_k e_t) with itself: one Gram matrix."""

    def columns(self, nodes: int, modes: int, targets: int, of_pairs: bool) -> int:
        """Numbers that a pair of samples takes."""
        return nodes * (modes * (modes + 1) // 2 + modes * targets)

    def sums(
        self,
        coordinates: Float[Array, "pairs nodes modes"],
        error: Float[Array, "pairs nodes targets"],
        node_weights: Float[Array, "nodes"],
        of_pairs: bool,
    ) -> tuple[Float[Array, "nodes columns"], Products, Products]:
        """Over pairs: z at each node; products of rows; and products of means over nodes, or those of rows again."""
        node_sums, rows, means = _products_of_rows(coordinates, error, node_weights)
        square = linalg.gram(rows)
        return node_sums, square, linalg.gram(means) if of_pairs else square

    def products(self, z: Float[Array, "samples columns"], weights: Float[Array, "samples"]) -> Products:
        """E z zᵀ."""
        return linalg.gram(z * jnp.sqrt(weights)[:, None])

    def first_moments(
        self, mean: Float[Array, "columns"], num_modes: int
    ) -> tuple[Float[Array, "modes modes"], Float[Array, "modes targets"]]:
        """E phi phiᵀ and E phi e."""
        table = _positions(num_modes)
        num_entries = int(table[-1, -1]) + 1
        return mean[table], mean[num_entries:].reshape(num_modes, -1)

    def operators(
        self, covariance: Products, num_modes: int, num_targets: int
    ) -> tuple[Float[Array, "entries entries"], Float[Array, "entries modes targets"], Float[Array, "entries targets"]]:
        """E X S X needs Cov(X_ka, X_lb) at row (k, l) and column (a, b): the same numbers, in another order."""
        first, second = np.triu_indices(num_modes)
        table, factors = _positions(num_modes), _factors(first, second, covariance)
        noise_at = len(first) + np.arange(num_modes * num_targets).reshape(num_modes, num_targets)
        straight = covariance[table[first][:, first], table[second][:, second]]
        crossed = covariance[table[first][:, second], table[second][:, first]]
        first_moved = covariance[table[first][:, :, None], noise_at[second][:, None, :]]
        second_moved = covariance[table[second][:, :, None], noise_at[first][:, None, :]]
        return (
            factors[:, None] * (straight + crossed) * factors[None, :] / 2,
            factors[:, None, None] * (first_moved + second_moved),
            factors[:, None] * covariance[noise_at[first], noise_at[second]],
        )


class _Diagonal(eqx.Module):
    """Products of the columns of z_k = phi_k (phi_1 .. phi_p, e_1 .. e_K) that stay on the diagonal of E X S X."""

    def columns(self, nodes: int, modes: int, targets: int, of_pairs: bool) -> int:
        """Numbers that a pair of samples takes."""
        return (max(nodes, modes) if of_pairs else nodes) * (modes + targets) * (1 + targets)

    @eqx.filter_jit
    def sums(
        self,
        coordinates: Float[Array, "pairs nodes modes"],
        error: Float[Array, "pairs nodes targets"],
        node_weights: Float[Array, "nodes"],
        of_pairs: bool,
    ) -> tuple[Float[Array, "nodes modes columns"], DiagonalProducts, DiagonalProducts]:
        """Over pairs: z at each node; products of rows; and products of means over nodes, or those of rows again."""
        beside = jnp.concatenate([coordinates, error], axis=2)
        weighted = coordinates * node_weights[None, :, None]
        power = weighted * coordinates
        mixed = coordinates[:, :, :, None] * error[:, :, None, :]
        own, crossed = (jnp.tensordot(power, of, ((0, 1), (0, 1))) for of in (beside**2, mixed))
        node_sums = jnp.einsum("gqk,gqc->qkc", coordinates, beside)
        if not of_pairs:
            return node_sums, (own, crossed), (own, crossed)
        means = jnp.einsum("gqk,gqc->gkc", weighted, beside)
        return node_sums, (own, crossed), self.products(means, jnp.ones_like(means[:, 0, 0]))

    def products(self, z: Float[Array, "samples modes columns"], weights: Float[Array, "samples"]) -> DiagonalProducts:
        """E X_ka^2 beside E n_kt^2, and E X_ka n_kt."""
        num_modes = z.shape[1]
        mixed = z[:, :, :num_modes, None] * z[:, :, None, num_modes:]
        return jnp.tensordot(weights, z**2, 1), jnp.tensordot(weights, mixed, 1)

    def first_moments(
        self, mean: Float[Array, "modes columns"], num_modes: int
    ) -> tuple[Float[Array, "modes modes"], Float[Array, "modes targets"]]:
        """E phi phiᵀ and E phi e."""
        return mean[:, :num_modes], mean[:, num_modes:]

    def operators(
        self, covariance: DiagonalProducts, num_modes: int, num_targets: int
    ) -> tuple[Float[Array, "entries entries"], Float[Array, "entries modes targets"], Float[Array, "entries targets"]]:
        """The entries (k, k) of what `_Exact.operators` returns."""
        own, mixed = covariance
        return own[:, :num_modes], 2 * mixed, own[:, num_modes:]


@eqx.filter_jit
def _products_of_rows(
    coordinates: Float[Array, "pairs nodes modes"],
    error: Float[Array, "pairs nodes targets"],
    node_weights: Float[Array, "nodes"],
) -> tuple[Float[Array, "nodes columns"], Float[Array, "rows columns"], Float[Array, "pairs columns"]]:
    """z of `_Exact` summed over pairs; of each row, times the root of its weight; and its means over nodes."""
    first, second = np.triu_indices(coordinates.shape[2])
    noise = coordinates[:, :, :, None] * error[:, :, None, :]
    noise = noise.reshape(*noise.shape[:2], -1)
    z = jnp.concatenate([coordinates[:, :, first] * coordinates[:, :, second], noise], axis=2)
    scaled = z * jnp.sqrt(node_weights)[None, :, None]
    means = jnp.tensordot(z, node_weights, ((1,), (0,)))
    return jnp.sum(z, axis=0), scaled.reshape(-1, z.shape[2]), means


def _positions(num_modes: int) -> Int[np.ndarray, "modes modes"]:
    """Where the entry (k, l), or (l, k), stands in the list of entries."""
    first, second = np.triu_indices(num_modes)
    table = np.zeros((num_modes, num_modes), int)
    table[first, second] = table[second, first] = np.arange(len(first))
    return table


def _pieces(blocks: Iterable[Block], layout: _Exact | _Diagonal, num_modes: int, of_pairs: bool) -> Iterator[Block]:
    """The blocks, cut so that products of their features stay below `CHUNK_BYTES`."""
    for features, labels in blocks:
        columns = layout.columns(features.shape[1], num_modes, labels.shape[2], of_pairs)
        length = max(1, CHUNK_BYTES // (columns * features.dtype.itemsize))
        for begin in range(0, features.shape[0], length):
            yield features[begin : begin + length], labels[begin : begin + length]


def _check_rank(rank: int, diagonal: bool) -> None:
    if rank == 0:
        raise ValueError("spectrum: has no mode above its rank cut, so nothing trains; pass features that are not zero")
    if rank > MAX_EXACT_MODES and not diagonal:
        entries = rank * (rank + 1) // 2
        raise ValueError(
            f"diagonal: the exact moments of {rank} modes are a matrix of {entries} x {entries} entries, and at most "
            f"{MAX_EXACT_MODES} modes are allowed; pass diagonal=True for the diagonal approximation"
        )


def _check_same_rows(
    moments: tuple[Array, Array], optimum: Float[Array, "modes targets"], ridge: float, spectrum: Spectrum
) -> None:
    """E phi phiᵀ must be diagonal in the modes, and E phi e the pull of the ridge at the optimum, but for rounding."""
    second_moment, product = map(np.asarray, moments)
    eigenvalues, resting = np.asarray(spectrum.eigenvalues)[: len(optimum)], np.asarray(optimum)
    eps = float(jnp.finfo(eigenvalues.dtype).eps)
    tolerance = eps**0.5
    largest = float(eigenvalues[0])
    label_power = float(
        np.sum(np.asarray(spectrum.label_coordinates) ** 2) + np.sum(np.asarray(spectrum.label_outside))
    )
    off = float(np.max(np.abs(second_moment - np.diag(eigenvalues)))) / largest
    scale = (largest * label_power) ** 0.5
    label_off = float(np.max(np.abs(product - ridge * resting))) / scale if label_power > 0 else 0.0
    # Where the optimum is far away, e = y - theta* . phi is off by a rounding of the size of theta*.
    rounding = SAFETY * eps * float(np.sum(eigenvalues)) * float(np.linalg.norm(resting)) / max(scale, eps)
    if off > tolerance or label_off > tolerance + rounding:
        raise ValueError(
            f"blocks: their moments differ from the spectrum's, by {off:.2g} in the features and {label_off:.2g} in "
            "the labels, relatively; pass the spectrum of the same rows, each times the root of node_weights[q] * nodes"
        )
