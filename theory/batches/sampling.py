"""The law of sampling: how much the mean of a batch of rows varies, whatever is averaged.

Let z be what a row contributes, and W its covariance over all rows. The covariance of the mean of B rows is

    W / B + (1 - 1 / B) D,

and D, that of two different rows of a batch, is 0 where rows are independent; Cov_q m_q where they share a node q of
the quadrature over lam, of node means m_q; and without replacement less by the covariance between pairs over N - 1,
which is that at the batch's node if its rows share one, and otherwise that of means over nodes.

Libraries mix a batch of B different originals with a permutation pi of itself: row k is the pair (b_k, b_pi(k)). Then
two rows share originals, or do not, in one of five patterns, whose probabilities (`Patterns`) follow from the law of
pi alone; given the pattern, the originals are uniform over different ones. A mean over different originals is made of
sums over all of them, less those where two coincide. With n originals, their own pairs D_j = z_jj, and the means
R_j of z_ij over i and L_j of z_jl over l, i and l other than j, everything that can be asked is a mean of squares
(`Squares`) of three kinds of vectors: (mean D, mean R) once, (D_j, R_j, L_j) for each original, and (z_ij, z_ji) for
each couple of two.

Source: derived here.
"""

from typing import Any, NamedTuple

import equinox as eqx
import numpy as np
from jaxtyping import Float

from theory.checks import check_choice, check_count

PARTNERS = ("independent", "permuted", "flipped", "rolled")


class Batches(eqx.Module):
    """How the rows of a batch are drawn.

    Attributes:
        size: B, rows a batch.
        partners: ``independent``: B pairs, drawn one by one. Otherwise B different originals in random order, row k
            the pair of the k-th and the pi(k)-th of them: ``permuted``, pi uniform over all permutations (reference
            implementations of Mixup); ``flipped``, pi(k) = B - 1 - k (timm); ``rolled``, pi(k) = k - 1 modulo B
            (torchvision).
        shared_ratio: one ratio for all rows of a batch, or one for each row.
        replacement: of ``independent`` pairs: drawn independently (True, and so without a word), or B distinct ones.
            The originals of the others are always distinct.
        epochs: batches go through all originals, or through all rows of a table, in a random order that is drawn anew
            for each epoch; what is left over at the end of an epoch, too little for a batch, is dropped. Such batches
            are not independent of each other, so they can be trained on, and have no closed form here.

    Raises:
        ValueError: a size that is not a whole number of at least 1, an unknown word, replacement of originals that
            are always distinct.

    >>> Batches(32, shared_ratio=True).replacement, Batches(32, "permuted", shared_ratio=True).replacement
    (True, False)
    """

    size: int = eqx.field(static=True)
    partners: str = eqx.field(static=True)
    shared_ratio: bool = eqx.field(static=True)
    replacement: bool = eqx.field(static=True)
    epochs: bool = eqx.field(static=True)

    def __init__(
        self,
        size: int,
        partners: str = "independent",
        shared_ratio: bool = False,
        replacement: bool | None = None,
        epochs: bool = False,
    ) -> None:
        check_count("size", size)
        check_choice("partners", partners, PARTNERS)
        if replacement and (epochs or partners != "independent"):
            what = "an epoch" if epochs else f"a batch of partners={partners!r}"
            raise ValueError(f"replacement: {what} has each original at most once; leave it None, or pass False")
        self.size, self.partners, self.shared_ratio, self.epochs = size, partners, shared_ratio, epochs
        self.replacement = not epochs and partners == "independent" and replacement is not False

    @property
    def mixes_itself(self) -> bool:
        """Whether the originals of a batch are mixed with each other, and not with any."""
        return self.partners != "independent"

    @property
    def asks_of_pairs(self) -> bool:
        """Whether it matters what pairs are in their means over nodes."""
        return not (self.shared_ratio or self.replacement)

    @property
    def self_weight(self) -> float:
        """The probability that a row of a batch that mixes itself is an original with itself."""
        return self.patterns.alone

    @property
    def patterns(self) -> "Patterns":
        """How rows of a batch that mixes itself share originals."""
        return Patterns(alone=1.0) if self.size == 1 else _PATTERNS[self.partners](self.size)

    def check_independent(self) -> None:
        """Raises ValueError if batches hang together."""
        if self.epochs:
            raise ValueError(
                "epochs: the batches of one epoch are not independent of each other, and closed forms are of batches "
                "that are; pass epochs=False for the theory beside it"
            )

    def check_drawn_from(self, num_pairs: int) -> None:
        """Raises ValueError if there are no pairs, or fewer than a batch of distinct ones needs."""
        if num_pairs == 0:
            raise ValueError("blocks: the iterator gave no rows; pass at least one block of features and labels")
        if self.mixes_itself:
            there, what = num_originals_of(num_pairs), "originals"
        else:
            there, what = num_pairs, "pairs"
        if self.size > there and not self.replacement:
            instead = "" if self.mixes_itself else ", or replacement=True"
            raise ValueError(
                f"law: a batch of {self.size} distinct {what} cannot be drawn from {there}; pass a size of at most "
                f"{there}{instead}"
            )

    def over_batches(self, num_pairs: int, rows: Any, pairs: Any, nodes: Any) -> Any:
        """A second moment of the mean of a batch; or its covariance, from what is in excess of the square of the mean.

        Args:
            num_pairs: N.
            rows: the mean square over rows.
            pairs: over pairs, of their means over nodes; that over rows, if rows share a node.
            nodes: over nodes, of their means over pairs; the square of the mean, unless rows share one.

        >>> Batches(2).over_batches(9, 8.0, 8.0, 0.0), Batches(2, replacement=False).over_batches(9, 8.0, 8.0, 0.0)
        (4.0, 3.5)
        """
        distinct = nodes if self.replacement else nodes - (pairs - nodes) / max(num_pairs - 1, 1)
        return rows / self.size + (1 - 1 / self.size) * distinct

    def squares(self, num_originals: int) -> "tuple[Squares, Squares]":
        """The second moment of the mean of a batch that mixes itself: of z at each node, and of its means over nodes.

        Rows that share a node are asked for at that node, and the second is zero.

        >>> at_nodes, over_nodes = Batches(2, "rolled").squares(3)  # (i, j) and (j, i), each at its own ratio
        >>> at_nodes.couples.tolist(), over_nodes.couples.tolist()
        ([[0.25, 0.0], [0.0, 0.25]], [[0.0, 0.25], [0.25, 0.0]])
        """
        patterns, of_two = self.patterns, 1 - 1 / self.size
        forms = zip(patterns.one_row(), patterns.two_rows(num_originals), strict=True)
        one, two = zip(*((one / self.size, of_two * two) for one, two in forms), strict=True)
        if self.shared_ratio:
            return Squares(*map(np.add, one, two)), Squares(*map(np.zeros_like, two))
        return Squares(*one), Squares(*two)


