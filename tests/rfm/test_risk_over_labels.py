"""Averages over label noise, in one call from a problem: against labels that are drawn, and by matrices alone."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

import rfm
import theory
from tests.tolerances import IDENTITY, ORACLE, SAMPLING

KEYS = jax.random.split(jax.random.key(5), 5)
TASK = rfm.TeacherStudent(input_dim=3, num_hidden=5, weight_std=2.0, key=KEYS[0])
FEATURES = rfm.RandomFeatures(input_dim=3, num_features=6, weight_std=2.0, key=KEYS[1])
SAMPLE = TASK.sample(num_samples=5, key=KEYS[2])
TEST = TASK.test_set(FEATURES, num_samples=40, key=KEYS[3])
VARIANCE = 0.4
TIMES = np.asarray([0.0, 1.0, 30.0, 1e3])
LAWS = [
    rfm.ERM(),
    rfm.Mixup(lam=0.3),
    rfm.Mixup(alpha=0.8),
    rfm.Mixup(alpha=1.0, pairs=12),
    rfm.Mixup(lam=0.3, pairs="expected"),
]


def problem_of(law: rfm.mixup.Law, labels: jax.Array = SAMPLE.labels) -> rfm.problem.Solvable:
    sample = rfm.Sample(SAMPLE.inputs, labels, SAMPLE.truth)
    return rfm.synthesize(sample, FEATURES, law, population=TEST, key=KEYS[4])


@pytest.mark.slow
@pytest.mark.parametrize("law", LAWS, ids=str)
def test_mean_and_spread_are_those_of_many_draws_of_the_originals_noise(law: rfm.mixup.Law) -> None:
    ours = rfm.risk_over_labels(problem_of(law), label_noise_variance=VARIANCE, times=TIMES)
    noise = np.random.default_rng(1).normal(size=(400, 5)) * VARIANCE**0.5
    draws = np.asarray(
        [rfm.closed_form(problem_of(law, SAMPLE.labels + e), times=TIMES, method="qr").risk for e in noise]
    )
    squares = (draws - draws.mean(axis=0)) ** 2
    for drawn, exact in ((draws, ours.mean[:, 0]), (squares, ours.std[:, 0] ** 2)):
        error = drawn.std(axis=0) / len(noise) ** 0.5
        assert np.all(np.abs(drawn.mean(axis=0) - exact) <= SAMPLING * error + ORACLE)
    assert np.all(ours.std[1:] > 0.01 * ours.mean[1:])


@pytest.mark.slow
@pytest.mark.parametrize("law", LAWS, ids=str)
def test_bias_and_variance_are_those_of_the_matrices_that_labels_are_multiplied_by(law: rfm.mixup.Law) -> None:
    """All pairs are written out, and the propagator is one exponential; ours has no matrix but the spectrum."""
    originals = np.eye(5)
    if isinstance(law, rfm.Mixup) and law.is_expected:
        law = rfm.Mixup(lam=law.ratio.lam)
        ours = problem_of(rfm.Mixup(lam=law.ratio.lam, pairs="expected"))
    else:
        ours = problem_of(law)
    (table,) = law.tables(5, law.num_rows(5), key=KEYS[4])
    phi, mixing = np.asarray(FEATURES(table.mix(SAMPLE.inputs))), np.asarray(table.mix(jnp.asarray(originals)))
    covariance, force = phi.T @ phi / len(phi), phi.T @ mixing / len(phi)
    over = rfm.risk_over_labels(ours, label_noise_variance=VARIANCE, times=TIMES)
    for time, mean in zip(TIMES, over.mean[:, 0], strict=True):
        generator = np.zeros((11, 11))
        generator[:6, :6], generator[:6, 6:] = -covariance, force
        learnt = scipy.linalg.expm(time * generator)[:6, 6:]  # weights for each original's label
        misfit = np.asarray(TEST.targets)[:, 0] - np.asarray(TEST.features) @ learnt @ np.asarray(SAMPLE.labels)
        variance = VARIANCE * np.sum((np.asarray(TEST.features) @ learnt) ** 2) / 40
        assert np.isclose(mean, np.mean(misfit**2) + variance, rtol=ORACLE)


def test_rules_that_count_steps_and_rows_without_a_table_are_served() -> None:
    erm = problem_of(rfm.ERM())
    assert isinstance(erm, rfm.Problem)
    bare = rfm.Problem(erm.features, erm.labels, population=TEST)
    rule = theory.GradientDescent(0.3, 0.1)
    settings = {"label_noise_variance": VARIANCE, "steps": [0, 3, 200], "rule": rule}
    one, other = (rfm.risk_over_labels(problem, **settings) for problem in (erm, bare))
    assert np.allclose(one.mean, other.mean, rtol=IDENTITY)
    none = rfm.risk_over_labels(erm, **settings | {"label_noise_variance": 0.0})
    assert np.allclose(none.mean[:, 0], rfm.closed_form(erm, steps=[0, 3, 200], rule=rule).risk, rtol=IDENTITY)


def test_what_cannot_be_answered_is_refused_or_warned_of() -> None:
    streamed = rfm.synthesize(SAMPLE, FEATURES, rfm.ERM(), population=TEST, block_rows=2)
    with pytest.raises(TypeError, match="problem: a StreamedProblem does not know which originals its rows are made"):
        rfm.risk_over_labels(streamed, label_noise_variance=1.0, times=[1.0])
    erm = problem_of(rfm.ERM())
    with pytest.raises(ValueError, match="label_noise_variance: must be a finite number that is not negative, got -1"):
        rfm.risk_over_labels(erm, label_noise_variance=-1.0, times=[1.0])
    with pytest.raises(ValueError, match="times: GradientFlow runs in continuous time; pass times="):
        rfm.risk_over_labels(erm, label_noise_variance=1.0, steps=[1])
    with pytest.raises(ValueError, match="step_size: "):
        rfm.risk_over_labels(erm, label_noise_variance=1.0, steps=[1], rule=theory.GradientDescent(1e6))
    with pytest.raises(ValueError, match="mixing: has 25 rows, the features 5; pass those of one table"):
        rfm.Problem(erm.features, erm.labels, population=TEST, mixing=problem_of(rfm.Mixup(lam=0.5)).mixing)
    with pytest.warns(
        rfm.PrecisionWarning,
        match="from t = .* on, rounding may exceed a relative 1e-13 of the average .*pass method='svd'",
    ):
        rfm.risk_over_labels(erm, label_noise_variance=1.0, times=[1e15], method="gram", tolerance=1e-13)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rfm.risk_over_labels(erm, label_noise_variance=1.0, times=[10.0])
