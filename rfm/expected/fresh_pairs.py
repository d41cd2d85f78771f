"""Pairs of originals, mixed afresh for every batch at ratios of their law."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

import theory
from rfm.data.sample import Sample
from rfm.features import FeatureMap
from rfm.mixup.laws import Mixup
from rfm.mixup.ratios import RatioQuadrature
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
        return self.labels.shape[0] ** 2

    @property
    def node_weights(self) -> Float[Array, "nodes"]:
        return on_device(self.ratios.weights, self.sample.inputs.dtype)

    def draw(self, key: PRNGKeyArray, batches: theory.Batches) -> Rows:
        pair_key, ratio_key = jax.random.split(key)
        pairs = draw_pairs(pair_key, batches, self.num_pairs)
        number = 1 if batches.shared_ratio else batches.size
        lam = self.law.ratio.draw(ratio_key, (number,), self.sample.inputs.dtype)[:, None]
        first, second = pairs // self.labels.shape[0], pairs % self.labels.shape[0]
        inputs = lam * self.sample.inputs[first] + (1 - lam) * self.sample.inputs[second]
        labels = lam * self.labels[first] + (1 - lam) * self.labels[second]
        if self.sample.truth is not None:
            clean = self.sample.truth(inputs)
            labels = jnp.concatenate([labels, clean.reshape(batches.size, -1)], axis=1)
        return self.features(inputs), labels

    def pairs(self, index: Int[np.ndarray, "pairs"]) -> tuple[Array, Array]:
        first, second = index // self.labels.shape[0], index % self.labels.shape[0]

        # By numpy, which need not compile for each number of pairs.
        def mix(values: Array) -> np.ndarray:
            there = np.asarray(values)
            lam = self.ratios.lam.astype(there.dtype)[None, :, None]
            return lam * there[first][:, None, :] + (1 - lam) * there[second][:, None, :]

        inputs = mix(self.sample.inputs)
        phi = on_host(self.features(on_device(inputs.reshape(-1, inputs.shape[2]))))
        return on_device(phi.reshape(*inputs.shape[:2], -1)), on_device(mix(self.labels))
