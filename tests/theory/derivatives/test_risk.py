"""Derivatives of the risk and of its minimum, against curves at nearby settings that know no derivative."""

import equinox as eqx
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import scipy.optimize
from hypothesis import given
from hypothesis import strategies as st

import theory
from tests.problems import CASES, named
from tests.tolerances import (
    BETA_MOMENT,
    FINITE_DIFFERENCE,
    FLOAT32,
    IDENTITY,
    MATRIX_DERIVATIVE,
    TURNING,
    TURNING_RISK,
)
from theory.spectrum import from_moments

# --- the law of the ratio --------------------------------------------------------------------------------------------

ALPHAS = (0.05, 0.2, 1.0, 2.5, 10.0)


def mp_moment(alpha: mpmath.mpf, order: int) -> mpmath.mpf:
    return mpmath.beta(alpha + order, alpha) / mpmath.beta(alpha, alpha)


@pytest.mark.parametrize("num_nodes", [2, 3, 7, 12])
@pytest.mark.parametrize("alpha", [alpha for alpha in ALPHAS if alpha <= 2])
def test_weights_at_fixed_nodes_are_exact_up_to_one_degree_below_their_number(alpha: float, num_nodes: int) -> None:
    nodes, weights = theory.derivatives.beta_weights(alpha, num_nodes)
    slopes = jax.jacfwd(lambda alpha: theory.derivatives.beta_weights(alpha, num_nodes)[1])(alpha)
    for order in range(num_nodes):
        powers = jnp.asarray(nodes**order)
        assert float(weights @ powers) == pytest.approx(float(mp_moment(mpmath.mpf(alpha), order)), rel=BETA_MOMENT)
        slope = float(mpmath.diff(lambda alpha, order=order: mp_moment(alpha, order), alpha))
        assert float(slopes @ powers) == pytest.approx(slope, rel=BETA_MOMENT, abs=BETA_MOMENT)


@pytest.mark.parametrize("alpha", [2.2, 3.5, 10.0])
def test_keeping_the_weights_positive_costs_little_where_the_nodes_resolve_the_law(alpha: float) -> None:
    nodes, weights = theory.derivatives.beta_weights(alpha, 24)
    for order in range(24):
        assert float(weights @ jnp.asarray(nodes**order)) == pytest.approx(
            float(mp_moment(mpmath.mpf(alpha), order)), abs=3e-6
        )


def test_at_alpha_two_they_are_gauss_jacobi_between_the_ends_and_as_exact_as_that() -> None:
    nodes, weights = theory.derivatives.beta_weights(2.0, 7)
    gauss_nodes, gauss_weights = theory.noise.beta_quadrature(2.0, 5)
    assert np.allclose(nodes, [0, *gauss_nodes, 1], rtol=0, atol=IDENTITY)
    assert np.allclose(weights, [0, *gauss_weights, 0], rtol=0, atol=IDENTITY)


def test_at_small_alpha_half_of_the_law_is_at_each_end() -> None:
    _, weights = theory.derivatives.beta_weights(1e-4, 12)
    assert np.allclose(weights[jnp.asarray([0, -1])], 0.5, rtol=0, atol=1e-3)  # some alphas are spread over the rest


@given(st.floats(-4, 3).map(lambda e: min(max(10.0**e, 1e-4), 1e3)), st.sampled_from([2, 5, 12, 24]))
def test_weights_are_probabilities_and_symmetric_at_every_alpha(alpha: float, num_nodes: int) -> None:
    _, weights = theory.derivatives.beta_weights(jnp.asarray(alpha), num_nodes)
    assert np.all(np.asarray(weights) >= 0)
    assert float(jnp.sum(weights)) == pytest.approx(1, abs=IDENTITY)
    assert np.allclose(weights, weights[::-1], rtol=0, atol=IDENTITY)


def test_smooth_functions_converge_to_what_moving_nodes_find() -> None:
    nodes, weights = theory.derivatives.beta_weights(0.4, 16)
    gauss_nodes, gauss_weights = theory.noise.beta_quadrature(0.4, 16)
    assert float(weights @ np.exp(-nodes)) == pytest.approx(gauss_weights @ np.exp(-gauss_nodes), rel=BETA_MOMENT)


