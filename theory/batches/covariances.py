"""How much the mean of what rows contribute varies from batch to batch: sums over blocks, put together as the law says.

Every covariance comes from second moments. Of pairs that share nothing but a node of the ratio they are three: of rows,
of what a pair and a node each share. Where originals are mixed with each other, they are the squares that
`Batches.squares` asks for; each star brings those of its original and of its couples, and the totals come last.

Source: derived here.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from theory import linalg
from theory.batches.layouts import Form, Layout, of_parts
from theory.batches.rows import Block, Weighted, in_stars, weighted
from theory.batches.sampling import Batches

CHUNK_BYTES = 2**26
"""Products of features are formed for so many rows at once that they stay below this."""


class Projection(eqx.Module):
    """Rows in the coordinates of the modes, and the error that is left at the optimum."""

    modes: Float[Array, "features modes"]
    optimum: Float[Array, "modes targets"]

    @eqx.filter_jit
    def __call__(
        self, features: Float[Array, "pairs nodes features"], labels: Float[Array, "pairs nodes targets"]
    ) -> tuple[Float[Array, "pairs nodes modes"], Float[Array, "pairs nodes targets"]]:
        coordinates = features @ self.modes
        return coordinates, labels - coordinates @ self.optimum


Found = tuple[Array, PyTree[Array]]
"""The mean of z, and the covariance of its mean over a batch, both as the layout keeps them."""


def over_batches(
    blocks: Iterable[Block], node_weights: Float[Array, "nodes"], law: Batches, layout: Layout, project: Projection
) -> Found:
    """The mean of z, and the covariance of its mean over a batch, for any law."""
    if not law.mixes_itself:
        return _of_pairs(weighted(blocks, law), node_weights, law, layout, project)
    mean, second = _of_stars(in_stars(blocks, law), node_weights, law, layout, project)
    square = layout.products(mean[None], jnp.ones_like(node_weights[:1]))
    return mean, jax.tree.map(jnp.subtract, second, square)


def _of_pairs(
    blocks: Iterable[Weighted], node_weights: Float[Array, "nodes"], law: Batches, layout: Layout, project: Projection
) -> Found:
    sums, num_pairs, total = None, 0, 0.0
    for block in blocks:
        for features, labels, weights in _pieces(block, layout, law, project):
            rows, pair_weights = project(features, labels), _like(weights, node_weights)
            terms = layout.sums(*rows, node_weights, pair_weights, law.asks_of_pairs)
            sums = terms if sums is None else jax.tree.map(jnp.add, sums, terms)
            num_pairs, total = num_pairs + len(weights), total + float(np.sum(weights))
    return _put_together(layout, law, num_pairs, jax.tree.map(lambda of_all: of_all / total, sums), node_weights)


@eqx.filter_jit
def _put_together(
    layout: Layout, law: Batches, num_pairs: int, means: PyTree[Array], node_weights: Float[Array, "nodes"]
) -> Found:
    node_means, square, pair_square = means
    mean = jnp.tensordot(node_weights, node_means, 1)
    mean_square = layout.products(mean[None], jnp.ones_like(node_weights[:1]))
    node_square = layout.products(node_means, node_weights) if law.shared_ratio else mean_square

    def covariance(mean_square: Array, *squares: Array) -> Array:
        return law.over_batches(num_pairs, *(square - mean_square for square in squares))

    pairs = pair_square if law.asks_of_pairs else square
    return mean, jax.tree.map(covariance, mean_square, square, pairs, node_square)


def _of_stars(
    stars: Iterable[Weighted], node_weights: Float[Array, "nodes"], law: Batches, layout: Layout, project: Projection
) -> Found:
    """The mean, and the second moment."""
    second: list[PyTree[Array]] = []
    totals: Any = 0
    for features, labels, couple_weights in stars:
        n = len(features) // 2
        at_nodes, over_nodes = law.squares(n)
        coordinates, error = (of.reshape(n, 2, *of.shape[1:]) for of in project(features, labels))
        means = _means_of_star(layout, coordinates, error)
        totals = totals + means
        second = _added(second + _of_means(layout, at_nodes.originals, over_nodes.originals, means, node_weights / n))
        most = max(1, _pairs_at_once(layout, law, project, coordinates.shape[2]) // 4)  # of two rows, and their sums
        for begin in range(0, len(couple_weights), most):
            weights = _like(couple_weights[begin : begin + most], node_weights)
            couples = slice(1 + begin, 1 + begin + len(weights))
            rows = coordinates[couples], error[couples]
            own = layout.of_couples(at_nodes.couples, *rows, weights[:, None] * node_weights[None, :])
            second = _added([*second, own, *_over_nodes(layout, over_nodes.couples, *rows, weights, node_weights)])
    mean = totals[:2] / n  # of originals with themselves, and of all other pairs
    second = _added(second + _of_means(layout, at_nodes.totals, over_nodes.totals, mean, node_weights))
    alone = law.self_weight
    return jnp.tensordot(node_weights, alone * mean[0] + (1 - alone) * mean[1], 1), second[0]


def _means_of_star(
    layout: Layout, coordinates: Float[Array, "others 2 nodes modes"], error: Float[Array, "others 2 nodes targets"]
) -> Float[Array, "3 nodes ..."]:
    """(D_j, R_j, L_j) of `theory.batches.sampling`, at each node."""
    others = len(coordinates) - 1
    mean = _like(np.full(others, 1 / max(others, 1)), error)
    rows = coordinates[1:], error[1:]
    return jnp.stack([
        layout.summed(coordinates[:1, 0], error[:1, 0], _like(np.ones(1), error)),
        layout.summed(rows[0][:, 1], rows[1][:, 1], mean),
        layout.summed(rows[0][:, 0], rows[1][:, 0], mean),
    ])  # fmt: skip


def _of_means(
    layout: Layout, at_nodes: Form, over_nodes: Form, means: Float[Array, "parts nodes ..."], node_weights: Array
) -> list[PyTree[Array]]:
    """Squares of these at each node, and of their means over nodes; the weights sum to what they count."""
    total = jnp.sum(node_weights)
    mean = jnp.tensordot(means, node_weights / total, ((1,), (0,)))[:, None]
    return of_parts(layout, at_nodes, means, node_weights) + of_parts(layout, over_nodes, mean, total[None])


def _over_nodes(
    layout: Layout,
    form: Form,
    coordinates: Float[Array, "couples 2 nodes modes"],
    error: Float[Array, "couples 2 nodes targets"],
    weights: Float[Array, "couples"],
    node_weights: Float[Array, "nodes"],
) -> list[PyTree[Array]]:
    """Squares of couples' means over nodes."""
    if not form.any():
        return []
    sides = [layout.over_nodes(coordinates[:, side], error[:, side], node_weights) for side in range(2)]
    return of_parts(layout, form, jnp.stack(sides), weights)


def _added(terms: list[PyTree[Array]]) -> list[PyTree[Array]]:
    """Their sum, alone in a list; an empty list where there is none."""
    return [jax.tree.map(lambda *leaves: sum(leaves[1:], leaves[0]), *terms)] if terms else []


def _pieces(block: Weighted, layout: Layout, law: Batches, project: Projection) -> Iterator[Weighted]:
    """The block, cut so that products of its features stay below `CHUNK_BYTES`."""
    most = _pairs_at_once(layout, law, project, block[0].shape[1])
    for begin in range(0, len(block[0]), most):
        piece = slice(begin, begin + most)
        yield block[0][piece], block[1][piece], block[2][piece]


def _pairs_at_once(layout: Layout, law: Batches, project: Projection, nodes: int) -> int:
    modes, targets = project.optimum.shape
    columns = layout.columns(nodes, modes, targets, law.asks_of_pairs)
    return max(1, CHUNK_BYTES // (columns * project.optimum.dtype.itemsize))


def _like(values: np.ndarray, array: Array) -> Array:
    return linalg.on_device(values, array.dtype)
