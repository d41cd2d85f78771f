"""Nesterov's momentum that rises from step to step."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rfm
import theory
from tests.problems import named
from tests.theory import oracles
from tests.theory.rules.momenta import RATES, SPECTRUM, STEPS, eigenvalue_lists, ridges
from tests.tolerances import DERIVATIVE, EXACT, FINITE_DIFFERENCE, FLOAT32, IDENTITY, ORACLE


@jax.jit
def rising(step_size: jax.Array, ridge: jax.Array, mu: jax.Array, k: jax.Array) -> tuple[jax.Array, jax.Array]:
    rule = theory.NesterovIncreasing(step_size, ridge)
    return rule.residual(mu, k), rule.gain(mu, k)


@pytest.mark.parametrize("share", [0.5, 0.99])
def test_weights_under_rising_momentum_are_those_of_the_loop(share: float) -> None:
    ridge, start = 1e-6, np.random.default_rng(85).normal(size=(8, 1))
    rule = theory.NesterovIncreasing(share * 4 / 3 / (SPECTRUM.largest_eigenvalue() + ridge), ridge)
    ours = theory.risk.weights(SPECTRUM.spectrum(), rule, jnp.asarray(STEPS, float), theory.Start(jnp.asarray(start)))
    covariance, force = oracles.moments(SPECTRUM)
    before = theta = start
    for k in range(STEPS[-1]):
        carried = theta + k / (k + 3) * (theta - before)
        before, theta = theta, carried - float(rule.step_size) * (covariance @ carried - force + ridge * carried)
        if k + 1 in STEPS:
            assert np.all(np.abs(ours[:, STEPS.index(k + 1)] - theta) <= ORACLE * np.linalg.norm(theta)), k


def mp_rising(step: float, mu: float, counts: tuple[int, ...]) -> list[tuple[float, ...]]:
    """Residual and gain under rising momentum, and their derivatives by mu, carried along by the product rule."""
    with mpmath.workdps(60):
        step, mu = mpmath.mpf(step), mpmath.mpf(mu)
        before = u = slope_before = slope = mpmath.mpf(0)
        found = []
        for k in range(counts[-1]):
            beta = mpmath.mpf(k) / (k + 3)
            at, slope_at = u + beta * (u - before), slope + beta * (slope - slope_before)
            before, u = u, at - step * (mu * at - 1)
            slope_before, slope = slope, slope_at - step * (at + mu * slope_at)
            if k + 1 in counts:
                found.append(tuple(map(float, (1 - mu * u, u, -u - mu * slope, slope))))
        return found


def test_rising_momentum_is_exact_in_value_and_derivative() -> None:
    counts, settings, mu = (1, 2, 10, 1000), tuple(map(jnp.asarray, (1.2, 0.0))), jnp.asarray(RATES)
    values, pull = jax.vjp(lambda mu: rising(*settings, mu, jnp.asarray(counts, float)), mu)
    exact = np.asarray([mp_rising(1.2, float(m), counts) for m in mu]).transpose(2, 1, 0)
    assert np.all(np.abs(values[0] - exact[0]) <= IDENTITY)
    assert np.all(np.abs(values[1] / exact[1] - 1) <= IDENTITY)
    for row, count in enumerate(counts):
        # The time in which a mode learns is the unit of its derivatives, which at the end ring k / 2 times as high.
        time = np.minimum(1.2 * count * (count + 7) / 8, count / np.maximum(RATES, 1e-200))
        for which in range(2):
            seeds = [jnp.zeros_like(values[0]) for _ in range(2)]
            seeds[which] = seeds[which].at[row].set(1.0)
            (slopes,) = pull(tuple(seeds))
            error = np.abs(slopes - exact[2 + which, row])
            assert np.all(error <= DERIVATIVE * (time ** (which + 1) + np.abs(exact[2 + which, row]))), count


def test_a_hundred_thousand_steps_of_rising_momentum_do_not_add_up_their_rounding() -> None:
    mu = jnp.geomspace(1e-18, 1.0, 400)
    residual, gain = rising(jnp.asarray(0.37), jnp.asarray(0.0), mu, jnp.asarray([1e3, 1e5]))
    assert np.allclose(mu[None, :] * gain + residual, 1, rtol=0, atol=IDENTITY)


def test_rising_momentum_moves_a_null_mode_by_the_time_that_it_shows() -> None:
    k = jnp.asarray([7.0, 0.0, 1.0, 1000.0, 7.0])
    residual, gain = rising(jnp.asarray(0.3), jnp.asarray(0.0), jnp.zeros(1), k)
    assert residual.tolist() == [[1.0]] * 5
    assert np.allclose(gain[:, 0], theory.NesterovIncreasing(0.3).time(k), rtol=IDENTITY)


@given(eigenvalue_lists, st.lists(st.integers(0, 500).map(float) | st.just(np.inf), min_size=3, max_size=3), ridges)
def test_rising_momentum_splits_a_mode_into_what_is_left_and_what_is_learnt(
    mu: list[float], k: list[float], ridge: float
) -> None:
    residual, gain = rising(*(jnp.asarray(value) for value in (1.3 / (1 + ridge), ridge, mu, k)))
    assert np.allclose((np.asarray(mu) + ridge)[None, :] * gain + residual, 1, rtol=0, atol=IDENTITY)


def test_after_infinite_training_with_rising_momentum_null_modes_have_not_moved() -> None:
    mu, forever = jnp.asarray([0.0, 1e-300, 0.5, 1.0]), jnp.full(3, jnp.inf)
    residual, gain = rising(jnp.asarray(1.0), jnp.asarray(0.0), mu, forever)
    assert residual[0].tolist() == [1.0, 0.0, 0.0, 0.0]
    assert np.allclose(gain[0], [0.0, 1e300, 2.0, 1.0], rtol=EXACT, atol=0)
    late, _ = rising(jnp.asarray(1.0), jnp.asarray(0.0), mu, jnp.asarray([1.0, 10.0, 1e4]))
    assert np.allclose(late[2, 2:], 0, atol=IDENTITY)


def test_rising_momentum_diverges_past_its_largest_stable_step() -> None:
    limit, end = float(theory.NesterovIncreasing(1.0).largest_stable_step(1.0)), jnp.asarray([1.0, 10.0, 3000.0])
    for share, grows in ((0.99, False), (1.01, True)):
        residual, _ = rising(jnp.asarray(share * limit), jnp.asarray(0.0), jnp.ones(4), end)
        assert (np.abs(residual[-1, 0]) > 1) == grows
    with pytest.raises(ValueError, match=r"step_size: .*diverges.*4 / \(3 \(mu_max \+ ridge\)\) = 1.33333"):
        theory.NesterovIncreasing(1.01 * limit).check_stable(1.0)
    theory.NesterovIncreasing(0.99 * limit).check_stable(1.0)


def test_rising_momentum_works_under_vmap_by_its_settings_and_in_single_precision() -> None:
    mu, k = jnp.asarray([0.0, 1e-30, 0.03, 1.0]), jnp.asarray([0.0, 1.0, 100.0])
    residual, gain = rising(jnp.asarray(0.5), jnp.asarray(0.3), mu, k)
    each = jax.vmap(lambda one: theory.NesterovIncreasing(0.5, 0.3).gain(mu, one))(k)
    assert np.allclose(each, gain, rtol=IDENTITY)
    single = rising(*(jnp.asarray(value, jnp.float32) for value in (0.5, 0.3, mu, k)))
    assert single[0].dtype == single[1].dtype == jnp.float32
    assert np.allclose(single[0], residual, rtol=FLOAT32, atol=FLOAT32)
    assert np.allclose(single[1], gain, rtol=FLOAT32)

    def learnt(step: jax.Array) -> jax.Array:
        return jnp.sum(rising(step, jnp.asarray(0.3), mu, k)[1])

    h = 1e-5
    difference = (learnt(jnp.asarray(0.5 + h)) - learnt(jnp.asarray(0.5 - h))) / (2 * h)
    assert jax.grad(learnt)(jnp.asarray(0.5)) == pytest.approx(float(difference), rel=FINITE_DIFFERENCE)


def test_a_curve_under_rising_momentum_turns_where_the_loop_does() -> None:
    problem, grid = named("square"), [0, 1, 3, 7, 15, 30, 60, 110, 200]
    step = 0.3 / problem.largest_eigenvalue()
    curve = rfm.closed_form(problem, steps=grid, rule=theory.NesterovIncreasing(step))
    covariance, force = oracles.moments(problem)
    before = theta = np.zeros((8, 1))
    risk = [oracles.risk(problem, theta)[0]]
    for k in range(200):
        carried = theta + k / (k + 3) * (theta - before)
        before, theta = theta, carried - step * (covariance @ carried - force)
        risk.append(oracles.risk(problem, theta)[0])
    assert np.allclose(curve.risk, np.asarray(risk)[grid], rtol=ORACLE)
    assert 0 < np.argmin(risk) < 200
    assert float(curve.turning_risk) == pytest.approx(min(risk), rel=ORACLE)
    assert curve.trusted_until == curve.times[-1]
