"""The law of sampling: how much the mean of a batch of rows varies, whatever is averaged.

Let z be what a row contributes, and W its covariance over all rows. The covariance of the mean of B rows is

    W / B + (1 - 1 / B) D,

and D, that of two different rows of a batch, is 0 where rows are independent; Cov_q m_q where they share a node q of
the quadrature over lam, of node means m_q; and without replacement less by the covariance between pairs over N - 1,
which is that at the batch's node if its rows share one, and otherwise that of means over nodes.

Source: derived here.
"""

from typing import Any

import equinox as eqx

from theory.checks import check_count


class Batches(eqx.Module):
    """How the rows of a batch are drawn: pairs, all equally likely, and a ratio lam for each row.

    Most libraries mix a batch with a permutation of itself: another law, of smaller spread, which is not here.

    Attributes:
        size: B, rows a batch.
        shared_ratio: one ratio for all rows of a batch, whose pairs are independent all the same, or one for each row.
        replacement: the pairs of a batch are independent, or they are B distinct ones.

    Raises:
        ValueError: a size that is not a whole number of at least 1.

    >>> Batches(32, shared_ratio=True).replacement
    True
    """

    size: int = eqx.field(static=True)
    shared_ratio: bool = eqx.field(default=False, static=True)
    replacement: bool = eqx.field(default=True, static=True)

    def __check_init__(self) -> None:
        check_count("size", self.size)

    @property
    def asks_of_pairs(self) -> bool:
        """Whether it matters what pairs are in their means over nodes."""
        return not (self.shared_ratio or self.replacement)

    def check_drawn_from(self, num_pairs: int) -> None:
        """Raises ValueError if there are no pairs, or fewer than a batch of distinct ones needs."""
        if num_pairs == 0:
            raise ValueError("blocks: the iterator gave no rows; pass at least one block of features and labels")
        if self.size > num_pairs and not self.replacement:
            raise ValueError(
                f"law: a batch of {self.size} distinct pairs cannot be drawn from {num_pairs}; pass a size of at most "
                f"{num_pairs}, or replacement=True"
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
