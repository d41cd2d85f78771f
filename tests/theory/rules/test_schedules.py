"""Changing step sizes: loops of the textbook update, 60 digits, limits, and where a schedule diverges or ends."""

import re

import equinox as eqx
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rfm
import theory
from tests.problems import make, named, with_singular_values
from tests.theory import oracles
from tests.tolerances import DERIVATIVE, EXACT, FLOAT32, IDENTITY, ORACLE

STEPS = (1, 10, 1000, 100_000)
RATES = (0.0, 1e-300, 1e-12, 1e-9, 1e-6, 1e-4, 0.01, 0.1, 0.4, 0.75, 1.0)
SPECTRUM = make(with_singular_values(24, 8, np.sqrt(np.geomspace(1, 1e-7, 8)), seed=91), seed=92)
"""Eigenvalues from 1 to 1e-7."""


@jax.jit
def filters(step_sizes: jax.Array, ridge: jax.Array, mu: jax.Array, k: jax.Array) -> tuple[jax.Array, jax.Array]:
    rule = theory.StepSchedule(step_sizes, ridge)
    return rule.residual(mu, k), rule.gain(mu, k)


def uneven(num_steps: int, largest: float = 1.0) -> np.ndarray:
    """Steps of many sizes up to the largest, which comes first."""
    sizes = largest * np.random.default_rng(93).uniform(0, 1, num_steps)
    sizes[0] = largest
    return sizes


# --- the textbook loop ---------------------------------------------------------------------------------------------


def loop_weights(
    problem: rfm.Problem, step_sizes: np.ndarray, ridge: float, start: np.ndarray, recorded: tuple[int, ...]
) -> np.ndarray:
    covariance, force = oracles.moments(problem)
    theta, found = start, []
    for k, step in enumerate(step_sizes[: recorded[-1]], start=1):
        theta = theta - step * (covariance @ theta - force + ridge * theta)
        if k in recorded:
            found.append(theta)
    return np.stack(found, axis=1)


@pytest.mark.parametrize("share", [0.5, 0.99])
def test_weights_are_those_of_the_loop_up_to_a_hundred_thousand_steps(share: float) -> None:
    ridge, start = 1e-6, np.random.default_rng(94).normal(size=(8, 1))
    limit = 2 / (SPECTRUM.largest_eigenvalue() + ridge)
    sizes = theory.rules.cosine_steps(share * limit, STEPS[-1])
    ours = theory.risk.weights(
        SPECTRUM.spectrum(),
        theory.StepSchedule(sizes, ridge),
        jnp.asarray(STEPS, float),
        theory.Start(jnp.asarray(start)),
    )
    loop = loop_weights(SPECTRUM, np.asarray(sizes), ridge, start, STEPS)
    assert np.all(np.abs(ours - loop) <= ORACLE * np.linalg.norm(loop, axis=0))


@pytest.mark.parametrize("share", [0.5, 0.99, 1.0, 1.01, 3.0])
def test_every_mode_is_what_its_loop_does_on_both_sides_of_stability(share: float) -> None:
    sizes, mu = uneven(8, largest=2 * share), np.asarray([0.0, 1e-300, 1e-3, 0.5, 1.0])
    residual, gain = filters(jnp.asarray(sizes), jnp.asarray(0.0), jnp.asarray(mu), jnp.arange(9.0))
    left, learnt = np.ones_like(mu), np.zeros_like(mu)
    for k in range(9):
        assert np.allclose(residual[k], left, rtol=IDENTITY, atol=IDENTITY), k
        assert np.allclose(gain[k], learnt, rtol=IDENTITY, atol=IDENTITY), k
        if k < 8:
            left, learnt = left - sizes[k] * mu * left, learnt - sizes[k] * (mu * learnt - 1)


def test_a_curve_is_that_of_training_and_so_are_its_turning_point_and_its_limit() -> None:
    problem, grid = named("square"), [0, 1, 3, 7, 15, 30, 60, 110, 200, 399]
    sizes = uneven(399, largest=1.9 / problem.largest_eigenvalue())
    curve = rfm.closed_form(problem, steps=grid, rule=theory.StepSchedule(sizes))
    loop = loop_weights(problem, sizes, 0.0, np.zeros((8, 1)), tuple(range(1, 400)))
    risk = np.asarray([oracles.risk(problem, loop[:, k])[0] for k in range(399)])
    times = np.concatenate([[0], np.cumsum(sizes)])
    assert np.allclose(curve.risk[1:], risk[np.asarray(grid[1:]) - 1], rtol=ORACLE)
    assert np.allclose(curve.times, times[grid], rtol=EXACT * 10)
    best = int(np.argmin(risk))
    assert 0 < best < 398
    assert float(curve.turning_risk) == pytest.approx(risk[best], rel=ORACLE)
    assert float(curve.turning_time) == pytest.approx(times[best + 1], rel=EXACT * 10)
    settled = np.linalg.solve(np.asarray(problem.features), np.asarray(problem.labels))
    assert float(curve.risk_at_infinity) == pytest.approx(oracles.risk(problem, settled)[0], rel=ORACLE)
    assert curve.trusted_until == curve.times[-1]


