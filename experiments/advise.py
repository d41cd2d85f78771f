"""Advice on one's own data: risks of training with and without Mixup on held-out parts, and what follows from them."""

from math import isfinite
from statistics import median
from typing import Literal

import jax
import numpy as np
from rich.console import Console

import rfm
from experiments.advice_check import check_advice
from experiments.configs import AdviseConfig
from experiments.laws import check_mixing, mixup
from experiments.limits import check_memory
from experiments.report import BELOW_ROUNDING, LARGEST_PLAIN, empty_table, with_error
from experiments.store import Result, over_parts, provenance_of
from experiments.variables import Advance, Stage, Variable, Variables, silent
from rfm.decide.actions import IN_WORDS, MEASURED_COVERAGE, MEASURED_ERROR_COVERAGE, PREDICT_THE_MEAN, SAME
from theory.views import TIME_UNIT

MOST_CLASSES = 20
"""That whole numbers are taken for unless they are said to be."""
RELATIVE = "risk of predicting the mean"
"""Unit of all risks here."""


def run_advise(config: AdviseConfig, *, stage: Stage = silent) -> Variables:
    """Curves on the held-out parts, the three actions, and the one that is advised.

    Args:
        config: what to run; the numbers depend on nothing else.
        stage: told of the work as it is done.

    Raises:
        ValueError: a field out of range, or data that cannot be read; nothing has been computed then.
    """
    _check(config)
    names = None if config.inputs is None else [name.strip() for name in config.inputs.split(",")]
    raw = rfm.data.read_arrays(config.dataset, target=config.target, inputs=names)
    inputs, targets = np.asarray(raw.inputs, float).reshape(len(raw.inputs), -1), _of_kind(config, raw.targets)
    features_key, advice_key, check_key = jax.random.split(jax.random.key(config.seed), 3)
    features = _features(config, inputs.shape[1], features_key)

    def advise(rows: np.ndarray, key: jax.Array, advance: Advance | None) -> rfm.decide.Advice:
        return rfm.advise(
            inputs[rows],
            targets[rows],
            features=features,
            law=_law(config),
            num_folds=config.num_folds,
            num_held_out=config.num_held_out,
            budget=config.budget,
            step_size=config.step_size,
            num_times=config.num_times,
            key=key,
            progress=advance,
        )

    num_parts = config.num_folds if config.num_held_out is None else 1
    advice = advise(np.arange(len(inputs)), advice_key, stage("held-out parts", num_parts))
    variables = _variables(advice) | {
        "num_rows": Variable((), np.asarray(len(inputs)), "1", "rows of the data"),
        "num_inputs": Variable((), np.asarray(inputs.shape[1]), "1", "columns of the inputs"),
        "num_classes": Variable((), np.asarray(_num_classes(targets)), "1", "classes; 0 for numbers"),
    }
    if config.num_seeds == 0:
        return variables
    return variables | check_advice(config, inputs, targets, features, advise, check_key, stage)


def _check(config: AdviseConfig) -> None:
    check_mixing(config)
    rows = 2 * config.num_features + (config.num_pairs or 0) + config.num_times
    check_memory("num_features, num_pairs, num_times", config.num_features * rows)


def _of_kind(config: AdviseConfig, targets: np.ndarray) -> np.ndarray:
    """Targets in floating point, or whole numbers that stand for classes."""
    numbers = np.squeeze(np.asarray(targets, float))
    whole = numbers.ndim == 1 and np.array_equal(numbers, np.round(numbers))
    if config.target_kind == "classes" and not whole:
        raise ValueError("target_kind: classes are one column of whole numbers, and these are not; pass numbers")
    few = whole and len(np.unique(numbers)) <= MOST_CLASSES
    return numbers.astype(int) if config.target_kind == "classes" or (config.target_kind == "auto" and few) else numbers


def _num_classes(targets: np.ndarray) -> int:
    return len(np.unique(targets)) if np.issubdtype(targets.dtype, np.integer) else 0


def _features(config: AdviseConfig, input_dim: int, key: jax.Array) -> rfm.RandomFeatures | Literal["raw"]:
    if config.features == "raw":
        return "raw"
    return rfm.RandomFeatures(
        input_dim,
        config.num_features,
        config.feature_activation,
        weight_std=config.feature_weight_std,
        bias_std=config.feature_bias_std,
        key=key,
    )


def _law(config: AdviseConfig) -> rfm.Mixup:
    return mixup(config, "expected" if config.num_pairs is None else config.num_pairs, alpha=config.alpha)


