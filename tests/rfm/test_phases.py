"""Real training by every rule and in phases, against the closed forms; and the cures for over-training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rfm
import theory
from tests.problems import make, named
from tests.theory import oracles
from tests.tolerances import ORACLE, SAMPLING, TURNING_RISK

STEPS = [0, 1, 2, 41, 300]
MIXED = make(np.asarray(named("tall").features), seed=91)
PLAIN = make(np.asarray(named("noiseless").features), seed=92, noise_std=0.0, population=MIXED.population)
TOP = max(MIXED.largest_eigenvalue(), PLAIN.largest_eigenvalue())
KEY = jax.random.key(3)

RULES = {
    "descent": theory.GradientDescent(1.5 / TOP, 0.05),
    "heavy ball": theory.HeavyBall(1 / TOP, 0.8),
    "nesterov": theory.Nesterov(1 / TOP, 0.8, 0.05),
    "increasing nesterov": theory.NesterovIncreasing(0.5 / TOP),
    "schedule": theory.StepSchedule(theory.rules.cosine_steps(1.9 / TOP, 300)),
    "averaged heavy ball": theory.Averaged(theory.HeavyBall(1 / TOP, 0.8)),
    "averaged descent": theory.Averaged(theory.GradientDescent(1 / TOP, 0.05)),
    "averaged increasing nesterov": theory.Averaged(theory.NesterovIncreasing(0.5 / TOP)),
    "averaged schedule": theory.Averaged(theory.StepSchedule(theory.rules.cosine_steps(1.9 / TOP, 300))),
}
rules = pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())


def assert_same(run: theory.curve.RiskCurve, exact: theory.Curve) -> None:
    scale = float(exact.risk.max())
    for name in ("risk", "clean_risk", "noise_risk", "cross_risk", "train_loss"):
        assert np.allclose(getattr(run, name), getattr(exact, name), rtol=ORACLE, atol=ORACLE * scale), name
    assert np.allclose(run.times, exact.times, rtol=ORACLE)
    assert np.array_equal(run.steps, exact.steps)


@pytest.mark.slow
@rules
def test_training_by_a_rule_does_what_its_closed_form_says(rule: theory.Rule) -> None:
    start = theory.Start(jnp.asarray(np.random.default_rng(5).normal(size=(8, 1))))
    run = rfm.simulate(MIXED, rule=rule, steps=STEPS, start=start)
    assert_same(run, rfm.closed_form(MIXED, rule=rule, steps=STEPS, start=start, method="svd"))


@pytest.mark.parametrize("kind", ["GradientDescent", "HeavyBall", "Nesterov", "NesterovIncreasing"])
def test_just_past_the_largest_stable_step_training_diverges_and_is_refused(kind: str) -> None:
    settings = (0.8,) if kind in ("HeavyBall", "Nesterov") else ()
    family = getattr(theory, kind)
    largest = family(1.0, *settings).largest_stable_step(MIXED.largest_eigenvalue())
    with pytest.raises(ValueError, match="diverges on this problem; pass a step below the largest stable one"):
        rfm.simulate(MIXED, rule=family(1.01 * largest, *settings), steps=[1])
    below = rfm.simulate(MIXED, rule=family(0.99 * largest, *settings), steps=[3000])
    assert below.train_loss[-1] < rfm.simulate(MIXED, step_size=0.1 / TOP, steps=[0]).train_loss[0]
    # The same updates, which nobody stops here.
    covariance, force = oracles.moments(MIXED)
    theta = before = np.zeros_like(force)
    for k in range(6000):
        beta = k / (k + 3) if kind == "NesterovIncreasing" else (settings or (0.0,))[0]
        ahead = theta + (beta if kind.startswith("Nesterov") else 0) * (theta - before)
        carried = theta + beta * (theta - before)
        theta, before = carried - 1.01 * largest * (covariance @ ahead - force), theta
    assert not np.all(np.abs(theta) < 1e6)


@pytest.mark.slow
@rules
def test_phases_of_training_do_what_their_closed_form_says(rule: theory.Rule) -> None:
    second = theory.Nesterov(1 / TOP, 0.5)
    phases = [rfm.TrainingPhase(MIXED, rule, 30), rfm.TrainingPhase(PLAIN, second, 50), rfm.TrainingPhase(MIXED, rule)]
    start = theory.Start(jnp.asarray(np.random.default_rng(5).normal(size=(8, 1))))
    steps = [0, 7, 30, 31, 80, 85, 300]
    run = rfm.simulate_phases(phases, steps=steps, start=start)
    assert_same(run, rfm.closed_form_phases(phases, steps=steps, start=start, method="svd"))


def test_phases_that_nothing_is_asked_of_are_trained_all_the_same() -> None:
    descent = theory.GradientDescent(1 / TOP)
    phases = [rfm.TrainingPhase(MIXED, descent, 30), rfm.TrainingPhase(PLAIN, descent, 20)]
    alone = rfm.simulate_phases(phases, steps=[50])
    beside = rfm.simulate_phases(phases, steps=[0, 10, 30, 50])
    assert alone.risk[0] == beside.risk[-1]
    early = rfm.simulate_phases(phases, steps=[10])  # no step of the second phase is made
    assert early.risk[0] == beside.risk[1]
    done: list[int] = []
    rfm.simulate_phases(phases, steps=[50], progress=done.append)
    assert sum(done) == 50


def test_a_random_start_goes_through_phases_in_the_mean_over_many() -> None:
    descent = theory.GradientDescent(1 / TOP)
    phases = [rfm.TrainingPhase(MIXED, descent, 5), rfm.TrainingPhase(PLAIN, descent)]
    start = theory.Start(variance=0.5)
    keys = jax.random.split(KEY, 100)
    runs = np.stack([rfm.simulate_phases(phases, steps=[5, 12], start=start, key=key).risk for key in keys])
    exact = rfm.closed_form_phases(phases, steps=[5, 12], start=start)
    assert np.all(np.abs(runs.mean(axis=0) - exact.risk) < SAMPLING * runs.std(axis=0) / np.sqrt(100))


def test_a_given_spread_and_learnt_noise_start_training_as_they_start_the_closed_form() -> None:
    rng = np.random.default_rng(8)
    weights, noise, spread = rng.normal(size=(8, 1)), rng.normal(size=(8, 1)), rng.normal(size=(8, 3))
    descent = theory.GradientDescent(1 / TOP)
    known = theory.Start(jnp.asarray(weights), noise_weights=jnp.asarray(noise))
    assert_same(
        rfm.simulate(MIXED, rule=descent, steps=STEPS, start=known),
        rfm.closed_form(MIXED, rule=descent, steps=STEPS, start=known, method="svd"),
    )
    random = theory.Start(jnp.asarray(weights), 0.5, spread=jnp.asarray(spread))
    keys = jax.random.split(KEY, 100)
    runs = np.stack([rfm.simulate(MIXED, rule=descent, steps=[0, 5], start=random, key=key).risk for key in keys])
    exact = rfm.closed_form(MIXED, rule=descent, steps=[0, 5], start=random)
    assert np.all(np.abs(runs.mean(axis=0) - exact.risk) < SAMPLING * runs.std(axis=0) / np.sqrt(100))


def test_phases_without_length_train_nothing_and_record_nothing() -> None:
    descent = theory.GradientDescent(1 / TOP)
    none, then = rfm.TrainingPhase(PLAIN, descent, 0), rfm.TrainingPhase(MIXED, descent)
    steps = [0, 1, 2]
    run = rfm.simulate_phases([none, then], steps=steps)
    assert np.array_equal(run.risk, rfm.simulate(MIXED, rule=descent, steps=steps).risk)


def test_a_schedule_may_follow_and_one_that_is_too_short_is_refused_before_training() -> None:
    schedule = theory.StepSchedule(theory.rules.cosine_steps(1 / TOP, 50))
    phases = [rfm.TrainingPhase(MIXED, theory.GradientDescent(1 / TOP), 100), rfm.TrainingPhase(PLAIN, schedule)]
    assert_same(
        rfm.simulate_phases(phases, steps=[0, 100, 150]),
        rfm.closed_form_phases(phases, steps=[0, 100, 150], method="svd"),
    )
    done: list[int] = []
    with pytest.raises(ValueError, match="steps: 300 is past the end of the schedule; pass steps up to 50"):
        rfm.simulate(MIXED, rule=schedule, steps=[300], progress=done.append)
    assert not done


# --- decisions -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_every_cure_is_the_best_of_a_fine_grid_of_its_setting() -> None:
    budget = 300.0
    cures = rfm.compare_cures(MIXED, PLAIN, budget=budget)
    assert cures["none"].risk == rfm.closed_form(MIXED, times=[budget]).final_risk
    times = np.geomspace(0.01, budget, 4000)
    curve = rfm.closed_form(MIXED, times=times)
    assert cures["stop"].risk <= curve.risk.min() * (1 + TURNING_RISK)
    assert np.isclose(cures["stop"].risk, curve.risk.min(), rtol=1e-5)
    ridges = np.geomspace(1e-4, 1, 80)
    decayed = [
        rfm.closed_form(MIXED, times=[budget], rule=theory.GradientFlow(jnp.asarray(r))).final_risk for r in ridges
    ]
    assert cures["decay"].risk <= min(decayed) * (1 + TURNING_RISK)
    assert np.isclose(cures["decay"].risk, min(decayed), rtol=1e-2)
    rule = theory.GradientFlow(cures["decay"].setting)
    assert np.isclose(rfm.closed_form(MIXED, times=[budget], rule=rule).final_risk, cures["decay"].risk, rtol=ORACLE)
    phases = [rfm.TrainingPhase(MIXED, theory.GradientFlow(), cures["switch"].setting)]
    phases.append(rfm.TrainingPhase(PLAIN, theory.GradientFlow()))
    switched = rfm.closed_form_phases(phases, times=[budget]).final_risk
    assert np.isclose(switched, cures["switch"].risk, rtol=ORACLE)
    assert cures["switch"].risk <= min(cures["none"].risk, rfm.closed_form(PLAIN, times=[budget]).final_risk)
    mean = rfm.closed_form(MIXED, times=[budget], rule=theory.Averaged(theory.GradientFlow()))
    assert cures["average"].risk == mean.final_risk


@pytest.mark.slow
def test_cures_by_steps_have_whole_settings_and_only_stable_ridges() -> None:
    rule = theory.GradientDescent(1.9 / TOP)
    cures = rfm.compare_cures(MIXED, PLAIN, budget=200, rule=rule)
    for name in ("stop", "switch"):
        assert cures[name].setting == round(cures[name].setting)
    run = rfm.simulate(MIXED, rule=rule, steps=np.arange(201))
    assert np.isclose(cures["stop"].risk, run.turning_risk, rtol=ORACLE)
    assert cures["stop"].setting == run.turning_step
    decayed = theory.GradientDescent(rule.step_size, cures["decay"].setting)
    assert np.isclose(rfm.simulate(MIXED, rule=decayed, steps=[200]).final_risk, cures["decay"].risk, rtol=ORACLE)
    assert "average" not in rfm.compare_cures(MIXED, PLAIN, budget=200, rule=theory.Averaged(rule))


def test_strong_noise_wants_a_ridge_far_above_the_largest_eigenvalue() -> None:
    problem = rfm.Problem(jnp.eye(2), 5 * jnp.ones(2), population=theory.TestSet(jnp.eye(2), jnp.ones(2)))
    _, ridge, risk, _ = rfm.decide.best_ridge(problem.spectrum(), problem.population, theory.GradientFlow(), 1e4)
    assert np.isclose(ridge, 2.0, rtol=1e-6)  # weights 5 / 2 / (1 / 2 + ridge) are 1
    assert abs(risk) < 1e-12


# --- bad input -----------------------------------------------------------------------------------------------------


def test_rules_and_step_sizes_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="step_size, rule: pass one of them, got None and None"):
        rfm.simulate(MIXED, steps=[1])
    with pytest.raises(ValueError, match=r"step_size, rule: pass one of them, got 0\.1 and"):
        rfm.simulate(MIXED, steps=[1], step_size=0.1, rule=RULES["descent"])
    with pytest.raises(ValueError, match=r"ridge: HeavyBall brings its own; pass the rule with ridge=0\.1"):
        rfm.simulate(MIXED, steps=[1], rule=RULES["heavy ball"], ridge=0.1)
    with pytest.raises(ValueError, match="step_size, rule: batches are trained by gradient descent"):
        rfm.simulate(MIXED, steps=[1], rule=RULES["heavy ball"], batches=rfm.Batches(2), key=KEY)
    for rule in (theory.GradientFlow(), theory.Averaged(theory.GradientFlow())):
        with pytest.raises((TypeError, ValueError), match="takes no steps that could be trained"):
            rfm.simulate(MIXED, steps=[1], rule=rule)
    with pytest.raises(ValueError, match="times: the last is 60, but the phases end at 50"):
        rfm.simulate_phases([rfm.TrainingPhase(MIXED, RULES["descent"], 50)], steps=[60])
    with pytest.raises(ValueError, match="budget: must be a positive number, got 0"):
        rfm.closed_form_switch(MIXED, PLAIN, budget=0)


def test_problems_that_do_not_go_together_are_refused() -> None:
    two = make(np.asarray(named("tall").features), seed=91, num_targets=2)
    flow = theory.GradientFlow()
    for first, second in ((MIXED, two), (two, MIXED)):
        phases = [rfm.TrainingPhase(first, flow, 1.0), rfm.TrainingPhase(second, flow)]
        with pytest.raises(ValueError, match=r"population: has \d target\(s\), the labels \d"):
            rfm.closed_form_switch(first, second, budget=5.0)
        with pytest.raises(ValueError, match=r"population: has \d target\(s\), the labels \d"):
            rfm.closed_form_phases(phases, times=[2.0])
    with pytest.raises(ValueError, match="population: has 8 features, but the problem has 24"):
        rfm.compare_cures(MIXED, named("wide"), budget=5.0)
    task = rfm.TeacherStudent(2, 2, key=KEY)
    features = rfm.RandomFeatures(2, np.inf, key=KEY)
    test = task.test_set(features, 5, key=KEY)
    kernel = rfm.synthesize(task.sample(4, key=KEY), features, rfm.ERM(), population=test)
    with pytest.raises(TypeError, match="in infinitely many features each problem has coordinates of its own"):
        rfm.closed_form_switch(kernel, kernel, budget=5.0)
    with pytest.raises(ValueError, match=r"start.weights: has shape \(8, 3\)"):
        rfm.closed_form(MIXED, times=[1.0], start=theory.Start(jnp.ones((8, 3))))
    with pytest.raises(ValueError, match="noise_weights: they are a part of the weights, and there are none"):
        theory.Start(noise_weights=jnp.ones((8, 1)))
    with pytest.raises(ValueError, match="variance: must be a finite number that is not negative, got -1"):
        theory.Start(variance=-1.0)


@pytest.mark.parametrize(
    ("rule", "budget", "message"),
    [
        (theory.GradientFlow(), np.inf, "budget: must be a positive number, got inf"),
        (theory.GradientDescent(0.1), 2.5, "budget: must be a positive whole number of steps, got 2.5"),
        (theory.GradientDescent(0.1), -3, "budget: must be a positive whole number of steps, got -3"),
    ],
)
def test_budgets_that_make_no_sense_are_refused_everywhere(rule: theory.Rule, budget: float, message: str) -> None:
    spectrum = MIXED.spectrum()
    for decide in (
        lambda: rfm.closed_form_switch(MIXED, PLAIN, budget=budget, rule=rule),
        lambda: rfm.compare_cures(MIXED, PLAIN, budget=budget, rule=rule),
        lambda: rfm.decide.best_ridge(spectrum, MIXED.population, rule, budget),
    ):
        with pytest.raises(ValueError, match=message):
            decide()
