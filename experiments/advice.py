"""Advice on one's own data: risks of training with and without Mixup on held-out parts, and what follows from them."""

from typing import Literal

import jax
import numpy as np

import rfm
from experiments.advice_check import check_advice
from experiments.configs import AdviseConfig
from experiments.constraints import check_fields
from experiments.limits import check_memory
from experiments.variables import TIME_UNIT, Advance, Stage, Variable, Variables, silent

MOST_CLASSES = 20
"""That whole numbers are taken for unless they are said to be."""
RELATIVE = "risk of predicting the mean"
"""Unit of all risks here."""


def run_advice(config: AdviseConfig, *, stage: Stage = silent) -> Variables:
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
    check_fields(config)
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
    return rfm.Mixup(alpha=config.alpha, pairs="expected" if config.num_pairs is None else config.num_pairs)


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
