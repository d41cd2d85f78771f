"""One pass over all blocks: sums that fit in memory, on all devices, that can be stopped and taken up again.

Two kinds of sums, as in `theory.spectrum`: the second moment itself (fast), or the triangle of its QR factorisation
(accurate). Beside either, the smoother: expected Mixup's force is linear in the labels of the originals.
"""

import json
import time
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float

from rfm.expected.tiles import AXIS, Tile, Tiling
from rfm.files import replacing
from theory import Spectrum, linalg
from theory.spectrum import from_moments, from_triangle

PassMethod = Literal["gram", "qr"]
BlockProgress = Callable[[int, int], object]
"""Called with the number of blocks done, and of all blocks."""

SAVE_EVERY = 30.0
"""Seconds between two checkpoints."""


class Sums(eqx.Module):
    """What has been summed so far.

    Attributes:
        smoother: H / n, by which the force is b = Hᵀ y / n.
    """

    smoother: eqx.AbstractVar[Float[Array, "padded features"]]

    @staticmethod
    @abstractmethod
    def zero(shape: "Shape") -> "Sums":
        """Before the first tile."""

    @abstractmethod
    def add(self, tile: Tile) -> "Sums":
        """With one tile more."""

    @abstractmethod
    def together(self) -> "Sums":
        """The sums of several devices, stacked on a leading axis, as one."""

    @abstractmethod
    def spectrum(self, labels: Float[Array, "samples targets"], power: Float[Array, "targets"], rows: int) -> Spectrum:
        """What they were summed for; rounding is that of blocks of so many rows."""


class Shape(eqx.Module):
    """Sizes of the sums."""

    padded: int
    features: int
    targets: int
    clean_targets: int
    dtype: np.dtype


class GramSums(Sums):
    """E phi phiᵀ, E phi y*, and the smoother."""

    smoother: Float[Array, "*devices padded features"]
    second_moment: Float[Array, "*devices features features"]
    clean_force: Float[Array, "*devices features targets"]

    @staticmethod
    def zero(shape: Shape) -> "GramSums":
        p = shape.features
        return GramSums(
            linalg.on_device(np.zeros((shape.padded, p), shape.dtype)),
            linalg.on_device(np.zeros((p, p), shape.dtype)),
            linalg.on_device(np.zeros((p, shape.clean_targets), shape.dtype)),
        )

    def add(self, tile: Tile) -> "GramSums":
        clean_force = self.clean_force
        if tile.clean is not None:
            clean_force = clean_force + (tile.clean.T @ tile.features).T
        second_moment = self.second_moment + linalg.gram(tile.features)
        return GramSums(_smoothed(self.smoother, tile), second_moment, clean_force)

    def together(self) -> "GramSums":
        return jax.tree.map(lambda leaf: jnp.sum(leaf, axis=0), self)

    def spectrum(self, labels: Float[Array, "samples targets"], power: Float[Array, "targets"], rows: int) -> Spectrum:
        force = self.smoother[: len(labels)].T @ labels
        clean_force = self.clean_force if self.clean_force.shape[1] else None
        return from_moments(self.second_moment, force, power, clean_force, num_rows=rows)


class TriangleSums(Sums):
    """R of the QR factorisation of [Phi, y, y*], each row times the root of its probability, and the smoother."""

    smoother: Float[Array, "*devices padded features"]
    triangle: Float[Array, "*devices columns columns"]

    @staticmethod
    def zero(shape: Shape) -> "TriangleSums":
        columns = shape.features + shape.targets + shape.clean_targets
        return TriangleSums(
            linalg.on_device(np.zeros((shape.padded, shape.features), shape.dtype)),
            linalg.on_device(np.zeros((columns, columns), shape.dtype)),
        )

    def add(self, tile: Tile) -> "TriangleSums":
        known = (tile.labels,) if tile.clean is None else (tile.labels, tile.clean)
        triangle = linalg.triangular_factor(tile.features, *known, above=self.triangle)
        return TriangleSums(_smoothed(self.smoother, tile), triangle)

    def together(self) -> "TriangleSums":
        columns = self.triangle.shape[-1]
        return TriangleSums(
            jnp.sum(self.smoother, axis=0), linalg.triangular_factor(self.triangle.reshape(-1, columns))
        )

    def spectrum(self, labels: Float[Array, "samples targets"], power: Float[Array, "targets"], rows: int) -> Spectrum:
        return from_triangle(self.triangle, self.smoother.shape[1], labels.shape[1], num_rows=rows)


KINDS: dict[PassMethod, type[GramSums] | type[TriangleSums]] = {"gram": GramSums, "qr": TriangleSums}


