"""The largest step size at which the spread of mini-batch training settles: by a matrix, or without it.

A step is stable in mean square if and only if eta P < L on symmetric matrices, with P[S] = E (X + ridge) S (X + ridge),
of a batch's mean X of phi phiᵀ, and L[S] = (C + ridge) S + S (C + ridge). Of few modes, P is a matrix on the entries of
S. Of many, Lanczos iteration asks what P and L make of an S, and never writes them out.
"""

from collections.abc import Callable, Iterable

import numpy as np
import scipy.linalg
import scipy.sparse.linalg
from jaxtyping import Array, Float

from theory.batches.moments import BatchMoments
from theory.batches.rows import Block, in_stars, weighted
from theory.batches.sampling import Batches, num_originals_of
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
        blocks: the pairs, at all nodes, as `batch_moments` takes them; or some of them, which stand for all. Of a law
            that mixes batches with themselves: the stars of all originals, or of some of them alone.
        node_weights: probabilities of the nodes.
        law: how a batch is drawn.
        num_pairs: how many pairs there are; n^2 for n originals.
        ridge: weight decay; unit 1/time.

    Raises:
        ValueError: a negative ridge, weights that are no probabilities, no pairs, a batch of more distinct pairs, or
            originals, than there are, blocks that are no stars, batches of epochs.

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
    law.check_independent()
    law.check_drawn_from(num_pairs)
    rank = spectrum.rank
    if rank == 0:
        return 2 / ridge if ridge > 0 else float("inf")
    modes, eigenvalues = np.asarray(spectrum.modes)[:, :rank], np.asarray(spectrum.eigenvalues)[:rank]
    power = _power(modes, blocks, np.asarray(node_weights), eigenvalues, law, num_pairs)
    shifted = eigenvalues + ridge
    scale = 1 / np.sqrt(shifted[:, None] + shifted[None, :])

    def apply(flat: np.ndarray) -> np.ndarray:
        scaled = scale * flat.reshape(rank, rank)
        pulled = ridge * (shifted[:, None] + shifted[None, :] - ridge) * scaled
        return (scale * (power(scaled) + pulled)).ravel()

    if rank == 1:
        return 1 / float(apply(np.ones(1))[0])
    operator = scipy.sparse.linalg.LinearOperator((rank**2, rank**2), matvec=apply, dtype=eigenvalues.dtype)
    # The largest eigenvalue's matrix is positive, so this start is not orthogonal to it.
    largest = scipy.sparse.linalg.eigsh(operator, k=1, v0=np.eye(rank).ravel(), tol=LANCZOS, return_eigenvectors=False)
    return 1 / float(largest[0])


def _power(
    modes: np.ndarray,
    blocks: Iterable[Block],
    node_weights: np.ndarray,
    eigenvalues: np.ndarray,
    law: Batches,
    num_pairs: int,
) -> Callable[[np.ndarray], np.ndarray]:
    """S -> E X S X of a batch's mean X of phi phiᵀ, in the coordinates of the modes."""
    if law.mixes_itself:
        stars = [(np.asarray(features) @ modes, weights) for features, _, weights in in_stars(blocks, law, num_pairs)]
        return _PowerOfOriginals(stars, node_weights, eigenvalues, law, num_originals_of(num_pairs))
    found = [(np.asarray(features) @ modes, weights) for features, _, weights in weighted(blocks, law, num_pairs)]
    rows, weights = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
    return _PowerOfPairs(rows, weights, node_weights, eigenvalues, law, num_pairs)


class _PowerOfPairs:
    """Of pairs that share nothing but their node."""

    def __init__(
        self,
        rows: np.ndarray,
        weights: np.ndarray,
        node_weights: np.ndarray,
        eigenvalues: np.ndarray,
        law: Batches,
        num_pairs: int,
    ) -> None:
        self.eigenvalues, self.law, self.num_pairs, self.node_weights = eigenvalues, law, num_pairs, node_weights
        self.pair_weights = weights / weights.sum()
        self.rows = rows * np.sqrt(node_weights)[None, :, None]
        flat = self.rows * np.sqrt(self.pair_weights)[:, None, None]
        self.by_node = [flat[:, q].T @ flat[:, q] / weight for q, weight in enumerate(node_weights)]
        # Each row by itself, so that its weight counts once.
        self.single = rows.reshape(-1, 1, rows.shape[2])
        self.single_weights = np.outer(self.pair_weights, node_weights).ravel()

    def __call__(self, matrix: np.ndarray) -> np.ndarray:
        several = len(self.node_weights) > 1
        own = _sandwiched(self.single, self.single, self.single_weights, matrix)
        mean = np.outer(self.eigenvalues, self.eigenvalues) * matrix
        nodes, pairs = mean, own
        if self.law.shared_ratio and several:
            nodes = sum(w * c @ matrix @ c for w, c in zip(self.node_weights, self.by_node, strict=True))
        if self.law.asks_of_pairs and several:
            pairs = _sandwiched(self.rows, self.rows, self.pair_weights, matrix)
        return self.law.over_batches(self.num_pairs, own, pairs, nodes)


