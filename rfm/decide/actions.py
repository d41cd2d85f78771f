"""What can be done about over-training on one's own data, what each way costs, and how far that is known."""

from typing import Literal, NamedTuple

import equinox as eqx
import numpy as np
from jaxtyping import Float

from rfm.decide.budget import Pace
from rfm.decide.estimates import Estimate, HeldOut, Metric, is_significant
from theory.views import BLUE, ORANGE, TIME_UNIT, Facts, Line, Mark, Picture, Shown, are_known, counted, number

SAME = 1e-9
"""How far relative risks of two ways to train may be apart and be the same but for rounding: about the square of 16
epsilons times the longest budget, by which rounding may move a prediction then. Lower risks count as this one."""

ROUNDING = 1e-12
"""Share of a mean risk by which two may be apart and be the same."""


IN_WORDS = {
    "plain": "train without Mixup and stop after {length}",
    "stop": "train with Mixup and stop after {length}",
    "switch": "train with Mixup, switch it off after {length}, and train to the end without",
}
"""What to do, by the name of the action."""
PREDICT_THE_MEAN = "predict the mean of the targets"
NAME_THE_MOST_FREQUENT = "name the most frequent class"


class Risks(NamedTuple):
    """Errors of every row that was held out, relative to the mean one of predicting the mean of the training targets.

    Squared errors, or wrong classes: then relative to naming the most frequent class of the training rows.

    Attributes:
        unit: what they are relative to.
        null: of predicting the mean, or naming the most frequent class; 1 in the mean over rows.
        mixup: of training with Mixup.
        plain: of training without.
        switched: at the budget, after each switch.
    """

    unit: float
    null: Float[np.ndarray, "rows"]
    mixup: Float[np.ndarray, "rows times"]
    plain: Float[np.ndarray, "rows times"]
    switched: Float[np.ndarray, "rows switches"]

    @staticmethod
    def of(null: np.ndarray, *curves: np.ndarray) -> "Risks":
        """From errors that are not relative."""
        unit = float(null.mean())  # of all rows together: that of a single one may be next to nothing
        mixup, plain, switched = (np.maximum(curve / unit, SAME) for curve in curves)
        return Risks(unit, null[:, 0] / unit, mixup, plain, switched)


class Action(eqx.Module):
    """One way to end training, and what it costs.

    Attributes:
        name: ``plain`` (no Mixup, stopped at its best), ``stop`` (Mixup, stopped at its best), or ``switch`` (Mixup
            until a time, plain training from there to the budget).
        time: of the stop or of the switch, where the mean risk is lowest; unit 1/eigenvalue.
        interval: the first and the last time whose risk cannot be told from the lowest; calibrated to hold the best
            time of the model fitted to all rows in 90 of 100 cases (`rfm.decide.estimates`).
        row_risk: on each row held out, at the time that the other parts choose; relative.
        error_rate: the share of wrong classes at these times; None of numbers.
    """

    name: Literal["plain", "stop", "switch"] = eqx.field(static=True)
    time: float
    interval: tuple[float, float]
    row_risk: Float[np.ndarray, "rows"]
    error_rate: float | None


