"""Pairs of originals, mixed afresh for every batch at ratios of their law."""

import math
from collections.abc import Iterator
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

import theory
from rfm.features import FeatureMap
from rfm.mixup.laws import Mixup
from rfm.mixup.ratios import RatioQuadrature
from rfm.mixup.weights import PairWeights
from rfm.sample import Sample
from rfm.source import Rows, Source, draw_pairs, draw_partners
from theory.batches.rows import Block
from theory.linalg import on_device, on_host

SAME = 1e-12
"""Roundings of a probability that is a ratio of whole numbers."""


class FreshPairs(Source):
    """Pairs of originals, mixed at ratios of their law."""

    sample: Sample
    labels: Float[Array, "samples targets"]
    features: FeatureMap
    law: Mixup
    ratios: RatioQuadrature
    called: ClassVar[str] = "pairs"
    members_called: ClassVar[str] = "originals"

    @property
    def num_pairs(self) -> int:
        return self._weights.num_pairs

    @property
    def _weights(self) -> PairWeights:
        return self.law.weights_of(len(self.labels))

    @property
    def num_members(self) -> int:
        return self.labels.shape[0]

    @property
    def node_weights(self) -> Float[Array, "nodes"]:
        return on_device(self.ratios.weights, self.sample.inputs.dtype)

    def draw(self, key: PRNGKeyArray, batches: theory.Batches, members: Int[Array, "rows"] | None = None) -> Rows:
        pair_key, ratio_key = jax.random.split(key)
        first, second = self._drawn(pair_key, batches, members)
        shape = (1 if batches.shared_ratio else batches.size,)
        lam, label_lam = (of[:, None] for of in self.law.draw_ratios(ratio_key, shape, self.sample.inputs.dtype))
        inputs = lam * self.sample.inputs[first] + (1 - lam) * self.sample.inputs[second]
        labels = label_lam * self.labels[first] + (1 - label_lam) * self.labels[second]
        if self.sample.truth is not None:
            clean = self.sample.truth(inputs)
            labels = jnp.concatenate([labels, clean.reshape(batches.size, -1)], axis=1)
        return self.features(inputs), labels

    def _drawn(
        self, key: PRNGKeyArray, batches: theory.Batches, members: Int[Array, "rows"] | None
    ) -> tuple[Int[Array, "rows"], Int[Array, "rows"]]:
        """The originals that each row is mixed of."""
        if batches.mixes_itself:
            member_key, partner_key = jax.random.split(key)
            first = draw_pairs(member_key, batches, self.num_members) if members is None else members
            return first, draw_partners(partner_key, batches, first)
        weights = self._weights
        if batches.replacement and not weights.is_even:
            return jax.vmap(weights.draw)(jax.random.split(key, batches.size))
        return weights.rows(weights.listed, draw_pairs(key, batches, self.num_pairs))

    def check(self, batches: theory.Batches) -> None:
        super().check(batches)
        if batches.epochs and not batches.mixes_itself:
            raise ValueError(
                "batches: an epoch goes through the originals once, and independent partners are drawn from all of "
                "them; pass partners='permuted', 'flipped' or 'rolled', or epochs=False"
            )
        if batches.mixes_itself:
            fits = self.law.mixes_anyone or is_mean_of(self.law, batches, self.num_members)
        else:
            fits = batches.replacement or self._weights.is_even
        if not fits:
            asked = f"partners={batches.partners!r}" if batches.mixes_itself else f"different {self.called}"
            raise ValueError(
                f"batches: {asked} were asked for, but the pairs of {self.law} have weights of their own; pass "
                'partners="independent" with replacement'
            )

    def blocks(self, batches: theory.Batches, most: int | None = None) -> Iterator[Block]:
        if not batches.mixes_itself:
            yield from super().blocks(batches, most)
            return
        number = min(self.num_members, most or self.num_members)
        chosen = np.arange(self.num_members) * number // self.num_members  # rises by one at each that is chosen
        chosen = np.flatnonzero(np.diff(chosen, prepend=-1))
        for star in theory.batches.stars(number):
            yield self.mixed(chosen[star // number], chosen[star % number])

    def pairs(self, index: Int[np.ndarray, "pairs"]) -> Block:
        weights = self._weights
        first, second = _listed(weights, on_device(index))
        mixed = self.mixed(np.asarray(first), np.asarray(second))
        return mixed if weights.is_even else (*mixed, _weights_at(weights, first, second))

    def mixed(
        self, first: Int[np.ndarray, "pairs"], second: Int[np.ndarray, "pairs"]
    ) -> tuple[Float[Array, "pairs nodes features"], Float[Array, "pairs nodes targets"]]:
        """Pairs of originals, at all ratios."""

        # By numpy, which need not compile for each number of pairs.
        def mix(values: Array, ratios: np.ndarray) -> np.ndarray:
            there = np.asarray(values)
            lam = ratios.astype(there.dtype)[None, :, None]
            return lam * there[first][:, None, :] + (1 - lam) * there[second][:, None, :]

        inputs = mix(self.sample.inputs, self.ratios.lam)
        phi = on_host(self.features(on_device(inputs.reshape(-1, inputs.shape[2]))))
        return on_device(phi.reshape(*inputs.shape[:2], -1)), on_device(mix(self.labels, self.ratios.label_lam))


def is_mean_of(law: Mixup, batches: theory.Batches, num_samples: int) -> bool:
    """Whether the law weighs pairs as such batches, which are mixed with themselves, do."""
    alone = law.self_weight(num_samples)
    return alone is not None and math.isclose(alone, batches.self_weight, rel_tol=SAME, abs_tol=SAME)


@eqx.filter_jit
def _listed(weights: PairWeights, places: Int[Array, "pairs"]) -> tuple[Array, Array]:
    return weights.rows(weights.listed, places)


@eqx.filter_jit
def _weights_at(weights: PairWeights, first: Int[Array, "pairs"], second: Int[Array, "pairs"]) -> Float[Array, "pairs"]:
    return jax.vmap(lambda i, j: weights.block(i[None], j[None])[0, 0])(first, second)
