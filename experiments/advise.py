"""Advice on one's own data: risks of training with and without Mixup on held-out rows, and what follows from them."""

from contextlib import AbstractContextManager, nullcontext
from math import prod
from typing import Any

import jax
import numpy as np

import rfm
from experiments.advice_check import check_advice
from experiments.advice_words import print_advise as print_advise
from experiments.constraints import check_fields
from experiments.data_configs import AdviseConfig
from experiments.laws import check_mixing, mixup
from experiments.limits import check_memory
from experiments.own_data import OwnData, called, read
from experiments.variables import Stage, Variable, Variables, silent
from rfm.data import MixedFeatures
from rfm.data.frozen import PAIRS_PER_ROW
from rfm.decide import Advice, LawComparison, LearningCurve
from rfm.decide.actions import SAME
from rfm.decide.learning_curve import QUANTITIES, SHARES
from theory.views import TIME_UNIT

LEAST_TESTED = 2
"""Rows that a check by real training tests on."""
RELATIVE = "risk of predicting the mean, or of naming the most frequent class"
"""Unit of all risks here."""


def run_advise(config: AdviseConfig, *, stage: Stage = silent) -> Variables:
    """Curves on the held-out rows, the three actions, the one that is advised, and laws of mixing side by side.

    Args:
        config: what to run; the numbers depend on nothing else.
        stage: told of the work as it is done.

    Raises:
        ValueError: a field out of range, or data that cannot be read; nothing has been computed then.
    """
    _check(config)
    features_key, advice_key, check_key, rows_key = jax.random.split(jax.random.key(config.seed), 4)
    all_data = read(config, features_key)
    data = all_data.drawn(config.num_rows, rows_key, num_left=LEAST_TESTED if config.num_seeds else 0)
    law = None if isinstance(data.features, MixedFeatures) else _law(config)

    def asked(of: OwnData) -> dict[str, Any]:
        return {"features": of.features, **of.hold_out, **_settings(config, of)}

    def advise(of: OwnData, key: jax.Array, advance: Any) -> Advice:
        with _epochs_called(config, of):
            return rfm.advise(of.inputs, of.targets, law=law, **asked(of), key=key, progress=advance)

    curve, key = None, advice_key
    if config.learning_curve:  # first, since it may ask for more rows than there are
        advance = stage("learning curve", len(SHARES) * data.num_parts)
        with called("shares", "learning_curve"), _epochs_called(config, data):
            curve = rfm.decide.learning_curve(
                data.inputs, data.targets, law=law, **asked(data), key=key, progress=advance
            )
    advice = advise(data, key, stage("held-out parts", data.num_parts))
    variables = _variables(advice, data)
    if config.compare_laws:
        laws = rfm.decide.usual_laws(
            are_classes=data.num_classes > 0, pairs=config.num_pairs or PAIRS_PER_ROW * len(data.inputs)
        )
        advance = stage("laws of mixing", data.num_parts)
        variables |= _laws(
            rfm.decide.compare_laws(data.inputs, data.targets, laws=laws, **asked(data), key=key, progress=advance)
        )
    if curve is not None:
        variables |= _sizes(curve, makes_no_difference=advice.slowdown is not None)
    if config.num_seeds == 0:
        return variables
    return variables | check_advice(config, all_data, law, advise, check_key, stage)


def _check(config: AdviseConfig) -> None:
    if config.features in ("random", "raw"):
        check_mixing(config)
    else:
        check_fields(config)
    if config.num_seeds:
        fixed = {name: getattr(config, name) for name in ("groups", "time_order", "split", "validation")}
        for name in [name for name, value in fixed.items() if value is not None]:
            raise ValueError(f"{name}: the check by real training holds out rows at random; leave out num_seeds")
        if config.momentum:
            raise ValueError("momentum: the check by real training has none; leave out num_seeds")
    rows = 2 * config.num_features + (config.num_pairs or 0) + config.num_times
    check_memory("num_features, num_pairs, num_times", config.num_features * rows)


def _law(config: AdviseConfig) -> rfm.Mixup:
    return mixup(config, "expected" if config.num_pairs is None else config.num_pairs, alpha=config.alpha)


def _settings(config: AdviseConfig, data: OwnData) -> dict[str, Any]:
    """What all questions are asked with."""
    trainer, budget = _trainer(config), config.budget
    if trainer is not None and config.step_size is not None:
        raise ValueError("step_size, learning_rate: both say what a step is; pass one of them")
    if config.num_epochs is not None and trainer is not None:
        if budget is not None:
            raise ValueError("budget, num_epochs: both say when training ends; pass one of them")
        budget = trainer.epochs_time(config.num_epochs, data.rows_of_an_epoch, data.num_targets)
    return {
        "metric": config.metric,
        "missing": config.missing,
        "num_components": config.num_components,
        "budget": budget,
        "step_size": config.step_size,
        "trainer": trainer,
        "num_times": config.num_times,
    }


