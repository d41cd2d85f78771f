"""Hermite coefficients: a function of a Gaussian, written in the polynomials that the Gaussian makes orthogonal.

    s(h z + b) = sum_k a_k(h, b) he_k(z),      a_k = E[s(h z + b) he_k(z)],      he_k = He_k / sqrt(k!),   z ~ N(0, 1).

An analytic s with its nearest pole at distance y from the real line has |a_k| about exp(-sqrt(2 k) y / h): the narrower
the Gaussian, the fewer terms. Expectations are taken by Gauss-Legendre panels that meet at zero, so that functions with
a kink or a jump there, such as relu and sign, are integrated to rounding as well.

Two things could be missed without a trace, and are looked for. A fast-growing s has its weight far out, where s^2 times
the density is largest: the panels reach as far as that product does. And what is narrower than a panel escapes any rule
on the same panels: s is held against its own interpolant at points in between, and what it differs by bounds the error
of all coefficients together.
"""

import warnings
from functools import lru_cache
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from theory.duals.activations import Activation
from theory.linalg import on_device

Quadrature = tuple[Float[np.ndarray, "nodes"], Float[np.ndarray, "nodes"]]
"""Nodes and weights."""

HALF_WIDTH = 13.0
"""Past it the root of the normal density is below 1e-18; bounded functions are integrated as far as that."""
FARTHEST = 52.0
"""The root of the density is still a number there."""
PROBES = np.arange(0.1, FARTHEST, 0.125)
NEGLIGIBLE = 1e-17
"""Of s times the root of the density, relative to its largest value."""
PANEL_POINTS = 16
REFINEMENT = 1.5
"""How many times more panels there are than a rule needs that is as exact, but whose interpolant is not."""
SCAN_VALUES = 2**20
"""How many values between the nodes are looked at, all rows together: a feature of some 26 h / 2^20 is still seen."""
CALLED_VALUES = (2**13, 2**17)
CALLED_COLUMNS = 64
"""How many values of an activation are computed at a time, of few and of many; in rows, as features are."""
GOLDEN_RATIO = 0.6180339887498949

ACCURACY = 1e-10
"""An estimated error above it is warned of."""


class AccuracyWarning(UserWarning):
    """An expectation was computed to fewer digits than promised."""


