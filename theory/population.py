"""Over which inputs the risk is averaged: a distribution, through its moments, or a test set.

The risk of weights theta is R = E (f(x) - theta . phi(x))^2. A `Population` knows its three moments,
C = E phi phiᵀ, c = E f phi and F = E f^2, so that R = F - 2 c . theta + thetaᵀ C theta. A `TestSet` keeps its rows and
squares residuals, which is more accurate: late in training theta is long, and the three terms above nearly cancel. What
rounding leaves of them may be negative, and counts as zero: the exact risk, and its clean and noise parts, are no less.
Clean + noise + cross is the risk to within its rounding error, then as ever.
"""

from abc import abstractmethod
from typing import Any, ClassVar, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from theory import linalg
from theory.checks import as_floating, check_finite, check_shape, is_traced
from theory.classes import Classes


class RiskParts(eqx.Module):
    """A risk, and its split where the label noise is known: risk = clean + noise + cross.

    Attributes:
        risk: E (f - theta . phi)^2.
        clean: the risk of the weights trained on clean labels.
        noise: E (theta_noise . phi)^2, what the label noise has been learnt to.
        cross: twice the correlation of the two errors, of either sign.
        error_rate: the share of test inputs whose class the weights get wrong; None where targets are no classes.
    """

    risk: Float[Array, "times targets"]
    clean: Float[Array, "times targets"] | None
    noise: Float[Array, "times targets"] | None
    cross: Float[Array, "times targets"] | None
    error_rate: Float[Array, "times"] | None = None


class Averages(eqx.Module):
    """What a risk is averaged over. Weights are given as [features, times, targets].

    Attributes:
        second_moment: C = E phi phiᵀ.
        signature: what the feature map makes of some fixed inputs, by which maps are told apart; None if unknown.
        cancels: whether its risk is a difference of terms that may nearly cancel, and rounds as the largest of them.
    """

    cancels: eqx.AbstractClassVar[bool]
    second_moment: eqx.AbstractVar[Float[Array, "features features"]]
    signature: eqx.AbstractVar[Float[Array, "probes features"] | None]

    @abstractmethod
    def risk_parts(
        self, weights: Float[Array, "features times targets"], noise: Float[Array, "features times targets"] | None
    ) -> RiskParts:
        """The risk of the weights, split if the part of them that learnt the label noise is given."""

    @abstractmethod
    def mode_power(self, modes: Float[Array, "features modes"]) -> Float[Array, "modes"]:
        """E (u_k . phi)^2, the diagonal of Uᵀ C U."""

    @abstractmethod
    def mode_moment(
        self,
        modes: Float[Array, "features modes"],
        weights: Float[Array, "features times targets"],
        *,
        with_target: bool,
    ) -> Float[Array, "modes times targets"]:
        """E (u_k . phi) e, of the error e = f - theta . phi, or without the target of e = -theta . phi."""

    @abstractmethod
    def in_modes(self, modes: Float[Array, "features modes"]) -> "Averages":
        """The average over Uᵀ phi, the features in the coordinates of the modes."""

    @property
    def feature_power(self) -> Float[Array, "features"]:
        """E phi_k^2, feature by feature."""
        return jnp.diagonal(self.second_moment)

    @property
    @abstractmethod
    def power(self) -> Float[Array, ""]:
        """E |phi|^2."""

    @property
    @abstractmethod
    def target_power_by_target(self) -> Float[Array, "targets"]:
        """E f^2, the risk of predicting zero."""

    @property
    @abstractmethod
    def num_features(self) -> int:
        """The length of phi."""

    @property
    def num_targets(self) -> int:
        """The length of f."""
        return jax.eval_shape(lambda: self.target_power_by_target).shape[0]

    @property
    def in_words(self) -> str:
        """What it is, for a line of text."""
        return f"a {type(self).__name__}"


AveragesKind = TypeVar("AveragesKind", bound=Averages)


def in_precision(averages: AveragesKind, dtype: jnp.dtype) -> AveragesKind:
    """The same in at least that precision: sums of single-precision rows would round what is known better."""

    def finer(leaf: Any) -> Any:
        return leaf.astype(jnp.result_type(leaf, dtype)) if eqx.is_inexact_array(leaf) else leaf

    return jax.tree.map(finer, averages)


