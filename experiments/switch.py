"""Mixup first, plain training after: the risk at a given budget against when it was switched, and why.

Noise that was learnt under Mixup is forgotten under plain training as fast as its modes learn. What is left of it is
shown by bands of modes, and the whole curve beside real training in two phases.
"""

import itertools

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from rich.console import Console

import rfm
import theory
from experiments.configs import SwitchConfig
from experiments.draws import Seed, check_size, load_data, rounding_is_stored
from experiments.laws import all_pairs, check_mixing
from experiments.report import (
    BELOW_ROUNDING,
    averaged,
    cells_of,
    empty_table,
    estimated,
    is_below_rounding,
    with_error,
    written,
)
from experiments.store import Result
from experiments.variables import Stage, Variable, Variables, silent
from rfm.decide.estimates import SIGNIFICANT
from rfm.training.start import deviation
from theory.views import RISK_UNIT, TIME_UNIT

BANDS = (1e-2, 1e-4, 1e-6)
"""Eigenvalues that part the modes into bands, relative to the largest."""
NUM_SINCE = 60


def run_switch(config: SwitchConfig, *, stage: Stage = silent) -> Variables:
    """The risk at the budget by switch time, the risks to compare it with, and the noise left by bands of modes.

    Args:
        config: what to run; the numbers depend on nothing else.
        stage: told of the work as it is done.

    Raises:
        ValueError: a field out of range; nothing has been computed then.
    """
    _check(config)
    data = load_data(config, config.num_samples)
    seeds = [
        Seed.draw(config, data, index, num_samples=config.num_samples, num_features=config.num_features)
        for index in range(config.num_seeds)
    ]
    advance = stage("spectra", config.num_seeds)
    pairs = []
    laws = all_pairs(config, config.num_samples, lam=config.lam), rfm.ERM()
    for seed in seeds:
        population = seed.population()
        mixed, plain = (seed.problem(law, population) for law in laws)
        pairs.append((rfm.solve(mixed), rfm.solve(plain)))
        advance(1)
    fastest = max(solution.spectrum.fastest for pair in pairs for solution in pair)
    rule = theory.GradientDescent(step_size=config.step_fraction * 2 / fastest)
    switches = _switch_steps(config)
    since = np.concatenate([[0.0], np.unique(np.round(np.geomspace(1, config.num_steps, NUM_SINCE)))])
    found = [_of_seed(pair, rule, config.num_steps, switches, since) for pair in pairs]
    simulated_at = config.num_steps - np.unique(np.round(np.geomspace(1, config.num_steps, config.num_simulated)))
    simulated, agreement = _train(pairs[0], rule, config.num_steps, simulated_at, stage)
    parts = {} if found[0][0].decomposition is None else _parts(found)
    return (
        {
            "seed": Variable(("seed",), np.arange(config.num_seeds), "1", "index of the seed"),
            "switch_step": Variable(("switch_step",), switches, "1", "steps of Mixup before the switch"),
            "num_steps": Variable((), np.asarray(config.num_steps), "1", "steps of training in all"),
            "step_size": Variable((), np.asarray(rule.step_size), TIME_UNIT, "step size"),
            "risk": Variable(
                ("seed", "switch_step"),
                np.stack([curve.risk for curve, *_ in found]),
                RISK_UNIT,
                "test error at the end",
            ),
            "simulated_step": Variable(("simulated_step",), simulated_at, "1", "switches that were simulated"),
            "simulated_risk": Variable(
                ("simulated_step",), simulated, RISK_UNIT, "test error of the first seed's training"
            ),
            "agreement": Variable((), agreement, "1", "largest relative deviation of simulation from closed form"),
        }
        | {
            name: Variable(("seed",), np.asarray([levels[name] for _, levels, _ in found]), *about)
            for name, about in (_LEVELS | _LEVELS_OF_CLASSES).items()
            if name in found[0][1]
        }
        | _error_rates(found)
        | parts
        | _noise_left(found, since)
    )


