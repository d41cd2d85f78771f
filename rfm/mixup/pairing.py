"""How many pairs are mixed: all that have a weight, some drawn once, or fresh ones at every step."""

from abc import abstractmethod
from typing import ClassVar, Literal

import equinox as eqx
from jaxtyping import Array, Int, PRNGKeyArray

from rfm.mixup.weights import PairWeights
from theory.checks import check_count

Pair = tuple[Int[Array, ""], Int[Array, ""]]


class Pairing(eqx.Module):
    """How many pairs (i, j) of a sample there are, and how they are chosen by their weights."""

    is_random: ClassVar[bool] = False
    is_expected: ClassVar[bool] = False
    """Whether pairs are drawn afresh at every step, so that there is no table of them."""

    @abstractmethod
    def num_rows(self, weights: PairWeights) -> int:
        """How many there are."""

    @abstractmethod
    def pair(self, key: PRNGKeyArray, row: Int[Array, ""], weights: PairWeights) -> Pair:
        """The pair of one row; the key is that row's own."""


class AllPairs(Pairing):
    """All ordered pairs that have a weight, once each; for Mixup n^2, a sample with itself included."""

    def num_rows(self, weights: PairWeights) -> int:
        if not weights.is_even:
            raise ValueError(
                "pairs: 'all' lists each pair once, but these partners have pairs of different weights; pass a number "
                "of pairs to draw, or 'expected' for all by their weights"
            )
        return weights.num_pairs

    def pair(self, key: PRNGKeyArray, row: Int[Array, ""], weights: PairWeights) -> Pair:
        return weights.listed(row)

    def __str__(self) -> str:
        return "all"


class DrawnPairs(Pairing):
    """So many pairs, drawn once, independently, by their weights."""

    number: int
    is_random: ClassVar[bool] = True

    def num_rows(self, weights: PairWeights) -> int:
        return self.number

    def pair(self, key: PRNGKeyArray, row: Int[Array, ""], weights: PairWeights) -> Pair:
        return weights.draw(key)

    def __str__(self) -> str:
        return str(self.number)


class ExpectedPairs(Pairing):
    """Fresh pairs at every step, drawn independently, by their weights."""

    is_expected: ClassVar[bool] = True

    def num_rows(self, weights: PairWeights) -> int:
        raise ValueError(
            'law: Mixup(..., pairs="expected") has no table of rows; rfm.expected_mixup averages over all that there '
            "can be"
        )

    def pair(self, key: PRNGKeyArray, row: Int[Array, ""], weights: PairWeights) -> Pair:
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
