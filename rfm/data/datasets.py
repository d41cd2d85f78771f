"""Real data: bundled sets by name, files by path, prepared as the field does; and a ground truth fitted to them.

How they are scaled is said by `rfm.data.scaling`; labels of classes are one-hot less 1/K.
"""

from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Literal, NamedTuple
from zipfile import is_zipfile

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from rfm.data.scaling import DataSet, Numbers, scaled
from rfm.files import check_is_file
from rfm.sample import Inputs, Values
from theory.checks import as_floating, check_finite, check_positive, check_real, check_same_rows, check_untraced

MAX_CLASSES = 1000
Missing = Literal["refuse", "mean"]
"""What is done with inputs that are missing: they are refused, or stay NaN until they are scaled."""


def load_dataset(name_or_path: str | PathLike[str]) -> DataSet:
    """A bundled set (``diabetes``, ``digits``) or an ``.npz`` file, prepared.

    A file holds ``x`` and ``y``, or ``x_train``, ``y_train``, ``x_test``, ``y_test`` (joined, in this order).
    Whole-number labels are classes, others are regression targets.

    Raises:
        ValueError: the name is not known, the file has other keys, or its values are not finite.
        FileNotFoundError: there is no such file.

    >>> load_dataset("diabetes").inputs.shape, load_dataset("digits").targets.shape
    ((442, 10), (1797, 10))
    """
    name = str(name_or_path)
    raw = stored(name, "the path of an .npz file")
    return scaled(as_numbers(*raw, names=_columns_of(name)))


class RawData(NamedTuple):
    """Arrays as they were stored: inputs [rows, ...]; targets [rows], or [rows, targets]."""

    inputs: np.ndarray
    targets: np.ndarray


def stored(name: str, else_pass: str, missing: Missing = "refuse") -> RawData:
    """A bundled set or an ``.npz`` file; what may be passed beside the former is said where the name is no such.

    >>> stored("digits", "the path of an .npz file").inputs.shape
    (1797, 8, 8)
    """
    if name in _BUNDLED:
        return RawData(*_BUNDLED[name]())
    if not name.endswith(".npz"):
        raise ValueError(f"dataset: {name!r} is not known; pass one of {', '.join(DATASETS)}, or {else_pass}")
    return RawData(*_read_npz(Path(name), missing))


def prepare(inputs: ArrayLike, targets: ArrayLike, *, missing: Missing = "refuse") -> DataSet:
    """Standardises inputs and numbers to predict, and encodes classes; constant columns become zero.

    Images, [rows, height, width] or with more axes, are centred by pixel and divided by one standard deviation. Inputs
    may be missing (NaN) if ``missing="mean"``, which they then are given.

    >>> prepare(np.asarray([[1.0], [3.0]]), np.asarray([0.5, 2.5])).inputs.tolist()
    [[-1.0], [1.0]]
    """
    return scaled(as_numbers(inputs, targets, missing=missing))


def as_numbers(
    inputs: ArrayLike,
    targets: ArrayLike,
    *,
    names: tuple[str, str] = ("inputs", "targets"),
    missing: Missing = "refuse",
) -> Numbers:
    """Arrays as one has them, as numbers in floating point; whole numbers are classes.

    Errors call the arrays by these names. Inputs that are NaN are missing, and stay so where
    they may be.

    >>> as_numbers(np.asarray([[1.0], [3.0]]), np.asarray([7, 9])).targets.tolist()
    [[0.5, -0.5], [-0.5, 0.5]]
    """
    check_untraced(**dict(zip(names, (inputs, targets), strict=True)))
    inputs, targets = np.asarray(inputs), np.asarray(targets)
    check_arrays(inputs, targets, names, missing)
    are_images = inputs.ndim > 2
    inputs = inputs.reshape(len(inputs), -1).astype(float, copy=False)
    targets = targets.reshape(len(targets), -1)
    targets = targets[:, 0] if targets.shape[1] == 1 else targets
    if not np.issubdtype(targets.dtype, np.integer) or targets.ndim != 1:
        return Numbers(inputs, targets.astype(float, copy=False), False, are_images)
    classes, codes = np.unique(targets, return_inverse=True)
    if classes.size > MAX_CLASSES:
        raise ValueError(
            f"{names[1]}: has {classes.size} different whole numbers; pass floats if it is a regression target"
        )
    return Numbers(inputs, np.eye(classes.size)[codes] - 1 / classes.size, True, are_images)


LEAST_ROWS = 2


