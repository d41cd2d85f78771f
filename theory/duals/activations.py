"""The elementwise functions that random features and two-layer teachers are made of, by name.

A feature map is a linear map followed by one of these; which one decides how fast the eigenvalues of the feature
covariance fall, and with that how late the label noise is learnt.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Activation = Callable[[Array], Array]


def _gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    return x * jax.scipy.stats.norm.cdf(x)


def _identity(x: Float[Array, "..."]) -> Float[Array, "..."]:
    return x


def _gaussian(x: Float[Array, "..."]) -> Float[Array, "..."]:
    return jnp.exp(-(x**2))


class BrokenLine(eqx.Module):
    """s(u) = slope u + bend |u|: identity, relu (1/2, 1/2), abs (0, 1) and every leaky relu."""

    slope: float
    bend: float

    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        return self.slope * x + self.bend * jnp.abs(x)


class BrokenConstant(eqx.Module):
    """s(u) = level + jump sign(u), the derivative of a broken line; sign is (0, 1)."""

    level: float
    jump: float

    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        return self.level + self.jump * jnp.sign(x)


def leaky_relu(negative_slope: float) -> BrokenLine:
    """U above 0, and `negative_slope` u below.

    >>> leaky_relu(0.5)(jnp.asarray([-1.0, 2.0])).tolist()
    [-0.5, 2.0]
    """
    return BrokenLine((1 + negative_slope) / 2, (1 - negative_slope) / 2)


ACTIVATIONS: dict[str, Activation] = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "erf": jax.scipy.special.erf,
    "gelu": _gelu,
    "sin": jnp.sin,
    "cos": jnp.cos,
    "sign": jnp.sign,
    "softplus": jax.nn.softplus,
    "sigmoid": jax.nn.sigmoid,
    "identity": _identity,
    "abs": jnp.abs,
    "silu": jax.nn.silu,
    "exp": jnp.exp,
    "gaussian": _gaussian,
}


def activation(name_or_function: str | Activation) -> Activation:
    """The function behind a name; a callable is returned as it is.

    Raises:
        ValueError: the name is unknown; the message lists the known ones.

    >>> float(activation("relu")(jnp.asarray(-2.0)))
    0.0
    """
    if callable(name_or_function):
        return name_or_function
    if name_or_function not in ACTIVATIONS:
        known = ", ".join(sorted(ACTIVATIONS))
        raise ValueError(
            f"activation: {name_or_function!r} is not known; pass one of {known}, or any elementwise callable"
        )
    return ACTIVATIONS[name_or_function]
