"""Gaussian duals against integrals that never saw a formula: polar and plane quadrature, Monte Carlo, a table."""

import functools
import warnings
from collections.abc import Callable
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

import theory
from tests.tolerances import (
    DUAL,
    DUAL_FLOOR,
    ESTIMATE,
    FINITE_DIFFERENCE,
    FLOAT32,
    IDENTITY,
    QUADRATURE,
    ROUNDED_STEP,
    SAMPLING,
)

REFERENCE = Path(__file__).parents[3] / ".." / "shared" / "data" / "duals.npz"

Function = Callable[[np.ndarray], np.ndarray]


def _density(x: np.ndarray) -> np.ndarray:
    return np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)


def _sigmoid_slope(x: np.ndarray) -> np.ndarray:
    return scipy.special.expit(x) * scipy.special.expit(-x)


# Each with a numpy twin, and the derivative worked out by hand.
FUNCTIONS: dict[str, tuple[str | theory.duals.activations.Activation, Function, Function]] = {
    "tanh": ("tanh", np.tanh, lambda x: np.cosh(np.clip(x, -300, 300)) ** -2.0),
    "sigmoid": ("sigmoid", scipy.special.expit, _sigmoid_slope),
    "softplus": ("softplus", lambda x: np.logaddexp(0, x), scipy.special.expit),
    "silu": ("silu", lambda x: x * scipy.special.expit(x), lambda x: scipy.special.expit(x) + x * _sigmoid_slope(x)),
    "erf": ("erf", scipy.special.erf, lambda x: 2 / np.sqrt(np.pi) * np.exp(-(x**2))),
    "gelu": ("gelu", lambda x: x * scipy.special.ndtr(x), lambda x: scipy.special.ndtr(x) + x * _density(x)),
    "relu": ("relu", lambda x: np.maximum(x, 0), lambda x: 1.0 * (x > 0)),
    "leaky_relu": (
        theory.duals.leaky_relu(0.1),
        lambda x: np.where(x > 0, x, 0.1 * x),
        lambda x: np.where(x > 0, 1, 0.1),
    ),
    "abs": ("abs", np.abs, np.sign),
    "sign": ("sign", np.sign, np.zeros_like),
    "sin": ("sin", np.sin, np.cos),
    "cos": ("cos", np.cos, lambda x: -np.sin(x)),
    "exp": ("exp", np.exp, np.exp),
    "gaussian": ("gaussian", lambda x: np.exp(-(x**2)), lambda x: -2 * x * np.exp(-(x**2))),
    "identity": ("identity", lambda x: x, np.ones_like),
    "square": (jnp.square, np.square, lambda x: 2 * x),
    "cube": (lambda x: x**3, lambda x: x**3, lambda x: 3 * x**2),
}
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

GENERIC = np.random.default_rng(0).normal(size=(3, 3)) * np.asarray([[0.3], [1.0], [1.5]])
LONG = np.asarray([[3.0, -4.0, 3.0], [-2.0, 5.0, 3.0]])  # |w| of 5.8 and 6.2, where tanh's series is slow
ROWS = np.concatenate(
    [
        GENERIC,
        2.5 * GENERIC[1:2],  # collinear
        -0.7 * GENERIC[2:3],  # antiparallel
        1e-9 * GENERIC[:1] + 1e-9,  # tiny
        np.zeros((1, 3)),
    ]
)
PARTNERS = np.concatenate([ROWS[::2], np.random.default_rng(1).normal(size=(2, 3))])


def rows_for(name: str) -> np.ndarray:
    return ROWS if name == "exp" else np.concatenate([ROWS, LONG])


# --- the twins -------------------------------------------------------------------------------------------------------


def angle(w: np.ndarray, v: np.ndarray) -> float:
    """Between two rows; exact to rounding where they are collinear, unlike the arc cosine."""
    if not (w.any() and v.any()):
        return np.pi / 2
    w, v = w / np.linalg.norm(w), v / np.linalg.norm(v)
    return 2 * np.arctan2(np.linalg.norm(w - v), np.linalg.norm(w + v))


@functools.cache
def _legendre(num_points: int) -> tuple[np.ndarray, np.ndarray]:
    return np.polynomial.legendre.leggauss(num_points)


