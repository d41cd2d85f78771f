"""Mixup: which pairs of samples are interpolated, with what ratio, and the rows that come of it.

    x~ = lam x_i + (1 - lam) x_j,        y~ = lam y_i + (1 - lam) y_j.

A law says how pairs (i, j) and ratios lam are chosen; a `PairTable` is one outcome, in which nothing is random.
All n^2 pairs of a sample are enumerated block by block, so that neither they nor their features need ever be held.
"""

from collections.abc import Iterator
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from rfm.checks import check_key
from rfm.mixup.pairing import PairTable
from theory.checks import check_alpha, check_count, described, is_number, is_traced


class ERM(eqx.Module):
    """No mixing: the samples themselves (empirical risk minimisation)."""

    def num_rows(self, num_samples: int) -> int:
        """One row a sample."""
        return num_samples

    def tables(self, num_samples: int, block_rows: int, *, key: PRNGKeyArray | None = None) -> Iterator[PairTable]:
        """Each sample with itself."""
        for first in range(0, num_samples, block_rows):
            index = jnp.arange(first, min(first + block_rows, num_samples))
            yield PairTable(index, index, jnp.ones(index.shape))

    def __str__(self) -> str:
        return "ERM"


class Mixup(eqx.Module):
    """Mixup with a fixed ratio, or ratios drawn from Beta(alpha, alpha).

    Args:
        lam: the fixed ratio, in [0, 1]; or
        alpha: the parameter of the Beta distribution, from 1e-4 to 1e3; small means little mixing, 1 is uniform. The
            limits are `ERM` (alpha to 0) and ``lam=0.5`` (alpha to infinity).
        pairs: ``"all"`` n^2 ordered pairs (a sample with itself included); a number of pairs, drawn independently and
            uniformly among those; or ``"expected"``, for fresh pairs and ratios at every step: then there is no table
            of rows, but an average over all pairs and ratios, which `rfm.expected_mixup` computes.

    Raises:
        ValueError: both or neither of lam and alpha, or one out of range.

    >>> Mixup(lam=0.5).num_rows(num_samples=20), Mixup(alpha=1.0, pairs=4000).num_rows(num_samples=20)
    (400, 4000)
    """

    lam: float | Float[Array, ""] | None
    alpha: float | Float[Array, ""] | None
    pairs: int | Literal["all", "expected"] = eqx.field(static=True)

    def __init__(
        self,
        lam: float | Float[Array, ""] | None = None,
        *,
        alpha: float | Float[Array, ""] | None = None,
        pairs: int | Literal["all", "expected"] = "all",
    ) -> None:
        if (lam is None) == (alpha is None):
            raise ValueError(
                f"lam, alpha: pass one of them, the fixed ratio or the Beta parameter; got {lam} and {alpha}"
            )
        if lam is not None and not is_traced(lam) and not (is_number(lam) and 0 <= lam <= 1):
            raise ValueError(f"lam: must lie in [0, 1], got {described(lam)}")
        if alpha is not None:
            check_alpha("alpha", alpha)
        if pairs not in ("all", "expected"):
            if isinstance(pairs, str):
                raise ValueError(f"pairs: {pairs!r} is not known; pass 'all', 'expected' or a number of random pairs")
            check_count("pairs", pairs)
        self.lam, self.alpha, self.pairs = lam, alpha, pairs if isinstance(pairs, str) else int(pairs)

    @property
    def needs_key(self) -> bool:
        """Whether an outcome depends on chance."""
        return not self.is_expected and (self.alpha is not None or self.pairs != "all")

    @property
    def is_expected(self) -> bool:
        """Whether it stands for fresh pairs and ratios at every step."""
        return self.pairs == "expected"

    def num_rows(self, num_samples: int) -> int:
        """The number of synthesized rows, m.

        Raises:
            ValueError: the law draws fresh rows at every step.
        """
        if isinstance(self.pairs, int):
            return self.pairs
        if self.is_expected:
            raise ValueError(
                f"law: {self} has no table of rows; rfm.expected_mixup averages over all that there can be"
            )
        return num_samples**2

    def tables(self, num_samples: int, block_rows: int, *, key: PRNGKeyArray | None = None) -> Iterator[PairTable]:
        """One outcome of the law, in blocks; the rows do not depend on the size of the blocks.

        Raises:
            ValueError: fewer than two samples, or no key for a law that draws.
        """
        check_count("num_samples (for Mixup)", num_samples, least=2)
        if self.needs_key and key is None:
            raise ValueError(f"key: {self} draws at random; pass key=jax.random.key(seed)")
        if key is not None:
            check_key("key", key)
        num_rows = self.num_rows(num_samples)
        for first in range(0, num_rows, block_rows):
            rows = jnp.arange(first, min(first + block_rows, num_rows))
            yield self._table(rows, num_samples, key)

    def _table(self, rows: Int[Array, "rows"], num_samples: int, key: PRNGKeyArray | None) -> PairTable:
        if not self.needs_key or key is None:
            return PairTable(rows // num_samples, rows % num_samples, jnp.full(rows.shape, jnp.asarray(self.lam)))
        setting = jnp.asarray(self.alpha if self.lam is None else self.lam)  # traced, or each alpha compiles again
        return _draw(setting, self.lam is None, self.pairs == "all", rows, num_samples, key)

    def __str__(self) -> str:
        name, ratio = ("lam", self.lam) if self.lam is not None else ("alpha", self.alpha)
        written = described(ratio) if is_traced(ratio) else f"{ratio:g}"
        return f"Mixup({name}={written}, pairs={self.pairs})"


Law = Mixup | ERM


@eqx.filter_jit
def _draw(
    setting: Array, is_alpha: bool, enumerated: bool, rows: Array, num_samples: int, key: PRNGKeyArray
) -> PairTable:
    """Each row draws from a key of its own, so that a row is the same in whichever block it comes."""

    def draw_row(row: Array) -> tuple[Array, Array, Array]:
        pair_key, ratio_key = jax.random.split(jax.random.fold_in(key, row))
        drawn = jax.random.randint(pair_key, (2,), 0, num_samples)
        pair = jnp.stack([row // num_samples, row % num_samples]) if enumerated else drawn
        ratio = jax.random.beta(ratio_key, setting, setting) if is_alpha else setting
        return pair[0], pair[1], ratio

    return PairTable(*jax.vmap(draw_row)(rows))
