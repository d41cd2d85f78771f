"""A training problem: features, labels, clean labels, and what the risk is averaged over.

`rfm.synthesize` makes one from a sample, a feature map and a Mixup law; `Problem` takes bare arrays; `rfm.solve` solves
them.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import scipy.linalg
import scipy.sparse.linalg
from jax.typing import ArrayLike
from jaxtyping import Array, Float

import theory
from rfm.features import FeatureMap, signature
from rfm.mixup.table import PairTable
from rfm.shown import ProblemView, SolvableView, StreamedView
from rfm.source import Source, TableRows
from theory.blocks import Block, in_one_precision
from theory.checks import (
    as_floating,
    check_finite,
    check_shape,
    check_type,
    check_untraced,
)
from theory.linalg import as_matrix
from theory.population import Averages, check_same_map
from theory.spectrum import Method, Spectrum

SMALL_SIDE = 20


class Solvable(SolvableView, eqx.Module):
    """What `rfm.solve` asks of a problem.

    Attributes:
        population: what the risk is averaged over.
        feature_map: from inputs to the features that weights belong to; None where it is not known.
        more_accurate: what to do where the Gram route is not accurate enough; None where nothing helps.
        own_coordinates: whether its weights mean nothing to another problem.
    """

    population: eqx.AbstractVar[Averages]
    feature_map: eqx.AbstractVar[FeatureMap | None]
    more_accurate: ClassVar[str | None] = "pass method='svd' or 'qr'"
    own_coordinates: ClassVar[bool] = False

    @abstractmethod
    def spectrum(self, method: Method) -> Spectrum:
        """The eigen-decomposition of the feature covariance, with the labels in its coordinates."""

    @abstractmethod
    def suggest_method(self, latest_time: float) -> Method:
        """The fastest factorisation that is accurate until then."""

    def label_smoother(self) -> Float[Array, "originals features"]:
        """H, one row an original: the force on the weights is Hᵀ y / n, of the originals' labels y.

        Raises:
            TypeError: the problem does not know its originals.
        """
        raise TypeError(
            f"problem: a {type(self).__name__} does not know which originals its rows are made of; pass a Problem "
            "(finitely many features, block_rows=None) or an ExpectedProblem"
        )

    def largest_eigenvalue(self) -> float:
        """mu_max, that of the spectrum."""
        check_untraced(problem=self)
        return float(self.spectrum(self.suggest_method(0.0)).eigenvalues[0])

    def table(self) -> "Problem":
        """The same problem with all of its rows, to train on.

        Raises:
            TypeError: they are nowhere written out.
            ValueError: it stands for fresh rows at every step.
        """
        raise TypeError(
            f"problem: pass an rfm.Problem, got {type(self).__name__}; the rows of problems in blocks, or in infinitely"
            " many features, are nowhere written out, and rfm.synthesize without either builds one with rows"
        )

    def drawn_by(self, batches: theory.Batches) -> "Solvable":
        """The problem whose mean gradient is that of such batches: itself, unless they weigh its pairs otherwise.

        Raises:
            ValueError: batches that cannot be drawn from it.
        """
        self.source().check(batches)
        return self

    def source(self) -> Source:
        """What a batch of the problem is drawn from.

        Raises:
            TypeError: rows of this problem cannot be made one by one.
        """
        raise TypeError(
            f"problem: pass an rfm.Problem or an rfm.expected.ExpectedProblem, got {type(self).__name__}; a batch is "
            "drawn from rows that can be made one by one"
        )


class Problem(ProblemView, Solvable):
    """Linear least squares L(theta) = |Phi theta - y|^2 / (2 m), and the risk of its solutions.

    Arrays of different precision are brought to the finest of them: single-precision features, as networks give them,
    beside double-precision labels are trained and solved in double precision.

    Args:
        features: Phi, one row a synthesized sample.
        labels: y, a vector or one column a target.
        clean_labels: y*, the ground truth at the synthesized inputs; None if unknown, and then the risk is known in
            total but not in parts.
        population: a `theory.TestSet` or a `theory.Population`, in the same features.
        mixing: of which originals each row is mixed, as `rfm.synthesize` says; None where rows are originals.
        feature_map: from inputs to features, for predictions; None if it is not known.

    Raises:
        ValueError: shapes that do not match, or values that are not finite.

    >>> problem = Problem(jnp.eye(2), jnp.ones(2), population=theory.TestSet(jnp.eye(2), jnp.ones(2)))
    >>> import rfm
    >>> rfm.closed_form(problem, times=[0.0, 1.0]).risk.round(3).tolist()
    [1.0, 0.368]
    """

    features: Float[Array, "samples features"]
    labels: Float[Array, "samples targets"]
    clean_labels: Float[Array, "samples targets"] | None
    population: Averages
    mixing: PairTable | None
    feature_map: FeatureMap | None

    def __init__(
        self,
        features: ArrayLike,
        labels: ArrayLike,
        clean_labels: ArrayLike | None = None,
        *,
        population: Averages,
        mixing: PairTable | None = None,
        feature_map: FeatureMap | None = None,
    ) -> None:
        phi = _matrix("features", features)
        y = _matrix("labels", labels, rows=phi.shape[0])
        clean = None
        if clean_labels is not None:
            clean = _matrix("clean_labels", clean_labels, rows=y.shape[0], columns=y.shape[1])
        self.features, self.labels, self.clean_labels = in_one_precision(phi, y, clean)
        check_population(population, self.features.shape[1], self.labels.shape[1])
        self.population = population
        if mixing is not None and len(mixing) != len(self.labels):
            raise ValueError(
                f"mixing: has {len(mixing)} rows, the features {len(self.labels)}; pass those of one table"
            )
        self.mixing = mixing
        self.feature_map = feature_map

    def spectrum(self, method: Method = "svd") -> Spectrum:
        """The eigen-decomposition of the feature covariance, with the labels in its coordinates."""
        return theory.decompose(self.features, self.labels, self.clean_labels, method=method)

    def suggest_method(self, latest_time: float) -> Method:
        """The fastest factorisation that is accurate until then."""
        num_samples, num_features = self.features.shape
        # The mean of |phi|^2, the sum of all eigenvalues, is at least the largest.
        scaled_time = latest_time * float(jnp.vdot(self.features, self.features)) / num_samples
        resolution = float(jnp.finfo(self.features.dtype).eps)
        return theory.spectrum.suggest_method(num_samples, num_features, scaled_time, resolution)

    def label_smoother(self) -> Float[Array, "originals features"]:
        """H, one row an original: n / m times the rows that it is part of, each times its share."""
        if self.mixing is None:
            return self.features
        check_untraced(problem=self)
        return self.mixing.gather(self.features) * (self.mixing.num_originals / len(self.features))

    def largest_eigenvalue(self) -> float:
        """mu_max of Phiᵀ Phi / m, by Lanczos iteration (by eigh where a side of Phi is short).

        >>> test = theory.TestSet(jnp.eye(2), jnp.ones(2))
        >>> round(Problem(jnp.diag(jnp.asarray([2.0, 1.0])), jnp.ones(2), population=test).largest_eigenvalue(), 6)
        2.0
        """
        check_untraced(problem=self)
        phi = np.asarray(self.features)
        rows, columns = phi.shape
        if not phi.any():  # nothing for Lanczos to start from
            return 0.0
        if min(rows, columns) <= SMALL_SIDE:
            small = phi @ phi.T if rows < columns else phi.T @ phi
            top = len(small) - 1
            return float(scipy.linalg.eigh(small / rows, eigvals_only=True, subset_by_index=[top, top])[0])
        start = np.ones(min(phi.shape), phi.dtype)  # fixed, so that the same problem gives the same number
        singular = scipy.sparse.linalg.svds(phi, k=1, v0=start, return_singular_vectors=False)
        return float(singular[0]) ** 2 / rows

    def table(self) -> "Problem":
        """The problem itself."""
        return self

    def source(self) -> Source:
        """The rows."""
        known = [self.labels] if self.clean_labels is None else [self.labels, self.clean_labels]
        return TableRows(self.features, jnp.concatenate(known, axis=1), self.labels.shape[1])


class StreamedProblem(StreamedView, Solvable):
    """A problem whose rows are made block by block, each time they are needed, and never all held.

    Attributes:
        blocks: makes the blocks (features, labels, clean labels or None), from the first row on.
        population: what the risk is averaged over.
        feature_map: from inputs to features.
    """

    blocks: Callable[[], Iterator[Block]]
    population: Averages
    feature_map: FeatureMap | None
    more_accurate: ClassVar[str | None] = "pass method='qr'"

    def spectrum(self, method: Method = "qr") -> Spectrum:
        """The eigen-decomposition, in one pass over the blocks."""
        return theory.spectrum.decompose_blocks(self.blocks(), method=method)

    def suggest_method(self, latest_time: float) -> Method:
        """``qr``: accurate at all times."""
        return "qr"


def check_problem(problem: object, name: str = "problem") -> None:
    """Raises TypeError unless it is a training problem."""
    check_type(name, problem, Solvable, "an rfm.Problem, or what rfm.synthesize gives")


def check_map(population: Averages, features: FeatureMap, input_dim: int) -> None:
    """Raises ValueError if the population is known to be of another feature map."""
    known = getattr(population, "signature", None)
    if known is not None:
        check_same_map(known, signature(features, input_dim), "features")


def check_population(population: Averages, num_features: int, num_targets: int) -> None:
    """Raises ValueError unless the population has the problem's features and targets."""
    if not isinstance(population, Averages):
        raise TypeError(f"population: pass an rfm.TestSet or an rfm.Population, got {type(population).__name__}")
    if population.num_features != num_features:
        raise ValueError(
            f"population: has {population.num_features} features, the problem {num_features}; use the same feature map"
        )
    found = population.num_targets
    if found != num_targets:
        raise ValueError(f"population: has {found} target(s), the labels {num_targets}; pass the same targets to both")


def _matrix(name: str, values: ArrayLike, rows: int | None = None, columns: int | None = None) -> Array:
    array = as_floating(name, values)
    array = array if name == "features" else as_matrix(array)
    check_shape(name, array, ndim=2, rows=rows, columns=columns)
    return check_finite(name, array)
