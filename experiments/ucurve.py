"""The U-curve: ERM and two Mixup laws, an ensemble of seeds, in closed form and in real training, on one clock.

One step size serves all problems of the ensemble, a fraction of the largest one that is stable on every one of them, so
that all curves share their times. The closed forms of a problem (gradient flow on a fine grid, gradient descent at the
recorded steps) come from one decomposition; the simulation knows nothing of it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from rich.console import Console

import rfm
import theory
from experiments.configs import UCurveConfig
from experiments.draws import Seed, check_size, load_data, rounding_is_stored
from experiments.laws import all_pairs, check_mixing, mixup
from experiments.report import averaged, cells_of, empty_table, estimated, ratio, written
from experiments.store import Result, turns_of_means
from experiments.variables import Advance, Stage, Variable, Variables, silent
from rfm.training.start import deviation
from theory.views import RISK_UNIT, TIME_UNIT

FIRST_SCALED_TIME = 0.03
"""Gradient flow is shown from this time on, in units of the fastest mode's 1/mu_max."""
EARLY = 0.1
"""The early of the three times of the modes, as a fraction of the turning time."""
PHASES = ("early", "turning", "final")
PARTS = ("risk", "clean", "noise", "cross")


def run_ucurve(config: UCurveConfig, *, num_workers: int | None = None, stage: Stage = silent) -> Variables:
    """All curves of the experiment.

    Args:
        config: what to run; the numbers depend on nothing else.
        num_workers: threads of the simulation; None for one a core.
        stage: told of the work as it is done.

    Raises:
        ValueError: a field out of range, or a step size that diverges; no curve has been computed then.
    """
    _check(config)
    data = load_data(config, config.num_samples)
    seeds = [
        Seed.draw(config, data, index, num_samples=config.num_samples, num_features=config.num_features)
        for index in range(config.num_seeds)
    ]
    populations = [seed.population() for seed in seeds]
    problems = [
        [seed.problem(law, population).table() for seed, population in zip(seeds, populations, strict=True)]
        for law in laws(config)
    ]
    largest = max(problem.largest_eigenvalue() for row in problems for problem in row)
    clock = _Clock.of(config, largest)

    advance = stage("closed form", sum(map(len, problems)))
    exact = [[_Exact.of(problem, clock, advance) for problem in row] for row in problems]

    flat = [problem for row in problems for problem in row]
    advance = stage("simulation", len(flat) * int(clock.steps[-1]))
    curves = rfm.simulate_many(
        flat,
        step_size=clock.step_size,
        steps=clock.steps,
        progress=lambda steps: advance(steps),
        num_workers=num_workers,
    )
    simulated = [curves[first : first + len(seeds)] for first in range(0, len(flat), len(seeds))]
    names = [str(law) for law in laws(config)]
    return (
        _coordinates(config, clock, names)
        | _curves("flow", "gradient flow, closed form", "time", [[e.flow for e in row] for row in exact])
        | _curves("descent", "gradient descent, closed form", "step", [[e.descent for e in row] for row in exact])
        | _curves("simulated", "gradient descent, simulated", "step", simulated)
        | _summary(exact, simulated)
        | _modes(exact)
    )


def _check(config: UCurveConfig) -> None:
    check_mixing(config)
    rows = config.num_samples, config.num_samples**2, _num_pairs(config)
    check_size(config, max(rows), config.num_features, held=config.num_seeds * sum(rows), num_times=config.num_times)


def laws(config: UCurveConfig) -> list[rfm.mixup.Law]:
    """ERM, Mixup of all pairs at a fixed ratio, and Mixup of random pairs at random ratios."""
    at_one_ratio = all_pairs(config, config.num_samples, lam=config.lam)
    return [rfm.ERM(), at_one_ratio, mixup(config, _num_pairs(config), alpha=config.alpha)]


def _num_pairs(config: UCurveConfig) -> int:
    return config.num_samples**2 if config.num_pairs is None else config.num_pairs