class Squares(NamedTuple):
    """A mean of squares: of each kind of vectors v, the mean of sum_ab form_ab v_a v_bᵀ; each form is symmetric."""

    totals: Float[np.ndarray, "2 2"]
    """Of (mean D, mean R)."""
    originals: Float[np.ndarray, "3 3"]
    """Of (D_j, R_j, L_j), a mean over originals."""
    couples: Float[np.ndarray, "2 2"]
    """Of (z_ij, z_ji), a mean over i < j."""


class Patterns(NamedTuple):
    """Probabilities of how one row of a batch, and two different rows of it, share originals.

    >>> Batches(4, "permuted").patterns == Patterns(1 / 4, 1 / 12, 4 / 12, 1 / 12, 4 / 12, 2 / 12)
    True
    """

    alone: float
    """One row is (j, j)."""
    both_alone: float = 0.0
    """Two rows are (i, i) and (j, j)."""
    one_alone: float = 0.0
    """(i, i) and (j, l), in either order."""
    closed: float = 0.0
    """(i, j) and (j, i)."""
    chained: float = 0.0
    """(i, j) and (j, l), in either order."""
    apart: float = 0.0
    """(i, j) and (k, l)."""

    def one_row(self) -> Squares:
        """The mean square of a row."""
        originals = np.diag([self.alone, 0, 0])
        return Squares(np.zeros((2, 2)), originals, np.eye(2) * (1 - self.alone) / 2)

    def two_rows(self, num_originals: int) -> Squares:
        """The mean product of two different rows, made symmetric."""
        n = num_originals
        both = _share(self.both_alone, n - 1)
        one = _share(self.one_alone, n - 2)
        chained = _share(self.chained, n - 2)
        apart = _share(self.apart, (n - 2) * (n - 3))
        totals = np.asarray([[n * both, n * one / 2], [n * one / 2, n * (n - 1) * apart]])
        sides = -(n - 1) * apart
        ends = sides + (n - 1) * chained / 2
        originals = np.asarray([[-both, -one / 2, -one / 2], [-one / 2, sides, ends], [-one / 2, ends, sides]])
        crossed = apart + self.closed - chained
        return Squares(totals, originals, np.asarray([[apart, crossed], [crossed, apart]]) / 2)


def _share(probability: float, choices: int) -> float:
    """Of each choice; of what never happens there may be none."""
    return probability / choices if probability > 0 else 0.0


def _permuted(size: int) -> Patterns:
    of_two = size * (size - 1)
    return Patterns(
        alone=1 / size,
        both_alone=1 / of_two,
        one_alone=2 * (size - 2) / of_two,
        closed=1 / of_two,
        chained=2 * (size - 2) / of_two,
        apart=(size - 2) * (size - 3) / of_two,
    )


def _flipped(size: int) -> Patterns:
    """An odd batch has one row in its middle; all others are couples."""
    middle, of_two = size % 2, size * (size - 1)
    others = size - middle
    return Patterns(
        alone=middle / size,
        one_alone=2 * middle / size,
        closed=others / of_two,
        apart=others * (others - 2) / of_two,
    )


def _rolled(size: int) -> Patterns:
    if size == 2:
        return Patterns(alone=0.0, closed=1.0)
    return Patterns(alone=0.0, chained=2 / (size - 1), apart=(size - 3) / (size - 1))


_PATTERNS = {"permuted": _permuted, "flipped": _flipped, "rolled": _rolled}


def num_originals_of(num_pairs: int) -> int:
    """n, of all n^2 ordered pairs.

    Raises:
        ValueError: another number of pairs.
    """
    num_originals = round(num_pairs**0.5)
    if num_originals**2 != num_pairs:
        raise ValueError(f"num_pairs: all ordered pairs of n originals are n^2, but there are {num_pairs}; pass n^2")
    return num_originals