def check_same_map(signature: Array | None, other: Array | None, whose: str) -> None:
    """Raises ValueError if two feature maps of known signatures differ, by more than single precision rounds.

    Rows ascend in the size of the inputs, and round as the largest value until then: what cancels may be small.

    >>> check_same_map(jnp.ones((2, 3)), None, "features")
    """
    if signature is None or other is None or is_traced(signature, other) or signature.shape != other.shape:
        return
    first, second = np.asarray(signature, float), np.asarray(other, float)
    precision = max(float(jnp.finfo(array.dtype).eps) for array in (signature, other, jnp.zeros((), jnp.float32)))
    finite = np.all(np.isfinite(first) & np.isfinite(second), axis=1)  # of less range, one may have overflowed
    first, second = first[finite], second[finite]
    sizes = np.maximum.accumulate(np.max(np.abs(first), axis=1))
    if np.any(np.max(np.abs(first - second), axis=1) > precision**0.5 * sizes):
        raise ValueError(
            f"population: was made by another feature map than the {whose}; pass task.population(features) or "
            "task.test_set(features, ...) of the same map"
        )


class TestSet(Averages):
    """The average over the rows of a test set.

    Args:
        features: phi at the test inputs, one row an input.
        targets: f at the test inputs (or the labels there, where no ground truth is known), one column a target.
        signature: of the feature map, from `rfm.features.signature`; None is compared with nothing.

    Attributes:
        classes: of the test inputs, if their targets stand for such: one-hot, but for constants, or of two values.

    >>> test = TestSet(features=jnp.eye(2), targets=jnp.asarray([1.0, 3.0]))
    >>> test.target_power_by_target.tolist()
    [5.0]
    """

    __test__ = False  # not a test case, whatever pytest thinks of the name
    cancels: ClassVar[bool] = False

    features: Float[Array, "test features"]
    targets: Float[Array, "test targets"]
    classes: Classes | None
    signature: Float[Array, "probes features"] | None

    def __init__(self, features: ArrayLike, targets: ArrayLike, *, signature: Array | None = None) -> None:
        features, targets = as_floating("features", features), as_floating("targets", targets)
        check_shape("features", features, ndim=2)
        targets = linalg.as_matrix(targets)
        check_shape("targets", targets, ndim=2, rows=features.shape[0])
        self.features, self.targets = check_finite("features", features), check_finite("targets", targets)
        self.classes = Classes.of(self.targets)
        self.signature = signature

    @eqx.filter_jit
    def risk_parts(
        self, weights: Float[Array, "features times targets"], noise: Float[Array, "features times targets"] | None
    ) -> RiskParts:
        prediction = self._predict(weights)
        error = self.targets[:, None, :] - prediction
        risk = jnp.mean(error**2, axis=0)
        error_rate = None if self.classes is None else self.classes.error_rate(prediction)
        if noise is None:
            return RiskParts(risk, None, None, None, error_rate)
        fitted_noise = self._predict(noise)
        clean_error = error + fitted_noise
        return RiskParts(
            risk,
            jnp.mean(clean_error**2, axis=0),
            jnp.mean(fitted_noise**2, axis=0),
            -2 * jnp.mean(clean_error * fitted_noise, axis=0),
            error_rate,
        )

    @eqx.filter_jit
    def mode_power(self, modes: Float[Array, "features modes"]) -> Float[Array, "modes"]:
        return jnp.mean((self.features @ modes) ** 2, axis=0)

    @eqx.filter_jit
    def mode_moment(
        self,
        modes: Float[Array, "features modes"],
        weights: Float[Array, "features times targets"],
        *,
        with_target: bool,
    ) -> Float[Array, "modes times targets"]:
        prediction = self._predict(weights)
        error = self.targets[:, None, :] - prediction if with_target else -prediction
        return jnp.tensordot(modes.T, jnp.tensordot(self.features.T, error, 1), 1) / self.features.shape[0]

    def in_modes(self, modes: Float[Array, "features modes"]) -> "TestSet":
        own = self.features @ modes, None
        return eqx.tree_at(lambda test: (test.features, test.signature), self, own, is_leaf=lambda leaf: leaf is None)

    @property  # type: ignore[misc]
    def second_moment(self) -> Float[Array, "features features"]:  # type: ignore[override]
        """C = E phi phiᵀ."""
        return linalg.gram(self.features) / self.features.shape[0]

    @property
    def feature_power(self) -> Float[Array, "features"]:
        return jnp.mean(self.features**2, axis=0)

    @property
    def power(self) -> Float[Array, ""]:
        return jnp.vdot(self.features, self.features) / self.features.shape[0]  # no copy of the features

    @property
    def target_power_by_target(self) -> Float[Array, "targets"]:
        return jnp.mean(self.targets**2, axis=0)

    @property
    def num_features(self) -> int:
        return self.features.shape[1]

    @property
    def in_words(self) -> str:
        return f"{self.features.shape[0]} test inputs"

    def _predict(self, weights: Float[Array, "features times targets"]) -> Float[Array, "test times targets"]:
        return jnp.tensordot(self.features, weights, 1)


