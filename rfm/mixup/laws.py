"""Mixup: which pairs of samples are interpolated, with what ratio, and the rows that come of it.

    x~ = lam x_i + (1 - lam) x_j,        y~ = lam y_i + (1 - lam) y_j.

A law says how pairs (i, j) and ratios lam are chosen; a `PairTable` is one outcome, in which nothing is random.
All n^2 pairs of a sample are enumerated block by block, so that neither they nor their features need ever be held.
"""

from abc import abstractmethod
from collections.abc import Iterator
from typing import ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from rfm.checks import check_key
from rfm.mixup.pairing import Pairing, PairTable, pairing_of
from rfm.mixup.ratios import BetaRatio, FixedRatio, Ratio
from theory.checks import check_count
from theory.linalg import on_device


class Law(eqx.Module):
    """What rows are made of a sample. A law of your own says how many they are, and which.

    Attributes:
        fewest_samples: that it can be applied to.
    """

    fewest_samples: ClassVar[int] = 1

    @property
    def needs_key(self) -> bool:
        """Whether an outcome depends on chance."""
        return False

    @property
    def is_expected(self) -> bool:
        """Whether it stands for fresh pairs and ratios at every step, as only `Mixup` may."""
        return False

    @abstractmethod
    def num_rows(self, num_samples: int) -> int:
        """The number of synthesized rows, m.

        Raises:
            ValueError: the law draws fresh rows at every step.
        """

    @abstractmethod
    def table(self, rows: Int[Array, "rows"], num_samples: int, key: PRNGKeyArray | None) -> PairTable:
        """The rows with those indices, from 0 to m - 1; what a row is does not depend on those beside it."""

    def tables(self, num_samples: int, block_rows: int, *, key: PRNGKeyArray | None = None) -> Iterator[PairTable]:
        """One outcome of the law, in blocks; the rows do not depend on the size of the blocks.

        Raises:
            ValueError: too few samples, or no key for a law that draws.
        """
        check_count(f"num_samples (for {type(self).__name__})", num_samples, least=self.fewest_samples)
        if self.needs_key and key is None:
            raise ValueError(f"key: {self} draws at random; pass key=jax.random.key(seed)")
        if key is not None:
            check_key("key", key)
        num_rows = self.num_rows(num_samples)
        check_count("law: num_rows(num_samples)", num_rows)
        for first in range(0, num_rows, block_rows):
            rows = np.arange(first, min(first + block_rows, num_rows))
            yield self.table(on_device(rows), num_samples, key)


class ERM(Law):
    """No mixing: the samples themselves (empirical risk minimisation)."""

    def num_rows(self, num_samples: int) -> int:
        """One row a sample."""
        return num_samples

    def table(self, rows: Int[Array, "rows"], num_samples: int, key: PRNGKeyArray | None) -> PairTable:
        """Each sample with itself."""
        return PairTable(rows, rows, jnp.ones(rows.shape))

    def __str__(self) -> str:
        return "ERM"


class Mixup(Law):
    """Mixup with a fixed ratio, or ratios drawn from Beta(alpha, alpha).

    Args:
        lam: the fixed ratio, in [0, 1]; or
        alpha: the parameter of the Beta distribution, from 1e-4 to 1e3; small means little mixing, 1 is uniform. The
            limits are `ERM` (alpha to 0) and ``lam=0.5`` (alpha to infinity).
        pairs: ``"all"`` n^2 ordered pairs (a sample with itself included); a number of pairs, drawn independently and
            uniformly among those; or ``"expected"``, for fresh pairs and ratios at every step: then there is no table
            of rows, but an average over all pairs and ratios, which `rfm.expected_mixup` computes.

    Attributes:
        ratio: the law of lam.
        pairing: that of the pairs.

    Raises:
        ValueError: both or neither of lam and alpha, or one out of range.

    >>> Mixup(lam=0.5).num_rows(num_samples=20), Mixup(alpha=1.0, pairs=4000).num_rows(num_samples=20)
    (400, 4000)
    """

    ratio: Ratio
    pairing: Pairing
    fewest_samples: ClassVar[int] = 2

    def __init__(
        self,
        lam: float | Float[Array, ""] | None = None,
        *,
        alpha: float | Float[Array, ""] | None = None,
        pairs: int | Literal["all", "expected"] = "all",
    ) -> None:
        if lam is not None and alpha is None:
            self.ratio: Ratio = FixedRatio(lam)
        elif alpha is not None and lam is None:
            self.ratio = BetaRatio(alpha)
        else:
            raise ValueError(
                f"lam, alpha: pass one of them, the fixed ratio or the Beta parameter; got {lam} and {alpha}"
            )
        self.pairing = pairing_of(pairs)

    @property
    def needs_key(self) -> bool:
        """Whether an outcome depends on chance."""
        return not self.is_expected and (self.ratio.is_random or self.pairing.is_random)

    @property
    def is_expected(self) -> bool:
        """Whether it stands for fresh pairs and ratios at every step."""
        return self.pairing.is_expected

    def num_rows(self, num_samples: int) -> int:
        """The number of synthesized rows, m.

        Raises:
            ValueError: the law draws fresh rows at every step.
        """
        return self.pairing.num_rows(num_samples)

    def table(self, rows: Int[Array, "rows"], num_samples: int, key: PRNGKeyArray | None) -> PairTable:
        """The pairs and ratios of those rows."""
        key = jax.random.key(0) if key is None else key  # of a law that does not draw
        numbers = jax.tree.map(on_device, self)  # traced, or each alpha compiles again
        return _rows(numbers, rows, num_samples, key)

    def __str__(self) -> str:
        return f"Mixup({self.ratio}, pairs={self.pairing})"


@eqx.filter_jit
def _rows(law: Mixup, rows: Int[Array, "rows"], num_samples: int, key: PRNGKeyArray) -> PairTable:
    """Each row draws from a key of its own, so that a row is the same in whichever block it comes."""
    dtype = jnp.result_type(float)

    def one(row: Array) -> tuple[Array, Array, Array]:
        pair_key, ratio_key = jax.random.split(jax.random.fold_in(key, row))
        return *law.pairing.pair(pair_key, row, num_samples), law.ratio.draw(ratio_key, (), dtype)

    return PairTable(*jax.vmap(one)(rows))
