"""A dual of thousands of rows against the arithmetic it cannot do without, and against quadrature pair by pair."""

import jax
import jax.numpy as jnp
import numpy as np

import theory
from benchmarks.harness import Row, Work, compare, seconds
from theory.duals.hermite import gaussian_rule, hermite_coefficients, panels_for
from theory.duals.mehler import MAX_TERMS, TOLERANCE

NUM_ROWS = 3000
INPUT_DIM = 10
SOME_PAIRS = 400


def duals() -> list[Row]:
    """3000 tanh features."""
    rows = jax.random.normal(jax.random.key(0), (NUM_ROWS, INPUT_DIM)) / jnp.sqrt(INPUT_DIM)
    num_terms = _terms(rows)
    rho = np.random.default_rng(0).uniform(-1, 1, (NUM_ROWS, NUM_ROWS))
    total = np.empty_like(rho)

    def ours() -> object:
        return theory.dual("tanh", rows)

    def hadamard() -> object:
        total[:] = 0
        for _ in range(num_terms):
            np.multiply(total, rho, out=total)
            np.add(total, rho, out=total)
        return total

    arithmetic = compare(
        f"dual of {NUM_ROWS} tanh rows / {num_terms} Hadamard products and additions",
        ours,
        hadamard,
        at_most=4.0,
        rounds=3,
    )
    return [arithmetic, _against_quadrature(rows, ours)]


def _terms(rows: jax.Array) -> int:
    """How many terms of the series the longest rows need on their diagonal."""
    length = np.asarray(jnp.linalg.norm(rows, axis=1).max())[None]
    squares = hermite_coefficients(jnp.tanh, length, np.zeros(1), MAX_TERMS)[0] ** 2
    left = np.cumsum(squares[::-1])[::-1] / squares.sum()
    return int(np.argmax(left < TOLERANCE))


def _against_quadrature(rows: jax.Array, ours: Work) -> Row:
    """Some pairs by a product rule of the dual's own accuracy, scaled up to all of them."""
    places, roots = gaussian_rule(panels_for(1.0, 16) // 2)
    nodes, weights = jnp.asarray(places), jnp.asarray(roots**2)

    @jax.jit
    def by_quadrature(first: jax.Array, second: jax.Array) -> jax.Array:
        def pair(w: jax.Array, v: jax.Array) -> jax.Array:
            std1, std2 = jnp.linalg.norm(w), jnp.linalg.norm(v)
            rho = w @ v / (std1 * std2)
            across = rho * nodes[:, None] + jnp.sqrt(1 - rho**2) * nodes[None, :]
            return weights @ (jnp.tanh(std1 * nodes) * (jnp.tanh(std2 * across) @ weights))

        return jax.lax.map(lambda both: pair(*both), (first, second))

    first, second = rows[:SOME_PAIRS], rows[SOME_PAIRS : 2 * SOME_PAIRS]
    by_quadrature(first, second)
    whole = seconds(ours)
    scaled = seconds(lambda: by_quadrature(first, second)) * NUM_ROWS**2 / 2 / SOME_PAIRS
    what = f"dual of {NUM_ROWS} tanh rows / quadrature pair by pair (half of the pairs, by symmetry)"
    return Row(what, (whole / scaled,), "x", 1 / 20, f"{whole:.3g} s against {scaled:.3g} s, from {SOME_PAIRS} pairs")
