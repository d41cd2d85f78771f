"""Derivatives of duals, and identities that they obey."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import theory
from tests.theory.duals.functions import FUNCTIONS, GENERIC, PARTNERS, ROWS, polar_dual
from tests.tolerances import FINITE_DIFFERENCE, FLOAT32, IDENTITY, QUADRATURE

# --- derivatives --------------------------------------------------------------------------------------------------


COTANGENT = np.random.default_rng(4).normal(size=(7, 7))


def difference(function: Callable[[jax.Array], jax.Array], at: np.ndarray, step: float = 1e-5) -> float:
    """A central difference."""
    return float(function(jnp.asarray(at + step)) - function(jnp.asarray(at - step))) / (2 * step)


def rises_as_its_gradient_says(function: Callable[[jax.Array], jax.Array], at: np.ndarray) -> bool:
    """In three random directions, by central differences."""
    gradient = np.asarray(jax.grad(function)(jnp.asarray(at)))
    for direction in np.random.default_rng(5).normal(size=(3, *at.shape)):
        by_steps = difference(lambda s, d=direction: function(jnp.asarray(at) + s * d), np.zeros(()))
        if not abs(by_steps - np.sum(gradient * direction)) <= FINITE_DIFFERENCE * max(1, abs(by_steps)):
            return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tanh", "gelu", "relu", "abs"])
def test_gradients_by_weights_are_finite_differences_also_on_the_diagonal(name: str) -> None:
    """Of both sides at once, `weights1 is weights2`; a collinear and an antiparallel pair are among the rows."""
    function, rows = FUNCTIONS[name][0], ROWS[[0, 1, 3, 2, 4]]
    cotangent = jnp.asarray(COTANGENT[:5, :5])

    def total(rows: jax.Array) -> jax.Array:
        return jnp.sum(cotangent * theory.dual(function, rows))

    assert rises_as_its_gradient_says(total, rows)


@pytest.mark.parametrize("name", ["tanh", "gelu", "sin"])
def test_gradients_at_zero_rows_are_finite_differences(name: str) -> None:
    function, rows = FUNCTIONS[name][0], np.concatenate([np.zeros((2, 3)), GENERIC[:1]])
    partners = jnp.asarray(np.concatenate([np.zeros((1, 3)), GENERIC[1:]]))
    cotangent = jnp.asarray(COTANGENT[:3, :3])

    def total(rows: jax.Array) -> jax.Array:
        return jnp.sum(cotangent * theory.dual(function, rows, function, partners))

    assert rises_as_its_gradient_says(total, rows)


@pytest.mark.parametrize("name", ["relu", "leaky_relu"])
def test_gradients_of_kinked_activations_stay_finite_at_zero_rows(name: str) -> None:
    """E |w . x| |v . x| has a corner at w = 0, and no derivative there; what is given is finite."""

    def total(rows: jax.Array) -> jax.Array:
        return jnp.sum(jnp.asarray(COTANGENT) * theory.dual(FUNCTIONS[name][0], rows))

    assert np.all(np.isfinite(jax.grad(total)(jnp.asarray(ROWS))))


@pytest.mark.slow
def test_gradients_by_bias_are_finite_differences() -> None:
    rows, partners, bias = jnp.asarray(ROWS), jnp.asarray(PARTNERS), np.linspace(-1, 1, len(ROWS))
    bias2 = np.linspace(1.5, -1, len(PARTNERS))
    cotangent = jnp.asarray(COTANGENT[:, : len(PARTNERS)])

    def total(both: jax.Array) -> jax.Array:
        pairs = theory.dual("tanh", rows, "softplus", partners, bias1=both[: len(bias)], bias2=both[len(bias) :])
        return jnp.sum(cotangent * pairs)

    assert rises_as_its_gradient_says(total, np.concatenate([bias, bias2]))


@pytest.mark.parametrize("name", ["tanh", "relu", "erf", "gelu", "cos", "gaussian"])
def test_the_gradient_by_the_correlation_is_prices_theorem(name: str) -> None:
    """Or d E[s(u) s(v)] / d Cov(u, v) = E[s'(u) s'(v)]; where a closed form serves, the two sides share no code."""
    function, _, slope = FUNCTIONS[name]
    rows, partners = ROWS[:5], PARTNERS[-2:]
    cotangent = jnp.asarray(COTANGENT[:5, :2])

    def total(correlation: jax.Array) -> jax.Array:
        pairs = theory.dual(function, jnp.asarray(rows), function, jnp.asarray(partners), correlation=correlation)
        return jnp.sum(cotangent * pairs)

    for correlation in (0.7, -0.4):
        other = np.sqrt(1 - correlation**2)
        doubled1 = np.concatenate([rows, np.zeros_like(rows)], axis=1)
        doubled2 = np.concatenate([correlation * partners, other * partners], axis=1)
        of_slopes = polar_dual(slope, doubled1, slope, doubled2)
        exact = float(np.sum(np.asarray(cotangent) * of_slopes * (rows @ partners.T)))
        gradient = float(jax.grad(total)(jnp.asarray(correlation)))
        assert abs(gradient - exact) <= QUADRATURE * max(1, abs(exact))
        by_steps = difference(total, np.asarray(correlation))
        assert abs(gradient - by_steps) <= FINITE_DIFFERENCE * max(1, abs(exact))


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second"), [("tanh", "tanh"), ("relu", "relu")])
def test_jit_gives_the_same_values_and_gradients(first: str, second: str) -> None:
    partners = jnp.asarray(PARTNERS)

    def pairs(rows: jax.Array) -> jax.Array:
        return theory.dual(first, rows, second, partners)

    def total(rows: jax.Array) -> jax.Array:
        return jnp.sum(pairs(rows) ** 2)

    rows = jnp.asarray(ROWS[:5])
    assert np.allclose(jax.jit(pairs)(rows), pairs(rows), rtol=IDENTITY, atol=IDENTITY)
    assert np.allclose(jax.jit(jax.grad(total))(rows), jax.grad(total)(rows), rtol=IDENTITY, atol=IDENTITY)


# --- identities ---------------------------------------------------------------------------------------------------


SIZES = st.sampled_from([1, 2, 5])


@pytest.mark.parametrize("name", ["tanh", "relu", "sign", "gelu"])
@settings(max_examples=5)
@given(seed=st.integers(0, 10**6), dim=SIZES, scale=st.floats(0.01, 3))
def test_rotating_the_inputs_changes_nothing_and_the_gram_matrix_is_positive(
    name: str, seed: int, dim: int, scale: float
) -> None:
    rng = np.random.default_rng(seed)
    rows = scale * rng.normal(size=(5, dim))
    rotation, _ = np.linalg.qr(rng.normal(size=(dim, dim)))
    gram = np.asarray(theory.dual(name, jnp.asarray(rows)))
    size = float(np.max(np.diag(gram)))
    assert np.allclose(gram, theory.dual(name, jnp.asarray(rows @ rotation)), rtol=0, atol=QUADRATURE * size)
    assert np.allclose(gram, gram.T, rtol=0, atol=QUADRATURE * size)
    assert np.linalg.eigvalsh(gram).min() >= -5 * QUADRATURE * size


@given(seed=st.integers(0, 10**6), stretch=st.floats(0.01, 10))
def test_relu_duals_are_homogeneous_in_each_row(seed: int, stretch: float) -> None:
    rng = np.random.default_rng(seed)
    rows, partners = jnp.asarray(rng.normal(size=(2, 3))), jnp.asarray(rng.normal(size=(5, 3)))
    stretched = theory.dual("relu", stretch * rows, "relu", partners)
    assert np.allclose(stretched, stretch * theory.dual("relu", rows, "relu", partners), rtol=IDENTITY, atol=IDENTITY)


@pytest.mark.parametrize("name", ["tanh", "relu", "erf"])
def test_the_precision_of_the_weights_is_kept(name: str) -> None:
    single = theory.dual(name, jnp.asarray(ROWS, jnp.float32))
    double = theory.dual(name, jnp.asarray(ROWS))
    assert single.dtype == jnp.float32
    assert double.dtype == jnp.float64
    assert np.allclose(single, double, rtol=FLOAT32, atol=FLOAT32)
