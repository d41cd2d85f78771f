"""Gaussian duals against integrals that never saw a formula: polar and plane quadrature, Monte Carlo, a table."""

import functools
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats

import theory
from tests.theory.duals.functions import (
    FUNCTIONS,
    GENERIC,
    LONG,
    PARTNERS,
    ROWS,
    Function,
    angle,
    density,
    polar,
    polar_dual,
    rows_for,
)
from tests.tolerances import DUAL, DUAL_FLOOR, IDENTITY, QUADRATURE, ROUNDED_STEP, SAMPLING
from theory.duals import mehler

REFERENCE = Path(__file__).parents[3] / ".." / "shared" / "data" / "duals.npz"
STEPS = {"sign"}
STEP_SLOPES = {"relu", "leaky_relu", "abs"}
SMOOTH = [name for name in FUNCTIONS if name not in STEPS | STEP_SLOPES]
MIXED = [
    ("tanh", "relu"),
    ("tanh", "erf"),
    ("sigmoid", "identity"),
    ("relu", "sign"),
    ("relu", "leaky_relu"),
    ("abs", "identity"),
    ("softplus", "gaussian"),
    ("sin", "cos"),
]


# --- the twins ----------------------------------------------------------------------------------------------------


def plane(first: Function, second: Function, std1: float, mean1: float, std2: float, mean2: float, rho: float) -> float:
    """E s(u) q(v), by the trapezoid rule on a square of independent normal variables: for smooth functions."""
    grid = np.linspace(-13, 13, 500)
    weight = density(grid) * (grid[1] - grid[0])
    u = std1 * grid + mean1
    v = std2 * (rho * grid[:, None] + np.sqrt(1 - rho**2) * grid[None, :]) + mean2
    return float((first(u) * weight) @ second(v) @ weight)


def norms(function: Function, rows: np.ndarray) -> np.ndarray:
    """sqrt(E s^2), what errors are relative to."""
    powers = [polar(function, length, function, length, 0.0) for length in np.linalg.norm(rows, axis=1)]
    return np.sqrt(powers)


@functools.cache
def expected(name: str) -> tuple[np.ndarray, np.ndarray]:
    function, rows = FUNCTIONS[name][1], rows_for(name)
    return polar_dual(function, rows, function, rows), np.outer(norms(function, rows), norms(function, rows))


def largest_error(ours: np.ndarray, exact: np.ndarray, scale: np.ndarray) -> float:
    return float(np.max(np.abs(np.asarray(ours) - exact) / np.where(scale > 0, scale, 1)))


# --- the stored table ---------------------------------------------------------------------------------------------


STORED = {
    "gaussian_a1_bm1": "gaussian",
    "monomial_2": jnp.square,
    "leaky_relu_0p1": theory.duals.leaky_relu(0.1),
}


STORED_NAMES = ["tanh", "erf", "relu", "sigmoid", "softplus", "sin", "cos", "sign", "abs", "identity", *STORED]
ENTRIES = [("dual", name) for name in STORED_NAMES]


ENTRIES += [("dual_of_derivative", name) for name in STORED_NAMES if name != "sign"]


def stored() -> dict[str, np.ndarray]:
    if not REFERENCE.is_file():
        pytest.skip(f"{REFERENCE.name} is not there: the duals were NOT held against the stored table")
    with np.load(REFERENCE) as table:
        return dict(table)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), ENTRIES, ids=lambda part: part)
def test_duals_are_those_of_the_stored_table(kind: str, name: str) -> None:
    table = stored()
    function = STORED.get(name, name)
    function = function if kind == "dual" else theory.duals.derivative(function)
    rows, exact = jnp.asarray(table["x"] / np.sqrt(5)), table[f"{kind}/{name}"]
    steps = name == "sign" or (kind != "dual" and name in ("relu", "abs", "leaky_relu_0p1"))
    lengths = np.sqrt(np.diag(table["sigma"]))
    collinear = np.abs(table["sigma"]) >= (1 - 1e-9) * np.outer(lengths, lengths)
    floor = np.where(collinear & steps, ROUNDED_STEP, DUAL_FLOOR)
    for values in (theory.dual(function, rows), theory.duals.dual_estimate(function, rows).values):
        excess = np.abs(np.asarray(values) - exact) - DUAL * np.abs(exact) - floor
        assert np.max(excess) <= 0


