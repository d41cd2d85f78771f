"""The mean of the iterates: loops that add them up, 60 digits, limits, and one curve."""

import equinox as eqx
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import scipy.integrate
from hypothesis import given
from hypothesis import strategies as st

import rfm
import theory
from tests.problems import make, named, with_singular_values
from tests.theory import oracles
from tests.tolerances import DERIVATIVE, EXACT, FLOAT32, IDENTITY, ORACLE

STEPS = (1, 10, 1000, 100_000)
RATES = (0.0, 1e-300, 1e-12, 1e-9, 1e-6, 1e-4, 0.01, 0.1, 0.4, 0.75, 1.0)
SPECTRUM = make(with_singular_values(24, 8, np.sqrt(np.geomspace(1, 1e-7, 8)), seed=71), seed=72)
"""Eigenvalues from 1 to 1e-7."""

FLOW = theory.Averaged(theory.GradientFlow(jnp.asarray(0.0)))


def stepping(kind: str, share: float, rate: float = 1.0, ridge: float = 0.0) -> theory.Averaged:
    """The average of a rule, at a share of its largest stable step; its settings are arrays, and compile once."""
    settings = () if kind == "GradientDescent" else (jnp.asarray(0.75),)
    rule = getattr(theory, kind)
    step = share * rule(1.0, *settings).largest_stable_step(rate)
    return theory.Averaged(rule(jnp.asarray(step, float), *settings, jnp.asarray(ridge)))


kinds = pytest.mark.parametrize("kind", ["GradientDescent", "HeavyBall", "Nesterov"])


