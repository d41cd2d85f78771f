"""Mixup: which pairs of samples are interpolated, and at what ratios.

What a law chooses are parts of their own: the ratio of the inputs and that of the labels (`rfm.mixup.ratios`), who is
mixed with whom (`rfm.mixup.partners`), and how many of those pairs there are (`rfm.mixup.pairing`). All n^2 pairs of a
sample are enumerated block by block, so that neither they nor their features need ever be held.
"""

from typing import Any, ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, PRNGKeyArray

from rfm.mixup.law import Law
from rfm.mixup.pairing import Pairing, pairing_of
from rfm.mixup.partners import AnyPartner, OtherSamples, Partners, partners_of
from rfm.mixup.ratios import BetaRatio, FixedRatio, Ratio, written
from rfm.mixup.table import PairTable
from rfm.mixup.weights import EvenPairs, PairWeights
from rfm.sample import Sample
from theory.checks import as_floating, check_alpha, check_choice, check_share, is_traced
from theory.linalg import as_matrix, on_device


class Mixup(Law):
    """Mixup with a fixed ratio, or ratios drawn from Beta(alpha, alpha).

    Args:
        lam: the fixed ratio, in [0, 1]; or
        alpha: the parameter of the Beta distribution, from 1e-4 to 1e3; small means little mixing, 1 is uniform. The
            limits are `ERM` (alpha to 0) and ``lam=0.5`` (alpha to infinity).
        pairs: ``"all"`` ordered pairs, n^2 unless partners are chosen; a number of pairs, drawn independently; or
            ``"expected"``, for fresh pairs and ratios at every step: then there is no table of rows, but an average
            over all pairs and ratios, which `rfm.expected_mixup` computes.
        partners: whom a sample is mixed with, such as `rfm.SimilarLabels`; a matrix W of the probabilities of all
            ordered pairs; or None for any sample, itself included.
        share: of rows that are mixed, q; the others are originals. RegMixup, the loss of ERM plus w times that of
            Mixup, has q = w / (1 + w), on a clock that runs 1 + w times as fast.
        label_lam: a ratio for the labels alone; or
        label_alpha: for one of their own from Beta(label_alpha, label_alpha). None for that of the inputs.
        space: what is mixed beside the labels: ``"inputs"``, or ``"features"``, the features themselves (Manifold
            Mixup). No mixed input exists then, and so no truth at it: the risk is known in total, not in parts.

    Attributes:
        ratio: the law of lam.
        label_ratio: that of the labels, or None for the same ratio.
        pairing: how many pairs.
        weights: of the pairs of one sample, once the law is that for it (`on`).

    Raises:
        ValueError: both or neither of lam and alpha, or one out of range.

    >>> Mixup(lam=0.5).num_rows(num_samples=20), Mixup(alpha=1.0, pairs=4000).num_rows(num_samples=20)
    (400, 4000)
    """

    ratio: Ratio
    label_ratio: Ratio | None
    pairing: Pairing
    partners: Partners
    share: float
    weights: PairWeights | None
    space: Literal["inputs", "features"] = eqx.field(static=True)
    fewest_samples: ClassVar[int] = 2

    def __init__(
        self,
        lam: float | Float[Array, ""] | None = None,
        *,
        alpha: float | Float[Array, ""] | None = None,
        pairs: int | Literal["all", "expected"] = "all",
        partners: Partners | ArrayLike | None = None,
        share: float = 1.0,
        label_lam: float | Float[Array, ""] | None = None,
        label_alpha: float | Float[Array, ""] | None = None,
        space: Literal["inputs", "features"] = "inputs",
    ) -> None:
        ratio = _ratio("", lam, alpha)
        if ratio is None:
            raise ValueError("lam, alpha: pass one of them, the fixed ratio or the Beta parameter; got None and None")
        self.ratio = ratio
        self.label_ratio = _ratio("label_", label_lam, label_alpha)
        self.pairing = pairing_of(pairs)
        self.partners = partners_of(partners)
        if is_traced(share):
            raise TypeError("share: is traced by jit, grad or vmap, but its value is looked at; pass a number")
        self.share = float(check_share("share", share))
        self.weights = None
        check_choice("space", space, ("inputs", "features"))
        self.space = space

    @property
    def needs_key(self) -> bool:
        """Whether an outcome depends on chance."""
        random = self.ratio.is_random or self.pairing.is_random
        return not self.is_expected and (random or (self.label_ratio is not None and self.label_ratio.is_random))

    @property
    def is_expected(self) -> bool:
        """Whether it stands for fresh pairs and ratios at every step."""
        return self.pairing.is_expected

    @property
    def mixes_features(self) -> bool:
        """Whether the features of the originals are mixed, in the place of their inputs."""
        return self.space == "features"

    @property
    def mixes_anyone(self) -> bool:
        """Whether every sample is mixed with every other, itself included, as often."""
        return isinstance(self.partners, AnyPartner) and self.share == 1

    @property
    def is_plain(self) -> bool:
        """Whether nothing was asked for beside the ratio and the pairs."""
        return self.mixes_anyone and self.label_ratio is None and not self.mixes_features

    def on(self, sample: Sample) -> "Mixup":
        """The law with the weights of that sample's pairs.

        Raises:
            ValueError: a sample of which somebody has no partner.

        >>> import rfm
        >>> law = rfm.Mixup(lam=0.5, partners=rfm.mixup.OtherSamples())
        >>> law.on(rfm.Sample(jnp.eye(3), jnp.ones(3), None)).num_rows(num_samples=3)
        6
        """
        if self.mixes_anyone:
            return self
        weights = self.partners.weights(sample, self.share)
        return eqx.tree_at(lambda law: law.weights, self, weights, is_leaf=lambda leaf: leaf is None)

    def self_weight(self, num_samples: int) -> float | None:
        """The probability that a row is an original by itself, where all other pairs are equally likely; else None.

        >>> import rfm
        >>> Mixup(lam=0.5).self_weight(4), Mixup(lam=0.5, partners=rfm.SimilarLabels(1.0)).self_weight(4)
        (0.25, None)
        """
        if isinstance(self.partners, OtherSamples):
            return 1 - self.share
        return 1 - self.share + self.share / num_samples if isinstance(self.partners, AnyPartner) else None

    def among_others(self, share: float) -> "Mixup":
        """The same with partners that are never the sample itself, that share of the rows mixed."""
        chosen = OtherSamples(), share
        return eqx.tree_at(lambda law: (law.partners, law.share), self, chosen, is_leaf=_are_partners)

    def drawing(self, number: int) -> "Mixup":
        """The same with so many pairs, drawn once.

        >>> print(Mixup(alpha=1.0, pairs="expected").drawing(100))
        Mixup(alpha=1, pairs=100)
        """
        return eqx.tree_at(lambda law: law.pairing, self, pairing_of(number), is_leaf=_is_pairing)

    def weights_of(self, num_samples: int) -> PairWeights:
        """W, for so many samples.

        Raises:
            ValueError: a law that looks at the samples, and has not; or has at another number of them.
        """
        if self.weights is None:
            if not self.mixes_anyone:
                raise ValueError(f"law: {self} depends on the sample; rfm.synthesize tells it, or law.on(sample) does")
            return EvenPairs(num_samples)
        if self.weights.num_samples != num_samples:
            raise ValueError(
                f"law: {self} was made for {self.weights.num_samples} samples, not {num_samples}; call law.on(sample)"
            )
        return self.weights

    def logged_loss_gap(self, sample: Sample) -> Float[Array, ""]:
        """How far the loss that libraries log lies above `train_loss`, in expectation; training does not change it.

        They log lam l(y_a) + (1 - lam) l(y_b) of the two labels, where `train_loss` is that of the mixed label. With l
        half a square, the two differ by lam (1 - lam) |y_a - y_b|^2 / 2: E lam (1 - lam) Var(y) under plain Mixup.

        >>> sample = Sample(jnp.eye(2), jnp.asarray([0.0, 2.0]), None)
        >>> float(Mixup(lam=0.5).logged_loss_gap(sample))  # 1/4 of a variance of 1
        0.25
        """
        labels = as_matrix(as_floating("labels", sample.labels))
        weights = self.on(sample).weights_of(len(labels))
        often = weights.row_sums() + weights.column_sums()
        apart = often @ jnp.sum(labels**2, axis=1) - 2 * jnp.sum(labels * weights.times(labels))
        ratio = self.ratio if self.label_ratio is None else self.label_ratio
        return (1 - ratio.mean_same) / 2 * apart / 2

    def draw_ratios(self, key: PRNGKeyArray, shape: tuple[int, ...], dtype: Any) -> tuple[Array, Array]:
        """Independent ratios of the inputs, and those of the labels beside them."""
        return _drawn((self.ratio, self.label_ratio), key, shape, dtype)

    def num_rows(self, num_samples: int) -> int:
        """The number of synthesized rows, m.

        Raises:
            ValueError: the law draws fresh rows at every step, or ``pairs="all"`` of pairs of different weights.
        """
        return self.pairing.num_rows(self.weights_of(num_samples))

    def table(self, rows: Int[Array, "rows"], num_samples: int, key: PRNGKeyArray | None) -> PairTable:
        """The pairs and ratios of those rows."""
        key = jax.random.key(0) if key is None else key  # of a law that does not draw
        # Traced, or each alpha compiles again.
        pairing, ratios = jax.tree.map(on_device, (self.pairing, (self.ratio, self.label_ratio)))
        return _rows(pairing, ratios, self.weights_of(num_samples), rows, key)

    def __str__(self) -> str:
        chosen = {
            "partners": None if isinstance(self.partners, AnyPartner) else str(self.partners),
            "share": None if self.share == 1 else written(self.share),
            "labels": None if self.label_ratio is None else str(self.label_ratio),
            "space": None if self.space == "inputs" else self.space,
        }
        told = "".join(f", {name}={value}" for name, value in chosen.items() if value is not None)
        return f"Mixup({self.ratio}, pairs={self.pairing}{told})"


