"""Heavy ball and Nesterov: loops of the textbook updates, 60 digits, limits, and stability on both sides."""

from collections.abc import Callable

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
from tests.theory.rules.momenta import (
    KINDS,
    RATES,
    SPECTRUM,
    STEPS,
    Kind,
    critical,
    eigenvalue_lists,
    evaluate,
    filters,
    kinds,
    largest,
    loop_weights,
    ridges,
)
from tests.tolerances import DERIVATIVE, EXACT, IDENTITY, ORACLE

BETAS = (0.0, 0.25, 0.5, 0.9)


# --- the textbook loop --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.5, 0.99, "critical"])
@kinds
def test_weights_are_those_of_the_loop_up_to_a_hundred_thousand_steps(kind: Kind, share: float | str) -> None:
    momentum, ridge, start = 0.9, 1e-6, np.random.default_rng(83).normal(size=(8, 1))
    rate = np.linalg.eigvalsh(oracles.moments(SPECTRUM)[0])[-1] + ridge
    step = critical(kind, momentum) / rate if share == "critical" else share * largest(kind, momentum, rate)
    ours = theory.risk.weights(
        SPECTRUM.spectrum(), kind(step, momentum, ridge), jnp.asarray(STEPS, float), theory.Start(jnp.asarray(start))
    )
    loop = loop_weights(kind, SPECTRUM, step, momentum, ridge, start, STEPS)
    assert np.all(np.abs(ours - loop) <= ORACLE * np.linalg.norm(loop, axis=0))


@pytest.mark.parametrize("name", ["wide", "rank-deficient"])
@kinds
def test_weights_are_those_of_the_loop_where_modes_are_null(kind: Kind, name: str) -> None:
    problem, recorded = named(name), (1, 10, 1000)
    width = problem.features.shape[1]
    start = np.random.default_rng(84).normal(size=(width, 1))
    step = 0.5 * largest(kind, 0.9, problem.largest_eigenvalue())
    ours = theory.risk.weights(
        problem.spectrum(), kind(step, 0.9), jnp.asarray(recorded, float), theory.Start(jnp.asarray(start))
    )
    loop = loop_weights(kind, problem, step, 0.9, 0.0, start, recorded)
    assert np.all(np.abs(ours - loop) <= ORACLE * np.linalg.norm(loop, axis=0))


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9, 0.99, 1.0, 1.01, 3.0])
@kinds
def test_every_mode_is_what_its_loop_does_on_both_sides_of_stability(kind: Kind, share: float) -> None:
    steps = range(9)
    for momentum in BETAS:
        step = share * largest(kind, momentum)
        meeting = critical(kind, momentum) / step  # exactly critical where momentum is 1/4: (1 - 1/2)^2
        mu = np.asarray([0.0, 1e-300, 1e-3, 0.5, 1 / step, meeting, 1.0])
        residual, gain = evaluate(kind, step, momentum, mu, steps)
        left, learnt = (before_left, before_learnt) = np.ones_like(mu), np.zeros_like(mu)
        scale = np.maximum(1, (3 * share) ** np.arange(9))[:, None]
        found_left, found_learnt = [], []
        for _ in steps:
            found_left.append(left)
            found_learnt.append(learnt)
            ahead, ahead_learnt = left + momentum * (left - before_left), learnt + momentum * (learnt - before_learnt)
            at, at_learnt = (left, learnt) if kind is theory.HeavyBall else (ahead, ahead_learnt)
            before_left, before_learnt = left, learnt
            left, learnt = ahead - step * mu * at, ahead_learnt - step * (mu * at_learnt - 1)
        assert np.all(np.abs(residual - found_left) <= IDENTITY * scale), momentum
        assert np.all(np.abs(gain - found_learnt) <= IDENTITY * scale * (1 + np.abs(found_learnt))), momentum


# --- sixty digits -------------------------------------------------------------------------------------------------


