"""Noise or bias: the U-curve of Mixup's label noise, beside those of what may stand in its place.

In closed form, in the mean over what is drawn; at the smallest n and the most curved truth also by training on draws.
"""

import dataclasses
from math import nan

import jax
import numpy as np
from rich.console import Console

import rfm
import theory
from experiments.configs import CONTROL_STEPS, ControlsConfig
from experiments.draws import Seed, check_size, load_data, rounding_is_stored
from experiments.laws import all_pairs, check_mixing, mixup
from experiments.report import averaged, estimated, folded, written
from experiments.store import Result
from experiments.variables import Stage, Variable, Variables, silent
from rfm.decide.controls import CONTROLS, OF_BIAS, RANDOM, NoiseControls
from theory.views import RISK_UNIT, TIME_UNIT

FIRST_TIME = 1.0
NUM_RECORDED = 12
"""Steps of real training at which it is recorded."""


def run_controls(config: ControlsConfig, *, stage: Stage = silent) -> Variables:
    """Risks over time by law, curvature, n, seed and control; and those of training on draws.

    Args:
        config: what to run; the numbers depend on nothing else.
        stage: told of the work as it is done.

    Raises:
        ValueError: a field out of range; nothing has been computed then.
    """
    _check(config)
    data = load_data(config, config.sample_sizes[-1])
    curvatures = config.teacher_weight_stds if data is None else (nan,)
    times = np.geomspace(min(FIRST_TIME, config.final_time / 2), config.final_time, config.num_times)
    names = _names(config)
    shape = (2, len(curvatures), len(config.sample_sizes), config.num_seeds, len(names))
    risk = np.empty((*shape, len(times)))
    advance = stage("closed form", int(np.prod(shape)))
    trained: Variables = {}
    for seed_index in range(config.num_seeds):
        for curved, std in enumerate(curvatures):
            own = config if data is not None else dataclasses.replace(config, teacher_weight_std=std)
            largest = config.sample_sizes[-1]
            seed = Seed.draw(own, data, seed_index, num_samples=largest, num_features=config.num_features)
            population = seed.population()
            for place, size in enumerate(config.sample_sizes):
                part = seed.first(size, config.num_features)
                for index, law in enumerate(_laws(config, size)):
                    controls = rfm.decide.noise_controls(
                        part.sample, part.features, law, population=population, key=part.keys.pairs
                    )
                    for row, name in enumerate(names):
                        with rounding_is_stored():
                            risk[index, curved, place, seed_index, row] = controls.risk(name, times=times)
                        advance(1)
                    if (index, curved, place, seed_index) == (1, len(curvatures) - 1, 0, 0):
                        trained = _trained(config, controls, names, stage)
    dims = ("law", "weight_std", "num_samples", "seed", "control")
    lowest = risk.min(axis=-1)
    return {
        "law": Variable(("law",), np.asarray(["all pairs", "random pairs"]), "1", "how the originals are mixed"),
        "weight_std": Variable(("weight_std",), np.asarray(curvatures), "1", "standard deviation of teacher's weights"),
        "num_samples": Variable(("num_samples",), np.asarray(config.sample_sizes), "1", "number of originals n"),
        "seed": Variable(("seed",), np.arange(config.num_seeds), "1", "index of the seed"),
        "control": Variable(("control",), np.asarray(names), "1", "what stands in the place of the label noise"),
        "time": Variable(("time",), times, TIME_UNIT, "training time"),
        "risk": Variable((*dims, "time"), risk, RISK_UNIT, "test error (closed form)"),
        "turning_risk": Variable(dims, lowest, RISK_UNIT, "lowest test error"),
        "final_risk": Variable(dims, risk[..., -1], RISK_UNIT, "test error at the final time"),
        "overtraining_penalty": Variable(dims, risk[..., -1] / lowest, "1", "final over lowest test error"),
    } | trained


