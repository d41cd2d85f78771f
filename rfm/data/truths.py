"""Ground truths f, and their moments under Gaussian inputs.

A truth is any callable from rows of inputs to values. Those here also know E f(x)^2 and E phi(x) f(x) for x ~ N(0, I)
and random features phi, so that the risk can be averaged over all inputs without a test set.
"""

import dataclasses
import math
from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from rfm.features import RandomFeatures
from rfm.sample import Inputs
from theory.checks import as_floating, check_alpha, check_real, check_shape, check_untraced
from theory.duals import dual, gaussian_mean, hermite_coefficients
from theory.duals.activations import Activation
from theory.noise import NoiseMoments, beta_noise_moments, beta_quadrature, noise_moments

Scale = float | Float[Array, ""] | Float[Array, "samples"]


class GaussianTruth(eqx.Module):
    """A truth whose moments under standard normal inputs are known."""

    def __check_init__(self) -> None:
        for field in dataclasses.fields(self):
            if isinstance(value := getattr(self, field.name), jax.Array | np.ndarray):
                check_real(field.name, value)

    @abstractmethod
    def __call__(self, inputs: Inputs) -> Float[Array, "samples"]:
        """f(x), row by row."""

    @abstractmethod
    def overlap(self, scale1: float, scale2: float, correlation: float) -> Float[Array, ""]:
        """E f(scale1 g) f(scale2 g'), the entries of g and g' standard normal with that correlation."""

    @abstractmethod
    def smoothed(self, inputs: Inputs, scale: Scale) -> Float[Array, "samples"]:
        """E f(x + scale g) over a standard normal g, at each x; of one scale for all, or one each."""

    @abstractmethod
    def feature_moment(self, features: RandomFeatures) -> Float[Array, "features"]:
        """E phi(x) f(x)."""

    @property
    @abstractmethod
    def input_dim(self) -> int:
        """The number of inputs, d."""

    def power(self) -> Float[Array, ""]:
        """E f(x)^2."""
        return self.overlap(1.0, 1.0, 1.0)

    def mean(self, scale: float = 1.0) -> Float[Array, ""]:
        """E f(scale g)."""
        return self.smoothed(jnp.zeros((1, self.input_dim)), scale)[0]

    def noise_moments(
        self,
        *,
        lam: float | None = None,
        alpha: float | None = None,
        label_lam: float | None = None,
        label_alpha: float | None = None,
    ) -> NoiseMoments:
        """The moments of Mixup's label noise z over independent Gaussian x and x', exactly.

        Args:
            lam: the fixed ratio; or
            alpha: for lam ~ Beta(alpha, alpha).
            label_lam: a ratio of the labels' own; or
            label_alpha: for an independent one from Beta(label_alpha, label_alpha). None for lam.

        >>> linear = LinearTruth(jnp.ones(3))
        >>> abs(float(linear.noise_moments(alpha=1.0).power)) < 1e-12
        True
        >>> float(linear.noise_moments(lam=1.0, label_lam=0.0).power)  # f(x') in the place of f(x)
        6.0
        """
        if label_lam is not None and label_alpha is not None:
            raise ValueError(f"label_lam, label_alpha: pass one of them, got {label_lam} and {label_alpha}")
        check_untraced(lam=lam, alpha=alpha, label_lam=label_lam, label_alpha=label_alpha)
        own = None if label_lam is None else (np.asarray([float(label_lam)]), np.ones(1))
        if label_alpha is not None:
            # Exact: moments are quadratic in the labels' ratio.
            own = beta_quadrature(check_alpha("label_alpha", label_alpha), 2)
        if alpha is not None and lam is None:
            return beta_noise_moments(self.overlap, self.mean, alpha, label_ratios=own)
        if lam is None or alpha is not None:
            raise ValueError(f"lam, alpha: pass one of them, got {lam} and {alpha}")
        if own is None:
            return noise_moments(self.overlap, self.mean, lam)
        return NoiseMoments.average([noise_moments(self.overlap, self.mean, lam, share) for share in own[0]], own[1])

    def conditional_noise(self, inputs: Inputs, lam: float) -> Float[Array, "samples"]:
        """E[z | x] = lam f(x) + (1 - lam) E f - E f(lam x + (1 - lam) x'), over the partner x'.

        >>> quadratic = QuadraticTruth(2 * jnp.eye(1), jnp.zeros(1))
        >>> quadratic.conditional_noise(jnp.asarray([[2.0]]), 0.5).tolist()  # (x^2 + 1) / 4
        [1.25]
        """
        return lam * self(inputs) + (1 - lam) * self.mean() - self.smoothed(lam * inputs, 1 - lam)

    def mixing_bias(self, mixed: Inputs, lam: Scale, *, label_lam: Scale | None = None) -> Float[Array, "samples"]:
        """E[z | x~, lam], what no model that sees the mixed input alone can tell from a target of its own.

        Given x~ = lam x + (1 - lam) x', of norm factor s^2 = lam^2 + (1 - lam)^2, x is normal about lam x~ / s^2 with
        standard deviation (1 - lam) / s, and x' about (1 - lam) x~ / s^2 with lam / s.

        Args:
            mixed: x~, mixed of two independent standard normal inputs.
            lam: one for all, or one each.
            label_lam: that of the labels, if it is another.

        >>> square = QuadraticTruth(2 * jnp.eye(1), jnp.zeros(1))  # z = (x - x')^2 / 4, and x - x' knows nothing of x~
        >>> square.mixing_bias(jnp.asarray([[0.0], [3.0]]), 0.5).round(6).tolist()
        [0.5, 0.5]
        """
        lam = jnp.asarray(lam, mixed.dtype)
        share = lam if label_lam is None else jnp.asarray(label_lam, mixed.dtype)
        norm = jnp.hypot(lam, 1 - lam)

        def given(part: Array, other: Array) -> Array:
            centre = part / norm**2
            return self.smoothed((centre[:, None] if centre.ndim else centre) * mixed, other / norm)

        return share * given(lam, 1 - lam) + (1 - share) * given(1 - lam, lam) - self(mixed)


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

    @property
    def input_dim(self) -> int:
        return self.weights.shape[1]

    def overlap(self, scale1: float, scale2: float, correlation: float) -> Float[Array, ""]:
        rows = self._scaled
        pairs = dual(self.activation, scale1 * rows, self.activation, scale2 * rows, correlation=correlation)
        return _quadratic_form(pairs, self._readout)

    def smoothed(self, inputs: Inputs, scale: Scale) -> Float[Array, "samples"]:
        means = inputs @ self._scaled.T
        of_row = jnp.broadcast_to(jnp.asarray(scale, means.dtype), means.shape[:1])
        stds = of_row[:, None] * jnp.linalg.norm(self._scaled, axis=1)[None, :]
        return gaussian_mean(self.activation, stds.ravel(), means.ravel()).reshape(means.shape) @ self._readout

    def feature_moment(self, features: RandomFeatures) -> Float[Array, "features"]:
        rows, bias = features.scaled_weights, features.bias_if_any
        moments = dual(features.activation, rows, self.activation, self._scaled, bias1=bias)
        return _averaged(moments, self._readout, math.sqrt(features.num_features))

    def lipschitz_constant(self) -> float:
        """A K with |f(x) - f(x')| <= K |x - x'|: sum_j |v_j| |w_j| sup |act'|; infinite if act' is not bounded."""
        check_untraced(truth=self)
        return float(jnp.abs(self._readout) @ jnp.linalg.norm(self._scaled, axis=1)) * _sup(self.activation, 1)

    def smoothness_constant(self) -> float:
        """An L that bounds the curvature of f: sum_j |v_j| |w_j|^2 sup |act''|; infinite for an act with a kink."""
        check_untraced(truth=self)
        return float(jnp.abs(self._readout) @ jnp.sum(self._scaled**2, axis=1)) * _sup(self.activation, 2)

    @property
    def _scaled(self) -> Float[Array, "hidden inputs"]:
        return self.weights / math.sqrt(self.weights.shape[1])

    @property
    def _readout(self) -> Float[Array, "hidden"]:
        return self.readout / math.sqrt(self.readout.shape[0])


