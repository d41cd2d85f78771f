"""Infinitely many random features: a kernel, and the finite features that stand for it on given inputs.

As p grows, phi(x) . phi(x') tends to its expectation over W and the bias, a kernel k(x, x'); for Gaussian W it is a
dual of the activation, with the inputs in the place of rows of weights. Gradient descent from zero never leaves the
span of the training rows, and there the features

    phi(x) = s^(-1/2) Aᵀ k(X, x),        k(X, X) = A s Aᵀ,

have exactly the kernel's products with every training row. So a problem in infinitely many features is a finite one.
"""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

import theory
from rfm.features import FeatureMap, RandomFeatures, check_features, probes, signature
from rfm.problem import Problem, Solvable
from rfm.shown import KernelView
from theory import linalg
from theory.population import check_same_map
from theory.spectrum import Method, Spectrum, from_left_vectors


class KernelTest(eqx.Module):
    """A test set in infinitely many features: its inputs, and the targets there."""

    features: RandomFeatures
    inputs: Float[Array, "test inputs"]
    targets: Array

    def check_map(self, features: FeatureMap) -> None:
        """Raises ValueError unless the features are infinitely many, of the same kernel."""
        if features is self.features:
            return
        if not isinstance(features, RandomFeatures) or not features.is_infinite:
            raise ValueError(
                "population: is a test set in infinitely many features, and the features are others; pass "
                "task.test_set(features, ...) of the same"
            )
        inputs = probes(self.inputs.shape[1])
        ours, theirs = (one.kernel(inputs, inputs) for one in (self.features, features))
        check_same_map(ours, theirs, "features")


def as_test_set(
    features: FeatureMap, inputs: Float[Array, "test inputs"], targets: Array
) -> theory.TestSet | KernelTest:
    """The test set in those features, which may be infinitely many."""
    check_features(features, inputs.shape[1])
    if isinstance(features, RandomFeatures) and features.is_infinite:
        return KernelTest(features, inputs, targets)
    return theory.TestSet(features(inputs), targets, signature=signature(features, inputs.shape[1]))


class KernelFeatures(eqx.Module):
    """Features that have the kernel's products with the training rows: x -> k(x, X) A s^(-1/2)."""

    features: RandomFeatures
    rows: Float[Array, "samples inputs"]
    scaled: Float[Array, "samples modes"]

    def __call__(self, inputs: Float[Array, "points inputs"]) -> Float[Array, "points modes"]:
        return self.features.kernel(inputs, self.rows) @ self.scaled


class KernelProblem(KernelView, Solvable):
    """A training problem in infinitely many features. It has a closed form and nothing to simulate.

    Attributes:
        finite: the same problem in the kernel's own features at the training inputs.
        population: the test set in those features.
        feature_map: the features.
        found: the spectrum, known as well as the kernel is: to a rounding of its largest eigenvalue.
    """

    finite: Problem
    population: theory.Averages
    feature_map: FeatureMap
    found: Spectrum
    more_accurate: ClassVar[str | None] = None
    own_coordinates: ClassVar[bool] = True

    @staticmethod
    def of(
        inputs: Float[Array, "samples inputs"], labels: Array, clean_labels: Array | None, test: KernelTest
    ) -> "KernelProblem":
        """Factors the kernel at the training inputs."""
        eigenvalues, vectors = linalg.symmetric_eigen(test.features.kernel(inputs, inputs))
        # What lies below rounding is not known to be zero, and training in the end moves along it: none is left out.
        floor = jnp.finfo(eigenvalues.dtype).eps * jnp.maximum(eigenvalues[0], 0)
        singular = jnp.sqrt(jnp.maximum(eigenvalues, floor))
        scale = jnp.where(singular > 0, 1 / jnp.where(singular > 0, singular, 1), 0)
        own = KernelFeatures(test.features, inputs, vectors * scale[None, :])
        population = theory.TestSet(own(test.inputs), test.targets)
        finite = Problem(vectors * singular[None, :], labels, clean_labels, population=population)
        found = from_left_vectors(vectors, jnp.diag(singular), finite.labels, finite.clean_labels)
        return KernelProblem(finite=finite, population=population, feature_map=own, found=found)

    def spectrum(self, method: Method = "gram") -> Spectrum:
        """The spectrum of the kernel at the training inputs, which no factorisation knows better than its entries."""
        return self.found

    def suggest_method(self, latest_time: float) -> Method:
        """``gram``: the kernel is a Gram matrix."""
        return "gram"