def _epochs_called(config: AdviseConfig, data: OwnData) -> AbstractContextManager[None]:
    """Errors about a budget that was given in epochs say so."""
    trainer = _trainer(config)
    if trainer is None or config.num_epochs is None:
        return nullcontext()
    length = trainer.epochs_time(1, data.rows_of_an_epoch, data.num_targets)
    return called("budget", "num_epochs", f" in time, of which an epoch lasts {length:.3g}")


def _trainer(config: AdviseConfig) -> rfm.decide.Trainer | None:
    if config.learning_rate is None:
        return None
    if config.batch_size is None:
        raise ValueError("batch_size: --learning-rate needs it, to know what an epoch is; pass one, such as 64")
    return rfm.decide.Trainer(config.learning_rate, config.batch_size, config.momentum, config.loss, config.optimizer)


def _variables(advice: Advice, data: OwnData) -> Variables:
    return _curves(advice) | _actions(advice) | _scalars(advice, data) | _words(data)


def _curves(advice: Advice) -> Variables:
    """Means over the rows that were held out, and their standard errors."""
    held, risks = advice.held, advice.risks
    ways = {"mixup": ("time", "under Mixup"), "plain": ("time", "without Mixup"),
            "switched": ("switch_time", "at the budget, after the switch")}  # fmt: skip
    found = {
        "time": Variable(("time",), advice.times, TIME_UNIT, "training time"),
        "switch_time": Variable(("switch_time",), advice.switch_times, TIME_UNIT, "when Mixup is switched off"),
    }
    for name, (axis, about) in ways.items():
        risk = getattr(risks, name)
        found[f"{name}_risk"] = Variable((axis,), risk.mean(axis=0), RELATIVE, f"risk {about}")
        found[f"{name}_error"] = Variable((axis,), held.standard_error(risk), RELATIVE, "its standard error over rows")
        if axis == "time":
            found[f"{name}_end_error"] = Variable(
                (), np.asarray(held.mean(risk[:, -1]).error), RELATIVE, "error of the risk at the end of training"
            )
        if advice.wrong is not None:
            wrong = getattr(advice.wrong, name).mean(axis=0)
            wrong = np.where(wrong <= 2 * SAME, 0, wrong * advice.wrong.unit)
            found[f"{name}_wrong"] = Variable((axis,), wrong, "1", f"share of wrong classes {about}")
    return found


def _actions(advice: Advice) -> Variables:
    actions = advice.actions
    risks, gains = ([ask(action) for action in actions] for ask in (advice.risk_of, advice.gain))
    found = {
        "action": ([action.name for action in actions], "1", "way to train"),
        "action_time": ([action.time for action in actions], TIME_UNIT, "time of the stop or the switch"),
        "earliest": ([action.interval[0] for action in actions], TIME_UNIT, "lower end of its interval"),
        "latest": ([action.interval[1] for action in actions], TIME_UNIT, "upper end of its interval"),
        "action_risk": ([risk.mean for risk in risks], RELATIVE, "risk of the action"),
        "action_error": ([risk.error for risk in risks], RELATIVE, "its error"),
        "gain": ([gain.mean for gain in gains], RELATIVE, "risk above that of the lowest action"),
        "gain_error": ([gain.error for gain in gains], RELATIVE, "error of that difference"),
        "is_told": (
            [int(advice.is_told(action)) for action in actions],
            "1",
            "whether going on to the budget shows to be worse, or that is the best time",
        ),
        "action_wrong": (
            [np.nan if action.error_rate is None else action.error_rate for action in actions],
            "1",
            "share of wrong classes at the times that other parts choose; NaN of numbers",
        ),
        "is_choice": (
            [int(any(action is choice for choice in advice.choices)) for action in actions],
            "1",
            "whether it differs from simpler ones",
        ),
        "is_advised": ([int(action is advice.recommended) for action in actions], "1", "whether it is advised"),
    }
    return {name: Variable(("action",), np.asarray(values), *about) for name, (values, *about) in found.items()}


