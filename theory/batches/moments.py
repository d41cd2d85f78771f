"""What a batch of rows adds to its mean: covariances over batches, for every law by which rows may be drawn.

A step of mini-batch training needs the mean of B rows' products phi phiᵀ and phi e, of the error e = y - theta* . phi
that is left at the optimum. How much these means vary from batch to batch is a matter of sampling theory alone
(`theory.batches.sampling`), and the law enters nowhere else.

Everything is kept in the coordinates of the modes, where the mean of the products is diagonal: all of it, or what the
diagonal approximation keeps (`theory.batches.layouts`).

Source: derived here.
"""

from collections.abc import Iterable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from theory import linalg
from theory.batches.covariances import Projection, over_batches
from theory.batches.layouts import Diagonal, Exact, Layout, Modes, entry_factors
from theory.batches.rows import Block
from theory.batches.sampling import Batches
from theory.checks import check_not_negative, check_untraced
from theory.noise.labels import check_probabilities
from theory.spectrum import Spectrum

MAX_EXACT_MODES = 100
"""The exact moments of 100 modes are a matrix of 5050 x 5050 entries, 200 MB, of which
some seven are alive at once; their size grows as the fourth power."""

SAFETY = 10
"""Roundings that a sum over features may lose beside the largest of them."""


class BatchMoments(eqx.Module):
    """Covariances over batches, in the coordinates of the modes above the rank cut; none depends on the step size.

    An entry is a pair (k, l) of modes, k <= l, and carries a factor sqrt(2) where k < l; the diagonal approximation
    has the entries (k, k) alone.

    Attributes:
        eigenvalues: mu, descending, all of them above the rank cut; unit 1/time.
        optimum: theta* = b / (mu + ridge), where the mean gradient vanishes.
        curvature: S -> E X S X - C S C as a matrix, of X the batch's mean of phi phiᵀ.
        cross: d -> Cov(X d, n) + Cov(n, X d), of n the batch's mean of phi (y - theta* . phi).
        noise: Cov(n), by target.
        ridge: unit 1/time.
        is_diagonal: whether only the entries (k, k) are kept.
    """

    eigenvalues: Float[Array, "modes"]
    optimum: Float[Array, "modes targets"]
    curvature: Float[Array, "entries entries"]
    cross: Float[Array, "entries modes targets"]
    noise: Float[Array, "entries targets"]
    ridge: Float[Array, ""]
    is_diagonal: bool = eqx.field(static=True)

    @property
    def entries(self) -> tuple[Modes, Modes, Float[Array, "entries"]]:
        """The modes k and l of each entry, and its factor."""
        num_modes = len(self.eigenvalues)
        first, second = (np.arange(num_modes),) * 2 if self.is_diagonal else np.triu_indices(num_modes)
        return first, second, entry_factors(first, second, self.eigenvalues)


def batch_moments(
    spectrum: Spectrum,
    blocks: Iterable[Block],
    node_weights: Float[Array, "nodes"],
    law: Batches,
    *,
    ridge: float = 0.0,
    diagonal: bool = False,
) -> BatchMoments:
    """Covariances over batches of z = (phi phiᵀ, phi e), the products that a batch averages.

    Rows come block by block; memory holds one block, some 64 MB of products, and the moments. The cost is that of a
    Gram matrix: rows * entries^2 operations, or rows * modes^2 for the diagonal approximation.

    Args:
        spectrum: of the same rows, each times the root of its probability times their number: node_weights[q] * nodes
            where pairs are equally likely.
        blocks: (features, labels) of consecutive pairs at all nodes, or (features, labels, weights), where the weights
            are proportional to the pairs' probabilities. Any fixed table of rows has one node. A law that mixes batches
            with themselves asks for one block an original, of the pairs that `stars` lists; the spectrum is then of all
            ordered pairs, those of an original with itself with probability law.self_weight / n each.
        node_weights: probabilities of the nodes.
        law: how a batch is drawn.
        ridge: weight decay; unit 1/time.
        diagonal: the approximation that keeps the entries (k, k), for more than `MAX_EXACT_MODES` modes.

    Raises:
        ValueError: node weights that do not sum to one; a negative ridge; more modes than `MAX_EXACT_MODES`, or none;
            rows that are not those of the spectrum; a batch of more distinct pairs, or originals, than there are;
            distinct pairs of different weights; blocks that are no stars; batches of epochs, which depend on each
            other.

    Source: derived here.

    >>> import theory
    >>> phi, y = jnp.asarray([[1.0], [3.0]]), jnp.asarray([[2.0], [4.0]])
    >>> blocks = [(phi[:, None, :], y[:, None, :])]
    >>> moments = batch_moments(theory.decompose(phi, y), blocks, jnp.ones(1), theory.Batches(size=2))
    >>> moments.eigenvalues.round(6).tolist(), moments.curvature.round(6).tolist()  # Var phi^2 = 16, over two rows
    ([5.0], [[8.0]])
    """
    check_untraced(spectrum=spectrum, node_weights=node_weights, ridge=ridge)
    check_probabilities("node_weights", linalg.on_device(np.asarray(node_weights)[None, :]))
    rank = spectrum.rank
    law.check_independent()
    _check_rank(rank, diagonal)
    check_not_negative("ridge", ridge)
    eigenvalues, modes, optimum = _optimum(spectrum, rank, linalg.on_device(ridge, spectrum.eigenvalues.dtype))
    layout = Diagonal() if diagonal else Exact()
    mean, covariance = over_batches(blocks, node_weights, law, layout, Projection(modes, optimum))
    first_moments, operators = _in_entries(layout, mean, covariance, *optimum.shape)
    _check_same_rows(first_moments, optimum, ridge, spectrum)
    return BatchMoments(eigenvalues, optimum, *operators, linalg.on_device(ridge, eigenvalues.dtype), diagonal)