def mp_filters(kind: Kind, step: float, momentum: float, mu: mpmath.mpf, k: int) -> tuple[mpmath.mpf, mpmath.mpf]:
    """Residual and gain by powers of one matrix of (theta, velocity, 1) under a force of one, from rest at zero."""
    step, momentum = mpmath.mpf(step), mpmath.mpf(momentum)
    looks = mpmath.mpf(0) if kind is theory.HeavyBall else momentum
    pull = -step * mu
    one = mpmath.matrix([[1 + pull, momentum + pull * looks, step], [pull, momentum + pull * looks, step], [0, 0, 1]])
    power = mpmath.eye(3)
    for digit in bin(k)[2:]:
        power = power * power
        if digit == "1":
            power = power * one
    gain = power[0, 2]
    return 1 - mu * gain, gain


def mp_values_and_slopes(kind: Kind, step: float, momentum: float, mu: float, k: int) -> tuple[float, ...]:
    """And their derivatives by mu, from central differences that lose half of 100 digits."""
    with mpmath.workdps(100):
        mu, h = mpmath.mpf(mu), mpmath.mpf(10) ** -40 / k
        above, below = (mp_filters(kind, step, momentum, mu + shift, k) for shift in (h, -h))
        slopes = ((high - low) / (2 * h) for high, low in zip(above, below, strict=True))
        return tuple(map(float, (*mp_filters(kind, step, momentum, mu, k), *slopes)))


def slopes_by_eigenvalue(kind: Kind, step: float, momentum: float, mu: object, k: object) -> tuple[jax.Array, ...]:
    settings, counts = tuple(map(jnp.asarray, (step, momentum, 0.0))), jnp.asarray(k, float)
    mu = jnp.asarray(mu)
    return jax.jvp(lambda mu: filters(kind, *settings, mu, counts), (mu,), (jnp.ones_like(mu),))[1]


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
@kinds
def test_filters_are_exact_in_value_and_derivative(kind: Kind, share: float) -> None:
    counts = (1, 2, 10, 1000, 100_000, 10**12 + 1)
    for momentum in (0.25, 0.9):
        step = share * largest(kind, momentum)
        mu = np.asarray([*RATES, critical(kind, momentum) / step, critical(kind, momentum) / step * (1 + 1e-9)])
        values = evaluate(kind, step, momentum, mu, counts)
        slopes = slopes_by_eigenvalue(kind, step, momentum, mu, counts)
        exact = np.asarray([[mp_values_and_slopes(kind, step, momentum, m, k) for m in mu] for k in counts])
        # The time in which a mode learns is the unit of its derivatives.
        time = np.minimum(step / (1 - momentum) * np.asarray(counts)[:, None], 1 / np.maximum(mu, 1e-200)[None, :])
        assert np.all(np.abs(values[0] - exact[:, :, 0]) <= IDENTITY)
        assert np.all(np.abs(values[1] / exact[:, :, 1] - 1) <= IDENTITY)
        assert np.all(np.abs(slopes[0] - exact[:, :, 2]) <= DERIVATIVE * (time + np.abs(exact[:, :, 2])))
        assert np.all(np.abs(slopes[1] - exact[:, :, 3]) <= DERIVATIVE * (time**2 + np.abs(exact[:, :, 3])))


@kinds
def test_a_null_mode_gains_a_geometric_sum(kind: Kind) -> None:
    step, momentum, k = 0.3, 0.5, 20
    terms = [(1 - momentum**j) / (1 - momentum) for j in range(1, k + 1)]
    residual, gain = evaluate(kind, step, momentum, [0.0], k)
    assert residual.tolist() == [1.0]
    assert gain[0] == pytest.approx(step * sum(terms), rel=EXACT)


# --- identities ---------------------------------------------------------------------------------------------------


step_lists = st.lists(st.sampled_from([0.0, 1.0, 2.0, np.inf]) | st.integers(0, 10**12).map(float),
                      min_size=3, max_size=3)  # fmt: skip


shares = st.sampled_from([1e-6, 0.1, 0.5, 0.9, 0.999])
momenta = st.sampled_from(BETAS)


@given(st.sampled_from(KINDS), eigenvalue_lists, step_lists, ridges, shares, momenta)
def test_momentum_splits_a_mode_into_what_is_left_and_what_is_learnt(
    kind: Kind, mu: list[float], k: list[float], ridge: float, share: float, momentum: float
) -> None:
    step = share * largest(kind, momentum, 1 + ridge)
    residual, gain = evaluate(kind, step, momentum, mu, k, ridge)
    assert np.allclose((np.asarray(mu) + ridge)[None, :] * gain + residual, 1, rtol=0, atol=IDENTITY)


