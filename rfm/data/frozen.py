"""Frozen networks: features of mixed inputs, which are not mixtures of features.

A frozen encoder is asked for the features of the rows themselves and of drawn mixtures of them, in blocks; only the
last layer is trained. Where the encoder lives elsewhere, the same two arrays come from a file.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, PRNGKeyArray

from rfm.files import check_is_file
from rfm.mixup.law import Law
from rfm.mixup.table import PairTable
from theory.checks import check_count, check_finite, check_same_rows, check_shape, described
from theory.linalg import on_device

BLOCK_ROWS = 256
PAIRS_PER_ROW = 20
"""Mixtures that are drawn for each row."""
SAME = 1e-4
"""How far two encodings of the same rows may be apart, relative to the largest feature: single precision, and sums
whose order a device chooses."""


class MixedFeatures(Law):
    """Features of mixed rows, and which rows they were mixed of: one outcome of a law, encoded.

    Args:
        first: i, indices into the originals.
        second: j.
        lam: the share of i in the input.
        features: of each mixture, one row a pair.
        label_lam: its share in the label; None for the same.

    Raises:
        ValueError: columns of different lengths, a share beyond [0, 1], features that are not finite.

    >>> first, second = np.asarray([0, 1, 2]), np.asarray([1, 2, 0])
    >>> mixed = MixedFeatures(first, second, np.asarray([0.5, 0.5, 1.0]), np.eye(3))
    >>> mixed.within(np.asarray([1, 2])).pairs.first.tolist()  # the pair (1, 2), as rows of those two
    [0]
    """

    pairs: PairTable
    features: Float[Array, "pairs features"]

    def __init__(
        self,
        first: ArrayLike,
        second: ArrayLike,
        lam: ArrayLike,
        features: ArrayLike,
        label_lam: ArrayLike | None = None,
    ) -> None:
        first, second, lam = np.asarray(first), np.asarray(second), np.asarray(lam, float)
        shares = {"lam": lam} if label_lam is None else {"lam": lam, "label_lam": np.asarray(label_lam, float)}
        for name, index in (("first", first), ("second", second)):
            if not np.issubdtype(index.dtype, np.integer) or index.ndim != 1 or np.min(index, initial=0) < 0:
                raise ValueError(f"{name}: must be the index of a row for each pair, got {described(index)}")
            check_same_rows(name, index, "lam", len(lam))
        for name, share in shares.items():
            check_same_rows(name, share, "first", len(first))
            if not np.all((share >= 0) & (share <= 1)):
                raise ValueError(f"{name}: must lie in [0, 1], got {share[~((share >= 0) & (share <= 1))][0]}")
        found = on_device(np.asarray(features, float))
        check_shape("features", found, ndim=2)
        check_same_rows("features", found, "pairs", len(lam))
        self.pairs = PairTable(on_device(first), on_device(second), *map(on_device, shares.values()))
        self.features = check_finite("features", found)

    def num_rows(self, num_samples: int) -> int:
        """Those that are mixed."""
        return len(self.pairs)

    def table(self, rows: Int[Array, "rows"], num_samples: int, key: PRNGKeyArray | None) -> PairTable:
        """Some of the pairs."""
        return jax.tree.map(lambda column: column[rows], self.pairs)

    def within(self, rows: Int[np.ndarray, "rows"]) -> "MixedFeatures":
        """Those of which both are among these rows, numbered as these are.

        Raises:
            ValueError: there is none.
        """
        first, second = np.asarray(self.pairs.first), np.asarray(self.pairs.second)
        place = np.full(max(first.max(), second.max(), np.max(rows, initial=0)) + 1, -1)
        place[rows] = np.arange(len(rows))
        kept = np.flatnonzero((place[first] >= 0) & (place[second] >= 0))
        if not len(kept):
            raise ValueError(
                f"features: none of the {len(first)} pairs is mixed of two rows that are trained on; mix more pairs, "
                "or hold out fewer rows"
            )
        lam, features = np.asarray(self.pairs.lam)[kept], np.asarray(self.features)[kept]
        label_lam = None if self.pairs.label_lam is None else np.asarray(self.pairs.label_lam)[kept]
        return MixedFeatures(place[first[kept]], place[second[kept]], lam, features, label_lam)

    def check_originals(self, originals: np.ndarray) -> None:
        """Raises ValueError unless these can be the features of the rows that were mixed.

        A pair of a row with itself, and one whose ratio is 0 or 1, has the features of that row.
        """
        first, second, lam = (np.asarray(column) for column in (self.pairs.first, self.pairs.second, self.pairs.lam))
        last = int(max(first.max(), second.max()))
        if last >= len(originals):
            raise ValueError(
                f"features: a pair mixes row {last}, but there are {len(originals)}; pass those of this data"
            )
        if originals.shape[1] != self.features.shape[1]:
            raise ValueError(
                f"features: mixed rows have {self.features.shape[1]} features, the originals {originals.shape[1]}; "
                "pass those of one encoder"
            )
        alone = np.where((first == second) | (lam == 1), first, np.where(lam == 0, second, -1))
        known = np.flatnonzero(alone >= 0)
        off = np.max(np.abs(np.asarray(self.features)[known] - originals[alone[known]]), axis=1, initial=0)
        if len(wrong := np.flatnonzero(off > SAME * np.max(np.abs(originals)))):
            pair = known[wrong[0]]
            raise ValueError(
                f"features: pair {pair} is row {alone[pair]} by itself, but has other features; they do not match the "
                "pairs, or the encoder is not deterministic (dropout, batch statistics)"
            )


def read_mixed(path: Path, num_rows: int) -> tuple[Float[np.ndarray, "rows features"], MixedFeatures]:
    """Features of rows and of mixtures of them, from an .npz file with ``features``, ``first``, ``second`` and ``lam``.

    The features are those of the rows, and then those of the mixtures.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no such arrays, or features of other rows.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "mixed.npz")
    ...     np.savez(path, features=np.eye(3), first=[0], second=[1], lam=[0.5])
    ...     originals, mixed = read_mixed(path, 2)
    >>> originals.shape, len(mixed.pairs)
    ((2, 3), 1)
    """
    check_is_file("features", path)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            features, first, second, lam = (archive[name] for name in ("features", "first", "second", "lam"))
            label_lam = archive.get("label_lam")
    except Exception as error:  # zip, zlib and numpy all have their own
        raise ValueError(
            f"features: {path} is not a readable .npz file with features, first, second and lam ({error}); keep what "
            "`rfm pairs` wrote, and add the features of its x"
        ) from error
    flat = np.asarray(features, float).reshape(len(features), -1)
    if len(flat) != num_rows + len(lam):
        raise ValueError(
            f"features: {path} has those of {len(flat)} rows; {num_rows + len(lam)} are needed, of {num_rows} rows of "
            f"the data and of {len(lam)} mixtures, in the order of x in the file of `rfm pairs`"
        )
    if not np.all(np.isfinite(flat)):
        raise ValueError(f"features: {path} holds values that are not finite; scale what the network is given")
    mixed = MixedFeatures(first, second, lam, flat[num_rows:], label_lam)
    mixed.check_originals(flat[:num_rows])
    return flat[:num_rows], mixed


class Encoder(eqx.Module):
    """A frozen network, as a callable from inputs, of the shape in which they are passed, to features.

    It is given rows and mixtures of one type: floating point as it is passed, and whole numbers in double precision.

    Args:
        function: of arrays [rows, ...] to features [rows, features]; NumPy, JAX, PyTorch (without gradients).
        block_rows: rows that it is given at a time.
        pairs_per_row: mixtures that are drawn for each row.
        progress: called with the rows that are encoded and their number, after each block.

    >>> encoder = Encoder(lambda images: images.reshape(len(images), -1) ** 2, block_rows=2)
    >>> encoder(np.ones((3, 2, 2))).shape
    (3, 4)
    """

    function: Callable[[Any], Any]
    block_rows: int = BLOCK_ROWS
    pairs_per_row: int = PAIRS_PER_ROW
    progress: Callable[[int, int], object] | None = None

    def __check_init__(self) -> None:
        if not callable(self.function):
            raise TypeError(f"function: must be a callable from inputs to features, got {described(self.function)}")
        check_count("block_rows", self.block_rows)
        check_count("pairs_per_row", self.pairs_per_row)

    def __call__(self, inputs: np.ndarray) -> Float[np.ndarray, "rows features"]:
        """The features of these rows.

        Raises:
            ValueError: another number of rows or of columns than was asked for, values that are not finite, an encoder
                that gives the same rows other features the second time.
        """
        inputs = _floating(inputs)
        first = self._encoded(inputs[: self.block_rows])
        off = np.max(np.abs(self._encoded(inputs[: self.block_rows]) - first), initial=0)
        if off > SAME * np.max(np.abs(first), initial=0):
            raise ValueError(
                f"features: the encoder gives the same rows other features the second time (off by {off:.2g}); switch "
                "dropout and batch statistics off, such as by model.eval()"
            )
        return self._in_blocks(len(inputs), lambda block: inputs[block])

    def mixed(self, inputs: np.ndarray, table: PairTable) -> MixedFeatures:
        """The features of mixtures of these rows, which are mixed a block at a time."""
        first, second, lam = (np.asarray(column) for column in (table.first, table.second, table.lam))
        inputs = _floating(inputs)

        def mixture(block: slice) -> np.ndarray:
            share = lam[block].reshape(-1, *[1] * (inputs.ndim - 1))
            return (share * inputs[first[block]] + (1 - share) * inputs[second[block]]).astype(inputs.dtype)

        return MixedFeatures(first, second, lam, self._in_blocks(len(lam), mixture), table.label_lam)

    def _in_blocks(self, number: int, rows: Callable[[slice], np.ndarray]) -> np.ndarray:
        blocks: list[np.ndarray] = []
        for start in range(0, number, self.block_rows):
            blocks.append(self._encoded(rows(slice(start, start + self.block_rows))))
            if blocks[-1].shape[1] != blocks[0].shape[1]:
                raise ValueError(
                    f"features: the encoder gives {blocks[0].shape[1]} features, and {blocks[-1].shape[1]} to the rows "
                    f"from {start} on; return as many for every row"
                )
            if self.progress is not None:
                self.progress(min(start + self.block_rows, number), number)
        return np.concatenate(blocks)

    def _encoded(self, block: np.ndarray) -> Float[np.ndarray, "rows features"]:
        output = self.function(block)
        try:
            found = np.asarray(output, float)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"features: the encoder's output is no array of numbers ({error}); return one") from error
        if found.ndim == 0 or len(found) != len(block):
            raise ValueError(
                f"features: the encoder returned the shape {found.shape} for {len(block)} rows; return one row of "
                "features for each"
            )
        if not np.all(np.isfinite(found)):
            raise ValueError(
                "features: the encoder returned values that are not finite; scale its inputs as in its training"
            )
        return found.reshape(len(found), -1)


def _floating(inputs: np.ndarray) -> np.ndarray:
    return inputs if np.issubdtype(inputs.dtype, np.floating) else inputs.astype(float)
