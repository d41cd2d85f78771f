"""Risks that fall to rounding: whatever compares them says no more than rounding lets it.

Where the truth is linear, and so are the features, training drives the risk to zero, under Mixup as well: mixed labels
are the truth at mixed inputs. What is left then is rounding of either sign, of which every ratio is nonsense.
"""

import itertools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rfm
import theory
from tests.problems import CASES, _random, make

TASK = rfm.GaussianTask(truth=rfm.data.LinearTruth(jnp.ones(5)), input_dim=5)
FEATURES = rfm.RandomFeatures(5, 5, "identity", key=jax.random.key(1))
SAMPLE = TASK.sample(30, key=jax.random.key(10))
POPULATION = TASK.population(FEATURES)
TEST = TASK.test_set(FEATURES, 50, key=jax.random.key(5))
TIMES = np.geomspace(1, 1e6, 100)
METHODS = ("svd", "qr", "gram")


def linear(law: rfm.mixup.Law, population: theory.Averages = POPULATION) -> rfm.Problem:
    problem = rfm.synthesize(SAMPLE, FEATURES, law, population=population, key=jax.random.key(3))
    assert isinstance(problem, rfm.Problem)
    return problem


def in_single_precision(problem: rfm.Problem) -> rfm.Problem:
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), problem)


def check(curve: theory.Curve) -> None:
    """What holds of every curve by definition."""
    penalty, error = float(curve.overtraining_penalty), np.asarray(curve.rounding_error)
    assert penalty >= 1
    assert np.isfinite(penalty)
    so_far = np.asarray(curve.penalty_so_far)
    assert np.all(so_far >= 1)
    assert np.all(np.isfinite(so_far))
    risk = np.asarray(curve.risk)
    assert np.all(risk >= 0)
    assert curve.turning_risk >= 0
    assert curve.turning_risk <= np.min(risk + error) + curve.turning_error
    assert curve.times[0] <= curve.turning_time <= curve.times[-1]
    if curve.decomposition is not None:
        assert np.all(curve.clean_risk >= 0)
        assert np.all(curve.noise_risk >= 0)
        scale = risk + np.abs(curve.clean_risk) + np.abs(curve.noise_risk) + np.abs(curve.cross_risk)
        total = np.asarray(curve.clean_risk + curve.noise_risk + curve.cross_risk)
        rounding = error + np.finfo(risk.dtype).eps * 100 * scale
        assert np.all(np.abs(total - risk) <= rounding)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::rfm.PrecisionWarning")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("population", [POPULATION, TEST], ids=["population", "test set"])
def test_training_that_fits_the_truth_is_never_too_long(method: str, population: theory.Averages) -> None:
    for law, times, single in itertools.product(
        (rfm.Mixup(lam=0.5), rfm.ERM()), (TIMES, np.append(0, TIMES)), (False, True)
    ):
        problem = linear(law, population)
        problem = in_single_precision(problem) if single else problem
        curve = rfm.closed_form(problem, times=times, method=method)
        check(curve)
        assert curve.overtraining_penalty == 1
        later = curve.times >= curve.turning_time
        assert np.all(curve.penalty_so_far[later] == 1)
        assert 0 < curve.turning_time < 1e6  # where the risk has come to rounding, and not at some wiggle after that


@pytest.mark.slow
@pytest.mark.parametrize("population", [POPULATION, TEST], ids=["population", "test set"])
def test_so_says_real_training(population: theory.Averages) -> None:
    for law, single in itertools.product((rfm.Mixup(lam=0.5), rfm.ERM()), (False, True)):
        problem = linear(law, population)
        problem = in_single_precision(problem) if single else problem
        steps = np.unique(np.round(np.geomspace(1, 3e5, 80)))
        run = rfm.simulate(problem, step_size=1 / problem.largest_eigenvalue(), steps=steps)
        check(run)
        assert run.overtraining_penalty == 1


@pytest.mark.filterwarnings("ignore::rfm.PrecisionWarning")
def test_so_says_the_differentiable_bottom() -> None:
    for law in (rfm.Mixup(lam=0.5), rfm.ERM()):
        problem = linear(law)
        moments = theory.derivatives.Moments.of_rows(problem.features, problem.labels)
        turn = theory.derivatives.turning_risk(moments, POPULATION, theory.GradientFlow(), jnp.asarray(TIMES))
        curve = rfm.closed_form(problem, times=TIMES, method="gram")
        assert turn.risk >= 0
        assert np.all(curve.risk[curve.times < turn.time] > 1e-13)  # wiggles of rounding are of that size, or less
        assert turn.risk <= np.min(curve.risk + curve.rounding_error)


@pytest.mark.filterwarnings("ignore::rfm.PrecisionWarning")
def test_cures_of_what_needs_none_are_not_to_stop_early_nor_to_decay_nor_to_mix() -> None:
    mixed, plain = linear(rfm.Mixup(lam=0.5)), linear(rfm.ERM())
    cures = rfm.compare_cures(mixed, plain, budget=1e6)
    assert cures["decay"].setting == 0
    assert cures["switch"].setting == 0  # plain training alone is as good
    for name in ("none", "stop", "switch", "decay"):
        cure = cures[name]
        assert 0 <= cure.risk <= 4 * cure.rounding_error < 1e-9
    curve = rfm.closed_form_switch(mixed, plain, budget=1e6)
    assert np.all(curve.risk >= 0)
    assert curve.best_risk <= np.min(curve.risk + curve.rounding_error) + curve.best_error


