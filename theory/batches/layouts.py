"""What a row contributes, z, and products of it: all of them, or those that the diagonal approximation keeps.

A row is its coordinates phi in the modes, and the error e = y - theta* . phi that is left at the optimum. p modes have
p (p + 1) / 2 products phi_k phi_l, so second moments of all of them are of the order p^4 numbers. The diagonal
approximation keeps, of the second moment of the weights, the entries (k, k) alone, and of second moments p^2 numbers.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from theory import linalg

Modes = Int[np.ndarray, "entries"]
Form = Float[np.ndarray, "parts parts"]
"""What a mean of squares asks of several vectors; see `theory.batches.sampling`."""
Products = Float[Array, "entries_and_noises entries_and_noises"]
DiagonalProducts = tuple[Float[Array, "modes columns"], Float[Array, "modes modes targets"]]


class Exact(eqx.Module):
    """Products of z = (phi_k phi_l for k <= l, phi_k e_t) with itself: one Gram matrix."""

    def columns(self, nodes: int, modes: int, targets: int, of_pairs: bool) -> int:
        """Numbers that a pair of samples takes."""
        return nodes * (modes * (modes + 1) // 2 + modes * targets)

    def sums(
        self,
        coordinates: Float[Array, "pairs nodes modes"],
        error: Float[Array, "pairs nodes targets"],
        node_weights: Float[Array, "nodes"],
        pair_weights: Float[Array, "pairs"],
        of_pairs: bool,
    ) -> tuple[Float[Array, "nodes columns"], Products, Products]:
        """Over pairs: z at each node; products of rows; and products of means over nodes, or those of rows again."""
        node_sums, rows, means = _products_of_rows(coordinates, error, node_weights, pair_weights)
        square = linalg.gram(rows)
        return node_sums, square, linalg.gram(means) if of_pairs else square

    def summed(
        self,
        coordinates: Float[Array, "pairs nodes modes"],
        error: Float[Array, "pairs nodes targets"],
        pair_weights: Float[Array, "pairs"],
    ) -> Float[Array, "nodes columns"]:
        """Over pairs: z at each node."""
        first, second = np.triu_indices(coordinates.shape[2])
        weighted = coordinates * pair_weights[:, None, None]
        pulls, noises = (jnp.einsum("gqk,gqc->qkc", weighted, of) for of in (coordinates, error))
        return jnp.concatenate([pulls[:, first, second], noises.reshape(len(noises), -1)], axis=1)

    def over_nodes(
        self,
        coordinates: Float[Array, "pairs nodes modes"],
        error: Float[Array, "pairs nodes targets"],
        node_weights: Float[Array, "nodes"],
    ) -> Float[Array, "pairs columns"]:
        """Each pair's mean of z."""
        return _over_nodes(_contributions(coordinates, error), node_weights)

    def of_couples(
        self,
        form: Form,
        coordinates: Float[Array, "couples 2 nodes modes"],
        error: Float[Array, "couples 2 nodes targets"],
        weights: Float[Array, "couples nodes"],
    ) -> Products:
        """What `of_parts` makes of a couple's two rows at each node."""
        z = jnp.swapaxes(_contributions(coordinates, error), 0, 1)
        squares = of_parts(self, form, z.reshape(2, -1, z.shape[3]), weights.ravel())
        return sum(squares, jnp.zeros((z.shape[3], z.shape[3]), z.dtype))

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
        table, factors = _positions(num_modes), entry_factors(first, second, covariance)
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


class Diagonal(eqx.Module):
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
        pair_weights: Float[Array, "pairs"],
        of_pairs: bool,
    ) -> tuple[Float[Array, "nodes modes columns"], DiagonalProducts, DiagonalProducts]:
        """Over pairs: z at each node; products of rows; and products of means over nodes, or those of rows again."""
        node_sums = self.summed(coordinates, error, pair_weights)
        square = _crossed((coordinates, error), (coordinates, error), pair_weights[:, None] * node_weights[None, :])
        if not of_pairs:
            return node_sums, square, square
        return node_sums, square, self.products(self.over_nodes(coordinates, error, node_weights), pair_weights)

    def summed(
        self,
        coordinates: Float[Array, "pairs nodes modes"],
        error: Float[Array, "pairs nodes targets"],
        pair_weights: Float[Array, "pairs"],
    ) -> Float[Array, "nodes modes columns"]:
        """Over pairs: z at each node."""
        weighted = coordinates * pair_weights[:, None, None]
        return jnp.einsum("gqk,gqc->qkc", weighted, _beside(coordinates, error))

    @eqx.filter_jit
    def over_nodes(
        self,
        coordinates: Float[Array, "pairs nodes modes"],
        error: Float[Array, "pairs nodes targets"],
        node_weights: Float[Array, "nodes"],
    ) -> Float[Array, "pairs modes columns"]:
        """Each pair's mean of z."""
        weighted = coordinates * node_weights[None, :, None]
        return jnp.einsum("gqk,gqc->gkc", weighted, _beside(coordinates, error))

    @eqx.filter_jit
    def of_couples(
        self,
        form: Form | Float[Array, "parts parts"],
        coordinates: Float[Array, "couples 2 nodes modes"],
        error: Float[Array, "couples 2 nodes targets"],
        weights: Float[Array, "couples nodes"],
    ) -> DiagonalProducts:
        """What `of_parts` makes of a couple's two rows at each node; z itself need not be formed."""
        rows = [(coordinates[:, side], error[:, side]) for side in range(2)]
        shares = linalg.on_device(form, weights.dtype)
        terms = [_crossed(rows[a], rows[b], weights * shares[a, b]) for a in range(2) for b in range(2)]
        return jax.tree.map(lambda *leaves: sum(leaves), *terms)

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
        """The entries (k, k) of what `Exact.operators` returns."""
        own, mixed = covariance
        return own[:, :num_modes], 2 * mixed, own[:, num_modes:]