@eqx.filter_jit
def _optimum(
    spectrum: Spectrum, rank: int, ridge: Float[Array, ""]
) -> tuple[Float[Array, "modes"], Float[Array, "features modes"], Float[Array, "modes targets"]]:
    """The modes that count, and where the mean gradient vanishes."""
    eigenvalues = spectrum.eigenvalues[:rank]
    force = jnp.sqrt(eigenvalues)[:, None] * spectrum.label_coordinates[:rank]
    return eigenvalues, spectrum.modes[:, :rank], force / (eigenvalues + ridge)[:, None]


@eqx.filter_jit
def _in_entries(
    layout: Layout, mean: Array, covariance: PyTree[Array], num_modes: int, num_targets: int
) -> tuple[tuple[Array, Array], tuple[Array, Array, Array]]:
    """The first moments of rows, and the operators that covariances over batches make."""
    return layout.first_moments(mean, num_modes), layout.operators(covariance, num_modes, num_targets)


def _check_rank(rank: int, diagonal: bool) -> None:
    if rank == 0:
        raise ValueError("spectrum: has no mode above its rank cut, so nothing trains; pass features that are not zero")
    if rank > MAX_EXACT_MODES and not diagonal:
        entries = rank * (rank + 1) // 2
        raise ValueError(
            f"diagonal: the exact moments of {rank} modes are a matrix of {entries} x {entries} entries, and at most "
            f"{MAX_EXACT_MODES} modes are allowed; pass diagonal=True for the diagonal approximation"
        )


def _check_same_rows(
    moments: tuple[Array, Array], optimum: Float[Array, "modes targets"], ridge: float, spectrum: Spectrum
) -> None:
    """E phi phiᵀ must be diagonal in the modes, and E phi e the pull of the ridge at the optimum, but for rounding."""
    second_moment, product = map(np.asarray, moments)
    eigenvalues, resting = np.asarray(spectrum.eigenvalues)[: len(optimum)], np.asarray(optimum)
    eps = float(jnp.finfo(eigenvalues.dtype).eps)
    tolerance = eps**0.5
    largest = float(eigenvalues[0])
    label_power = float(
        np.sum(np.asarray(spectrum.label_coordinates) ** 2) + np.sum(np.asarray(spectrum.label_outside))
    )
    off = float(np.max(np.abs(second_moment - np.diag(eigenvalues)))) / largest
    scale = (largest * label_power) ** 0.5
    label_off = float(np.max(np.abs(product - ridge * resting))) / scale if label_power > 0 else 0.0
    # Where the optimum is far away, e = y - theta* . phi is off by a rounding of the size of theta*.
    rounding = SAFETY * eps * float(np.sum(eigenvalues)) * float(np.linalg.norm(resting)) / max(scale, eps)
    if off > tolerance or label_off > tolerance + rounding:
        raise ValueError(
            f"blocks: their moments differ from the spectrum's, by {off:.2g} in the features and {label_off:.2g} in "
            "the labels, relatively; pass the spectrum of the same rows, each times the root of its probability times "
            "their number"
        )