# --- values ----------------------------------------------------------------------------------------------------------

GRID = np.concatenate([[0.0], np.geomspace(1e-2, 1e4, 40)])
STEPS = np.unique(np.round(np.concatenate([[0], np.geomspace(1, 1e5, 40)])))
TALL = [case for case in CASES if case.problem.features.shape == (24, 8)]
TURNING_BACK = ("tall", "duplicated rows, tall", "power law")


def moments_of(problem: object) -> theory.derivatives.Moments:
    return theory.derivatives.Moments.of_rows(problem.features, problem.labels, problem.clean_labels)


@pytest.mark.parametrize("case", TALL, ids=lambda case: case.name)
def test_turning_points_are_those_of_the_curve(case: object) -> None:
    problem = case.problem
    spectrum = problem.spectrum("gram")
    for rule, grid in ((theory.GradientFlow(1e-3), GRID), (theory.GradientDescent(0.5, 1e-3), STEPS)):
        curve = theory.risk_curve(spectrum, problem.population, rule, grid)
        ours = theory.derivatives.turning_risk(moments_of(problem), problem.population, rule, jnp.asarray(grid))
        assert float(ours.risk) == pytest.approx(float(curve.turning_risk), rel=TURNING_RISK)
        assert ours.risk <= curve.risk.min() * (1 + TURNING_RISK)
        if case.name in TURNING_BACK:  # elsewhere the risk settles, and all late times are as good
            assert float(ours.time) == pytest.approx(float(curve.turning_time), rel=TURNING)


def test_risk_and_its_parts_are_those_of_the_spectrum() -> None:
    problem, rule, times = named("tall"), theory.GradientFlow(0.1), jnp.asarray([*GRID[1:], np.inf])
    parts = theory.risk.risk_parts(problem.spectrum(), problem.population, rule, times)
    ours = theory.derivatives.differentiable_parts(moments_of(problem), problem.population, rule, times)
    alone = theory.derivatives.differentiable_risk(moments_of(problem), problem.population, rule, times)
    for found, expected in zip(jax.tree.leaves(ours), jax.tree.leaves(parts), strict=True):
        assert np.allclose(found, expected, rtol=MATRIX_DERIVATIVE, atol=MATRIX_DERIVATIVE)
    assert np.allclose(alone, parts.risk, rtol=MATRIX_DERIVATIVE)


def test_independent_label_noise_adds_its_mean_to_risk_and_noise() -> None:
    problem, rule, times = named("tall"), theory.GradientFlow(0.1), jnp.asarray(GRID)
    expected = theory.labels.risk_over_labels(
        problem.spectrum(), problem.population, problem.features, rule, times, 0.7
    )
    moments = moments_of(problem)
    ours = theory.derivatives.differentiable_parts(moments, problem.population, rule, times, label_noise_variance=0.7)
    assert np.allclose(ours.risk, expected.mean, rtol=MATRIX_DERIVATIVE)
    assert np.allclose(ours.risk, ours.clean + ours.noise + ours.cross, rtol=MATRIX_DERIVATIVE)


@given(st.floats(0, 10))
def test_risk_is_linear_in_the_variance_of_label_noise(variance: float) -> None:
    problem = named("tall")

    def risk(variance: float) -> jax.Array:
        return compiled_risk(moments_of(problem), problem.population, jnp.asarray(variance))

    mixed = (1 - variance) * risk(0.0) + variance * risk(1.0)
    assert np.allclose(risk(variance), mixed, rtol=0, atol=IDENTITY * (1 + variance))


@eqx.filter_jit
def compiled_risk(moments: theory.derivatives.Moments, averages: theory.Averages, variance: jax.Array) -> jax.Array:
    times = jnp.asarray([0.0, 1.0, 30.0, jnp.inf])
    return theory.derivatives.differentiable_risk(
        moments, averages, theory.GradientFlow(), times, label_noise_variance=variance
    )