def _variables(advice: rfm.decide.Advice) -> Variables:
    actions, gains = advice.actions, [advice.gain(action) for action in advice.actions]
    cost = advice.overtraining_cost
    of_actions = {
        "action_time": ([action.time for action in actions], TIME_UNIT, "time of the stop or the switch"),
        "earliest": ([action.interval[0] for action in actions], TIME_UNIT, "lower end of its interval"),
        "latest": ([action.interval[1] for action in actions], TIME_UNIT, "upper end of its interval"),
        "action_risk": ([action.risk.mean for action in actions], RELATIVE, "risk of the action"),
        "action_error": ([action.risk.error for action in actions], RELATIVE, "its standard error"),
        "gain": ([gain.mean for gain in gains], RELATIVE, "risk above that of the lowest action"),
        "gain_error": ([gain.error for gain in gains], RELATIVE, "standard error of that difference"),
        "is_choice": (
            [int(any(action is choice for choice in advice.choices)) for action in actions],
            "1",
            "whether it differs from simpler ones",
        ),
        "is_advised": ([int(action is advice.recommended) for action in actions], "1", "whether it is advised"),
    }
    scalars = {
        "step_size": (advice.step_size, TIME_UNIT, "step size that turns times into steps"),
        "largest_stable_step": (advice.largest_stable_step, TIME_UNIT, "2/mu_max over all parts"),
        "overtraining_cost": (cost.mean, "1", "Mixup's risk at the budget over that at the stop, minus 1"),
        "overtraining_cost_error": (cost.error, "1", "its standard error"),
        "slowdown": (
            np.nan if advice.slowdown is None else advice.slowdown,
            "1",
            "clock of Mixup's training where it is plain training on a slower one; NaN where it is not",
        ),
        "beats_mean": (int(advice.beats_mean), "1", "whether any way to train has a risk below that of the mean"),
        "gain_over_mean": (advice.gain_over_mean.mean, RELATIVE, "by how much; 0 where the best is no training"),
        "gain_over_mean_error": (advice.gain_over_mean.error, RELATIVE, "its standard error"),
        "has_folds": (int(advice.has_folds), "1", "whether parts are folds, or held-out rows"),
    }
    return (
        {
            "action": Variable(("action",), np.asarray([action.name for action in actions]), "1", "way to train"),
            "time": Variable(("time",), advice.times, TIME_UNIT, "training time"),
            "switch_time": Variable(("switch_time",), advice.switch_times, TIME_UNIT, "when Mixup is switched off"),
            "mixup_risk": Variable(("part", "time"), advice.mixup_risk, RELATIVE, "risk under Mixup"),
            "plain_risk": Variable(("part", "time"), advice.plain_risk, RELATIVE, "risk without Mixup"),
            "switch_risk": Variable(("part", "switch_time"), advice.switch_risk, RELATIVE, "risk at the budget"),
        }
        | {name: Variable(("action",), np.asarray(values), *about) for name, (values, *about) in of_actions.items()}
        | {name: Variable((), np.asarray(value), *about) for name, (value, *about) in scalars.items()}
    )


def print_advise(console: Console, result: Result) -> None:
    """The table of `rfm advise`."""
    configuration = provenance_of(result)["configuration"]
    parts = f"{result.sizes['part']} folds" if int(result["has_folds"]) else f"{result.sizes['part']} rows held out"
    classes = int(result["num_classes"])
    goal = f"{classes} classes" if classes else "numbers"
    held = f"steps, range ({100 * MEASURED_COVERAGE:.0f} %)"
    table = empty_table(
        f"Advice for {configuration['dataset']}: {int(result['num_rows'])} rows, "
        f"{int(result['num_inputs'])} inputs, {goal} to predict; {parts}",
        *("", "time", "steps", held, "relative risk"),
    )
    step_size, budget = float(result["step_size"]), float(result["time"][-1])
    choices = _choices(result)
    for name in choices["action"].values:
        row = result.sel(action=name)
        low, high = (_count(float(row[end]) / step_size) for end in ("earliest", "latest"))
        time, risk = float(row["action_time"]), _relative(float(row["action_risk"]), float(row["action_error"]))
        table.add_row(_ACTIONS[str(name)], f"{time:.3g}", _count(time / step_size), f"{low} to {high}", risk)
    table.add_section()
    to_the_end = [("Mixup to the end", "mixup_risk"), ("no Mixup to the end", "plain_risk")]
    for label, name in to_the_end[isfinite(float(result["slowdown"])) :]:
        mean, error = over_parts(result[name].isel(time=-1))
        table.add_row(label, f"{budget:.3g}", _count(budget / step_size), "", _relative(mean, error))
    console.print(table)
    if classes and configuration["target_kind"] == "auto":
        console.print(
            f"The targets are {classes} whole numbers, taken for classes; ratings or counts are numbers: "
            "--target-kind numbers.",
            highlight=False,
        )
    for note in [*_advice(result), *_checked(result)]:
        console.print(note, highlight=False)


_ACTIONS = {"plain": "no Mixup, stop", "stop": "Mixup, stop", "switch": "Mixup, then none"}


def _relative(risk: float, error: float) -> str:
    return BELOW_ROUNDING if _is_zero(risk) else with_error(risk, error)


def _is_zero(risk: float) -> bool:
    """Whether a relative risk is the one that all lower ones count as."""
    return risk <= SAME * (1 + SAME)


def _choices(result: Result) -> Result:
    """The actions that differ from one another."""
    return result.isel(action=np.flatnonzero(result["is_choice"].values))


