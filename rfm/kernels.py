"""Infinitely many random features: a kernel, and the finite features that stand for it on given inputs.

As p grows, phi(x) . phi(x') tends to its expectation over W and the bias, a kernel k(x, x'); for Gaussian W it is a
dual of the activation, with the inputs in the place of rows of weights. Gradient descent from zero never leaves the
span of the training rows, and there the features

    phi(x) = s^(-1/2) Aᵀ k(X, x),        k(X, X) = A s Aᵀ,

have exactly the kernel's products with every training row. So a problem in infinitely many features is a finite one.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

import theory
from rfm.features import FeatureMap, RandomFeatures
from rfm.problem import Problem, Solvable
from theory import linalg
from theory.spectrum import Method, Spectrum


class KernelTest(eqx.Module):
    """A test set in infinitely many features: its inputs, and the targets there."""

    features: RandomFeatures
    inputs: Float[Array, "test inputs"]
    targets: Array


def as_test_set(
    features: FeatureMap, inputs: Float[Array, "test inputs"], targets: Array
) -> theory.TestSet | KernelTest:
    """The test set in those features, which may be infinitely many."""
    if isinstance(features, RandomFeatures) and features.is_infinite:
        return KernelTest(features, inputs, targets)
    return theory.TestSet(features(inputs), targets)


class KernelProblem(Solvable):
    """A training problem in infinitely many features. It has a closed form and nothing to simulate.

    Attributes:
        finite: the same problem in the kernel's own features at the training inputs.
        population: the test set in those features.
    """

    finite: Problem
    population: theory.Averages

    @staticmethod
    def of(
        inputs: Float[Array, "samples inputs"], labels: Array, clean_labels: Array | None, test: KernelTest
    ) -> "KernelProblem":
        """Factors the kernel at the training inputs."""
        eigenvalues, vectors = linalg.symmetric_eigen(test.features.kernel(inputs, inputs))
        # Directions at rounding level have no length to divide by, and no training moves along them.
        cut = jnp.max(eigenvalues) * len(eigenvalues) * jnp.finfo(eigenvalues.dtype).eps
        kept = eigenvalues > cut
        singular = jnp.sqrt(jnp.where(kept, eigenvalues, 1))
        phi = vectors * jnp.where(kept, singular, 0)[None, :]
        test_phi = test.features.kernel(test.inputs, inputs) @ (vectors * jnp.where(kept, 1 / singular, 0)[None, :])
        population = theory.TestSet(test_phi, test.targets)
        finite = Problem(phi, labels, clean_labels, population=population)
        return KernelProblem(finite=finite, population=population)

    def spectrum(self, method: Method = "gram") -> Spectrum:
        """The spectrum of the kernel at the training inputs."""
        return self.finite.spectrum(method)

    def suggest_method(self, latest_time: float) -> Method:
        """The fastest factorisation that is accurate until then."""
        return self.finite.suggest_method(latest_time)
