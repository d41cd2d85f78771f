"""A solution: questions of one decomposition, against the short ways and the plain formulas; and its file."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rfm
import theory
from tests.problems import CASES, Case, make, named
from tests.theory import oracles
from tests.tolerances import IDENTITY, ORACLE

TIMES = [0.0, 0.5, 30.0, 1e4]
MIXED = named("tall")
PLAIN = make(np.asarray(named("noiseless").features), seed=92, noise_std=0.0, population=MIXED.population)
TASK = rfm.TeacherStudent(input_dim=3, num_hidden=4, weight_std=2.0, key=jax.random.key(0))
FEATURES = rfm.RandomFeatures(input_dim=3, num_features=10, key=jax.random.key(1))
SAMPLE = TASK.sample(num_samples=8, key=jax.random.key(2))


def synthesized(law: rfm.mixup.Law, features: rfm.RandomFeatures = FEATURES) -> object:
    test = TASK.test_set(features, num_samples=20, key=jax.random.key(3))
    return rfm.synthesize(SAMPLE, features, law, population=test)


@contextmanager
def decompositions(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The methods of the decompositions that are made meanwhile."""
    made: list[str] = []
    plain = theory.decompose

    def counted(*arguments: object, method: str) -> theory.Spectrum:
        made.append(method)
        return plain(*arguments, method=method)

    with monkeypatch.context() as patch:
        patch.setattr(theory, "decompose", counted)
        yield made


@pytest.mark.slow
def test_ten_questions_of_one_solution_make_no_further_decomposition(monkeypatch: pytest.MonkeyPatch) -> None:
    with decompositions(monkeypatch) as made:
        mixed, plain = rfm.solve(MIXED), rfm.solve(PLAIN)
        assert len(made) == 2
        descent = theory.GradientDescent(0.9 / float(mixed.spectrum.eigenvalues[0]))
        mixed.curve(times=TIMES)
        mixed.curve(steps=[0, 10], rule=descent)
        mixed.curve(steps=[0, 10], rule=theory.HeavyBall(descent.step_size, 0.5), by_mode=True)
        mixed.weights(times=TIMES)
        mixed.predict(features=MIXED.features, times=TIMES)
        mixed.turning(budget=1e4)
        mixed.largest_stable_step(descent)
        rfm.closed_form(mixed, times=TIMES)
        rfm.closed_form_switch(mixed, plain, budget=100.0)
        rfm.closed_form_phases([rfm.TrainingPhase(mixed, descent, 3), rfm.TrainingPhase(plain, descent)], steps=[9])
        rfm.compare_cures(mixed, plain, budget=100.0)
        rfm.liu2023_risk_bound(mixed, TIMES)
        rfm.risk_over_labels(mixed, label_noise_variance=0.5, times=TIMES)
        rfm.minibatch_curve(mixed, rfm.Batches(4), step_size=0.01, steps=[3])
        rfm.simulate_minibatch(mixed, rfm.Batches(4), step_size=0.01, steps=[3], keys=[jax.random.key(0)])
        mixed.largest_stable_step(rfm.Batches(4))
        assert made == ["qr", "qr"]


def test_problems_are_decomposed_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    for question in (
        lambda: rfm.compare_cures(MIXED, PLAIN, budget=100.0),
        lambda: rfm.closed_form_switch(MIXED, PLAIN, budget=100.0),
        lambda: (rfm.closed_form(MIXED, times=TIMES), rfm.closed_form(PLAIN, times=TIMES)),
    ):
        with decompositions(monkeypatch) as made:
            question()
        assert len(made) == 2


def test_questions_have_the_answers_of_the_short_ways(case: Case) -> None:
    solution = rfm.solve(case.problem, method="svd")
    exact = rfm.closed_form(case.problem, times=TIMES, method="svd")
    curve = solution.curve(times=TIMES)
    for name in ("risk", "noise_risk", "train_loss", "rounding_error", "turning_time", "risk_at_infinity"):
        assert np.array_equal(getattr(curve, name), getattr(exact, name)), name
    turning = solution.turning(budget=1e4)
    assert float(turning.risk) <= float(exact.turning_risk) * (1 + ORACLE) + float(exact.turning_error)


def test_weights_and_predictions_are_those_of_the_plain_loop() -> None:
    rate = 0.5 / MIXED.largest_eigenvalue()
    rule, steps = theory.Nesterov(rate, 0.6, ridge=0.01), [0, 1, 25]
    start = theory.Start(jnp.asarray(np.random.default_rng(1).normal(size=(8, 1))))
    solution = rfm.solve(MIXED)
    weights = solution.weights(steps=steps, rule=rule, start=start)
    covariance, force = oracles.moments(MIXED)
    theta = before = np.asarray(start.weights)
    for k in range(26):
        if k in steps:
            assert np.allclose(weights[steps.index(k)], theta, rtol=ORACLE, atol=ORACLE)
        ahead = theta + 0.6 * (theta - before)
        theta, before = ahead - rate * (covariance @ ahead - force + 0.01 * ahead), theta
    rows = np.random.default_rng(2).normal(size=(5, 8))
    said = solution.predict(features=rows, steps=steps, rule=rule, start=start)
    assert said.shape == (3, 5, 1)
    assert np.allclose(said, rows @ np.asarray(weights), rtol=IDENTITY, atol=IDENTITY)


