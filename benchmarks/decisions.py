"""Rules, phases, switches, derivatives and leave-one-out, against the curve of gradient flow that they grow out of."""

import jax
import jax.numpy as jnp
import numpy as np

import rfm
import theory
from benchmarks import problems
from benchmarks.harness import Row, Work, compare
from theory.spectrum import Spectrum

MOMENTUM = 0.9
SCHEDULE_STEPS = 10_000
NUM_SWITCHES = 200
BUDGET = 1e5
GRID = 100
SIDE = 20
SIDE_OF_MIXED = 200


def rules() -> list[Row]:
    """Curves of every rule after the decomposition, against gradient flow's."""
    problem = problems.tall()
    spectrum = problem.spectrum("qr")
    top = float(spectrum.eigenvalues[0])
    flow = _curve(problem, spectrum, theory.GradientFlow(), problems.TIMES)
    step = 1 / top
    descent = theory.GradientDescent(step_size=step)
    found = {
        "descent": descent,
        "heavy ball": theory.HeavyBall(step_size=step, momentum=MOMENTUM),
        "Nesterov": theory.Nesterov(step_size=step, momentum=MOMENTUM),
        "increasing Nesterov": theory.NesterovIncreasing(step_size=step),
        "schedule": theory.StepSchedule(step_sizes=theory.rules.cosine_steps(step, SCHEDULE_STEPS)),
        "averaged descent": theory.Averaged(descent),
        "averaged flow": theory.Averaged(theory.GradientFlow()),
    }
    rows = []
    for name, rule in found.items():
        latest = SCHEDULE_STEPS if name in ("schedule", "increasing Nesterov") else 1e6 / step
        steps = _steps(latest, len(problems.TIMES))
        clock = steps if rule.counts_steps else problems.TIMES
        what = f"curve by {name} ({'to ' + format(int(latest), 'd') + ' steps' if rule.counts_steps else 'same times'})"
        rows.append(compare(f"{what} / by gradient flow", _curve(problem, spectrum, rule, clock), flow, at_most=1.5))
    return rows


def phases() -> list[Row]:
    """A second phase, and 200 switch times."""
    mixed, plain = problems.tall(), problems.plain()
    flow = theory.GradientFlow()

    def one() -> object:
        return rfm.closed_form(mixed, times=problems.TIMES, method="qr")

    def decompose() -> object:
        return plain.spectrum("svd"), one()

    def two() -> object:
        both = [rfm.TrainingPhase(mixed, flow, 1e3), rfm.TrainingPhase(plain, flow)]
        return rfm.closed_form_phases(both, times=problems.TIMES, method="qr")

    def switches() -> object:
        times = np.linspace(0, BUDGET, NUM_SWITCHES)
        return rfm.closed_form_switch(mixed, plain, budget=BUDGET, switch_times=times, method="qr")

    def one_switch() -> object:
        return rfm.closed_form_switch(mixed, plain, budget=BUDGET, switch_times=[BUDGET / 2], method="qr")

    return [
        compare("two phases / one phase and a decomposition", two, decompose, at_most=1.2),
        compare(f"{NUM_SWITCHES} switch times / one", switches, one_switch, at_most=3.0),
    ]


def gradients() -> list[Row]:
    """The slope of the turning risk in alpha, ridge and noise, and descent on two of them against a grid."""
    family = problems.family()
    grid = jnp.geomspace(0.1, BUDGET, GRID)
    settings = jnp.asarray([1.0, 1e-4, 0.1])

    @jax.jit
    def value(settings: jax.Array, family: rfm.decide.MixupFamily) -> jax.Array:
        alpha, ridge, variance = settings
        moments = family.ratios.at(alpha)
        rule = theory.GradientFlow(ridge)
        return theory.derivatives.turning_risk(
            moments, family.population, rule, grid, label_noise_variance=variance
        ).risk

    slope = jax.jit(jax.value_and_grad(value))

    @jax.jit
    def at_budget(alpha: float, ridge: float, family: rfm.decide.MixupFamily) -> jax.Array:
        return family.risk(alpha, theory.GradientFlow(ridge), grid[-1:])[0]

    def on_a_grid() -> object:
        ridges, alphas = np.geomspace(1e-8, 1, SIDE), np.geomspace(0.05, 20, SIDE)
        return min(float(at_budget(alpha, ridge, family)) for alpha in alphas for ridge in ridges)

    def descend() -> object:
        return rfm.tune_mixup(family, budget=BUDGET).risk

    lower = float(descend()) / float(on_a_grid())
    tuned = compare(f"descent on (alpha, ridge) / grid of {SIDE} x {SIDE}", descend, on_a_grid, at_most=1.0)
    return [
        compare(
            "slope of the turning risk in alpha, ridge, noise / its value",
            lambda: slope(settings, family),
            lambda: value(settings, family),
            at_most=5.0,
        ),
        tuned,
        Row("risk that descent ends at / the lowest on the grid", (lower,), "relative", 1.0 + 1e-9),
    ]


def leave_one_out() -> list[Row]:
    """Every original as seen without it, of plain training and of expected Mixup, against one curve."""
    plain = problems.mixup_problem(1000, 500, law=rfm.ERM())
    sample, features, test = problems.random_setting(SIDE_OF_MIXED, SIDE_OF_MIXED, "tanh")
    law, times = rfm.Mixup(alpha=1.0, pairs="expected"), problems.TIMES

    def mixed() -> rfm.expected.ExpectedProblem:
        return rfm.expected_mixup(sample, features, law, population=test, method="gram")

    problem = mixed()
    return [
        compare(
            "leave-one-out, 1000 x 500, 200 times / the curve, decomposed",
            lambda: rfm.decide.leave_one_out(plain, times=times).residuals,
            lambda: rfm.closed_form(plain, times=times).risk,
            at_most=2.0,
        ),
        compare(
            f"leave-one-out of expected Mixup, {SIDE_OF_MIXED} x {SIDE_OF_MIXED} / pass (gram) and curve",
            lambda: rfm.decide.leave_one_out(problem, times=times).residuals,
            lambda: rfm.closed_form(mixed(), times=times).risk,
            at_most=20.0,
            rounds=3,
        ),
    ]


def _curve(problem: rfm.Problem, spectrum: Spectrum, rule: theory.Rule, clock: np.ndarray) -> Work:
    return lambda: theory.risk_curve(spectrum, problem.population, rule, clock)


def _steps(latest: float, count: int) -> np.ndarray:
    """So many different numbers of steps, evenly in their logarithm where there is room."""
    more = count
    while True:
        steps = np.unique(np.round(np.concatenate([[0.0], np.geomspace(1, latest, more)])))
        if len(steps) >= count:
            return steps[np.unique(np.linspace(0, len(steps) - 1, count).astype(int))]
        more *= 2
