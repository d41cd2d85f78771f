"""Truths and pairs as tests draw them."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import settings

from theory.noise import gaussian

FEW = settings(max_examples=20)


NODES, NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(24)


NODE_WEIGHTS = NODE_WEIGHTS / NODE_WEIGHTS.sum()
PLANE = np.outer(NODE_WEIGHTS, NODE_WEIGHTS)


def overlap_and_mean(
    polynomial: np.polynomial.Polynomial,
) -> tuple[gaussian.Overlap, gaussian.Mean]:
    """By Gauss-Hermite quadrature, exact for polynomials."""

    def overlap(a: float, b: float, c: float) -> jax.Array:
        twin = c * NODES[:, None] + np.sqrt(max(1 - c**2, 0)) * NODES[None, :]
        return jnp.asarray(np.sum(PLANE * polynomial(a * NODES)[:, None] * polynomial(b * twin)))

    return overlap, lambda a: jnp.asarray(NODE_WEIGHTS @ polynomial(a * NODES))