class _Clock(NamedTuple):
    """When things are recorded.

    Attributes:
        step_size: eta.
        steps: of gradient descent.
        times: of gradient flow.
    """

    step_size: float
    steps: np.ndarray
    times: np.ndarray

    @staticmethod
    def of(config: UCurveConfig, largest_eigenvalue: float) -> "_Clock":
        largest_stable = 2 / largest_eigenvalue
        if config.step_fraction >= 1:
            raise ValueError(
                f"step_fraction: {config.step_fraction:g} of the largest stable step size, 2/mu_max = "
                f"{largest_stable:.4g}, diverges; pass a fraction below 1"
            )
        step_size = config.step_fraction * largest_stable
        steps = np.unique(np.round(np.geomspace(1, config.num_steps, config.num_recorded)))
        latest = step_size * config.num_steps * config.beyond_simulation
        return _Clock(step_size, steps, np.geomspace(FIRST_SCALED_TIME / largest_eigenvalue, latest, config.num_times))


class _Exact(NamedTuple):
    """The closed forms of one problem.

    Attributes:
        solution: the one decomposition behind them.
        flow: gradient flow at the clock's times.
        descent: gradient descent at its steps.
    """

    solution: rfm.Solution
    flow: theory.Curve
    descent: theory.Curve

    @staticmethod
    def of(problem: rfm.Problem, clock: _Clock, advance: Advance) -> "_Exact":
        solution = rfm.solve(problem, until=float(clock.times[-1]))
        rule = theory.GradientDescent(step_size=clock.step_size)
        with rounding_is_stored():
            flow, descent = solution.curve(times=clock.times), solution.curve(rule=rule, steps=clock.steps)
        advance(1)
        return _Exact(solution, flow, descent)


def _coordinates(config: UCurveConfig, clock: _Clock, names: list[str]) -> Variables:
    return {
        "law": Variable(("law",), np.asarray(names), "1", "how the originals are mixed"),
        "seed": Variable(("seed",), np.arange(config.num_seeds), "1", "index of the seed"),
        "time": Variable(("time",), clock.times, TIME_UNIT, "training time"),
        "step": Variable(("step",), clock.steps.astype(int), "1", "gradient descent step"),
        "phase": Variable(("phase",), np.asarray(PHASES), "1", "moment of training"),
        "step_size": Variable((), np.asarray(clock.step_size), TIME_UNIT, "step size"),
        "step_time": Variable(("step",), clock.step_size * clock.steps, TIME_UNIT, "training time"),
    }


def _curves(prefix: str, source: str, axis: str, curves: Sequence[Sequence[theory.curve.RiskCurve]]) -> Variables:
    dims = ("law", "seed", axis)
    variables = {
        f"{prefix}_risk": Variable(dims, _stack(curves, "risk"), RISK_UNIT, f"test error ({source})"),
        f"{prefix}_train_loss": Variable(dims, _stack(curves, "train_loss"), RISK_UNIT, f"training loss ({source})"),
    }
    if all(row[0].decomposition is not None for row in curves):
        for part in PARTS[1:]:
            values = _stack(curves, f"{part}_risk")
            variables[f"{prefix}_{part}"] = Variable(
                dims, values, RISK_UNIT, f"{part} part of the test error ({source})"
            )
    if _have_classes(curves):
        rates = _stack(curves, "error_rate")
        variables[f"{prefix}_error_rate"] = Variable(dims, rates, "1", f"share of wrong classes ({source})")
    return variables


def _have_classes(curves: Sequence[Sequence[theory.curve.RiskCurve]]) -> bool:
    return curves[0][0].classification_error is not None


