"""What networks are trained to lower, row by row."""

from abc import abstractmethod
from typing import Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from theory.checks import check_finite
from theory.linalg import on_host

LossName = Literal["squared", "cross-entropy"]
Outputs = Float[Array, "rows outputs"]
NEAR = 1e-6
"""By which probabilities may miss one, in single precision."""


class Loss(eqx.Module):
    """A loss of outputs, given labels."""

    @abstractmethod
    def __call__(self, outputs: Outputs, labels: Outputs) -> Float[Array, "rows"]:
        """Of each row, as trained."""

    @abstractmethod
    def risk(self, outputs: Outputs, labels: Outputs) -> Float[Array, "rows"]:
        """Of each row, as reported."""

    def check(self, labels: Outputs) -> None:
        """Raises ValueError for labels that it is not made for."""
        check_finite("labels", labels)


class Squared(Loss):
    """|f - y|^2 / 2, as in the theory; reported without the half.

    >>> Squared()(jnp.asarray([[1.0, 2.0]]), jnp.zeros((1, 2))).tolist()
    [2.5]
    """

    def __call__(self, outputs: Outputs, labels: Outputs) -> Float[Array, "rows"]:
        return self.risk(outputs, labels) / 2

    def risk(self, outputs: Outputs, labels: Outputs) -> Float[Array, "rows"]:
        return jnp.sum((outputs - labels) ** 2, axis=1)


class CrossEntropy(Loss):
    """That of the outputs' softmax, with labels that are probabilities; mixing keeps them so.

    >>> CrossEntropy()(jnp.zeros((1, 2)), jnp.asarray([[0.3, 0.7]])).round(4).tolist()
    [0.6931]
    """

    def __call__(self, outputs: Outputs, labels: Outputs) -> Float[Array, "rows"]:
        return -jnp.sum(labels * jax.nn.log_softmax(outputs), axis=1)

    def risk(self, outputs: Outputs, labels: Outputs) -> Float[Array, "rows"]:
        return self(outputs, labels)

    def check(self, labels: Outputs) -> None:
        super().check(labels)
        values = on_host(labels)
        if values.shape[1] < 2 or np.any(values < 0) or np.any(np.abs(values.sum(axis=1) - 1) > NEAR):
            raise ValueError(
                "labels: cross-entropy is of probabilities, one column a class, and these are none; pass one-hot ones, "
                "or loss='squared'"
            )


LOSSES: dict[str, Loss] = dict(zip(get_args(LossName), (Squared(), CrossEntropy()), strict=True))
"""By name."""