_LEVELS = {
    "best_step": ("1", "steps of Mixup before the best switch"),
    "best_risk": (RISK_UNIT, "test error at the end, switched at the best time"),
    "best_error": (RISK_UNIT, "its rounding error"),
    "mixup_final_risk": (RISK_UNIT, "test error of Mixup at the end"),
    "mixup_final_error": (RISK_UNIT, "its rounding error"),
    "mixup_turning_risk": (RISK_UNIT, "lowest test error of Mixup"),
    "mixup_turning_error": (RISK_UNIT, "its rounding error"),
    "plain_final_risk": (RISK_UNIT, "test error of plain training at the end"),
    "plain_final_error": (RISK_UNIT, "its rounding error"),
    "plain_turning_risk": (RISK_UNIT, "lowest test error of plain training"),
    "plain_turning_error": (RISK_UNIT, "its rounding error"),
}
_LEVELS_OF_CLASSES = {
    "best_error_rate": ("1", "lowest share of wrong classes at the end, over all switches"),
    "mixup_final_error_rate": ("1", "share of wrong classes of Mixup at the end"),
    "mixup_lowest_error_rate": ("1", "lowest share of wrong classes of Mixup"),
    "plain_final_error_rate": ("1", "share of wrong classes of plain training at the end"),
    "plain_lowest_error_rate": ("1", "lowest share of wrong classes of plain training"),
}
_Pair = tuple[rfm.Solution, rfm.Solution]
"""Mixup, and plain training."""
_Found = tuple[theory.switching.SwitchCurve, dict[str, float], np.ndarray | None]


def _check(config: SwitchConfig) -> None:
    check_mixing(config)
    rows = config.num_samples**2
    held = config.num_seeds * (rows + config.num_samples)
    check_size(config, rows, config.num_features, held=held, num_times=config.num_times)


