"""Training on fresh batches: the expected risk and the gradients that never vanish, beside real runs.

One problem under two laws: ERM draws batches of the originals, Mixup pairs and ratios. Both share the step size, and
with it the clock; the runs know none of the formulas.
"""

import dataclasses
from math import nan

import jax
import numpy as np
from rich.console import Console

import rfm
from experiments.configs import MinibatchConfig
from experiments.draws import Seed, check_size, load_data
from experiments.laws import check_mixing, mixup
from experiments.limits import check_memory
from experiments.report import SPREADLESS, averaged, estimated, folded, written
from experiments.store import Result, configuration_of, over_seeds
from experiments.variables import Stage, Variable, Variables, silent
from theory.views import RISK_UNIT, TIME_UNIT

BEYOND_SIMULATION = 100
"""The closed form goes on to this multiple of the simulated steps."""


def run_minibatch(config: MinibatchConfig, *, stage: Stage = silent) -> Variables:
    """Expected risk, spread and gradient norm over training, and the same from runs.

    Args:
        config: what to run; the numbers depend on nothing else.
        stage: told of the work as it is done.

    Raises:
        ValueError: a field out of range; nothing has been computed then.
    """
    _check(config)
    data = load_data(config, config.num_samples)
    seed = Seed.draw(config, data, 0, num_samples=config.num_samples, num_features=config.num_features)
    population = seed.population()
    laws = rfm.ERM(), mixup(config, "expected", alpha=config.alpha)
    ways = [[_batches(config, law, size) for size in config.batch_sizes] for law in laws]
    advance = stage("spectra", len(laws) * len(config.batch_sizes))
    solutions: list[list[rfm.Solution]] = []
    for law, batches_of_law in zip(laws, ways, strict=True):
        problem = seed.problem(law, population)
        solution = rfm.solve(problem)
        solutions.append([])
        for batches in batches_of_law:
            meant = problem.drawn_by(batches)
            solutions[-1].append(solution if meant is problem else rfm.solve(meant))
            advance(1)
    limits = np.asarray(
        [
            [solution.largest_stable_step(batches) for solution, batches in zip(*both, strict=True)]
            for both in zip(solutions, ways, strict=True)
        ]
    )
    step_size = config.step_fraction * float(limits.min())
    steps = np.unique(np.round(np.geomspace(1, config.num_steps, config.num_recorded)))
    further = np.geomspace(1, BEYOND_SIMULATION * config.num_steps, config.num_times)
    long_steps = np.unique(np.concatenate([steps, np.round(further)]))
    shape = limits.shape
    exact = {name: np.empty((*shape, len(long_steps))) for name in _CURVES}
    drawn = {name: np.empty((*shape, config.num_seeds, len(steps))) for name in _RUNS}
    limit = {name: np.empty(shape) for name in _LIMITS}
    advance = stage("training", limits.size * config.num_seeds * int(steps[-1]))
    is_diagonal = False
    rates, has_classes = np.empty_like(drawn["simulated_risk"]), False
    for index, place in np.ndindex(*shape):
        solution, batches = solutions[index][place], ways[index][place]
        curve = rfm.minibatch_curve(solution, batches, step_size=step_size, steps=long_steps)
        is_diagonal |= curve.is_diagonal
        for name in _CURVES:
            exact[name][index, place] = getattr(curve, name)
        for name in _LIMITS:
            limit[name][index, place] = getattr(curve, name)
        key = jax.random.fold_in(seed.keys.pairs, index * len(config.batch_sizes) + place)
        runs = rfm.simulate_minibatch(
            solution,
            dataclasses.replace(batches, epochs=config.epochs),
            step_size=step_size,
            steps=steps,
            keys=list(jax.random.split(key, config.num_seeds)),
            progress=advance,
        )
        drawn["simulated_risk"][index, place] = runs.parts.risk.sum(axis=2)
        if has_classes := runs.parts.error_rate is not None:
            rates[index, place] = runs.parts.error_rate
        drawn["simulated_gradient_power"][index, place] = runs.gradient_power.sum(axis=2)
    limit["largest_stable_step"] = limits
    of_law = ("law", "batch_size")
    return (
        {
            "law": Variable(("law",), np.asarray([str(law) for law in laws]), "1", "training law"),
            "batch_size": Variable(("batch_size",), np.asarray(config.batch_sizes), "1", "rows of a batch"),
            "seed": Variable(("seed",), np.arange(config.num_seeds), "1", "index of the run"),
            "step": Variable(("step",), steps, "1", "steps that were simulated"),
            "long_step": Variable(("long_step",), long_steps, "1", "steps of the closed form"),
            "step_size": Variable((), np.asarray(step_size), TIME_UNIT, "step size"),
            "is_diagonal": Variable((), np.asarray(int(is_diagonal)), "1", "second moments are approximate"),
        }
        | {name: Variable((*of_law, "long_step"), exact[name], *about) for name, about in _CURVES.items()}
        | {name: Variable((*of_law, "seed", "step"), drawn[name], *about) for name, about in _RUNS.items()}
        | {name: Variable(of_law, limit[name], *about) for name, about in _LIMITS.items()}
        | {name: Variable((*of_law, "seed", "step"), rates, *about) for name, about in _RATES.items() if has_classes}
    )


