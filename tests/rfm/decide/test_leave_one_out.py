"""Leave-one-out against refits without each original, of plain training and of expected Mixup."""

import importlib
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rfm
import theory
from tests.problems import _random, make
from tests.rfm.decide.refits import exact, exact_mixed_moments, expected_refits, refits
from tests.theory import ill_conditioned
from tests.tolerances import IDENTITY, REFIT
from theory import GradientFlow

NUM_SAMPLES, NUM_FEATURES = 13, 8
SOME = np.asarray([0, 7, 12])
"""Originals, of the first tile, of another and of the last, which is filled up."""
KEYS = jax.random.split(jax.random.key(71), 3)
TASK = rfm.TeacherStudent(4, 5, weight_std=2.0, label_noise_std=0.3, key=KEYS[0])
FEATURES = rfm.RandomFeatures(4, NUM_FEATURES, key=KEYS[1])
SAMPLE, POPULATION = TASK.sample(NUM_SAMPLES, key=KEYS[2]), TASK.population(FEATURES)
OTHERS = rfm.mixup.OtherSamples()
LAWS = {
    "a fixed ratio": rfm.Mixup(lam=0.3, pairs="expected"),
    "never with itself": rfm.Mixup(alpha=0.5, pairs="expected", partners=OTHERS),
    "ratios of a law": rfm.Mixup(alpha=1.0, pairs="expected"),
    "never with itself, a fixed ratio": rfm.Mixup(lam=0.3, pairs="expected", partners=OTHERS),
    "labels at a ratio of their own": rfm.Mixup(lam=0.3, pairs="expected", label_lam=0.6),
    "mixed features": rfm.Mixup(lam=0.3, pairs="expected", space="features"),
}
leave_one_out = rfm.decide.leave_one_out