def test_every_entry_of_the_stored_table_is_looked_at() -> None:
    assert {key for key in stored() if "/" in key} == {f"{kind}/{name}" for kind, name in ENTRIES}


# --- values -------------------------------------------------------------------------------------------------------


def test_the_polar_integral_knows_what_is_known() -> None:
    assert abs(polar(np.abs, 2.0, np.abs, 3.0, 0.0) - 6) < IDENTITY * 6
    assert abs(polar(np.sign, 1.0, np.sign, 1.0, 1.0) - (1 - 2 / np.pi)) < IDENTITY
    assert abs(polar(np.tanh, 6.2, np.tanh, 5.8, 0.4) - polar(np.tanh, 6.2, np.tanh, 5.8, 0.4, points=180)) < IDENTITY
    assert abs(polar(np.cos, 1.3, np.cos, 1.3, 0.7) - plane(np.cos, np.cos, 1.3, 0, 1.3, 0, np.cos(0.7))) < IDENTITY


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_dual_is_the_integral(name: str) -> None:
    """Generic, collinear, antiparallel, tiny, zero and long rows."""
    exact, scale = expected(name)
    ours = np.asarray(theory.dual(FUNCTIONS[name][0], jnp.asarray(rows_for(name))))
    assert largest_error(ours, exact, scale) <= DUAL


@pytest.mark.parametrize("name", FUNCTIONS)
def test_series_and_quadrature_alone_are_the_integral(name: str) -> None:
    """Where a closed form serves, this is its twin inside the library."""
    exact, scale = expected(name)
    kept = slice(0, 7)  # without the long rows: what those need is held for tanh below
    rows = jnp.asarray(rows_for(name)[kept])
    estimate = theory.duals.dual_estimate(FUNCTIONS[name][0], rows)
    assert largest_error(estimate.values, exact[kept, kept], scale[kept, kept]) <= DUAL


@pytest.mark.parametrize(("first", "second"), MIXED, ids=lambda name: name)
def test_mixed_duals_are_the_integral(first: str, second: str) -> None:
    (s, twin1, _), (q, twin2, _) = FUNCTIONS[first], FUNCTIONS[second]
    exact = polar_dual(twin1, ROWS, twin2, PARTNERS)
    scale = np.outer(norms(twin1, ROWS), norms(twin2, PARTNERS))
    ours = theory.dual(s, jnp.asarray(ROWS), q, jnp.asarray(PARTNERS))
    assert largest_error(ours, exact, scale) <= DUAL
    swapped = theory.dual(q, jnp.asarray(PARTNERS), s, jnp.asarray(ROWS))
    assert largest_error(swapped.T, exact, scale) <= DUAL


def test_pairs_of_long_rows_that_only_quadrature_reaches_are_exact() -> None:
    """For tanh at |w| ~ 6 the series stops far from the diagonal."""
    rng = np.random.default_rng(2)
    nearly = LONG[:1] + 0.05 * rng.normal(size=(3, 3))
    rows = np.concatenate([LONG, nearly, -1.01 * nearly[:1], 6 * GENERIC])
    exact = polar_dual(np.tanh, rows, np.tanh, rows)
    correlations = rows @ rows.T / np.outer(np.linalg.norm(rows, axis=1), np.linalg.norm(rows, axis=1))
    assert np.sum(np.abs(correlations) > 0.99) > 2 * len(rows)  # nearly collinear and antiparallel, off the diagonal
    assert largest_error(theory.dual("tanh", jnp.asarray(rows)), exact, np.ones_like(exact)) <= DUAL


