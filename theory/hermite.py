"""Hermite coefficients: a function of a Gaussian, written in the polynomials that the Gaussian makes orthogonal.

    s(h z + b) = sum_k a_k(h, b) he_k(z),      a_k = E[s(h z + b) he_k(z)],      he_k = He_k / sqrt(k!),   z ~ N(0, 1).

An analytic s with its nearest pole at distance y from the real line has |a_k| about exp(-sqrt(2 k) y / h): the narrower
the Gaussian, the fewer terms. Expectations are taken by Gauss-Legendre panels that meet at zero, so that functions with
a kink or a jump there, such as relu and sign, are integrated to rounding as well.
"""

from functools import lru_cache

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from theory.activations import Activation

Quadrature = tuple[Float[np.ndarray, "nodes"], Float[np.ndarray, "nodes"]]
"""Nodes and weights."""

HALF_WIDTH = 13.0
"""Past it the normal density times any he_k that is used is below rounding."""
PANEL_POINTS = 16


@lru_cache(maxsize=16)
def gaussian_rule(num_panels: int) -> Quadrature:
    """Nodes z and weights w with sum_j w_j g(z_j) = E g(z), g smooth but for a kink or jump at zero.

    >>> nodes, weights = gaussian_rule(16)
    >>> round(float(weights @ np.abs(nodes)), 12) == round(float(np.sqrt(2 / np.pi)), 12)
    True
    """
    points, weights = np.polynomial.legendre.leggauss(PANEL_POINTS)
    edges = np.linspace(-HALF_WIDTH, HALF_WIDTH, 2 * (num_panels // 2) + 1)
    half = np.diff(edges)[:, None] / 2
    nodes = (edges[:-1, None] + half + half * points[None, :]).ravel()
    density = np.exp(-(nodes**2) / 2) / np.sqrt(2 * np.pi)
    return nodes, (half * weights[None, :]).ravel() * density


@lru_cache(maxsize=16)
def weighted_hermite(num_panels: int, num_terms: int) -> Float[np.ndarray, "nodes terms"]:
    """w_j he_k(z_j), by the three-term recurrence he_{k+1} = (z he_k - sqrt(k) he_{k-1}) / sqrt(k+1)."""
    nodes, weights = gaussian_rule(num_panels)
    # Each column carries the square root of the weight, as Hermite functions do: he_k alone overflows.
    root = np.sqrt(weights)
    table = np.empty((len(nodes), num_terms))
    previous, current = np.zeros_like(nodes), root
    for k in range(num_terms):
        table[:, k] = current
        previous, current = current, (nodes * current - np.sqrt(k) * previous) / np.sqrt(k + 1)
    return table * root[:, None]


def panels_for(largest_std: float, num_terms: int) -> int:
    """Enough panels to resolve s(h z), whose features have width 1/h, and he_k, which turns sqrt(k) times a unit.

    A power of two: rules of few sizes are cached, and what is compiled for one serves again.
    """
    needed = 4 + (np.sqrt(num_terms) + 24 * largest_std) / 2
    return max(32, 2 ** int(np.ceil(np.log2(needed))))


def hermite_coefficients(
    activation: Activation,
    stds: Float[np.ndarray, "rows"],
    biases: Float[np.ndarray, "rows"],
    num_terms: int,
    *,
    refinement: float = 1.0,
) -> Float[np.ndarray, "rows terms"]:
    """a_k(h, b) for each row; the first is the mean E s(h z + b).

    Args:
        activation: s, elementwise.
        stds: h, not negative; a row of 0 has the one coefficient s(b).
        biases: b.
        num_terms: how many coefficients.
        refinement: multiplies the number of quadrature panels.

    Raises:
        ValueError: s is not finite where a Gaussian of that width reaches, or not elementwise.

    >>> coefficients = hermite_coefficients(jnp.square, np.asarray([2.0]), np.zeros(1), 4)
    >>> np.allclose(coefficients, [[4, 0, 4 * np.sqrt(2), 0]])
    True
    """
    num_panels = int(refinement * panels_for(float(stds.max(initial=0.0)), num_terms))
    nodes, _ = gaussian_rule(num_panels)
    preactivations = stds[:, None] * nodes[None, :] + biases[:, None]
    values = np.asarray(activation(jnp.asarray(preactivations)))
    if values.shape != preactivations.shape:
        raise ValueError(
            f"activation: gave shape {values.shape} for inputs of shape {preactivations.shape}; pass an elementwise "
            "function"
        )
    alone = np.asarray(activation(jnp.asarray(preactivations[:1, :1])))
    if not np.allclose(alone, values[:1, :1], equal_nan=True):
        raise ValueError(
            f"activation: at {preactivations[0, 0]:.4g} it gave {alone[0, 0]:.6g} alone and {values[0, 0]:.6g} among "
            "others; pass an elementwise function"
        )
    if not np.all(np.isfinite(values)):
        bad = preactivations[~np.isfinite(values)]
        raise ValueError(
            f"activation: is not finite at {bad[np.argmin(np.abs(bad))]:.4g}, which pre-activations of standard "
            f"deviation {stds.max():.3g} reach; pass a function that is finite on the whole line, or smaller weights"
        )
    return values @ weighted_hermite(num_panels, num_terms)