def _advice(result: Result) -> list[str]:
    """Sentences: what to do, how sure that is, what over-training costs."""
    step_size, budget = float(result["step_size"]), float(result["time"][-1])
    relative = (
        f"Relative risk: squared error over that of predicting the mean, ± standard error over "
        f"{'folds' if int(result['has_folds']) else 'held-out rows'}. Steps are of {step_size:.3g}; the largest stable "
        f"step is {float(result['largest_stable_step']):.3g}; steps times step size is time."
    )
    if not int(result["beats_mean"]):
        return [f"Advice: {PREDICT_THE_MEAN}. {_why_the_mean(result)}", relative]
    choices, slowdown = _choices(result), float(result["slowdown"])
    advised = choices.isel(action=int(choices["is_advised"].values.argmax()))
    lowest = choices.isel(action=int(choices["action_risk"].values.argmin()))
    time = float(advised["action_time"])
    words = IN_WORDS[str(advised["action"].values)].format(steps=_count(time / step_size), time=f"{time:.3g}")
    sentences = [f"Advice: {words}."]
    if isfinite(slowdown):
        sentences.append(
            "Mixup makes no difference to the mean here: these features mix as their inputs do, so that training with "
            f"it is plain training on a clock slower by the factor {slowdown:.3g} (every curve the same, each time "
            f"{1 / slowdown:.3g} times later)."
        )
    if time == budget:
        sentences.append("That is the end of training: the risk still falls there, and a longer budget may lower it.")
    if advised["action"] != lowest["action"]:
        sentences.append(
            f"'{_ACTIONS[str(lowest['action'].values)]}' has a risk lower by "
            f"{with_error(float(advised['gain']), float(advised['gain_error']))}: less than two standard errors, so "
            "the simpler way is advised."
        )
    elif str(advised["action"].values) == "plain" and not isfinite(slowdown):
        sentences.append("Mixup does not help here: plain training at its best has the lowest risk.")
    cost, error = (100 * float(result[name]) for name in ("overtraining_cost", "overtraining_cost_error"))
    end = f"going on to t = {budget:.3g} ({_count(budget / step_size)} steps) with Mixup"
    if not int(result["is_choice"].sel(action="stop")) and not isfinite(slowdown):
        sentences.append("With Mixup, the risk is lowest before the first step: it only rises.")
    elif float(result["action_time"].sel(action="stop")) == budget:
        sentences.append("Over-training is not seen: with Mixup, the risk is lowest at the end of training.")
    elif _is_zero(over_parts(result["mixup_risk"].isel(time=-1))[0]):
        sentences.append(f"Over-training is not seen: with Mixup, the risk at the end of training is {BELOW_ROUNDING}.")
    elif cost > 2 * error:
        sentences.append(f"Over-training: {end} costs {with_error(cost, error)} % more risk than stopping.")
    elif cost > 0:
        sentences.append(
            f"Over-training is not seen: {end} costs {with_error(cost, error)} % more risk than stopping, less than "
            "two standard errors."
        )
    else:
        sentences.append(f"Over-training is not seen: {end} has no higher risk than the stop that other parts choose.")
    sentences.append(
        f"The range of steps is narrower than it should be: on simulated data it held the best one in "
        f"{100 * MEASURED_COVERAGE:.0f} % of the cases, and two standard errors held the true difference in "
        f"{100 * MEASURED_ERROR_COVERAGE:.0f} %."
    )
    return [*sentences, relative]


def _why_the_mean(result: Result) -> str:
    """Why no way to train is advised: nothing is learnt, or it does not show that anything is."""
    gain, error = float(result["gain_over_mean"]), float(result["gain_over_mean_error"])
    if gain == error == 0:
        return "Nothing is learnt here: the risk is lowest before the first step."
    lowest = f"the lowest relative risk of the ways above that stop or switch is {with_error(1 - gain, error)}"
    if gain <= 0:
        return f"Nothing is learnt here: {lowest}."
    parts = "with more folds" if int(result["has_folds"]) else "with more rows held out"
    return f"That anything is learnt does not show: {lowest}, not below 1 by two standard errors; {parts} it may."


def _checked(result: Result) -> list[str]:
    """What real training on random splits said of the advice, if it was asked."""
    if "lost_at_stop" not in result or not int(result["beats_mean"]):
        return []

    def percent(name: str) -> str:
        lost = 100 * result[name].values
        return f"median {median(lost):.2g} %, mean {lost.mean():.2g} %, worst {lost.max():.2g} %"

    return [
        f"Check by real training on {result.sizes['seed']} random splits, risk lost against the best step of each run:",
        f"  with Mixup, stopped at its best: {percent('lost_at_stop')}",
        f"  with Mixup to the end: {percent('lost_at_budget')}",
        f"  by the advised action, against the best of both runs: {percent('lost_by_advice')}",
    ]


def _count(steps: float) -> str:
    return f"{round(steps)}" if steps < LARGEST_PLAIN else f"{steps:.2e}"
