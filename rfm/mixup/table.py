"""Rows that are mixed of a sample: a `PairTable` is one outcome of a law, in which nothing is random.

x~ = lam x_i + (1 - lam) x_j,        y~ = lam y_i + (1 - lam) y_j.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

from theory.checks import as_floating, check_real, is_traced


class PairTable(eqx.Module):
    """Which samples are mixed with which, and how: row k is lam_k of `first`_k and 1 - lam_k of `second`_k.

    Attributes:
        first: i, indices into the samples.
        second: j.
        lam: the share of `first`, in [0, 1]; or one for each coordinate of the inputs, as CutMix's masks are.
        label_lam: its share of the label; None for the same, or for the mean of a mask's.

    >>> left = jnp.asarray([[1.0, 1.0, 1.0, 0.0]])  # three coordinates of the first sample, one of the second
    >>> cut = PairTable(jnp.asarray([0]), jnp.asarray([1]), left)
    >>> cut.mix(jnp.asarray([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]])).tolist()
    [[1.0, 2.0, 3.0, 8.0]]
    >>> cut.mix_labels(jnp.asarray([1.0, 0.0])).tolist()
    [0.75]
    """

    first: Int[Array, "rows"]
    second: Int[Array, "rows"]
    lam: Float[Array, "rows *inputs"]
    label_lam: Float[Array, "rows"] | None = None

    @property
    def label_share(self) -> Float[Array, "rows"]:
        """The share of `first` in the mixed label."""
        if self.label_lam is not None:
            return self.label_lam
        return self.lam if self.lam.ndim == 1 else jnp.mean(self.lam, axis=tuple(range(1, self.lam.ndim)))

    def mix(self, values: Shaped[Array, "samples *axes"]) -> Float[Array, "rows *axes"]:
        """Lam values_i + (1 - lam) values_j, row by row.

        Rows that cannot be mixed, of an index beyond the values or a share beyond [0, 1], are refused; where the table
        is traced, they are NaN.

        >>> table = PairTable(jnp.asarray([0, 1]), jnp.asarray([1, 1]), jnp.asarray([0.25, 0.5]))
        >>> table.mix(jnp.asarray([0.0, 4.0])).tolist()
        [3.0, 4.0]
        """
        return self._mixed("lam", self.lam, values)

    def mix_labels(self, labels: Shaped[Array, "samples *axes"]) -> Float[Array, "rows *axes"]:
        """The same of labels, whose share may be another."""
        if self.label_lam is None and self.lam.ndim > 1:
            _check_rows(self, "lam", self.lam, len(labels))  # a mean would hide shares out of range
        return self._mixed("lam" if self.label_lam is None else "label_lam", self.label_share, labels)

    @property
    def num_originals(self) -> int:
        """How many originals there are at least, by the last index."""
        return 1 + int(jnp.maximum(jnp.max(self.first), jnp.max(self.second)))

    def gather(self, rows: Float[Array, "rows columns"]) -> Float[Array, "originals columns"]:
        """The transpose of `mix_labels`: for each original, the sum of the rows that it is part of, times its shares.

        >>> PairTable(jnp.asarray([0, 1]), jnp.asarray([1, 1]), jnp.asarray([0.25, 0.5])).gather(jnp.eye(2)).tolist()
        [[0.25, 0.0], [0.75, 1.0]]
        """
        share = self.label_share.astype(rows.dtype)[:, None]
        total = jnp.zeros((self.num_originals, rows.shape[1]), rows.dtype)
        return total.at[self.first].add(share * rows).at[self.second].add((1 - share) * rows)

    def _mixed(self, name: str, lam: Float[Array, "rows *inputs"], values: Shaped[Array, "samples *axes"]) -> Array:
        values = as_floating("values", values)
        check_real(name, lam)
        if lam.ndim > 1 and lam.shape[1:] != values.shape[1:]:
            raise ValueError(
                f"values: have the shape {values.shape[1:]} a sample, but the table has shares for {lam.shape[1:]}; "
                "pass what they were made for"
            )
        _check_rows(self, name, lam, len(values))
        return _mixed(self.first, self.second, lam, values)

    def __len__(self) -> int:
        return self.lam.shape[0]


def _check_rows(table: PairTable, share: str, lam: Array, number: int) -> None:
    """Raises ValueError for rows that cannot be mixed of so many values, as far as the table is known."""
    for name, index in (("first", table.first), ("second", table.second)):
        if is_traced(index):
            continue
        there = np.asarray(index)
        least, last = int(there.min()), int(there.max())
        if least < 0:
            raise ValueError(f"{name}: holds the negative index {least}; pass indices from 0 on")
        if last >= number:
            raise ValueError(f"values: there are {number}, but the table mixes the one at index {last}")
    if is_traced(lam):
        return
    shares = np.asarray(lam)
    outside = ~_within(shares, 1)
    if outside.any():
        row = int(np.argwhere(outside)[0][0])
        raise ValueError(f"{share}: must lie in [0, 1], got {shares[outside][0]} at row {row}")


@eqx.filter_jit
def _mixed(
    first: Int[Array, "rows"],
    second: Int[Array, "rows"],
    lam: Float[Array, "rows *inputs"],
    values: Float[Array, "samples *axes"],
) -> Float[Array, "rows *axes"]:
    last = len(values) - 1  # JAX would take the last row for those beyond it
    known = _within(first, last) & _within(second, last)
    known = known.reshape(known.shape + (1,) * (lam.ndim - 1)) & _within(lam, 1)
    lam = jnp.where(known, lam, jnp.nan).astype(values.dtype)
    lam = lam.reshape(lam.shape + (1,) * (values.ndim - lam.ndim))
    return lam * values[first] + (1 - lam) * values[second]


def _within(numbers: Array | np.ndarray, last: int) -> Any:
    return (numbers >= 0) & (numbers <= last)
