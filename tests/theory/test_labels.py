"""The risk over draws of the labels' noise: against draws, and against weights by linear algebra."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import theory
from tests.problems import make, named
from tests.tolerances import IDENTITY, ORACLE, SAMPLING
from theory import labels as smoother

TIMES = jnp.asarray([0.0, 1.0, 20.0, 1e3])
VARIANCE = 0.3


def population(kind: str, features: int) -> theory.Averages:
    rng = np.random.default_rng(3)
    phi, f = rng.normal(size=(15, features)) / np.sqrt(features), rng.normal(size=(15, 2))
    if kind == "test set":
        return theory.TestSet(jnp.asarray(phi), jnp.asarray(f))
    return theory.Population(phi.T @ phi / 15, phi.T @ f / 15, np.mean(f**2, axis=0))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["test set", "population"])
@pytest.mark.parametrize("name", ["tall", "wide"])
def test_mean_and_spread_are_those_of_many_draws(name: str, kind: str) -> None:
    phi = np.asarray(named(name).features)
    problem = make(phi, seed=5, num_targets=2, population=population(kind, phi.shape[1]))
    spectrum = theory.decompose(problem.features, problem.labels)
    rule = theory.GradientFlow()
    ours = theory.labels.risk_over_labels(spectrum, problem.population, problem.features, rule, TIMES, VARIANCE)
    rng = np.random.default_rng(8)
    draws = []
    for _ in range(400):
        labels = problem.labels + np.sqrt(VARIANCE) * rng.normal(size=problem.labels.shape)
        drawn = theory.decompose(problem.features, labels)
        draws.append(np.asarray(theory.risk.risk_parts(drawn, problem.population, rule, TIMES).risk))
    deviation = np.asarray(draws) - np.mean(draws, axis=0)
    error = np.std(draws, axis=0) / np.sqrt(len(draws))
    assert np.all(np.abs(np.mean(draws, axis=0) - ours.mean) <= SAMPLING * error + ORACLE)
    variance = np.mean(deviation**2, axis=0)
    error = np.std(deviation**2, axis=0) / np.sqrt(len(draws))
    assert np.all(np.abs(variance - ours.std**2) <= SAMPLING * error + ORACLE)
    assert np.all(ours.std[1:] > 0.01 * ours.mean[1:])


@pytest.mark.parametrize("name", ["tall", "wide"])
def test_at_the_end_of_training_the_weights_are_a_pseudoinverse_of_the_noise(name: str) -> None:
    problem = named(name)
    phi, test = np.asarray(problem.features), problem.population
    rule = theory.GradientFlow()
    spectrum = theory.decompose(problem.features, problem.labels)
    late = theory.labels.risk_over_labels(spectrum, test, problem.features, rule, jnp.asarray([jnp.inf]), VARIANCE)
    inverse = np.linalg.pinv(phi)
    spread = inverse.T @ np.asarray(test.second_moment) @ inverse
    error = np.asarray(test.targets) - np.asarray(test.features) @ inverse @ np.asarray(problem.labels)
    slope = inverse.T @ np.asarray(test.features).T @ error / len(error)
    assert np.isclose(late.mean[0, 0], np.mean(error**2) + VARIANCE * np.trace(spread), rtol=ORACLE)
    variance = 4 * VARIANCE * np.sum(slope**2) + 2 * VARIANCE**2 * np.sum(spread**2)
    assert np.isclose(late.std[0, 0] ** 2, variance, rtol=ORACLE)


def test_without_noise_the_risk_is_certain() -> None:
    problem = named("tall")
    spectrum = theory.decompose(problem.features, problem.labels)
    rule = theory.GradientDescent(0.1)
    steps = jnp.asarray([0.0, 5.0, 100.0])
    ours = theory.labels.risk_over_labels(spectrum, problem.population, problem.features, rule, steps, 0.0)
    risk = theory.risk.risk_parts(spectrum, problem.population, rule, steps).risk
    assert np.allclose(ours.mean, risk, rtol=IDENTITY, atol=0)
    assert not np.any(ours.std)


def test_a_negative_variance_is_refused() -> None:
    problem = named("tall")
    spectrum = theory.decompose(problem.features, problem.labels)
    with pytest.raises(ValueError, match="variance: must be a finite number that is not negative, got -1"):
        theory.labels.risk_over_labels(
            spectrum, problem.population, problem.features, theory.GradientFlow(), TIMES, -1.0
        )


def test_one_compilation_serves_all_ridges_steps_and_variances(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = named("tall")
    spectrum = theory.decompose(problem.features, problem.labels)
    traced = []

    def noted(*args: Any) -> theory.population.RiskParts:
        traced.append(args)
        return theory.risk.risk_parts(*args)

    monkeypatch.setattr(smoother, "risk_parts", noted)

    def found(rule: theory.Rule, variance: float) -> float:
        ours = theory.labels.risk_over_labels(spectrum, problem.population, problem.features, rule, TIMES, variance)
        return float(ours.mean[-1, 0])

    found(theory.GradientFlow(0.11), 0.3)
    found(theory.GradientDescent(0.11, 0.2), 0.3)
    before = len(traced)
    several = [found(theory.GradientFlow(ridge), ridge) for ridge in (0.2, 0.3)]
    several += [found(theory.GradientDescent(step, 0.1), 0.4) for step in (0.2, 0.05)]
    assert len(traced) == before <= 2
    assert len(set(several)) == 4
