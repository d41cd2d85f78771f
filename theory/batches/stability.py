"""The largest step size at which the spread of mini-batch training settles: by a matrix, or without it.

A step is stable in mean square if and only if eta P < L on symmetric matrices, with P[S] = E (X + ridge) S (X + ridge),
of a batch's mean X of phi phiᵀ, and L[S] = (C + ridge) S + S (C + ridge). Of few modes, P is a matrix on the entries of
S. Of many, Lanczos iteration asks what P and L make of an S, and never writes them out.
"""

from collections.abc import Iterable

import numpy as np
import scipy.linalg
import scipy.sparse.linalg
from jaxtyping import Array, Float

from theory.batches.moments import BatchMoments, Block
from theory.batches.sampling import Batches
from theory.checks import check_not_negative, check_untraced, untraced
from theory.linalg import on_device
from theory.noise.labels import check_probabilities
from theory.spectrum import Spectrum

LANCZOS = 1e-7
"""Tolerance of the iteration; an eigenvalue is off by about its square."""


@untraced
def largest_stable_step(moments: BatchMoments) -> float:
    """The step size from which on the spread grows without bound: 1 / lambda_max(L^(-1/2) P L^(-1/2)).

    L = mu_k + mu_l + 2 ridge on the entries (k, l), and P[S] = E (X + ridge) S (X + ridge). The step keeps positive
    matrices positive, so its spectral radius is an eigenvalue of it (Perron and Frobenius): it is below one if and only
    if eta P < L. At most 2 / (mu_max + ridge), and equal to that for infinite batches. Of diagonal moments it is an
    upper bound on the exact one: at a step below it the exact spread may still grow.

    Source: derived here.

    >>> import theory
    >>> phi, y = jnp.asarray([[1.0], [3.0]]), jnp.asarray([[2.0], [4.0]])
    >>> blocks = [(phi[:, None, :], y[:, None, :])]
    >>> moments = theory.batches.batch_moments(theory.decompose(phi, y), blocks, jnp.ones(1), theory.Batches(size=1))
    >>> round(largest_stable_step(moments), 6)  # 2 E phi^2 / E phi^4
    0.243902
    """
    first, second, _ = moments.entries
    shifted = np.asarray(moments.eigenvalues) + np.asarray(moments.ridge)
    scale = 1 / np.sqrt(shifted[first] + shifted[second])
    power = np.asarray(moments.curvature) + np.diag(shifted[first] * shifted[second])
    last = len(first) - 1
    scaled = scale[:, None] * power * scale[None, :]
    return 1 / float(scipy.linalg.eigvalsh(scaled, subset_by_index=(last, last), check_finite=False)[0])


