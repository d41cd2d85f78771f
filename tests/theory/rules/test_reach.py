"""How far pushes can move a mode: `reach` and `overshoot` against loops that push at one step at a time."""

import jax.numpy as jnp
import numpy as np
import pytest

import theory

NUM_STEPS = 300
RATES = np.concatenate([[0.0], np.geomspace(1e-6, 0.5, 12), [0.7, 0.9, 1.0]])
"""Eigenvalues; steps are given as a share of the largest stable one at 1."""

MAKERS = {
    "descent": lambda size: theory.GradientDescent(size),
    "decay": lambda size: theory.GradientDescent(size, ridge=1e-3),
    "heavy ball": lambda size: theory.HeavyBall(size, 0.9),
    "very heavy ball": lambda size: theory.HeavyBall(size, 0.99),
    "nesterov": lambda size: theory.Nesterov(size, 0.9),
    "increasing nesterov": lambda size: theory.NesterovIncreasing(size),
    "schedule": lambda size: theory.StepSchedule(theory.rules.cosine_steps(size, NUM_STEPS)),
}
SHARES = (0.1, 0.5, 0.9, 0.999)
SLACK = 1e-9
"""Relative: both sides are sums of hundreds of terms."""

SLOW, LOOSE = 1e-3, 10
"""How many times farther than they go slow modes may be said to reach. (Of fast ones that ring, far more.)"""


def made(kind: str, share: float) -> theory.Rule:
    return MAKERS[kind](float(share * MAKERS[kind](1.0).largest_stable_step(1.0)))


def after_pushes(rule: theory.Rule, eigenvalue: float) -> np.ndarray:
    """Where a mode stands after step k (row) that was pushed at step j (column) alone, by the rule's own loop."""
    rate = eigenvalue + float(rule.ridge)
    position, velocity = np.zeros(NUM_STEPS), np.zeros(NUM_STEPS)
    rows = []
    for k in range(NUM_STEPS):
        push = (np.arange(NUM_STEPS) == k).astype(float)
        size = float(rule.step_sizes[k]) if isinstance(rule, theory.StepSchedule) else float(rule.step_size)
        momentum = k / (k + 3) if isinstance(rule, theory.NesterovIncreasing) else float(getattr(rule, "momentum", 0))
        looks_ahead = isinstance(rule, theory.Nesterov | theory.NesterovIncreasing)
        seen = position + momentum * velocity if looks_ahead else position
        velocity = momentum * velocity + size * (push - rate * seen)
        position = position + velocity
        rows.append(position)
    return np.asarray(rows)


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("kind", MAKERS)
def test_no_pushes_move_a_mode_farther_than_its_reach(kind: str, share: float) -> None:
    rule, steps = made(kind, share), jnp.arange(1.0, NUM_STEPS + 1)
    reach = np.asarray(rule.reach(jnp.asarray(RATES), steps))
    farthest = np.stack([np.sum(np.abs(after_pushes(rule, rate)), axis=1) for rate in RATES], axis=1)
    assert np.all(farthest <= reach * (1 + SLACK))
    slow = RATES < SLOW
    assert np.all(reach[-1, slow] <= LOOSE * farthest[-1, slow])


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("kind", MAKERS)
def test_no_residual_exceeds_the_overshoot(kind: str, share: float) -> None:
    rule = made(kind, share)
    residual = np.abs(rule.residual(jnp.asarray(RATES), jnp.arange(0.0, NUM_STEPS + 1)))
    assert np.all(residual <= np.asarray(rule.overshoot(jnp.asarray(RATES)))[None, :] * (1 + SLACK))


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("kind", MAKERS)
def test_what_is_left_of_one_mode_pushes_another_no_farther_than_either_reaches(kind: str, share: float) -> None:
    # The pushes that the error of a curve is made of: e at each step is what is left of mode j, and it moves mode i.
    rule, steps = made(kind, share), jnp.arange(1.0, NUM_STEPS + 1)
    rates = RATES[::3]
    reach, overshoot = np.asarray(rule.reach(jnp.asarray(rates), steps)), np.asarray(rule.overshoot(jnp.asarray(rates)))
    pushed = [after_pushes(rule, rate) for rate in rates]
    for j, rate in enumerate(rates):
        left = seen_residuals(rule, rate)
        for i in range(len(rates)):
            moved = np.abs(pushed[i] @ left)
            assert np.all(moved <= overshoot[i] * overshoot[j] * np.minimum(reach[:, i], reach[:, j]) * (1 + SLACK))


def seen_residuals(rule: theory.Rule, eigenvalue: float) -> np.ndarray:
    """What is left of a start of one where each step takes its gradient."""
    rate, position, velocity = eigenvalue + float(rule.ridge), 1.0, 0.0
    found = []
    for k in range(NUM_STEPS):
        size = float(rule.step_sizes[k]) if isinstance(rule, theory.StepSchedule) else float(rule.step_size)
        momentum = k / (k + 3) if isinstance(rule, theory.NesterovIncreasing) else float(getattr(rule, "momentum", 0))
        looks_ahead = isinstance(rule, theory.Nesterov | theory.NesterovIncreasing)
        found.append(position + momentum * velocity if looks_ahead else position)
        velocity = momentum * velocity - size * rate * found[-1]
        position = position + velocity
    return np.asarray(found)


def test_a_flow_reaches_as_far_as_its_gain_up_to_where_it_bends() -> None:
    rates, times = jnp.asarray([0.0, 1e-3, 1.0]), jnp.asarray([0.0, 1.0, 1e3, 1e9])
    gain, reach = theory.GradientFlow().gain(rates, times), theory.GradientFlow().reach(rates, times)
    assert np.all(gain <= reach)
    assert np.all(reach <= gain / (1 - np.exp(-1)) * (1 + SLACK))


def test_averages_reach_no_farther_than_their_rule() -> None:
    inner = theory.HeavyBall(0.5, 0.9)
    rates, steps = jnp.asarray(RATES), jnp.arange(1.0, NUM_STEPS + 1)
    averaged = theory.Averaged(inner)
    assert np.all(averaged.gain(rates, steps) <= averaged.reach(rates, steps) * (1 + SLACK))
    assert np.array_equal(averaged.reach(rates, steps), inner.reach(rates, steps))
