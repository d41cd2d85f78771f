"""Heavy ball and Nesterov: loops of the textbook updates, 60 digits, limits, and stability on both sides."""

from collections.abc import Callable
from functools import partial

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
from tests.tolerances import DERIVATIVE, EXACT, FINITE_DIFFERENCE, FLOAT32, IDENTITY, LATE, ORACLE

Kind = type[theory.HeavyBall] | type[theory.Nesterov]

KINDS: tuple[Kind, ...] = (theory.HeavyBall, theory.Nesterov)
BETAS = (0.0, 0.25, 0.5, 0.9)
STEPS = (1, 10, 1000, 100_000)
SPECTRUM = make(with_singular_values(24, 8, np.sqrt(np.geomspace(1, 1e-7, 8)), seed=81), seed=82)
"""Eigenvalues from 1 to 1e-7: after 100 000 steps the slowest have hardly begun."""

kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


@partial(jax.jit, static_argnums=0)
def filters(
    kind: Kind, step_size: jax.Array, momentum: jax.Array, ridge: jax.Array, mu: jax.Array, k: jax.Array
) -> tuple[jax.Array, jax.Array]:
    rule = kind(step_size, momentum, ridge)
    return rule.residual(mu, k), rule.gain(mu, k)


def padded(values: object, length: int) -> jax.Array:
    """At that length, filled with ones: one shape compiles once."""
    values = np.ravel(values)
    return jnp.asarray(np.concatenate([values, np.ones(length - len(values))]))


