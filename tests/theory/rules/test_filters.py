"""Residual and gain: identities, limits, and exactness where (1 - exp(-x)) / x is delicate."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import theory
from tests.tolerances import DERIVATIVE, EXACT, IDENTITY
from theory.rules.series import SERIES_BELOW

LARGEST = 2.0
"""Eigenvalues are drawn up to here; steps then up to 2 / LARGEST."""

eigenvalue_lists = st.lists(
    st.sampled_from([0.0, 1e-300, 1e-17]) | st.floats(-18, 0).map(lambda e: LARGEST * 10**e), min_size=4, max_size=4
)
time_lists = st.lists(st.sampled_from([0.0, np.inf]) | st.floats(-6, 20).map(lambda e: 10.0**e), min_size=3, max_size=3)
step_lists = st.lists(st.sampled_from([0.0, 1.0, 2.0, 3.0, 1e9, np.inf]) | st.integers(0, 10**12).map(float),
                      min_size=3, max_size=3)  # fmt: skip
ridges = st.sampled_from([0.0, 1e-300, 1e-9, 0.5])
stable_shares = st.sampled_from([1e-6, 0.1, 0.5, 0.9, 0.999])
"""Of the largest stable step; past 0.5 the fastest mode overshoots."""


@jax.jit
def flow(mu: jax.Array, t: jax.Array, ridge: jax.Array) -> tuple[jax.Array, jax.Array]:
    rule = theory.GradientFlow(ridge)
    return rule.residual(mu, t), rule.gain(mu, t)


@jax.jit
def descent(mu: jax.Array, k: jax.Array, step_size: jax.Array, ridge: jax.Array) -> tuple[jax.Array, jax.Array]:
    rule = theory.GradientDescent(step_size, ridge)
    return rule.residual(mu, k), rule.gain(mu, k)


def close(a: object, b: object, tolerance: float) -> bool:
    return bool(np.allclose(np.asarray(a), np.asarray(b), rtol=tolerance, atol=0))


@given(eigenvalue_lists, time_lists, ridges)
def test_flow_splits_a_mode_into_what_is_left_and_what_is_learnt(mu: list[float], t: list[float], ridge: float) -> None:
    residual, gain = flow(jnp.asarray(mu), jnp.asarray(t), jnp.asarray(ridge))
    total = (jnp.asarray(mu) + ridge)[None, :] * gain + residual
    assert close(total, np.ones((3, 4)), IDENTITY)


@given(eigenvalue_lists, step_lists, ridges, stable_shares)
def test_descent_splits_a_mode_into_what_is_left_and_what_is_learnt(
    mu: list[float], k: list[float], ridge: float, share: float
) -> None:
    step = share * 2 / (LARGEST + ridge)
    residual, gain = descent(jnp.asarray(mu), jnp.asarray(k), jnp.asarray(step), jnp.asarray(ridge))
    total = (jnp.asarray(mu) + ridge)[None, :] * gain + residual
    assert close(total, np.ones((3, 4)), IDENTITY)


@given(eigenvalue_lists, time_lists)
def test_flow_forgets_and_learns_monotonically_in_time_and_in_eigenvalue(mu: list[float], t: list[float]) -> None:
    residual, gain = flow(jnp.sort(jnp.asarray(mu)), jnp.sort(jnp.asarray(t)), jnp.asarray(0.0))
    slack = 1 + IDENTITY
    assert np.all(residual[1:] <= residual[:-1] * slack)
    assert np.all(residual[:, 1:] <= residual[:, :-1] * slack)
    limit = np.isinf(np.sort(t))[:, None] & (np.sort(mu) == 0)[None, :]  # where null modes count as never moved
    assert np.all((gain[1:] * slack >= gain[:-1]) | limit[1:])
    assert np.all((gain[:, 1:] <= gain[:, :-1] * slack) | limit[:, :-1])


@given(eigenvalue_lists, step_lists, stable_shares)
def test_stable_descent_never_leaves_the_unit_interval(mu: list[float], k: list[float], share: float) -> None:
    residual, gain = descent(jnp.asarray(mu), jnp.asarray(k), jnp.asarray(share * 2 / LARGEST), jnp.asarray(0.0))
    assert np.all(np.abs(residual) <= 1)
    assert np.all(gain >= 0)


@given(eigenvalue_lists, time_lists, st.sampled_from([2.0**-20, 0.25, 2.0, 2.0**30]))
def test_only_eigenvalue_times_time_matters(rates: list[float], times: list[float], scale: float) -> None:
    mu, t, zero = jnp.asarray(rates), jnp.asarray(times), jnp.asarray(0.0)
    residual, gain = flow(mu, t, zero)
    scaled_residual, scaled_gain = flow(scale * mu, t / scale, zero)
    assert close(scaled_residual, residual, EXACT)  # a power of two scales exactly
    assert close(scaled_gain * scale, gain, EXACT)


@given(eigenvalue_lists, step_lists, st.sampled_from([2.0**-20, 0.25, 2.0, 2.0**30]))
def test_only_eigenvalue_times_step_size_matters(rates: list[float], steps: list[float], scale: float) -> None:
    mu, k, step, zero = jnp.asarray(rates), jnp.asarray(steps), jnp.asarray(0.9), jnp.asarray(0.0)
    residual, gain = descent(mu, k, step, zero)
    scaled_residual, scaled_gain = descent(scale * mu, k, step / scale, zero)
    assert close(scaled_residual, residual, EXACT)
    assert close(scaled_gain * scale, gain, EXACT)


RULES = [theory.GradientFlow(), theory.GradientDescent(0.7)]
RULES_WITH_RIDGE = [theory.GradientFlow(0.3), theory.GradientDescent(0.7, 0.3)]


@pytest.mark.parametrize("rule", RULES + RULES_WITH_RIDGE, ids=str)
def test_nothing_has_happened_at_time_zero(rule: theory.Rule) -> None:
    mu = jnp.asarray([0.0, 1e-300, 1e-3, 1.0, 2.0])
    assert rule.residual(mu, jnp.asarray(0.0)).tolist() == [1.0] * 5
    assert rule.gain(mu, jnp.asarray(0.0)).tolist() == [0.0] * 5


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_after_infinite_training_every_mode_is_learnt_but_null_modes_have_not_moved(rule: theory.Rule) -> None:
    mu = jnp.asarray([0.0, 1e-300, 0.5, 2.0])
    assert rule.residual(mu, jnp.asarray(jnp.inf)).tolist() == [1.0, 0.0, 0.0, 0.0]
    assert close(rule.gain(mu, jnp.asarray(jnp.inf)), [0.0, 1e300, 2.0, 0.5], EXACT)


@pytest.mark.parametrize("rule", RULES_WITH_RIDGE, ids=str)
def test_infinite_training_with_decay_is_ridge_regression(rule: theory.Rule) -> None:
    mu = jnp.asarray([0.0, 0.2, 1.7])
    assert close(rule.gain(mu, jnp.asarray(jnp.inf)), 1 / (mu + 0.3), EXACT)
    assert rule.residual(mu, jnp.asarray(jnp.inf)).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_the_limit_is_reached_continuously(rule: theory.Rule) -> None:
    mu = jnp.asarray([1e-3, 0.5, 1.9])
    late, forever = jnp.asarray(1e6), jnp.asarray(jnp.inf)
    assert close(rule.gain(mu, late), rule.gain(mu, forever), EXACT)


def test_descent_tends_to_flow_at_first_order_in_the_step() -> None:
    mu, time = jnp.asarray([1e-4, 0.01, 0.3, 1.0]), 5.12
    flow_residual = theory.GradientFlow().residual(mu, jnp.asarray(time))
    flow_gain = theory.GradientFlow().gain(mu, jnp.asarray(time))

    def errors(step: float) -> tuple[jax.Array, jax.Array]:
        rule, k = theory.GradientDescent(step), jnp.asarray(time / step)
        return rule.residual(mu, k) - flow_residual, rule.gain(mu, k) - flow_gain

    for coarse, fine in zip(errors(0.01), errors(0.005), strict=True):
        assert np.all(np.abs(coarse) < 0.02 * time)
        assert np.allclose(coarse / fine, 2.0, rtol=0.02)  # the next order, mu * step, is below 0.01


# --- exactness -----------------------------------------------------------------------------------------------------

PRODUCTS = [0.0, 1e-300, 1e-17, 1e-8, 1e-3, 0.05, SERIES_BELOW * (1 - 1e-9), SERIES_BELOW, SERIES_BELOW * (1 + 1e-9)]
PRODUCTS_PAST = [*PRODUCTS, 0.3, 1.0, 3.0, 30.0, 600.0]


def mp_flow_gain(mu: float, t: float) -> tuple[float, float]:
    """The gain and its derivative by mu, with enough digits to divide by 1e-300."""
    with mpmath.workdps(1000):
        mu, t = mpmath.mpf(mu), mpmath.mpf(t)
        if mu == 0:
            return float(t), float(-t * t / 2)
        e = mpmath.exp(-mu * t)
        return float((1 - e) / mu), float((mu * t * e - (1 - e)) / mu**2)


def mp_descent_gain(mu: float, step: float, k: int) -> tuple[float, float]:
    with mpmath.workdps(1000):
        mu, step = mpmath.mpf(mu), mpmath.mpf(step)
        if mu == 0:
            return float(step * k), float(-(step**2) * k * (k - 1) / 2)
        r = (1 - step * mu) ** k
        slope = -k * step * (1 - step * mu) ** (k - 1)
        return float((1 - r) / mu), float((-slope * mu - (1 - r)) / mu**2)


def value_and_slope(gain: Callable[[jax.Array], jax.Array], mu: float) -> tuple[float, float]:
    value, slope = jax.value_and_grad(lambda mu: gain(mu[None])[0])(jnp.asarray(mu))
    return float(value), float(slope)


@pytest.mark.parametrize("time", [1e-3, 1.0, 1e10])
def test_gain_of_flow_is_exact_in_value_and_derivative(time: float) -> None:
    gain = jax.jit(lambda mu: theory.GradientFlow().gain(mu, jnp.asarray(time)))
    for product in PRODUCTS_PAST:
        value, slope = value_and_slope(gain, product / time)
        exact_value, exact_slope = mp_flow_gain(product / time, time)
        assert value == pytest.approx(exact_value, rel=EXACT, abs=0), product
        assert slope == pytest.approx(exact_slope, rel=DERIVATIVE, abs=0), product


@pytest.mark.parametrize("num_steps", [1, 2, 7, 1000])
def test_gain_of_descent_is_exact_in_value_and_derivative(num_steps: int) -> None:
    step = 0.5
    gain = jax.jit(lambda mu: theory.GradientDescent(step).gain(mu, jnp.asarray(float(num_steps))))
    for progress in [*PRODUCTS, *(p / num_steps for p in PRODUCTS), 0.3, 0.999, 1.5]:
        value, slope = value_and_slope(gain, progress / step)
        exact_value, exact_slope = mp_descent_gain(progress / step, step, num_steps)
        assert value == pytest.approx(exact_value, rel=EXACT * 5, abs=0), progress
        # The derivative of one step is exactly 0, which two canceling terms of order step^2 cannot quite reach.
        assert slope == pytest.approx(exact_slope, rel=DERIVATIVE, abs=DERIVATIVE * step**2), progress


def test_gain_of_descent_is_exact_after_a_thousand_million_steps() -> None:
    k, step = 10**9, 0.5
    mu = jnp.asarray([0.0, 1e-300, 1e-17, 1e-9, 1e-7, 0.21, 1.9])
    exact = [mp_descent_gain(float(m), step, k)[0] for m in mu]
    assert close(theory.GradientDescent(step).gain(mu, jnp.asarray(float(k))), exact, EXACT * 5)


def test_mean_decay_has_all_its_derivatives_at_zero() -> None:
    function: Callable[..., jax.Array] = theory.rules.mean_decay
    for order in range(5):
        exact = (-1) ** order / (order + 1)
        assert float(function(jnp.asarray(0.0))) == pytest.approx(exact, rel=EXACT), order
        function = jax.grad(function)


def test_mean_decay_stays_finite_where_its_argument_is_huge() -> None:
    assert close(theory.rules.mean_decay(jnp.asarray([1e5, 1e300])), [1e-5, 1e-300], EXACT)
    assert float(theory.rules.mean_decay(jnp.asarray(jnp.inf))) == 0


# --- large steps ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.05, 0.5, 0.75, 0.99, 1.0, 1.01, 3.0])
def test_descent_is_what_its_loop_does_on_both_sides_of_stability(share: float) -> None:
    mu = np.asarray([0.0, 1e-300, 1e-3, 0.5, 1.0, LARGEST])  # at share 0.5 the last one is learnt in one step
    step = share * 2 / LARGEST
    rule = theory.GradientDescent(step)
    left, learnt = np.ones_like(mu), np.zeros_like(mu)
    for k in range(9):
        at = jnp.asarray(float(k))
        assert np.allclose(rule.residual(jnp.asarray(mu), at), left, rtol=IDENTITY, atol=IDENTITY), k
        assert np.allclose(rule.gain(jnp.asarray(mu), at), learnt, rtol=IDENTITY, atol=IDENTITY), k
        left = left - step * mu * left
        learnt = learnt - step * (mu * learnt - 1)


def test_past_the_largest_stable_step_the_fastest_mode_grows() -> None:
    at, largest = jnp.asarray(1000.0), theory.GradientDescent(1.0).largest_stable_step(LARGEST)
    mu = jnp.asarray([LARGEST])
    assert abs(float(theory.GradientDescent(0.99 * largest).residual(mu, at)[0])) < 1e-8
    assert abs(float(theory.GradientDescent(1.01 * largest).residual(mu, at)[0])) > 1e8


def test_decay_lowers_the_largest_stable_step() -> None:
    assert theory.GradientDescent(0.1, ridge=2.0).largest_stable_step(2.0) == 0.5


@pytest.mark.parametrize("num_steps", [0, 1, 2, 3, 50])
def test_the_derivative_by_step_size_is_that_of_the_loop(num_steps: int) -> None:
    mu = jnp.asarray([0.0, 1e-300, 1e-3, 0.5, 1.0, 1.5])  # at step 1: learnt at once by the mode of mu = 1

    def loop(step: jax.Array) -> jax.Array:
        u = jnp.zeros_like(mu)
        for _ in range(num_steps):
            u = u - step * (mu * u - 1)
        return u

    closed = jax.jacobian(lambda step: theory.GradientDescent(step).gain(mu, jnp.asarray(float(num_steps))))
    step = jnp.asarray(1.0)
    assert np.allclose(closed(step), jax.jacobian(loop)(step), rtol=DERIVATIVE, atol=DERIVATIVE)


# --- transforms ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES_WITH_RIDGE, ids=str)
def test_filters_work_under_jit_and_vmap(rule: theory.Rule) -> None:
    mu, t = jnp.asarray([0.0, 1e-300, 0.03, 1.3]), jnp.asarray([0.0, 1.0, 100.0, jnp.inf])
    for function in (rule.residual, rule.gain):
        direct = function(mu, t)
        assert direct.shape == (4, 4)
        assert close(jax.jit(function)(mu, t), direct, EXACT)
        assert close(jax.vmap(lambda one, f=function: f(mu, one))(t), direct, EXACT)


@pytest.mark.parametrize("rule", RULES_WITH_RIDGE, ids=str)
def test_filters_stay_in_single_precision(rule: theory.Rule) -> None:
    mu, t = jnp.asarray([0.0, 1e-30, 0.03, 1.3], jnp.float32), jnp.asarray([0.0, 1.0, 100.0], jnp.float32)
    residual, gain = rule.residual(mu, t), rule.gain(mu, t)
    assert residual.dtype == gain.dtype == jnp.float32
    assert np.allclose((mu + rule.ridge)[None, :] * gain + residual, 1, atol=100 * np.finfo(np.float32).eps)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_derivatives_are_finite_everywhere(rule: theory.Rule) -> None:
    mu = jnp.asarray([0.0, 1e-300, 1e-8, SERIES_BELOW / 0.7, 1 / 0.7, 1.0, 2.0])
    for t in (0.0, 1.0, 2.0, 1e12, jnp.inf):
        for function in (rule.residual, rule.gain):
            slopes = jax.jacobian(lambda mu, f=function, t=t: f(mu, jnp.asarray(t)))(mu)
            finite = np.isfinite(slopes)
            if t == jnp.inf:  # the gain 1 / mu of the limit falls infinitely steeply at mu -> 0
                finite |= np.asarray(mu < 1e-100)[None, :] & np.asarray(mu > 0)[None, :]
            assert finite.all(), t


# --- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step_size", [0.0, -1.0, np.inf, np.nan])
def test_a_step_size_must_be_positive(step_size: float) -> None:
    with pytest.raises(ValueError, match=rf"step_size: must be a positive number, got {step_size}"):
        theory.GradientDescent(step_size)


@pytest.mark.parametrize("ridge", [-1e-9, np.inf, np.nan])
@pytest.mark.parametrize("rule", [theory.GradientFlow, lambda ridge: theory.GradientDescent(0.1, ridge)])
def test_a_ridge_must_not_be_negative(ridge: float, rule: Callable[[float], theory.Rule]) -> None:
    with pytest.raises(ValueError, match=rf"ridge: must be a finite number that is not negative, got {ridge}"):
        rule(ridge)
