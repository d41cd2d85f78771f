"""The elementwise functions that random features and two-layer teachers are made of, by name.

A feature map is a linear map followed by one of these; which one decides how fast the eigenvalues of the feature
covariance fall, and with that how late the label noise is learnt.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Activation = Callable[[Array], Array]


def _gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    return x * jax.scipy.stats.norm.cdf(x)


def _identity(x: Float[Array, "..."]) -> Float[Array, "..."]:
    return x


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