# --- sixty digits --------------------------------------------------------------------------------------------------


def mp_filters(sizes: np.ndarray, mu: float, counts: tuple[int, ...]) -> list[tuple[float, ...]]:
    """Residual, gain, and their derivatives by mu, carried along by the product rule."""
    with mpmath.workdps(60):
        mu = mpmath.mpf(mu)
        left, gain, left_slope, gain_slope = mpmath.mpf(1), mpmath.mpf(0), mpmath.mpf(0), mpmath.mpf(0)
        found = []
        for k, size in enumerate(map(mpmath.mpf, sizes.tolist()), start=1):
            left_slope, gain_slope = (
                (1 - size * mu) * left_slope - size * left,
                (1 - size * mu) * gain_slope - size * gain,
            )
            left, gain = (1 - size * mu) * left, (1 - size * mu) * gain + size
            if k in counts:
                found.append(tuple(map(float, (left, gain, left_slope, gain_slope))))
        return found


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_filters_are_exact_in_value_and_derivative(share: float) -> None:
    counts, sizes = (1, 2, 10, 1000), uneven(1000, largest=2 * share)
    mu = jnp.asarray(RATES)
    values, slopes = jax.jvp(
        lambda mu: filters(jnp.asarray(sizes), jnp.asarray(0.0), mu, jnp.asarray(counts, float)),
        (mu,),
        (jnp.ones_like(mu),),
    )
    exact = np.asarray([mp_filters(sizes, float(m), counts) for m in mu]).transpose(2, 1, 0)
    # The time in which a mode learns is the unit of its derivatives.
    time = np.minimum(np.cumsum(sizes)[np.asarray(counts) - 1][:, None], 1 / np.maximum(RATES, 1e-200)[None, :])
    assert np.all(np.abs(values[0] - exact[0]) <= IDENTITY)
    assert np.all(np.abs(values[1] / exact[1] - 1) <= IDENTITY)
    assert np.all(np.abs(slopes[0] - exact[2]) <= DERIVATIVE * (time + np.abs(exact[2])))
    assert np.all(np.abs(slopes[1] - exact[3]) <= DERIVATIVE * (time**2 + np.abs(exact[3])))


def test_a_hundred_thousand_steps_do_not_add_up_their_rounding() -> None:
    mu, end = jnp.asarray([1e-12, 1e-8, 1e-7, 1e-6, 3e-6, 1e-5, 1e-4, 1e-3]), jnp.asarray(1e5)
    residual, gain = filters(jnp.full(100_000, 0.9), jnp.asarray(0.0), mu, end)
    exact = theory.GradientDescent(0.9)
    assert np.allclose(residual, exact.residual(mu, end), rtol=0, atol=IDENTITY)
    assert np.allclose(gain, exact.gain(mu, end), rtol=IDENTITY, atol=0)


# --- identities and limits -----------------------------------------------------------------------------------------

eigenvalue_lists = st.lists(
    st.sampled_from([0.0, 1e-300, 1e-17]) | st.floats(-18, 0).map(lambda e: 10**e), min_size=4, max_size=4
)
schedules = st.lists(st.sampled_from([0.0, 1e-9]) | st.floats(0, 1.9 / 1.5), min_size=12, max_size=12)
counts = st.lists(st.integers(0, 12).map(float) | st.just(np.inf), min_size=3, max_size=3)


@given(schedules, eigenvalue_lists, counts, st.sampled_from([0.0, 1e-300, 0.5]))
def test_a_schedule_splits_a_mode_into_what_is_left_and_what_is_learnt(
    sizes: list[float], mu: list[float], k: list[float], ridge: float
) -> None:
    residual, gain = filters(jnp.asarray(sizes), jnp.asarray(ridge), jnp.asarray(mu), jnp.asarray(k))
    assert np.allclose((np.asarray(mu) + ridge)[None, :] * gain + residual, 1, rtol=0, atol=IDENTITY)