def evaluate(
    kind: Kind, step_size: float, momentum: float, mu: object, k: object, ridge: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    settings = (jnp.asarray(value, float) for value in (step_size, momentum, ridge))
    rows = (slice(np.size(k)) if np.ndim(k) else 0, slice(np.size(mu)))
    residual, gain = filters(kind, *settings, padded(mu, 13), padded(k, 9))
    return np.asarray(residual)[rows], np.asarray(gain)[rows]


def largest(kind: Kind, momentum: float, rate: float = 1.0) -> float:
    return float(kind(1.0, momentum).largest_stable_step(rate))


def critical(kind: Kind, momentum: float) -> float:
    """The progress step_size * (mu + ridge) at which the two roots meet."""
    if kind is theory.HeavyBall:
        return (1 - np.sqrt(momentum)) ** 2
    return ((1 - momentum) / (1 + momentum)) ** 2


def loop_weights(
    kind: Kind,
    problem: rfm.Problem,
    step_size: float,
    momentum: float,
    ridge: float,
    start: np.ndarray,
    recorded: tuple[int, ...],
) -> np.ndarray:
    """The textbook updates on weights, from rest."""
    covariance, force = oracles.moments(problem)
    before = theta = start
    found = []
    for k in range(1, recorded[-1] + 1):
        carried = theta + momentum * (theta - before)
        at = theta if kind is theory.HeavyBall else carried
        before, theta = theta, carried - step_size * (covariance @ at - force + ridge * at)
        if k in recorded:
            found.append(theta)
    return np.stack(found, axis=1)


# --- the textbook loop ---------------------------------------------------------------------------------------------


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


# --- sixty digits --------------------------------------------------------------------------------------------------

RATES = (0.0, 1e-300, 1e-12, 1e-9, 1e-6, 1e-4, 0.01, 0.1, 0.4, 0.75, 1.0)


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


# --- identities ----------------------------------------------------------------------------------------------------

eigenvalue_lists = st.lists(
    st.sampled_from([0.0, 1e-300, 1e-17]) | st.floats(-18, 0).map(lambda e: 10**e), min_size=4, max_size=4
)
step_lists = st.lists(st.sampled_from([0.0, 1.0, 2.0, np.inf]) | st.integers(0, 10**12).map(float),
                      min_size=3, max_size=3)  # fmt: skip
ridges = st.sampled_from([0.0, 1e-300, 1e-9, 0.5])
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


# --- limits --------------------------------------------------------------------------------------------------------


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


# --- stability -----------------------------------------------------------------------------------------------------


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


# --- momentum that rises -------------------------------------------------------------------------------------------


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


# --- whole curves --------------------------------------------------------------------------------------------------


@kinds
def test_a_curve_is_that_of_training_and_so_are_its_turning_point_and_its_limit(kind: Kind) -> None:
    problem, recorded, momentum = named("power law"), tuple(range(1, 400)), 0.8
    step = 0.3 * largest(theory.HeavyBall, momentum, problem.largest_eigenvalue())  # stable for both
    grid = [0, 1, 2, 4, 7, 12, 20, 35, 60, 110, 200, 399]
    curve = rfm.closed_form(problem, steps=grid, rule=kind(step, momentum))
    loop = loop_weights(kind, problem, step, momentum, 0.0, np.zeros((8, 1)), recorded)
    risk = np.asarray([oracles.risk(problem, loop[:, k])[0] for k in range(len(recorded))])
    assert np.allclose(curve.risk[1:], risk[np.asarray(grid[1:]) - 1], rtol=ORACLE)
    assert np.allclose(curve.times, step / (1 - momentum) * np.asarray(grid), rtol=EXACT)
    best = int(np.argmin(risk))
    assert 110 < recorded[best] < 200
    assert float(curve.turning_risk) == pytest.approx(risk[best], rel=ORACLE)
    assert float(curve.turning_time) == pytest.approx(step / (1 - momentum) * recorded[best], rel=EXACT)
    settled = np.linalg.pinv(np.asarray(problem.features)) @ np.asarray(problem.labels)
    assert float(curve.risk_at_infinity) == pytest.approx(oracles.risk(problem, settled)[0], rel=LATE)
    assert curve.trusted_until == curve.times[-1]


# --- transforms ----------------------------------------------------------------------------------------------------


@kinds
def test_filters_work_under_vmap_and_outside_of_jit(kind: Kind) -> None:
    mu, t = jnp.asarray([0.0, 1e-300, 0.03, 1.3]), jnp.asarray([0.0, 1.0, 100.0, jnp.inf])
    rule = kind(0.5, 0.9, 0.3)
    residual, gain = evaluate(kind, 0.5, 0.9, mu, t, ridge=0.3)
    assert np.allclose(rule.gain(mu, t), gain, rtol=IDENTITY, atol=0)
    assert np.allclose(jax.vmap(lambda one: rule.residual(mu, one))(t), residual, rtol=0, atol=IDENTITY)


@kinds
def test_filters_stay_in_single_precision(kind: Kind) -> None:
    rule, k = kind(0.5, 0.9, 0.3), [0.0, 1.0, 100.0, 1e7]
    mu = [0.0, 1e-30, 0.03, 1.3]
    found = [f(jnp.asarray(mu, jnp.float32), jnp.asarray(k, jnp.float32)) for f in (rule.residual, rule.gain)]
    assert {array.dtype for array in found} == {jnp.dtype(jnp.float32)}
    for single, double in zip(found, evaluate(kind, 0.5, 0.9, mu, k, ridge=0.3), strict=True):
        assert np.allclose(single, double, rtol=FLOAT32, atol=FLOAT32)


@kinds
def test_derivatives_by_the_settings_are_those_of_the_loop(kind: Kind) -> None:
    mu = jnp.asarray([0.0, 1e-300, 1e-3, 0.25, 0.5, 1.0])  # at the settings below, 0.25 is critical for the heavy ball
    counts = (1, 2, 20)

    def loop(settings: jax.Array) -> jax.Array:
        step, momentum, ridge = settings
        before = u = jnp.zeros_like(mu)
        found = []
        for k in range(1, counts[-1] + 1):
            carried = u + momentum * (u - before)
            at = u if kind is theory.HeavyBall else carried
            before, u = u, carried - step * ((mu + ridge) * at - 1)
            found += [u] if k in counts else []
        return jnp.stack(found)

    def closed(settings: jax.Array) -> jax.Array:
        return filters(kind, *settings, mu, jnp.asarray(counts, float))[1]

    settings = jnp.asarray([1.0, 0.25, 0.0])
    assert np.allclose(
        jax.jacrev(closed)(settings), jax.jacfwd(jax.jit(loop))(settings), rtol=DERIVATIVE, atol=DERIVATIVE
    )


@kinds
def test_derivatives_are_finite_everywhere(kind: Kind) -> None:
    mu = jnp.asarray([0.0, 1e-300, 1e-8, critical(kind, 0.9) / 0.5, 0.5, 1.0, 2.0])
    settings = tuple(map(jnp.asarray, (0.5, 0.9, 0.0)))
    for t in (0.0, 1.0, 2.0, 1e12, jnp.inf):
        _, pull = jax.vjp(lambda mu, t=t: filters(kind, *settings, mu, jnp.asarray(t)), mu)
        for which in range(2):
            (slopes,) = pull(tuple(jnp.full_like(mu, float(which == output)) for output in range(2)))
            # The gain 1 / mu of the limit falls infinitely steeply at mu -> 0.
            assert np.all(np.isfinite(slopes) | (t == jnp.inf) & (np.asarray(mu) == 1e-300)), t


# --- bad input -----------------------------------------------------------------------------------------------------


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