def polar(first: Function, length1: float, second: Function, length2: float, phi: float, points: int = 110) -> float:
    """E s(|w| g) q(|v| g') at angle phi, in polar coordinates; arcs end on the lines where u or v changes its sign."""
    edges = np.sort([-np.pi / 2, phi - np.pi / 2, np.pi / 2, phi + np.pi / 2, 3 * np.pi / 2])
    node, weight = _legendre(points)
    theta = (edges[:-1, None] + np.diff(edges)[:, None] * (1 + node) / 2).ravel()
    theta_weight = (np.diff(edges)[:, None] * weight / 2).ravel()
    radius, radius_weight = 6.5 * (1 + node), 6.5 * weight
    along, across = np.outer(np.cos(theta), radius), np.outer(np.cos(theta - phi), radius)
    values = first(length1 * along) * second(length2 * across)
    return float(theta_weight @ values @ (radius_weight * radius * np.exp(-(radius**2) / 2)) / (2 * np.pi))


def polar_dual(first: Function, rows1: np.ndarray, second: Function, rows2: np.ndarray) -> np.ndarray:
    lengths1, lengths2 = np.linalg.norm(rows1, axis=1), np.linalg.norm(rows2, axis=1)
    return np.asarray(
        [
            [polar(first, a, second, b, angle(w, v)) for v, b in zip(rows2, lengths2, strict=True)]
            for w, a in zip(rows1, lengths1, strict=True)
        ]
    )


def plane(first: Function, second: Function, std1: float, mean1: float, std2: float, mean2: float, rho: float) -> float:
    """E s(u) q(v), by the trapezoid rule on a square of independent normal variables: for smooth functions."""
    grid = np.linspace(-13, 13, 500)
    weight = _density(grid) * (grid[1] - grid[0])
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


# --- the stored table ------------------------------------------------------------------------------------------------

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