@given(st.permutations(list(uneven(12))), eigenvalue_lists)
def test_the_order_of_the_steps_does_not_matter_at_the_end(sizes: list[float], mu: list[float]) -> None:
    end, zero = jnp.asarray([12.0, 12.0, 12.0]), jnp.asarray(0.0)
    shuffled = filters(jnp.asarray(sizes), zero, jnp.asarray(mu), end)
    for ours, theirs in zip(shuffled, filters(jnp.asarray(uneven(12)), zero, jnp.asarray(mu), end), strict=True):
        assert np.allclose(ours, theirs, rtol=IDENTITY, atol=IDENTITY)


def test_steps_of_one_size_are_gradient_descent() -> None:
    mu, k = jnp.asarray([*RATES, 1.9]), jnp.asarray([0.0, 1.0, 7.0, 500.0, jnp.inf])
    residual, gain = filters(jnp.full(500, 1.0), jnp.asarray(0.01), mu, k)
    rule = theory.GradientDescent(1.0, 0.01)
    assert np.allclose(residual, rule.residual(mu, k), rtol=0, atol=IDENTITY)
    assert np.allclose(gain, rule.gain(mu, k), rtol=IDENTITY, atol=0)
    assert np.allclose(theory.StepSchedule(jnp.full(500, 1.0)).time(k), rule.time(k), rtol=IDENTITY)


def test_a_step_of_size_zero_changes_nothing() -> None:
    mu, zero = jnp.asarray(RATES), jnp.asarray(0.0)
    idle = filters(jnp.asarray([0.0, 0.5, 0.0, 0.0, 0.7]), zero, mu, jnp.arange(6.0))
    for array in idle:
        assert np.array_equal(array[0], array[1])
        assert np.array_equal(array[2], array[4])


def test_after_infinite_training_every_mode_is_learnt_but_null_modes_have_not_moved() -> None:
    mu, forever = jnp.asarray([0.0, 1e-300, 0.5, 1.0]), jnp.full(3, jnp.inf)
    sizes = jnp.zeros(12).at[0].set(0.5)
    residual, gain = filters(sizes, jnp.asarray(0.0), mu, forever)
    assert residual[0].tolist() == [1.0, 0.0, 0.0, 0.0]
    assert np.allclose(gain[0], [0.0, 1e300, 2.0, 1.0], rtol=EXACT, atol=0)
    assert np.all(np.isinf(theory.StepSchedule(sizes).time(forever)))
    _, decayed = filters(sizes, jnp.asarray(0.3), mu, forever)
    assert np.allclose(decayed[0], 1 / (mu + 0.3), rtol=EXACT)


def test_at_equal_time_small_steps_are_gradient_flow() -> None:
    mu, time = jnp.asarray([1e-4, 0.01, 0.3, 1.0]), 5.0
    flow = theory.GradientFlow().gain(mu, jnp.asarray(time))

    def error(num_steps: int) -> np.ndarray:
        shape = theory.rules.inverse_sqrt_steps(1.0, num_steps, knee=num_steps / 4)
        rule = theory.StepSchedule(shape * time / jnp.sum(shape))
        return np.asarray(rule.gain(mu, jnp.asarray(float(num_steps))) - flow)

    coarse, fine = error(1000), error(2000)
    assert np.all(np.abs(coarse) < 0.02)
    assert np.allclose(coarse / fine, 2.0, rtol=0.02)  # of first order in the steps; the next is below 0.01


# --- times ---------------------------------------------------------------------------------------------------------


def test_times_may_come_in_any_order_shape_and_number() -> None:
    rule, mu = theory.StepSchedule(uneven(12)), jnp.asarray(RATES)
    whole = eqx.filter_jit(rule.gain)(mu, jnp.arange(13.0))
    order = jnp.asarray([[7.0, 0.0, 12.0], [7.0, 3.0, 1.0]])
    assert np.allclose(eqx.filter_jit(rule.gain)(mu, order), whole[order.astype(int)], rtol=IDENTITY)
    each = jax.jit(jax.vmap(lambda k: rule.gain(mu, k)))(order.ravel())
    assert np.allclose(each, whole[order.ravel().astype(int)], rtol=IDENTITY)


def test_a_schedule_that_has_ended_has_no_values() -> None:
    rule, mu = theory.StepSchedule(uneven(12)), jnp.asarray(RATES)
    past = jax.jit(lambda k: (rule.residual(mu, k), rule.gain(mu, k), rule.time(k)[:, None]))(jnp.asarray([12.0, 13.0]))
    for array in past:
        assert np.all(np.isfinite(array[0]))
        assert np.all(np.isnan(array[1]))


