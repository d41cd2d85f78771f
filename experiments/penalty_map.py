"""Where over-training hurts: the penalty over (n, alpha), and over (n / p, t).

In closed form. Within a seed, a smaller sample is a part of the larger ones, and all mix as many pairs per original.
"""

import numpy as np
from rich.console import Console

import rfm
import theory
from experiments.configs import PenaltyMapConfig
from experiments.draws import RisksOver, Seed, check_size, load_data
from experiments.laws import check_mixing, mixup
from experiments.report import averaged, cells_of, folded
from experiments.store import Result
from experiments.variables import Stage, Variable, Variables, silent
from theory.views import RISK_UNIT, TIME_UNIT

FIRST_TIME = 1.0


def run_penalty_map(config: PenaltyMapConfig, *, stage: Stage = silent) -> Variables:
    """Final over lowest test error, by seed, alpha and n; and the test error over the lowest so far, by n and time.

    Args:
        config: what to run; the numbers depend on nothing else.
        stage: told of the work as it is done.

    Raises:
        ValueError: a field out of range; nothing has been computed then.
    """
    _check(config)
    data = load_data(config, config.sample_sizes[-1])
    sizes, alphas = np.asarray(config.sample_sizes), np.asarray(config.alphas)
    times = np.geomspace(min(FIRST_TIME, config.final_time / 2), config.final_time, config.num_times)
    values = {field: np.empty((config.num_seeds, len(alphas), len(sizes))) for field in _FIELDS}
    so_far = np.empty((config.num_seeds, len(sizes), len(times)))
    advance = stage("closed form", config.num_seeds * len(sizes) * (len(alphas) + 1))
    for index in range(config.num_seeds):
        seed = Seed.draw(config, data, index, num_samples=int(sizes[-1]), num_features=config.num_features)
        population = seed.population()
        for place, size in enumerate(sizes):
            part = seed.first(int(size), config.num_features)
            for row, alpha in enumerate(alphas):
                curve = _curve(config, part, population, alpha, times)
                for field, array in values.items():
                    array[index, row, place] = getattr(curve, field)
                advance(1)
            so_far[index, place] = _curve(config, part, population, config.alpha, times).penalty_so_far
            advance(1)
    return {
        "seed": Variable(("seed",), np.arange(config.num_seeds), "1", "index of the seed"),
        "num_samples": Variable(("num_samples",), sizes, "1", "number of originals n"),
        "alpha": Variable(("alpha",), alphas, "1", "Beta parameter of the mixing ratio"),
        "time": Variable(("time",), times, TIME_UNIT, "training time"),
        "num_features": Variable((), np.asarray(config.num_features), "1", "number of features p"),
        "followed_alpha": Variable((), np.asarray(config.alpha), "1", "Beta parameter that is followed over time"),
        "penalty_so_far": Variable(
            ("seed", "num_samples", "time"), so_far, "1", "test error over the lowest until then"
        ),
    } | {field: Variable(("seed", "alpha", "num_samples"), values[field], *about) for field, about in _FIELDS.items()}


_FIELDS = {
    "final_risk": (RISK_UNIT, "test error at the final time"),
    "final_error": (RISK_UNIT, "its rounding error"),
    "overtraining_penalty": ("1", "final over lowest test error"),
}


def _check(config: PenaltyMapConfig) -> None:
    check_mixing(config)
    for name in ("sample_sizes", "alphas"):
        if len(getattr(config, name)) < 2:
            raise ValueError(f"{name}: a map has at least 2 of them, got {list(getattr(config, name))}; pass more")
    rows = config.pairs_per_sample * config.sample_sizes[-1]
    check_size(config, rows, config.num_features, num_times=config.num_times)


def _curve(
    config: PenaltyMapConfig, seed: Seed, population: RisksOver, alpha: float, times: np.ndarray
) -> theory.Curve:
    law = mixup(config, config.pairs_per_sample * len(seed.sample.inputs), alpha=float(alpha))
    return rfm.closed_form(seed.problem(law, population), times=times)


def print_penalty_map(console: Console, result: Result) -> None:
    """The table of `rfm penalty-map`."""
    final = float(result["time"][-1])
    sizes = result["num_samples"].values
    title = (
        f"Penalty of training to t = {final:.3g}, p = {int(result['num_features'])}, {averaged(result.sizes['seed'])}"
    )
    rows = []
    for alpha in result["alpha"].values:
        row = result.sel(alpha=alpha)
        cells = cells_of([(row.sel(num_samples=n), "overtraining_penalty") for n in sizes])
        rows.append([f"{alpha:g}", *cells])
    console.print(folded(console, title, ["alpha", *(f"n = {n}" for n in sizes)], rows))
