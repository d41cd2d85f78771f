"""Real data: bundled sets by name, files by path, prepared as the field does; and a ground truth fitted to them.

Regression: every input column and the target are standardised. Classification: pixels (or columns) are centred by
column and divided by one global standard deviation, and the labels are one-hot less 1/K.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from rfm.tables import load_table
from rfm.truths import Inputs, Values
from theory.checks import check_positive

MAX_CLASSES = 1000


class DataSet(NamedTuple):
    """Prepared arrays: inputs [rows, d]; targets [rows], or [rows, K] for K classes."""

    inputs: Float[Array, "rows inputs"]
    targets: Float[Array, "rows"] | Float[Array, "rows targets"]


def load_dataset(name_or_path: str) -> DataSet:
    """A bundled set (``diabetes``, ``digits``) or an ``.npz`` file, prepared.

    A file holds ``x`` and ``y``, or ``x_train``, ``y_train``, ``x_test``, ``y_test`` (joined, in this order).
    Whole-number labels are classes, others are regression targets.

    Raises:
        ValueError: the name is not known, the file has other keys, or its values are not finite.
        FileNotFoundError: there is no such file.

    >>> load_dataset("diabetes").inputs.shape, load_dataset("digits").targets.shape
    ((442, 10), (1797, 10))
    """
    if name_or_path not in _BUNDLED and not name_or_path.endswith(".npz"):
        raise ValueError(
            f"dataset: {name_or_path!r} is not known; pass one of {', '.join(DATASETS)}, or the path of an .npz file"
        )
    return prepare(*_raw(name_or_path))


class RawData(NamedTuple):
    """Arrays as they were stored: inputs [rows, ...]; targets [rows], or [rows, targets]."""

    inputs: np.ndarray
    targets: np.ndarray


def read_arrays(name_or_path: str, *, target: str | None = None, inputs: Sequence[str] | None = None) -> RawData:
    """A bundled set, an ``.npz`` file or a ``.csv`` table, not prepared.

    Args:
        name_or_path: as for `load_dataset`, or a table as for `rfm.load_table`.
        target: the column of the table to predict, or several with commas between them.
        inputs: the columns to predict from; None for all others.

    Raises:
        ValueError: the name is not known, the file cannot be read as numbers, columns named of what is no table.
        FileNotFoundError: there is no such file.

    >>> read_arrays("diabetes").inputs.shape
    (442, 10)
    """
    if name_or_path.endswith(".csv"):
        table = load_table(name_or_path, target or "", inputs)
        return RawData(table.inputs, table.targets)
    if name_or_path not in _BUNDLED and not name_or_path.endswith(".npz"):
        raise ValueError(
            f"dataset: {name_or_path!r} is not known; pass one of {', '.join(DATASETS)}, or the path of a .csv or .npz "
            "file"
        )
    if target is not None or inputs is not None:
        raise ValueError(f"target, inputs: only a .csv file names its columns, got {name_or_path!r}; leave them out")
    return RawData(*_raw(name_or_path))


def prepare(inputs: ArrayLike, targets: ArrayLike) -> DataSet:
    """Standardises columns and target, or centres columns and encodes classes; constant columns become zero.

    >>> prepare(np.asarray([[1.0], [3.0]]), np.asarray([0.5, 2.5])).inputs.tolist()
    [[-1.0], [1.0]]
    """
    inputs, targets, are_classes = as_numbers(inputs, targets)
    return Scaling.of(inputs, targets, are_classes)(inputs, targets)


def as_numbers(inputs: ArrayLike, targets: ArrayLike) -> tuple[np.ndarray, np.ndarray, bool]:
    """Inputs [rows, d], targets [rows] or [rows, K], and whether these stand for classes: one-hot less 1/K.

    Whole numbers are classes.

    >>> as_numbers(np.asarray([[1.0], [3.0]]), np.asarray([7, 9]))[1:]
    (array([[ 0.5, -0.5],
           [-0.5,  0.5]]), True)
    """
    inputs, targets = np.asarray(inputs, float), np.squeeze(np.asarray(targets))
    inputs = inputs.reshape(len(inputs), -1)
    for name, array in (("x", inputs), ("y", np.asarray(targets, float))):
        if not np.all(np.isfinite(array)):
            raise ValueError(f"{name}: holds values that are not finite; drop or impute those rows")
    if not np.issubdtype(targets.dtype, np.integer) or targets.ndim != 1:
        return inputs, targets, False
    classes, codes = np.unique(targets, return_inverse=True)
    if classes.size > MAX_CLASSES:
        raise ValueError(f"y: has {classes.size} different whole numbers; pass floats if it is a regression target")
    return inputs, np.eye(classes.size)[codes] - 1 / classes.size, True


class Scaling(NamedTuple):
    """(x - mean) / scale and (y - mean) / scale, found from some rows and good for others too."""

    input_mean: np.ndarray
    input_scale: np.ndarray
    target_mean: np.ndarray
    target_scale: np.ndarray

    @staticmethod
    def of(inputs: np.ndarray, targets: np.ndarray, are_classes: bool) -> "Scaling":
        """Standardises each column; with classes, all inputs by one standard deviation, and the targets stay.

        >>> Scaling.of(np.asarray([[1.0], [3.0]]), np.asarray([0.5, 2.5]), False).target_mean.tolist()
        1.5
        """
        mean = inputs.mean(axis=0)
        if are_classes:
            spread = _nonzero((inputs - mean[None, :]).std())
            return Scaling(mean, np.asarray(spread), np.zeros(()), np.ones(()))
        return Scaling(mean, _nonzero(inputs.std(axis=0)), targets.mean(axis=0), _nonzero(targets.std(axis=0)))

    def __call__(self, inputs: np.ndarray, targets: np.ndarray) -> DataSet:
        return DataSet(
            jnp.asarray((inputs - self.input_mean) / self.input_scale),
            jnp.asarray((targets - self.target_mean) / self.target_scale),
        )


class KernelTruth(eqx.Module):
    """A known ground truth that looks like the data: Gaussian-kernel ridge regression, fitted once to the whole set.

    It makes Mixup's label noise known on real inputs, where nature's own truth is not.

    Args:
        inputs: to fit to.
        targets: to fit to.
        bandwidth: of the kernel exp(-|x - x'|^2 / (2 bandwidth^2)); None for the median distance of the first thousand
            inputs.
        ridge: of the fit, relative to the kernel's diagonal of 1.

    >>> data = load_dataset("diabetes")
    >>> truth = KernelTruth(data.inputs, data.targets)
    >>> truth(data.inputs[:3]).shape
    (3,)
    """

    centres: Float[Array, "rows inputs"]
    coefficients: Float[Array, "rows targets"]
    bandwidth: float
    is_vector: bool = eqx.field(static=True)

    def __init__(
        self, inputs: ArrayLike, targets: ArrayLike, *, bandwidth: float | None = None, ridge: float = 1e-2
    ) -> None:
        from scipy.spatial.distance import pdist
        from sklearn.kernel_ridge import KernelRidge

        check_positive("ridge", ridge)
        inputs, targets = jnp.asarray(inputs), jnp.asarray(targets)
        if bandwidth is None:
            bandwidth = float(np.median(pdist(np.asarray(inputs)[:1000])))
        check_positive("bandwidth", bandwidth)
        fit = KernelRidge(alpha=ridge, kernel="rbf", gamma=1 / (2 * bandwidth**2)).fit(
            np.asarray(inputs), np.asarray(targets).reshape(len(inputs), -1)
        )
        self.centres, self.coefficients = jnp.asarray(inputs), jnp.asarray(fit.dual_coef_)
        self.bandwidth, self.is_vector = bandwidth, jnp.ndim(targets) == 1

    def __call__(self, inputs: Inputs) -> Values:
        values = _kernel_sum(self, inputs)
        return values[:, 0] if self.is_vector else values


@eqx.filter_jit
def _kernel_sum(truth: KernelTruth, inputs: Array) -> Array:
    squared = (
        jnp.sum(inputs**2, axis=1)[:, None] + jnp.sum(truth.centres**2, axis=1)[None, :] - 2 * inputs @ truth.centres.T
    )
    return jnp.exp(-jnp.maximum(squared, 0) / (2 * truth.bandwidth**2)) @ truth.coefficients


def _diabetes() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_diabetes

    return load_diabetes(return_X_y=True, scaled=False)


def _digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    return load_digits(return_X_y=True)


_BUNDLED: dict[str, Callable[[], tuple[np.ndarray, np.ndarray]]] = {"diabetes": _diabetes, "digits": _digits}
DATASETS = tuple(sorted(_BUNDLED))


def _raw(name_or_path: str) -> tuple[np.ndarray, np.ndarray]:
    return _BUNDLED[name_or_path]() if name_or_path in _BUNDLED else _read_npz(Path(name_or_path))


def _read_npz(path: Path) -> tuple[np.ndarray, np.ndarray]:
    if not path.is_file():
        raise FileNotFoundError(f"dataset: there is no file {path}")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return _inputs_and_targets(archive, path)
    except (OSError, EOFError, ValueError, BadZipFile) as error:
        raise ValueError(f"dataset: {path} is not a readable .npz file ({error}); write it with numpy.savez") from error


def _inputs_and_targets(archive: Mapping[str, np.ndarray], path: Path) -> tuple[np.ndarray, np.ndarray]:
    keys = set(archive.keys())
    if {"x", "y"} <= keys:
        return archive["x"], archive["y"]
    if {"x_train", "y_train", "x_test", "y_test"} <= keys:
        return (
            np.concatenate([archive["x_train"], archive["x_test"]]),
            np.concatenate([archive["y_train"], archive["y_test"]]),
        )
    raise ValueError(
        f"dataset: {path} holds {', '.join(sorted(keys)) or 'nothing'}; pass a file with x and y, or with "
        "x_train, y_train, x_test and y_test"
    )


def _nonzero(scale: np.ndarray | float) -> np.ndarray:
    return np.where(scale > 0, scale, 1.0)