@eqx.filter_jit
def _two_layers(teacher: TwoLayerTeacher, inputs: Array) -> Array:
    return teacher.activation(inputs @ teacher._scaled.T) @ teacher._readout


@jax.jit
def _quadratic_form(pairs: Float[Array, "hidden hidden"], readout: Float[Array, "hidden"]) -> Float[Array, ""]:
    return readout @ pairs @ readout


@jax.jit
def _averaged(
    moments: Float[Array, "features hidden"], readout: Float[Array, "hidden"], scale: float | Float[Array, ""]
) -> Float[Array, "features"]:
    return moments @ readout / scale


def _sup(function: Activation, order: int) -> float:
    """The supremum of |the derivative of that order|, by difference quotients; infinite if there is none.

    Quotients over a spacing h miss the supremum of a smooth derivative by O(h^2), which the last factor allows for. A
    kink shows in quotients that grow with finer spacing, an unbounded derivative in ones that grow with the range.
    """

    def largest(reach: float, points: int) -> float:
        values = function(jnp.linspace(-reach, reach, points))
        rounding = 2.0**order * float(jnp.finfo(values.dtype).eps) * float(jnp.max(jnp.abs(values)))
        differences = float(jnp.max(jnp.abs(jnp.diff(values, order)))) - rounding
        return max(differences, 0.0) * ((points - 1) / (2 * reach)) ** order

    value = largest(30, 60_001)
    grows = value > 1.5 * largest(30, 30_001) or largest(60, 120_001) > 1.5 * value
    return float("inf") if grows else value * (1 + 1e-4)


