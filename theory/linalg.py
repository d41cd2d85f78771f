"""The products and factorisations that everything rests on, each done by the fastest accurate library at hand.

An array that already lies in the memory of this computer goes to LAPACK and BLAS directly, without a copy: XLA's own
products reach about half of their speed on a CPU (``Phi.T @ Phi`` costs twice what BLAS's symmetric update does), and
LAPACK can overwrite its input. A traced array, or one on an accelerator, goes to `jax.numpy.linalg`, so that the same
functions work under ``jit`` and on a GPU.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Float

from theory.checks import is_on_host


def on_device(values: ArrayLike, dtype: DTypeLike | None = None) -> Array:
    """The values as an array of JAX, on its default device, without a program: `jnp.asarray` compiles one a shape."""
    if isinstance(values, jax.Array):
        return values if dtype is None or values.dtype == dtype else values.astype(dtype)
    return jax.device_put(np.asarray(values, dtype))


def on_host(a: Array | np.ndarray) -> Array | np.ndarray:
    """The same as an array of NumPy, which needs no program to cut and add it, where it lies in this memory already."""
    return np.asarray(a) if is_on_host(a) else a


def as_matrix(values: Array) -> Array:
    """Values of one row a sample; a vector becomes one column."""
    return on_device(on_host(values)[:, None]) if values.ndim == 1 else values


def side_by_side(*columns: Float[Array, "rows _"]) -> Float[Array, "rows columns"]:
    """The columns of all in one array."""
    if not all(map(is_on_host, columns)):
        return jnp.concatenate(columns, axis=1)
    return on_device(np.concatenate([np.asarray(part) for part in columns], axis=1))


def gram(a: Float[Array, "rows columns"]) -> Float[Array, "columns columns"]:
    """aᵀ a."""
    if not is_on_host(a):
        return a.T @ a
    # numpy knows that one half is the mirror image of the other
    return on_device(_by_rows(lambda rows: rows.T @ rows, np.asarray(a)))


def row_gram(a: Float[Array, "rows columns"]) -> Float[Array, "rows rows"]:
    """a aᵀ."""
    if not is_on_host(a):
        return a @ a.T
    return _multiply(np.asarray(a), np.asarray(a).T)


def transposed_product(a: Float[Array, "inner rows"], b: Float[Array, "inner columns"]) -> Float[Array, "rows columns"]:
    """Aᵀ b; a transpose of its own would be a copy."""
    if not is_on_host(a) or not is_on_host(b):
        return a.T @ b
    return on_device(_by_rows(lambda left, right: _multiply(left.T, right), np.asarray(a), np.asarray(b)))


def symmetric_eigen(a: Float[Array, "n n"]) -> tuple[Float[Array, "n"], Float[Array, "n n"]]:
    """Eigenvalues, descending, and eigenvectors, as columns, of a symmetric matrix."""
    if not is_on_host(a):
        values, vectors = jnp.linalg.eigh(a)
        return values[::-1], vectors[:, ::-1]
    values, vectors = scipy.linalg.eigh(np.asarray(a).T, driver="evd", check_finite=False)  # .T: in LAPACK's order
    return on_device(values[::-1]), on_device(vectors[:, ::-1])


def thin_svd(
    a: Float[Array, "rows columns"] | np.ndarray, targets: Float[Array, "rows targets"] | np.ndarray
) -> tuple[
    Float[Array, "modes"], Float[Array, "columns modes"], Float[Array, "modes targets"], Float[Array, "targets"]
]:
    """Singular values and right vectors of a = u diag(s) vᵀ, and the targets b in the coordinates of the left ones.

    The left vectors of a tall matrix take as much memory as it does; all that is wanted of them is returned.

    Returns:
        s, descending; v; uᵀ b; and |b - u uᵀ b|^2, by column.
    """
    if not is_on_host(a) or not is_on_host(targets):
        left, singular, right = jnp.linalg.svd(a, full_matrices=False)
        inside = left.T @ targets
        return singular, right.T, inside, jnp.sum((targets - left @ inside) ** 2, axis=0)
    small, b, below = np.asarray(a), np.asarray(targets), np.zeros(targets.shape[1], targets.dtype)
    if a.shape[0] > a.shape[1]:  # LAPACK begins so too, but then it forms Q
        small, rotated = _rotate_to_triangle(small, b)
        b, below = rotated[: len(small)], np.sum(rotated[len(small) :] ** 2, axis=0)
    v, s, ut = _lapack_svd(small.T)  # .T: in LAPACK's order
    coordinates = ut @ b
    outside = np.sum((b - ut.T @ coordinates) ** 2, axis=0) + below
    return on_device(s), on_device(v), on_device(coordinates), on_device(outside)


def left_vectors(a: Float[Array, "rows columns"]) -> tuple[Float[Array, "modes"], Float[Array, "modes rows"]]:
    """Singular values, descending, and the left singular vectors, as rows: uᵀ of a = u diag(s) vᵀ."""
    if not is_on_host(a):
        left, singular, _ = jnp.linalg.svd(a, full_matrices=False)
        return singular, left.T
    _, singular, left = _lapack_svd(np.asarray(a).T)
    return on_device(singular), on_device(left)


def triangular_factor(
    *columns: Float[Array, "rows _"], above: Float[Array, "triangle columns"] | None = None
) -> Float[Array, "smaller columns"]:
    """R of the QR factorisation of the columns set side by side, under the triangle `above`; Q is never formed."""
    if not all(map(is_on_host, columns)):
        joined = jnp.concatenate(columns, axis=1)
        return jnp.linalg.qr(joined if above is None else jnp.concatenate([above, joined]), mode="r")
    # One copy, in Fortran order: LAPACK factors it in place.
    num_above = 0 if above is None else above.shape[0]
    shape = (num_above + columns[0].shape[0], sum(part.shape[1] for part in columns))
    stacked = np.empty(shape, jnp.result_type(*columns), order="F")
    np.concatenate([np.asarray(part) for part in columns], axis=1, out=stacked[num_above:])
    if above is not None:
        stacked[:num_above] = above
    _, r = scipy.linalg.qr(stacked, mode="raw", overwrite_a=True, check_finite=False)
    return on_device(r[: min(shape)])


ROWS_IN_SINGLE = 4096
"""How many rows are summed in single precision; some processors' kernels lose tens of epsilons over many more."""