@lru_cache(maxsize=16)
def gaussian_rule(num_panels: int, half_width: float = HALF_WIDTH, *, halvings: int = 0) -> Quadrature:
    """Nodes z and the roots r of weights: sum_j r_j (r_j g(z_j)) = E g(z), g smooth but for a kink or jump at zero.

    The weights themselves vanish in floating point where a fast-growing g is largest. The panels next to zero are
    halved so many times, for a g that turns very quickly there.

    >>> nodes, roots = gaussian_rule(16)
    >>> round(float(roots**2 @ np.abs(nodes)), 12) == round(float(np.sqrt(2 / np.pi)), 12)
    True
    """
    points, weights = np.polynomial.legendre.leggauss(PANEL_POINTS)
    edges = np.linspace(0, half_width, num_panels // 2 + 1)
    edges = np.concatenate([[0.0], edges[1] * 0.5 ** np.arange(halvings, 0, -1), edges[1:]])
    edges = np.concatenate([-edges[:0:-1], edges])
    half = np.diff(edges)[:, None] / 2
    nodes = (edges[:-1, None] + half + half * points[None, :]).ravel()
    return nodes, np.sqrt((half * weights[None, :]).ravel() / np.sqrt(2 * np.pi)) * np.exp(-(nodes**2) / 4)


@lru_cache(maxsize=16)
def rooted_hermite(num_panels: int, num_terms: int, half_width: float = HALF_WIDTH) -> Float[np.ndarray, "nodes terms"]:
    """r_j he_k(z_j), by the three-term recurrence he_{k+1} = (z he_k - sqrt(k) he_{k-1}) / sqrt(k+1)."""
    nodes, roots = gaussian_rule(num_panels, half_width)
    table = np.empty((len(nodes), num_terms))
    previous, current = np.zeros_like(nodes), roots
    for k in range(num_terms):
        table[:, k] = current
        previous, current = current, (nodes * current - np.sqrt(k) * previous) / np.sqrt(k + 1)
    return table


def panels_for(largest_std: float, num_terms: int, half_width: float = HALF_WIDTH) -> int:
    """Enough panels to resolve s(h z), whose features have width 1/h, and he_k, which turns sqrt(k) times a unit.

    A power of two times the range: rules of few sizes are cached, and what is compiled for one serves again.
    """
    needed = 4 + (np.sqrt(num_terms) + 24 * largest_std) / 2
    return int(np.ceil(max(32, 2 ** int(np.ceil(np.log2(needed)))) * half_width / HALF_WIDTH))


class Expansion(NamedTuple):
    """Hermite coefficients, and what is known of their errors.

    Attributes:
        coefficients: a_k.
        norms: sqrt(E s^2), at least what was found between the nodes; 1 for a function that vanishes.
        error: of each row, at least about |(a_k) - exact| / norms, all k together.
        half_width: how far |z| was integrated.
    """

    coefficients: Float[np.ndarray, "rows terms"]
    norms: Float[np.ndarray, "rows"]
    error: Float[np.ndarray, "rows"]
    half_width: float


class _Panels(NamedTuple):
    """Values of a function at the nodes of panels as far out as it reaches, one row each of a Gaussian."""

    values: Float[np.ndarray, "rows nodes"]
    num_panels: int
    half_width: float

    @staticmethod
    def of(
        activation: Activation, stds: np.ndarray, biases: np.ndarray, num_terms: int, *, refinement: float
    ) -> "_Panels":
        """By so many times the panels that a rule needs."""
        half_width = _reach(activation, stds, biases)
        wanted = int(refinement * panels_for(float(stds.max(initial=0.0)), num_terms, half_width))
        num_panels = wanted // 2 * 2  # as many on either side of zero
        nodes, _ = gaussian_rule(num_panels, half_width)
        return _Panels(_finite_values(activation, stds, biases, nodes), num_panels, half_width)

    @property
    def rooted(self) -> Float[np.ndarray, "rows nodes"]:
        """The values times the roots of the weights."""
        return self.values * gaussian_rule(self.num_panels, self.half_width)[1]

    def coefficients(self, num_terms: int) -> Float[np.ndarray, "rows terms"]:
        return self.rooted @ rooted_hermite(self.num_panels, num_terms, self.half_width)


def expand(
    activation: Activation, stds: Float[np.ndarray, "rows"], biases: Float[np.ndarray, "rows"], num_terms: int
) -> Expansion:
    """Coefficients by panels as far out as s reaches, and their error.

    With I s the interpolant on the panels, Bessel's inequality bounds what is lost: sum_k (a_k - a_k(I s))^2 is at most
    E (s - I s)^2, which is averaged over points between the nodes, spread evenly over panels and rows.

    Raises:
        ValueError: as `hermite_coefficients`.
    """
    panels = _Panels.of(activation, stds, biases, num_terms, refinement=REFINEMENT)
    unseen, seen = _between_nodes(activation, stds, biases, panels)
    norms = np.sqrt(np.maximum(np.sum(panels.rooted**2, axis=1), np.where(unseen > ACCURACY**2 * seen, seen, 0)))
    norms = np.where(norms > 0, norms, 1.0)
    return Expansion(panels.coefficients(num_terms), norms, np.sqrt(unseen) / norms, panels.half_width)


def coarse_coefficients(
    activation: Activation, stds: Float[np.ndarray, "rows"], biases: Float[np.ndarray, "rows"], num_terms: int
) -> Float[np.ndarray, "rows terms"]:
    """Those of `expand` by fewer panels, to hold them against each other."""
    return _Panels.of(activation, stds, biases, num_terms, refinement=1.0).coefficients(num_terms)


def hermite_coefficients(
    activation: Activation, stds: Float[np.ndarray, "rows"], biases: Float[np.ndarray, "rows"], num_terms: int
) -> Float[np.ndarray, "rows terms"]:
    """a_k(h, b) for each row; the first is the mean E s(h z + b).

    Args:
        activation: s, elementwise.
        stds: h, not negative; a row of 0 has the one coefficient s(b).
        biases: b.
        num_terms: how many coefficients.

    Returns:
        Accurate to 1e-12 of sqrt(E s^2) where s is analytic, or has its only kink at zero and no bias.

    Raises:
        ValueError: s is not finite where a Gaussian of that width reaches, grows so fast that E s^2 is not finite, or
            out of reach, or is not elementwise.

    Warns:
        AccuracyWarning: the estimated error is above 1e-10 of sqrt(E s^2).

    >>> coefficients = hermite_coefficients(jnp.square, np.asarray([2.0]), np.zeros(1), 4)
    >>> np.allclose(coefficients, [[4, 0, 4 * np.sqrt(2), 0]])
    True
    """
    found = expand(activation, stds, biases, num_terms)
    warn_of(float(np.max(found.error, initial=0.0)), "sqrt(E s^2)")
    return found.coefficients


def warn_of(error: float, scale: str) -> None:
    """Warns where an estimated error is above what is promised without a warning."""
    if error > max(ACCURACY, 100 * float(jnp.finfo(jnp.result_type(float)).eps)):
        warnings.warn(
            f"activation: the estimated error is {error:.1e} of {scale}; it has a kink or a jump away from zero, "
            "features that are too narrow, or very long weights: smooth it, or average the risk over a test set",
            AccuracyWarning,
            stacklevel=3,
        )


def values_of(activation: Activation, where: Float[np.ndarray, "*any"]) -> Float[np.ndarray, "*any"]:
    """s at the places, so many at a time that it is compiled for two sizes, whatever their number.

    Raises:
        ValueError: s is not elementwise.
    """
    flat = where.ravel()
    values, size = np.empty_like(flat), CALLED_VALUES[flat.size > CALLED_VALUES[0]]
    for start in range(0, flat.size, size):
        part = flat[start : start + size]
        rows = np.resize(part, (size // CALLED_COLUMNS, CALLED_COLUMNS))  # the last part is filled up
        found = _called(activation, on_device(rows))
        if found.shape != rows.shape:
            raise ValueError(
                f"activation: gave shape {found.shape} for inputs of shape {rows.shape}; pass an elementwise function"
            )
        values[start : start + size] = np.asarray(found).ravel()[: len(part)]
    return values.reshape(where.shape)


@eqx.filter_jit
def _called(activation: Activation, values: Float[Array, "rows columns"]) -> Array:
    return activation(values)


def _values(activation: Activation, stds: np.ndarray, biases: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """s(h z + b), with nodes of all rows, or each its own."""
    return values_of(activation, stds[:, None] * np.atleast_2d(nodes) + biases[:, None])


def _finite_values(activation: Activation, stds: np.ndarray, biases: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    values = _values(activation, stds, biases, nodes)
    where = stds[:, None] * nodes[None, :] + biases[:, None]
    alone = values_of(activation, where[:1, :1])
    if not np.allclose(alone, values[:1, :1], equal_nan=True):
        raise ValueError(
            f"activation: at {where[0, 0]:.4g} it gave {alone[0, 0]:.6g} alone and {values[0, 0]:.6g} among others; "
            "pass an elementwise function"
        )
    if not np.all(np.isfinite(values)):
        bad = where[~np.isfinite(values)]
        raise ValueError(
            f"activation: is not finite at {bad[np.argmin(np.abs(bad))]:.4g}, which pre-activations of standard "
            f"deviation {stds.max():.3g} reach; pass a function that is finite on the whole line, or smaller weights"
        )
    return values


def _reach(activation: Activation, stds: np.ndarray, biases: np.ndarray) -> float:
    """Past which |z| all of s times the root of the density is negligible."""
    probes = np.concatenate([-PROBES[::-1], PROBES])
    size = np.abs(_values(activation, stds, biases, probes)).astype(float)
    with np.errstate(divide="ignore"):
        log = np.where(np.isfinite(size), np.log(np.where(np.isfinite(size), size, 1)), -np.inf) - probes**2 / 4
    matters = log > np.max(log, axis=1, keepdims=True, initial=-np.inf) + np.log(NEGLIGIBLE)
    last = float(np.max(np.abs(probes)[matters.any(axis=0)], initial=0.0))
    if last >= PROBES[-1]:
        raise ValueError(
            f"activation: grows so fast that pre-activations of standard deviation {stds.max():.3g} give it no finite "
            "mean square, or none within reach; pass one that grows more slowly, or smaller weights"
        )
    return max(HALF_WIDTH, np.ceil(last + 0.125) if last > HALF_WIDTH - 0.125 else 0.0)


def _between_nodes(
    activation: Activation, stds: np.ndarray, biases: np.ndarray, panels: _Panels
) -> tuple[Float[np.ndarray, "rows"], Float[np.ndarray, "rows"]]:
    """E (s - I s)^2 and E s^2 by points between the nodes."""
    values, num_panels, half_width = panels
    each = max(3, SCAN_VALUES // (num_panels * max(1, len(stds))))
    # By steps of the golden ratio: evenly over a panel for each row, and for all rows together.
    inside = 2 * ((np.arange(len(stds) * each) + 0.5) * GOLDEN_RATIO % 1).reshape(len(stds), each) - 1
    width = 2 * half_width / num_panels
    left = np.linspace(-half_width, half_width, num_panels + 1)[:-1]
    places = left[None, :, None] + width * (1 + inside[:, None, :]) / 2
    there = _values(activation, stds, biases, places.reshape(len(stds), -1)).reshape(places.shape)
    interpolant = values.reshape(len(stds), num_panels, PANEL_POINTS) @ _interpolation(inside)
    density = np.exp(-(places**2) / 4) * np.sqrt(width / each / np.sqrt(2 * np.pi))
    unseen, seen = (np.where(np.isfinite(part), part, 0) * density for part in (there - interpolant, there))
    return np.sum(unseen**2, axis=(1, 2)), np.sum(seen**2, axis=(1, 2))


def _interpolation(inside: Float[np.ndarray, "rows each"]) -> Float[np.ndarray, "rows points each"]:
    """From values at a panel's nodes to values in between: Legendre series of degree 15."""
    points, weights = np.polynomial.legendre.leggauss(PANEL_POINTS)
    order = np.arange(PANEL_POINTS)
    analysis = np.polynomial.legendre.legvander(points, PANEL_POINTS - 1) * weights[:, None] * (order + 0.5)
    return np.moveaxis(np.polynomial.legendre.legvander(inside, PANEL_POINTS - 1) @ analysis.T, 1, 2)