class Population(Averages):
    """The average over a distribution of inputs, known through its moments.

    Args:
        second_moment: C = E phi phiᵀ.
        target_moment: c = E f phi, one column a target.
        target_power: F = E f^2, one number a target.
        signature: of the feature map, from `rfm.features.signature`; None is compared with nothing.

    >>> gauss = Population(second_moment=jnp.eye(2), target_moment=jnp.zeros(2), target_power=jnp.asarray(3.0))
    >>> gauss.risk_parts(jnp.ones((2, 1, 1)), None).risk.tolist()
    [[5.0]]
    """

    cancels: ClassVar[bool] = True
    second_moment: Float[Array, "features features"]
    target_moment: Float[Array, "features targets"]
    target_power: Float[Array, "targets"]
    signature: Float[Array, "probes features"] | None

    def __init__(
        self,
        second_moment: ArrayLike,
        target_moment: ArrayLike,
        target_power: ArrayLike,
        *,
        signature: Array | None = None,
    ) -> None:
        second, moment = as_floating("second_moment", second_moment), as_floating("target_moment", target_moment)
        power = as_floating("target_power", target_power)
        check_shape("second_moment", second, ndim=2, columns=second.shape[0] if second.ndim else None)
        moment = linalg.as_matrix(moment)
        check_shape("target_moment", moment, ndim=2, rows=second.shape[0])
        power = power if power.ndim else linalg.on_device(linalg.on_host(power)[None])
        check_shape("target_power", power, ndim=1, rows=moment.shape[1])
        self.second_moment = check_finite("second_moment", second, degree=2)
        self.target_moment = check_finite("target_moment", moment, degree=2)
        self.target_power = check_finite("target_power", power, degree=2)
        self.signature = signature

    @eqx.filter_jit
    def risk_parts(
        self, weights: Float[Array, "features times targets"], noise: Float[Array, "features times targets"] | None
    ) -> RiskParts:
        risk = self._risk(weights)
        if noise is None:
            return RiskParts(risk, None, None, None)
        clean = weights - noise
        clean_moment = self.target_moment[:, None, :] - jnp.tensordot(self.second_moment, clean, 1)
        return RiskParts(
            risk,
            self._risk(clean),
            jnp.maximum(jnp.sum(noise * jnp.tensordot(self.second_moment, noise, 1), axis=0), 0),
            -2 * jnp.sum(noise * clean_moment, axis=0),
        )

    @eqx.filter_jit
    def mode_power(self, modes: Float[Array, "features modes"]) -> Float[Array, "modes"]:
        return jnp.sum(modes * (self.second_moment @ modes), axis=0)

    @eqx.filter_jit
    def mode_moment(
        self,
        modes: Float[Array, "features modes"],
        weights: Float[Array, "features times targets"],
        *,
        with_target: bool,
    ) -> Float[Array, "modes times targets"]:
        moment = -jnp.tensordot(self.second_moment, weights, 1)
        return jnp.tensordot(modes.T, self.target_moment[:, None, :] + moment if with_target else moment, 1)

    def in_modes(self, modes: Float[Array, "features modes"]) -> "Population":
        moment = jnp.tensordot(modes, self.second_moment @ modes, (0, 0))
        return Population(moment, jnp.tensordot(modes, self.target_moment, (0, 0)), self.target_power)

    @property
    def power(self) -> Float[Array, ""]:
        return jnp.trace(self.second_moment)

    @property
    def target_power_by_target(self) -> Float[Array, "targets"]:
        return self.target_power

    @property
    def num_features(self) -> int:
        return self.second_moment.shape[0]

    @property
    def in_words(self) -> str:
        return "a distribution, by its moments"

    def _risk(self, weights: Float[Array, "features times targets"]) -> Float[Array, "times targets"]:
        """Never negative, as a mean square is, though its three terms cancel to rounding."""
        moment = 2 * self.target_moment[:, None, :] - jnp.tensordot(self.second_moment, weights, 1)
        return jnp.maximum(self.target_power[None, :] - jnp.sum(weights * moment, axis=0), 0)