# --- a problem whose moments are polynomials of the ratio ------------------------------------------------------------

RNG = np.random.default_rng(41)
INPUTS, TEST_INPUTS = RNG.normal(size=(12, 3)), RNG.normal(size=(15, 3))
NUM_NODES = 6  # products of quadratic features are of degree 4 in the ratio
SETTINGS = {"alpha": 0.6, "ridge": 0.01, "label_noise_variance": 0.4, "scale": 1.3}


def truth(inputs: np.ndarray) -> np.ndarray:
    return np.stack([inputs[:, 0] + inputs[:, 1] ** 2, inputs[:, 1] * inputs[:, 2]], axis=1)


def features(inputs: np.ndarray, scale: float | jax.Array) -> jax.Array:
    """Squares and the inputs themselves, the first of them as large as one likes."""
    unscaled = np.concatenate([inputs, inputs**2], axis=1) / 3
    return jnp.asarray(unscaled) * jnp.asarray([1.0, 0, 0, 0, 0, 0])[None, :] * (scale - 1) + jnp.asarray(unscaled)


def moments_at(lam: float, scale: float | jax.Array) -> theory.derivatives.Moments:
    """All pairs at one ratio; a unit of noise on an original reaches all rows that it is a parent of."""
    first, second = (index.ravel() for index in np.indices((len(INPUTS), len(INPUTS))))
    phi = features(lam * INPUTS[first] + (1 - lam) * INPUTS[second], scale)
    mixing = lam * np.eye(len(INPUTS))[first] + (1 - lam) * np.eye(len(INPUTS))[second]
    noise_force = phi.T @ jnp.asarray(mixing) / len(phi)
    return theory.derivatives.Moments(
        phi.T @ phi / len(phi), noise_force @ jnp.asarray(truth(INPUTS)), None, noise_force
    )


def held_out(scale: float | jax.Array) -> theory.TestSet:
    return theory.TestSet(features(TEST_INPUTS, scale), truth(TEST_INPUTS))


def rule_of(kind: type[theory.Rule], settings: dict) -> theory.Rule:
    return kind(**{name: settings[name] for name in ("step_size", "ridge") if name in settings})


def minimal_risk(settings: dict, kind: type[theory.Rule], grid: jax.Array) -> jax.Array:
    nodes, _ = theory.derivatives.beta_weights(1.0, NUM_NODES)
    over_ratios = theory.derivatives.MomentsOverRatios.stacked([moments_at(lam, settings["scale"]) for lam in nodes])
    moments, averages = over_ratios.at(settings["alpha"]), held_out(settings["scale"])
    variance = settings["label_noise_variance"]
    return theory.derivatives.turning_risk(
        moments, averages, rule_of(kind, settings), grid, label_noise_variance=variance
    ).risk


value_and_slopes = eqx.filter_jit(eqx.filter_value_and_grad(minimal_risk))


def by_the_curve(settings: dict, kind: type[theory.Rule], grid: np.ndarray) -> float:
    """The same from Gauss-Jacobi nodes, a spectrum and a minimum by scipy, or by trying all steps."""
    nodes, weights = theory.noise.beta_quadrature(settings["alpha"], NUM_NODES)
    each = [moments_at(lam, settings["scale"]) for lam in nodes]
    second, force, smoother = (
        sum(w * getattr(m, name) for w, m in zip(weights, each, strict=True))
        for name in ("second_moment", "force", "noise_force")
    )
    spectrum = from_moments(second, force, jnp.ones(2), num_rows=len(INPUTS) ** 2)
    smoother, averages = smoother.T * len(INPUTS), held_out(settings["scale"])
    rule = jax.tree.map(jnp.asarray, rule_of(kind, settings))

    def risk(t: np.ndarray) -> np.ndarray:
        over = theory.labels.risk_over_labels(
            spectrum, averages, smoother, rule, jnp.asarray(t), settings["label_noise_variance"]
        )
        return np.asarray(jnp.sum(over.mean, axis=1))

    lowest = int(np.argmin(risk(grid)))
    low, high = grid[lowest - 1], grid[min(lowest + 1, len(grid) - 1)]
    if rule.counts_steps:
        return float(np.min(risk(np.arange(low, high + 1))))
    near = scipy.optimize.minimize_scalar(
        lambda log_t: risk(np.exp([log_t]))[0], bounds=np.log([low, high]), method="bounded", options={"xatol": 1e-9}
    )
    return min(float(near.fun), float(np.min(risk(grid))))