def _check(config: ControlsConfig) -> None:
    check_mixing(config)
    if config.space != "inputs":
        raise ValueError(f"space: {config.space} that are mixed have no truth, and so no noise to control; pass inputs")
    if config.dataset is not None and config.truth != "kernel":
        raise ValueError(
            "truth: nobody knows the noise of a data set's own labels; pass --truth kernel, which fits one"
        )
    rows = config.sample_sizes[-1] ** 2
    check_size(config, rows, config.num_features, held=config.num_draws * config.sample_sizes[0] ** 2,
               num_times=config.num_times)  # fmt: skip


def _names(config: ControlsConfig) -> tuple[str, ...]:
    """The bias is known for independent Gaussian inputs."""
    has_bias = config.dataset is None and config.partners in ("any", "others")
    return CONTROLS if has_bias else tuple(name for name in CONTROLS if name not in OF_BIAS)


def _laws(config: ControlsConfig, size: int) -> list[rfm.Mixup]:
    """Of all pairs at one ratio, and of as many random ones at random ratios."""
    return [all_pairs(config, size, lam=config.lam), mixup(config, size**2, alpha=config.alpha)]


def _trained(config: ControlsConfig, controls: NoiseControls, names: tuple[str, ...], stage: Stage) -> Variables:
    """Real training, several draws of what is drawn, beside the closed form at the same steps."""
    rule = theory.GradientDescent(1 / controls.problem.largest_eigenvalue())
    steps = np.unique(np.round(np.geomspace(1, CONTROL_STEPS, NUM_RECORDED)))
    drawn = np.full((len(names), config.num_draws, len(steps)), nan)
    exact = np.empty((len(names), len(steps)))
    counts = [config.num_draws if name in RANDOM else 1 for name in names]
    advance = stage("training", sum(counts) * CONTROL_STEPS)
    for row, (name, count) in enumerate(zip(names, counts, strict=True)):
        keys = jax.random.split(jax.random.fold_in(jax.random.key(config.seed), row), count)
        problems = [controls.drawn(name, key=key) for key in keys]
        runs = rfm.simulate_many(problems, step_size=float(rule.step_size), steps=steps, progress=advance)
        drawn[row, :count] = [run.risk for run in runs]
        exact[row] = controls.risk(name, rule=rule, steps=steps)
    dims = ("control", "draw", "step")
    return {
        "draw": Variable(("draw",), np.arange(config.num_draws), "1", "index of the draw"),
        "step": Variable(("step",), steps, "1", "steps of training"),
        "simulated_risk": Variable(dims, drawn, RISK_UNIT, "test error of training on a draw"),
        "exact_risk": Variable(dims[::2], exact, RISK_UNIT, "its mean (closed form)"),
    }


def print_controls(console: Console, result: Result) -> None:
    """The table of `rfm controls`."""
    sizes, final = result["num_samples"].values, float(result["time"][-1])
    for law in result["law"].values:
        for curved, std in enumerate(result["weight_std"].values):
            of = "a data set" if np.isnan(std) else f"teacher's weights {std:g}"
            title = f"Final over lowest test error, {law}, {of}, {averaged(result.sizes['seed'])}"
            penalty = result["overtraining_penalty"].sel(law=law).isel(weight_std=curved)
            rows = []
            for name in result["control"].values:
                cells = [estimated(penalty.sel(control=name, num_samples=n)) for n in sizes]
                rows.append([str(name), *written(cells)])
            console.print(folded(console, title, ["", *(f"n = {n}" for n in sizes)], rows))
            console.print()
    mean, count = result["simulated_risk"].mean("draw"), result["simulated_risk"].count("draw")
    error = result["simulated_risk"].std("draw", ddof=1) / count**0.5
    drawn = count.min("step").values > 1
    off = abs(mean - result["exact_risk"])
    worst = float((off / error).values[drawn].max())
    fixed = float((off / mean).values[~drawn].max())
    console.print(
        f"Training ends at t = {final:.3g}. Real training of the first seed, at n = {sizes[0]}: what is drawn lies "
        f"within {worst:.1f} standard errors of its mean, what is not within {fixed:.1e}.",
        highlight=False,
    )
