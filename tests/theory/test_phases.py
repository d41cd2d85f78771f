"""Phases and switches: matrix exponentials one after another, loops, and what must not change anything."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rfm
import theory
from tests.problems import CASES, Case, make, named
from tests.theory import oracles
from tests.tolerances import IDENTITY, ORACLE, TURNING, TURNING_RISK

FLOW = theory.GradientFlow()
MIXED = make(np.asarray(named("tall").features), seed=91, num_targets=2)
PLAIN = make(
    np.asarray(named("noiseless").features), seed=92, num_targets=2, noise_std=0.0, population=MIXED.population
)
FIRST, SECOND = MIXED.spectrum(), PLAIN.spectrum()
TIMES = [0.5, 3.0, 8.0, 20.0]
START = np.random.default_rng(93).normal(size=(8, 2))


def through(laws: list[tuple[rfm.Problem, float, float]], start: np.ndarray | None = None) -> np.ndarray:
    """The weights after phases (problem, duration, ridge), each the exponential of its own generator."""
    theta = np.zeros((8, 2)) if start is None else start
    for problem, duration, ridge in laws:
        theta = oracles.expm_weights(problem, duration, ridge, theta)
    return theta


# --- phases against other routes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("ridge", [0.0, 0.1])
def test_phases_are_exponentials_one_after_another_part_by_part(ridge: float) -> None:
    decaying = theory.GradientFlow(ridge)
    phases = [
        theory.phases.Phase(FIRST, FLOW, 2.0),
        theory.phases.Phase(SECOND, decaying, 5.0),
        theory.phases.Phase(FIRST, FLOW),
    ]
    start = theory.Start(jnp.asarray(START))
    curve = theory.phases.phased_curve(phases, MIXED.population, TIMES, start=start)
    for index, t in enumerate(TIMES):
        lengths = (min(t, 2.0), float(np.clip(t - 2, 0, 5)), max(t - 7, 0.0))
        laws = list(zip((MIXED, PLAIN, MIXED), lengths, (0.0, ridge, 0.0), strict=True))
        clean_laws = [(oracles.on_clean_labels(problem), length, decay) for problem, length, decay in laws]
        theta, clean = through(laws, START), through(clean_laws, START)
        risk = oracles.risk(MIXED, theta)
        assert np.allclose(curve.risk_by_target[index], risk, rtol=ORACLE, atol=0)
        assert np.allclose(curve.clean_risk[index], oracles.risk(MIXED, clean).sum(), rtol=ORACLE, atol=0)
        noise = np.mean((np.asarray(MIXED.population.features) @ (theta - clean)) ** 2, axis=0).sum()
        assert np.isclose(curve.noise_risk[index], noise, rtol=ORACLE, atol=0)
        now = MIXED if t <= 2 or t > 7 else PLAIN
        assert np.isclose(curve.train_loss[index], oracles.train_loss(now, theta).sum(), rtol=ORACLE, atol=0)
    total = curve.clean_risk + curve.noise_risk + curve.cross_risk
    assert np.allclose(total, curve.risk, rtol=IDENTITY, atol=0)


def test_a_random_start_keeps_its_spread_through_phases_of_other_modes() -> None:
    phases = [theory.phases.Phase(FIRST, FLOW, 2.0), theory.phases.Phase(SECOND, theory.GradientFlow(0.1))]
    start = theory.Start(jnp.asarray(START), 0.3)
    curve = theory.phases.phased_curve(phases, MIXED.population, TIMES, start=start)
    test = np.asarray(MIXED.population.features)
    for index, t in enumerate(TIMES):
        laws = [(MIXED, min(t, 2.0), 0.0), (PLAIN, max(t - 2, 0.0), 0.1)]
        still = [(_without_labels(problem), length, ridge) for problem, length, ridge in laws]
        kept = np.concatenate([through(still, pair) for pair in np.split(np.eye(8), 4, axis=1)], axis=1)
        spread = 0.3 * np.mean(np.sum((test @ kept) ** 2, axis=1))
        assert np.allclose(curve.risk_by_target[index], oracles.risk(MIXED, through(laws, START)) + spread, rtol=ORACLE)
        now = np.asarray((MIXED if t <= 2 else PLAIN).features)
        fitted = oracles.train_loss(MIXED if t <= 2 else PLAIN, through(laws, START)) + 0.15 * np.mean(
            np.sum((now @ kept) ** 2, axis=1)
        )
        assert np.isclose(curve.train_loss[index], fitted.sum(), rtol=ORACLE)


def _without_labels(problem: rfm.Problem) -> rfm.Problem:
    return rfm.Problem(problem.features, jnp.zeros_like(problem.labels), population=problem.population)


def test_the_limit_is_that_of_the_last_phase_from_where_the_others_left_it() -> None:
    wide = make(np.asarray(named("wide").features), seed=94)
    plain = make(np.asarray(named("wide").features)[:4], seed=95, population=wide.population)
    phases = [theory.phases.Phase(wide.spectrum(), FLOW, 30.0), theory.phases.Phase(plain.spectrum(), FLOW)]
    theta = oracles.expm_weights(wide, 30.0)
    phi, labels = np.asarray(plain.features), np.asarray(plain.labels)
    limit = theta + np.linalg.pinv(phi) @ (labels - phi @ theta)
    for times in ([1.0], [1.0, 50.0]):  # the last phase counts, whether anything was asked of it or not
        curve = theory.phases.phased_curve(phases, wide.population, times)
        assert np.isclose(curve.risk_at_infinity, oracles.risk(wide, limit).sum(), rtol=ORACLE)


# --- what changes nothing ------------------------------------------------------------------------------------------


@pytest.mark.slow
@given(share=st.sampled_from([0.0, 0.01, 0.1, 0.3, 0.6, 1.0]), variance=st.sampled_from([0.0, 0.5]))
def test_two_phases_of_one_law_are_one(share: float, variance: float) -> None:
    start = theory.Start(jnp.asarray(START), variance)
    whole = theory.risk_curve(FIRST, MIXED.population, FLOW, TIMES, start=start)
    parts = [theory.phases.Phase(FIRST, FLOW, 20 * share), theory.phases.Phase(FIRST, FLOW)]
    halves = theory.phases.phased_curve(parts, MIXED.population, TIMES, start=start)
    for name in ("risk", "clean_risk", "noise_risk", "train_loss", "times", "turning_risk", "risk_at_infinity"):
        scale = float(whole.risk.max())
        # Weights go through the modes and back once more.
        assert np.allclose(getattr(halves, name), getattr(whole, name), rtol=0, atol=ORACLE * scale), name


@given(split=st.sampled_from([0, 1, 5, 29, 30, 40]))
def test_two_phases_of_descent_are_one(split: int) -> None:
    steps, rule = [1, 7, 30, 40], theory.GradientDescent(0.5)
    whole = theory.risk_curve(FIRST, MIXED.population, rule, steps)
    halves = theory.phases.phased_curve(
        [theory.phases.Phase(FIRST, rule, split), theory.phases.Phase(FIRST, rule)], MIXED.population, steps
    )
    assert np.allclose(halves.risk, whole.risk, rtol=ORACLE, atol=0)
    assert np.array_equal(halves.steps, whole.steps)
    assert halves.turning_step == whole.turning_step


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_phase_of_no_length_changes_nothing(place: int) -> None:
    phases = [theory.phases.Phase(FIRST, FLOW, 2.0), theory.phases.Phase(SECOND, FLOW)]
    without = theory.phases.phased_curve(phases, MIXED.population, TIMES)
    phases.insert(place, theory.phases.Phase(FIRST if place else SECOND, FLOW, 0.0))
    if place == 2:  # after a phase of open end nothing may come
        phases[1] = phases[1]._replace(duration=18.0)
    beside = theory.phases.phased_curve(phases, MIXED.population, TIMES)
    assert np.array_equal(beside.risk, without.risk)
    assert np.array_equal(beside.noise_risk, without.noise_risk)


def test_noise_learnt_under_mixup_decays_mode_by_mode_under_plain_training() -> None:
    assert np.allclose(PLAIN.labels, PLAIN.clean_labels)
    learnt = theory.phases.end_of(theory.phases.Phase(FIRST, FLOW, 10.0))
    times = jnp.asarray([0.0, 0.3, 2.0, 30.0])
    noise = theory.risk.noise_weights(SECOND, FLOW, times, learnt)
    in_modes = np.abs(np.tensordot(np.asarray(SECOND.modes).T, noise, 1))
    assert np.all(np.diff(in_modes, axis=1) < 0)
    begun = np.asarray(SECOND.modes).T @ np.asarray(learnt.noise_weights)
    left = np.exp(-np.asarray(SECOND.eigenvalues)[:, None] * np.asarray(times))[:, :, None] * np.abs(begun)[:, None]
    assert np.allclose(in_modes, left, rtol=ORACLE, atol=0)
    clean = theory.risk.weights(SECOND, FLOW, times, learnt) - noise
    without = theory.phases.end_of(theory.phases.Phase(oracles.on_clean_labels(MIXED).spectrum(), FLOW, 10.0))
    assert np.allclose(clean, theory.risk.weights(SECOND, FLOW, times, without), rtol=ORACLE, atol=ORACLE)


@given(case=st.sampled_from(CASES), setting=st.sampled_from([(0.0, 0.0), (0.0, 0.5), (0.05, 0.0)]))
def test_the_loss_that_flow_descends_falls_and_is_convex_in_time(case: Case, setting: tuple[float, float]) -> None:
    """It is a sum of falling exponentials, the penalty of the decay included."""
    ridge, variance = setting
    rule, times, spectrum = theory.GradientFlow(jnp.asarray(ridge)), np.linspace(0, 24, 17), case.problem.spectrum()
    start = theory.Start(variance=variance)
    curve = theory.risk_curve(spectrum, case.problem.population, rule, times, start=start)
    penalty = ridge / 2 * np.sum(np.asarray(theory.risk.weights(spectrum, rule, jnp.asarray(times))) ** 2, axis=(0, 2))
    loss = np.asarray(curve.train_loss) + penalty
    slack = IDENTITY * loss[0]
    assert np.all(np.diff(loss) <= slack)
    assert np.all(np.diff(loss, 2) >= -slack)


def test_noise_risk_of_plain_training_on_clean_labels_falls_where_features_are_the_populations() -> None:
    """There the noise is forgotten along the modes of the risk itself, so that no turn can raise it."""
    phi = np.asarray(PLAIN.features)
    own = theory.TestSet(jnp.asarray(phi), PLAIN.clean_labels)
    phases = [theory.phases.Phase(FIRST, FLOW, 10.0), theory.phases.Phase(SECOND, FLOW)]
    curve = theory.phases.phased_curve(phases, own, 10 + np.geomspace(0.1, 100, 15))
    assert np.all(np.diff(curve.noise_risk) < 0)
    assert np.all(np.diff(np.log(curve.noise_risk)) < 0)


# --- turning, trust ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_lowest_point_may_lie_in_any_phase_or_where_they_meet() -> None:
    for lengths in ((1.0, 30.0), (25.0, 6.0)):
        phases = [theory.phases.Phase(FIRST, FLOW, lengths[0]), theory.phases.Phase(SECOND, FLOW)]
        coarse = theory.phases.phased_curve(phases, MIXED.population, np.geomspace(0.01, sum(lengths), 24))
        fine = theory.phases.phased_curve(phases, MIXED.population, np.geomspace(0.01, sum(lengths), 2000))
        lowest = int(np.argmin(fine.risk))
        assert coarse.turning_risk <= fine.risk.min() * (1 + TURNING_RISK)
        assert np.isclose(coarse.turning_time, fine.times[lowest], rtol=np.log(sum(lengths) / 0.01) / 2000)


def test_a_phase_of_which_nothing_is_asked_may_hold_the_lowest_point() -> None:
    noisy = make(np.asarray(named("tall").features), seed=92, num_targets=2, noise_std=2.0)
    phases = [theory.phases.Phase(noisy.spectrum(), FLOW, duration) for duration in (3.0, 40.0, np.inf)]
    sparse = theory.phases.phased_curve(phases, noisy.population, [0.0, 90.0])
    whole = theory.risk_curve(noisy.spectrum(), noisy.population, FLOW, np.linspace(0, 90, 181))
    assert np.isclose(sparse.turning_risk, whole.turning_risk, rtol=TURNING_RISK)
    assert 3 < sparse.turning_time < 43
    assert np.isclose(sparse.turning_time, whole.turning_time, rtol=10 * TURNING)
    ten = theory.phases.phased_curve([theory.phases.Phase(FIRST, FLOW, 0.1)] * 10, MIXED.population, [1.0])
    one = theory.risk_curve(FIRST, MIXED.population, FLOW, [1.0])
    assert np.isclose(ten.risk[0], one.risk[0], rtol=ORACLE)


def test_single_precision_is_off_by_no_more_than_the_curve_says() -> None:
    phases = [theory.phases.Phase(FIRST, FLOW, 50.0), theory.phases.Phase(SECOND, FLOW)]
    exact = theory.phases.phased_curve(phases, MIXED.population, [10.0, 60.0, 200.0])
    single = [phase._replace(spectrum=_single(problem)) for phase, problem in zip(phases, (MIXED, PLAIN), strict=True)]
    population = theory.TestSet(
        *(jnp.asarray(a, jnp.float32) for a in (MIXED.population.features, MIXED.population.targets))
    )
    rounded = theory.phases.phased_curve(single, population, [10.0, 60.0, 200.0])
    assert rounded.risk.dtype == jnp.float32
    assert np.all(np.abs(rounded.risk - exact.risk) <= rounded.rounding_error)
    one = theory.risk_curve(single[1].spectrum, population, FLOW, [10.0, 150.0])
    assert rounded.rounding_error[-1] > one.rounding_error[-1]  # what the first phase leaves is counted
    assert rounded.trusted_until < exact.trusted_until


def _single(problem: rfm.Problem) -> theory.Spectrum:
    arrays = (problem.features, problem.labels, problem.clean_labels)
    return theory.decompose(*(jnp.asarray(array, jnp.float32) for array in arrays))


# --- switching -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "rule", [FLOW, theory.GradientDescent(0.5), theory.HeavyBall(0.2, 0.5)], ids=lambda r: str(r)[:9]
)
def test_a_switch_curve_is_the_end_of_phased_curves(rule: theory.Rule) -> None:
    switches = [0.0, 1.0, 4.0, 9.0, 10.0]
    start = jnp.asarray(START)
    curve = theory.switching.switch_curve(FIRST, SECOND, MIXED.population, rule, 10.0, switches, start=start)
    for index, switch in enumerate(switches):
        phases = [theory.phases.Phase(FIRST, rule, switch), theory.phases.Phase(SECOND, rule, 10.0 - switch)]
        whole = theory.phases.phased_curve(phases, MIXED.population, [10.0], start=theory.Start(start))
        assert np.allclose(curve.risk_by_target[index], whole.risk_by_target[-1], rtol=ORACLE, atol=0)
        for part in ("clean", "noise", "cross"):
            found, expected = getattr(curve.decomposition, part)[index], getattr(whole.decomposition, part)[-1]
            assert np.isclose(found, expected, rtol=ORACLE, atol=ORACLE * whole.risk[-1])


def test_the_best_switch_is_that_of_a_fine_grid() -> None:
    coarse = theory.switching.switch_curve(FIRST, SECOND, MIXED.population, FLOW, 10.0, np.linspace(0, 10, 30))
    fine = theory.switching.switch_curve(FIRST, SECOND, MIXED.population, FLOW, 10.0, np.linspace(0, 10, 20_001))
    assert coarse.best_risk <= fine.risk.min() * (1 + TURNING_RISK)
    assert np.isclose(coarse.best_time, fine.switch_times[np.argmin(fine.risk)], atol=5e-4)
    assert np.isclose(fine.best_time, coarse.best_time, rtol=TURNING)


def test_switching_between_the_same_law_makes_no_difference(case: Case) -> None:
    spectrum = case.problem.spectrum()
    curve = theory.switching.switch_curve(spectrum, spectrum, case.problem.population, FLOW, 10.0, [0.0, 2.0, 10.0])
    whole = theory.risk_curve(spectrum, case.problem.population, FLOW, [10.0])
    assert np.allclose(curve.risk, whole.risk[-1], rtol=ORACLE, atol=0)


# --- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("phases", "times", "message"),
    [
        ([], [1.0], "phases: there is none"),
        (
            [(FLOW, 1.0), (theory.GradientDescent(0.1), 5)],
            [1.0],
            "phases: some rules count steps and others run in time",
        ),
        ([(FLOW, -1.0)], [1.0], "duration: of phase 1 is -1.0; pass a number that is not negative"),
        ([(FLOW, np.nan)], [1.0], "duration: of phase 1 is nan"),
        ([(FLOW, np.inf), (FLOW, 1.0)], [1.0], "duration: phase 1 never ends; only the last may"),
        (
            [(theory.GradientDescent(0.1), 1.5)],
            [1.0],
            "duration: of phase 1 is 1.5; steps are counted in whole numbers",
        ),
        ([(FLOW, 1.0), (FLOW, 2.0)], [1.0, 4.0], "times: the last is 4, but the phases end at 3"),
        ([(FLOW, 0.0)], [0.0], "duration: all phases have length zero"),
        ([(theory.GradientDescent(1e3), 1)], [1.0], "step_size: 1000 diverges on this problem"),
    ],
)
def test_phases_that_make_no_sense_are_refused(phases: list, times: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        theory.phases.phased_curve([theory.phases.Phase(FIRST, *phase) for phase in phases], MIXED.population, times)


def test_phases_of_other_features_are_refused() -> None:
    wide = named("wide").spectrum()
    with pytest.raises(ValueError, match="population: has 8 features, but the problem has 24"):
        theory.phases.phased_curve(
            [theory.phases.Phase(FIRST, FLOW, 1.0), theory.phases.Phase(wide, FLOW)], MIXED.population, [1.0]
        )


@pytest.mark.parametrize(
    ("rule", "budget", "switches", "message"),
    [
        (FLOW, 0.0, [0.0], "budget: must be a positive number, got 0.0"),
        (FLOW, np.inf, [0.0], "budget: must be a positive number, got inf"),
        (theory.GradientDescent(0.1), 1.5, [0.0], "budget: must be a positive whole number of steps, got 1.5"),
        (FLOW, 2.0, [1.0, 3.0], "switch_times: the last, 3, lies past the budget 2"),
        (theory.GradientDescent(1e3), 2, [1], "step_size: 1000 diverges"),
    ],
)
def test_switches_that_make_no_sense_are_refused(
    rule: theory.Rule, budget: float, switches: list[float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        theory.switching.switch_curve(FIRST, SECOND, MIXED.population, rule, budget, switches)