def _summary(exact: list[list[_Exact]], simulated: Sequence[Sequence[theory.curve.RiskCurve]]) -> Variables:
    """The numbers of the table; those of gradient descent, unless their name says flow."""
    dims = ("law", "seed")
    descent, flow = [[e.descent for e in row] for row in exact], [[e.flow for e in row] for row in exact]
    rounding = _stack(simulated, "rounding_error") + _stack(descent, "rounding_error")
    agreement = np.max(deviation(_stack(simulated, "risk"), _stack(descent, "risk"), rounding), axis=2)

    def of(curves: Sequence[Sequence[theory.curve.RiskCurve]], field: str, units: str, long_name: str) -> Variable:
        return Variable(dims, _stack(curves, field), units, long_name)

    of_classes = {}
    if _have_classes(descent):
        first, last = np.moveaxis(_stack(descent, "lowest_error_times"), -1, 0)
        of_classes = {
            "lowest_error_rate": of(descent, "lowest_error_rate", "1", "lowest share of wrong classes"),
            "lowest_error_first": Variable(dims, first, TIME_UNIT, "first time at which it is that low"),
            "lowest_error_last": Variable(dims, last, TIME_UNIT, "last time at which it is that low"),
            "final_error_rate": of(
                descent, "final_error_rate", "1", "share of wrong classes at the last simulated step"
            ),
            "error_rate_penalty": of(descent, "error_rate_penalty", "1", "final less lowest share of wrong classes"),
        }
    return of_classes | {
        "flow_error": Variable(
            (*dims, "time"),
            _stack(flow, "rounding_error"),
            RISK_UNIT,
            "rounding error of the test error, gradient flow",
        ),
        "turning_time": of(descent, "turning_time", TIME_UNIT, "time at which the test error is lowest"),
        "turning_risk": of(descent, "turning_risk", RISK_UNIT, "lowest test error"),
        "turning_error": of(descent, "turning_error", RISK_UNIT, "its rounding error"),
        "final_risk": of(descent, "final_risk", RISK_UNIT, "test error at the last simulated step"),
        "final_error": of(descent, "final_error", RISK_UNIT, "its rounding error"),
        "overtraining_penalty": of(descent, "overtraining_penalty", "1", "final over lowest test error"),
        "flow_turning_time": of(flow, "turning_time", TIME_UNIT, "time of the lowest test error, gradient flow"),
        "flow_turning_risk": of(flow, "turning_risk", RISK_UNIT, "lowest test error, gradient flow"),
        "flow_final_risk": of(flow, "final_risk", RISK_UNIT, "test error at the last time of gradient flow"),
        "flow_final_error": of(flow, "final_error", RISK_UNIT, "its rounding error"),
        "trusted_until": of(flow, "trusted_until", TIME_UNIT, "time after which rounding may exceed 1e-6 of the risk"),
        "risk_at_infinity": of(flow, "risk_at_infinity", RISK_UNIT, "test error of infinite training"),
        "infinity_is_resolved": of(flow, "infinity_is_resolved", "1", "whether the spectrum has a gap at the rank cut"),
        "agreement": Variable(dims, agreement, "1", "largest relative deviation of simulation from closed form"),
        "method": Variable(dims, _stack(flow, "method"), "1", "factorisation of the closed form"),
    }


def _modes(exact: list[list[_Exact]]) -> Variables:
    """What each mode contributes at three times, for the first seed of each law; laws with fewer modes end in NaN.

    The turning point is that of the mean curve, the one that a figure shows.
    """
    if any(row[0].flow.decomposition is None for row in exact):
        return {}
    count = max(row[0].solution.spectrum.eigenvalues.size for row in exact)
    eigenvalues = np.full((len(exact), count), np.nan)
    times = np.empty((len(exact), len(PHASES)))
    parts = {part: np.full((len(exact), len(PHASES), count), np.nan) for part in PARTS[1:]}
    for law, row in enumerate(exact):
        solution, descent = row[0].solution, row[0].descent
        risk, error = (
            np.mean(_stack([[e.descent for e in row]], name)[0], axis=0) for name in ("risk", "rounding_error")
        )
        turning = descent.times[theory.minimum.earliest_lowest(risk, error)]
        times[law] = EARLY * turning, turning, descent.times[-1]
        at = jnp.asarray(times[law])
        modes = theory.risk.mode_risk(solution.spectrum, solution.population, theory.GradientFlow(), at)
        size = modes.eigenvalues.size
        eigenvalues[law, :size] = modes.eigenvalues
        for part, values in parts.items():
            values[law, :, :size] = getattr(modes, part)
    meaning = {"clean": "clean risk, less that of predicting zero", "noise": "noise risk", "cross": "cross risk"}
    return {
        "mode_eigenvalue": Variable(("law", "mode"), eigenvalues, "1", "eigenvalue of the feature covariance"),
        "mode_time": Variable(("law", "phase"), times, TIME_UNIT, "time of the modes' contributions"),
    } | {
        f"mode_{part}": Variable(
            ("law", "phase", "mode"), values, RISK_UNIT, f"contribution of a mode to the {meaning[part]}"
        )
        for part, values in parts.items()
    }