class Advice(Shown, eqx.Module):
    """What `advise` has found: risks on each held-out part, and what follows from them.

    Attributes:
        times: of both curves; unit 1/eigenvalue.
        switch_times: at which Mixup is switched off; the last one is the budget, so never.
        held: who the rows are that were held out, in the order of all risks.
        squared: relative squared errors on each of them.
        wrong: relative error rates; None of numbers.
        plain, stop, switch: the three actions, chosen by the metric.
        pace: that turns times into steps, and into epochs of a trainer.
        trainer_error: how far the risk at the stops is from that after as many steps of the trainer's momentum and
            learning rate, as a share of it; None without one.
        largest_stable_step: 2/mu_max, over all parts and both laws.
        slowdown: 1 - 2 E lam (1 - lam), if training with Mixup is found to be plain training on a clock slower by that
            factor, as it is where features mix as their inputs do; else None.
        num_train: rows of the smallest training part.
        metric: ``squared-error`` or ``accuracy``.
    """

    times: Float[np.ndarray, "times"]
    switch_times: Float[np.ndarray, "switches"]
    held: HeldOut
    squared: Risks
    wrong: Risks | None
    plain: Action
    stop: Action
    switch: Action
    pace: Pace
    trainer_error: float | None
    largest_stable_step: float
    slowdown: float | None
    num_train: int
    metric: Metric = eqx.field(static=True)

    @property
    def risks(self) -> Risks:
        """Those of the metric."""
        return self.wrong if self.metric == "accuracy" and self.wrong is not None else self.squared

    @property
    def mixup_risk(self) -> Float[np.ndarray, "rows times"]:
        """Of training with Mixup, relative to predicting the mean, on each row held out."""
        return self.risks.mixup

    @property
    def plain_risk(self) -> Float[np.ndarray, "rows times"]:
        """Of training without."""
        return self.risks.plain

    @property
    def switch_risk(self) -> Float[np.ndarray, "rows switches"]:
        """At the budget, after that switch."""
        return self.risks.switched

    @property
    def null_risk(self) -> Float[np.ndarray, "rows"]:
        """Of predicting the mean of the training targets; 1 in the mean over rows."""
        return self.risks.null

    @property
    def budget(self) -> float:
        """When training ends if nobody stops it."""
        return float(self.times[-1])

    @property
    def overtraining_cost(self) -> Estimate:
        """Mixup's risk at the budget over that at the advised stop, minus 1; 0 where the former is below rounding."""
        return self.cost_of_going_on(self.stop)

    def cost_of_going_on(self, action: Action) -> Estimate:
        """The risk of the same way to train at the budget, over that of the action, minus 1.

        Of a switch, that of never switching.
        """
        ways = {"plain": self.plain_risk, "stop": self.mixup_risk, "switch": self.switch_risk}
        at_the_end = ways[action.name][:, -1]
        if np.max(at_the_end) <= SAME:
            return Estimate(0.0, 0.0)
        return self.held.excess(at_the_end, action.row_risk)

    def is_told(self, action: Action) -> bool:
        """Whether it shows that going on to the budget is worse, or the best time is the budget itself."""
        return action.time == self.budget or is_significant(self.cost_of_going_on(action))

    @property
    def mixup_gain(self) -> Estimate:
        """By how much the risk of Mixup is below that of plain training, row by row, each at its stop."""
        return self.held.difference(self.plain.row_risk, self.stop.row_risk)

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
        """The choice of the lowest mean risk; the simplest of those that only rounding parts."""
        means = [action.row_risk.mean() for action in self.choices]
        most = min(means) + ROUNDING * abs(min(means))
        return next(action for action, mean in zip(self.choices, means, strict=True) if mean <= most)

    @property
    def recommended(self) -> Action:
        """The simplest choice that the lowest one does not beat by more than two errors."""
        return next(action for action in self.choices if not is_significant(self.gain(action)))

    @property
    def gain_over_mean(self) -> Estimate:
        """By how much the lowest action's risk is below that of predicting the mean, row by row; 0 without a step."""
        if self.steps(self.lowest.time) == 0:
            return Estimate(0.0, 0.0)
        return self.held.mean(self.null_risk - self.lowest.row_risk)

    @property
    def beats_mean(self) -> bool:
        """Whether it shows that anything is learnt: the lowest risk is below that of the mean by two errors.

        If not, predicting the mean of the targets is the safer choice, and `recommended` says nothing.
        """
        return is_significant(self.gain_over_mean)

    @property
    def in_words(self) -> str:
        """What is recommended, or the mean of the targets if nothing beats it."""
        if not self.beats_mean:
            return PREDICT_THE_MEAN if self.metric == "squared-error" else NAME_THE_MOST_FREQUENT
        action = self.recommended
        words = IN_WORDS[action.name].format(length=self.pace.in_words(action.time))
        if self.is_told(action):
            return words
        return f"{words}, or {'never' if action.name == 'switch' else 'go on'}: which is better does not show"

    def gain(self, action: Action) -> Estimate:
        """By how much the lowest action's risk is below this one's, row by row."""
        return self.held.difference(action.row_risk, self.lowest.row_risk)

    def risk_of(self, action: Action) -> Estimate:
        """The mean over rows."""
        return self.held.mean(action.row_risk)

    def steps(self, time: float) -> int:
        """That time in steps."""
        return self.pace.steps(time)

    @property
    def step_size(self) -> float:
        """The time of a step."""
        return self.pace.step_time

    def _facts(self) -> Facts | None:
        if not are_known(self.times, self.mixup_risk, self.plain_risk, self.null_risk):
            return None
        cost, held = self.overtraining_cost, self.held
        risk = self.risk_of(self.recommended) if self.beats_mean else held.mean(self.null_risk)
        return Facts(
            f"Advice: {self.in_words}",
            {
                "risk over that of the mean": _written(risk),
                f"cost of Mixup until t = {number(self.budget)}": f"{_written(cost, 100.0)} %",
            },
            {
                "held out": f"{counted(len(held.row), 'row')} in {counted(held.num_parts, 'part')}",
                "rows to train on": str(self.num_train),
                "step size": f"{number(self.step_size)} (stable below {number(self.largest_stable_step)})"
                if self.pace.trainer is None
                else f"that of your training, {number(self.step_size)} in time",
            },
        )

    def _picture(self) -> Picture:
        lines = []
        for name, colour, risk in (("Mixup", ORANGE, self.mixup_risk), ("no Mixup", BLUE, self.plain_risk)):
            mean, error = risk.mean(axis=0), self.held.standard_error(risk)
            lines.append(Line(name, colour, mean, band=(mean - error, mean + error)))
        action = self.recommended
        mark = Mark(action.time, "switch at" if action.name == "switch" else "stop at") if self.beats_mean else None
        across, up = f"training time ({TIME_UNIT})", "test error over the mean's"
        return Picture(self.times, tuple(lines), across, up, mark)


def _written(estimate: Estimate, factor: float = 1.0) -> str:
    return f"{number(factor * estimate.mean)} ± {number(factor * estimate.error)}"