def expected(law: rfm.Mixup, **settings: object) -> rfm.expected.ExpectedProblem:
    return rfm.expected_mixup(SAMPLE, FEATURES, law, population=POPULATION, num_ratios=4, **settings)


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four originals a side, the last tile filled up."""
    monkeypatch.setattr("rfm.expected.left_out.MOMENT_BYTES", 4 * (NUM_FEATURES + 1) ** 2 * 8)


# --- expected Mixup --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if place > 1 else []) for place, name in enumerate(LAWS)]
)
def test_expected_mixup_without_an_original_is_that_of_the_others(name: str) -> None:
    problem = expected(LAWS[name])
    times = np.concatenate([[0.0], np.geomspace(1e-2, 1e6, 9)]) / problem.largest_eigenvalue()
    found = leave_one_out(problem, times=times)
    right = expected_refits(problem, SOME, times)
    assert found.trusted_until == times[-1]
    np.testing.assert_allclose(found.residuals[SOME], right, rtol=0, atol=REFIT * float(jnp.std(SAMPLE.labels)))


@pytest.mark.slow
def test_a_ridge_is_the_same_whatever_is_left_out() -> None:
    problem = expected(LAWS["ratios of a law"])
    ridge = 0.1 * problem.largest_eigenvalue()
    times = np.asarray([1.0, 1e6]) / ridge
    found = leave_one_out(problem, times=times, rule=GradientFlow(ridge))
    right = expected_refits(problem, SOME, times, ridge)
    np.testing.assert_allclose(found.residuals[SOME], right, rtol=0, atol=REFIT)


@pytest.mark.slow
def test_the_size_of_tiles_and_the_method_of_the_pass_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    times = [1.0, 100.0]
    whole = leave_one_out(expected(LAWS["ratios of a law"], method="gram"), times=times).residuals
    monkeypatch.setattr("rfm.expected.left_out.MOMENT_BYTES", 1)
    one_by_one = leave_one_out(expected(LAWS["ratios of a law"]), times=times).residuals
    np.testing.assert_allclose(one_by_one, whole, rtol=0, atol=1e3 * IDENTITY)


@pytest.mark.slow
def test_expected_mixup_of_forty_originals_in_fewer_and_in_more_features() -> None:
    sample = TASK.sample(40, key=KEYS[0])
    for num_features in (16, 60):
        features = rfm.RandomFeatures(4, num_features, key=KEYS[1])
        law, population = LAWS["ratios of a law"], TASK.population(features)
        problem = rfm.expected_mixup(sample, features, law, population=population, num_ratios=4)
        times = np.geomspace(1e-2, 1e6, 9) / problem.largest_eigenvalue()
        found = leave_one_out(problem, times=times)
        known = times <= float(found.trusted_until)
        assert known[6]
        right, size = expected_refits(problem, range(40), times), float(jnp.std(sample.labels))
        np.testing.assert_allclose(found.residuals[:, known], right[:, known], rtol=0, atol=REFIT * size)


def _mixed(number: int) -> tuple[np.ndarray, np.ndarray, rfm.expected.ExpectedProblem]:
    """Inputs that are features, of every kind, with outliers among rows and labels."""
    rng, kinds = np.random.default_rng([78, number]), ill_conditioned.KINDS
    rows, columns = ((6, 3), (4, 6))[number % 2]
    inputs = np.asarray(ill_conditioned.FEATURES[kinds[number % len(kinds)]](rng, rows, columns), float)
    if rng.random() < 0.4:
        inputs[rng.integers(rows)] *= 10.0 ** rng.uniform(-6, 6)
    labels = ill_conditioned._labels(rng, inputs, 1 + number % 2)
    if rng.random() < 0.4:
        labels[rng.integers(rows)] *= 10.0 ** rng.uniform(0, 7)
    law = list(LAWS.values())[rng.integers(4)]
    sample = rfm.Sample(jnp.asarray(inputs), jnp.asarray(labels), None)
    test = rfm.TestSet(inputs, labels)
    problem = rfm.expected_mixup(
        sample, lambda x: x, law, population=test, num_ratios=2, method=["gram", "qr"][number // 2 % 2]
    )
    return inputs, labels, problem


@pytest.mark.slow
def test_what_subtraction_rounds_is_never_more_than_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("rfm.decide.leave_one_out")
    claims, record = [], module._record

    def spy(*args: object) -> object:
        claims.append(np.asarray(args[3]))
        return record(*args)

    monkeypatch.setattr(module, "_record", spy)
    for number in range(40):
        inputs, labels, problem = _mixed(number)
        times = np.geomspace(1e-3, 1e15, 6) / problem.largest_eigenvalue()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rfm.PrecisionWarning)
            found = leave_one_out(problem, times=times)
        rest = [np.delete(np.arange(len(inputs)), i) for i in range(len(inputs))]
        with_itself = not isinstance(problem.law.partners, rfm.mixup.OtherSamples)
        right = np.stack([
            exact(inputs[i], labels[i], exact_mixed_moments(inputs[j], labels[j], problem.ratios, with_itself), times)
            for i, j in enumerate(rest)
        ])  # fmt: skip
        apart = (np.asarray(found.residuals).astype(object) - right).astype(float)
        assert np.all(np.sqrt(np.mean(np.sum(apart**2, axis=2), axis=0)) <= claims[-1]), number


# --- plain training --------------------------------------------------------------------------------------------------


def test_plain_training_is_refitted_whether_rows_come_from_arrays_or_from_a_sample() -> None:
    times = np.asarray([0.0, 1.0, 100.0, 1e6])
    made = rfm.synthesize(SAMPLE, FEATURES, rfm.ERM(), population=POPULATION)
    bare = rfm.Problem(made.features, made.labels, population=POPULATION)
    right = refits(np.asarray(made.features), np.asarray(made.labels), times, 0.01)
    for problem in (made, bare, rfm.solve(made)):
        found = leave_one_out(problem, times=times, rule=GradientFlow(0.01))
        np.testing.assert_allclose(found.residuals, right, rtol=0, atol=REFIT)


def test_the_risk_is_the_mean_over_originals_of_what_each_refit_risks_on_its_own() -> None:
    problem, times = make(_random(24, 8, seed=1), seed=11, num_targets=2), np.asarray([1.0, 30.0])
    found = leave_one_out(problem, times=times)
    right = refits(np.asarray(problem.features), np.asarray(problem.labels), times)
    np.testing.assert_allclose(found.risk, np.mean(np.sum(right**2, axis=2), axis=0), rtol=REFIT)
    rest, own = np.arange(1, 24), theory.TestSet(problem.features[:1], problem.labels[:1])
    refit = rfm.closed_form(rfm.Problem(problem.features[rest], problem.labels[rest], population=own), times=times)
    np.testing.assert_allclose(np.asarray(found.residuals[0]) ** 2, refit.risk_by_target, rtol=REFIT)
    assert found.error_rate is None


def test_classes_are_counted_by_the_model_that_never_saw_them() -> None:
    rng = np.random.default_rng(5)
    features, classes = _random(24, 8, seed=1), rng.integers(3, size=24)
    labels, times = np.eye(3)[classes], np.asarray([0.5, 200.0])
    problem = rfm.Problem(features, labels, population=rfm.TestSet(features, labels))
    named = np.argmax(labels[:, None, :] - refits(features, labels, times), axis=2)
    np.testing.assert_allclose(
        leave_one_out(problem, times=times).error_rate, np.mean(named != classes[:, None], axis=0)
    )


def test_times_past_the_trusted_one_are_warned_of_and_a_tighter_tolerance_trusts_less() -> None:
    features = np.random.default_rng(6).normal(size=(24, 8)) * np.geomspace(1, 1e-6, 8)
    problem = make(features, seed=11)
    with pytest.warns(rfm.PrecisionWarning, match=r"^leave-one-out can be trusted to a relative 1e-06 until t.*e\+16"):
        found = leave_one_out(problem, times=[1.0, 1e6, 1e16])
    assert found.trusted_until == 1e6
    with pytest.warns(rfm.PrecisionWarning):
        assert leave_one_out(problem, times=[1.0, 1e6, 1e16], tolerance=1e-14).trusted_until == 0


def test_single_precision_is_answered_in_single_precision_and_says_how_far() -> None:
    problem = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), make(_random(24, 8, seed=1), seed=11))
    found = leave_one_out(problem, times=[1.0, 30.0], tolerance=1e-2)
    assert found.residuals.dtype == jnp.float32
    right = refits(np.asarray(problem.features, float), np.asarray(problem.labels, float), np.asarray([1.0, 30.0]))
    risk = np.mean(np.sum(right**2, axis=2), axis=0)
    assert np.all(np.abs(np.asarray(found.risk) - risk) <= found.rounding_error)


def test_it_says_what_it_is() -> None:
    found = leave_one_out(make(_random(24, 8, seed=1), seed=11), times=[0.0, 1.0, 1e3])
    assert repr(found).startswith("LeaveOneOut: 24 originals, 3 times, 0 to 1000, 1 target\n  error lowest at: ")
    assert repr(found).endswith("trusted until: 1000")