def test_what_is_held_does_not_grow_with_the_number_of_steps() -> None:
    times, mu = jnp.asarray([1.0, 50.0, 5000.0]), jnp.linspace(0.0, 1.0, 1000)
    compiled = jax.jit(lambda sizes: theory.StepSchedule(sizes).gain(mu, times)).lower(jnp.full(5000, 0.1)).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 5000 * 1000 * mu.itemsize / 50


# --- transforms ----------------------------------------------------------------------------------------------------


def test_filters_stay_in_single_precision() -> None:
    mu, k, sizes = [0.0, 1e-30, 0.03, 1.0], [0.0, 1.0, 100.0], uneven(100)
    rule = theory.StepSchedule(sizes, 0.3)
    found = [f(jnp.asarray(mu, jnp.float32), jnp.asarray(k, jnp.float32)) for f in (rule.residual, rule.gain)]
    assert {array.dtype for array in found} == {jnp.dtype(jnp.float32)}
    double = filters(jnp.asarray(sizes), jnp.asarray(0.3), jnp.asarray(mu), jnp.asarray(k))
    for single, exact in zip(found, double, strict=True):
        assert np.allclose(single, exact, rtol=FLOAT32, atol=FLOAT32)


def test_derivatives_by_every_step_size_are_those_of_the_loop() -> None:
    mu, sizes = jnp.asarray([0.0, 1e-300, 1e-3, 0.5, 1.0]), jnp.asarray(uneven(12))  # the first step learns mode 1

    def loop(sizes: jax.Array) -> jax.Array:
        u = jnp.zeros_like(mu)
        for step in sizes:
            u = u - step * (mu * u - 1)
        return u

    closed = jax.jacrev(lambda sizes: theory.StepSchedule(sizes).gain(mu, jnp.asarray(12.0)))
    assert np.allclose(closed(sizes), jax.jacfwd(loop)(sizes), rtol=DERIVATIVE, atol=DERIVATIVE)


# --- the usual schedules -------------------------------------------------------------------------------------------


def test_the_usual_schedules_are_what_their_names_say() -> None:
    cosine = theory.rules.cosine_steps(2.0, 100, final=0.5)
    assert cosine[0] == 2.0
    assert float(cosine[50]) == pytest.approx(1.25)
    assert np.all(np.diff(cosine) < 0)
    falling = theory.rules.inverse_sqrt_steps(2.0, 10_000, knee=10.0)
    assert falling[0] == 2.0
    assert float(falling[-1] / falling[2499]) == pytest.approx(0.5, rel=0.01)  # a fourth as early, twice as large
    assert theory.rules.step_decay_steps(2.0, 5, every=2).tolist() == pytest.approx([2.0, 2.0, 0.2, 0.2, 0.02])


# --- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_an_unstable_schedule_says_from_which_step_on(ridge: float) -> None:
    problem = named("tall")
    limit = 2 / (problem.largest_eigenvalue() + ridge)
    sizes = limit * np.asarray([0.5, 0.99, 1.01, 0.5, 3.0])
    message = rf"step_sizes: from step 3 on \(step_sizes\[2\] = {sizes[2]:g}\) they diverge .*below .*= {limit:.6g}"
    with pytest.raises(ValueError, match=message):
        rfm.closed_form(problem, steps=[0, 2], rule=theory.StepSchedule(sizes, ridge))
    theory.StepSchedule(sizes[:2], ridge).check_stable(problem.largest_eigenvalue())
    assert theory.StepSchedule(sizes).largest_stable_step(0.0) == np.inf


def test_training_on_past_the_end_is_refused() -> None:
    message = re.escape("steps: 13 is past the end of the schedule; pass steps up to 12, or a StepSchedule of more")
    with pytest.raises(ValueError, match=message):
        rfm.closed_form(named("tall"), steps=[0, 5, 13], rule=theory.StepSchedule(0.01 * uneven(12)))
    problem = named("tall")
    with pytest.raises(ValueError, match=message):
        theory.risk_curve(problem.spectrum(), problem.population, theory.StepSchedule(0.01 * uneven(12)), [13])


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ([0.1, -0.2], "step_sizes: must not be negative, got -0.2 at index 1"),
        ([0.1, np.nan], "step_sizes: 1 of 2 values are not finite"),
        ([], r"step_sizes: has shape \(0,\)"),
        (np.asarray([[0.1]]), r"step_sizes: has shape \(1, 1\)"),
    ],
)
def test_step_sizes_must_be_a_list_of_numbers_that_are_not_negative(
    sizes: list[float] | np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        theory.StepSchedule(sizes)


def test_a_ridge_must_not_be_negative() -> None:
    with pytest.raises(ValueError, match="ridge: must be a finite number that is not negative, got -1"):
        theory.StepSchedule([0.1], -1.0)