def _by_rows(product: Callable[..., np.ndarray | Array], *arrays: np.ndarray) -> np.ndarray | Array:
    """A product that sums over rows: of many rows in single precision, sums of some are added up in double."""
    num_rows, dtype = len(arrays[0]), np.result_type(*arrays)
    if dtype != np.float32 or num_rows <= ROWS_IN_SINGLE:
        return product(*arrays)
    starts = range(0, num_rows, ROWS_IN_SINGLE)
    parts = (product(*(array[start : start + ROWS_IN_SINGLE] for array in arrays)) for start in starts)
    return functools.reduce(np.add, (np.asarray(part, np.float64) for part in parts)).astype(dtype)


def _multiply(a: np.ndarray, b: np.ndarray) -> Array:
    """A b by scipy's BLAS: numpy brings another, and the idle threads of one slow down the other.

    BLAS counts columns first, so it is given bᵀ aᵀ; what lies the other way is passed as the transpose of itself.
    """
    (gemm,) = scipy.linalg.get_blas_funcs(("gemm",), (a, b))
    left, right = b.T, a.T
    turn_left, turn_right = (not array.flags.f_contiguous for array in (left, right))
    first, second = left.T if turn_left else left, right.T if turn_right else right
    return on_device(gemm(1.0, first, second, trans_a=turn_left, trans_b=turn_right).T)


def _rotate_to_triangle(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """R and Qᵀ b of the QR factorisation of a tall matrix, by its reflectors; Q is never formed."""
    (reflectors, tau), r = scipy.linalg.qr(a, mode="raw", check_finite=False)
    (multiply,) = scipy.linalg.get_lapack_funcs(("ormqr",), (reflectors, b))
    rotated, _, _ = multiply("L", "T", reflectors, tau, b, lwork=64 * max(1, b.shape[1]))
    return r, rotated


def _lapack_svd(a: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    try:
        return scipy.linalg.svd(a, full_matrices=False, check_finite=False)
    except np.linalg.LinAlgError:  # divide and conquer failed to converge, which is rare; QR iteration does not
        return scipy.linalg.svd(a, full_matrices=False, check_finite=False, lapack_driver="gesvd")
