"""Ground truths f, and their moments under Gaussian inputs.

A truth is any callable from rows of inputs to values. Those here also know E f(x)^2 and E phi(x) f(x) for x ~ N(0, I)
and random features phi, so that the risk can be averaged over all inputs without a test set.
"""

from abc import abstractmethod
from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rfm.features import RandomFeatures
from theory import dual, hermite_coefficients
from theory.activations import Activation

Inputs = Float[Array, "samples inputs"]
Values = Float[Array, "samples"] | Float[Array, "samples targets"]
Truth = Callable[[Inputs], Values]
"""A ground truth f; one value, or one row of values, an input."""


class GaussianTruth(eqx.Module):
    """A truth whose moments under standard normal inputs are known."""

    @abstractmethod
    def __call__(self, inputs: Inputs) -> Float[Array, "samples"]:
        """f(x), row by row."""

    @abstractmethod
    def power(self) -> Float[Array, ""]:
        """E f(x)^2."""

    @abstractmethod
    def feature_moment(self, features: RandomFeatures) -> Float[Array, "features"]:
        """E phi(x) f(x)."""


class TwoLayerTeacher(GaussianTruth):
    """f(x) = v . act(W x / sqrt(d)) / sqrt(h).

    >>> teacher = TwoLayerTeacher(jnp.ones((1, 1)), jnp.ones(1), jnp.sin)
    >>> round(float(teacher.power()), 6)  # (1 - exp(-2)) / 2
    0.432332
    """

    weights: Float[Array, "hidden inputs"]
    readout: Float[Array, "hidden"]
    activation: Activation = eqx.field(static=True)

    def __call__(self, inputs: Inputs) -> Float[Array, "samples"]:
        return _two_layers(self, inputs)

    def power(self) -> Float[Array, ""]:
        return self._readout @ dual(self.activation, self._scaled) @ self._readout

    def feature_moment(self, features: RandomFeatures) -> Float[Array, "features"]:
        rows, bias = features.scaled_weights, features.bias_if_any
        moments = dual(features.activation, rows, self.activation, self._scaled, bias1=bias)
        return moments @ self._readout / jnp.sqrt(features.num_features)

    @property
    def _scaled(self) -> Float[Array, "hidden inputs"]:
        return self.weights / jnp.sqrt(self.weights.shape[1])

    @property
    def _readout(self) -> Float[Array, "hidden"]:
        return self.readout / jnp.sqrt(self.readout.shape[0])


@eqx.filter_jit
def _two_layers(teacher: TwoLayerTeacher, inputs: Array) -> Array:
    return teacher.activation(inputs @ teacher._scaled.T) @ teacher._readout


class QuadraticTruth(GaussianTruth):
    """f(x) = xᵀ A x / 2 + b . x + c, A symmetric.

    >>> QuadraticTruth(jnp.eye(2), jnp.ones(2))(jnp.asarray([[1.0, 2.0]])).tolist()
    [5.5]
    """

    curvature: Float[Array, "inputs inputs"]
    slope: Float[Array, "inputs"]
    constant: float = 0.0

    def __call__(self, inputs: Inputs) -> Float[Array, "samples"]:
        return jnp.sum(inputs * (inputs @ self.curvature), axis=1) / 2 + inputs @ self.slope + self.constant

    def power(self) -> Float[Array, ""]:
        mean = jnp.trace(self.curvature) / 2 + self.constant
        return mean**2 + jnp.sum(self.curvature**2) / 2 + self.slope @ self.slope

    def feature_moment(self, features: RandomFeatures) -> Float[Array, "features"]:
        """By Stein's identity: E s = a_0, E s x = a_1 u, E s (x xᵀ - I) = sqrt(2) a_2 u uᵀ along u = w / |w|."""
        rows = features.scaled_weights
        length = jnp.linalg.norm(rows, axis=1)
        direction = rows / jnp.where(length > 0, length, 1)[:, None]
        coefficients = hermite_coefficients(features.activation, np.asarray(length), np.asarray(features.bias), 3)
        mean, along, across = jnp.asarray(coefficients, rows.dtype).T
        bend = jnp.sum(direction * (direction @ self.curvature), axis=1)
        moment = mean * (jnp.trace(self.curvature) / 2 + self.constant) + along * (direction @ self.slope)
        return (moment + across * bend / jnp.sqrt(2)) / jnp.sqrt(features.num_features)


class LinearTruth(GaussianTruth):
    """f(x) = b . x + c, for which Mixup makes no label noise.

    >>> LinearTruth(jnp.asarray([1.0, -1.0]))(jnp.asarray([[3.0, 2.0]])).tolist()
    [1.0]
    """

    slope: Float[Array, "inputs"]
    constant: float = 0.0

    def __call__(self, inputs: Inputs) -> Float[Array, "samples"]:
        return inputs @ self.slope + self.constant

    def power(self) -> Float[Array, ""]:
        return self._quadratic.power()

    def feature_moment(self, features: RandomFeatures) -> Float[Array, "features"]:
        return self._quadratic.feature_moment(features)

    @property
    def _quadratic(self) -> QuadraticTruth:
        flat = jnp.zeros((self.slope.shape[0], self.slope.shape[0]), self.slope.dtype)
        return QuadraticTruth(flat, self.slope, self.constant)