GRADIENT_UNIT = "target / feature"
_CURVES = {
    "mean_risk": (RISK_UNIT, "risk of the mean weights (closed form)"),
    "risk": (RISK_UNIT, "expected risk (closed form)"),
    "spread": (RISK_UNIT, "what batches add to the risk of the mean weights (closed form)"),
    "gradient_norm": (GRADIENT_UNIT, "root mean square norm of a batch's gradient (closed form)"),
}
_RUNS = {
    "simulated_risk": (RISK_UNIT, "risk of a run"),
    "simulated_gradient_power": (f"({GRADIENT_UNIT}) squared", "squared norm of the gradient of a run's next batch"),
}
_RATES = {"simulated_error_rate": ("1", "share of wrong classes of a run")}
_LIMITS = {
    "risk_at_infinity": (RISK_UNIT, "expected risk that training settles at"),
    "gradient_floor": (GRADIENT_UNIT, "root mean square norm of a batch's gradient, at infinity"),
    "largest_stable_step": (TIME_UNIT, "step size from which on the variance grows without bound"),
}


def _batches(config: MinibatchConfig, law: rfm.mixup.Law, size: int) -> rfm.Batches:
    """Those of the closed form, which knows no epochs."""
    of_pairs = rfm.Batches(size, config.batch_partners, shared_ratio=config.shared_lam)
    if law.is_expected:
        return of_pairs
    return rfm.Batches(size, shared_ratio=config.shared_lam, replacement=of_pairs.replacement)


def _check(config: MinibatchConfig) -> None:
    check_mixing(config)
    check_size(config, config.num_samples, config.num_features, held=config.num_seeds, num_times=config.num_times)
    itself = config.batch_partners != "independent"
    if config.epochs and not itself:
        raise ValueError(
            "epochs: independent pairs are drawn from all originals, which no epoch goes through; pass batch_partners "
            "permuted, flipped or rolled"
        )
    if itself and config.batch_sizes[-1] > config.num_samples:
        raise ValueError(
            f"batch_sizes: {config.batch_sizes[-1]} different originals asked for, but num_samples is "
            f"{config.num_samples}; pass smaller batches, or more samples"
        )
    if itself and (config.partners != "any" or config.share != 1):
        raise ValueError(
            f"batch_partners: {config.batch_partners} batches are mixed with themselves, whatever partners and share "
            "say; leave these out, or pass independent"
        )
    check_memory("batch_sizes, num_features", config.batch_sizes[-1] * config.num_features)


def print_minibatch(console: Console, result: Result) -> None:
    """The table of `rfm minibatch`."""
    steps, runs = int(result["step"][-1]), result.sizes["seed"]
    title = f"Fresh batches, {steps} steps of {float(result['step_size']):.3g}, {averaged(runs, 'run')}"
    headers: list[str] = []
    columns: list[list[tuple[float, float]]] = []
    for law in result["law"].values:
        for size in result["batch_size"].values:
            headers.append(f"{str(law).partition('(')[0]}, B = {size}")
            row = result.sel(law=law, batch_size=size)
            end, drawn = row.sel(long_step=steps), row.isel(step=-1)
            norm = float(drawn["simulated_gradient_power"].mean()) ** 0.5
            columns.append(
                [
                    (float(end["risk"]), nan),
                    estimated(drawn["simulated_risk"]),
                    (float(end["spread"]), nan),
                    (float(end["gradient_norm"]), nan),
                    (norm, nan),
                    (float(row["gradient_floor"]), nan),
                    (float(row["largest_stable_step"]), nan),
                ]
            )
    rounding = SPREADLESS * float(result["gradient_norm"].max())
    rows = [written([None if one[0] < rounding else one for one in row]) for row in zip(*columns, strict=True)]
    labelled = [[name, *row] for name, row in zip(_MINIBATCH_ROWS, rows, strict=True)]
    if "simulated_error_rate" in result:
        labelled += _rows_of_classes(result)
    console.print(folded(console, title, ["", *headers], labelled))
    expected = result["risk"].sel(long_step=result["step"].values).rename(long_step="step")
    mean, error = over_seeds(result["simulated_risk"])
    off = abs(mean - expected.values)
    if configuration_of(result).get("epochs"):
        apart = float((off / mean).max())
        agreement = f"The runs go by epochs, the closed form does not; mean risks are at most {apart:.1%} apart."
    else:
        largest = float((off / error.where(error > SPREADLESS * mean)).max())
        agreement = f"Over all steps, the runs' mean risk is at most {largest:.1f} standard errors off."
    console.print(
        "spread: what batches add to the risk of the mean weights. stable below: this step size, in mean square. "
        + agreement
        + (" Second moments are the diagonal approximation." if bool(result["is_diagonal"]) else ""),
        highlight=False,
    )


_MINIBATCH_ROWS = (
    "expected risk",
    "  of the runs",
    "spread",
    "gradient norm",
    "  of the runs",
    "  at infinity",
    "stable below",
)


def _rows_of_classes(result: Result) -> list[list[str]]:
    """At the last step, and at the one at which the mean over runs is lowest."""
    rates = 100 * result["simulated_error_rate"].stack(column=("law", "batch_size")).transpose("column", "seed", "step")
    last, lowest = [], []
    for column in rates:
        last.append(estimated(column.isel(step=-1)))
        lowest.append(estimated(column.isel(step=int(np.argmin(column.mean("seed").values)))))
    return [["wrong classes, %", *written(last)], ["  at their lowest", *written(lowest)]]
