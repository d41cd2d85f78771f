"""Where training starts, what it decays to, and what risks are averaged over."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rfm
import theory
from tests.problems import Case, make, named
from tests.theory import oracles
from tests.theory.curves import ALL_METHODS, STEPS, TIMES, Method, largest_eigenvalue, scale
from tests.tolerances import IDENTITY, ORACLE, SAMPLING

# --- starts and decay ---------------------------------------------------------------------------------------------


@ALL_METHODS
@pytest.mark.parametrize("ridge", [0.0, 0.07])
def test_flow_from_given_weights_with_decay(case: Case, method: Method, ridge: float) -> None:
    problem = case.problem
    theta = np.random.default_rng(2).normal(size=(problem.features.shape[1], 1))
    curve = theory.risk_curve(
        problem.spectrum(method),
        problem.population,
        theory.GradientFlow(ridge),
        list(TIMES),
        start=theory.Start(jnp.asarray(theta)),
    )
    weights = [oracles.expm_weights(problem, t, ridge, theta) for t in TIMES]
    assert np.allclose(curve.risk_by_target, [oracles.risk(problem, w) for w in weights], rtol=ORACLE, atol=0)
    loss = np.asarray([oracles.train_loss(problem, w).sum() for w in weights])
    assert np.allclose(curve.train_loss, loss, rtol=ORACLE, atol=ORACLE * loss[0])


@pytest.mark.parametrize("ridge", [0.0, 0.07])
def test_descent_from_given_weights_with_decay(case: Case, ridge: float) -> None:
    problem = case.problem
    theta = np.random.default_rng(3).normal(size=(problem.features.shape[1], 1))
    step = 0.9 * 2 / (largest_eigenvalue(problem) + ridge)
    curve = theory.risk_curve(
        problem.spectrum(),
        problem.population,
        theory.GradientDescent(step, ridge),
        list(STEPS),
        start=theory.Start(jnp.asarray(theta)),
    )
    weights = [oracles.loop_weights(problem, step, k, ridge, theta) for k in STEPS]
    assert np.allclose(curve.risk_by_target, [oracles.risk(problem, w) for w in weights], rtol=ORACLE, atol=0)


def _propagators(problem: rfm.Problem, t: float, ridge: float) -> tuple[np.ndarray, np.ndarray]:
    """The linear map that acts on the start, and the weights reached from zero, read off the exponential."""
    p = problem.features.shape[1]
    from_zero = oracles.expm_weights(problem, t, ridge)
    kept = np.stack([(oracles.expm_weights(problem, t, ridge, e[:, None]) - from_zero)[:, 0] for e in np.eye(p)], 1)
    return kept, from_zero


@pytest.mark.parametrize("ridge", [0.0, 0.07])
@pytest.mark.parametrize("name", ["tall", "wide", "rank-deficient", "duplicated rows, wide"])
@ALL_METHODS
def test_a_random_start_is_averaged_exactly(name: str, ridge: float, method: Method) -> None:
    # E (f - (theta + xi P w) . phi)^2 over standard normal w is the risk of theta plus xi^2 |P^T phi|^2.
    problem, variance = named(name), 0.6
    curve = theory.risk_curve(
        problem.spectrum(method),
        problem.population,
        theory.GradientFlow(ridge),
        list(TIMES),
        start=theory.Start(variance=variance),
    )
    phi, test = np.asarray(problem.features), np.asarray(problem.population.features)
    for index, t in enumerate(TIMES):
        kept, theta = _propagators(problem, t, ridge)
        expected = oracles.risk(problem, theta).sum() + variance * np.mean(np.sum((test @ kept) ** 2, axis=1))
        assert np.isclose(curve.risk[index], expected, rtol=ORACLE, atol=0)
        loss = oracles.train_loss(problem, theta).sum() + variance / 2 * np.mean(np.sum((phi @ kept) ** 2, axis=1))
        assert np.isclose(curve.train_loss[index], loss, rtol=ORACLE, atol=0)
    total = curve.clean_risk + curve.noise_risk + curve.cross_risk
    assert np.allclose(total, curve.risk, rtol=10 * IDENTITY)


def test_the_mean_over_random_starts_is_the_average() -> None:
    problem, variance, num_starts = named("wide"), 0.6, 4000
    mean = np.random.default_rng(4).normal(size=(24, 1))
    spectrum, rule, at = problem.spectrum(), theory.GradientFlow(), jnp.asarray([0.0, 2.0, 100.0])
    starts = mean + np.sqrt(variance) * np.random.default_rng(5).normal(size=(num_starts, 24, 1))
    risks, losses = jax.jit(
        jax.vmap(
            lambda start: (
                theory.risk.risk_parts(spectrum, problem.population, rule, at, theory.Start(start)).risk[:, 0],
                theory.risk.train_loss(spectrum, rule, at, theory.Start(start))[:, 0],
            )
        )
    )(jnp.asarray(starts))
    averaged = theory.Start(jnp.asarray(mean), variance)
    exact_risk = theory.risk.risk_parts(spectrum, problem.population, rule, at, averaged).risk[:, 0]
    exact_loss = theory.risk.train_loss(spectrum, rule, at, averaged)[:, 0]
    for sampled, exact in ((risks, exact_risk), (losses, exact_loss)):
        standard_error = np.std(sampled, axis=0) / np.sqrt(num_starts)
        assert np.all(np.abs(np.mean(sampled, axis=0) - exact) <= SAMPLING * standard_error + ORACLE)
        assert standard_error[0] < 0.05 * exact[0]  # so that missing it by a twentieth would be seen


# --- averages -----------------------------------------------------------------------------------------------------


def population_of(test: theory.TestSet) -> theory.Population:
    phi, f = test.features, test.targets
    return theory.Population(phi.T @ phi / len(phi), phi.T @ f / len(phi), jnp.mean(f**2, axis=0))


def test_a_population_of_the_moments_of_a_test_set_is_that_test_set() -> None:
    problem = make(np.asarray(named("wide").features), seed=32, num_targets=2)
    start = theory.Start(jnp.ones((problem.features.shape[1], 2)), 0.3)
    rule = theory.GradientFlow(0.01)
    ours, theirs = (
        theory.risk_curve(problem.spectrum(), averages, rule, list(TIMES), start=start, by_mode=True)
        for averages in (population_of(problem.population), problem.population)
    )
    for field in ("risk_by_target", "clean_risk", "noise_risk", "cross_risk", "risk_at_infinity", "turning_risk"):
        atol = ORACLE * scale(problem)
        assert np.allclose(getattr(ours, field), getattr(theirs, field), rtol=ORACLE, atol=atol), field
    for part in ("clean", "noise", "cross"):
        assert np.allclose(getattr(ours.modes, part), getattr(theirs.modes, part), rtol=ORACLE, atol=atol), part