def _are_partners(leaf: object) -> bool:
    return isinstance(leaf, Partners)


def _is_pairing(leaf: object) -> bool:
    return isinstance(leaf, Pairing)


def _ratio(prefix: str, lam: float | Array | None, alpha: float | Array | None) -> Ratio | None:
    if lam is not None and alpha is not None:
        raise ValueError(
            f"{prefix}lam, {prefix}alpha: pass one of them, the fixed ratio or the Beta parameter; "
            f"got {lam} and {alpha}"
        )
    if alpha is not None:
        return BetaRatio(check_alpha(f"{prefix}alpha", alpha))
    return None if lam is None else FixedRatio(check_share(f"{prefix}lam", lam))


def _drawn(
    ratios: tuple[Ratio, Ratio | None], key: PRNGKeyArray, shape: tuple[int, ...], dtype: Any
) -> tuple[Array, Array]:
    ratio, label_ratio = ratios
    if label_ratio is None:
        lam = ratio.draw(key, shape, dtype)
        return lam, lam
    key, label_key = jax.random.split(key)
    return ratio.draw(key, shape, dtype), label_ratio.draw(label_key, shape, dtype)


@eqx.filter_jit
def _rows(
    pairing: Pairing,
    ratios: tuple[Ratio, Ratio | None],
    weights: PairWeights,
    rows: Int[Array, "rows"],
    key: PRNGKeyArray,
) -> PairTable:
    """Each row draws from a key of its own, so that a row is the same in whichever block it comes."""
    dtype = jnp.result_type(float)

    def one(row: Array) -> tuple[Array, ...]:
        pair_key, ratio_key = jax.random.split(jax.random.fold_in(key, row))
        pair = pairing.pair(pair_key, row, weights)
        return *pair, *_drawn(ratios, ratio_key, (), dtype)[: 1 if ratios[1] is None else 2]

    return PairTable(*weights.rows(one, rows))