class _PowerOfOriginals:
    """Of batches that are mixed with themselves: what `Batches.squares` asks for, with S between the factors.

    Where the stars are those of some originals alone, these tell the covariance. The mean is that of all.
    """

    def __init__(
        self,
        stars: list[tuple[np.ndarray, np.ndarray]],
        node_weights: np.ndarray,
        eigenvalues: np.ndarray,
        law: Batches,
        num_originals: int,
    ) -> None:
        self.eigenvalues, self.mean = eigenvalues, None
        if len(stars) < num_originals:
            self.mean = _mean_of([rows for rows, _ in stars], node_weights, law.self_weight)
        self.of_means: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self.of_couples: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        ways = (_at_nodes, _over_nodes)
        for squares, way in zip(law.squares(num_originals), ways, strict=True):
            levels = [way(_sides(rows), node_weights) for rows, _ in stars]
            if not (squares.totals.any() or squares.originals.any() or squares.couples.any()):
                continue
            counts = levels[0][1]
            used = squares.originals.any(axis=0) | np.append(squares.totals.any(axis=0), False)
            if used.any():
                means = np.stack([_means_of_star(rows, used) for rows, _ in levels], axis=1)
                flat = means.reshape(len(means), -1, *means.shape[3:])
                self.of_means.append((squares.originals[used][:, used], flat, np.tile(counts / len(stars), len(stars))))
                totals = means[: sum(used[:2])].mean(axis=1)
                self.of_means.append((squares.totals[used[:2]][:, used[:2]], totals, counts))
            halves = [rows[1 : 1 + len(weights)] for (rows, _), (_, weights) in zip(levels, stars, strict=True)]
            couples = np.moveaxis(np.concatenate(halves), 2, 1)
            weights = np.outer(np.concatenate([weights for _, weights in stars]), counts).ravel()
            self.of_couples.append((squares.couples, couples.reshape(-1, *couples.shape[2:]), weights))

    def __call__(self, matrix: np.ndarray) -> np.ndarray:
        total = np.zeros_like(matrix)
        if self.mean is not None:
            total += np.outer(self.eigenvalues, self.eigenvalues) * matrix - self.mean @ matrix @ self.mean
        for form, means, weights in self.of_means:
            beside = np.tensordot(form, means * weights[None, :, None, None], 1)
            total += np.sum(means @ matrix @ beside, axis=(0, 1))
        for form, couples, weights in self.of_couples:
            for a, b in zip(*np.nonzero(form), strict=True):
                total += form[a, b] * _sandwiched(couples[:, a], couples[:, b], weights, matrix)
        return total


def _at_nodes(rows: np.ndarray, node_weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[pairs, sides, nodes, modes] as [pairs, sides, samples, rows of a sample, modes], and what samples count."""
    return rows[:, :, :, None, :], node_weights


def _over_nodes(rows: np.ndarray, node_weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (rows * np.sqrt(node_weights)[:, None])[:, :, None, :, :], np.ones(1, rows.dtype)


def _mean_of(stars: list[np.ndarray], node_weights: np.ndarray, alone: float) -> np.ndarray:
    """E phi phiᵀ over the pairs of these stars, those of an original with itself of that probability."""
    of_each = [_over_nodes(_sides(rows), node_weights)[0] for rows in stars]
    means = np.mean([_means_of_star(rows, OF_ONE_SIDE)[:, 0] for rows in of_each], axis=0)
    return alone * means[0] + (1 - alone) * means[1]


OF_ONE_SIDE = np.asarray([True, True, False])
"""(D_j, R_j): the means of R_j and of L_j over all originals are the same."""


def _sides(rows: np.ndarray) -> np.ndarray:
    """A star's pairs in turn as [others, sides, nodes, modes]."""
    return rows.reshape(-1, 2, *rows.shape[1:])


def _means_of_star(rows: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Those that are used of (D_j, R_j, L_j) of `theory.batches.sampling`, as matrices, of each sample."""
    others = max(len(rows) - 1, 1)
    parts = ((rows[:1, 0], 1), (rows[1:, 1], others), (rows[1:, 0], others))
    flat = [np.moveaxis(part, 1, 0).reshape(rows.shape[2], -1, rows.shape[4]) for part, _ in parts]
    return np.stack(
        [np.swapaxes(a, 1, 2) @ a / count for a, (_, count), use in zip(flat, parts, used, strict=True) if use]
    )


def _sandwiched(left: np.ndarray, right: np.ndarray, weights: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The weighted sum of A S B, of samples A = sum_t left_t left_tᵀ and B = sum_t right_t right_tᵀ."""
    modes = left.shape[2]
    moved = (left.reshape(-1, modes) @ matrix).reshape(left.shape)
    inner = np.einsum("gtp,gup->gtu", moved, right, optimize=right.shape[1] > 1) * weights[:, None, None]
    beside = inner @ right if right.shape[1] > 1 else inner * right
    return left.reshape(-1, modes).T @ beside.reshape(-1, modes)
