"""Targets that stand for classes, and how often a prediction names the wrong one: the 0-1 error.

A prediction names the class whose label is nearest to it. Of one-hot labels that is the largest entry, and labels less
any constant, such as their mean, only move the entries by it.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from theory.checks import is_traced
from theory.linalg import on_device

SAME = 1e-6
"""Labels differ by less from one-hot ones by rounding, relative to their spread; single precision is enough."""


class ErrorRates:
    """What a record of risks says of classes, from its field `classification_error`."""

    classification_error: Float[Array, "_"] | None

    @property
    def error_rate(self) -> Float[Array, "_"]:
        """The share of test inputs whose class is wrong, the 0-1 error; of the mean weights, where a start is random.

        Raises:
            ValueError: a risk over a distribution, or over targets that are numbers, or of a single class.
        """
        if self.classification_error is None:
            raise ValueError(
                "error_rate: the risk is not over a test set of classes; pass an rfm.TestSet of one-hot targets (less "
                "any constants), or of one column of two values, with two classes or more among them"
            )
        return self.classification_error

    @property
    def lowest_error_rate(self) -> Float[Array, ""]:
        """The lowest of those that were asked for."""
        return jnp.min(self.error_rate)


class Classes(eqx.Module):
    """The classes of test inputs, and what is added to predictions before the largest entry names one.

    Attributes:
        of_row: the class of each input.
        offset: of each class.
    """

    of_row: Int[Array, "test"]
    offset: Float[Array, "classes"]

    @staticmethod
    def of(targets: Float[Array, "test targets"]) -> "Classes | None":
        """Those of one-hot targets, times and less any constants, or of one column of two values; None of numbers.

        A class that no target is of may still be named.

        >>> Classes.of(jnp.asarray([[1.0], [-1.0], [1.0]])).of_row.tolist()
        [1, 0, 1]
        >>> Classes.of(jnp.asarray([[0.5, -0.5, 0.0], [-0.5, 0.5, 0.0]])).of_row.tolist()
        [0, 1]
        >>> print(Classes.of(jnp.asarray([[0.1], [0.2], [0.3]])))
        None
        """
        if is_traced(targets):
            return None
        values = np.asarray(targets)
        lowest = values.min(axis=0, keepdims=True)
        raised = values - lowest
        height = raised.max()
        if height == 0:
            return None
        if values.shape[1] == 1:
            of_row = (raised[:, 0] > height / 2).astype(int)
            off, middle = raised[:, 0] / height - of_row, float(lowest[0, 0] + height / 2)
            offset = np.asarray([middle, -middle], values.dtype)  # of two scores, -p and p
        else:
            of_row = raised.argmax(axis=1)
            off, offset = raised / height - np.eye(values.shape[1])[of_row], -lowest[0]
        return None if np.max(np.abs(off)) > SAME else Classes(on_device(of_row), on_device(offset))

    def error_rate(self, predictions: Float[Array, "test times targets"]) -> Float[Array, "times"]:
        """The share of inputs whose prediction names another class.

        >>> classes = Classes.of(jnp.eye(2))
        >>> classes.error_rate(jnp.asarray([[[0.0, 0.0], [0.6, 0.4]], [[0.0, 0.0], [0.7, 0.3]]])).tolist()
        [0.5, 0.5]
        """
        return jnp.mean(self.wrong(predictions), axis=0)

    def wrong(self, predictions: Float[Array, "test times targets"]) -> Float[Array, "test times"]:
        """1 where the prediction names another class, 0 where it names the right one, which if tied among k is
        wrong in k - 1 of k.
        """
        scores = jnp.concatenate([-predictions, predictions], axis=2) if predictions.shape[2] == 1 else predictions
        scores = scores + self.offset[None, None, :]
        largest = jnp.max(scores, axis=2, keepdims=True)
        there = jnp.take_along_axis(scores, self.of_row[:, None, None], axis=2)
        ties = jnp.sum(scores == largest, axis=2)
        return 1 - jnp.where(there[:, :, 0] == largest[:, :, 0], 1 / ties, 0)
