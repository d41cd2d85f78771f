"""Infinitely many features: a kernel's gradient flow, by a route that knows no features at all."""

import math
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

import rfm
from tests.tolerances import ORACLE

TASK = rfm.TeacherStudent(input_dim=3, num_hidden=4, weight_std=2.0, key=jax.random.key(0))
TIMES = [1.0, 100.0, 10000.0]


def infinite(activation="tanh", bias_std=0.5):
    return rfm.RandomFeatures(3, math.inf, activation, weight_std=2.0, bias_std=bias_std, key=jax.random.key(1))


def solved(features, law=None):
    test = TASK.test_set(features, 40, key=jax.random.key(2))
    sample = TASK.sample(6, key=jax.random.key(3))
    problem = rfm.synthesize(sample, features, law or rfm.Mixup(lam=0.5), population=test)
    return problem, rfm.closed_form(problem, times=TIMES)


def kernel_flow_risk(features, time):
    """The risk of alpha' = -(K alpha - y) / m, by one matrix exponential of the augmented system."""
    sample = TASK.sample(6, key=jax.random.key(3))
    (table,) = rfm.Mixup(lam=0.5).tables(6, 36)
    inputs, labels = table.mix(sample.inputs), np.asarray(table.mix(sample.labels))
    test_inputs = jax.random.normal(jax.random.key(2), (40, 3))
    kernel, cross = np.asarray(features.kernel(inputs, inputs)), np.asarray(features.kernel(test_inputs, inputs))
    m = len(labels)
    system = np.block([[-kernel / m, labels[:, None] / m], [np.zeros((1, m + 1))]])
    alpha = scipy.linalg.expm(system * time)[:m, m]
    return np.mean((cross @ alpha - np.asarray(TASK.truth(test_inputs))) ** 2)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_a_problem_in_infinitely_many_features_follows_the_kernels_gradient_flow(activation):
    features = infinite(activation)
    _, curve = solved(features)
    expected = [kernel_flow_risk(features, time) for time in TIMES]
    np.testing.assert_allclose(curve.risk, expected, rtol=ORACLE)


@pytest.mark.slow
def test_wide_features_approach_the_kernel_as_one_over_the_root_of_the_width():
    """Mean absolute deviation over draws of W; its rate is that of a mean of p independent terms."""

    def deviation(width):
        errors = []
        for seed in range(8):
            features = rfm.RandomFeatures(3, width, "tanh", weight_std=2.0, bias_std=0.5, key=jax.random.key(seed))
            inputs = jax.random.normal(jax.random.key(9), (10, 3))
            phi = features(inputs)
            errors.append(jnp.mean(jnp.abs(phi @ phi.T - infinite().kernel(inputs, inputs))))
        return float(np.mean(errors))

    ratio = deviation(200) / deviation(20000)
    assert 5 < ratio < 20  # the root of 100 is 10; 8 draws of 100 products leave less than a factor 2 to chance


@pytest.mark.slow
def test_the_parts_add_up_in_infinitely_many_features():
    _, curve = solved(infinite())
    np.testing.assert_allclose(curve.clean_risk + curve.noise_risk + curve.cross_risk, curve.risk, rtol=ORACLE)


def test_infinitely_many_features_are_not_simulated():
    problem, _ = solved(infinite())
    with pytest.raises(Exception, match=r"KernelProblem|problem"):
        rfm.simulate(problem, step_size=0.1, steps=[1])


def test_infinitely_many_features_have_no_vectors_and_no_exact_population():
    features = infinite()
    with pytest.raises(TypeError, match="num_features: infinitely many"):
        features(jnp.ones((2, 3)))
    with pytest.raises(TypeError, match="average over a test set"):
        TASK.population(features)


def test_infinitely_many_features_do_not_stream():
    features = infinite()
    test = TASK.test_set(features, 10, key=jax.random.key(2))
    with pytest.raises(ValueError, match="block_rows"):
        rfm.synthesize(TASK.sample(4, key=jax.random.key(0)), features, rfm.ERM(), population=test, block_rows=2)


@pytest.mark.parametrize("activation", ["erf", "tanh"])
def test_the_limit_of_a_kernel_below_rounding_is_not_claimed(activation: str):
    # Inputs on a line: most eigenvalues of the kernel lie below rounding, and what it makes of them hangs on the order.
    features = rfm.RandomFeatures(1, math.inf, activation, bias_std=0.0, key=jax.random.key(1))
    inputs = jnp.linspace(-1.0, 1.0, 12)[:, None]
    sample = rfm.Sample(inputs, jnp.sin(3 * inputs[:, 0]) + 0.3 * jnp.cos(40 * inputs[:, 0]), None)
    order = jnp.asarray([3, 0, 7, 11, 5, 1, 8, 2, 10, 4, 9, 6])
    turned = rfm.Sample(inputs[order], sample.labels[order], None)
    test = rfm.kernels.KernelTest(features, 0.9 * inputs, jnp.sin(2.7 * inputs[:, 0]))
    times = jnp.logspace(0, 16, 9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rfm.PrecisionWarning)
        curves = [
            rfm.closed_form(rfm.synthesize(s, features, rfm.ERM(), population=test), times=times)
            for s in (sample, turned)
        ]
    assert not any(curve.infinity_is_resolved for curve in curves)
    one, other = curves
    assert np.all(np.abs(one.risk - other.risk) <= one.rounding_error + other.rounding_error)
    assert 1e4 < one.trusted_until < 1e16


def test_a_limit_of_a_kernel_that_is_claimed_is_kernel_regression():
    problem, curve = solved(infinite("relu"), rfm.ERM())
    assert curve.infinity_is_resolved
    test = problem.population
    theta, *_ = np.linalg.lstsq(np.asarray(problem.finite.features), np.asarray(problem.finite.labels), rcond=None)
    expected = np.sum(np.mean((test.targets - test.features @ theta) ** 2, axis=0))
    assert np.isclose(curve.risk_at_infinity, expected, rtol=ORACLE)
