"""The four factorisations that everything rests on, each done by the fastest accurate library at hand.

An array that already lies in the memory of this computer goes to LAPACK and BLAS directly, without a copy: XLA's own
products reach about half of their speed on a CPU (``Phi.T @ Phi`` costs twice what BLAS's symmetric update does), and
LAPACK can overwrite its input. A traced array, or one on an accelerator, goes to `jax.numpy.linalg`, so that the same
functions work under ``jit`` and on a GPU.
"""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Array, Float


def is_traced(*arrays: object) -> bool:
    """True if any of the arrays is a tracer, whose values cannot be looked at."""
    return any(isinstance(array, jax.core.Tracer) for array in arrays)


def gram(a: Float[Array, "rows columns"]) -> Float[Array, "columns columns"]:
    """aᵀ a."""
    if not _is_on_host(a):
        return a.T @ a
    host = np.asarray(a)
    return jnp.asarray(host.T @ host)


def symmetric_eigen(a: Float[Array, "n n"]) -> tuple[Float[Array, "n"], Float[Array, "n n"]]:
    """Eigenvalues, ascending, and eigenvectors, as columns, of a symmetric matrix."""
    if not _is_on_host(a):
        values, vectors = jnp.linalg.eigh(a)
        return values, vectors
    values, vectors = scipy.linalg.eigh(np.asarray(a), driver="evd", check_finite=False)
    return jnp.asarray(values), jnp.asarray(vectors)


def thin_svd(
    a: Float[Array, "rows columns"],
) -> tuple[Float[Array, "rows modes"], Float[Array, "modes"], Float[Array, "modes columns"]]:
    """The factors u, s, vᵀ of a = u diag(s) vᵀ, singular values descending; modes = min(rows, columns)."""
    if not _is_on_host(a):
        u, s, vt = jnp.linalg.svd(a, full_matrices=False)
        return u, s, vt
    u, s, vt = _lapack_svd(np.asarray(a))
    return jnp.asarray(u), jnp.asarray(s), jnp.asarray(vt)


def triangular_factor(
    *columns: Float[Array, "rows _"], above: Float[Array, "triangle columns"] | None = None
) -> Float[Array, "smaller columns"]:
    """R of the QR factorisation of the columns set side by side, under the triangle `above`; Q is never formed."""
    if not all(map(_is_on_host, columns)):
        joined = jnp.concatenate(columns, axis=1)
        return jnp.linalg.qr(joined if above is None else jnp.concatenate([above, joined]), mode="r")
    # One copy, in Fortran order: LAPACK factors it in place.
    num_above = 0 if above is None else above.shape[0]
    shape = (num_above + columns[0].shape[0], sum(part.shape[1] for part in columns))
    stacked = np.empty(shape, jnp.result_type(*columns), order="F")
    np.concatenate([np.asarray(part) for part in columns], axis=1, out=stacked[num_above:])
    if above is not None:
        stacked[:num_above] = above
    (r,) = scipy.linalg.qr(stacked, mode="r", overwrite_a=True, check_finite=False)
    return jnp.asarray(r[: min(shape)])


def _is_on_host(a: Array) -> bool:
    return not is_traced(a) and all(device.platform == "cpu" for device in a.devices())


def _lapack_svd(a: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    try:
        return scipy.linalg.svd(a, full_matrices=False, check_finite=False)
    except np.linalg.LinAlgError:  # divide and conquer failed to converge, which is rare; QR iteration does not
        return scipy.linalg.svd(a, full_matrices=False, check_finite=False, lapack_driver="gesvd")
