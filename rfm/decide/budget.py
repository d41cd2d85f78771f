"""When training ends, at which times it may stop before, and what a step and an epoch of one's own training are."""

from typing import Literal, NamedTuple, get_args

import equinox as eqx
import numpy as np

import theory
from theory.checks import check_choice, check_count, check_positive, described
from theory.views import number

BUDGET = 1e4
"""When training ends unless said otherwise, in units of 1/mu_max: as many steps of the default step size."""
LONGEST = 1e10
"""The longest budget, likewise: up to it the Gram route keeps its digits."""
FIRST = 0.1
"""The first time that is looked at, likewise."""

Loss = Literal["mse", "sum", "half"]
LOSSES: tuple[Loss, ...] = get_args(Loss)


def training_times(
    largest: float,
    budget: float | None,
    trainer: "Trainer | None",
    step_size: float | None,
    num_targets: int,
    number: int,
    from_a_step_on: bool = False,
) -> tuple[np.ndarray, float]:
    """Times to stop at, evenly in their logarithm, the last of them the budget; and the step size.

    Raises:
        ValueError: features that are all zero, a budget that cannot be resolved or is over before the first step, a
            step that diverges.

    >>> times, step_size = training_times(2.0, None, None, None, 1, 4)
    >>> times.round(2).tolist(), step_size
    ([0.05, 2.32, 107.72, 5000.0], 0.5)
    """
    if largest == 0:
        raise ValueError("features: all of them are zero on the training rows; pass inputs that vary")
    budget = BUDGET / largest if budget is None else budget
    if budget * largest > LONGEST:
        raise ValueError(f"budget: {budget:g} is longer than can be resolved; pass at most {LONGEST / largest:.3g}")
    if trainer is not None:
        trainer.check_stable(largest, num_targets)
        step_size = trainer.step_time(num_targets)
    elif step_size is None:
        step_size = 1 / largest
    else:
        theory.GradientDescent(step_size, 0.0).check_stable(largest)
    if budget < step_size:
        raise ValueError(
            f"budget: {budget:g} is over before the first step, of {step_size:.3g}; pass some steps' time, such as "
            f"{BUDGET / largest:.3g}"
        )
    first = step_size if from_a_step_on else min(FIRST / largest, budget / 10)
    return np.geomspace(first, budget, number), step_size


def switch_times(times: np.ndarray) -> np.ndarray:
    """Early ones, late ones, and never: what the plain leg undoes, it undoes in little time."""
    first, budget, number = times[0], times[-1], len(times)
    early = np.geomspace(first, budget / 2, number // 2)
    return np.concatenate([early, budget - early[-2::-1], [budget]])


class Trainer(eqx.Module):
    """How one's own code trains the last layer, in its own words; turns epochs into time and back.

    A step moves weights by the gradient of the mean over a batch of |y - theta . phi|^2, times the learning rate. Twice
    the learning rate, over the number of targets where the mean is over these too, is time; with momentum it lasts
    1 / (1 - momentum) times as long (`rfm.Advice.trainer_error` has how wrong that is on the data).

    Args:
        learning_rate: as it is passed to the optimizer.
        batch_size: rows of a step.
        momentum: of heavy ball, as PyTorch's SGD has it; in [0, 1).
        loss: ``mse``, the mean of squares over rows and targets, as PyTorch and Keras have it; ``sum``, over targets
            the sum, over rows the mean; ``half``, half of that, as here.
        optimizer: ``sgd``. Others have no clock: Adam steps each weight at a rate of its own.

    Raises:
        ValueError: a number out of range, a loss or an optimizer that has no time.

    >>> trainer = Trainer(learning_rate=0.01, batch_size=64, momentum=0.9)
    >>> trainer.steps_in_epoch(1000), round(trainer.step_time(num_targets=1), 6)
    (16, 0.2)
    """

    learning_rate: float
    batch_size: int
    momentum: float = 0.0
    loss: Loss = "mse"
    optimizer: str = "sgd"

    def __check_init__(self) -> None:
        check_positive("learning_rate", self.learning_rate)
        check_count("batch_size", self.batch_size)
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum: must lie in [0, 1), got {described(self.momentum)}")
        check_choice("loss", self.loss, LOSSES)
        if self.optimizer.lower() != "sgd":
            raise ValueError(
                f"optimizer: {self.optimizer} has no training time: it steps each weight at a rate of its own, and "
                "follows no gradient flow; train the last layer by sgd, with momentum if you like"
            )

    def steps_in_epoch(self, num_rows: int) -> int:
        """Batches in which each row comes once, the last one perhaps small."""
        return -(-num_rows // self.batch_size)

    def step_time(self, num_targets: int) -> float:
        """The time of a step; unit 1/eigenvalue."""
        return self._step_size(num_targets) / (1 - self.momentum)

    def epochs_time(self, epochs: float, num_rows: int, num_targets: int) -> float:
        """The time of so many epochs."""
        return epochs * self.steps_in_epoch(num_rows) * self.step_time(num_targets)

    def epochs(self, time: float, num_rows: int, num_targets: int) -> float:
        """How many epochs that time lasts."""
        return time / (self.steps_in_epoch(num_rows) * self.step_time(num_targets))

    def rule(self, num_targets: int) -> theory.HeavyBall | theory.GradientDescent:
        """What it follows in the mean over batches, step by step."""
        step_size = self._step_size(num_targets)
        return theory.HeavyBall(step_size, self.momentum) if self.momentum else theory.GradientDescent(step_size, 0.0)

    def check_stable(self, largest: float, num_targets: int) -> None:
        """Raises ValueError if it diverges at that largest eigenvalue."""
        rule, learning_rate = self.rule(num_targets), float(self.learning_rate)
        most = float(rule.largest_stable_step(largest)) * learning_rate / self._step_size(num_targets)
        if learning_rate >= most:
            raise ValueError(f"learning_rate: {learning_rate:g} diverges on these features; pass less than {most:.3g}")

    def _step_size(self, num_targets: int) -> float:
        return self.learning_rate * {"mse": 2 / num_targets, "sum": 2.0, "half": 1.0}[self.loss]


class Pace(NamedTuple):
    """What a step and an epoch are: turns times into them.

    Attributes:
        step_time: unit 1/eigenvalue.
        trainer: in whose words; None for steps alone.
        num_rows: of an epoch.
        num_targets: of each row.
    """

    step_time: float
    trainer: Trainer | None
    num_rows: int
    num_targets: int

    def steps(self, time: float) -> int:
        """That time in steps."""
        return round(time / self.step_time)

    def epochs(self, time: float) -> float | None:
        """That time in epochs, where it is known what an epoch is."""
        return None if self.trainer is None else self.trainer.epochs(time, self.num_rows, self.num_targets)

    @property
    def unit(self) -> float:
        """The time of an epoch, or of a step where it is not known what an epoch is."""
        if self.trainer is None:
            return self.step_time
        return self.trainer.epochs_time(1, self.num_rows, self.num_targets)

    def in_words(self, time: float) -> str:
        """As in: stop after ...

        >>> Pace(0.2, Trainer(0.01, 64, momentum=0.9), 1000, 1).in_words(118.4)
        'epoch 37 (592 steps, t = 118)'
        >>> Pace(0.2, None, 1000, 1).in_words(118.4)
        '592 steps (t = 118)'
        """
        epochs, steps = self.epochs(time), self.steps(time)
        if epochs is None:
            return f"{steps} steps (t = {number(time)})"
        if epochs < 1:
            return f"{number(epochs)} of the first epoch ({steps} steps, t = {number(time)})"
        return f"epoch {round(epochs)} ({steps} steps, t = {number(time)})"
