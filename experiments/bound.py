"""The literature's bounds beside the exact curve: valid at all times, and how loose."""

from math import nan

import jax.numpy as jnp
import numpy as np
from rich.console import Console

import rfm
import theory
from experiments.configs import BoundConfig
from experiments.draws import Seed, check_size, rounding_is_stored
from experiments.laws import all_pairs, check_mixing
from experiments.report import empty_table, with_error
from experiments.store import Result
from experiments.variables import Stage, Variable, Variables, silent
from theory.views import RISK_UNIT, TIME_UNIT


def run_bound(config: BoundConfig, *, stage: Stage = silent) -> Variables:
    """Exact excess and noise risk of Mixup over time, and their bounds, for an ensemble of seeds.

    Args:
        config: what to run; the numbers depend on nothing else.
        stage: told of the work as it is done.

    Raises:
        ValueError: a field out of range; nothing has been computed then.
    """
    _check(config)
    times = np.geomspace(1e-8, 1, config.num_times) * config.final_time
    values = {name: np.empty((config.num_seeds, config.num_times)) for name in _CURVES}
    constants = {name: np.empty(config.num_seeds) for name in _CONSTANTS}
    start = theory.Start(variance=config.start_variance)
    advance = stage("bounds", config.num_seeds)
    for index in range(config.num_seeds):
        seed = Seed.draw(config, None, index, num_samples=config.num_samples, num_features=config.num_features)
        problem = seed.problem(all_pairs(config, config.num_samples, lam=config.lam), seed.population()).table()
        solution = rfm.solve(problem, until=config.final_time)
        spectrum = solution.spectrum
        paper = rfm.liu2023_risk_bound(solution, times, start=start)
        values["excess"][index], values["paper_bound"][index] = paper.excess, paper.bound
        with rounding_is_stored():
            values["noise_risk"][index] = solution.curve(times=times, start=start).noise_risk
        noise = problem.labels - jnp.asarray(problem.clean_labels)
        values["variance_bound"][index] = theory.bounds.bounded_noise_risk(
            spectrum, problem.population, theory.GradientFlow(), jnp.asarray(times), noise_power=jnp.mean(noise**2)
        )
        constants["reference_risk"][index] = paper.reference_risk
        constants["smallest_eigenvalue"][index] = jnp.min(
            spectrum.eigenvalues, where=spectrum.eigenvalues > spectrum.rank_cut, initial=jnp.inf
        )
        advance(1)
    return (
        {
            "seed": Variable(("seed",), np.arange(config.num_seeds), "1", "index of the seed"),
            "time": Variable(("time",), times, TIME_UNIT, "training time"),
        }
        | {name: Variable(("seed", "time"), values[name], RISK_UNIT, about) for name, about in _CURVES.items()}
        | {name: Variable(("seed",), constants[name], *about) for name, about in _CONSTANTS.items()}
    )


_CURVES = {
    "excess": "excess of the risk over that of the clean minimum-norm fit",
    "paper_bound": "bound of Liu et al. (2023) on the excess",
    "noise_risk": "noise risk",
    "variance_bound": "bound on the noise risk by the noise's mean square",
}
_CONSTANTS = {
    "reference_risk": (RISK_UNIT, "risk of the clean minimum-norm fit"),
    "smallest_eigenvalue": ("1", "smallest eigenvalue above the rank cut"),
}


def _check(config: BoundConfig) -> None:
    check_mixing(config)
    if config.space != "inputs":
        raise ValueError(f"space: {config.space} that are mixed have no truth, and so no noise to bound; pass inputs")
    if config.dataset is not None:
        raise ValueError(f"dataset: the bounds are shown for Gaussian inputs, got {config.dataset!r}; leave it out")
    if config.num_test is None:
        raise ValueError("num_test: the bound asks for the largest |phi| among test inputs, got None; pass a number")
    check_size(config, config.num_samples**2, config.num_features, num_times=config.num_times)


def print_bound(console: Console, result: Result) -> None:
    """The table of `rfm bound`."""
    seeds = result.sizes["seed"]
    title = f"Bounds beside the exact curve, {f'median of {seeds} seeds' if seeds > 1 else 'one seed'}"
    table = empty_table(title, "time", "excess risk", "its upper bound", "noise risk", "its upper bound")
    for index in range(0, result.sizes["time"], max(1, result.sizes["time"] // 6)):
        row = result.isel(time=index).median("seed")
        names = ("excess", "paper_bound", "noise_risk", "variance_bound")
        table.add_row(f"{float(result['time'][index]):.3g}", *(with_error(float(row[name]), nan) for name in names))
    console.print(table)
    console.print("excess risk: over that of the clean minimum-norm fit; it may be negative.", highlight=False)