@given(st.sampled_from(KINDS), eigenvalue_lists, step_lists, momenta, st.sampled_from([2.0**-20, 0.25, 2.0**30]))
def test_only_eigenvalue_times_step_size_matters(
    kind: Kind, mu: list[float], k: list[float], momentum: float, scale: float
) -> None:
    residual, gain = evaluate(kind, 0.9, momentum, mu, k)
    scaled_residual, scaled_gain = evaluate(kind, 0.9 / scale, momentum, scale * np.asarray(mu), k)
    assert np.allclose(scaled_residual, residual, rtol=EXACT, atol=0)  # a power of two scales exactly
    assert np.allclose(scaled_gain * scale, gain, rtol=EXACT, atol=0)


@given(st.sampled_from(KINDS), eigenvalue_lists, step_lists, momenta, st.sampled_from([1e-6, 0.5, 1.0]))
def test_an_over_damped_mode_never_overshoots(
    kind: Kind, mu: list[float], k: list[float], momentum: float, share: float
) -> None:
    step = share * critical(kind, momentum)
    residual, gain = evaluate(kind, step, momentum, np.sort(mu), np.sort(k))
    assert np.all((residual >= -IDENTITY) & (residual <= 1 + IDENTITY))
    assert np.all(np.diff(residual, axis=0) <= IDENTITY)
    assert np.all(gain >= 0)


# --- limits -------------------------------------------------------------------------------------------------------


@kinds
def test_nothing_has_happened_after_no_steps(kind: Kind) -> None:
    residual, gain = evaluate(kind, 0.5, 0.9, RATES, 0)
    assert residual.tolist() == [1.0] * len(RATES)
    assert gain.tolist() == [0.0] * len(RATES)


@kinds
def test_without_momentum_it_is_gradient_descent(kind: Kind) -> None:
    mu, k = jnp.asarray([*RATES, 1.9]), jnp.asarray([0.0, 1.0, 7.0, 1000.0, 1e9, jnp.inf])
    residual, gain = evaluate(kind, 1.0, 0.0, mu, k, ridge=0.01)
    rule = theory.GradientDescent(1.0, 0.01)
    assert np.allclose(residual, rule.residual(mu, k), rtol=0, atol=IDENTITY)
    assert np.allclose(gain, rule.gain(mu, k), rtol=IDENTITY, atol=0)
    nearly, _ = evaluate(kind, 1.0, 1e-9, mu, k, ridge=0.01)
    assert np.allclose(nearly, residual, rtol=0, atol=1e-8)  # of first order in the momentum, by a factor of order one


@kinds
def test_after_infinite_training_every_mode_is_learnt_but_null_modes_have_not_moved(kind: Kind) -> None:
    mu = np.asarray([0.0, 1e-300, 0.5, 1.0])
    residual, gain = evaluate(kind, 0.5, 0.9, mu, np.inf)
    assert residual.tolist() == [1.0, 0.0, 0.0, 0.0]
    assert np.allclose(gain, [0.0, 1e300, 2.0, 1.0], rtol=EXACT, atol=0)
    late_residual, late_gain = evaluate(kind, 0.5, 0.9, mu[2:], 1e6)
    assert np.allclose(late_residual, 0, atol=IDENTITY)
    assert np.allclose(late_gain, gain[2:], rtol=IDENTITY)


@kinds
def test_infinite_training_with_decay_is_ridge_regression(kind: Kind) -> None:
    mu = np.asarray([0.0, 0.2, 0.7])
    residual, gain = evaluate(kind, 0.5, 0.9, mu, np.inf, ridge=0.3)
    assert residual.tolist() == [0.0, 0.0, 0.0]
    assert np.allclose(gain, 1 / (mu + 0.3), rtol=EXACT)


