"""Real data: bundled sets by name, files by path, prepared as the field does; and a ground truth fitted to them.

Regression: every input column and the target are standardised. Classification: pixels (or columns) are centred by
column and divided by one global standard deviation, and the labels are one-hot less 1/K.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

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
    if name_or_path in _BUNDLED:
        inputs, targets = _BUNDLED[name_or_path]()
    elif name_or_path.endswith(".npz"):
        inputs, targets = _read_npz(Path(name_or_path))
    else:
        raise ValueError(
            f"dataset: {name_or_path!r} is not known; pass one of {', '.join(DATASETS)}, or the path of an .npz file"
        )
    return prepare(inputs, targets)


def prepare(inputs: ArrayLike, targets: ArrayLike) -> DataSet:
    """Standardises columns and target, or centres columns and encodes classes; constant columns become zero.

    >>> prepare(np.asarray([[1.0], [3.0]]), np.asarray([0.5, 2.5])).inputs.tolist()
    [[-1.0], [1.0]]
    """
    inputs, targets = np.asarray(inputs, float), np.squeeze(np.asarray(targets))
    inputs = inputs.reshape(len(inputs), -1)
    for name, array in (("x", inputs), ("y", np.asarray(targets, float))):
        if not np.all(np.isfinite(array)):
            raise ValueError(f"{name}: holds values that are not finite; drop or impute those rows")
    centred = inputs - inputs.mean(axis=0, keepdims=True)
    if np.issubdtype(targets.dtype, np.integer) and targets.ndim == 1:
        classes, codes = np.unique(targets, return_inverse=True)
        if classes.size > MAX_CLASSES:
            raise ValueError(f"y: has {classes.size} different whole numbers; pass floats if it is a regression target")
        one_hot = np.eye(classes.size)[codes] - 1 / classes.size
        return DataSet(jnp.asarray(centred / _nonzero(centred.std())), jnp.asarray(one_hot))
    scaled_targets = (targets - targets.mean(axis=0)) / _nonzero(targets.std(axis=0))
    return DataSet(jnp.asarray(centred / _nonzero(centred.std(axis=0))[None, :]), jnp.asarray(scaled_targets))


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