Layout = Exact | Diagonal


def of_parts(layout: Layout, form: Form, parts: Float[Array, "parts samples ..."], weights: Array) -> list[Any]:
    """The weighted sum over samples of sum_ab form_ab z_a z_bᵀ: its squares, those that count with a minus negated."""
    values, vectors = np.linalg.eigh(form)
    found = []
    for sign in (1, -1):
        counted = sign * values > SMALLEST * np.max(np.abs(values))
        if counted.any():
            samples, scaled = _combine(parts, weights, vectors[:, counted].T, np.abs(values[counted]))
            found.append(jax.tree.map(lambda leaf, sign=sign: sign * leaf, layout.products(samples, scaled)))
    return found


SMALLEST = 1e-14
"""Of a form's eigenvalues: what is rounding of the largest."""


def entry_factors(first: Modes, second: Modes, like: Array) -> Float[Array, "entries"]:
    """1 for an entry (k, k), sqrt(2) for one that stands for (k, l) and (l, k)."""
    return linalg.on_device(np.where(first == second, 1, np.sqrt(2)), like.dtype)


@jax.jit
def _combine(
    parts: Float[Array, "parts samples ..."],
    weights: Float[Array, "samples"],
    vectors: Float[Array, "combinations parts"],
    values: Float[Array, "combinations"],
) -> tuple[Float[Array, "combined ..."], Float[Array, "combined"]]:
    combined = jnp.tensordot(vectors.astype(parts.dtype), parts, 1)
    scaled = values.astype(parts.dtype)[:, None] * weights[None, :]
    return combined.reshape(-1, *parts.shape[2:]), scaled.ravel()


def _crossed(
    one: tuple[Float[Array, "pairs nodes modes"], Float[Array, "pairs nodes targets"]],
    other: tuple[Float[Array, "pairs nodes modes"], Float[Array, "pairs nodes targets"]],
    weights: Float[Array, "pairs nodes"],
) -> DiagonalProducts:
    """Products of one row's z with another's, as `Diagonal.products` keeps them; the mean of both orders."""
    power = weights[:, :, None] * one[0] * other[0]
    mixed = (a[0][:, :, :, None] * b[1][:, :, None, :] for a, b in ((one, other), (other, one)))
    beside = _beside(*one) * _beside(*other), sum(mixed) / 2
    own, crossed = (jnp.tensordot(power, of, ((0, 1), (0, 1))) for of in beside)
    return own, crossed


def _beside(
    coordinates: Float[Array, "pairs nodes modes"], error: Float[Array, "pairs nodes targets"]
) -> Float[Array, "pairs nodes columns"]:
    return jnp.concatenate([coordinates, error], axis=2)


@jax.jit
def _contributions(
    coordinates: Float[Array, "*rows modes"], error: Float[Array, "*rows targets"]
) -> Float[Array, "*rows columns"]:
    """z of `Exact`."""
    first, second = np.triu_indices(coordinates.shape[-1])
    noise = coordinates[..., :, None] * error[..., None, :]
    return jnp.concatenate(
        [coordinates[..., first] * coordinates[..., second], noise.reshape(*noise.shape[:-2], -1)], -1
    )


@jax.jit
def _over_nodes(z: Float[Array, "pairs nodes columns"], node_weights: Float[Array, "nodes"]) -> Array:
    return jnp.tensordot(z, node_weights, ((1,), (0,)))


@jax.jit
def _products_of_rows(
    coordinates: Float[Array, "pairs nodes modes"],
    error: Float[Array, "pairs nodes targets"],
    node_weights: Float[Array, "nodes"],
    pair_weights: Float[Array, "pairs"],
) -> tuple[Float[Array, "nodes columns"], Float[Array, "rows columns"], Float[Array, "pairs columns"]]:
    """z of `Exact` summed over pairs; and of each row, and its means over nodes, times the root of their weights."""
    z = _contributions(coordinates, error)
    roots = jnp.sqrt(pair_weights)
    scaled = z * (roots[:, None] * jnp.sqrt(node_weights)[None, :])[:, :, None]
    means = _over_nodes(z, node_weights) * roots[:, None]
    return jnp.tensordot(pair_weights, z, 1), scaled.reshape(-1, z.shape[2]), means


def _positions(num_modes: int) -> Int[np.ndarray, "modes modes"]:
    """Where the entry (k, l), or (l, k), stands in the list of entries."""
    first, second = np.triu_indices(num_modes)
    table = np.zeros((num_modes, num_modes), int)
    table[first, second] = table[second, first] = np.arange(len(first))
    return table
