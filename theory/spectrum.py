"""The eigen-decomposition of the feature covariance, and the labels in its coordinates.

Training sees the data only through the covariance C = Phiᵀ Phi / m = U diag(mu) Uᵀ and the force b = Phiᵀ y / m. With
the singular vectors Phi = sqrt(m) A diag(sqrt(mu)) Uᵀ the force on mode k is sqrt(mu_k) a_k, a = Aᵀ y / sqrt(m). The
spectra of random features span seventeen decades without a gap, and late times reach down to the smallest of them. So
it matters how one gets there:

- ``svd``: thin SVD of Phi. Accurate: the rounding error of a curve grows as sqrt(t), and as t only with what part of
  the labels lies outside of the range of Phi.
- ``qr``: SVD of the triangular factor of [Phi, y, y*]. As accurate, faster for tall Phi, and it streams: Q is never
  stored, and neither need Phi be.
- ``gram``: eigh of the smaller of Phiᵀ Phi and Phi Phiᵀ. Fastest, but the error grows as t, and of singular values
  below about the root of machine epsilon (relative to the largest) it knows nothing.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from theory import linalg
from theory.blocks import Block, Labels, as_columns
from theory.checks import check_choice

Method = Literal["svd", "qr", "gram"]
METHODS: tuple[Method, ...] = ("svd", "qr", "gram")

Rounding = Literal["factor", "covariance", "kernel"]
"""What was known to a rounding: Phi, Phiᵀ Phi with the force, or Phi Phiᵀ; see `theory.trust`."""

Sums = tuple[Array, Array, Array, Array | None]
"""Over rows: of phi phiᵀ, phi y, y^2 and phi y*."""

RESOLVED_GAP = 1e3
"""How far above rounding level every singular value that counts must stand for t = infinity to mean something."""


class Spectrum(eqx.Module):
    """Eigenvalues and modes of C = Phiᵀ Phi / m, labels in their coordinates.

    Attributes:
        eigenvalues: mu, descending, not negative; unit 1/time. A mode known to be null has exactly 0.
        modes: U, orthonormal columns (to a rounding over the square of the singular value, by the Gram route of a wide
            Phi).
        label_coordinates: a = Aᵀ y / sqrt(m); 0 on null modes.
        label_outside: mean square of the part of the labels outside the range of Phi, which no training fits.
        clean_coordinates: a* = Aᵀ y* / sqrt(m) of the clean labels, or None.
        infinity_is_resolved: whether a gap parts the modes that count from rounding noise; by the Gram route, which
            does not see what lies below, whether nothing does.
        rank_cut: eigenvalues up to this one are indistinguishable from null modes.
        method: the factorisation that was used.
        rounding: what it has rounded.
    """

    eigenvalues: Float[Array, "modes"]
    modes: Float[Array, "features modes"]
    label_coordinates: Float[Array, "modes targets"]
    label_outside: Float[Array, "targets"]
    clean_coordinates: Float[Array, "modes targets"] | None
    infinity_is_resolved: Bool[Array, ""]
    rank_cut: Float[Array, ""]
    method: Method = eqx.field(static=True)
    rounding: Rounding = eqx.field(static=True)

    @property
    def rank(self) -> int:
        """The number of modes above the rank cut."""
        return int(np.sum(np.asarray(self.eigenvalues) > np.asarray(self.rank_cut)))

    @property
    def fastest(self) -> float:
        """The largest eigenvalue."""
        return float(np.asarray(self.eigenvalues)[0])

    @property
    def noise_coordinates(self) -> Float[Array, "modes targets"]:
        """Aᵀ z / sqrt(m) of the label noise z = y - y*."""
        if self.clean_coordinates is None:
            raise ValueError("clean_labels: none were given, so the label noise is unknown; pass clean_labels=")
        return self.label_coordinates - self.clean_coordinates

    @property
    def unsplit(self) -> "Spectrum":
        """The same, of which the clean labels are not known: for risks in total, at half of the cost."""
        return eqx.tree_at(lambda s: s.clean_coordinates, self, None, is_leaf=lambda leaf: leaf is None)


def decompose(
    features: Float[Array, "samples features"],
    labels: Labels,
    clean_labels: Labels | None = None,
    *,
    method: Method = "svd",
) -> Spectrum:
    """The spectrum of C = Phiᵀ Phi / m with the labels in its coordinates, on the smaller side of Phi.

    Args:
        features: Phi.
        labels: y, one column a target.
        clean_labels: y*, the ground truth at the synthesized inputs, if known.
        method: ``svd``, ``qr`` or ``gram``; see the head of this file, and `suggest_method`.

    >>> spectrum = decompose(jnp.diag(jnp.asarray([2.0, 0.0])), jnp.asarray([1.0, 1.0]))
    >>> spectrum.eigenvalues.round(6).tolist(), spectrum.label_outside.round(6).tolist(), spectrum.rank
    ([2.0, 0.0], [0.5], 1)
    """
    check_choice("method", method, METHODS)
    block = (features, labels, clean_labels)
    if method == "svd":
        return _from_svd(*as_columns(block))
    if method == "gram" and features.shape[0] < features.shape[1]:
        return _from_small_gram(*as_columns(block))
    return decompose_blocks([block], method=method)


def decompose_blocks(blocks: Iterable[Block], *, method: Method = "qr") -> Spectrum:
    """The spectrum of rows that come block by block; memory holds one block and a features x features triangle.

    Args:
        blocks: triples (features, labels, clean labels or None) of consecutive rows. Blocks of at least twice as many
            rows as features waste least.
        method: ``qr`` or ``gram``.

    >>> phi, y = jnp.eye(4), jnp.arange(4.0)
    >>> streamed = decompose_blocks((phi[i : i + 2], y[i : i + 2], None) for i in (0, 2))
    >>> streamed.eigenvalues.round(6).tolist()
    [0.25, 0.25, 0.25, 0.25]
    """
    if method not in ("qr", "gram"):
        raise ValueError(f"method: {method!r} does not stream; pass 'qr' or 'gram'")
    columns = map(as_columns, blocks)
    return _from_triangle(columns) if method == "qr" else _from_gram(columns)


def suggest_method(num_samples: int, num_features: int, latest_scaled_time: float, resolution: float) -> Method:
    """The fastest factorisation that keeps rounding far below 1e-9 until the latest time.

    Args:
        num_samples: m.
        num_features: p.
        latest_scaled_time: t mu_max, the latest time in units of the fastest mode's.
        resolution: machine epsilon of the features' dtype.

    >>> suggest_method(4900, 1000, 1e3, 2e-16), suggest_method(4900, 1000, 1e9, 2e-16)
    ('gram', 'qr')
    """
    if resolution * latest_scaled_time < GRAM_ROUNDING:
        return "gram"
    return "qr" if num_samples > num_features else "svd"


GRAM_ROUNDING = 1e-9


def _from_svd(features: Array, labels: Array, clean: Array | None) -> Spectrum:
    known = labels if clean is None else linalg.side_by_side(labels, clean)
    singular, right, coordinates, outside = linalg.thin_svd(features, known)
    num_targets, root = labels.shape[1], math.sqrt(features.shape[0])
    return _from_singular_vectors(singular, right, coordinates, outside, num_targets, features.shape, "svd", root)


def _from_triangle(blocks: Iterator[Block]) -> Spectrum:
    """SVD of the triangle of [Phi, y, y*], which has Phi's singular values and right singular vectors.

    Rotated by Qᵀ, the labels lie in the triangle's last columns: above the diagonal block what the features reach,
    below it what they do not.
    """
    triangle, num_samples, num_features, num_targets = None, 0, 0, 0
    for features, labels, clean in blocks:
        num_samples += features.shape[0]
        num_features, num_targets = features.shape[1], labels.shape[1]
        known = (labels,) if clean is None else (labels, clean)
        triangle = linalg.triangular_factor(features, *known, above=triangle)
    if triangle is None:
        raise ValueError("blocks: the iterator gave no rows; pass at least one block of features and labels")
    scaled = linalg.on_host(triangle) / math.sqrt(num_samples)
    return from_triangle(scaled, num_features, num_targets, num_rows=num_samples)


def from_triangle(
    triangle: Float[Array, "rows columns"] | np.ndarray, num_features: int, num_targets: int, *, num_rows: int
) -> Spectrum:
    """The spectrum of [Phi, y, y*] / sqrt(m), or of rows each times the root of its weight, from their QR factor.

    Args:
        triangle: R, with the columns of the features, of the labels, and of the clean labels if they are known.
        num_features: how many columns are features.
        num_targets: how many are labels.
        num_rows: of the factored matrix; rounding grows with it.

    >>> from_triangle(jnp.asarray([[2.0, 6.0], [0.0, 1.0]]), 1, 1, num_rows=2).label_outside.tolist()
    [1.0]
    """
    num_modes, there = min(num_features, triangle.shape[0]), linalg.on_host(triangle)
    square, rotated = there[:num_modes, :num_features], there[:, num_features:]
    singular, right, coordinates, inside = linalg.thin_svd(square, rotated[:num_modes])
    outside = linalg.on_host(inside) + (rotated[num_modes:] ** 2).sum(axis=0)
    shape = (num_rows, num_features)
    return _from_singular_vectors(singular, right, coordinates, linalg.on_device(outside), num_targets, shape, "qr")


@eqx.filter_jit
def _from_singular_vectors(
    singular: Float[Array, "modes"],
    right: Float[Array, "features modes"],
    coordinates: Float[Array, "modes columns"],
    outside: Float[Array, "columns"],
    num_targets: int,
    shape: tuple[int, ...],
    method: Method,
    root: float = 1.0,
) -> Spectrum:
    """Of Phi / sqrt(m), from those of Phi and the root of m, or as they are.

    The columns are the labels, `num_targets` of them, and the clean labels, if known.
    """
    singular, coordinates, outside = singular / root, coordinates / root, outside / root**2
    cut = _rounding_level(shape, singular) * singular[0]
    resolved = _is_resolved(singular, cut)
    # Inside a gap, a singular value at rounding level is a null mode, whose left vector is arbitrary.
    null = (resolved & (singular <= cut))[:, None]
    inside = jnp.where(null, 0, coordinates)
    if shape[0] <= shape[1]:  # as many modes as rows: what was found outside of them is rounding
        outside = jnp.zeros_like(outside)
    outside = outside + jnp.sum(jnp.where(null, coordinates, 0) ** 2, axis=0)
    return Spectrum(
        eigenvalues=jnp.where(null[:, 0], 0, singular**2),
        modes=right,
        label_coordinates=inside[:, :num_targets],
        label_outside=outside[:num_targets],
        clean_coordinates=inside[:, num_targets:] if inside.shape[1] > num_targets else None,
        infinity_is_resolved=resolved,
        rank_cut=cut**2,
        method=method,
        rounding="factor",
    )


def _from_gram(blocks: Iterator[Block]) -> Spectrum:
    """eigh of Phiᵀ Phi, summed over the blocks."""
    sums: Sums | None = None
    num_samples = 0
    for features, labels, clean in blocks:
        num_samples += features.shape[0]
        force = linalg.transposed_product(features, labels)
        clean_force = None if clean is None else linalg.transposed_product(features, clean)
        power = _power(labels)
        terms = (linalg.gram(features), force, power, clean_force)
        sums = terms if sums is None else jax.tree.map(jnp.add, sums, terms)
    if sums is None:
        raise ValueError("blocks: the iterator gave no rows; pass at least one block of features and labels")
    return from_moments(*_over(num_samples, sums), num_rows=num_samples)


@jax.jit
def _power(labels: Array) -> Array:
    return jnp.sum(labels**2, axis=0)


@jax.jit
def _over(count: int | Array, sums: Sums) -> Sums:
    return jax.tree.map(lambda total: total / count, sums)


def from_moments(
    second_moment: Float[Array, "features features"],
    force: Float[Array, "features targets"],
    power: Float[Array, "targets"],
    clean_force: Float[Array, "features targets"] | None = None,
    *,
    num_rows: int,
) -> Spectrum:
    """The spectrum from the moments of the training data.

    Args:
        second_moment: the mean of phi phiᵀ.
        force: b, the mean of phi y, by target.
        power: the mean of y^2.
        clean_force: the mean of phi y*, if the clean labels are known.
        num_rows: how many rows were averaged over; rounding grows with it.

    >>> from_moments(2 * jnp.eye(1), jnp.asarray([[1.0]]), jnp.asarray([1.5]), num_rows=3).label_outside.tolist()
    [1.0]
    """
    eigenvalues, modes = linalg.symmetric_eigen(second_moment)
    return _from_eigenvectors(eigenvalues, modes, force, power, clean_force, (num_rows, second_moment.shape[0]))


def relabelled(spectrum: Spectrum, force: Float[Array, "features targets"], power: Float[Array, "targets"]) -> Spectrum:
    """The same features with other labels, of which the force and the power are known; the clean labels stay.

    The force carries a rounding error of the size of the largest modes', so labels are known as well as by the Gram
    route, whatever the spectrum came from.

    >>> spectrum = decompose(jnp.eye(2), jnp.asarray([1.0, 1.0]))
    >>> relabelled(spectrum, jnp.asarray([[1.0], [0.0]]), jnp.asarray([2.0])).label_coordinates.round(6).tolist()
    [[1.4142139999999999], [0.0]]
    """
    clean_force = None
    if spectrum.clean_coordinates is not None:
        clean_force = spectrum.modes @ (jnp.sqrt(spectrum.eigenvalues)[:, None] * spectrum.clean_coordinates)
    return _from_eigenvectors(spectrum.eigenvalues, spectrum.modes, force, power, clean_force, spectrum.modes.shape)


@eqx.filter_jit
def _from_eigenvectors(
    eigenvalues: Array, modes: Array, force: Array, power: Array, clean_force: Array | None, shape: tuple[int, ...]
) -> Spectrum:
    # A mode that is lost in rounding may be anything up to it; at zero, the force on it would be lost as well.
    eigenvalues = jnp.maximum(eigenvalues, jnp.finfo(eigenvalues.dtype).eps * jnp.maximum(eigenvalues[0], 0))
    cut = _rounding_level(shape, eigenvalues) * eigenvalues[0]
    known = eigenvalues > 0
    label_coordinates = _from_force(eigenvalues, modes, force, known)
    return Spectrum(
        eigenvalues=eigenvalues,
        modes=modes,
        label_coordinates=label_coordinates,
        label_outside=jnp.maximum(power - jnp.sum(label_coordinates**2, axis=0), 0),
        clean_coordinates=None if clean_force is None else _from_force(eigenvalues, modes, clean_force, known),
        infinity_is_resolved=_is_complete(eigenvalues, cut),
        rank_cut=cut,
        method="gram",
        rounding="covariance",
    )


def _from_force(
    eigenvalues: Float[Array, "modes"],
    modes: Float[Array, "features modes"],
    force: Float[Array, "features targets"],
    known: Bool[Array, "modes"],
) -> Float[Array, "modes targets"]:
    """The label coordinates, Uᵀ b / sqrt(mu), of the modes that are known, and 0 of the others."""
    singular = jnp.sqrt(jnp.where(known, eigenvalues, 1))
    return jnp.where(known[:, None], modes.T @ force / singular[:, None], 0)


def _from_small_gram(features: Array, labels: Array, clean: Array | None) -> Spectrum:
    """eigh of Phi Phiᵀ, for fewer rows than features."""
    _, left = linalg.symmetric_eigen(linalg.row_gram(features))
    return from_left_vectors(left, linalg.transposed_product(features, left), labels, clean)


@eqx.filter_jit
def from_left_vectors(
    left: Float[Array, "samples modes"],
    images: Float[Array, "features modes"],
    labels: Float[Array, "samples targets"],
    clean: Float[Array, "samples targets"] | None,
) -> Spectrum:
    """The spectrum from the eigenvectors of Phi Phiᵀ and their images under Phiᵀ.

    What Phi Phiᵀ does not resolve is not zero: its image says how large it is, down to the image's own rounding.
    """
    num_samples = left.shape[0]
    singular = jnp.linalg.norm(images, axis=0)
    null = singular <= _rounding_level(images.shape, singular) * jnp.max(singular)
    eigenvalues = jnp.where(null, 0, singular**2 / num_samples)
    cut = _rounding_level(images.shape, eigenvalues) * jnp.max(eigenvalues)
    scaled_left = left / jnp.sqrt(num_samples)
    coordinates, kept = scaled_left.T @ labels, jnp.where(null[None, :], 0, scaled_left)
    return Spectrum(
        eigenvalues=eigenvalues,
        modes=jnp.where(null[None, :], 0, images / jnp.where(null, 1, singular)[None, :]),
        label_coordinates=kept.T @ labels,
        label_outside=jnp.sum(jnp.where(null[:, None], coordinates, 0) ** 2, axis=0),
        clean_coordinates=None if clean is None else kept.T @ clean,
        infinity_is_resolved=_is_complete(eigenvalues, cut),
        rank_cut=cut,
        method="gram",
        rounding="kernel",
    )


def _rounding_level(shape: tuple[int, ...], like: Array) -> float:
    """Relative size below which a singular value (or an eigenvalue of a Gram matrix) is rounding noise."""
    return max(shape) * float(jnp.finfo(like.dtype).eps)


def _is_resolved(values: Float[Array, "modes"], cut: Float[Array, ""]) -> Bool[Array, ""]:
    return jnp.all((values <= cut) | (values >= RESOLVED_GAP * cut))


def _is_complete(eigenvalues: Float[Array, "modes"], cut: Float[Array, ""]) -> Bool[Array, ""]:
    """Nothing lies at rounding level. By a Gram matrix, a mode below the cut may be of any size up to its root."""
    return jnp.all(eigenvalues >= RESOLVED_GAP * cut)