CURVES = {
    "turns": (theory.GradientFlow, {}, GRID),
    "stops before it turns": (theory.GradientFlow, {}, GRID / 1e3),
    "turns at a step": (theory.GradientDescent, {"step_size": 0.21}, STEPS),
}


@pytest.mark.slow
@pytest.mark.parametrize("curve", CURVES)
def test_the_minimal_risk_moves_as_curves_at_nearby_settings_do(curve: str) -> None:
    kind, more, grid = CURVES[curve]
    settings, step = {**SETTINGS, **more}, 1e-5
    value, slopes = value_and_slopes(jax.tree.map(jnp.asarray, settings), kind, jnp.asarray(grid))
    assert float(value) == pytest.approx(by_the_curve(settings, kind, grid), rel=TURNING_RISK)
    for key in settings:
        above, below = (by_the_curve({**settings, key: settings[key] + by}, kind, grid) for by in (step, -step))
        assert float(slopes[key]) == pytest.approx((above - below) / (2 * step), rel=FINITE_DIFFERENCE, abs=1e-9), key
        assert slopes[key] != 0


def test_forward_reverse_and_batches_agree() -> None:
    settings, grid = jax.tree.map(jnp.asarray, SETTINGS), jnp.asarray(GRID)

    def along_ridge(settings: dict, ridge: jax.Array) -> tuple[jax.Array, jax.Array]:
        def sought(ridge: jax.Array) -> jax.Array:
            return minimal_risk({**settings, "ridge": ridge}, theory.GradientFlow, grid)

        return jax.jvp(sought, (ridge,), (jnp.ones(()),))

    ridges = jnp.asarray([0.0, 0.01, 0.3])
    values, forward = jax.jit(jax.vmap(along_ridge, (None, 0)))(settings, ridges)
    for ridge, *batched in zip(ridges, values, forward, strict=True):
        value, slopes = value_and_slopes({**settings, "ridge": ridge}, theory.GradientFlow, grid)
        assert np.allclose(batched, (value, slopes["ridge"]), rtol=MATRIX_DERIVATIVE)


@pytest.mark.parametrize("kind", ["test set", "population"])
def test_the_risk_at_all_times_moves_as_the_spectrum_says(kind: str) -> None:
    times, direction = jnp.asarray([0.3, 3.0, 100.0]), 1e-5

    def averages(scale: jax.Array) -> theory.Averages:
        test = held_out(scale)
        if kind == "test set":
            return test
        cross = test.features.T @ test.targets / len(test.targets)
        return theory.Population(test.second_moment, cross, test.target_power_by_target)

    @jax.jit
    def risk(scale: jax.Array, times: jax.Array) -> jax.Array:
        moments, rule = moments_at(0.3, scale), theory.GradientFlow()
        return theory.derivatives.differentiable_risk(moments, averages(scale), rule, times, label_noise_variance=0.4)

    scale = jnp.asarray(1.3)
    _, by_scale = jax.jvp(lambda scale: risk(scale, times), (scale,), (jnp.ones(()),))
    _, by_time = jax.jvp(lambda times: risk(scale, times), (times,), (jnp.ones(3),))
    expected = (risk(scale + direction, times) - risk(scale - direction, times)) / (2 * direction)
    assert np.allclose(by_scale, expected, rtol=FINITE_DIFFERENCE)
    expected = (risk(scale, times + direction) - risk(scale, times - direction)) / (2 * direction)
    assert np.allclose(by_time, expected, rtol=FINITE_DIFFERENCE, atol=1e-9)


