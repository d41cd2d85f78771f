"""What each kind of curve has to show: its facts, its picture, its variables. The records only hold fields.

What a view asks of its record stands under its name, as annotations, which are no fields.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jax import Array

from theory.views.look import BLUE, PARTS, RISK_UNIT, TIME_UNIT
from theory.views.picture import Line, Mark, Picture, rounding_band
from theory.views.shown import Drawn, Facts
from theory.views.variables import Variable
from theory.views.words import are_known, counted, extent, number

PER_TIME = f"training time ({TIME_UNIT})"
PER_RISK = f"test error ({RISK_UNIT})"
Meanings = Mapping[str, tuple[str, str]]
"""Unit and long name of fields and properties."""

_OVER_TIME: Meanings = {
    "risk": (RISK_UNIT, "test error"),
    "train_loss": (RISK_UNIT, "training loss"),
    "rounding_error": (RISK_UNIT, "what rounding may do to the test error"),
    "penalty_so_far": ("1", "test error over the lowest until then"),
}
_PARTS: Meanings = {
    "clean": (RISK_UNIT, "test error of the weights trained on clean labels"),
    "noise": (RISK_UNIT, "test error of what label noise was learnt"),
    "cross": (RISK_UNIT, "twice the correlation of clean error and learnt noise"),
}
_BY_TARGET: Meanings = {"risk_by_target": (RISK_UNIT, "test error, by target")}
_OF_CLASSES: Meanings = {"classification_error": ("1", "share of test inputs whose class is wrong")}
_NUMBERS: Meanings = {
    "turning_time": (TIME_UNIT, "time of the lowest test error"),
    "turning_step": ("1", "steps until then"),
    "turning_risk": (RISK_UNIT, "lowest test error"),
    "overtraining_penalty": ("1", "final over lowest test error"),
    "trusted_until": (TIME_UNIT, "time until which rounding stays below the tolerance"),
    "risk_at_infinity": (RISK_UNIT, "test error at t = infinity"),
    "infinity_is_resolved": ("1", "whether that is known"),
}
_BY_MODE: Meanings = {
    part: (RISK_UNIT, f"contribution of a mode to the {part} part of the test error") for part in _PARTS
}


class RiskView(Drawn):
    """Of a risk curve."""

    times: Array
    steps: Array | None
    risk_by_target: Array
    train_loss: Array
    turning_time: Array
    turning_step: Array | None
    turning_risk: Array
    decomposition: Any
    overtraining_penalty: Any

    def _facts(self) -> Facts | None:
        if not are_known(self.times, self.risk_by_target, self.turning_time, self.turning_risk):
            return None
        times = np.asarray(self.times)
        if times.ndim != 1:  # a batch of curves
            return None
        turning = float(self.turning_time)
        last = ", the last" if turning == times[-1] and len(times) > 1 else ""
        step = "" if self.turning_step is None else f" (step {number(self.turning_step)})"
        return Facts(
            f"{type(self).__name__}: {_clock(self)}, {_targets(self.risk_by_target)}",
            {
                "turning time": number(turning) + step + last,
                "test error there": number(self.turning_risk),
                "overtraining penalty": number(self.overtraining_penalty),
            },
            self._more(times),
        )

    def _more(self, times: np.ndarray) -> dict[str, str]:
        parts = "unknown" if self.decomposition is None else "clean, noise, cross"
        return {"training loss": extent(np.asarray(self.train_loss)), "parts of the test error": parts}

    def _variables(self) -> dict[str, Variable]:
        found = {"time": Variable(("time",), np.asarray(self.times), TIME_UNIT, "training time")}
        if self.steps is not None:
            found["step"] = Variable(("time",), np.asarray(self.steps), "1", "training step")
        modes = getattr(self, "modes", None)
        if modes is not None:
            eigenvalues = np.asarray(modes.eigenvalues)
            found["eigenvalue"] = Variable(("mode",), eigenvalues, "1", "eigenvalue of the feature covariance")
            found |= _named(modes, _BY_MODE, ("time", "mode"), "{}_by_mode")
        return (
            found
            | _named(self, _OVER_TIME, ("time",))
            | _named(self.decomposition, _PARTS, ("time",), "{}_risk")
            | _named(self, _NUMBERS, ())
            | _named(self, _BY_TARGET, ("time", "target"))
            | _named(self, _OF_CLASSES, ("time",), "error_rate")
        )

    def _drawn(self, parts: bool | None = None) -> Picture:
        times, turning = np.asarray(self.times), float(self.turning_time)
        mark = Mark(turning, "turns at") if turning < times[-1] else None
        return Picture(times, _risk_lines(self, parts), PER_TIME, PER_RISK, mark)


class ClosedFormView(RiskView):
    """Of what a formula says of training."""

    trusted_until: Array
    risk_at_infinity: Array
    infinity_is_resolved: Array
    method: str

    def _more(self, times: np.ndarray) -> dict[str, str]:
        unsure = "" if self.infinity_is_resolved else ", not resolved"
        return {
            "trusted until": _until(float(self.trusted_until), times),
            "test error at infinity": number(self.risk_at_infinity) + unsure,
            "factorised by": self.method,
        }


class MeasuredView(RiskView):
    """Of what real training has measured."""

    def _drawn(self, parts: bool | None = None) -> Picture:
        return super()._drawn(parts)._replace(mark=None, is_measured=True)


class MinibatchView(Drawn):
    """Of the moments of training on fresh batches."""

    times: Array
    steps: Array
    mean_risk: Any
    risk: Any
    mean_risk_by_target: Array
    spread_by_target: Array
    mean_risk_at_infinity: Array
    spread_at_infinity: Array
    largest_stable_step: Array
    trusted_until: Array
    infinity_is_resolved: Array
    is_diagonal: bool

    def _facts(self) -> Facts | None:
        if not are_known(self.times, self.mean_risk_by_target, self.spread_by_target, self.trusted_until):
            return None
        times = np.asarray(self.times)
        if times.ndim != 1:
            return None
        mean, spread = (float(np.sum(np.asarray(it)[-1])) for it in (self.mean_risk_by_target, self.spread_by_target))
        limit = float(self.mean_risk_at_infinity) + float(self.spread_at_infinity)
        return Facts(
            f"{type(self).__name__}: {_clock(self)}, {_targets(self.mean_risk_by_target)}",
            {
                "expected test error at the end": f"{number(mean + spread)}, of which spread {number(spread)}",
                "at infinity": number(limit) + ("" if self.infinity_is_resolved else ", not resolved"),
            },
            {
                "largest stable step": number(self.largest_stable_step),
                "trusted until": _until(float(self.trusted_until), times),
                "second moment": "its diagonal only" if self.is_diagonal else "exact",
            },
        )

    def _variables(self) -> dict[str, Variable]:
        by_target: Meanings = {
            "mean_risk_by_target": (RISK_UNIT, "test error of the mean weights, by target"),
            "spread_by_target": (RISK_UNIT, "what batches add to it, by target"),
            "weight_variance_by_target": ("1", "variance of the weights over batches, by target"),
        }
        over_time: Meanings = {
            "risk": (RISK_UNIT, "expected test error"),
            "mean_risk": (RISK_UNIT, "test error of the mean weights"),
            "spread": (RISK_UNIT, "what batches add to it"),
            "gradient_norm": ("1", "root of the mean square gradient of a batch"),
        }
        numbers: Meanings = {
            "largest_stable_step": (TIME_UNIT, "step size from which on the spread grows without bound"),
            "mean_risk_at_infinity": (RISK_UNIT, "test error of the mean weights at t = infinity"),
            "spread_at_infinity": (RISK_UNIT, "what batches add to it"),
            "gradient_floor": ("1", "what the gradient norm does not fall below"),
            "trusted_until": (TIME_UNIT, "time until which rounding stays below a millionth"),
            "infinity_is_resolved": ("1", "whether the limits are known"),
        }
        return (
            {
                "time": Variable(("time",), np.asarray(self.times), TIME_UNIT, "training time"),
                "step": Variable(("time",), np.asarray(self.steps), "1", "training step"),
            }
            | _named(self, over_time, ("time",))
            | _named(self, numbers, ())
            | _named(self, by_target, ("time", "target"))
        )

    def _drawn(self, parts: bool | None = None) -> Picture:
        """The mean, and the spread on top of it; there are no other parts."""
        if parts:
            raise ValueError("parts: a curve over batches is not split into clean and noise; leave parts out")
        mean, expected = np.asarray(self.mean_risk), np.asarray(self.risk)
        lines = (
            Line("expected", None, expected),
            Line("of the mean", BLUE, mean, band=(mean, expected)),
        )
        return Picture(np.asarray(self.times), lines, PER_TIME, PER_RISK)


class SwitchView(Drawn):
    """Of the risk at the budget, against the time of the switch."""

    switch_times: Array
    budget: Array
    risk_by_target: Array
    best_time: Array
    best_risk: Array
    decomposition: Any

    def _facts(self) -> Facts | None:
        if not are_known(self.switch_times, self.risk_by_target, self.best_time, self.best_risk, self.budget):
            return None
        times, risk = np.asarray(self.switch_times), np.sum(np.asarray(self.risk_by_target), axis=-1)
        if times.ndim != 1:
            return None
        ends = {"switched at once": 0.0, "never switched": float(self.budget)}
        return Facts(
            f"{type(self).__name__}: {counted(len(times), 'switch time')}, {extent(times)}, budget "
            f"{number(self.budget)}, {_targets(self.risk_by_target)}",
            {"best switch": number(self.best_time), "test error then": number(self.best_risk)},
            {name: number(risk[times == end][0]) for name, end in ends.items() if end in times},
        )

    def _variables(self) -> dict[str, Variable]:
        clock = "the rules' clock"
        axis = "switch_time"
        over_time: Meanings = {
            "risk": (RISK_UNIT, "test error at the budget"),
            "rounding_error": (RISK_UNIT, "what rounding may do to it"),
        }
        parts: Meanings = {part: (RISK_UNIT, f"its {part} part") for part in _BY_MODE}
        numbers: Meanings = {
            "budget": (clock, "when training ends"),
            "best_time": (clock, "time of the best switch"),
            "best_risk": (RISK_UNIT, "test error with it"),
        }
        return (
            {axis: Variable((axis,), np.asarray(self.switch_times), clock, "when the law is switched")}
            | _named(self, over_time, (axis,))
            | _named(self.decomposition, parts, (axis,), "{}_risk")
            | _named(self, numbers, ())
            | _named(self, {"risk_by_target": (RISK_UNIT, "test error at the budget, by target")}, (axis, "target"))
            | _named(self, _OF_CLASSES, (axis,), "error_rate")
        )

    def _drawn(self, parts: bool | None = None) -> Picture:
        return Picture(
            np.asarray(self.switch_times),
            _risk_lines(self, parts),
            "time of the switch (the rules' clock)",
            f"test error at the budget ({RISK_UNIT})",
            Mark(float(self.best_time), "best at"),
        )


def _named(record: Any, meanings: Meanings, dims: tuple[str, ...], form: str = "{}") -> dict[str, Variable]:
    """Those that the record has, if there is one."""
    return {
        form.format(name): Variable(dims, np.asarray(getattr(record, name)), *meaning)
        for name, meaning in meanings.items()
        if getattr(record, name, None) is not None
    }


def _risk_lines(curve: Any, parts: bool | None) -> tuple[Line, ...]:
    """The test error with its rounding error, and its parts: the cross part by its size, for it has either sign."""
    risk = np.asarray(curve.risk)
    band = rounding_band(risk, np.asarray(curve.rounding_error))
    total = Line("test error", None, risk, PARTS["risk"][1], band)
    split = curve.decomposition
    if parts is False or (parts is None and split is None):
        return (total,)
    if split is None:
        raise ValueError(
            "clean_labels: none were given, so there are no parts to draw; leave parts out, or pass clean_labels= (the "
            "ground truth at the synthesized inputs) to Problem"
        )
    values = {part: np.asarray(getattr(split, part)) for part in ("clean", "noise", "cross")}
    return (
        total,
        *(Line(part, PARTS[part][0], values[part], PARTS[part][1]) for part in ("clean", "noise")),
        Line("|cross|", PARTS["cross"][0], np.abs(values["cross"]), PARTS["cross"][1], is_dashed=True),
    )


def _clock(curve: Any) -> str:
    times = np.asarray(curve.times)
    span = f"t = {extent(times)} ({TIME_UNIT})"
    if curve.steps is None:
        return f"{counted(len(times), 'time')}, {span}"
    return f"{counted(len(times), 'time')}, step {extent(np.asarray(curve.steps))}, {span}"


def _targets(by_target: Any) -> str:
    return f"{counted(by_target.shape[-1], 'target')}, {by_target.dtype}"


def _until(trusted: float, times: np.ndarray) -> str:
    if trusted == times[-1]:
        return f"{number(trusted)}, the last" if len(times) > 1 else number(trusted)
    return number(trusted) if trusted > 0 else "none of these times"
