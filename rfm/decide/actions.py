"""What can be done about over-training on one's own data, what each way costs, and how far that is known."""

from typing import Literal, NamedTuple

import equinox as eqx
import numpy as np
from jaxtyping import Float

from theory.views import BLUE, ORANGE, TIME_UNIT, Facts, Line, Mark, Picture, Shown, are_known, counted, number

MEASURED_COVERAGE = 0.70
"""What the interval of a time is worth: the share of 300 simulated data sets in which it held the best time of the
model that is fitted to all rows (± 0.03; with Mixup and without; by ``python -m benchmarks.coverage``)."""
MEASURED_ERROR_COVERAGE = 0.77
"""The same of two standard errors of the difference between plain training and Mixup, each stopped. Of their risks it
was 0.86 and 0.87, of the cost of over-training 0.72, where standard errors of independent parts would have 0.95."""
SIGNIFICANT = 2.0
"""Standard errors that a difference must have to count."""
SAME = 1e-9
"""How far relative risks of two ways to train may be apart and be the same but for rounding: about the square of 16
epsilons times the longest budget, by which rounding may move a prediction then. Lower risks count as this one."""


IN_WORDS = {
    "plain": "train without Mixup and stop after {steps} steps (t = {time})",
    "stop": "train with Mixup and stop after {steps} steps (t = {time})",
    "switch": "train with Mixup, switch it off after {steps} steps (t = {time}), and train to the end without",
}
"""What to do, by the name of the action."""
PREDICT_THE_MEAN = "predict the mean of the targets"


class Estimate(NamedTuple):
    """A mean over the held-out parts and its standard error."""

    mean: float
    error: float


class Action(eqx.Module):
    """One way to end training, and what it costs.

    Attributes:
        name: ``plain`` (no Mixup, stopped at its best), ``stop`` (Mixup, stopped at its best), or ``switch`` (Mixup
            until a time, plain training from there to the budget).
        time: of the stop or of the switch, where the mean risk is lowest; unit 1/eigenvalue.
        interval: in which that time lies for 90 % of resampled parts. It is too narrow: see `MEASURED_COVERAGE`.
        part_risk: on each part, at the time that the other parts choose; relative.
    """

    name: Literal["plain", "stop", "switch"] = eqx.field(static=True)
    time: float
    interval: tuple[float, float]
    part_risk: Float[np.ndarray, "parts"]

    @property
    def risk(self) -> Estimate:
        """The mean over parts."""
        return mean_over_parts(self.part_risk)