@pytest.mark.parametrize(("first", "second"), [*((n, n) for n in FUNCTIONS), *MIXED], ids=lambda name: name)
def test_the_dual_is_the_mean_over_many_inputs(first: str, second: str) -> None:
    (s, twin1, _), (q, twin2, _) = FUNCTIONS[first], FUNCTIONS[second]
    inputs = np.random.default_rng(3).normal(size=(40_000, 3))
    rows, partners = (0.3 * ROWS, 0.3 * PARTNERS) if first == "exp" else (ROWS, PARTNERS)  # else its tail is not met
    products = twin1(inputs @ rows.T)[:, :, None] * twin2(inputs @ partners.T)[:, None, :]
    error = np.std(products, axis=0) / np.sqrt(len(inputs))
    ours = theory.dual(s, jnp.asarray(rows), q, jnp.asarray(partners))
    assert np.all(np.abs(np.mean(products, axis=0) - ours) <= SAMPLING * error + QUADRATURE)


@pytest.mark.parametrize(("first", "second"), [("tanh", "tanh"), ("softplus", "silu"), ("erf", "gelu"), ("sin", "exp")])
def test_the_dual_with_biases_is_the_integral(first: str, second: str) -> None:
    (s, twin1, _), (q, twin2, _) = FUNCTIONS[first], FUNCTIONS[second]
    rows1, rows2 = ROWS[:, :2], PARTNERS[:, :2]
    bias1, bias2 = np.linspace(-1.5, 1.5, len(rows1)), np.linspace(1, -2, len(rows2))
    std1, std2 = np.linalg.norm(rows1, axis=1), np.linalg.norm(rows2, axis=1)
    exact, scale = np.empty((len(rows1), len(rows2))), np.empty((len(rows1), len(rows2)))
    for i, j in np.ndindex(exact.shape):
        rho = np.cos(angle(rows1[i], rows2[j]))
        exact[i, j] = plane(twin1, twin2, std1[i], bias1[i], std2[j], bias2[j], rho)
        power1 = plane(twin1, twin1, std1[i], bias1[i], std1[i], bias1[i], 1.0)
        scale[i, j] = np.sqrt(power1 * plane(twin2, twin2, std2[j], bias2[j], std2[j], bias2[j], 1.0))
    ours = theory.dual(s, jnp.asarray(rows1), q, jnp.asarray(rows2), bias1=jnp.asarray(bias1), bias2=jnp.asarray(bias2))
    assert largest_error(ours, exact, scale) <= DUAL


def test_without_second_weights_the_bias_serves_twice() -> None:
    rows, bias = jnp.asarray(GENERIC), jnp.asarray([0.5, -1.0, 2.0])
    once = theory.dual("tanh", rows, bias1=bias)
    assert np.allclose(
        once, theory.dual("tanh", rows, "tanh", rows, bias1=bias, bias2=bias), rtol=IDENTITY, atol=IDENTITY
    )
    assert np.allclose(once, once.T, rtol=IDENTITY, atol=IDENTITY)


@pytest.mark.parametrize("correlation", [0.6, 0.0, -0.9])
@pytest.mark.parametrize("name", ["tanh", "relu", "erf", "gelu", "sign", "square"])
def test_correlated_inputs_are_inputs_of_twice_the_dimension(name: str, correlation: float) -> None:
    """With x' = c x + sqrt(1 - c^2) g: the rows (w, 0) and (c v, sqrt(1 - c^2) v) meet (x, g)."""
    function, twin, _ = FUNCTIONS[name]
    other = np.sqrt(1 - correlation**2)
    doubled1 = np.concatenate([ROWS, np.zeros_like(ROWS)], axis=1)
    doubled2 = np.concatenate([correlation * PARTNERS, other * PARTNERS], axis=1)
    exact = polar_dual(twin, doubled1, twin, doubled2)
    ours = theory.dual(function, jnp.asarray(ROWS), function, jnp.asarray(PARTNERS), correlation=correlation)
    scale = np.outer(norms(twin, ROWS), norms(twin, PARTNERS))
    assert largest_error(ours, exact, scale) <= DUAL


