"""Pairs of originals, mixed afresh for every batch at ratios of their law."""

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
from rfm.source import Rows, Source, draw_pairs
from theory.linalg import on_device, on_host


class FreshPairs(Source):
    """Pairs of originals, mixed at ratios of their law."""

    sample: Sample
    labels: Float[Array, "samples targets"]
    features: FeatureMap
    law: Mixup
    ratios: RatioQuadrature
    called: ClassVar[str] = "pairs"

    @property
    def num_pairs(self) -> int:
        return self._weights.num_pairs

    @property
    def _weights(self) -> PairWeights:
        return self.law.weights_of(len(self.labels))

    @property
    def node_weights(self) -> Float[Array, "nodes"]:
        return on_device(self.ratios.weights, self.sample.inputs.dtype)

    def draw(self, key: PRNGKeyArray, batches: theory.Batches) -> Rows:
        pair_key, ratio_key = jax.random.split(key)
        first, second = self._pairs(pair_key, batches)
        shape = (1 if batches.shared_ratio else batches.size,)
        lam, label_lam = (of[:, None] for of in self.law.draw_ratios(ratio_key, shape, self.sample.inputs.dtype))
        inputs = lam * self.sample.inputs[first] + (1 - lam) * self.sample.inputs[second]
        labels = label_lam * self.labels[first] + (1 - label_lam) * self.labels[second]
        if self.sample.truth is not None:
            clean = self.sample.truth(inputs)
            labels = jnp.concatenate([labels, clean.reshape(batches.size, -1)], axis=1)
        return self.features(inputs), labels

    def _pairs(self, key: PRNGKeyArray, batches: theory.Batches) -> tuple[Array, Array]:
        weights = self._weights
        return weights.rows(weights.listed, draw_pairs(key, batches, self.num_pairs))

    def check(self, batches: theory.Batches) -> None:
        super().check(batches)
        if not self._weights.is_even:
            raise ValueError(
                f"batches: the pairs of {self.law} have different weights, and only equally likely ones are drawn; "
                "pass a table of pairs, Mixup(..., pairs=number)"
            )

    def pairs(self, index: Int[np.ndarray, "pairs"]) -> tuple[Array, Array]:
        weights = self._weights
        first, second = map(np.asarray, _listed(weights, on_device(index)))

        # By numpy, which need not compile for each number of pairs.
        def mix(values: Array, ratios: np.ndarray) -> np.ndarray:
            there = np.asarray(values)
            lam = ratios.astype(there.dtype)[None, :, None]
            return lam * there[first][:, None, :] + (1 - lam) * there[second][:, None, :]

        inputs = mix(self.sample.inputs, self.ratios.lam)
        phi = on_host(self.features(on_device(inputs.reshape(-1, inputs.shape[2]))))
        return on_device(phi.reshape(*inputs.shape[:2], -1)), on_device(mix(self.labels, self.ratios.label_lam))


@eqx.filter_jit
def _listed(weights: PairWeights, places: Int[Array, "pairs"]) -> tuple[Array, Array]:
    return weights.rows(weights.listed, places)
