"""How rows are made of a sample: what a law is, and those that choose nothing, plain training and rows of one's own."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from rfm.checks import check_key
from rfm.mixup.table import PairTable
from rfm.sample import FeatureMap, Sample
from theory.checks import as_floating, check_count
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

    @property
    def mixes_features(self) -> bool:
        """Whether the features of the originals are mixed, in the place of their inputs."""
        return False

    def on(self, sample: Sample) -> "Law":
        """The law for that sample: the same, unless it looks at inputs or labels.

        Raises:
            ValueError: a sample that the law cannot be applied to.
        """
        return self

    def what_it_mixes(self, sample: Sample, features: FeatureMap) -> tuple[Sample, FeatureMap]:
        """Originals, and the map from their mixtures to features.

        Where features are mixed, those of the originals and the map that leaves them as they are. What truth there is
        at inputs says nothing about mixtures of features.
        """
        if not self.mixes_features:
            return sample, features
        return Sample(as_floating("features", features(sample.inputs)), sample.labels, None), as_they_are

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


def as_they_are(features: Float[Array, "samples features"]) -> Float[Array, "samples features"]:
    """The feature map of what are features already."""
    return features


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


class GivenRows(Law):
    """Rows that somebody has written down already; `rfm.synthesize` takes the table itself."""

    rows: PairTable

    def num_rows(self, num_samples: int) -> int:
        """Those of the table."""
        return len(self.rows)

    def table(self, rows: Int[Array, "rows"], num_samples: int, key: PRNGKeyArray | None) -> PairTable:
        """Some of them."""
        return jax.tree.map(lambda column: column[rows], self.rows)
