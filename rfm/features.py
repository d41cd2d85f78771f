"""Random features: a linear map drawn once, an elementwise function, and nothing learnt."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from rfm.checks import check_key
from rfm.normals import scaled_normals
from rfm.sample import FeatureMap as FeatureMap
from theory import dual
from theory.checks import as_floating, check_count, check_not_negative, check_real, described, is_traced
from theory.duals import activation as activation_named
from theory.duals.activations import Activation
from theory.linalg import on_device, on_host
from theory.rules.rule import number


class RandomFeatures(eqx.Module):
    """phi(x) = act(W x / sqrt(d) + bias) / sqrt(p).

    The entries of W are normal of standard deviation `weight_std`, those of the bias of `bias_std`. With the factor
    1/sqrt(p), |phi|^2 and the eigenvalues of the feature covariance stay of order one as p grows.

    Args:
        input_dim: d.
        num_features: p, or ``math.inf``: then there is a `kernel` in the place of feature vectors, and problems are
            solved in closed form only.
        activation: a name of `theory.duals.ACTIVATIONS`, or any elementwise callable.
        weight_std: unit 1/input.
        bias_std: 0 for no bias.
        key: draws W and the bias.

    >>> features = RandomFeatures(input_dim=3, num_features=8, activation="relu", key=jax.random.key(0))
    >>> features(jnp.ones((5, 3))).shape
    (5, 8)
    """

    weights: Float[Array, "features inputs"]
    bias: Float[Array, "features"]
    activation: Activation = eqx.field(static=True)
    weight_std: float | Float[Array, ""]
    bias_std: float | Float[Array, ""]

    def __init__(
        self,
        input_dim: int,
        num_features: int | float,
        activation: str | Activation = "tanh",
        *,
        weight_std: float | Float[Array, ""] = 1.0,
        bias_std: float | Float[Array, ""] = 0.0,
        key: PRNGKeyArray,
    ) -> None:
        check_count("input_dim", input_dim)
        if num_features != math.inf:
            check_count("num_features", num_features)
        weight_std = check_not_negative("weight_std", weight_std)
        bias_std = check_not_negative("bias_std", bias_std)
        check_key("key", key)
        rows = 0 if num_features == math.inf else int(num_features)
        self.weights, self.bias = scaled_normals(key, (weight_std, (rows, input_dim)), (bias_std, (rows,)))
        self.activation = activation_named(activation)
        self.weight_std, self.bias_std = number(weight_std), number(bias_std)

    @property
    def is_infinite(self) -> bool:
        """Whether these are infinitely many features; then no weights are drawn."""
        return self.weights.shape[0] == 0

    @property
    def num_features(self) -> int | float:
        """The number of features, p."""
        return math.inf if self.is_infinite else self.weights.shape[0]

    @property
    def scaled_weights(self) -> Float[Array, "features inputs"]:
        """W / sqrt(d), what inputs are multiplied by."""
        return self.weights / math.sqrt(self.weights.shape[1])

    @property
    def bias_if_any(self) -> Float[Array, "features"] | None:
        """The bias, or None if all of it is known to be zero, for which more expectations have closed forms."""
        return self.bias if is_traced(self.bias) or np.any(np.asarray(self.bias) != 0) else None

    def second_moment(self) -> Float[Array, "features features"]:
        """E phi phiᵀ for standard normal inputs, exactly; for finitely many features.

        >>> features = RandomFeatures(input_dim=3, num_features=2, activation="identity", key=jax.random.key(0))
        >>> bool(jnp.allclose(features.second_moment(), features.scaled_weights @ features.scaled_weights.T / 2))
        True
        """
        moment = dual(self.activation, self.scaled_weights, bias1=self.bias_if_any)
        return on_device(on_host(moment) / self.num_features)

    def kernel(
        self, inputs: Float[Array, "samples inputs"], others: Float[Array, "others inputs"]
    ) -> Float[Array, "samples others"]:
        """What phi(x) . phi(x') tends to as p grows: its expectation over W and the bias.

        >>> features = RandomFeatures(3, math.inf, "identity", weight_std=2.0, bias_std=1.0, key=jax.random.key(0))
        >>> x = jnp.ones((1, 3))
        >>> features.kernel(x, x).round(6).tolist()  # weight_std^2 |x|^2 / d + bias_std^2
        [[5.0]]
        """
        return dual(self.activation, self._as_rows(inputs), weights2=self._as_rows(others))

    def _as_rows(self, inputs: Float[Array, "samples inputs"]) -> Float[Array, "samples extended"]:
        scaled = self.weight_std * inputs / jnp.sqrt(inputs.shape[1])
        return jnp.concatenate([scaled, jnp.full((inputs.shape[0], 1), self.bias_std, inputs.dtype)], axis=1)

    def __call__(self, inputs: Float[Array, "samples inputs"]) -> Float[Array, "samples features"]:
        if self.is_infinite:
            raise TypeError(
                "num_features: infinitely many features have a kernel and no feature vectors; pass a number, or let "
                "rfm.synthesize and task.test_set take them as they are"
            )
        if not isinstance(inputs, jax.Array | np.ndarray):
            raise TypeError(f"inputs: pass an array, such as jax.numpy.asarray(inputs), got {described(inputs)}")
        check_real("inputs", inputs)
        if inputs.ndim != 2 or inputs.shape[1] != self.weights.shape[1]:
            raise ValueError(f"inputs: has shape {inputs.shape}; pass shape (any, {self.weights.shape[1]})")
        return _random_features(self, inputs)

    def preactivations(self, inputs: Float[Array, "samples inputs"]) -> Float[Array, "samples features"]:
        """W x / sqrt(d) + bias, which commutes with mixing; `from_preactivations` makes features of them."""
        return inputs @ self.scaled_weights.T + self.bias[None, :]

    def from_preactivations(self, preactivations: Float[Array, "*axes features"]) -> Float[Array, "*axes features"]:
        """The elementwise part: act(.) / sqrt(p).

        >>> features = RandomFeatures(input_dim=3, num_features=8, key=jax.random.key(0))
        >>> x = jnp.ones((5, 3))
        >>> bool(jnp.allclose(features.from_preactivations(features.preactivations(x)), features(x)))
        True
        """
        return self.activation(preactivations) / jnp.sqrt(self.num_features)


def signature(features: FeatureMap, input_dim: int) -> Float[Array, "probes features"] | None:
    """What the map makes of some fixed inputs, by which it is told from others; None for infinitely many features.

    Maps that compute the same have the same, whatever they are called and however they were stored.

    >>> one, other = (RandomFeatures(3, 8, key=jax.random.key(seed)) for seed in (0, 1))
    >>> bool(jnp.all(signature(one, 3) == signature(one, 3))), bool(jnp.all(signature(one, 3) == signature(other, 3)))
    (True, False)
    """
    check_features(features, input_dim)
    if isinstance(features, RandomFeatures) and features.is_infinite:
        return None
    few = as_floating("features", features(probes(input_dim)))
    number = SIGNATURE_VALUES // max(few.size // NUM_PROBES, 1)
    return few if number <= NUM_PROBES else as_floating("features", features(probes(input_dim, number)))


NUM_PROBES, SIGNATURE_VALUES = 8, 1024
"""Inputs by which a map is known, and how many values it is known by if it has few features: a sign tells little."""
PROBE_SIZES = (0.125, 16.0)


def probes(input_dim: int, number: int = NUM_PROBES) -> Float[Array, "probes inputs"]:
    """Fixed inputs of ascending size with nothing regular about them."""
    sizes = np.sqrt(2) * np.geomspace(*PROBE_SIZES, number)
    turns = np.arange(1, number + 1)[:, None] * np.arange(1.0, input_dim + 1)[None, :] ** 2
    return on_device(sizes[:, None] * np.cos(turns))


def check_features(features: object, input_dim: int) -> None:
    """Raises unless the value is a feature map, of so many inputs if it is known of how many."""
    if not callable(features):
        raise TypeError(f"features: pass rfm.RandomFeatures or any callable of inputs, got {described(features)}")
    if isinstance(features, RandomFeatures) and features.weights.shape[1] != input_dim:
        raise ValueError(
            f"features: take {features.weights.shape[1]} inputs, but there are {input_dim}; pass "
            f"RandomFeatures(input_dim={input_dim}, ...)"
        )


@eqx.filter_jit
def _random_features(features: RandomFeatures, inputs: Array) -> Array:
    return features.from_preactivations(features.preactivations(inputs))