def zero_labels(problem: rfm.Problem) -> rfm.Problem:
    return rfm.Problem(problem.features, 0 * problem.labels, problem.clean_labels, population=problem.population)


def zero_features(problem: rfm.Problem) -> rfm.Problem:
    return rfm.Problem(0 * problem.features, problem.labels, problem.clean_labels, population=problem.population)


def zero_targets(problem: rfm.Problem) -> rfm.Problem:
    test = rfm.TestSet(problem.population.features, 0 * problem.population.targets)
    return rfm.Problem(problem.features, problem.labels, 0 * problem.clean_labels, population=test)


def nothing(problem: rfm.Problem) -> rfm.Problem:
    return zero_targets(zero_labels(problem))


def as_moments(problem: rfm.Problem) -> rfm.Problem:
    """The same risk, through its moments."""
    phi, targets = problem.population.features, problem.population.targets
    moments = (phi.T @ phi / len(phi), phi.T @ targets / len(phi), jnp.mean(targets**2, axis=0))
    return rfm.Problem(problem.features, problem.labels, problem.clean_labels, population=rfm.Population(*moments))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::rfm.PrecisionWarning")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("with_zero", [True, False])
def test_flat_curves_turn_at_the_first_time_asked_for(method: str, with_zero: bool) -> None:
    times = np.geomspace(1, 1e4, 9)
    times = np.append(0, times) if with_zero else times
    for flatten, moments in itertools.product((zero_labels, zero_features, nothing), (False, True)):
        problem = flatten(make(_random(12, 6, seed=1), seed=2))
        problem = as_moments(problem) if moments else problem
        curve = rfm.closed_form(problem, times=times, method=method)
        check(curve)
        assert curve.turning_time == times[0]
        assert curve.overtraining_penalty == 1
        run = rfm.simulate(problem, step_size=0.1, steps=[0, 1, 2, 5] if with_zero else [1, 2, 5])
        check(run)
        assert run.turning_step == (0 if with_zero else 1)
        turn = theory.derivatives.turning_risk(
            theory.derivatives.Moments.of_rows(problem.features, problem.labels),
            problem.population,
            theory.GradientFlow(),
            jnp.asarray(times),
        )
        assert turn.time == times[0]
        assert turn.risk == curve.risk[0]


def drawn(seed: int) -> rfm.Problem:
    """A small problem: noiseless or noisy, of any of the degenerate kinds, seen by a test set or through moments."""
    rng = np.random.default_rng(seed)
    kinds = (None, None, None, zero_labels, zero_features, zero_targets, nothing)
    problem = make(_random(12, 6, seed=seed), seed=seed + 1, noise_std=float(rng.choice([0.0, 1e-9, 1e-3, 0.5, 3.0])))
    if rng.random() < 0.5:  # targets that the features fit
        test = problem.population.features
        fitted = jnp.linalg.lstsq(problem.features, problem.clean_labels)[0]
        problem = rfm.Problem(
            problem.features, problem.labels, problem.clean_labels, population=rfm.TestSet(test, test @ fitted)
        )
    kind = kinds[rng.integers(len(kinds))]
    problem = problem if kind is None else kind(problem)
    problem = as_moments(problem) if rng.random() < 0.5 else problem
    return in_single_precision(problem) if rng.random() < 0.3 else problem


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::rfm.PrecisionWarning")
def test_every_penalty_is_at_least_one_and_every_risk_at_least_zero() -> None:
    clocks = (
        np.asarray([0.0]),
        np.asarray([7.0]),
        np.append(0, np.geomspace(1e-2, 1e8, 31)),
        np.geomspace(1, 1e12, 31),
    )
    for seed in range(48):
        problem, method, times = drawn(seed), METHODS[seed % 3], clocks[seed % 4]
        check(rfm.closed_form(problem, times=times, method=method))
        rule = theory.GradientDescent(0.1)
        check(rfm.closed_form(problem, steps=np.unique(np.round(times)), rule=rule, method=method))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::rfm.PrecisionWarning")
def test_phases_and_switches_obey_the_same() -> None:
    for seed in range(8):
        problem = drawn(seed)
        plain = rfm.Problem(problem.features, problem.clean_labels, problem.clean_labels, population=problem.population)
        phases = [
            rfm.TrainingPhase(problem, theory.GradientFlow(), 10.0),
            rfm.TrainingPhase(plain, theory.GradientFlow()),
        ]
        check(rfm.closed_form_phases(phases, times=np.append(0, np.geomspace(0.1, 1e6, 31)), method="svd"))
        switch = rfm.closed_form_switch(problem, plain, budget=1e3, method="svd")
        assert np.all(switch.risk >= 0)
        assert 0 <= switch.best_risk <= np.min(switch.risk + switch.rounding_error) + switch.best_error


def test_an_ordinary_curve_is_the_quotient_it_always_was() -> None:
    for case in CASES:
        curve = rfm.closed_form(case.problem, times=np.geomspace(0.1, 1e4, 40), method="svd")
        quotient = curve.final_risk / curve.turning_risk
        told_apart = curve.final_risk - curve.turning_risk > curve.rounding_error[-1] + curve.turning_error
        assert curve.overtraining_penalty == (quotient if told_apart else 1)
        assert np.all(curve.penalty_so_far[-1] <= quotient * (1 + 1e-12))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::rfm.PrecisionWarning")
def test_no_warning_comes_out_of_numpy() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        for seed in range(4):
            problem = drawn(seed)
            rfm.compare_cures(problem, problem, budget=1e4)