def check_arrays(inputs: np.ndarray, targets: np.ndarray, names: tuple[str, str], missing: Missing = "refuse") -> None:
    """Raises unless there are rows and columns of finite real numbers, one row of targets for each of inputs.

    Inputs may be NaN where these are to be given a mean.
    """
    for name, array, may_miss in zip(names, (inputs, targets), (missing == "mean", False), strict=True):
        check_real(name, array)
        if array.ndim == 0 or len(array) < LEAST_ROWS:
            rows = "is one number" if array.ndim == 0 else f"has {len(array)} row(s)"
            raise ValueError(f"{name}: {rows}; pass {LEAST_ROWS} rows or more, one a sample")
        if array.size == 0:
            raise ValueError(f"{name}: has shape {array.shape}; pass one column or more")
        numbers = array.astype(float, copy=False)
        if not np.all(np.isfinite(numbers) | (np.isnan(numbers) & may_miss)):
            raise ValueError(f"{name}: holds values that are not finite; drop or impute those rows")
    check_same_rows(names[1], targets, names[0].removeprefix("dataset: "), len(inputs))


def check_varies(name: str, array: np.ndarray) -> None:
    """Raises ValueError if all rows are the same, as far as they are known."""
    first, second = array[:2]
    if not np.any((first < second) | (first > second)) and not np.any(
        np.fmax.reduce(array, axis=0) > np.fmin.reduce(array, axis=0)
    ):  # mostly the first two tell
        raise ValueError(f"{name}: all rows are the same, so there is nothing to learn; pass some that vary")


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
        check_untraced(inputs=inputs, targets=targets, bandwidth=bandwidth, ridge=ridge)
        inputs, targets = as_floating("inputs", inputs), as_floating("targets", targets)
        check_same_rows("targets", targets, "inputs", len(inputs))
        check_finite("inputs", inputs)
        check_finite("targets", targets)
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

    digits = load_digits()
    return digits.images, digits.target


_BUNDLED: dict[str, Callable[[], tuple[np.ndarray, np.ndarray]]] = {"diabetes": _diabetes, "digits": _digits}
DATASETS = tuple(sorted(_BUNDLED))


def _columns_of(name: str) -> tuple[str, str]:
    """What the arrays of a file are called in errors."""
    return f"dataset: x of {name}", f"dataset: y of {name}"


def _read_npz(path: Path, missing: Missing) -> tuple[np.ndarray, np.ndarray]:
    check_is_file("dataset", path)
    try:
        if not is_zipfile(path):
            raise ValueError("it is one array, as numpy.save writes it" if _begins(path, NPY) else "it is no archive")
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            x, y = _inputs_and_targets(archive, path)
    except MemoryError:
        raise
    except Exception as error:  # zip, zlib and numpy all have their own
        # numpy would have objects unpickled, which runs whatever code is in there.
        what = "x or y hold Python objects, no numbers" if "allow_pickle" in str(error) else error
        raise ValueError(
            f"dataset: {path} is not a readable .npz file ({what}); write it with numpy.savez(path, x=..., y=...)"
        ) from error
    names = _columns_of(str(path))
    try:
        check_arrays(x, y, names, missing)
    except TypeError as error:  # whoever passes a file has passed a path, of the right type
        raise ValueError(str(error)) from error
    for name, array in zip(names, (x, y), strict=True):
        check_varies(name, array)
    return x, y


NPY = b"\x93NUMPY"
"""How an .npy file begins."""


def _begins(path: Path, mark: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(mark)) == mark


def _inputs_and_targets(archive: Mapping[str, np.ndarray], path: Path) -> tuple[np.ndarray, np.ndarray]:
    keys = set(archive.keys())
    if {"x", "y"} <= keys:
        return archive["x"], archive["y"]
    if {"x_train", "y_train", "x_test", "y_test"} <= keys:
        return _joined(archive, "x"), _joined(archive, "y")
    raise ValueError(
        f"it holds {', '.join(sorted(keys)) or 'nothing'}, neither x and y nor x_train, y_train, x_test and y_test"
    )


def _joined(archive: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    train, test = archive[f"{name}_train"], archive[f"{name}_test"]
    if train.ndim == 0 or train.shape[1:] != test.shape[1:]:
        raise ValueError(f"{name}_train has shape {train.shape} and {name}_test {test.shape}, which cannot be joined")
    if not np.can_cast(train.dtype, test.dtype, "same_kind") and not np.can_cast(test.dtype, train.dtype, "same_kind"):
        raise ValueError(f"{name}_train holds {train.dtype} and {name}_test {test.dtype}, which cannot be joined")
    return np.concatenate([train, test])
