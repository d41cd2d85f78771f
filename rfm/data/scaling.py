"""How numbers are scaled before features are made of them, by rows to train on and for others too.

Columns of a table are of different units, so that each is standardised by itself. Pixels are of one: each is centred,
and all are divided by one standard deviation, or what hardly varies would count as much as the rest. Numbers to predict
are standardised; classes stay as they are.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from theory.linalg import on_device


class DataSet(NamedTuple):
    """Prepared arrays: inputs [rows, d]; targets [rows], or [rows, K] for K classes."""

    inputs: Float[Array, "rows inputs"]
    targets: Float[Array, "rows"] | Float[Array, "rows targets"]


class Numbers(NamedTuple):
    """Inputs and targets in floating point, not scaled.

    Attributes:
        inputs: [rows, d].
        targets: [rows] or [rows, K]; of classes, one-hot less 1/K.
        are_classes: whether the targets stand for classes.
        are_images: whether inputs had more than one axis beside that of rows.
    """

    inputs: np.ndarray
    targets: np.ndarray
    are_classes: bool
    are_images: bool


def scaled(numbers: Numbers) -> DataSet:
    """All rows, by themselves.

    >>> scaled(Numbers(np.asarray([[1.0], [3.0]]), np.asarray([2.0, 6.0]), False, False)).targets.tolist()
    [-1.0, 1.0]
    """
    return Scaling.of(numbers)(numbers.inputs, numbers.targets)


class Scaling(NamedTuple):
    """(x - mean) / scale and (y - mean) / scale, found from some rows and good for others too.

    Inputs that are missing (NaN) become 0, the mean of those rows. A column that is missing or the same in all of them
    becomes 0 everywhere: nothing can be learnt from it, and what it holds in others is of no known size.

    Attributes:
        unit: of inputs and targets, powers of two near their largest values: in these no square overflows or vanishes.
        mean: in those units.
        scale: likewise.
    """

    unit: tuple[np.ndarray, np.ndarray]
    mean: tuple[np.ndarray, np.ndarray]
    scale: tuple[np.ndarray, np.ndarray]

    @staticmethod
    def of(numbers: Numbers) -> "Scaling":
        """That of these rows.

        >>> inputs, targets = np.asarray([[1.0, 0.0], [np.nan, 3.0], [3.0, 6.0]]), np.asarray([0.5, 2.5, 0.0])
        >>> Scaling.of(Numbers(inputs, targets, False, False)).mean[1].tolist()  # in units of 4
        0.25
        >>> scaling = Scaling.of(Numbers(inputs, targets, False, True))  # by one standard deviation
        >>> scaling(inputs, targets).inputs.tolist()
        [[-0.5, -1.5], [0.0, 0.0], [0.5, 1.5]]
        """
        inputs, targets, are_classes, are_images = numbers
        unit = _unit(inputs.ravel() if are_images else inputs)
        mean, deviation, known = _known_mean(inputs / unit)
        square = np.where(_varies(inputs), deviation**2, 0.0)
        variance = square.sum() / max(known.sum(), 1) if are_images else square.sum(axis=0) / np.maximum(known, 1)
        scale = np.where(_varies(inputs), _nonzero(np.sqrt(variance)), np.inf)
        if are_classes:
            one = np.ones(())
            return Scaling((unit, one), (mean, np.zeros(())), (scale, one))
        target_unit = _unit(targets)
        small = targets / target_unit
        return Scaling((unit, target_unit), (mean, small.mean(axis=0)), (scale, _nonzero(small.std(axis=0))))

    def __call__(self, inputs: np.ndarray, targets: np.ndarray) -> DataSet:
        x, y = (
            (values / unit - mean) / scale for values, unit, mean, scale in zip((inputs, targets), *self, strict=True)
        )
        return DataSet(jnp.asarray(np.where(np.isnan(x), 0.0, x)), jnp.asarray(y))


class Components(NamedTuple):
    """Scores on the first principal components of some rows, in the unit in which their mean square there is 1.

    Attributes:
        directions: of the components, each of length 1 over that unit.
    """

    directions: Float[np.ndarray, "inputs components"]

    @staticmethod
    def of(inputs: Float[Array, "rows inputs"], number: int) -> "Components":
        """Those of scaled inputs, not more than there are inputs or rows; what does not vary in them stays zero.

        >>> Components.of(jnp.asarray([[3.0, 0.1], [-3.0, -0.1], [0.0, 0.0]]), 2).directions.round(2).tolist()
        [[0.58, 0.0], [0.02, 0.0]]
        """
        from sklearn.decomposition import PCA

        rows = np.asarray(inputs)
        found = PCA(number, random_state=0).fit(rows)  # it draws where it is asked for few of many
        smallest = max(rows.shape) * np.finfo(rows.dtype).eps * found.singular_values_[0]
        directions = np.where(found.singular_values_ > smallest, found.components_.T, 0.0)
        size = np.sqrt(np.mean((rows @ directions) ** 2))
        return Components(directions / _nonzero(size))

    def __call__(self, inputs: Float[Array, "rows inputs"]) -> Float[Array, "rows components"]:
        """Of rows that were scaled alike, so that their mean over the former rows is zero."""
        return inputs @ on_device(self.directions)


def _known_mean(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means of columns, what each value is off from them, 0 where it is missing, and how many are there."""
    is_missing = np.isnan(values)
    known = len(values) - is_missing.sum(axis=0)
    mean = np.where(is_missing, 0.0, values).sum(axis=0) / np.maximum(known, 1)
    return mean, np.where(is_missing, 0.0, values - mean[None, :]), known


def _varies(values: np.ndarray) -> np.ndarray:
    """Which columns hold two values; their deviations from the mean may be no zeros where they do not, by rounding."""
    return np.fmax.reduce(values, axis=0) > np.fmin.reduce(values, axis=0)


def _nonzero(scale: np.ndarray | float) -> np.ndarray:
    return np.where(scale > 0, scale, 1.0)


def _unit(values: np.ndarray) -> np.ndarray:
    """The power of two just above the largest value, by column; dividing by it rounds nothing."""
    largest = np.nan_to_num(np.fmax.reduce(np.abs(values), axis=0))  # 0 where all are missing
    return np.asarray(np.ldexp(1.0, np.minimum(np.frexp(largest)[1], MOST_EXPONENT)))


MOST_EXPONENT = 1023
