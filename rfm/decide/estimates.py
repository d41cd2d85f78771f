"""What rows that were held out say of a risk, a difference or a best time, and how far that can be trusted.

Rows are the units, or groups of rows that belong together. Their models share most of what they were trained on, and
are trained on fewer rows than there are; so what varies between rows is less than what varies between data sets, and no
unbiased estimate of that exists (bengio2004unbiased). Errors are therefore wider than standard errors by a factor that
was measured on simulated data, for the model fitted to all rows (`benchmarks.coverage`).
"""

from typing import Literal, NamedTuple, get_args

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float, Int

Metric = Literal["squared-error", "accuracy"]
METRICS: tuple[Metric, ...] = get_args(Metric)
WIDER, WIDER_OF_FEW = {"risk": 1.15, "difference": 1.4}, {"risk": 2.2, "difference": 1.4}
"""An error is the standard error over n units times WIDER + WIDER_OF_FEW / sqrt(n). Most of what rows have in common
drops out of a difference of two ways to train, but not what another training set would do to them."""
UNTOLD = 1.4
"""Standard errors by which the risk at a time may lie above the lowest, row by row, and be that of the best time."""
CALLED = 0.9
"""What both are calibrated to hold: the best times, and with 1.645 errors on either side the true risks."""
HELD = 0.84, 0.96
"""What they held, from the cost of over-training to the range of the switch (``python -m benchmarks.coverage``)."""
SIGNIFICANT = 2.0
"""Errors that a difference must have to count."""
MOST_GROUPS = 10
"""Of parts, that choose times for one another."""


class Estimate(NamedTuple):
    """A mean over rows that were held out, and its error: see `WIDER`."""

    mean: float
    error: float


class HeldOut(eqx.Module):
    """Who the rows are that were held out.

    Attributes:
        row: index in the data.
        part: in which it was held out, from 0.
        unit: what it belongs to, from 0: itself, or its group.
    """

    row: Int[np.ndarray, "rows"]
    part: Int[np.ndarray, "rows"]
    unit: Int[np.ndarray, "rows"]

    @property
    def num_parts(self) -> int:
        """How many parts there are."""
        return int(self.part.max()) + 1

    @property
    def num_units(self) -> int:
        """How many units there are."""
        return int(self.unit.max()) + 1

    def mean(self, values: Float[np.ndarray, "rows"]) -> Estimate:
        """The mean over rows.

        >>> HeldOut(np.arange(4), np.zeros(4, int), np.arange(4)).mean(np.asarray([0.0, 0.0, 1.0, 1.0])).mean
        0.5
        """
        return self._estimate("risk", values)

    def difference(self, above: Float[np.ndarray, "rows"], below: Float[np.ndarray, "rows"]) -> Estimate:
        """The mean over rows of what two ways to train differ by."""
        return self._estimate("difference", above - below)

    def _estimate(self, kind: Literal["risk", "difference"], values: Float[np.ndarray, "rows"]) -> Estimate:
        error = self.standard_error(values[:, None])[0]
        return Estimate(float(values.mean()), float(error * self.widening(kind)))

    def widening(self, kind: Literal["risk", "difference"]) -> float:
        """What a standard error is multiplied by, to be an error."""
        return WIDER[kind] + WIDER_OF_FEW[kind] / self.num_units**0.5

    def excess(self, above: Float[np.ndarray, "rows"], below: Float[np.ndarray, "rows"]) -> Estimate:
        """Of two ways to train, mean(above) / mean(below) - 1; the error is that of the linearised ratio."""
        ratio = above.mean() / below.mean()
        return Estimate(float(ratio - 1), self.difference(above / below.mean(), ratio * below / below.mean()).error)

    def standard_error(self, values: Float[np.ndarray, "rows times"]) -> Float[np.ndarray, "times"]:
        """Of the mean over rows, at each time: that of independent units."""
        units = self.num_units
        off = np.zeros((units, values.shape[1]))
        np.add.at(off, self.unit, values - values.mean(axis=0, keepdims=True))
        return np.sqrt(np.sum(off**2, axis=0) * units / max(units - 1, 1)) / len(values)

    def may_be_best(self, risk: Float[np.ndarray, "rows times"]) -> Bool[np.ndarray, "times"]:
        """At which times the risk cannot be told from the lowest one: it is not higher by `UNTOLD` standard errors."""
        lowest = risk[:, [int(np.argmin(risk.mean(axis=0)))]]
        higher = risk - lowest
        return higher.mean(axis=0) <= UNTOLD * self.standard_error(higher)

    def at_times_of_others(self, risk: Float[np.ndarray, "rows times"]) -> Float[np.ndarray, "rows"]:
        """Each row's risk at the time of `times_of_others`."""
        return risk[np.arange(len(risk)), self.times_of_others(risk)]

    def times_of_others(self, risk: Float[np.ndarray, "rows times"]) -> Int[np.ndarray, "rows"]:
        """The index of the time that is best for the rows of the other groups of parts, for each row.

        So choosing the time does not make it look better than it is. Groups, since single rows that are left out would
        turn the choice just where they themselves are worst; where there is one part, they are groups of its units.
        """
        group = (self.part if self.num_parts > 1 else self.unit) % MOST_GROUPS
        sums = np.zeros((int(group.max()) + 1, risk.shape[1]))
        np.add.at(sums, group, risk)
        return np.argmin(sums.sum(axis=0)[None, :] - sums, axis=1)[group]


def is_significant(difference: Estimate) -> bool:
    """Whether a difference is more than two of its errors.

    >>> is_significant(Estimate(0.5, 0.1)), is_significant(Estimate(0.1, 0.1))
    (True, False)
    """
    return difference.mean > SIGNIFICANT * difference.error
