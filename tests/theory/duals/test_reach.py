"""Duals at norms from 1e-6 to 1e4 and angles from 1e-12 to pi, and what is claimed of their errors."""

import warnings

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats

import theory
from tests.theory.duals.functions import FUNCTIONS, GENERIC, PARTNERS, ROWS, Function, density, polar, rows_for
from tests.tolerances import DUAL, ESTIMATE

# --- norms from 1e-6 to 1e4, angles from 1e-12 to pi --------------------------------------------------------------


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


# --- honesty ------------------------------------------------------------------------------------------------------


def kinked_dual(std1: float, std2: float, rho: float, shift: float) -> float:
    """E relu(u + b) relu(v + b): the inner mean by formula, the outer by adaptive quadrature split at the kink."""
    spread = std2 * np.sqrt((1 - rho) * (1 + rho))

    def integrand(z: float) -> float:
        mean = std2 * rho * z + shift
        inner = max(mean, 0.0)
        if spread > 0:
            inner = mean * scipy.stats.norm.cdf(mean / spread) + spread * scipy.stats.norm.pdf(mean / spread)
        return max(std1 * z + shift, 0.0) * inner * float(density(np.asarray(z)))

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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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