class Advice(Shown, eqx.Module):
    """What `advise` has found: risks on each held-out part, and what follows from them.

    Attributes:
        times: of both curves; unit 1/eigenvalue.
        mixup_risk: of training with Mixup, relative to predicting the mean.
        plain_risk: of training without.
        null_risk: of predicting the mean of the training targets; 1 in the mean over parts.
        switch_times: at which Mixup is switched off; the last one is the budget, so never.
        switch_risk: at the budget, the last time, after that switch.
        plain, stop, switch: the three actions.
        step_size: that turns times into steps.
        largest_stable_step: 2/mu_max, over all parts and both laws.
        slowdown: 1 - 2 E lam (1 - lam), if training with Mixup is found to be plain training on a clock slower by that
            factor, as it is where features mix as their inputs do; else None.
        num_train: rows of the smallest training part.
        has_folds: whether the parts are folds, or the rows of one held-out part.
    """

    times: Float[np.ndarray, "times"]
    mixup_risk: Float[np.ndarray, "parts times"]
    plain_risk: Float[np.ndarray, "parts times"]
    null_risk: Float[np.ndarray, "parts"]
    switch_times: Float[np.ndarray, "switches"]
    switch_risk: Float[np.ndarray, "parts switches"]
    plain: Action
    stop: Action
    switch: Action
    step_size: float
    largest_stable_step: float
    slowdown: float | None
    num_train: int
    has_folds: bool = eqx.field(static=True)

    @property
    def budget(self) -> float:
        """When training ends if nobody stops it."""
        return float(self.times[-1])

    @property
    def overtraining_cost(self) -> Estimate:
        """Mixup's risk at the budget over that at the advised stop, minus 1; 0 where the former is below rounding."""
        if np.max(self.mixup_risk[:, -1]) <= SAME:
            return Estimate(0.0, 0.0)
        return excess(self.mixup_risk[:, -1], self.stop.part_risk)

    @property
    def actions(self) -> tuple[Action, Action, Action]:
        """From the simplest on."""
        return self.plain, self.stop, self.switch

    @property
    def choices(self) -> tuple[Action, ...]:
        """Those that differ: where Mixup makes no difference, plain alone; and none that ends before its first step.

        A switch there is plain training, a stop is no training; where all stop there, plain stands for the mean.
        """
        if self.slowdown is not None:
            return (self.plain,)
        return tuple(action for action in self.actions if self.steps(action.time) > 0) or (self.plain,)

    @property
    def lowest(self) -> Action:
        """The choice of the lowest mean risk."""
        return min(self.choices, key=lambda action: action.risk.mean)

    @property
    def recommended(self) -> Action:
        """The simplest choice that the lowest one does not beat by more than two standard errors."""
        return next(action for action in self.choices if not is_significant(self.gain(action)))

    @property
    def gain_over_mean(self) -> Estimate:
        """By how much the lowest action's risk is below that of predicting the mean, part by part; 0 without a step."""
        if self.steps(self.lowest.time) == 0:
            return Estimate(0.0, 0.0)
        return mean_over_parts(self.null_risk - self.lowest.part_risk)

    @property
    def beats_mean(self) -> bool:
        """Whether it shows that anything is learnt: the lowest risk is below that of the mean by two standard errors.

        If not, predicting the mean of the targets is the safer choice, and `recommended` says nothing.
        """
        return is_significant(self.gain_over_mean)

    @property
    def in_words(self) -> str:
        """What is recommended, or the mean of the targets if nothing beats it."""
        if not self.beats_mean:
            return PREDICT_THE_MEAN
        action = self.recommended
        return IN_WORDS[action.name].format(steps=self.steps(action.time), time=number(action.time))

    def gain(self, action: Action) -> Estimate:
        """By how much the lowest action's risk is below this one's, part by part."""
        return mean_over_parts(action.part_risk - self.lowest.part_risk)

    def steps(self, time: float) -> int:
        """That time in steps of the step size."""
        return round(time / self.step_size)

    def _facts(self) -> Facts | None:
        if not are_known(self.times, self.mixup_risk, self.plain_risk, self.null_risk):
            return None
        cost, parts = self.overtraining_cost, len(self.mixup_risk)
        risk = self.recommended.risk if self.beats_mean else mean_over_parts(self.null_risk)
        return Facts(
            f"Advice: {self.in_words}",
            {
                "risk over that of the mean": _written(risk),
                f"cost of Mixup until t = {number(self.budget)}": f"{_written(cost, 100.0)} %",
            },
            {
                "held out": counted(parts, "fold") if self.has_folds else counted(parts, "row"),
                "rows to train on": str(self.num_train),
                "step size": f"{number(self.step_size)} (stable below {number(self.largest_stable_step)})",
            },
        )

    def _picture(self) -> Picture:
        lines = []
        for name, colour, risk in (("Mixup", ORANGE, self.mixup_risk), ("no Mixup", BLUE, self.plain_risk)):
            mean, error = risk.mean(axis=0), risk.std(axis=0, ddof=1) / len(risk) ** 0.5
            lines.append(Line(name, colour, mean, band=(mean - error, mean + error)))
        action = self.recommended
        mark = Mark(action.time, "switch at" if action.name == "switch" else "stop at") if self.beats_mean else None
        across, up = f"training time ({TIME_UNIT})", "test error over the mean's"
        return Picture(self.times, tuple(lines), across, up, mark)


def _written(estimate: Estimate, factor: float = 1.0) -> str:
    return f"{number(factor * estimate.mean)} ± {number(factor * estimate.error)}"


def is_significant(difference: Estimate) -> bool:
    """Whether a difference is more than two of its standard errors.

    >>> is_significant(Estimate(0.5, 0.1)), is_significant(Estimate(0.1, 0.1))
    (True, False)
    """
    return difference.mean > SIGNIFICANT * difference.error


def mean_over_parts(values: Float[np.ndarray, "parts"]) -> Estimate:
    """With the standard error of independent parts."""
    return Estimate(float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5))


def excess(above: Float[np.ndarray, "parts"], below: Float[np.ndarray, "parts"]) -> Estimate:
    """mean(above) / mean(below) - 1; the error is that of the linearised ratio."""
    ratio = above.mean() / below.mean()
    return Estimate(float(ratio - 1), mean_over_parts((above - ratio * below) / below.mean()).error)
