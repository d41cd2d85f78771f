"""Risk curves against routes that know no eigenvalue: exponentials, loops, ODE solvers, 60 digits; and their parts."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest

import rfm
import theory
from tests.problems import Case, make, named, tagged
from tests.theory import oracles
from tests.theory.curves import ALL_METHODS, STEPS, TIMES, Method, descent_curve, flow_curve, largest_eigenvalue, scale
from tests.tolerances import GRAM_AT_1E6, IDENTITY, LATE, ORACLE

# --- the weights and the risk, by other routes --------------------------------------------------------------------


@ALL_METHODS
def test_flow_is_the_matrix_exponential(case: Case, method: Method) -> None:
    curve = flow_curve(case.problem, method)
    expected = [oracles.risk(case.problem, oracles.expm_weights(case.problem, t)) for t in TIMES]
    assert np.allclose(curve.risk_by_target, expected, rtol=ORACLE, atol=0)
    loss = [oracles.train_loss(case.problem, oracles.expm_weights(case.problem, t)).sum() for t in TIMES]
    assert np.allclose(curve.train_loss, loss, rtol=ORACLE, atol=ORACLE * loss[0])


@pytest.mark.parametrize("name", ["tall", "rank-deficient", "power law"])
def test_flow_solves_its_differential_equation(name: str) -> None:
    problem = named(name)
    curve = flow_curve(problem, "svd")
    expected = [oracles.risk(problem, oracles.ode_weights(problem, t)) for t in TIMES[1:]]
    assert np.allclose(curve.risk_by_target[1:], expected, rtol=ORACLE, atol=0)


@ALL_METHODS
@pytest.mark.parametrize("share", [0.3, 0.98])
def test_descent_is_the_plain_loop(case: Case, method: Method, share: float) -> None:
    curve, step = descent_curve(case.problem, method, share)
    weights = [oracles.loop_weights(case.problem, step, k) for k in STEPS]
    expected = [oracles.risk(case.problem, theta) for theta in weights]
    assert np.allclose(curve.risk_by_target, expected, rtol=ORACLE, atol=0)
    loss = [oracles.train_loss(case.problem, theta).sum() for theta in weights]
    assert np.allclose(curve.train_loss, loss, rtol=ORACLE, atol=ORACLE * loss[0])
    assert np.allclose(curve.times, step * np.asarray(STEPS), rtol=IDENTITY)


def test_weights_are_those_of_training_and_not_only_their_risk(case: Case) -> None:
    at = jnp.asarray(TIMES)
    ours = theory.risk.weights(case.problem.spectrum(), theory.GradientFlow(), at)
    for index, t in enumerate(TIMES):
        assert np.allclose(ours[:, index], oracles.expm_weights(case.problem, t), rtol=ORACLE, atol=ORACLE)


def test_noise_weights_are_trained_on_the_label_noise(case: Case) -> None:
    problem = case.problem
    noise = rfm.Problem(problem.features, problem.labels - problem.clean_labels, population=problem.population)
    ours = theory.risk.noise_weights(problem.spectrum(), theory.GradientFlow(), jnp.asarray(TIMES))
    for index, t in enumerate(TIMES):
        assert np.allclose(ours[:, index], oracles.expm_weights(noise, t), rtol=ORACLE, atol=ORACLE)


# --- late times, in 60 digits -------------------------------------------------------------------------------------


LATE_NAMES = ["tall", "square", "rank-deficient", "duplicated rows, tall", "power law"]
LATE_TIMES = (1.0, 1e3, 1e6, 1e8, 1e10)


@functools.cache
def exact_flow(name: str) -> np.ndarray:
    return np.asarray([oracles.exact_risk(named(name), t) for t in LATE_TIMES])


@pytest.mark.parametrize("method", ["svd", "qr"])
@pytest.mark.parametrize("name", LATE_NAMES)
def test_late_flow_is_exact_to_rounding(name: str, method: Method) -> None:
    curve = flow_curve(named(name), method, LATE_TIMES)
    error = np.abs(np.asarray(curve.risk) / exact_flow(name) - 1)
    assert np.all(error[:3] <= ORACLE)
    assert np.all(error <= LATE)


@pytest.mark.parametrize("name", LATE_NAMES)
def test_the_gram_route_is_accurate_early_and_loses_digits_late(name: str) -> None:
    curve = flow_curve(named(name), "gram", LATE_TIMES)
    error = np.abs(np.asarray(curve.risk) / exact_flow(name) - 1)
    assert np.all(error[:2] <= ORACLE)
    assert error[2] <= GRAM_AT_1E6


@pytest.mark.parametrize("name", ["wide", "duplicated rows, wide"])
def test_late_flow_of_wide_features_is_exact_to_rounding(name: str) -> None:
    exact = oracles.exact_risk(named(name), 1e10)
    for method in ("svd", "qr"):
        curve = flow_curve(named(name), method, LATE_TIMES)
        assert np.isclose(curve.risk[-1], exact, rtol=ORACLE, atol=0)


@pytest.mark.parametrize("method", ["svd", "qr"])
@pytest.mark.parametrize("share", [0.25, 0.97])
def test_late_descent_is_exact_to_rounding(method: Method, share: float) -> None:
    problem = named("power law")
    step = share * 2 / largest_eigenvalue(problem)
    steps = [0, 1, 1000, 10**6, 10**10]
    curve = theory.risk_curve(problem.spectrum(method), problem.population, theory.GradientDescent(step), steps)
    exact = [oracles.exact_risk_of_descent(problem, step, k) for k in steps]
    error = np.abs(np.asarray(curve.risk) / exact - 1)
    assert np.all(error[:4] <= ORACLE)
    assert np.all(error <= LATE)


# --- infinity -----------------------------------------------------------------------------------------------------


@ALL_METHODS
def test_infinite_training_is_the_minimum_norm_solution(method: Method) -> None:
    for case in tagged("gapped", "singular"):
        phi, y = np.asarray(case.problem.features), np.asarray(case.problem.labels)
        expected = oracles.risk(case.problem, np.linalg.pinv(phi, rcond=1e-10) @ y).sum()
        curve = flow_curve(case.problem, method)
        assert curve.infinity_is_resolved or (method == "gram" and "singular" in case.tags)
        assert np.isclose(curve.risk_at_infinity, expected, rtol=ORACLE, atol=0), case.name
        by_steps, _ = descent_curve(case.problem, method, 0.9)
        assert np.isclose(by_steps.risk_at_infinity, expected, rtol=ORACLE, atol=0), case.name


def test_infinite_training_leaves_a_start_outside_the_range_alone() -> None:
    for case in tagged("singular", "wide"):
        problem, phi = case.problem, np.asarray(case.problem.features)
        start = np.random.default_rng(1).normal(size=(phi.shape[1], 1))
        inverse = np.linalg.pinv(phi, rcond=1e-10)
        theta = start + inverse @ (np.asarray(problem.labels) - phi @ start)
        curve = theory.risk_curve(
            problem.spectrum(),
            problem.population,
            theory.GradientFlow(),
            [0.0, 1.0],
            start=theory.Start(jnp.asarray(start)),
        )
        assert np.isclose(curve.risk_at_infinity, oracles.risk(problem, theta).sum(), rtol=ORACLE, atol=0), case.name


def test_with_decay_infinity_is_ridge_regression_and_always_resolved() -> None:
    problem, ridge = named("power law"), 0.01
    covariance, force = oracles.moments(problem)
    theta = np.linalg.solve(covariance + ridge * np.eye(8), force)
    curve = theory.risk_curve(problem.spectrum(), problem.population, theory.GradientFlow(ridge), [0.0, 1.0])
    assert np.isclose(curve.risk_at_infinity, oracles.risk(problem, theta).sum(), rtol=ORACLE)
    assert curve.infinity_is_resolved


# --- the parts ----------------------------------------------------------------------------------------------------


@ALL_METHODS
def test_the_risk_is_the_sum_of_its_parts(case: Case, method: Method) -> None:
    curve = flow_curve(case.problem, method)
    total = curve.clean_risk + curve.noise_risk + curve.cross_risk
    assert np.allclose(total, curve.risk, rtol=10 * IDENTITY, atol=IDENTITY * scale(case.problem))


def test_each_part_is_the_risk_of_a_training_of_its_own(case: Case) -> None:
    problem, clean_problem = case.problem, oracles.on_clean_labels(case.problem)
    curve = flow_curve(problem, "svd")
    test, targets = np.asarray(problem.population.features), np.asarray(problem.population.targets)
    for index, t in enumerate(TIMES):
        clean = oracles.expm_weights(clean_problem, t)
        fitted_noise = test @ (oracles.expm_weights(problem, t) - clean)
        parts = (
            np.mean((targets - test @ clean) ** 2),
            np.mean(fitted_noise**2),
            -2 * np.mean((targets - test @ clean) * fitted_noise),
        )
        ours = (curve.clean_risk[index], curve.noise_risk[index], curve.cross_risk[index])
        assert np.allclose(ours, parts, rtol=ORACLE, atol=ORACLE * scale(problem))


def test_without_label_noise_there_is_only_the_clean_risk() -> None:
    (case,) = tagged("noiseless")
    curve = flow_curve(case.problem, "svd")
    assert np.all(curve.noise_risk == 0)
    assert np.all(curve.cross_risk == 0)
    assert np.array_equal(curve.clean_risk, curve.risk)


def test_noise_risk_never_decreases_when_modes_are_uncorrelated() -> None:
    # Averaged over the very covariance that is trained on, the noise risk is sum mu (gain sqrt(mu) z)^2.
    problem = named("power law")
    spectrum = problem.spectrum()
    covariance, force = oracles.moments(problem)
    population = theory.Population(jnp.asarray(covariance), jnp.asarray(force), 10.0)
    noise = theory.risk.risk_parts(spectrum, population, theory.GradientFlow(), jnp.geomspace(1e-3, 1e9, 100)).noise
    assert np.all(np.diff(noise[:, 0]) >= -IDENTITY * noise[-1, 0])
    assert noise[-1, 0] > 1.5 * noise[50, 0] > 0


@ALL_METHODS
def test_modes_add_up_to_the_parts(case: Case, method: Method) -> None:
    problem = case.problem
    curve = theory.risk_curve(
        problem.spectrum(method), problem.population, theory.GradientFlow(), list(TIMES), by_mode=True
    )
    atol = 100 * IDENTITY * max(scale(problem), float(jnp.max(curve.clean_risk)))
    assert np.allclose(jnp.sum(curve.modes.noise, axis=1), curve.noise_risk, rtol=IDENTITY, atol=atol)
    assert np.allclose(jnp.sum(curve.modes.cross, axis=1), curve.cross_risk, rtol=IDENTITY, atol=atol)
    learnt = jnp.sum(curve.modes.clean, axis=1)
    assert np.allclose(learnt, curve.clean_risk - scale(problem), rtol=IDENTITY, atol=atol)
    assert np.array_equal(curve.modes.eigenvalues, problem.spectrum(method).eigenvalues)


def test_a_mode_contributes_what_taking_it_away_takes_away() -> None:
    # With an isotropic population modes are uncorrelated, so each one's noise is its own weight squared.
    problem = named("tall")
    population = theory.Population(jnp.eye(8), jnp.zeros(8), 1.0)
    at = jnp.asarray([0.5, 50.0])
    modes = theory.risk.mode_risk(problem.spectrum(), population, theory.GradientFlow(), at)
    noise = (
        problem.spectrum().modes.T @ theory.risk.noise_weights(problem.spectrum(), theory.GradientFlow(), at)[:, :, 0]
    )
    assert np.allclose(modes.noise, noise.T**2, rtol=ORACLE, atol=IDENTITY)


def test_several_targets_are_several_problems() -> None:
    phi = np.asarray(named("tall").features)
    problem = make(phi, seed=31, num_targets=3)
    together = flow_curve(problem, "svd")
    total_loss = np.zeros(len(TIMES))
    for target in range(3):
        alone = rfm.Problem(
            problem.features,
            problem.labels[:, target],
            problem.clean_labels[:, target],
            population=theory.TestSet(problem.population.features, problem.population.targets[:, target]),
        )
        curve = flow_curve(alone, "svd")
        assert np.allclose(together.risk_by_target[:, target], curve.risk, rtol=IDENTITY)
        total_loss += np.asarray(curve.train_loss)
    assert np.allclose(together.train_loss, total_loss, rtol=10 * IDENTITY)
    assert np.allclose(together.risk, together.clean_risk + together.noise_risk + together.cross_risk, rtol=IDENTITY)


# --- bad input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([1.0, 0.5], r"times: must strictly ascend, but 1.0 is followed by 0.5 at index 1; pass numpy.unique\(times\)"),
        ([1.0, 1.0], "times: must strictly ascend, but 1.0 is followed by 1.0"),
        ([-1.0, 1.0], "times: holds the negative value -1.0; training starts at 0"),
        ([0.0, np.inf], "times: holds inf; pass finite times .*risk_at_infinity"),
        ([np.nan], "times: holds nan; pass finite times"),
        ([], r"times: pass a non-empty one-dimensional list of numbers, got shape \(0,\)"),
    ],
)
def test_times_must_be_finite_ascending_and_not_negative(times: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        flow_curve(named("tall"), "svd", tuple(times))


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([0, 2, 1], "steps: must strictly ascend, but 2 is followed by 1 at index 2"),
        ([-3, 1], "steps: holds the negative value -3"),
        ([0.5, 1.0], r"steps: holds 0.5; steps are counted in whole numbers \(pass times= for gradient flow\)"),
    ],
)
def test_steps_must_be_whole_ascending_and_not_negative(steps: list[float], message: str) -> None:
    problem = named("tall")
    with pytest.raises(ValueError, match=message):
        theory.risk_curve(problem.spectrum(), problem.population, theory.GradientDescent(0.1), steps)


@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_a_step_at_the_largest_stable_one_is_refused_and_one_below_is_not(ridge: float) -> None:
    problem = named("tall")
    largest = 2 / (largest_eigenvalue(problem) + ridge)

    def curve(share: float) -> theory.Curve:
        rule = theory.GradientDescent(share * largest, ridge)
        return theory.risk_curve(problem.spectrum(), problem.population, rule, [0, 5])

    for share in (1.0 + 1e-9, 1.01, 3.0):
        with pytest.raises(ValueError, match=rf"step_size: .*diverges.*largest stable one.*= {largest:.6g}"):
            curve(share)
    assert np.all(np.isfinite(curve(0.99).risk))


def test_features_must_match_those_of_the_population() -> None:
    population = theory.TestSet(jnp.ones((3, 5)), jnp.ones(3))
    with pytest.raises(
        ValueError, match=r"population: has 5 features, but the problem has 8; compute both with the same"
    ):
        theory.risk_curve(named("tall").spectrum(), population, theory.GradientFlow(), [1.0])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ((np.ones(3), np.ones(3)), r"features: has shape \(3,\); pass an array of shape \(any, any\)"),
        ((np.ones((3, 2)), np.ones(4)), r"targets: has shape \(4, 1\); pass an array of shape \(3, any\)"),
        ((np.ones((3, 0)), np.ones(3)), r"features: has shape \(3, 0\).*none of them 0"),
        ((np.full((3, 2), np.nan), np.ones(3)), r"features: 6 of 6 values are not finite, the first \(nan\)"),
        ((np.ones((3, 2)), np.asarray([1, np.inf, 1])), r"targets: 1 of 3 values .* at index \(1, 0\); drop or impute"),
    ],
)
def test_a_test_set_needs_finite_rows_that_match(arrays: tuple[np.ndarray, np.ndarray], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        theory.TestSet(*map(jnp.asarray, arrays))


def test_the_moments_of_a_population_must_match() -> None:
    with pytest.raises(ValueError, match=r"second_moment: has shape \(2, 3\)"):
        theory.Population(jnp.ones((2, 3)), jnp.ones(2), 1.0)
    with pytest.raises(ValueError, match=r"target_moment: has shape \(3, 1\); pass an array of shape \(2, any\)"):
        theory.Population(jnp.eye(2), jnp.ones(3), 1.0)
    with pytest.raises(ValueError, match=r"target_power: has shape \(2,\); pass an array of shape \(1,\)"):
        theory.Population(jnp.eye(2), jnp.ones(2), jnp.ones(2))
    with pytest.raises(ValueError, match="target_power: 1 of 1 values are not finite"):
        theory.Population(jnp.eye(2), jnp.ones(2), np.nan)


def test_an_unknown_activation_is_named_and_the_known_ones_listed() -> None:
    with pytest.raises(ValueError, match=r"activation: 'swish' is not known; pass one of .*cos, erf, .*tanh"):
        theory.duals.activation("swish")