@kinds
def test_at_equal_effective_time_small_steps_are_gradient_flow(kind: Kind) -> None:
    mu, time, momentum = jnp.asarray([1e-4, 0.01, 0.3, 1.0]), 5.12, 0.75
    flow = theory.GradientFlow().residual(mu, jnp.asarray(time))

    def error(step: float) -> np.ndarray:
        k = round(time * (1 - momentum) / step)
        assert kind(step, momentum).time(jnp.asarray(float(k))) == pytest.approx(time)
        return evaluate(kind, step, momentum, mu, k)[0] - flow

    coarse, fine = error(0.0005), error(0.00025)
    assert np.all(np.abs(coarse) < 0.02)
    assert np.allclose(coarse / fine, 2.0, rtol=0.02)  # of first order in the step; the next is below 0.01


# --- stability ----------------------------------------------------------------------------------------------------


def spectral_radius(kind: Kind, progress: float, momentum: float) -> float:
    """Of the step (theta_k, theta_{k-1}) -> (theta_{k+1}, theta_k)."""
    shrink = 1 - progress
    heavy, looking = [1 + momentum - progress, -momentum], [shrink * (1 + momentum), -shrink * momentum]
    first = heavy if kind is theory.HeavyBall else looking
    return float(np.max(np.abs(np.linalg.eigvals(np.asarray([first, [1.0, 0.0]])))))


@pytest.mark.parametrize("momentum", [*BETAS, 0.999])
@kinds
def test_the_spectral_radius_passes_one_at_the_largest_stable_step(kind: Kind, momentum: float) -> None:
    limit = largest(kind, momentum)
    assert spectral_radius(kind, 1.01 * limit, momentum) > 1
    assert all(spectral_radius(kind, share * limit, momentum) < 1 for share in np.linspace(0.001, 0.999, 200))


@kinds
def test_the_loop_diverges_past_the_largest_stable_step_and_converges_below(kind: Kind) -> None:
    limit = largest(kind, 0.5)
    below, _ = evaluate(kind, 0.99 * limit, 0.5, [1.0], 2000)
    above, _ = evaluate(kind, 1.01 * limit, 0.5, [1.0], 2000)
    assert abs(below[0]) < 1e-5
    assert abs(above[0]) > 1e5


@pytest.mark.parametrize("ridge", [0.0, 0.3])
@kinds
def test_a_step_at_the_largest_stable_one_is_refused_and_one_below_is_not(kind: Kind, ridge: float) -> None:
    problem = named("tall")
    limit = largest(kind, 0.9, problem.largest_eigenvalue() + ridge)
    for share in (1 + 1e-9, 1.01, 3.0):
        with pytest.raises(ValueError, match=rf"step_size: .*diverges.*largest stable one, .*= {limit:.6g}"):
            rfm.closed_form(problem, steps=[0, 5], rule=kind(share * limit, 0.9, ridge))
    kind(0.99 * limit, 0.9, ridge).check_stable(problem.largest_eigenvalue())


@pytest.mark.parametrize("rule", [theory.GradientDescent(1.0), theory.HeavyBall(1.0, 0.5), theory.Nesterov(1.0, 0.5)])
def test_where_nothing_is_learnt_any_step_is_stable(rule: theory.Rule) -> None:
    assert rule.largest_stable_step(0.0) == np.inf
    rule.check_stable(0.0)


def test_gradient_flow_is_always_stable() -> None:
    assert theory.GradientFlow().largest_stable_step(1e300) == np.inf
    theory.GradientFlow().check_stable(1e300)


# --- bad input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("momentum", [-0.1, 1.0, 1.5, np.nan])
@kinds
def test_a_momentum_must_lie_below_one(kind: Kind, momentum: float) -> None:
    with pytest.raises(ValueError, match=rf"momentum: must lie in \[0, 1\), got {momentum}"):
        kind(0.1, momentum)


@kinds
def test_the_other_settings_are_checked_too(kind: Callable[..., theory.Rule]) -> None:
    with pytest.raises(ValueError, match="step_size: must be a positive number, got 0"):
        kind(0.0, 0.5)
    with pytest.raises(ValueError, match="ridge: must be a finite number that is not negative, got -1"):
        kind(0.1, 0.5, -1.0)
    with pytest.raises(ValueError, match=rf"steps: {kind.__name__} counts steps; pass steps=, and not times="):
        rfm.closed_form(named("tall"), times=[1.0], rule=kind(0.1, 0.5))