@pytest.mark.parametrize(
    ("law", "features"),
    [
        (rfm.Mixup(lam=0.3), FEATURES),
        (rfm.Mixup(lam=0.3, pairs="expected"), FEATURES),
        (rfm.ERM(), rfm.RandomFeatures(input_dim=3, num_features=np.inf, key=jax.random.key(4))),
    ],
    ids=["table", "expected", "infinitely many features"],
)
def test_predictions_of_inputs_have_the_risk_of_the_curve(law: rfm.mixup.Law, features: rfm.RandomFeatures) -> None:
    problem = synthesized(law, features)
    inputs = jax.random.normal(jax.random.key(3), (20, 3))  # those of the test set
    solution = rfm.solve(problem)
    said = solution.predict(inputs, times=TIMES)
    error = np.asarray(said) - np.asarray(TASK.truth(inputs)).reshape(1, 20, 1)
    assert np.allclose(np.mean(error**2, axis=1), solution.curve(times=TIMES).risk_by_target, rtol=ORACLE)


@pytest.mark.parametrize("kind", [rfm.TestSet, rfm.Population])
def test_a_loaded_solution_answers_with_the_same_bits(tmp_path: Path, kind: type) -> None:
    problem = named("rank-deficient")
    if kind is rfm.Population:
        test = problem.population
        target_moment = test.features.T @ test.targets / len(test.targets)
        population = rfm.Population(test.second_moment, target_moment, test.target_power_by_target)
        problem = rfm.Problem(problem.features, problem.labels, population=population)
    solution = rfm.solve(problem)
    solution.save(tmp_path / "solution.npz")
    again = rfm.Solution.load(tmp_path / "solution.npz")
    for name in ("risk", "rounding_error", "train_loss", "risk_at_infinity", "infinity_is_resolved"):
        ours, theirs = (getattr(one.curve(times=TIMES), name) for one in (solution, again))
        assert np.array_equal(ours, theirs), name
    assert again.spectrum.method == solution.spectrum.method
    with pytest.raises(ValueError, match="problem: a loaded solution does not know what batches are drawn from"):
        rfm.minibatch_curve(again, rfm.Batches(2), step_size=0.1, steps=[1])
    with pytest.raises(ValueError, match="inputs: the feature map of this solution is unknown"):
        again.predict(np.ones((1, 8)), times=[1.0])


def test_other_files_are_not_solutions(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        rfm.Solution.load(tmp_path / "none.npz")
    for name, write in (
        ("text.npz", lambda path: path.write_text("x,y\n")),
        ("empty.npz", lambda path: path.write_bytes(b"")),
        ("other.npz", lambda path: np.savez(path, x=np.ones(3))),
        ("object.npz", lambda path: np.savez(path, layout=np.asarray([{}], object))),
    ):
        write(tmp_path / name)
        with pytest.raises(ValueError, match=f"path: .*{name}' is no file that Solution.save wrote"):
            rfm.Solution.load(tmp_path / name)
    solution = rfm.solve(MIXED)
    solution.save(tmp_path / "later.npz")
    with np.load(tmp_path / "later.npz") as file:
        arrays = {**file, "layout": 99}
    np.savez(tmp_path / "later.npz", **arrays)
    with pytest.raises(ValueError, match=r"is of layout 99, this version reads 1; solve again"):
        rfm.Solution.load(tmp_path / "later.npz")


def test_a_time_past_until_costs_one_more_decomposition_and_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with decompositions(monkeypatch) as made:
        solution = rfm.solve(MIXED, until=10.0)
        assert solution.spectrum.method == "gram"
        with pytest.warns(UserWarning, match=r"until: t = 1e\+09 lies past 10, .* once more, by 'qr'") as caught:
            late = solution.curve(times=[1e9])
        assert caught[0].filename == __file__
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert np.array_equal(solution.curve(times=[1e9]).risk, late.risk)
            assert solution.curve(times=[1.0]).method == "gram"
        assert made == ["gram", "qr"]
    assert np.array_equal(late.risk, rfm.solve(MIXED).curve(times=[1e9]).risk)


def test_a_rounded_curve_is_warned_of_where_it_was_asked_for() -> None:
    problem = rfm.Problem(np.diag([1.0, 1e-7]), np.ones(2), population=rfm.TestSet(np.eye(2), np.ones(2)))
    solution = rfm.solve(problem, method="gram")
    for ask in (lambda: solution.curve(times=[1e13]), lambda: rfm.closed_form(problem, times=[1e13], method="gram")):
        with pytest.warns(rfm.PrecisionWarning, match="can be trusted") as caught:
            ask()
        assert caught[0].filename == __file__


def test_questions_that_cannot_be_answered_say_so() -> None:
    solution = rfm.solve(MIXED)
    with pytest.raises(ValueError, match="budget: until when to look for the turn is not known"):
        solution.turning()
    with pytest.raises(ValueError, match="until: must be a positive time, got 0"):
        rfm.solve(MIXED, until=0)
    with pytest.raises(ValueError, match="inputs, features: pass one of them"):
        solution.predict(times=[1.0])
    with pytest.raises(ValueError, match="features: "):
        solution.predict(features=np.ones((2, 3)), times=[1.0])
    with pytest.raises(ValueError, match="method: the problem is solved already, by 'qr'"):
        rfm.closed_form(solution, times=[1.0], method="svd")
    with pytest.raises(ValueError, match="diverges on this problem"):
        solution.weights(steps=[1], rule=theory.GradientDescent(1e9))
    assert rfm.solve(MIXED, until=100.0).turning().time <= 100.0


def test_all_named_problems_are_solved() -> None:
    assert len(CASES) == sum(rfm.solve(case.problem).curve(times=[1.0]).risk.shape == (1,) for case in CASES)
