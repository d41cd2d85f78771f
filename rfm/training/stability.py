"""The largest step size at which the variance of mini-batch training settles, for problems of any size.

A step is stable in mean square if and only if eta P < L on symmetric matrices (`theory.batches.largest_stable_step`),
with P[S] = E (X + ridge) S (X + ridge), of a batch's mean X of phi phiᵀ, and L[S] = (C + ridge) S + S (C + ridge).
Lanczos iteration asks what P and L make of a matrix, and never writes them out.
"""

import numpy as np
import scipy.sparse.linalg

import theory
from rfm.precision import warn
from rfm.problem import Solvable
from rfm.solve import Solution, problem_of, solution_of
from rfm.source import Source, check_batches
from theory.checks import check_not_negative, untraced

LANCZOS = 1e-7
"""Tolerance of the iteration; an eigenvalue is off by about its square."""
STABILITY_WORK = 2e9
"""Rows times modes squared, above which the largest stable step is that of some of the pairs."""
STABILITY_BYTES = 2**27
"""Of the rows, likewise."""


@untraced
def largest_stable_step(
    problem: Solvable | Solution,
    batches: theory.Batches,
    *,
    ridge: float = 0.0,
) -> float:
    """The step size from which on the variance of mini-batch training grows without bound.

    By Lanczos iteration on E X S X, without its matrix: exact, as that of `theory.batches`, as long as rows times
    features squared stay below `STABILITY_WORK`; beyond that some of the pairs stand for all, and a warning says so.

    Warns:
        PrecisionWarning: only some of the pairs were looked at.

    >>> import rfm
    >>> problem = rfm.Problem(jnp.asarray([[1.0], [3.0]]), jnp.ones(2), population=rfm.TestSet(jnp.eye(1), jnp.ones(1)))
    >>> round(largest_stable_step(problem, rfm.Batches(1)), 6)  # 2 E phi^2 / E phi^4
    0.243902
    """
    source = problem_of(problem, "what batches are drawn from").source()
    check_batches(batches, source)
    return limit_of(solution_of(problem).spectrum, source, batches, ridge)


def limit_of(spectrum: theory.Spectrum, source: Source, batches: theory.Batches, ridge: float) -> float:
    """The same, of rows whose spectrum is known."""
    check_not_negative("ridge", ridge)
    rank = spectrum.rank
    if rank == 0:
        return 2 / ridge if ridge > 0 else float("inf")
    modes, weights = spectrum.modes[:, :rank], np.asarray(source.node_weights)
    most = max(1, int(min(STABILITY_WORK / (len(weights) * rank**2), STABILITY_BYTES / (8 * len(weights) * rank))))
    if most < source.num_pairs:
        warn(f"the largest stable step is estimated from {most} of {source.num_pairs} pairs; it may be ten percent off")
    rows = np.concatenate([np.asarray(features) @ np.asarray(modes) for features, _ in source.blocks(most)])
    shifted = np.asarray(spectrum.eigenvalues[:rank]) + ridge
    scale = 1 / np.sqrt(shifted[:, None] + shifted[None, :])
    power = _BatchPower(rows, weights, np.asarray(spectrum.eigenvalues[:rank]), batches, source.num_pairs)

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
        batches: theory.Batches,
        num_pairs: int,
    ) -> None:
        self.rows, self.weights, self.eigenvalues = rows, weights, eigenvalues
        self.batches, self.num_pairs = batches, num_pairs
        scaled = rows * np.sqrt(weights / len(rows))[None, :, None]
        self.by_node = [scaled[:, q].T @ scaled[:, q] / weights[q] for q in range(len(weights))]

    def __call__(self, matrix: np.ndarray) -> np.ndarray:
        batches = self.batches
        own = self._rows(matrix)
        shared = batches.shared_ratio and len(self.weights) > 1
        two = self._nodes(matrix) if shared else np.outer(self.eigenvalues, self.eigenvalues) * matrix
        if not batches.replacement and self.num_pairs > 1:
            of_pairs = own if batches.shared_ratio or len(self.weights) == 1 else self._pairs(matrix)
            two = (self.num_pairs * two - of_pairs) / (self.num_pairs - 1)
        return own / batches.size + (1 - 1 / batches.size) * two

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