def _scalars(advice: Advice, data: OwnData) -> Variables:
    cost, gain, held, wrong = advice.overtraining_cost, advice.gain_over_mean, advice.held, advice.wrong
    found: dict[str, tuple[Any, str, str]] = {
        "advice": (advice.in_words, "1", "what to do"),
        "metric": (advice.metric, "1", "what is compared"),
        "step_size": (advice.step_size, TIME_UNIT, "time of a step"),
        "largest_stable_step": (advice.largest_stable_step, TIME_UNIT, "2/mu_max over all parts"),
        "length_unit": (advice.pace.unit, TIME_UNIT, "time of a step, or of an epoch where it is known what one is"),
        "length_unit_name": ("steps" if advice.pace.trainer is None else "epochs", "1", "what that is the time of"),
        "budget_length": (advice.pace.in_words(advice.budget), "1", "when training ends, in words"),
        "overtraining_cost": (cost.mean, "1", "Mixup's risk at the budget over that at the stop, minus 1"),
        "overtraining_cost_error": (cost.error, "1", "its error"),
        "mixup_gain": (advice.mixup_gain.mean, RELATIVE, "by how much Mixup's risk is below plain training's, stopped"),
        "mixup_gain_error": (advice.mixup_gain.error, RELATIVE, "its error"),
        "slowdown": (
            np.nan if advice.slowdown is None else advice.slowdown,
            "1",
            "clock of Mixup's training where it is plain training on a slower one; NaN where it is not",
        ),
        "beats_mean": (int(advice.beats_mean), "1", "whether any way to train has a risk below that of the mean"),
        "gain_over_mean": (gain.mean, RELATIVE, "by how much; 0 where the best is no training"),
        "gain_over_mean_error": (gain.error, RELATIVE, "its error"),
        "trainer_error": (
            np.nan if advice.trainer_error is None else advice.trainer_error,
            "1",
            "how far risks at the stops are from those after the trainer's own steps, as a share; NaN without one",
        ),
        "unit": (advice.risks.unit, "1", "what risks are relative to"),
        "null_wrong": (np.nan if wrong is None else wrong.unit, "1", "share of wrong classes of the most frequent one"),
        "num_held_out": (len(held.row), "1", "rows that were held out"),
        "num_parts": (held.num_parts, "1", "parts in which they were"),
        "num_units": (held.num_units, "1", "rows, or groups of rows, that count as one"),
        "num_rows": (len(data.inputs), "1", "rows of the data"),
        "num_inputs": (prod(data.inputs.shape[1:]), "1", "columns of the inputs"),
        "num_classes": (data.num_classes, "1", "classes; 0 for numbers"),
    }
    return {name: Variable((), np.asarray(value), *about) for name, (value, *about) in found.items()}


def _words(data: OwnData) -> Variables:
    """What is to be said of how a table was read, and the names of classes, where there are any."""
    found = {"note": (data.notes, "on how the data were read"), "class": (data.class_names, "names of the classes")}
    return {name: Variable((name,), np.asarray(words), "1", about) for name, (words, about) in found.items() if words}


def _laws(found: LawComparison) -> Variables:
    indices = range(len(found.names))
    risks, gains = ([ask(index) for index in indices] for ask in (found.risk_of, found.gain))
    values = {
        "law": (found.names, "1", "law of mixing"),
        "law_time": (found.stops, TIME_UNIT, "where its risk is lowest"),
        "law_risk": ([risk.mean for risk in risks], RELATIVE, "its risk at the time that other parts choose"),
        "law_error": ([risk.error for risk in risks], RELATIVE, "its error"),
        "law_gain": ([gain.mean for gain in gains], RELATIVE, "by how much it is below that of the first"),
        "law_gain_error": ([gain.error for gain in gains], RELATIVE, "error of that difference"),
        "rows_to_tell": (
            [found.rows_to_tell(index) for index in indices],
            "1",
            "rows at which the gain would count, if it stayed as it is; infinite where there is none",
        ),
    }
    laws = {name: Variable(("law",), np.asarray(value), *about) for name, (value, *about) in values.items()}
    return laws | {
        "laws_in_words": Variable((), np.asarray(found.in_words), "1", "what the comparison says"),
        "errors_to_tell": Variable((), np.asarray(found.errors_to_tell), "1", "errors that a gain must have to count"),
    }


def _sizes(found: LearningCurve, makes_no_difference: bool) -> Variables:
    """What was seen at every number of rows, and what is foretold of twice the largest one, and of that one itself."""
    about = {"risk": "risk without Mixup", "gain": "gain of Mixup", "cost": "cost of over-training"}
    units = {"risk": RELATIVE, "gain": RELATIVE, "cost": "1"}
    largest, twice = float(found.sizes[-1]), 2 * float(found.sizes[-1])
    words = found.in_words if makes_no_difference else f"{found.in_words}; Mixup {found.gain_in_words} there"
    variables = {
        "size": Variable(("size",), found.sizes, "1", "rows that are trained on"),
        "size_foretold": Variable((), np.asarray(twice), "1", "rows of which it is foretold"),
        "sizes_in_words": Variable((), np.asarray(words), "1", "what that says"),
        "band": Variable(("band",), np.asarray(["middle", "low", "high"]), "1", "of what is foretold"),
    }
    for name in [name for name in QUANTITIES if not (makes_no_difference and name == "gain")]:
        seen = [found.seen(name, index) for index in range(len(found.sizes))]
        tried, _ = found.largest_foretold(name)
        values = {
            f"size_{name}": (("size",), [each.mean for each in seen], about[name]),
            f"size_{name}_error": (("size",), [each.error for each in seen], "its error"),
            f"foretold_{name}": (("band",), [*found.forecast(name, twice)], f"{about[name]} with twice the rows"),
            f"tried_{name}": (("band",), [*tried], f"{about[name]} with {largest:.0f} rows, foretold from fewer"),
        }
        variables |= {key: Variable(dims, np.asarray(value), units[name], what)
                      for key, (dims, value, what) in values.items()}  # fmt: skip
    return variables