@eqx.filter_jit
def filters(rule: theory.Rule, mu: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
    return rule.residual(mu, t), rule.gain(mu, t)


def beta_and_look(rule: theory.Averaged) -> tuple[float, float]:
    """The momentum, and how far ahead of the weights the gradient is taken."""
    momentum = float(getattr(rule.rule, "momentum", 0.0))
    return momentum, momentum if isinstance(rule.rule, theory.Nesterov) else 0.0


# --- the textbook loop ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.5, 0.99])
@kinds
def test_weights_are_the_mean_of_the_loop_up_to_a_hundred_thousand_steps(kind: str, share: float) -> None:
    ridge, start = 1e-6, np.random.default_rng(73).normal(size=(8, 1))
    rule = stepping(kind, share, SPECTRUM.largest_eigenvalue() + ridge, ridge)
    ours = theory.risk.weights(SPECTRUM.spectrum(), rule, jnp.asarray(STEPS, float), theory.Start(jnp.asarray(start)))
    covariance, force = oracles.moments(SPECTRUM)
    momentum, look = beta_and_look(rule)
    step, before, theta, total = float(rule.rule.step_size), start, start, np.zeros_like(start)
    for k in range(1, STEPS[-1] + 1):
        at = theta + look * (theta - before)
        moved = theta + momentum * (theta - before) - step * (covariance @ at - force + ridge * at)
        before, theta, total = theta, moved, total + moved
        if k in STEPS:
            mean = total / k
            assert np.all(np.abs(ours[:, STEPS.index(k)] - mean) <= ORACLE * np.linalg.norm(mean)), k


@pytest.mark.parametrize("rate", [0.0, 0.3, 4.0])
def test_the_average_of_flow_is_its_integral(rate: float) -> None:
    time, flow = 7.0, theory.GradientFlow()
    residual, gain = filters(FLOW, jnp.full(11, rate), jnp.full(4, time))
    for ours, function in ((residual, flow.residual), (gain, flow.gain)):
        integral, _ = scipy.integrate.quad(
            lambda t, f=function: float(f(jnp.asarray([rate]), jnp.asarray(t))[0]), 0, time, epsabs=1e-13, epsrel=1e-13
        )
        assert float(ours[0, 0]) == pytest.approx(integral / time, rel=ORACLE)


# --- sixty digits --------------------------------------------------------------------------------------------------


def mp_means(rule: theory.Averaged, mu: float, counts: tuple[int, ...]) -> list[tuple[float, ...]]:
    """Mean residual and gain, and their derivatives by mu, carried along by the product rule."""
    momentum, look = map(mpmath.mpf, beta_and_look(rule))
    step, mu = mpmath.mpf(float(rule.rule.step_size)), mpmath.mpf(mu)
    before = u = total = slope_before = slope = total_slope = mpmath.mpf(0)
    found = []
    for k in range(1, counts[-1] + 1):
        at, slope_at = u + look * (u - before), slope + look * (slope - slope_before)
        before, u = u, u + momentum * (u - before) - step * (mu * at - 1)
        slope_before, slope = slope, slope + momentum * (slope - slope_before) - step * (at + mu * slope_at)
        total, total_slope = total + u, total_slope + slope
        if k in counts:
            gain, gain_slope = total / k, total_slope / k
            found.append(tuple(map(float, (1 - mu * gain, gain, -gain - mu * gain_slope, gain_slope))))
    return found


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
@kinds
def test_means_are_exact_in_value_and_derivative(kind: str, share: float) -> None:
    rule, counts, mu = stepping(kind, share), (1, 2, 10, 1000), jnp.asarray(RATES)
    values, slopes = jax.jvp(lambda mu: filters(rule, mu, jnp.asarray(counts, float)), (mu,), (jnp.ones_like(mu),))
    with mpmath.workdps(60):
        exact = np.asarray([mp_means(rule, float(m), counts) for m in mu]).transpose(2, 1, 0)
    # The time in which a mode learns is the unit of its derivatives.
    time = np.minimum(rule.time(jnp.asarray(counts, float))[:, None], 1 / np.maximum(RATES, 1e-200)[None, :])
    assert np.all(np.abs(values[0] - exact[0]) <= IDENTITY)
    assert np.all(np.abs(values[1] / exact[1] - 1) <= IDENTITY)
    assert np.all(np.abs(slopes[0] - exact[2]) <= DERIVATIVE * (time + np.abs(exact[2])))
    assert np.all(np.abs(slopes[1] - exact[3]) <= DERIVATIVE * (time**2 + np.abs(exact[3])))


def mp_flow(mu: float, t: float) -> tuple[float, ...]:
    with mpmath.workdps(1000):
        x, t = mpmath.mpf(mu) * mpmath.mpf(t), mpmath.mpf(t)
        if x == 0:
            return 1.0, float(t / 2), float(-t / 2), float(-(t**2) / 6)
        left, left_slope = (1 - mpmath.exp(-x)) / x, (mpmath.exp(-x) * (1 + x) - 1) / x**2
        return tuple(map(float, (left, t * (1 - left) / x, t * left_slope, t**2 * (-left_slope * x - 1 + left) / x**2)))


@pytest.mark.parametrize("time", [1e-3, 1.0, 1e10])
def test_the_mean_of_flow_is_exact_in_value_and_derivative(time: float) -> None:
    products = np.asarray([0.0, 1e-300, 1e-17, 1e-8, 1e-3, 0.0999, 0.1001, 0.999, 1.0, 3.0, 600.0])
    mu, t = jnp.asarray(products / time), jnp.full(4, time)
    values, slopes = jax.jvp(lambda mu: filters(FLOW, mu, t), (mu,), (jnp.ones_like(mu),))
    exact = np.asarray([mp_flow(float(m), time) for m in mu]).T
    assert np.allclose(values[0][0], exact[0], rtol=EXACT, atol=0)
    assert np.allclose(values[1][0], exact[1], rtol=EXACT, atol=0)
    assert np.allclose(slopes[0][0], exact[2], rtol=DERIVATIVE, atol=0)
    assert np.allclose(slopes[1][0], exact[3], rtol=DERIVATIVE, atol=0)


# --- identities and limits -----------------------------------------------------------------------------------------

eigenvalue_lists = st.lists(
    st.sampled_from([0.0, 1e-300, 1e-17]) | st.floats(-18, 0).map(lambda e: 10**e), min_size=11, max_size=11
)
step_lists = st.lists(st.sampled_from([0.0, 1.0, 2.0, np.inf]) | st.integers(0, 10**12).map(float),
                      min_size=4, max_size=4)  # fmt: skip


@kinds
@given(eigenvalue_lists, step_lists, st.sampled_from([0.0, 1e-300, 0.5]), st.sampled_from([1e-6, 0.5, 0.99]))
def test_the_average_splits_a_mode_into_what_is_left_and_what_is_learnt(
    kind: str, mu: list[float], k: list[float], ridge: float, share: float
) -> None:
    residual, gain = filters(stepping(kind, share, 1 + ridge, ridge), jnp.asarray(mu), jnp.asarray(k))
    assert np.allclose((np.asarray(mu) + ridge)[None, :] * gain + residual, 1, rtol=0, atol=IDENTITY)


@given(eigenvalue_lists, step_lists, st.sampled_from([0.0, 1e-300, 0.5]))
def test_the_average_of_flow_splits_likewise_and_lags_behind(mu: list[float], t: list[float], ridge: float) -> None:
    rule = theory.Averaged(theory.GradientFlow(jnp.asarray(ridge)))
    residual, gain = filters(rule, jnp.asarray(mu), jnp.asarray(t))
    assert np.allclose((np.asarray(mu) + ridge)[None, :] * gain + residual, 1, rtol=0, atol=IDENTITY)
    assert np.all(residual >= filters(rule.rule, jnp.asarray(mu), jnp.asarray(t))[0] - IDENTITY)


def test_a_null_mode_has_moved_half_as_far() -> None:
    mu, k = jnp.zeros(11), jnp.asarray([1.0, 2.0, 99.0, 1e9])
    descent = stepping("GradientDescent", 0.25)
    assert np.allclose(filters(descent, mu, k)[1][:, 0], 0.5 * (k + 1) / 2, rtol=IDENTITY)
    assert np.allclose(filters(FLOW, mu, k)[1][:, 0], k / 2, rtol=EXACT)


@pytest.mark.parametrize("kind", ["flow", "GradientDescent", "HeavyBall", "Nesterov"])
def test_averaging_starts_at_the_start_and_ends_where_its_rule_does(kind: str) -> None:
    rule = FLOW if kind == "flow" else stepping(kind, 0.5)
    mu = jnp.asarray([*RATES[:2], *np.linspace(0.1, 1, 9)])
    residual, gain = filters(rule, mu, jnp.asarray([0.0, 1.0, 1e9, jnp.inf]))
    assert residual[0].tolist() == [1.0] * 11
    assert gain[0].tolist() == [0.0] * 11
    assert residual[3].tolist() == [1.0] + [0.0] * 10
    assert np.allclose(gain[3], [0.0, *(1 / mu[1:])], rtol=EXACT, atol=0)
    late = 1e-7  # as 1 / (mu t), which is at most 1e-8, and a momentum's factor
    assert np.all(np.abs(residual[2, 2:]) < late)
    assert np.allclose(gain[2, 2:], gain[3, 2:], rtol=late)


def test_small_steps_average_to_the_average_of_flow() -> None:
    mu, time = jnp.asarray([*RATES[:6], 0.01, 0.1, 0.3, 0.4, 1.0]), 5.0
    flow = filters(FLOW, mu, jnp.full(4, time))[1]

    def error(num_steps: int) -> np.ndarray:
        rule = stepping("GradientDescent", time / num_steps / 2)
        return np.asarray(filters(rule, mu, jnp.full(4, float(num_steps)))[1] - flow)

    coarse, fine = error(1000), error(2000)
    assert np.all(np.abs(coarse) < 0.02)
    assert np.allclose(coarse / fine, 2.0, rtol=0.02)  # of first order in the step; the next is below 0.01


# --- curves and transforms -----------------------------------------------------------------------------------------


def test_a_curve_of_averages_is_that_of_the_loop() -> None:
    problem, grid = named("square"), [0, 1, 3, 7, 15, 30, 60, 110, 200]
    step = 0.5 / problem.largest_eigenvalue()
    curve = rfm.closed_form(problem, steps=grid, rule=theory.Averaged(theory.GradientDescent(step)))
    covariance, force = oracles.moments(problem)
    theta = total = np.zeros((8, 1))
    means = [theta]
    for k in range(1, 201):
        theta = theta - step * (covariance @ theta - force)
        total = total + theta
        means.append(total / k)
    risk = [oracles.risk(problem, mean)[0] for mean in means]
    assert np.allclose(curve.risk, np.asarray(risk)[grid], rtol=ORACLE)
    assert float(curve.turning_risk) == pytest.approx(min(risk), rel=ORACLE)
    assert np.allclose(curve.times, step * np.asarray(grid), rtol=EXACT)
    settled = np.linalg.solve(np.asarray(problem.features), np.asarray(problem.labels))
    assert float(curve.risk_at_infinity) == pytest.approx(oracles.risk(problem, settled)[0], rel=ORACLE)
    assert curve.trusted_until == curve.times[-1]


@pytest.mark.parametrize("kind", ["flow", "HeavyBall"])
def test_averages_work_in_reverse_under_vmap_and_in_single_precision(kind: str) -> None:
    rule = FLOW if kind == "flow" else stepping(kind, 0.5)
    mu, t = jnp.asarray(RATES), jnp.asarray([0.0, 1.0, 100.0, jnp.inf])
    each = eqx.filter_jit(jax.vmap(lambda one: rule.gain(mu, one)))(t)
    assert np.allclose(each, filters(rule, mu, t)[1], rtol=IDENTITY, atol=0)
    slopes = jax.grad(lambda mu: jnp.sum(filters(rule, mu, t[:3])[1]))(mu)
    _, forward = jax.jvp(lambda mu: jnp.sum(filters(rule, mu, t[:3])[1], axis=0), (mu,), (jnp.ones_like(mu),))
    assert np.allclose(slopes, forward, rtol=DERIVATIVE)
    single_rule = jax.tree.map(lambda number: number.astype(jnp.float32), rule)
    single = filters(single_rule, mu.at[1].set(1e-30).astype(jnp.float32), t.astype(jnp.float32))
    for ours, exact in zip(single, filters(rule, mu.at[1].set(1e-30), t), strict=True):
        assert ours.dtype == jnp.float32
        assert np.allclose(ours, exact, rtol=FLOAT32, atol=FLOAT32)


# --- bad input -----------------------------------------------------------------------------------------------------


def test_averages_diverge_where_their_rule_does() -> None:
    with pytest.raises(ValueError, match=r"step_size: 2.2 diverges.*2 / \(mu_max \+ ridge\) = 2"):
        theory.Averaged(theory.GradientDescent(2.2)).check_stable(1.0)
    assert theory.Averaged(theory.GradientDescent(2.2)).largest_stable_step(1.0) == 2.0


def test_averages_of_flow_are_asked_for_at_times() -> None:
    with pytest.raises(ValueError, match="times: Averaged runs in continuous time; pass times="):
        rfm.closed_form(named("tall"), steps=[1], rule=theory.Averaged(theory.GradientFlow()))
    with pytest.raises(ValueError, match="steps: Averaged counts steps; pass steps="):
        rfm.closed_form(named("tall"), times=[1.0], rule=theory.Averaged(theory.GradientDescent(0.1)))