def _switch_steps(config: SwitchConfig) -> np.ndarray:
    """Evenly in the log of the steps before the switch, and of those after it."""
    steps = np.geomspace(1, config.num_steps, config.num_times // 2)
    return np.unique(np.round(np.concatenate([[0], steps, config.num_steps - steps])))


def _of_seed(
    pair: _Pair, rule: theory.GradientDescent, num_steps: int, switches: np.ndarray, since: np.ndarray
) -> _Found:
    mixed, plain = pair
    steps = switches[switches > 0]
    with rounding_is_stored():
        curve = rfm.closed_form_switch(mixed, plain, rule=rule, budget=num_steps, switch_times=switches)
        alone = {"mixup": mixed.curve(rule=rule, steps=steps), "plain": plain.curve(rule=rule, steps=steps)}
    levels = {"best_step": float(curve.best_time)}
    levels |= {name: float(getattr(curve, name)) for name in ("best_risk", "best_error")}
    fields = ["final_risk", "final_error", "turning_risk", "turning_error"]
    if curve.classification_error is not None:
        levels["best_error_rate"] = float(curve.lowest_error_rate)
        fields += ["final_error_rate", "lowest_error_rate"]
    levels |= {f"{name}_{field}": float(getattr(single, field)) for name, single in alone.items() for field in fields}
    left = None if curve.decomposition is None else _noise_by_band(pair, rule, num_steps, since)
    return curve, levels, left


def _noise_by_band(pair: _Pair, rule: theory.GradientDescent, num_steps: int, since: np.ndarray) -> np.ndarray:
    """What is left of the noise that Mixup taught in all of its steps, after some of plain training.

    Each mode's own power; what modes have in common over the population is left out, so bands do not sum to the risk.
    """
    first, second, averages = pair[0].spectrum, pair[1].spectrum, pair[0].population
    learnt = theory.phases.end_of(theory.phases.Phase(first, rule, num_steps))
    forgetting = eqx.tree_at(lambda s: s.clean_coordinates, second, second.label_coordinates)  # teaches none of its own
    noise = np.asarray(theory.risk.noise_weights(forgetting, rule, jnp.asarray(since), learnt))
    modes = np.asarray(second.modes)
    coordinates = np.tensordot(modes.T, noise, 1)
    power = np.sum(coordinates**2, axis=2) * np.asarray(averages.mode_power(second.modes))[:, None]
    band = np.digitize(np.asarray(second.eigenvalues / second.eigenvalues[0]), BANDS)
    outside = noise - np.tensordot(modes, coordinates, 1)
    never = np.sum(outside * np.tensordot(np.asarray(averages.second_moment), outside, 1), axis=(0, 2))
    return np.stack([*(power[band == index].sum(axis=0) for index in range(len(BANDS) + 1)), never])


def _train(
    pair: _Pair, rule: theory.GradientDescent, num_steps: int, switches: np.ndarray, stage: Stage
) -> tuple[np.ndarray, np.ndarray]:
    """The test error at the end of real training in two phases, and its largest deviation from the closed form."""
    mixed, plain = pair
    advance = stage("training", num_steps * len(switches))
    runs = []
    for switch in switches:
        phases = [rfm.TrainingPhase(mixed, rule, switch), rfm.TrainingPhase(plain, rule)]
        runs.append(rfm.simulate_phases(phases, steps=[num_steps], progress=advance))
    ascending = switches[::-1]
    with rounding_is_stored():
        exact = rfm.closed_form_switch(mixed, plain, rule=rule, budget=num_steps, switch_times=ascending)
    risk, error = (np.asarray([getattr(run, name) for run in runs]) for name in ("final_risk", "final_error"))
    rounding = error + np.asarray(exact.rounding_error)[::-1]
    return risk, np.max(deviation(risk, np.asarray(exact.risk)[::-1], rounding))


def _parts(found: list[_Found]) -> Variables:
    about = {"clean": "risk of the weights trained on clean labels", "noise": "noise risk", "cross": "cross risk"}
    return {
        f"{name}_risk": Variable(
            ("seed", "switch_step"),
            np.stack([getattr(curve.decomposition, name) for curve, *_ in found]),
            RISK_UNIT,
            f"{long_name} at the end",
        )
        for name, long_name in about.items()
    }


def _error_rates(found: list[_Found]) -> Variables:
    if found[0][0].classification_error is None:
        return {}
    rates = np.stack([curve.error_rate for curve, *_ in found])
    return {"error_rate": Variable(("seed", "switch_step"), rates, "1", "share of wrong classes at the end")}


def _noise_left(found: list[_Found], since: np.ndarray) -> Variables:
    left = [noise for *_, noise in found if noise is not None]
    if not left:
        return {}
    edges = ("1", *(f"1e{round(np.log10(edge))}" for edge in BANDS), "0")
    names = [f"{high} to {low}" for high, low in itertools.pairwise(edges)]
    return {
        "band": Variable(("band",), np.asarray([*names, "none"]), "1", "eigenvalues relative to the largest"),
        "since": Variable(("since",), since, "1", "steps of plain training"),
        "noise_left": Variable(("seed", "band", "since"), np.stack(left), RISK_UNIT, "learnt noise that is left"),
    }


def print_switch(console: Console, result: Result) -> None:
    """The table of `rfm switch`."""
    seeds, steps = result.sizes["seed"], int(result["num_steps"])
    columns = {"test error": cells_of([(result, name) for name in _SWITCH_ROWS.values()])}
    if "error_rate" in result:
        percent = [estimated(100 * result[name]) for name in _SWITCH_CLASSES]
        columns["wrong classes (%)"] = written(percent)
    table = empty_table(f"{steps} steps in all, {averaged(seeds)}", "", *columns)
    for label, *cells in zip(_SWITCH_ROWS, *columns.values(), strict=True):
        table.add_row(label, *cells)
    console.print(table)
    console.print(
        f"{_switching(result)} Real training of the first seed lies within {float(result['agreement']):.1e} of its "
        "closed form.",
        highlight=False,
    )


def _switching(result: Result) -> str:
    """When to switch, and what that is worth beside stopping Mixup at its best."""
    plain = int(result["num_steps"]) - result["best_step"].values
    best = f"Best: the last {np.median(plain):.0f} steps plain (median; {plain.min():.0f} to {plain.max():.0f})"
    no_help = "Switching does not help here: the error is no lower than that of Mixup stopped at its best"
    if np.median(plain) == 0 or is_below_rounding(result, "mixup_turning_risk"):
        return f"{no_help}."
    if is_below_rounding(result, "best_risk"):
        return f"{best}; the error is then {BELOW_ROUNDING}."
    gain, its_error = estimated(100 * (1 - result["best_risk"] / result["mixup_turning_risk"]))
    if gain <= 0:
        return f"{no_help}."
    lower = f"{with_error(gain, its_error)} %"
    if gain <= SIGNIFICANT * its_error:
        return f"{no_help} by two standard errors ({lower})."
    return f"{best}, which lowers the error of Mixup stopped at its best by {lower}."


_SWITCH_ROWS = {
    "Mixup to the end": "mixup_final_risk",
    "Mixup, stopped at its best": "mixup_turning_risk",
    "Mixup, then plain, switched at the best time": "best_risk",
    "plain to the end": "plain_final_risk",
    "plain, stopped at its best": "plain_turning_risk",
}
_SWITCH_CLASSES = (
    "mixup_final_error_rate",
    "mixup_lowest_error_rate",
    "best_error_rate",
    "plain_final_error_rate",
    "plain_lowest_error_rate",
)
"""Of those rows; each at its own best, which need not be that of the test error."""