def _symmetric_part(matrix: ArrayLike) -> Array:
    """(A + Aᵀ) / 2, the same quadratic form; bit for bit A where that is symmetric."""
    a = as_floating("curvature", matrix)
    check_shape("curvature", a, ndim=2, rows=a.shape[0], columns=a.shape[0])
    return (a + a.T) / 2


class QuadraticTruth(GaussianTruth):
    """f(x) = xᵀ A x / 2 + b . x + c. Of A only the symmetric part counts, and `curvature` keeps that.

    >>> QuadraticTruth(jnp.eye(2), jnp.ones(2))(jnp.asarray([[1.0, 2.0]])).tolist()
    [5.5]
    >>> QuadraticTruth(jnp.asarray([[1.0, 2.0], [0.0, 1.0]]), jnp.ones(2)).curvature.tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """

    curvature: Float[Array, "inputs inputs"] = eqx.field(converter=_symmetric_part)
    slope: Float[Array, "inputs"]
    constant: float = 0.0

    def __call__(self, inputs: Inputs) -> Float[Array, "samples"]:
        return jnp.sum(inputs * (inputs @ self.curvature), axis=1) / 2 + inputs @ self.slope + self.constant

    @property
    def input_dim(self) -> int:
        return self.slope.shape[0]

    def overlap(self, scale1: float, scale2: float, correlation: float) -> Float[Array, ""]:
        bend = (scale1 * scale2 * correlation) ** 2 * jnp.sum(self.curvature**2) / 2
        tilt = scale1 * scale2 * correlation * (self.slope @ self.slope)
        return self.mean(scale1) * self.mean(scale2) + bend + tilt

    def smoothed(self, inputs: Inputs, scale: Scale) -> Float[Array, "samples"]:
        return self(inputs) + scale**2 * jnp.trace(self.curvature) / 2

    def feature_moment(self, features: RandomFeatures) -> Float[Array, "features"]:
        """By Stein's identity: E s = a_0, E s x = a_1 u, E s (x xᵀ - I) = sqrt(2) a_2 u uᵀ along u = w / |w|."""
        check_untraced(features=features)
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

    @property
    def input_dim(self) -> int:
        return self.slope.shape[0]

    def overlap(self, scale1: float, scale2: float, correlation: float) -> Float[Array, ""]:
        return self._quadratic.overlap(scale1, scale2, correlation)

    def smoothed(self, inputs: Inputs, scale: Scale) -> Float[Array, "samples"]:
        return self(inputs)

    def feature_moment(self, features: RandomFeatures) -> Float[Array, "features"]:
        return self._quadratic.feature_moment(features)

    @property
    def _quadratic(self) -> QuadraticTruth:
        flat = jnp.zeros((self.slope.shape[0], self.slope.shape[0]), self.slope.dtype)
        return QuadraticTruth(flat, self.slope, self.constant)
