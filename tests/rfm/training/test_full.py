"""Problems and their training: the real thing against the closed form, and against the loop one would write first."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rfm
import theory
from tests.problems import Case, make, named
from tests.theory import oracles
from tests.tolerances import IDENTITY, ORACLE, SAMPLING

STEPS = [0, 1, 2, 41, 300]
KEYS = jax.random.split(jax.random.key(11), 8)


def stable_step(problem: rfm.Problem, share: float, ridge: float = 0.0) -> float:
    return share * 2 / (float(np.linalg.eigvalsh(oracles.moments(problem)[0])[-1]) + ridge)


# --- simulation ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.3, 0.99])
def test_training_does_what_the_closed_form_says(case: Case, share: float) -> None:
    problem, step = case.problem, stable_step(case.problem, share)
    run = rfm.simulate(problem, step_size=step, steps=STEPS)
    exact = rfm.closed_form(problem, steps=STEPS, rule=theory.GradientDescent(step), method="svd")
    scale = float(problem.population.target_power_by_target[0])
    assert np.allclose(run.risk_by_target, exact.risk_by_target, rtol=ORACLE, atol=0)
    assert np.allclose(run.train_loss, exact.train_loss, rtol=ORACLE, atol=ORACLE * exact.train_loss[0])
    for part in ("clean_risk", "noise_risk", "cross_risk"):
        assert np.allclose(getattr(run, part), getattr(exact, part), rtol=ORACLE, atol=ORACLE * scale), part
    assert np.array_equal(run.times, exact.times)
    assert np.array_equal(run.steps, exact.steps)


@pytest.mark.parametrize("ridge", [0.0, 0.2])
def test_training_is_the_plain_loop(ridge: float) -> None:
    problem = make(np.asarray(named("tall").features), seed=41, num_targets=2)
    step = stable_step(problem, 0.8, ridge)
    start = np.random.default_rng(1).normal(size=(8, 2))
    run = rfm.simulate(problem, step_size=step, steps=STEPS, ridge=ridge, start=theory.Start(jnp.asarray(start)))
    weights = [oracles.loop_weights(problem, step, k, ridge, start) for k in STEPS]
    assert np.allclose(run.risk_by_target, [oracles.risk(problem, w) for w in weights], rtol=ORACLE, atol=0)
    assert np.allclose(run.train_loss, [oracles.train_loss(problem, w).sum() for w in weights], rtol=ORACLE, atol=0)
    exact = rfm.closed_form(
        problem, steps=STEPS, rule=theory.GradientDescent(step, ridge), start=theory.Start(jnp.asarray(start))
    )
    assert np.allclose(run.risk, exact.risk, rtol=ORACLE, atol=0)


def test_what_a_simulation_does_not_know_it_does_not_claim() -> None:
    problem = named("tall")
    run = rfm.simulate(problem, step_size=0.5, steps=[0, 5, 50])
    for unknown in ("trusted_until", "risk_at_infinity", "infinity_is_resolved", "modes", "method"):
        assert not hasattr(run, unknown)
    assert run.turning_risk == run.risk.min()
    assert run.turning_time == run.times[np.argmin(run.risk)]
    bare = rfm.Problem(problem.features, problem.labels, population=problem.population)
    assert rfm.simulate(bare, step_size=0.5, steps=[0, 5, 50]).decomposition is None


def test_many_trainings_are_single_ones_bit_for_bit_on_any_number_of_workers() -> None:
    problems = [make(np.asarray(named("tall").features), seed=seed) for seed in (51, 52, 53)]
    start = theory.Start(variance=0.5)
    keys = list(KEYS[:3])
    for num_workers in (1, 3):
        together = rfm.simulate_many(
            problems, step_size=0.4, steps=STEPS, start=start, keys=keys, num_workers=num_workers
        )
        for problem, key, curve in zip(problems, keys, together, strict=True):
            alone = rfm.simulate(problem, step_size=0.4, steps=STEPS, start=start, key=key)
            leaves = zip(jax.tree.leaves(curve), jax.tree.leaves(alone), strict=True)
            assert all(np.array_equal(a, b, equal_nan=True) for a, b in leaves)
    with pytest.raises(ValueError, match="keys: there are 1 for 3 problems; pass one a problem"):
        rfm.simulate_many(problems, step_size=0.4, steps=STEPS, start=start, keys=keys[:1])


@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_training_is_refused_past_the_largest_stable_step_and_converges_below_it(ridge: float) -> None:
    problem = named("tall")
    largest = stable_step(problem, 1.0, ridge)
    for share in (1.01, 3.0):
        with pytest.raises(ValueError, match=rf"step_size: .*diverges.*largest stable one.*= {largest:.6g}"):
            rfm.simulate(problem, step_size=share * largest, steps=STEPS, ridge=ridge)
    run = rfm.simulate(problem, step_size=0.99 * largest, steps=[0, 5000], ridge=ridge)
    theta = np.linalg.solve(oracles.moments(problem)[0] + ridge * np.eye(8), oracles.moments(problem)[1])
    assert np.isclose(run.final_risk, oracles.risk(problem, theta).sum(), rtol=ORACLE)
    # And past it, the loop that nobody refuses does diverge.
    start = np.ones((8, 1))
    grown = oracles.loop_weights(problem, 1.01 * largest, 2000, ridge, start)
    assert np.linalg.norm(grown) > 1e6


@pytest.mark.parametrize("steps", [[0], [3, 10], [0, 7, 5000, 9001]])
def test_progress_counts_every_step_once(steps: list[int]) -> None:
    counts: list[int] = []
    rfm.simulate(named("tall"), step_size=0.4, steps=steps, progress=counts.append)
    assert sum(counts) == steps[-1]
    assert all(count > 0 for count in counts)


def test_recording_more_often_changes_nothing() -> None:
    problem = named("tall")
    often = rfm.simulate(problem, step_size=0.4, steps=list(range(0, 60)))
    seldom = rfm.simulate(problem, step_size=0.4, steps=[0, 17, 59])
    assert np.array_equal(often.risk[jnp.asarray([0, 17, 59])], seldom.risk)


def test_a_random_start_is_its_keys_and_needs_one() -> None:
    problem, start = named("tall"), theory.Start(variance=0.5)

    def run(key: jax.Array | None) -> np.ndarray:
        return np.asarray(rfm.simulate(problem, step_size=0.4, steps=[0, 5], start=start, key=key).risk)

    assert np.array_equal(run(KEYS[0]), run(KEYS[0]))
    assert np.all(run(KEYS[0]) != run(KEYS[1]))
    with pytest.raises(ValueError, match=r"key: a start of variance 0.5 is drawn at random; pass key=jax.random.key"):
        run(None)


@pytest.mark.slow
def test_the_mean_of_many_random_starts_is_the_closed_form() -> None:
    problem = named("wide")
    num_runs, step = 400, stable_step(problem, 0.9)
    start = theory.Start(0.3 * jnp.ones((24, 1)), 0.8)
    runs = rfm.simulate_many(
        [problem] * num_runs,
        step_size=step,
        steps=[0, 3, 100],
        start=start,
        keys=list(jax.random.split(jax.random.key(17), num_runs)),
    )
    exact = rfm.closed_form(problem, steps=[0, 3, 100], rule=theory.GradientDescent(step), start=start)
    for field in ("risk", "train_loss", "clean_risk"):
        values = np.stack([getattr(run, field) for run in runs])
        error = np.std(values, axis=0) / np.sqrt(num_runs)
        assert np.all(np.abs(values.mean(axis=0) - getattr(exact, field)) <= SAMPLING * error + ORACLE), field
    assert error[0] < 0.1 * exact.clean_risk[0]


def test_training_in_single_precision_stays_there() -> None:
    problem = jax.tree.map(lambda a: a.astype(jnp.float32), named("tall"))
    run = rfm.simulate(problem, step_size=0.4, steps=STEPS)
    assert run.risk.dtype == run.train_loss.dtype == jnp.float32
    double = rfm.simulate(named("tall"), step_size=0.4, steps=STEPS)
    assert np.allclose(run.risk, double.risk, rtol=2e-4)


@pytest.mark.parametrize("shape", [(30, 8), (8, 30), (450, 420)])
def test_the_largest_eigenvalue_is_that_of_the_covariance(shape: tuple[int, int]) -> None:
    phi = np.random.default_rng(6).normal(size=shape)
    problem = rfm.Problem(
        jnp.asarray(phi), jnp.ones(shape[0]), population=theory.TestSet(jnp.ones((2, shape[1])), jnp.ones(2))
    )
    expected = np.linalg.norm(phi, 2) ** 2 / shape[0]
    assert np.isclose(problem.largest_eigenvalue(), expected, rtol=1e-10)


# --- synthesis -----------------------------------------------------------------------------------------------------

TASK = rfm.TeacherStudent(input_dim=4, num_hidden=5, weight_std=2.0, label_noise_std=0.1, key=KEYS[0])
FEATURES = rfm.RandomFeatures(input_dim=4, num_features=8, key=KEYS[1])
SAMPLE = TASK.sample(num_samples=6, key=KEYS[2])
TEST = TASK.test_set(FEATURES, num_samples=30, key=KEYS[3])
LAWS = [rfm.ERM(), rfm.Mixup(lam=0.5), rfm.Mixup(alpha=0.5), rfm.Mixup(lam=0.3, pairs=20), rfm.Mixup(alpha=1.0, pairs=20)]  # fmt: skip  # noqa: E501


@pytest.mark.parametrize("law", LAWS, ids=str)
def test_a_problem_is_made_of_mixed_inputs_mixed_labels_and_the_truth_there(law: rfm.mixup.Law) -> None:
    problem = rfm.synthesize(SAMPLE, FEATURES, law, population=TEST, key=KEYS[4])
    (table,) = law.tables(6, 1000, key=KEYS[4])
    lam = np.asarray(table.lam)[:, None]
    x, y = np.asarray(SAMPLE.inputs), np.asarray(SAMPLE.labels)[:, None]
    mixed = lam * x[table.first] + (1 - lam) * x[table.second]
    assert np.allclose(problem.features, FEATURES(jnp.asarray(mixed)), rtol=IDENTITY, atol=IDENTITY)
    assert np.allclose(problem.labels, lam * y[table.first] + (1 - lam) * y[table.second], rtol=IDENTITY)
    assert np.allclose(problem.clean_labels[:, 0], TASK.truth(jnp.asarray(mixed)), rtol=IDENTITY, atol=IDENTITY)


@pytest.mark.parametrize("law", [LAWS[0], LAWS[2], LAWS[3]], ids=str)
@pytest.mark.parametrize("block_rows", [4, 18])
def test_a_streamed_problem_is_the_whole_one(law: rfm.mixup.Law, block_rows: int) -> None:
    whole = rfm.synthesize(SAMPLE, FEATURES, law, population=TEST, key=KEYS[4])
    streamed = rfm.synthesize(SAMPLE, FEATURES, law, population=TEST, key=KEYS[4], block_rows=block_rows)
    times = [0.0, 1.0, 30.0, 1e3, 1e5]
    ours, theirs = rfm.closed_form(streamed, times=times), rfm.closed_form(whole, times=times, method="svd")
    assert ours.method == "qr"
    assert np.allclose(ours.risk, theirs.risk, rtol=ORACLE, atol=0)
    assert np.allclose(ours.noise_risk, theirs.noise_risk, rtol=ORACLE, atol=ORACLE)
    assert np.allclose(ours.train_loss, theirs.train_loss, rtol=ORACLE, atol=ORACLE * theirs.train_loss[0])


def test_mixing_makes_no_label_noise_where_the_truth_is_linear() -> None:
    task = rfm.GaussianTask(rfm.data.LinearTruth(jnp.arange(4.0), 2.0), input_dim=4)
    problem = rfm.synthesize(task.sample(6, key=KEYS[5]), FEATURES, rfm.Mixup(alpha=1.0), population=TEST, key=KEYS[6])
    assert np.allclose(problem.labels, problem.clean_labels, rtol=IDENTITY, atol=IDENTITY)


def test_the_label_noise_of_a_quadratic_truth_is_its_curvature_along_the_pair() -> None:
    a = np.random.default_rng(7).normal(size=(4, 4))
    task = rfm.GaussianTask(rfm.data.QuadraticTruth(jnp.asarray(a), jnp.ones(4), 1.0), input_dim=4)
    sample = task.sample(6, key=KEYS[5])
    problem = rfm.synthesize(sample, FEATURES, rfm.Mixup(lam=0.3), population=TEST)
    x = np.asarray(sample.inputs)
    expected = [0.3 * 0.7 / 2 * (u - v) @ a @ (u - v) for u in x for v in x]
    assert np.allclose((problem.labels - problem.clean_labels)[:, 0], expected, rtol=1e-11, atol=1e-12)


def test_a_sample_without_a_truth_has_no_clean_labels() -> None:
    bare = rfm.Sample(SAMPLE.inputs, SAMPLE.labels, None)
    assert rfm.synthesize(bare, FEATURES, rfm.Mixup(lam=0.5), population=TEST).clean_labels is None


def test_any_callable_serves_as_features() -> None:
    test = TASK.test_set(jnp.sin, num_samples=30, key=KEYS[3])
    problem = rfm.synthesize(SAMPLE, jnp.sin, rfm.ERM(), population=test)
    assert np.array_equal(problem.features, jnp.sin(SAMPLE.inputs))


@pytest.mark.parametrize(("latest", "method"), [(1e3, "gram"), (1e8, "qr")])
def test_auto_takes_the_fastest_accurate_method_and_says_which(latest: float, method: str) -> None:
    curve = rfm.closed_form(named("tall"), times=[0.0, latest])
    assert curve.method == method
    assert rfm.closed_form(named("wide"), times=[0.0, latest]).method == method.replace("qr", "svd")


# --- bad input -----------------------------------------------------------------------------------------------------


def test_bad_arrays_of_a_problem_are_named() -> None:
    phi, y, test = jnp.ones((4, 2)), jnp.ones(4), theory.TestSet(jnp.ones((3, 2)), jnp.ones(3))
    bad = (
        ((phi, jnp.ones(5)), r"labels: has shape \(5, 1\); pass an array of shape \(4, any\)"),
        (
            (phi.at[1, 0].set(jnp.nan), y),
            r"features: 1 of 8 values are not finite, the first \(nan\) at index \(1, 0\)",
        ),
        ((phi, y.at[2].set(jnp.inf)), r"labels: 1 of 4 values are not finite, the first \(inf\) at index \(2, 0\)"),
        ((phi, y, jnp.ones((4, 2))), r"clean_labels: has shape \(4, 2\); pass an array of shape \(4, 1\)"),
        ((phi, y, y.at[0].set(jnp.nan)), r"clean_labels: 1 of 4 values are not finite"),
        ((jnp.ones((4, 3)), y), "population: has 2 features, the problem 3; use the same feature map"),
        ((phi, jnp.ones((4, 2))), r"population: has 1 target\(s\), the labels 2; pass the same targets to both"),
        ((jnp.ones((0, 2)), jnp.ones(0)), r"features: has shape \(0, 2\).*none of them 0"),
    )
    for arrays, message in bad:
        with pytest.raises(ValueError, match=message):
            rfm.Problem(*arrays, population=test)


def test_clocks_must_fit_the_rule() -> None:
    problem, descent = named("tall"), theory.GradientDescent(0.1)
    settings: dict[str, Any]
    for settings in ({}, {"steps": [1]}, {"times": [1.0], "steps": [1]}):
        with pytest.raises(ValueError, match=r"times: GradientFlow runs in continuous time; pass times= \(or a rule"):
            rfm.closed_form(problem, **settings)
    for settings in ({}, {"times": [1.0]}, {"times": [1.0], "steps": [1]}):
        with pytest.raises(ValueError, match="steps: GradientDescent counts steps; pass steps=, and not times="):
            rfm.closed_form(problem, rule=descent, **settings)
    with pytest.raises(ValueError, match="times: must strictly ascend"):
        rfm.closed_form(problem, times=[2.0, 1.0])
    with pytest.raises(ValueError, match="steps: holds the negative value -1"):
        rfm.simulate(problem, step_size=0.1, steps=[-1, 1])
    with pytest.raises(ValueError, match=r"steps: holds 0.5; steps are counted in whole numbers"):
        rfm.simulate(problem, step_size=0.1, steps=[0.5, 1.0])


@pytest.mark.parametrize("step_size", [0.0, -0.1, np.nan])
def test_a_step_size_must_be_positive(step_size: float) -> None:
    with pytest.raises(ValueError, match=f"step_size: must be a positive number, got {step_size}"):
        rfm.simulate(named("tall"), step_size=step_size, steps=[0, 1])


def test_a_step_that_diverges_is_refused_with_the_largest_stable_one() -> None:
    problem = named("tall")
    largest = stable_step(problem, 1.0)
    with pytest.raises(ValueError, match=rf"2 / \(mu_max \+ ridge\) = {largest:.6g}"):
        rfm.closed_form(problem, steps=[0, 1], rule=theory.GradientDescent(1.001 * largest))


def test_a_start_must_fit_the_problem() -> None:
    with pytest.raises(ValueError, match=r"start.weights: has shape \(3, 1\); pass an array of shape \(8, 1\)"):
        rfm.simulate(named("tall"), step_size=0.1, steps=[0, 1], start=theory.Start(jnp.ones((3, 1))))


def test_features_without_any_signal_are_solved_and_trained() -> None:
    problem = rfm.Problem(
        jnp.zeros((4, 2)), jnp.ones(4), jnp.ones(4), population=theory.TestSet(jnp.ones((3, 2)), jnp.ones(3))
    )
    assert rfm.closed_form(problem, times=[0.0, 1.0]).risk.tolist() == [1.0, 1.0]
    exact = rfm.closed_form(problem, steps=[0, 5], rule=theory.GradientDescent(0.1))
    assert exact.risk.tolist() == rfm.simulate(problem, step_size=0.1, steps=[0, 5]).risk.tolist() == [1.0, 1.0]
