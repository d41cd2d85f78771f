"""The price of overtraining against the number of originals: at fixed p, and for p that grows with n.

Both regimes mix the same number of random pairs per original and end at the same time. At a fixed p more originals mean
more rows per feature, and the label noise averages out; where p grows with n, the noise of every row can be learnt.
Within a seed, a smaller problem is a part of the larger ones, so that they differ by their size alone.
"""

import numpy as np
from rich.console import Console

import rfm
import theory
from experiments.configs import SampleSizeConfig
from experiments.draws import Seed, check_size, load_data, rounding_is_stored
from experiments.laws import check_mixing, mixup
from experiments.report import averaged, cells_of, empty_table, estimated, with_error
from experiments.store import Result
from experiments.variables import Stage, Variable, Variables, silent
from theory.views import RISK_UNIT, TIME_UNIT

REGIMES = ("fixed p", "growing p")
FIRST_TIME = 1.0


def run_sample_size(config: SampleSizeConfig, *, stage: Stage = silent) -> Variables:
    """Turning risk, final risk and penalty for every regime, n and seed.

    Args:
        config: what to run; the numbers depend on nothing else.
        stage: told of the work as it is done.

    Raises:
        ValueError: a field out of range; nothing has been computed then.
    """
    _check(config)
    data = load_data(config, config.sample_sizes[-1])
    sizes = np.asarray(config.sample_sizes)
    widths = np.stack([np.full(sizes.shape, config.num_features), config.features_per_sample * sizes])
    values = {field: np.empty((*widths.shape, config.num_seeds)) for field in _FIELDS}
    advance = stage("closed form", widths.size * config.num_seeds)
    for index in range(config.num_seeds):
        seed = Seed.draw(config, data, index, num_samples=int(sizes[-1]), num_features=int(widths.max()))
        for regime, n in np.ndindex(*widths.shape):
            curve = _curve(config, seed.first(int(sizes[n]), int(widths[regime, n])))
            for field, array in values.items():
                array[regime, n, index] = getattr(curve, field)
            advance(1)
    dims = ("regime", "num_samples")
    return {
        "regime": Variable(("regime",), np.asarray(REGIMES), "1", "how the number of features goes with n"),
        "num_samples": Variable(("num_samples",), sizes, "1", "number of originals n"),
        "seed": Variable(("seed",), np.arange(config.num_seeds), "1", "index of the seed"),
        "num_features": Variable(dims, widths, "1", "number of features p"),
        "final_time": Variable((), np.asarray(config.final_time), TIME_UNIT, "time at which training ends"),
    } | {field: Variable((*dims, "seed"), values[field], *about) for field, about in _FIELDS.items()}


_FIELDS = {
    "turning_time": (TIME_UNIT, "time at which the test error is lowest"),
    "turning_risk": (RISK_UNIT, "lowest test error"),
    "turning_error": (RISK_UNIT, "its rounding error"),
    "final_risk": (RISK_UNIT, "test error at the final time"),
    "final_error": (RISK_UNIT, "its rounding error"),
    "overtraining_penalty": ("1", "final over lowest test error"),
    "trusted_until": (TIME_UNIT, "time after which rounding may exceed 1e-6 of the risk"),
}


def _check(config: SampleSizeConfig) -> None:
    check_mixing(config)
    largest = config.sample_sizes[-1]
    widest = max(config.num_features, config.features_per_sample * largest)
    check_size(config, config.pairs_per_sample * largest, widest, num_times=config.num_times)


def _curve(config: SampleSizeConfig, seed: Seed) -> theory.Curve:
    law = mixup(config, config.pairs_per_sample * len(seed.sample.inputs), alpha=config.alpha)
    solution = rfm.solve(seed.problem(law, seed.population()), until=config.final_time)
    times = np.geomspace(min(FIRST_TIME, config.final_time / 2), config.final_time, config.num_times)
    with rounding_is_stored():
        return solution.curve(times=times)


def print_sample_size(console: Console, result: Result) -> None:
    """The table of `rfm sample-size`."""
    title = f"Gradient flow to t = {float(result['final_time']):.3g}, {averaged(result.sizes['seed'])}"
    table = empty_table(title, "regime", "n", "p", "turning risk", "final risk", "penalty")
    for regime in result["regime"].values:
        rows = [result.sel(regime=regime, num_samples=n) for n in result["num_samples"].values]
        names = ("turning_risk", "final_risk", "overtraining_penalty")
        columns = [cells_of([(row, name) for row in rows]) for name in names]
        for row, *estimates in zip(rows, *columns, strict=True):
            table.add_row(str(regime), str(int(row["num_samples"])), str(int(row["num_features"])), *estimates)
        table.add_section()
    console.print(table)
    for regime in result["regime"].values:
        row = result.sel(regime=regime)
        change = row["overtraining_penalty"].isel(num_samples=-1) - row["overtraining_penalty"].isel(num_samples=0)
        sizes = result["num_samples"].values
        by = with_error(*estimated(change), sign="+")
        console.print(f"{regime}: from n = {sizes[0]} to {sizes[-1]} the penalty changes by {by}.", highlight=False)
    if float(result["trusted_until"].min()) < float(result["final_time"]):
        console.print(f"Rounding: some curves can be trusted only until {float(result['trusted_until'].min()):.3g}.")
