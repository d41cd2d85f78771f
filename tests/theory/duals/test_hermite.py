"""Hermite coefficients against mpmath and what is known of |z|, the sign, the exponential and monomials."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st

import theory
from tests.tolerances import DUAL, IDENTITY
from theory.duals.hermite import rooted_hermite

ONE, ZERO = np.ones(1), np.zeros(1)


def coefficients(
    function: theory.duals.activations.Activation, num_terms: int, std: float = 1.0, bias: float = 0.0
) -> np.ndarray:
    return theory.duals.hermite_coefficients(function, np.asarray([std]), np.asarray([bias]), num_terms)[0]


def test_the_sign_and_the_absolute_value_have_their_known_coefficients() -> None:
    """Of the sign at k = 2 j + 1: sqrt(2/pi) (-1)^j (2 j - 1)!! / sqrt(k!); and it is the derivative of |z|."""
    j = np.arange(192)
    k = 2 * j + 1
    double_factorial = j * np.log(2) + scipy.special.gammaln(j + 0.5) - np.log(np.pi) / 2
    of_sign = np.sqrt(2 / np.pi) * (-1.0) ** j * np.exp(double_factorial - scipy.special.gammaln(k + 1) / 2)
    ours = coefficients(jnp.sign, 384)
    assert np.allclose(ours[1::2], of_sign, rtol=0, atol=IDENTITY)
    assert np.max(np.abs(ours[::2])) <= IDENTITY
    of_absolute = coefficients(jnp.abs, 384)
    assert np.isclose(of_absolute[0], np.sqrt(2 / np.pi), rtol=IDENTITY, atol=0)
    slopes = np.sqrt(k[:-1] + 1) * of_absolute[2::2]  # a_k(s') = sqrt(k + 1) a_{k+1}(s)
    assert np.allclose(slopes, of_sign[:-1], rtol=0, atol=DUAL)


@pytest.mark.parametrize("std", [0.1, 1.0, 2.0])
@pytest.mark.parametrize("bias", [0.0, -0.7])
def test_the_exponential_has_the_coefficients_of_its_generating_function(std: float, bias: float) -> None:
    k = np.arange(30)
    exact = np.exp(bias + std**2 / 2) * std**k / np.sqrt(scipy.special.factorial(k))
    ours = coefficients(jnp.exp, 30, std, bias)
    assert np.allclose(ours, exact, rtol=0, atol=DUAL * np.exp(bias + std**2))


@pytest.mark.parametrize("degree", [0, 1, 2, 5])
@pytest.mark.parametrize(("std", "bias"), [(1.0, 0.0), (0.5, 2.0), (3.0, -1.0)])
def test_monomials_have_as_many_coefficients_as_their_degree(degree: int, std: float, bias: float) -> None:
    expanded = np.polynomial.Polynomial([bias, std]) ** degree
    exact = np.polynomial.hermite_e.poly2herme(expanded.coef)
    exact = np.pad(exact * np.sqrt(scipy.special.factorial(np.arange(len(exact)))), (0, 12 - len(exact)))
    ours = coefficients(lambda x: x**degree, 12, std, bias)
    assert np.allclose(ours, exact, rtol=0, atol=DUAL * np.linalg.norm(exact))


@pytest.mark.parametrize("std", [0.5, 3.0])
@pytest.mark.parametrize("order", [0, 1, 4, 9])
def test_coefficients_are_integrals_in_thirty_digits(std: float, order: int) -> None:
    with mpmath.workdps(30):
        edges = [*mpmath.linspace(-13, 13, 27)]
        normal = 1 / mpmath.sqrt(mpmath.factorial(order))

        def integrand(z: mpmath.mpf) -> mpmath.mpf:
            hermite = mpmath.hermite(order, z / mpmath.sqrt(2)) / mpmath.mpf(2) ** (mpmath.mpf(order) / 2)
            return mpmath.tanh(std * z + mpmath.mpf(1) / 4) * hermite * normal * mpmath.npdf(z)

        exact = float(mpmath.quad(integrand, edges))
    assert abs(coefficients(jnp.tanh, 10, std, 0.25)[order] - exact) <= DUAL


@pytest.mark.parametrize(("name", "terms"), [("tanh", 250), ("sin", 60), ("gelu", 300), ("gaussian", 60)])
def test_the_squares_of_the_coefficients_add_up_to_the_power(name: str, terms: int) -> None:
    """Parseval; E s^2 by a trapezoid rule. The bends of gelu and tanh leave tails that fall like exp(-sqrt k)."""
    function = theory.duals.activation(name)
    z = np.linspace(-12, 12, 4001)
    power = (
        np.sum(np.asarray(function(jnp.asarray(0.5 * z))) ** 2 * np.exp(-(z**2) / 2))
        * (z[1] - z[0])
        / np.sqrt(2 * np.pi)
    )
    assert np.isclose(np.sum(coefficients(function, terms, 0.5) ** 2), power, rtol=DUAL, atol=0)


def test_the_polynomials_are_orthonormal() -> None:
    """Of low orders: from about 40 on they live where no function meets them, beyond the reach of the rule."""
    table = rooted_hermite(60, 20)
    gram = table.T @ table
    assert np.max(np.abs(gram - np.eye(20))) <= DUAL


@settings(max_examples=8)
@given(st.floats(0, 5), st.floats(-3, 3), st.sampled_from(["tanh", "softplus", "sin"]))
def test_the_first_coefficient_is_the_mean_and_the_next_the_mean_slope(std: float, bias: float, name: str) -> None:
    """Stein: E z s(h z + b) = h E s'(h z + b)."""
    function = theory.duals.activation(name)
    ours = coefficients(function, 2, std, bias)
    mean = theory.duals.gaussian_mean(name, jnp.asarray([std]), jnp.asarray([bias]))
    slope = coefficients(theory.duals.derivative(name), 1, std, bias)
    assert np.isclose(ours[0], mean[0], rtol=0, atol=DUAL * 10)
    assert np.isclose(ours[1], std * slope[0], rtol=0, atol=DUAL * 10)


def test_a_row_without_spread_has_the_one_coefficient() -> None:
    ours = theory.duals.hermite_coefficients(jnp.tanh, np.zeros(2), np.asarray([0.3, -2.0]), 5)
    assert np.allclose(ours[:, 0], np.tanh([0.3, -2.0]), rtol=IDENTITY, atol=0)
    assert np.max(np.abs(ours[:, 1:])) <= IDENTITY


def test_activations_must_be_finite_and_elementwise() -> None:
    with pytest.raises(ValueError, match=r"activation: is not finite at -.*standard deviation 1 reach"):
        coefficients(jnp.log, 3)
    with pytest.raises(ValueError, match=r"activation: gave shape .* pass an elementwise function"):
        coefficients(jnp.ravel, 3)
    with pytest.raises(ValueError, match="among others; pass an elementwise function"):
        coefficients(lambda x: jax.nn.softmax(x, axis=-1), 3)
