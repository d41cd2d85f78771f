"""Populations without a test set, against Monte Carlo."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rfm
import theory
from tests.tolerances import QUADRATURE, SAMPLING

DIM = 4
INPUTS = np.random.default_rng(0).normal(size=(30_000, DIM))
SLOPE = jnp.asarray([1.0, -0.5, 0.0, 2.0])
CURVATURE = jnp.asarray(np.diag([1.0, -2.0, 0.5, 0.0]) + 0.3)

TRUTHS = {
    "tanh teacher": rfm.TeacherStudent(DIM, 5, "tanh", weight_std=2.0, key=jax.random.key(0)).truth,
    "relu teacher": rfm.TeacherStudent(DIM, 5, "relu", key=jax.random.key(1)).truth,
    "quadratic": rfm.data.QuadraticTruth(CURVATURE, SLOPE, -0.4),
    "linear": rfm.data.LinearTruth(SLOPE, 0.7),
}
MAPS = [("tanh", 0.0), ("tanh", 0.8), ("relu", 0.0), ("erf", 0.0), ("softplus", 0.5), ("sign", 0.0)]


def make_features(activation: str, bias_std: float) -> rfm.RandomFeatures:
    return rfm.RandomFeatures(DIM, 6, activation, weight_std=1.5, bias_std=bias_std, key=jax.random.key(2))


def agrees(draws: np.ndarray, exact: jax.Array) -> bool:
    error = np.std(draws, axis=0) / np.sqrt(len(draws))
    return bool(np.all(np.abs(np.mean(draws, axis=0) - np.asarray(exact)) <= SAMPLING * error + 1e-7))


@pytest.mark.slow
@pytest.mark.parametrize(("activation", "bias_std"), MAPS)
@pytest.mark.parametrize("truth", TRUTHS)
def test_a_population_is_the_mean_over_many_inputs(truth: str, activation: str, bias_std: float) -> None:
    features = make_features(activation, bias_std)
    population = rfm.GaussianTask(TRUTHS[truth], DIM).population(features)
    phi, f = np.asarray(features(jnp.asarray(INPUTS))), np.asarray(TRUTHS[truth](jnp.asarray(INPUTS)))
    assert agrees(phi[:, :, None] * phi[:, None, :], population.second_moment)
    assert agrees(phi * f[:, None], population.target_moment[:, 0])
    assert agrees(f**2, population.target_power[0])


def test_a_kinked_feature_with_bias_is_warned_of_and_right_all_the_same() -> None:
    features = make_features("relu", 0.8)
    with pytest.warns(theory.duals.AccuracyWarning, match="kink or a jump away from zero"):
        population = rfm.GaussianTask(TRUTHS["quadratic"], DIM).population(features)
    phi, f = np.asarray(features(jnp.asarray(INPUTS))), np.asarray(TRUTHS["quadratic"](jnp.asarray(INPUTS)))
    assert agrees(phi[:, :, None] * phi[:, None, :], population.second_moment)
    assert agrees(phi * f[:, None], population.target_moment[:, 0])


@pytest.mark.slow
@pytest.mark.parametrize("truth", ["tanh teacher", "quadratic"])
def test_the_risk_on_a_test_set_converges_to_the_exact_one_along_the_curve(truth: str) -> None:
    """Within its standard error, which falls as one over the root of the number of rows; from start to late."""
    task = rfm.GaussianTask(TRUTHS[truth], DIM)
    features = make_features("tanh", 0.8)
    sample = task.sample(num_samples=5, key=jax.random.key(5))
    problem = rfm.synthesize(sample, features, rfm.Mixup(lam=0.5), population=task.population(features))
    spectrum, times = problem.spectrum("svd"), jnp.asarray([0.0, 1.0, 10.0, 1e3, 1e5])
    exact = np.asarray(theory.risk.risk_parts(spectrum, problem.population, theory.GradientFlow(), times).risk[:, 0])
    weights = np.asarray(theory.risk.weights(spectrum, theory.GradientFlow(), times))[:, :, 0]
    errors = []
    for num_samples in (600, 6000, 60_000):
        test = task.test_set(features, num_samples, key=jax.random.key(6))
        squares = (np.asarray(test.targets) - np.asarray(test.features) @ weights) ** 2
        error = np.std(squares, axis=0) / np.sqrt(num_samples)
        on_test = np.asarray(theory.risk.risk_parts(spectrum, test, theory.GradientFlow(), times).risk[:, 0])
        assert np.allclose(on_test, np.mean(squares, axis=0), rtol=QUADRATURE, atol=0)
        assert np.all(np.abs(on_test - exact) <= SAMPLING * error)
        errors.append(error)
    assert np.all(errors[2] < 0.25 * errors[0])  # a tenth, if not for chance
    assert np.max(exact) > 1.05 * np.min(exact)


def test_the_risk_of_a_population_is_never_negative_and_zero_for_a_truth_that_the_features_span() -> None:
    """Identity features reach every linear truth: the minimum-norm fit has risk zero, up to cancellation."""
    truth = rfm.data.LinearTruth(SLOPE)
    task = rfm.GaussianTask(truth, DIM)
    features = rfm.RandomFeatures(DIM, DIM, "identity", key=jax.random.key(7))
    population = task.population(features)
    best = np.linalg.solve(np.asarray(population.second_moment), np.asarray(population.target_moment))
    risk = population.risk_parts(jnp.asarray(best)[:, None, :], None).risk
    assert np.abs(float(risk[0, 0])) <= QUADRATURE * float(truth.power())


def test_features_and_truths_without_known_moments_are_named_with_the_remedy() -> None:
    features = make_features("tanh", 0.0)
    with pytest.raises(TypeError, match="features"):
        rfm.GaussianTask(TRUTHS["linear"], DIM).population(lambda x: x)
    with pytest.raises(TypeError, match=r"truth: the moments of function are not known .* task.test_set"):
        rfm.GaussianTask(lambda x: x[:, 0], DIM).population(features)
