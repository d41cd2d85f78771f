"""Every rule twice: its course in closed form, and what its steps make of a mode; and a rule that has steps alone."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rfm
import theory
from tests.problems import make, named
from tests.theory import oracles
from tests.tolerances import ORACLE
from theory.rules.rule import Gradient

RATES = jnp.asarray([0.0, 1e-12, 1e-6, 1e-3, 0.05, 0.3, 0.8, 1.0])
STEPS = jnp.asarray([0.0, 1.0, 2.0, 7.0, 40.0, 300.0])
SIZE = jnp.asarray(0.9)
LENGTH = 300


class Alternating(theory.ConstantStep):
    """A short step, and then a long one: what a user would write. The pair is longer than steady ones could be."""

    step_size: float = 0.1  # the mean of the two
    stretch: float = 1.5
    ridge: float = 0.0
    stable_below: ClassVar[str] = "that of the mean step"

    def step(self, gradient: Gradient, k: jax.Array, state: jax.Array) -> jax.Array:
        size = self.step_size * jnp.where(k % 2 == 0, 2 - self.stretch, self.stretch)
        return state - size.astype(state.dtype) * gradient(state)

    def time(self, t: jax.Array) -> jax.Array:
        return self.step_size * (t - jnp.where(t % 2 == 1, self.stretch - 1, 0))

    def largest_stable_step(self, largest_eigenvalue: float | jax.Array) -> float | jax.Array:
        return 2 / ((largest_eigenvalue + self.ridge) * self.stretch)

    def overshoot(self, eigenvalues: jax.Array) -> jax.Array:
        return 4 * jnp.ones_like(eigenvalues)


RULES = {
    "descent": theory.GradientDescent(SIZE, jnp.asarray(1e-3)),
    "alternating descent": theory.GradientDescent(jnp.asarray(1.9)),
    "heavy ball": theory.HeavyBall(SIZE, jnp.asarray(0.75)),
    "nesterov": theory.Nesterov(SIZE, jnp.asarray(0.75), jnp.asarray(1e-3)),
    "increasing nesterov": theory.NesterovIncreasing(SIZE),
    "schedule": theory.StepSchedule(theory.rules.cosine_steps(0.9, LENGTH)),
}
rules = pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())


@eqx.filter_jit
def courses(rule: theory.Rule) -> tuple:
    """In closed form and by steps, the mode on its way and its mean."""
    closed = rule.course(RATES, STEPS), rule.mean_course(RATES, STEPS)
    return closed, (theory.Rule.course(rule, RATES, STEPS), theory.Rule.mean_course(rule, RATES, STEPS))


@rules
def test_a_course_is_what_the_steps_make_of_a_mode(rule: theory.Rule) -> None:
    ours, steps = courses(rule)
    # Both claim so many roundings of the largest value that the mode takes.
    of_steps = (theory.ConstantStep if isinstance(rule, theory.ConstantStep) else theory.Rule).roundings(rule, STEPS)
    rounded = np.finfo(float).eps * np.asarray(rule.roundings(STEPS) + of_steps)[:, None]
    size = np.asarray(rule.overshoot(RATES))[None, :]
    reach = np.asarray(rule.reach(RATES, STEPS)) * size
    for one, twin in zip(ours, steps, strict=True):
        assert np.all(np.abs(one.residual - twin.residual) <= rounded * size)
        assert np.all(np.abs(one.gain - twin.gain) <= rounded * reach)


@pytest.mark.parametrize("averaged", [False, True], ids=["itself", "averaged"])
def test_a_rule_of_steps_alone_has_the_curve_of_its_training(averaged: bool) -> None:
    problem, steps = named("tall"), [0, 1, 2, 3, 40, 301]
    rule: theory.Rule = Alternating(1.2 / problem.largest_eigenvalue())
    rule = theory.Averaged(rule) if averaged else rule
    exact, trained = rfm.closed_form(problem, rule=rule, steps=steps), rfm.simulate(problem, rule=rule, steps=steps)
    for name in ("risk", "clean_risk", "noise_risk", "train_loss", "times"):
        assert np.allclose(getattr(exact, name), getattr(trained, name), rtol=ORACLE), name
    assert exact.trusted_until == exact.times[-1]


def test_a_rule_of_steps_alone_is_the_plain_loop_at_the_finest_of_its_steps() -> None:
    problem, steps = named("wide"), [1, 2, 101]
    rule = Alternating(0.5 / problem.largest_eigenvalue(), ridge=0.01)
    exact = rfm.closed_form(problem, rule=rule, steps=steps)
    covariance, force = oracles.moments(problem)
    theta = np.zeros_like(force)
    for k in range(101):
        size = rule.step_size * (0.5 if k % 2 == 0 else 1.5)
        theta = theta - size * (covariance @ theta - force + 0.01 * theta)
        if k + 1 in steps:
            assert exact.risk[steps.index(k + 1)] == pytest.approx(oracles.risk(problem, theta)[0], rel=ORACLE)


@pytest.mark.slow
def test_a_rule_of_steps_alone_switches_goes_through_phases_and_is_cured() -> None:
    mixed = named("tall")
    plain = make(np.asarray(named("noiseless").features), seed=92, noise_std=0.0, population=mixed.population)
    rule = Alternating(0.9 / max(mixed.largest_eigenvalue(), plain.largest_eigenvalue()))
    phases = [rfm.TrainingPhase(mixed, rule, 20), rfm.TrainingPhase(plain, rule, 30)]
    exact = rfm.closed_form_phases(phases, steps=[20, 50])
    assert np.allclose(exact.risk, rfm.simulate_phases(phases, steps=[20, 50]).risk, rtol=ORACLE)
    switched = rfm.closed_form_switch(mixed, plain, budget=50, rule=rule, switch_times=[0, 20, 50])
    assert switched.risk[1] == pytest.approx(float(exact.risk[-1]), rel=ORACLE)
    cures = rfm.compare_cures(mixed, plain, budget=50, rule=rule)
    mean = rfm.simulate(mixed, rule=theory.Averaged(rule), steps=[50])
    assert cures["average"].risk == pytest.approx(float(mean.final_risk), rel=ORACLE)
    assert cures["decay"].risk <= cures["none"].risk * (1 + ORACLE)


def test_a_rule_of_steps_alone_is_refused_where_it_diverges() -> None:
    problem = named("tall")
    largest = Alternating(1.0).largest_stable_step(problem.largest_eigenvalue())
    for run in (rfm.closed_form, rfm.simulate):
        with pytest.raises(ValueError, match=r"step_size: .* diverges on this problem; .* that of the mean step ="):
            run(problem, rule=Alternating(1.01 * largest), steps=[1])


def test_a_mean_of_means_is_refused() -> None:
    with pytest.raises(TypeError, match="rule: is averaged already"):
        theory.Averaged(theory.Averaged(theory.GradientDescent(0.1)))


def test_the_flow_takes_no_steps() -> None:
    for rule in (theory.GradientFlow(), theory.Averaged(theory.GradientFlow())):
        with pytest.raises(TypeError, match="takes no steps that could be trained; pass one that does"):
            rfm.simulate(named("tall"), rule=rule, steps=[1])
    with pytest.raises(TypeError, match="GradientFlow takes no steps"):
        theory.GradientFlow().step(lambda weights: weights, jnp.asarray(0), jnp.ones((1, 1)))