def test_equal_and_null_features_do_not_upset_the_gradient() -> None:
    # Twice the same feature, and one that is always zero.
    phi = features(INPUTS, 1.0)
    doubled = jnp.concatenate([phi[:, :4], phi[:, :1], 0 * phi[:, :1]], axis=1)
    averages = theory.TestSet(jnp.eye(6), jnp.ones((6, 2)))

    def sought(features: jax.Array) -> jax.Array:
        moments = theory.derivatives.Moments.of_rows(features, jnp.asarray(truth(INPUTS)))
        return theory.derivatives.turning_risk(moments, averages, theory.GradientFlow(), jnp.asarray(GRID)).risk

    slopes = jax.jit(jax.grad(sought))(doubled)
    assert np.all(np.isfinite(slopes))
    direction = jnp.asarray(np.random.default_rng(42).normal(size=doubled.shape))
    above, below = (float(jax.jit(sought)(doubled + by * direction)) for by in (1e-5, -1e-5))
    assert float(jnp.vdot(slopes, direction)) == pytest.approx((above - below) / 2e-5, rel=FINITE_DIFFERENCE)


# --- edges -----------------------------------------------------------------------------------------------------------


def test_a_short_grid_turns_at_one_of_its_points() -> None:
    problem, rule, grid = named("tall"), theory.GradientFlow(), [0.0, 1.0]
    curve = theory.risk_curve(problem.spectrum("gram"), problem.population, rule, grid)
    found = theory.derivatives.turning_risk(moments_of(problem), problem.population, rule, jnp.asarray(grid))
    assert float(found.time) == float(curve.turning_time)
    assert float(found.risk) == pytest.approx(float(curve.turning_risk), rel=TURNING_RISK)


def test_single_precision_stays_single() -> None:
    problem, grid = named("tall"), jnp.asarray(GRID)
    exact = theory.derivatives.turning_risk(moments_of(problem), problem.population, theory.GradientFlow(1e-3), grid)
    single = jax.tree.map(lambda x: x.astype(jnp.float32), (moments_of(problem), problem.population))
    found = theory.derivatives.turning_risk(single[0], single[1], theory.GradientFlow(1e-3), grid.astype(jnp.float32))
    assert found.risk.dtype == found.time.dtype == jnp.float32
    assert float(found.risk) == pytest.approx(float(exact.risk), rel=FLOAT32)


def test_the_time_is_a_constant_and_second_derivatives_are_refused() -> None:
    problem = named("tall")

    def turn(ridge: jax.Array) -> theory.derivatives.TurningPoint:
        return theory.derivatives.turning_risk(
            moments_of(problem), problem.population, theory.GradientFlow(ridge), jnp.asarray(GRID)
        )

    assert jax.grad(lambda ridge: turn(ridge).time)(jnp.asarray(0.1)) == 0
    with pytest.raises(NotImplementedError, match="second derivative"):
        jax.hessian(lambda ridge: turn(ridge).risk)(jnp.asarray(0.1))


def test_what_is_missing_is_asked_for() -> None:
    problem = named("tall")
    known = moments_of(problem)
    silent = theory.derivatives.Moments(known.second_moment, known.force)
    arguments = (problem.population, theory.GradientFlow(), jnp.asarray(GRID))
    with pytest.raises(ValueError, match=r"noise_force: None.*pass Moments"):
        theory.derivatives.turning_risk(silent, *arguments, label_noise_variance=0.1)
    with pytest.raises(ValueError, match="clean_force: None"):
        theory.derivatives.differentiable_parts(silent, *arguments)
    with pytest.raises(ValueError, match="label_noise_variance: must be a finite number that is not negative"):
        theory.derivatives.differentiable_risk(known, *arguments, label_noise_variance=-1.0)
    with pytest.raises(ValueError, match=r"alpha: must lie between 0.0001 and 1000"):
        theory.derivatives.beta_weights(0.0, 3)
    with pytest.raises(ValueError, match="num_nodes: must be at least 2, for the two ends, got 1"):
        theory.derivatives.beta_weights(1.0, 1)
