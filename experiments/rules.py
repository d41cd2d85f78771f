"""One problem, many ways to train it: the U-curve of Mixup under every rule, against effective time.

Rules differ in how long they take and in how they end. Against effective time, at which slow modes are learnt by all
alike, the curves show what is left: averages and decay hold the noise back, momentum rings.
"""

import numpy as np
from rich.console import Console

import rfm
import theory
from experiments.configs import RulesConfig
from experiments.draws import Seed, check_size, load_data
from experiments.laws import all_pairs, check_mixing
from experiments.report import averaged, cells_of, empty_table
from experiments.store import Result
from experiments.variables import Stage, Variable, Variables, silent
from theory.rules.rule import elapsed
from theory.views import RISK_UNIT, TIME_UNIT


def run_rules(config: RulesConfig, *, stage: Stage = silent) -> Variables:
    """Closed-form and simulated test error by rule, seed and effective time.

    Args:
        config: what to run; the numbers depend on nothing else.
        stage: told of the work as it is done.

    Raises:
        ValueError: a field out of range; nothing has been computed then.
    """
    _check(config)
    data = load_data(config, config.num_samples)
    problems = []
    for index in range(config.num_seeds):
        seed = Seed.draw(config, data, index, num_samples=config.num_samples, num_features=config.num_features)
        problems.append(seed.problem(all_pairs(config, config.num_samples, lam=config.lam), seed.population()))
    largest = max(problem.largest_eigenvalue() for problem in problems)
    step_size = config.step_fraction * 2 / largest
    if config.ridge >= 2 / step_size - largest:
        raise ValueError(
            f"ridge: {config.ridge:g} makes steps of step_fraction {config.step_fraction:g} diverge; pass less than "
            f"2 / step_size - mu_max = {2 / step_size - largest:.3g}, or a smaller step_fraction"
        )
    rules = rules_of(config, step_size)
    num_steps = {name: steps_until(rule, step_size * config.num_steps) for name, rule in rules.items()}
    shape = (len(rules), config.num_seeds)
    values = {name: np.empty(shape) for name in _FIELDS}
    clock, risk = np.empty((len(rules), config.num_times)), np.empty((*shape, config.num_times))
    drawn_clock = np.empty((len(rules), config.num_recorded))
    drawn = np.full((*shape, config.num_recorded), np.nan)
    advance = stage("training", sum(num_steps.values()) * config.num_seeds)
    for place, (name, rule) in enumerate(rules.items()):
        times = _clock(num_steps[name], config.num_times)
        recorded = _clock(num_steps[name], config.num_recorded)
        for index, problem in enumerate(problems):
            exact = rfm.closed_form(problem, rule=rule, steps=np.unique(times))
            clock[place], risk[place, index] = _spread(exact, times)
            for field in _FIELDS:
                values[field][place, index] = getattr(exact, field)
            run = rfm.simulate(problem, rule=rule, steps=np.unique(recorded), progress=advance)
            drawn_clock[place], drawn[place, index] = _spread(run, recorded)
    return {
        "rule": Variable(("rule",), np.asarray(list(rules)), "1", "training rule"),
        "seed": Variable(("seed",), np.arange(config.num_seeds), "1", "index of the seed"),
        "step_size": Variable((), np.asarray(step_size), TIME_UNIT, "step size"),
        "num_steps": Variable(("rule",), np.asarray(list(num_steps.values())), "1", "steps that the rule takes"),
        "time": Variable(("rule", "point"), clock, TIME_UNIT, "effective time (closed form)"),
        "risk": Variable(("rule", "seed", "point"), risk, RISK_UNIT, "test error (closed form)"),
        "simulated_time": Variable(("rule", "record"), drawn_clock, TIME_UNIT, "effective time (simulation)"),
        "simulated_risk": Variable(("rule", "seed", "record"), drawn, RISK_UNIT, "test error (simulation)"),
    } | {name: Variable(("rule", "seed"), values[name], *about) for name, about in _FIELDS.items()}


_FIELDS = {
    "turning_time": (TIME_UNIT, "effective time at which the test error is lowest"),
    "turning_step": ("1", "steps until then"),
    "turning_risk": (RISK_UNIT, "lowest test error"),
    "turning_error": (RISK_UNIT, "its rounding error"),
    "final_risk": (RISK_UNIT, "test error at the end"),
    "final_error": (RISK_UNIT, "its rounding error"),
    "overtraining_penalty": ("1", "final over lowest test error"),
}


def _check(config: RulesConfig) -> None:
    check_mixing(config)
    rows = config.num_samples**2
    held = config.num_seeds * (rows + config.num_samples)
    check_size(config, rows, config.num_features, held=held, num_times=config.num_times)


def rules_of(config: RulesConfig, step_size: float) -> dict[str, theory.Rule]:
    """The rules that are compared, by the names that tables and figures show."""
    descent = theory.GradientDescent(step_size=step_size)
    # The steps of half a cosine sum up to half of their number times the first.
    cosine = theory.StepSchedule(step_sizes=theory.rules.cosine_steps(step_size, 2 * config.num_steps))
    return {
        "descent": descent,
        "heavy ball": theory.HeavyBall(step_size=step_size, momentum=config.momentum),
        "Nesterov": theory.Nesterov(step_size=step_size, momentum=config.momentum),
        "increasing Nesterov": theory.NesterovIncreasing(step_size=step_size),
        "cosine schedule": cosine,
        "weight decay": theory.GradientDescent(step_size=step_size, ridge=config.ridge),
        "averaged descent": theory.Averaged(descent),
    }


def steps_until(rule: theory.Rule, time: float) -> int:
    """The steps after which a rule's effective time is that, or as close as its whole steps get."""
    if isinstance(rule, theory.StepSchedule):
        return len(rule.step_sizes)

    def is_early(steps: int) -> bool:
        return float(elapsed(rule, steps)) < time

    low, high = 1, 1
    while is_early(high):
        high *= 2
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if is_early(middle) else (low, middle)
    return low


def _clock(num_steps: int, count: int) -> np.ndarray:
    """Evenly in log steps; where steps are few, some come twice."""
    return np.round(np.geomspace(1, num_steps, count))


def _spread(curve: theory.curve.RiskCurve, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Time and risk at steps of which some may come twice; a curve has each of them once."""
    place = np.searchsorted(np.asarray(curve.steps), steps)
    return np.asarray(curve.times)[place], np.asarray(curve.risk)[place]


def print_rules(console: Console, result: Result) -> None:
    """The table of `rfm rules`."""
    title = f"The U-curve by rule, {averaged(result.sizes['seed'])}"
    table = empty_table(title, "rule", "turning\nstep", "turning risk", "final risk", "penalty")
    rows = [result.sel(rule=rule) for rule in result["rule"].values]
    names = ("turning_step", "turning_risk", "final_risk", "overtraining_penalty")
    for row, *cells in zip(rows, *(cells_of([(row, name) for row in rows]) for name in names), strict=True):
        table.add_row(str(row["rule"].values), *cells)
    console.print(table)
    steps = ", ".join(f"{row['rule'].values} {int(row['num_steps'])}" for row in rows)
    console.print(
        f"All end at the effective time {float(result['time'].max()):.3g}, with steps of "
        f"{float(result['step_size']):.3g}: {steps}.",
        highlight=False,
    )
