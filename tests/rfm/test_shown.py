"""Problems, solutions and advice say what they are, and compute nothing for it."""

import math
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rfm
import theory
from rfm.problem import Solvable
from theory.views import number

key = jax.random.key
TASK = rfm.TeacherStudent(4, 3, key=key(0))
FEATURES = rfm.RandomFeatures(4, 6, key=key(1))
ENDLESS = rfm.RandomFeatures(4, math.inf, key=key(1))
SAMPLE = TASK.sample(8, key=key(2))
TEST = TASK.test_set(FEATURES, 30, key=key(3))


def mixed(law: rfm.mixup.Law, **more: object) -> Solvable:
    return rfm.synthesize(SAMPLE, FEATURES, law, population=TEST, **more)


PROBLEMS = {
    "Problem: 64 rows of 6 features, 1 target, float64\n"
    "  mixing: pairs of 8 originals, lam = 0.5; clean labels: known\n"
    "  risk over: 30 test inputs": mixed(rfm.Mixup(lam=0.5)),
    "Problem: 8 rows of 6 features, 1 target, float64\n"
    "  mixing: none; clean labels: known\n"
    "  risk over: a distribution, by its moments": rfm.synthesize(
        SAMPLE, FEATURES, rfm.ERM(), population=TASK.population(FEATURES)
    ),
    "Problem: 1 row of 6 features, 1 target, float64\n"
    "  mixing: unknown; clean labels: unknown\n"
    "  risk over: 30 test inputs": rfm.Problem(jnp.ones((1, 6)), jnp.ones(1), population=TEST),
    "StreamedProblem: 6 features, 1 target, float64\n"
    "  rows: made block by block, whenever they are needed\n"
    "  risk over: 30 test inputs": mixed(rfm.Mixup(lam=0.5), block_rows=5),
    "KernelProblem: 8 rows of infinitely many features, 1 target, float64\n"
    "  clean labels: known\n"
    "  risk over: 30 test inputs": rfm.synthesize(
        SAMPLE, ENDLESS, rfm.ERM(), population=TASK.test_set(ENDLESS, 30, key=key(3))
    ),
}
FRESH = mixed(rfm.Mixup(alpha=0.7, pairs="expected"))


def refuse(*_: object, **__: object) -> None:
    pytest.fail("was decomposed or mixed in order to be printed")


@pytest.mark.parametrize("said", PROBLEMS, ids=lambda said: said.partition(":")[0])
def test_a_problem_says_what_it_is(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = PROBLEMS[said]
    monkeypatch.setattr(type(problem), "spectrum", refuse)
    assert str(problem) == repr(problem) == said
    assert "30 test inputs" in problem._repr_html_() or "moments" in said


def test_ratios_that_were_drawn_are_said_by_their_range() -> None:
    problem = mixed(rfm.Mixup(alpha=0.7, pairs=20), key=key(4))
    ends = problem.mixing.lam.min(), problem.mixing.lam.max()
    assert f"lam = {number(ends[0])} to {number(ends[1])}" in str(problem)


def test_fresh_pairs_say_their_law_and_how_well_it_is_known() -> None:
    title, law, over = str(FRESH).splitlines()
    assert title == "ExpectedProblem: all pairs of 8 originals, 6 features, 1 target, float64"
    assert f"law: {FRESH.law}; ratios: {len(FRESH.ratios)}, relative error {number(FRESH.ratios.error)}" in law
    assert "30 test inputs" in over


def test_a_solution_says_its_spectrum_and_until_when_it_serves() -> None:
    problem = mixed(rfm.Mixup(lam=0.5))
    solution = rfm.solve(problem, until=100.0)
    assert str(solution) == (
        "Solution: 6 modes of 6 features, 1 target, float64\n"
        f"  largest eigenvalue: {number(solution.largest_eigenvalue())}; rank: {solution.spectrum.rank}; "
        "factorised by: gram; serves: times until 100\n"
        "  clean labels: known; risk over: 30 test inputs"
    )
    assert "serves: all times" in str(rfm.solve(problem))
    assert "<svg" not in solution._repr_html_()


@pytest.mark.parametrize("problem", [*PROBLEMS.values(), FRESH], ids=lambda problem: type(problem).__name__)
def test_inside_of_jit_a_problem_says_its_shapes(problem: Solvable) -> None:
    said = []

    @eqx.filter_jit
    def look(traced: Solvable) -> None:
        said.append(repr(traced))

    eqx.filter_eval_shape(look, problem)
    assert "f64[" in said[0]
    arrays, rest = eqx.partition(problem, eqx.is_array)
    assert repr(rest)
    assert repr(jax.tree.map(lambda _: None, arrays))
    assert repr(eqx.filter_eval_shape(lambda it: it, problem))


def test_a_problem_of_another_kind_says_at_least_its_name() -> None:
    class Own(Solvable):
        population: theory.Averages
        feature_map: None = None

        def spectrum(self, method: str) -> theory.Spectrum:
            raise NotImplementedError

        def suggest_method(self, latest_time: float) -> Literal["qr"]:
            return "qr"

    assert str(Own(TEST)) == "Own: 6 features, 1 target, float64\n  risk over: 30 test inputs"


def advice(noise_std: float) -> rfm.decide.Advice:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2))
    y = x[:, 0] + noise_std * rng.normal(size=60)
    features = rfm.RandomFeatures(2, 12, activation="relu", key=key(0))
    return rfm.advise(x, y, features=features, num_folds=3, num_times=9, key=key(1))


def test_advice_says_what_to_do_and_what_it_costs_not_to() -> None:
    found = advice(0.1)
    action = found.recommended
    title, costs, data = str(found).splitlines()
    assert title.startswith("Advice: train ")
    assert f"{found.steps(action.time)} steps (t = {number(action.time)})" in title
    risk = found.risk_of(action)
    assert f"risk over that of the mean: {number(risk.mean)} ± {number(risk.error)}" in costs
    assert data == (
        f"  held out: 60 rows in 3 parts; rows to train on: 40; step size: {number(found.step_size)} "
        f"(stable below {number(found.largest_stable_step)})"
    )
    assert f"at {number(action.time)}</text>" in found._repr_html_()


def test_advice_that_knows_nothing_better_says_so() -> None:
    assert str(advice(30.0)).splitlines()[0] == "Advice: predict the mean of the targets"
