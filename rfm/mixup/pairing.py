"""Which samples are mixed with which: a `Pairing` is the law, a `PairTable` one outcome, in which nothing is random."""

from abc import abstractmethod
from typing import Any, ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, Shaped

from theory.checks import as_floating, check_count, check_real, is_traced


class Pairing(eqx.Module):
    """How the pairs (i, j) of a sample are chosen."""

    is_random: ClassVar[bool] = False
    is_expected: ClassVar[bool] = False
    """Whether pairs are drawn afresh at every step, so that there is no table of them."""

    @abstractmethod
    def num_rows(self, num_samples: int) -> int:
        """How many there are."""

    @abstractmethod
    def pair(self, key: PRNGKeyArray, row: Int[Array, ""], num_samples: int) -> tuple[Int[Array, ""], Int[Array, ""]]:
        """The pair of one row; the key is that row's own."""


class AllPairs(Pairing):
    """All n^2 ordered pairs, a sample with itself included."""

    def num_rows(self, num_samples: int) -> int:
        return num_samples**2

    def pair(self, key: PRNGKeyArray, row: Int[Array, ""], num_samples: int) -> tuple[Int[Array, ""], Int[Array, ""]]:
        return row // num_samples, row % num_samples

    def __str__(self) -> str:
        return "all"


class DrawnPairs(Pairing):
    """So many pairs, drawn once, independently and uniformly among all."""

    number: int
    is_random: ClassVar[bool] = True

    def num_rows(self, num_samples: int) -> int:
        return self.number

    def pair(self, key: PRNGKeyArray, row: Int[Array, ""], num_samples: int) -> tuple[Int[Array, ""], Int[Array, ""]]:
        first, second = jax.random.randint(key, (2,), 0, num_samples)
        return first, second

    def __str__(self) -> str:
        return str(self.number)


class ExpectedPairs(Pairing):
    """Fresh pairs at every step, drawn independently and uniformly among all."""

    is_expected: ClassVar[bool] = True

    def num_rows(self, num_samples: int) -> int:
        raise ValueError(
            'law: Mixup(..., pairs="expected") has no table of rows; rfm.expected_mixup averages over all that there '
            "can be"
        )

    def pair(self, key: PRNGKeyArray, row: Int[Array, ""], num_samples: int) -> tuple[Int[Array, ""], Int[Array, ""]]:
        raise ValueError(
            'law: Mixup(..., pairs="expected") has no table of rows; batches draw from rfm.expected_mixup(...)'
        )

    def __str__(self) -> str:
        return "expected"


def pairing_of(pairs: int | Literal["all", "expected"]) -> Pairing:
    """What `Mixup`'s argument stands for.

    Raises:
        ValueError: another word, or a number that is not positive and whole.
    """
    if isinstance(pairs, str):
        if pairs not in NAMED:
            raise ValueError(f"pairs: {pairs!r} is not known; pass 'all', 'expected' or a number of random pairs")
        return NAMED[pairs]
    check_count("pairs", pairs)
    return DrawnPairs(int(pairs))


NAMED: dict[str, Pairing] = {"all": AllPairs(), "expected": ExpectedPairs()}


class PairTable(eqx.Module):
    """Which samples are mixed with which, and how: row k is lam_k of `first`_k and 1 - lam_k of `second`_k.

    Attributes:
        first: i, indices into the samples.
        second: j.
        lam: the share of `first`, in [0, 1].
    """

    first: Int[Array, "rows"]
    second: Int[Array, "rows"]
    lam: Float[Array, "rows"]

    def mix(self, values: Shaped[Array, "samples *axes"]) -> Float[Array, "rows *axes"]:
        """Lam values_i + (1 - lam) values_j, row by row: for inputs and labels alike.

        Rows that cannot be mixed, of an index beyond the values or a share beyond [0, 1], are refused; where the table
        is traced, they are NaN.

        >>> table = PairTable(jnp.asarray([0, 1]), jnp.asarray([1, 1]), jnp.asarray([0.25, 0.5]))
        >>> table.mix(jnp.asarray([0.0, 4.0])).tolist()
        [3.0, 4.0]
        """
        values = as_floating("values", values)
        check_real("lam", self.lam)
        _check_rows(self, len(values))
        return _mixed(self, values)

    def __len__(self) -> int:
        return self.lam.shape[0]


def _check_rows(table: PairTable, number: int) -> None:
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
    if is_traced(table.lam):
        return
    shares = np.asarray(table.lam)
    outside = ~_within(shares, 1)
    if outside.any():
        raise ValueError(f"lam: must lie in [0, 1], got {shares[outside][0]} at row {outside.argmax()}")


@eqx.filter_jit
def _mixed(table: PairTable, values: Float[Array, "samples *axes"]) -> Float[Array, "rows *axes"]:
    last = len(values) - 1  # JAX would take the last row for those beyond it
    known = _within(table.first, last) & _within(table.second, last) & _within(table.lam, 1)
    lam = jnp.where(known, table.lam, jnp.nan).astype(values.dtype)
    lam = lam.reshape(lam.shape + (1,) * (values.ndim - 1))
    return lam * values[table.first] + (1 - lam) * values[table.second]


def _within(numbers: Array | np.ndarray, last: int) -> Any:
    return (numbers >= 0) & (numbers <= last)
