"""The bound with its constants measured: they are those of the problem, and what it cannot bound is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rfm
import theory
from tests.tolerances import ORACLE

TASK = rfm.TeacherStudent(input_dim=3, num_hidden=4, weight_std=3.0, key=jax.random.key(0))
FEATURES = rfm.RandomFeatures(3, 8, "tanh", key=jax.random.key(1))


def problem(population=None):
    test = TASK.test_set(FEATURES, 30, key=jax.random.key(2)) if population is None else population
    return rfm.synthesize(TASK.sample(5, key=jax.random.key(3)), FEATURES, rfm.Mixup(lam=0.5), population=test)


def test_the_constants_are_the_largest_feature_and_the_largest_noise():
    mixed = problem()
    bound = rfm.liu2023_risk_bound(mixed, [1.0, 100.0])
    norms = [float(row @ row) for row in np.asarray(mixed.population.features)]
    noise = [abs(float(a - b)) for a, b in zip(mixed.labels[:, 0], mixed.clean_labels[:, 0], strict=True)]
    np.testing.assert_allclose(bound.feature_bound, 2 * max(norms), rtol=ORACLE)
    np.testing.assert_allclose(bound.noise_bound, max(noise) ** 2, rtol=ORACLE)


def test_the_bound_holds_on_the_exact_curve():
    mixed, times = problem(), np.geomspace(0.1, 1e6, 20)
    bound = rfm.liu2023_risk_bound(mixed, times)
    risk = rfm.closed_form(mixed, times=times, method="svd").risk
    assert np.all(np.asarray(risk - bound.reference_risk) <= np.asarray(bound.bound))
    np.testing.assert_allclose(bound.excess, risk - bound.reference_risk, atol=ORACLE)


def test_what_has_no_noise_no_rows_or_several_targets_is_refused():
    mixed = problem()
    unknown = rfm.Problem(mixed.features, mixed.labels, population=mixed.population)
    with pytest.raises(ValueError, match="clean_labels"):
        rfm.liu2023_risk_bound(unknown, [1.0])
    with pytest.raises(ValueError, match="population"):
        rfm.liu2023_risk_bound(problem(TASK.population(FEATURES)), [1.0])
    two = jnp.ones((4, 2))
    several = rfm.Problem(jnp.eye(4), two, two, population=theory.TestSet(jnp.eye(4), two))
    with pytest.raises(ValueError, match="one target"):
        rfm.liu2023_risk_bound(several, [1.0])