def accumulate(
    tiling: Tiling,
    zero: Sums,
    *,
    progress: BlockProgress | None = None,
    checkpoint: Path | None = None,
    fingerprint: dict[str, str],
    home: jax.Device,
) -> Sums:
    """The sums over all tiles; those of a checkpoint are not made again.

    Args:
        tiling: makes the tiles.
        zero: of one device.
        progress: called after each tile.
        checkpoint: where the sums are kept, every `SAVE_EVERY` seconds, when interrupted, and at the end. The numbers
            are the same bits, however often the pass was interrupted.
        fingerprint: what the sums depend on; the checkpoint of another problem is refused.
        home: the device that is to hold the result.

    Raises:
        ValueError: the checkpoint is not one, or belongs to another problem.
    """
    add, sums = _adder(tiling, zero)
    positions, state = tiling.positions, _State(sums, 0)
    if checkpoint is not None and checkpoint.exists():
        state = _load(checkpoint, fingerprint, sums)
    found = state.done
    saved_at = time.monotonic()
    try:
        for i, j in positions[state.done :]:
            following = _State(add(state.sums, tiling.tile(i, j)), state.done + 1)
            jax.block_until_ready(state.sums)  # an accelerator has one tile in its queue, and not all of them
            state = following
            if progress is not None:
                progress(state.done, len(positions))
            if checkpoint is not None and time.monotonic() - saved_at > SAVE_EVERY:
                _save(checkpoint, fingerprint, state)
                saved_at = time.monotonic()
    finally:
        if checkpoint is not None and state.done > found:
            _save(checkpoint, fingerprint, state)
    return jax.device_put(state.sums if tiling.mesh is None else state.sums.together(), home)


class _State(NamedTuple):
    """One object, assigned at once: Ctrl-C cannot come between the sums and the number of tiles in them."""

    sums: Sums
    done: int


def _adder(tiling: Tiling, zero: Sums) -> tuple[Callable[[Sums, Tile], Sums], Sums]:
    """How a tile is added, and what to: each device adds its share of the rows to sums of its own."""
    if tiling.mesh is None:
        (device,) = tiling.inputs.devices()
        return lambda sums, tile: sums.add(tile), jax.device_put(zero, device)
    mesh, split, whole = tiling.mesh, PartitionSpec(AXIS), PartitionSpec()
    sharding = jax.sharding.NamedSharding(mesh, split)
    stacked = jax.tree.map(lambda leaf: jax.device_put(jnp.stack([leaf] * mesh.size), sharding), zero)

    def add_local(sums: Sums, tile: Tile) -> Sums:
        alone = jax.tree.map(lambda leaf: leaf[0], sums)
        return jax.tree.map(lambda leaf: leaf[None], alone.add(tile))

    def add(sums: Sums, tile: Tile) -> Sums:
        specs = eqx.tree_at(lambda b: b.second, jax.tree.map(lambda _: split, tile), whole)
        return jax.shard_map(add_local, mesh=mesh, in_specs=(split, specs), out_specs=split)(sums, tile)

    return jax.jit(add), stacked


def _smoothed(smoother: Float[Array, "padded features"], tile: Tile) -> Float[Array, "padded features"]:
    return _add_shares(smoother, tile.features, tile.first_share, tile.second_share, tile.first[0], tile.second)


@jax.jit
def _add_shares(
    smoother: Array, features: Array, first_share: Array, second_share: Array, first: Array, second: Array
) -> Array:
    phi = features.reshape(*first_share.shape, -1)

    def add(smoother: Array, share: Array, axis: int, start: Array) -> Array:
        # Sums of products, not a contraction: XLA fuses them into one sweep over the tile.
        rows = jnp.sum(phi * share.astype(phi.dtype)[..., None], axis=(axis, 2))
        there = jax.lax.dynamic_slice_in_dim(smoother, start, rows.shape[0])
        return jax.lax.dynamic_update_slice_in_dim(smoother, there + rows, start, 0)

    return add(add(smoother, first_share, 1, first), second_share, 0, second)


def _save(path: Path, fingerprint: dict[str, str], state: _State) -> None:
    leaves = jax.tree.leaves(state.sums)
    stored: dict[str, Any] = {f"leaf{index}": np.asarray(leaf) for index, leaf in enumerate(leaves)}
    stored |= {"done": state.done, "fingerprint": json.dumps(fingerprint)}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **stored)


def _load(path: Path, fingerprint: dict[str, str], like: Sums) -> _State:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            found, done = json.loads(str(stored["fingerprint"])), int(stored["done"])
            leaves = [stored[f"leaf{index}"] for index in range(len(stored.files) - 2)]
    except OSError:
        raise
    except Exception as error:  # numpy and zipfile raise many kinds, as the damage has it
        raise ValueError(
            f"checkpoint: {path} is not a whole checkpoint ({error}); delete it, or pass another"
        ) from error
    differing = sorted(name for name in fingerprint if found.get(name) != fingerprint[name])
    if differing:
        raise ValueError(
            f"checkpoint: {path} belongs to another problem, which differs in {', '.join(differing)}; pass another "
            "file, or delete it to start over"
        )
    sums = jax.tree.unflatten(jax.tree.structure(like), leaves)
    return _State(jax.tree.map(lambda place, leaf: jax.device_put(leaf, place.sharding), like, sums), done)