def largest_stable_step_of_rows(
    spectrum: Spectrum,
    blocks: Iterable[Block],
    node_weights: Float[Array, "nodes"],
    law: Batches,
    *,
    num_pairs: int,
    ridge: float = 0.0,
) -> float:
    """The same without moments, of any number of modes: rows x modes^2 operations for each of some tens of iterations.

    Args:
        spectrum: of the rows, as `batch_moments` takes it.
        blocks: the pairs, at all nodes; or some of them, which stand for all.
        node_weights: probabilities of the nodes.
        law: how a batch is drawn.
        num_pairs: how many pairs there are.
        ridge: weight decay; unit 1/time.

    Raises:
        ValueError: a negative ridge, weights that are no probabilities, no pairs, a batch of more distinct pairs than
            there are.

    Source: derived here.

    >>> import jax.numpy as jnp, theory
    >>> phi, y = jnp.asarray([[1.0], [3.0]]), jnp.asarray([[2.0], [4.0]])
    >>> spectrum, blocks = theory.decompose(phi, y), [(phi[:, None, :], y[:, None, :])]
    >>> law = theory.Batches(size=1)
    >>> round(largest_stable_step_of_rows(spectrum, blocks, jnp.ones(1), law, num_pairs=2), 6)  # 2 E phi^2 / E phi^4
    0.243902
    """
    check_untraced(spectrum=spectrum, node_weights=node_weights, ridge=ridge)
    check_not_negative("ridge", ridge)
    check_probabilities("node_weights", on_device(np.asarray(node_weights)[None, :]))
    law.check_drawn_from(num_pairs)
    rank = spectrum.rank
    if rank == 0:
        return 2 / ridge if ridge > 0 else float("inf")
    modes, eigenvalues = np.asarray(spectrum.modes)[:, :rank], np.asarray(spectrum.eigenvalues)[:rank]
    projected = [np.asarray(features) @ modes for features, _ in blocks]
    if not projected:
        law.check_drawn_from(0)  # which says what is missing
    rows = np.concatenate(projected)
    shifted = eigenvalues + ridge
    scale = 1 / np.sqrt(shifted[:, None] + shifted[None, :])
    power = _BatchPower(rows, np.asarray(node_weights), eigenvalues, law, num_pairs)

    def apply(flat: np.ndarray) -> np.ndarray:
        scaled = scale * flat.reshape(rank, rank)
        pulled = ridge * (shifted[:, None] + shifted[None, :] - ridge) * scaled
        return (scale * (power(scaled) + pulled)).ravel()

    if rank == 1:
        return 1 / float(apply(np.ones(1))[0])
    operator = scipy.sparse.linalg.LinearOperator((rank**2, rank**2), matvec=apply, dtype=rows.dtype)
    # The largest eigenvalue's matrix is positive, so this start is not orthogonal to it.
    largest = scipy.sparse.linalg.eigsh(operator, k=1, v0=np.eye(rank).ravel(), tol=LANCZOS, return_eigenvectors=False)
    return 1 / float(largest[0])


class _BatchPower:
    """S -> E X S X of a batch's mean of phi phiᵀ, in the coordinates of the modes."""

    def __init__(
        self,
        rows: np.ndarray,
        weights: np.ndarray,
        eigenvalues: np.ndarray,
        law: Batches,
        num_pairs: int,
    ) -> None:
        self.rows, self.weights, self.eigenvalues = rows, weights, eigenvalues
        self.law, self.num_pairs = law, num_pairs
        scaled = rows * np.sqrt(weights / len(rows))[None, :, None]
        self.by_node = [scaled[:, q].T @ scaled[:, q] / weights[q] for q in range(len(weights))]

    def __call__(self, matrix: np.ndarray) -> np.ndarray:
        own, several = self._rows(matrix), len(self.weights) > 1
        mean = np.outer(self.eigenvalues, self.eigenvalues) * matrix
        nodes = self._nodes(matrix) if self.law.shared_ratio and several else mean
        pairs = self._pairs(matrix) if self.law.asks_of_pairs and several else own
        return self.law.over_batches(self.num_pairs, own, pairs, nodes)

    def _rows(self, matrix: np.ndarray) -> np.ndarray:
        """The mean over rows of phi phiᵀ S phi phiᵀ."""
        flat = self.rows.reshape(-1, self.rows.shape[2])
        weights = np.tile(self.weights / len(self.rows), len(self.rows))
        return flat.T @ ((weights * np.sum((flat @ matrix) * flat, axis=1))[:, None] * flat)

    def _nodes(self, matrix: np.ndarray) -> np.ndarray:
        """The mean over ratios of C_q S C_q."""
        return sum(w * c @ matrix @ c for w, c in zip(self.weights, self.by_node, strict=True))

    def _pairs(self, matrix: np.ndarray) -> np.ndarray:
        """The mean over pairs of C_g S C_g, where C_g is a pair's mean over ratios."""
        inner = np.einsum("gqk,grk->gqr", self.rows @ matrix, self.rows, optimize=True)
        inner *= (self.weights[:, None] * self.weights[None, :])[None]
        return np.tensordot(self.rows, inner @ self.rows, ((0, 1), (0, 1))) / len(self.rows)