# --- values ----------------------------------------------------------------------------------------------------------


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
    zero = ~ROWS.any(axis=1)
    if name in STEP_SLOPES:  # a zero row stands on the step, where the derivative is a matter of taste
        met = ~(zero[:, None] | zero[None, :])
        assert np.all((np.abs(ours - exact) <= DUAL)[met])
    else:
        assert largest_error(ours, exact, scale) <= DUAL


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name != "sign"])
def test_gaussian_means_are_the_integral(name: str) -> None:
    function, twin, _ = FUNCTIONS[name]
    stds, means = np.asarray([0.0, 1e-8, 0.4, 1.0, 2.5]), np.asarray([0.7, -0.3, -1.2, 0.0, 2.0])
    exact = [
        scipy.integrate.quad(
            lambda z, h=h, b=b: twin(np.asarray(h * z + b)) * _density(z),
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


# --- norms from 1e-6 to 1e4, angles from 1e-12 to pi -----------------------------------------------------------------


def _of_moments(name: str, p: mpmath.mpf, q: mpmath.mpf, c: mpmath.mpf, root: mpmath.mpf) -> mpmath.mpf:
    """Textbook forms, in variances p and q, covariance c and sqrt(p q - c^2)."""
    arc = mpmath.atan2(c, root)
    forms = {
        "identity": lambda: c,
        "sign": lambda: 2 / mpmath.pi * arc,
        "step": lambda: mpmath.mpf(1) / 4 + arc / (2 * mpmath.pi),
        "abs": lambda: 2 / mpmath.pi * (root + c * arc),
        "relu": lambda: c / 4 + (root + c * arc) / (2 * mpmath.pi),
        "erf": lambda: 2 / mpmath.pi * mpmath.asin(2 * c / mpmath.sqrt((1 + 2 * p) * (1 + 2 * q))),
        "gaussian": lambda: 1 / mpmath.sqrt((1 + 2 * p) * (1 + 2 * q) - 4 * c**2),
        "sin": lambda: mpmath.exp(-(p + q) / 2) * mpmath.sinh(c),
        "cos": lambda: mpmath.exp(-(p + q) / 2) * mpmath.cosh(c),
        "exp": lambda: mpmath.exp((p + q) / 2 + c),
        "gelu": lambda: _of_gelu(p, q, c),
    }
    return forms[name]()


def _of_gelu(p: mpmath.mpf, q: mpmath.mpf, c: mpmath.mpf) -> mpmath.mpf:
    """Cho and Saul's way: by Stein from E Phi Phi and E phi phi."""
    density = 1 / (2 * mpmath.pi * mpmath.sqrt((1 + p) * (1 + q) - c**2))
    both = mpmath.mpf(1) / 4 + mpmath.asin(c / mpmath.sqrt((1 + p) * (1 + q))) / (2 * mpmath.pi)
    return p * (q - c**2 / (1 + p)) * density + c * (both + c * density / (1 + q))


EXTREME = ["identity", "sign", "step", "abs", "relu", "erf", "gaussian", "sin", "cos", "exp", "gelu"]


@pytest.mark.parametrize("name", EXTREME)
def test_closed_forms_hold_their_promise_at_any_norm_and_angle(name: str) -> None:
    """150 pairs each, half of them nearly collinear, many as long as each other; in 50 digits from the same rows."""
    rng = np.random.default_rng(EXTREME.index(name))
    function = theory.duals.derivative("relu") if name == "step" else name
    errors = []
    for _ in range(150):
        norm = 10 ** rng.uniform(-6, 4 if name != "exp" else 1)
        partner = norm * rng.choice([1.0, 1 + 10 ** rng.uniform(-12, -1), 10 ** rng.uniform(-6, 0)])
        phi = rng.choice([10 ** rng.uniform(-12, -4), np.pi - 10 ** rng.uniform(-12, -4), rng.uniform(0, np.pi), 0.0])
        frame, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        w, v = norm * frame[0], partner * (np.cos(phi) * frame[0] + np.sin(phi) * frame[1])
        ours = float(theory.dual(function, jnp.asarray(w[None]), function, jnp.asarray(v[None]))[0, 0])
        with mpmath.workdps(50):
            w, v = ([mpmath.mpf(float(x)) for x in row] for row in (w, v))
            p, q, c = mpmath.fdot(w, w), mpmath.fdot(v, v), mpmath.fdot(w, v)
            root = mpmath.sqrt(sum((w[i] * v[j] - w[j] * v[i]) ** 2 for i, j in ((0, 1), (0, 2), (1, 2))))
            zero = mpmath.mpf(0)
            scale = mpmath.sqrt(_of_moments(name, p, p, p, zero) * _of_moments(name, q, q, q, zero))
            errors.append(float(abs(ours - _of_moments(name, p, q, c, root)) / scale))
    print(f"{name}: largest error {max(errors):.1e}, median {np.median(errors):.1e}")
    assert max(errors) <= DUAL


@pytest.mark.parametrize("name", ["tanh", "sign", "sin"])
@pytest.mark.parametrize("angle", [1e-8, 1e-4])
def test_series_and_quadrature_know_the_angle_of_nearly_collinear_rows_too(name: str, angle: float) -> None:
    """1 - E s s = angle^2 E s'^2 / 2 for smooth ones, and 2 angle / pi for the sign: neither is seen in rho = 1."""
    first, second = jnp.asarray([[1.0, 0.0]]), jnp.asarray([[np.cos(angle), np.sin(angle)]])
    estimate = theory.duals.dual_estimate(name, first, name, second)
    exact = 1 - 2 * angle / np.pi if name == "sign" else polar(FUNCTIONS[name][1], 1.0, FUNCTIONS[name][1], 1.0, angle)
    assert abs(float(estimate.values[0, 0]) - exact) <= max(ESTIMATE * estimate.error, DUAL)


# --- honesty ---------------------------------------------------------------------------------------------------------


def kinked_dual(std1: float, std2: float, rho: float, shift: float) -> float:
    """E relu(u + b) relu(v + b): the inner mean by formula, the outer by adaptive quadrature split at the kink."""
    spread = std2 * np.sqrt((1 - rho) * (1 + rho))

    def integrand(z: float) -> float:
        mean = std2 * rho * z + shift
        inner = max(mean, 0.0)
        if spread > 0:
            inner = mean * scipy.stats.norm.cdf(mean / spread) + spread * scipy.stats.norm.pdf(mean / spread)
        return max(std1 * z + shift, 0.0) * inner * float(_density(np.asarray(z)))

    kink = -shift / std1
    return sum(scipy.integrate.quad(integrand, a, b, epsabs=1e-13, limit=200)[0] for a, b in ((-12, kink), (kink, 12)))


def steep(x: jax.Array) -> jax.Array:
    return jnp.tanh(30 * x)


def ripple(x: jax.Array) -> jax.Array:
    return jnp.sin(25 * x) + x


HONEST = {
    "tanh": (jnp.tanh, np.tanh),
    "steep tanh": (steep, lambda x: np.tanh(30 * x)),
    "ripple": (ripple, lambda x: np.sin(25 * x) + x),
    "x |x|": (lambda x: x * jnp.abs(x), lambda x: x * np.abs(x)),
    "runge": (lambda x: 1 / (1 + 25 * x**2), lambda x: 1 / (1 + 25 * x**2)),
    "sqrt |x|": (lambda x: jnp.sqrt(jnp.abs(x)), lambda x: np.sqrt(np.abs(x))),
}


@pytest.mark.parametrize("name", HONEST)
def test_the_estimated_error_is_honest(name: str) -> None:
    function, twin = HONEST[name]
    exact = np.asarray(
        [[polar(twin, a, twin, b, phi, points=220) for a, b in ((1.0, 1.0), (0.4, 2.0))] for phi in (0.0, 0.01, 1.0)]
    )
    for i, phi in enumerate((0.0, 0.01, 1.0)):
        for j, (a, b) in enumerate(((1.0, 1.0), (0.4, 2.0))):
            first, second = jnp.asarray([[a, 0.0]]), jnp.asarray([[b * np.cos(phi), b * np.sin(phi)]])
            estimate = theory.duals.dual_estimate(function, first, function, second)
            power1, power2 = polar(twin, a, twin, a, 0.0, points=220), polar(twin, b, twin, b, 0.0, points=220)
            true_error = abs(float(estimate.values[0, 0]) - exact[i, j]) / np.sqrt(power1 * power2)
            assert true_error <= max(estimate.error, DUAL)


@pytest.mark.parametrize("shift", [0.3, -1.0])
@pytest.mark.parametrize("rho", [1.0, 0.999, 0.5, -0.8])
def test_the_estimated_error_covers_a_kink_away_from_zero(shift: float, rho: float) -> None:
    first, second = jnp.asarray([[0.9, 0.0]]), 1.4 * jnp.asarray([[rho, np.sqrt(1 - rho**2)]])

    def shifted(x: jax.Array) -> jax.Array:
        return jax.nn.relu(x + shift)

    estimate = theory.duals.dual_estimate(shifted, first, shifted, second)
    scale = np.sqrt(kinked_dual(0.9, 0.9, 1.0, shift) * kinked_dual(1.4, 1.4, 1.0, shift))
    true_error = abs(float(estimate.values[0, 0]) - kinked_dual(0.9, 1.4, rho, shift)) / scale
    assert true_error <= max(estimate.error, DUAL)
    assert estimate.error < 1e-2  # and not by crying wolf


@pytest.mark.parametrize("jitted", [False, True])
def test_a_kink_away_from_zero_is_warned_of(jitted: bool) -> None:
    rows, bias = jnp.asarray(GENERIC), jnp.asarray([0.5, -0.2, 1.0])

    def with_bias(rows: jax.Array) -> jax.Array:
        return theory.dual("relu", rows, bias1=bias)

    with pytest.warns(theory.duals.AccuracyWarning, match=r"the estimated error is .* kink or a jump away from zero"):
        values = np.asarray(jax.jit(with_bias)(rows) if jitted else with_bias(rows))
    assert np.all(np.isfinite(values))


def test_smooth_activations_and_kinks_at_zero_are_not_warned_of() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        theory.dual("tanh", jnp.asarray(rows_for("tanh")), bias1=jnp.linspace(-1, 1, 9))
        theory.dual("tanh", jnp.asarray(ROWS), "relu", jnp.asarray(PARTNERS))


@pytest.mark.parametrize("std", [2.0, 6.0, 8.0, 15.0])
@pytest.mark.parametrize("angle", [0.0, 0.01, 1.0, 3.1])
def test_what_grows_is_followed_as_far_as_its_weight_lies(std: float, angle: float) -> None:
    """E exp(u) exp(v), whose weight lies at z = 2 std; over sqrt(E s^2 E q^2) it is exp(-|w - v|^2 / 2)."""
    first, second = jnp.asarray([[std, 0.0]]), std * jnp.asarray([[np.cos(angle), np.sin(angle)]])
    estimate = theory.duals.dual_estimate(lambda z: jnp.exp(z), first, lambda z: jnp.exp(z), second)
    exact = np.exp(-2 * (std * np.sin(angle / 2)) ** 2)
    assert abs(estimate.values[0, 0] * np.exp(-2 * std**2) - exact) <= DUAL
    assert estimate.error <= DUAL
    mean = theory.duals.gaussian_mean(lambda z: jnp.exp(z), jnp.asarray([std]), jnp.zeros(1))
    assert abs(mean[0] * np.exp(-(std**2) / 2) - 1) <= DUAL


@pytest.mark.parametrize("growth", [0.125, 0.2, 0.24, 0.25, 0.3])
def test_growth_is_followed_or_refused(growth: float) -> None:
    """E exp(2 c z^2) = (1 - 4 c)^(-1/2), which is out of reach at c = 0.24 and infinite from c = 1/4 on."""

    def function(z: jax.Array) -> jax.Array:
        return jnp.exp(growth * z**2)

    if growth < 0.24:
        assert abs(theory.dual(function, jnp.ones((1, 1)))[0, 0] * np.sqrt(1 - 4 * growth) - 1) <= DUAL
    else:
        with pytest.raises(ValueError, match=r"activation: .* smaller weights"):
            theory.dual(function, jnp.ones((1, 1)))


NARROW: dict[str, tuple[theory.duals.activations.Activation, float]] = {
    **{
        f"bump of {width}": (
            lambda z, w=width: jnp.exp(-(((z - 0.7) / w) ** 2)),
            width / 2 * float(np.exp(-0.245)),
        )
        for width in (1e-2, 1e-3, 1e-4)
    },
    **{f"wave of {turns:g}": (lambda z, k=turns: jnp.sin(k * z), 0.5) for turns in (1e2, 1e4, 1e6)},
}


@pytest.mark.parametrize("name", NARROW)
def test_what_is_narrower_than_a_panel_is_noticed(name: str) -> None:
    """E s^2 of a bump exp(-(z - b)^2 / w^2) is w / 2 exp(-b^2 / 2) but for O(w^2), of a fast wave 1/2."""
    function, power = NARROW[name]
    estimate = theory.duals.dual_estimate(function, jnp.ones((1, 1)))
    missed = abs(estimate.values[0, 0] - power) / power
    assert missed <= max(ESTIMATE * estimate.error, DUAL)
    assert estimate.error > 0.1
    with pytest.warns(theory.duals.AccuracyWarning, match=r"the estimated error is .* features that are too narrow"):
        theory.dual(function, jnp.ones((1, 1)))
    with pytest.warns(theory.duals.AccuracyWarning, match="the estimated error is"):
        theory.duals.gaussian_mean(function, jnp.ones(1), jnp.zeros(1))


ROUGH: dict[str, tuple[theory.duals.activations.Activation, Function]] = {
    "sign": (jnp.sign, np.sign),
    "step": (lambda x: jnp.where(x > 0, 1.0, 0.0), lambda x: 1.0 * (x > 0)),
    "relu": (jax.nn.relu, lambda x: np.maximum(x, 0)),
    "tanh": (jnp.tanh, np.tanh),
}


@pytest.mark.parametrize("first", ROUGH)
@pytest.mark.parametrize("second", ROUGH)
def test_the_estimated_error_is_honest_for_kinks_and_jumps_at_any_angle(first: str, second: str) -> None:
    """A sign within an angle of 1e-4 of another turns where no node is, unless the panels next to zero are halved."""
    (s, twin1), (q, twin2) = ROUGH[first], ROUGH[second]
    rng = np.random.default_rng([list(ROUGH).index(first), list(ROUGH).index(second)])
    optimism = []
    for _ in range(8):
        a, b = 10 ** rng.uniform(-1, 0.7, 2)
        phi = rng.choice([10 ** rng.uniform(-9, -1), np.pi - 10 ** rng.uniform(-9, -1), rng.uniform(0, np.pi)])
        rows, partners = jnp.asarray([[a, 0.0]]), b * jnp.asarray([[np.cos(phi), np.sin(phi)]])
        estimate = theory.duals.dual_estimate(s, rows, q, partners)
        scale = np.sqrt(polar(twin1, a, twin1, a, 0.0) * polar(twin2, b, twin2, b, 0.0))
        true_error = abs(float(estimate.values[0, 0]) - polar(twin1, a, twin2, b, phi)) / scale
        optimism.append(true_error / max(estimate.error, DUAL))
    print(f"{first}, {second}: true / claimed at most {max(optimism):.2g}")
    assert max(optimism) <= ESTIMATE


# --- derivatives -----------------------------------------------------------------------------------------------------

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


# --- identities ------------------------------------------------------------------------------------------------------

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


# --- bad input -------------------------------------------------------------------------------------------------------


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