@pytest.mark.parametrize("name", ["tanh", "softplus", "gelu", "relu", "leaky_relu", "abs", "sin", "square"])
def test_the_dual_of_derivatives_is_the_integral(name: str) -> None:
    function, _, slope = FUNCTIONS[name]
    exact = polar_dual(slope, ROWS, slope, ROWS)
    ours = np.asarray(theory.dual(theory.duals.derivative(function), jnp.asarray(ROWS)))
    scale = np.outer(norms(slope, ROWS), norms(slope, ROWS))
    zero = np.all(ROWS == 0, axis=1)
    if name in STEP_SLOPES:  # a zero row stands on the step, where the derivative is a matter of taste
        met = ~(zero[:, None] | zero[None, :])
        assert np.all(np.abs(ours[met] - exact[met]) <= DUAL)
    else:
        assert largest_error(ours, exact, scale) <= DUAL


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gaussian_means_are_the_integral(name: str) -> None:
    function, twin, _ = FUNCTIONS[name]
    stds, means = np.asarray([0.0, 1e-8, 0.4, 1.0, 2.5]), np.asarray([0.7, -0.3, -1.2, 0.0, 2.0])
    exact = [
        scipy.integrate.quad(
            lambda z, h=h, b=b: twin(np.asarray(h * z + b)) * density(z),
            -12,
            12,
            points=[np.clip(-b / h, -12, 12)] if h > 0.1 else None,
            epsabs=1e-14,
            epsrel=1e-13,
            limit=200,
        )[0]
        for h, b in zip(stds, means, strict=True)
    ]
    assert np.allclose(
        theory.duals.gaussian_mean(function, jnp.asarray(stds), jnp.asarray(means)), exact, rtol=DUAL, atol=DUAL
    )


# --- bad input ----------------------------------------------------------------------------------------------------


def test_bad_input_is_told_what_to_pass_instead() -> None:
    rows = jnp.asarray(ROWS)
    with pytest.raises(ValueError, match=r"activation: 'tahn' is not known; pass one of .*tanh"):
        theory.dual("tahn", rows)
    with pytest.raises(ValueError, match=r"bias1: 1 of 7 values are not finite"):
        theory.dual("tanh", rows, bias1=jnp.ones(7).at[3].set(jnp.nan))
    with pytest.raises(ValueError, match=r"activation: is not finite at 0, .*pass a function that is finite"):
        theory.dual(jnp.log, rows)
    with pytest.raises(ValueError, match="among others; pass an elementwise function"):
        theory.dual(lambda x: x - jnp.mean(x), rows)
    with pytest.raises(ValueError, match=r"activation: gave shape .* pass an elementwise function"):
        theory.dual(lambda x: jnp.sum(x, axis=1), rows)


def test_a_callable_that_holds_arrays_has_a_derivative():
    class Scaled(eqx.Module):
        factor: jax.Array

        def __call__(self, x):
            return jnp.sin(self.factor * x)

    slope = theory.duals.derivative(Scaled(jnp.asarray(2.0)))
    assert float(slope(jnp.zeros(1))[0]) == 2.0


def test_rows_that_are_asked_for_again_are_not_expanded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the precision is another by then, or the activation."""
    expansions = []

    def counted(*arguments: object) -> object:
        expansions.append(arguments)
        return expand(*arguments)

    expand = mehler.expand
    monkeypatch.setattr(mehler, "expand", counted)
    mehler._known_side.cache_clear()
    rows = jax.random.normal(jax.random.key(3), (4, 3))
    first = [theory.dual("tanh", rows, "sin", 2 * rows, correlation=correlation) for correlation in (0.2, 0.9)]
    assert len(expansions) == 2
    np.testing.assert_array_equal(first[1], theory.dual("tanh", rows, "sin", 2 * rows, correlation=0.9))
    assert len(expansions) == 2
    with jax.enable_x64(False):
        theory.dual("tanh", rows.astype(jnp.float32), correlation=0.9)
    assert len(expansions) == 3
    theory.dual("tanh", rows)
    assert len(expansions) == 4


def test_an_activation_that_breaks_is_called_no_second_time() -> None:
    calls = []

    def broken(x: jax.Array) -> jax.Array:
        calls.append(x)
        raise TypeError("of the activation itself")

    with pytest.raises(TypeError, match="of the activation itself"):
        theory.dual(broken, jnp.ones((2, 2)))
    assert len(calls) == 1