def _stack(curves: Sequence[Sequence[theory.curve.RiskCurve]], field: str) -> np.ndarray:
    return np.asarray([[getattr(curve, field) for curve in row] for row in curves])


def print_ucurve(console: Console, result: Result) -> None:
    """The table of `rfm ucurve`."""
    names, seeds, far = result["law"].values, result.sizes["seed"], float(result["time"][-1])
    end = f"t = {float(result['step_time'][-1]):.3g} ({int(result['step'][-1])} steps)"
    table = empty_table(f"Gradient descent to {end}, {averaged(seeds)}", "", *map(str, names))
    turns = result["time"].values[turns_of_means(result["flow_risk"], result["flow_error"])]
    table.add_row("turn of the mean" if seeds > 1 else "turn of the flow", *(f"{turn:.3g}" for turn in turns))
    for label, name in _UCURVE_ROWS.items():
        table.add_row(label, *cells_of([(result.sel(law=law), name) for law in names]))
    table.add_section()
    for label, name in _UCURVE_RATIOS.items():
        base = result.isel(law=0, drop=True)
        table.add_row(label, "", *written([ratio(result.sel(law=law), base, name) for law in names[1:]]))
    if "lowest_error_rate" in result:
        table.add_section()
        for label, name in _UCURVE_CLASSES.items():
            percent = [estimated(100 * result[name].sel(law=law)) for law in names]
            table.add_row(label, *written(percent))
        first, last = (result[f"lowest_error_{end}"].median("seed").values for end in ("first", "last"))
        table.add_row("  lowest at t", *(f"{begin:.3g} to {end:.3g}" for begin, end in zip(first, last, strict=True)))
    table.add_section()
    for label, values in {
        "agreement": [f"{value:.1e}" for value in result["agreement"].max("seed").values],
        "trusted until": [f"{value:.1e}" for value in result["trusted_until"].min("seed").values],
        "factorisation": ["/".join(sorted(set(row))) for row in result["method"].values],
    }.items():
        table.add_row(label, *values)
    console.print(table)
    notes = [
        f"{_turns(seeds)} risk: mean square error. penalty: final over turning risk. Unit of time: 1/eigenvalue.",
        f"late risk: of gradient flow at t = {far:.3g}. / ERM's: risk over ERM's of the same seed. agreement:"
        " largest relative deviation of simulation and closed form.",
    ]
    earliest = float(result["trusted_until"].min())
    if earliest < far:
        notes.append(f"Rounding: do not rely on gradient flow after t = {earliest:.3g}.")
    if "flow_clean" not in result:
        notes.append(
            "No decomposition: nobody knows the truth behind a data set's own labels (--truth kernel fits one), or at "
            "mixed features."
        )
    for note in notes:
        console.print(note, highlight=False)


def _turns(num_seeds: int) -> str:
    """What the two turns of the table are, which differ for one seed as well."""
    descent = "of gradient descent, within its steps"
    if num_seeds == 1:
        return f"turn of the flow: time at which gradient flow is lowest, as in the figure; turning time: {descent}."
    return (
        "turn of the mean: time at which the mean gradient flow over seeds is lowest, as in the figure; turning time: "
        f"{descent}, of each seed by itself."
    )


_UCURVE_ROWS = {
    "turning time": "turning_time",
    "turning risk": "turning_risk",
    "final risk": "final_risk",
    "penalty": "overtraining_penalty",
    "late risk": "flow_final_risk",
}


_UCURVE_CLASSES = {
    "wrong classes, %": "lowest_error_rate",
    "  at the end": "final_error_rate",
    "  more than lowest": "error_rate_penalty",
}


_UCURVE_RATIOS = {
    "turning / ERM's": "turning_risk",
    "final / ERM's": "final_risk",
    "late / ERM's": "flow_final_risk",
}
