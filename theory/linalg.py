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


def triangular_factor(*blocks: Float[Array, "rows _"]) -> Float[Array, "triangle columns"]:
    """R of the QR factorisation of the blocks set side by side; Q is never formed."""
    if not all(map(_is_on_host, blocks)):
        return jnp.linalg.qr(jnp.concatenate(blocks, axis=1), mode="r")
    # In Fortran order LAPACK factors the one copy in place; the transposed view below has it.
    joined = np.concatenate([np.asarray(block).T for block in blocks], axis=0).T
    (r,) = scipy.linalg.qr(joined, mode="r", overwrite_a=True, check_finite=False)
    return jnp.asarray(r[: min(r.shape)])


def _is_on_host(a: Array) -> bool:
    return not is_traced(a) and all(device.platform == "cpu" for device in a.devices())


def _lapack_svd(a: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    try:
        return scipy.linalg.svd(a, full_matrices=False, check_finite=False)
    except np.linalg.LinAlgError:  # divide and conquer failed to converge, which is rare; QR iteration does not
        return scipy.linalg.svd(a, full_matrices=False, check_finite=False, lapack_driver="gesvd")
