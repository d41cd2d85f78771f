"""All n^2 ordered pairs times all ratios, in square tiles of pairs that are made one at a time.

Row (i, j, lam) is the sample lam x_i + (1 - lam) x_j with its probability, its features and labels multiplied by the
root of it: then the mean of phi phiᵀ over the law is the sum over all rows. Swapping the two of a pair and turning lam
into 1 - lam gives the same row again; so where the ratios are symmetric, whatever the weights W of the pairs, the tiles
below the diagonal are left out and those above it count for their mirror images too, W_ij + W_ji.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int

from rfm.features import FeatureMap, RandomFeatures
from rfm.mixup.ratios import RatioQuadrature
from rfm.mixup.weights import PairWeights
from rfm.sample import Truth
from theory.linalg import as_matrix, on_device

AXIS = "devices"


class Tile(eqx.Module):
    """Rows of consecutive pairs and all ratios, each times the root of its probability.

    Attributes:
        features: phi.
        labels: the mixed labels.
        clean: the truth at the mixed inputs, or None.
        first_share: that of the first in the label times the root of the probability, as [first, second, ratio].
        second_share: that of the second times it.
        first: index of the first original, one a device.
        second: index of the first partner.
    """

    features: Float[Array, "rows features"]
    labels: Float[Array, "rows targets"]
    clean: Float[Array, "rows targets"] | None
    first_share: Float[Array, "firsts seconds ratios"]
    second_share: Float[Array, "firsts seconds ratios"]
    first: Int[Array, "devices"]
    second: Int[Array, ""]


class _Linear(eqx.Module):
    """Random features, and what their linear part makes of the originals."""

    features: RandomFeatures
    preactivations: Float[Array, "padded features"]


class Tiling(eqx.Module):
    """The pairs of a sample in tiles of side `side`.

    Attributes:
        inputs: the originals, the last one repeated to a multiple of the side (the repeats have probability zero).
        labels: theirs.
        linear: random features after their linear part, with which mixing commutes; None for other features.
        features: phi.
        truth: f, or None.
        lam: the ratios.
        label_lam: those of the labels.
        weights: theirs.
        pairs: the weights of pairs.
        num_samples: n.
        side: of a tile.
        is_symmetric: whether the lower half is left out.
        mesh: the devices that share a tile by its first originals, or None for one.
    """

    inputs: Float[Array, "padded inputs"]
    labels: Float[Array, "padded targets"]
    linear: _Linear | None
    features: FeatureMap
    truth: Truth | None
    lam: Float[Array, "ratios"]
    label_lam: Float[Array, "ratios"]
    weights: Float[Array, "ratios"]
    pairs: PairWeights
    num_samples: int = eqx.field(static=True)
    side: int = eqx.field(static=True)
    is_symmetric: bool = eqx.field(static=True)
    mesh: Mesh | None = eqx.field(static=True)

    @staticmethod
    def of(
        inputs: Float[Array, "samples inputs"],
        labels: Float[Array, "samples targets"],
        features: FeatureMap,
        truth: Truth | None,
        ratios: RatioQuadrature,
        pairs: PairWeights,
        most_rows: int,
        devices: list[jax.Device],
    ) -> "Tiling":
        """Tiles of at most that many rows, but of one pair a device at least."""
        num_samples, num_devices = inputs.shape[0], len(devices)
        side = min(num_samples, max(1, math.isqrt(most_rows // len(ratios))))
        side = -(-num_samples // -(-num_samples // side))  # as even as it goes
        side = num_devices * max(1, side // num_devices)
        padded = np.minimum(np.arange(side * -(-num_samples // side)), num_samples - 1)
        inputs, labels = (on_device(np.asarray(values)[padded]) for values in (inputs, labels))
        arrays = (
            inputs,
            labels,
            _Linear(features, features.preactivations(inputs)) if isinstance(features, RandomFeatures) else None,
            features,
            truth,
            on_device(ratios.lam, inputs.dtype),
            on_device(ratios.label_lam, inputs.dtype),
            on_device(ratios.weights, inputs.dtype),
            pairs,
        )
        mesh = None
        if num_devices > 1:
            mesh = Mesh(np.asarray(devices), (AXIS,))
            everywhere = NamedSharding(mesh, PartitionSpec())
            arrays = jax.tree.map(lambda leaf: jax.device_put(leaf, everywhere) if eqx.is_array(leaf) else leaf, arrays)
        elif devices != list(inputs.devices()):
            arrays = jax.tree.map(lambda leaf: jax.device_put(leaf, devices[0]) if eqx.is_array(leaf) else leaf, arrays)
        return Tiling(*arrays, num_samples, side, ratios.is_symmetric, mesh)

    @property
    def positions(self) -> list[tuple[int, int]]:
        """Where each tile stands."""
        count = self.inputs.shape[0] // self.side
        return [(i, j) for i in range(count) for j in range(i if self.is_symmetric else 0, count)]

    @property
    def rows(self) -> int:
        """Of one tile."""
        return self.side**2 * len(self.lam)

    def tile(self, i: int, j: int) -> Tile:
        """The tile at that position."""
        place = on_device(i), on_device(j)  # as arrays, or each tile would compile again
        root, first_share, second_share = _shares(self, *place)
        clean = None
        if self.truth is not None:
            clean = self.truth(_mixed(self, self.inputs, self.lam, *place))
            clean = _scaled(self._spread(as_matrix(clean)), root)
        if self.linear is not None:
            features = _activated(self, self.linear, *place)
        else:
            features = _scaled(self._spread(self.features(_mixed(self, self.inputs, self.lam, *place))), root)
        num_devices = 1 if self.mesh is None else self.mesh.size
        first = self.side * i + np.arange(num_devices) * (self.side // num_devices)
        return Tile(
            features,
            _scaled(_mixed(self, self.labels, self.label_lam, *place), root),
            clean,
            first_share,
            second_share,
            self._spread(on_device(first)),
            on_device(self.side * j),
        )

    def _spread(self, rows: Array) -> Array:
        """Rows over the devices, where a callable of the user has not left them so."""
        return rows if self.mesh is None else jax.device_put(rows, NamedSharding(self.mesh, PartitionSpec(AXIS)))


@eqx.filter_jit
def _mixed(
    tiling: Tiling, values: Float[Array, "padded columns"], lam: Float[Array, "ratios"], i: Array, j: Array
) -> Float[Array, "rows columns"]:
    return _lay(tiling, _mix(tiling, values, lam, i, j))


@eqx.filter_jit
def _activated(tiling: Tiling, linear: _Linear, i: Array, j: Array) -> Float[Array, "rows features"]:
    """Features from mixed preactivations, times the root of the probability, in one sweep."""
    phi = linear.features.from_preactivations(_mix(tiling, linear.preactivations, tiling.lam, i, j))
    return _lay(tiling, phi * jnp.sqrt(_probability(tiling, i, j))[..., None])


@eqx.filter_jit
def _shares(tiling: Tiling, i: Array, j: Array) -> tuple[Array, Array, Array]:
    root = jnp.sqrt(_probability(tiling, i, j))
    lam = tiling.label_lam[None, None, :]
    parts = root.reshape(-1), root * lam, root * (1 - lam)
    if tiling.mesh is None:
        return parts
    return jax.lax.with_sharding_constraint(parts, NamedSharding(tiling.mesh, PartitionSpec(AXIS)))


@eqx.filter_jit
def _scaled(rows: Float[Array, "rows columns"], root: Float[Array, "rows"]) -> Float[Array, "rows columns"]:
    return rows * root.astype(rows.dtype)[:, None]


def _mix(
    tiling: Tiling, values: Array, lam: Float[Array, "ratios"], i: Array, j: Array
) -> Float[Array, "firsts seconds ratios columns"]:
    side = tiling.side
    first = jax.lax.dynamic_slice_in_dim(values, i * side, side)[:, None, None, :]
    second = jax.lax.dynamic_slice_in_dim(values, j * side, side)[None, :, None, :]
    lam = lam.astype(values.dtype)[None, None, :, None]
    return lam * first + (1 - lam) * second


def _lay(tiling: Tiling, rows: Float[Array, "firsts seconds ratios columns"]) -> Float[Array, "rows columns"]:
    flat = rows.reshape(-1, rows.shape[-1])
    if tiling.mesh is None:
        return flat
    return jax.lax.with_sharding_constraint(flat, NamedSharding(tiling.mesh, PartitionSpec(AXIS)))


def _probability(tiling: Tiling, i: Array, j: Array) -> Float[Array, "firsts seconds ratios"]:
    index, n = jnp.arange(tiling.side), tiling.num_samples
    first, second = (index + place * tiling.side for place in (i, j))
    there = (first < n)[:, None] & (second < n)[None, :]
    first, second = jnp.minimum(first, n - 1), jnp.minimum(second, n - 1)
    chance = tiling.pairs.block(first, second)
    if tiling.is_symmetric:  # a tile off the diagonal stands for its mirror image too
        chance = chance + jnp.where(i == j, 0, tiling.pairs.block(second, first).T)
    return jnp.where(there, chance, 0).astype(tiling.weights.dtype)[:, :, None] * tiling.weights[None, None, :]
