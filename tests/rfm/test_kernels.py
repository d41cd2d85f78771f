"""Infinitely many features: a kernel's gradient flow, by a route that knows no features at all."""

import math

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


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_a_problem_in_infinitely_many_features_follows_the_kernels_gradient_flow(activation):
    features = infinite(activation)
    _, curve = solved(features)
    expected = [kernel_flow_risk(features, time) for time in TIMES]
    np.testing.assert_allclose(curve.risk, expected, rtol=ORACLE)


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
