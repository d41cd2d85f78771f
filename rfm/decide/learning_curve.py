"""Would more data help: the lowest risk, Mixup's gain and its price of over-training, against the number of rows.

Every part is trained on nested random subsets of its rows and judged by the rows held out from it, which are the same
at every size; so what is hard about them drops out of a comparison of sizes. Beyond the rows that there are, a quantity
is taken to go to its limit as one over the rows or over their root, whichever: the band holds what both say on
resampled rows. How well that does is tried where it can be: from the smaller sizes, the largest is foretold.
"""

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any, Literal, NamedTuple, get_args

import equinox as eqx
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, PRNGKeyArray

from rfm.data.datasets import Missing
from rfm.data.frames import arrays_of
from rfm.data.frozen import Encoder, MixedFeatures
from rfm.decide.actions import SAME
from rfm.decide.budget import Trainer
from rfm.decide.estimates import Estimate, HeldOut, Metric
from rfm.decide.featured import Features
from rfm.decide.parts import Asked, in_metric
from rfm.decide.splits import Ways
from rfm.mixup.law import ERM
from rfm.mixup.laws import Mixup
from theory.checks import check_count, untraced

Quantity = Literal["risk", "gain", "cost"]
QUANTITIES: tuple[Quantity, ...] = get_args(Quantity)
SHARES = (0.25, 0.35, 0.5, 0.7, 1.0)
"""Of the rows of a training part that subsets have."""
POWERS = (0.5, 1.0)
"""Of one over the rows, by which a quantity may go to its limit."""
RESAMPLES = 400
BAND = 0.05, 0.95


class Forecast(NamedTuple):
    """What a quantity may be at a number of rows: the middle of what is foretold, and the band about it."""

    middle: float
    low: float
    high: float


class LearningCurve(eqx.Module):
    """Training with and without Mixup on subsets of the rows, judged by the same rows held out at every size.

    Attributes:
        sizes: rows that are trained on, ascending; the mean over parts.
        held: who the rows are that were held out.
        plain_risk: of training without Mixup, at the time that the other parts choose; relative to predicting the mean.
        mixup_risk: of training with it.
        end_risk: of training with it to the end of the budget.
    """

    sizes: Float[np.ndarray, "sizes"]
    held: HeldOut
    plain_risk: Float[np.ndarray, "sizes rows"]
    mixup_risk: Float[np.ndarray, "sizes rows"]
    end_risk: Float[np.ndarray, "sizes rows"]

    def seen(self, quantity: Quantity, index: int) -> Estimate:
        """What was seen at one of the sizes.

        Args:
            quantity: ``risk``, of training without Mixup; ``gain``, by how much that with Mixup is below it; ``cost``,
                of over-training: Mixup's risk at the end over that at its stop, minus 1.
            index: of the size.
        """
        plain, mixup, end = self.plain_risk[index], self.mixup_risk[index], self.end_risk[index]
        if quantity == "risk":
            return self.held.mean(plain)
        return self.held.difference(plain, mixup) if quantity == "gain" else self.held.excess(end, mixup)

    def forecast(self, quantity: Quantity, num_rows: float) -> Forecast:
        """What that may be with so many rows to train on."""
        return self._forecast(quantity, num_rows, len(self.sizes))

    def largest_foretold(self, quantity: Quantity) -> tuple[Forecast, Estimate]:
        """What the smaller sizes foretell of the largest one, and what was seen there."""
        last = len(self.sizes) - 1
        return self._forecast(quantity, float(self.sizes[last]), last), self.seen(quantity, last)

    @property
    def in_words(self) -> str:
        """What twice the rows would do to the risk."""
        twice, here = 2 * float(self.sizes[-1]), self.seen("risk", len(self.sizes) - 1).mean
        risk = self.forecast("risk", twice)
        lowers = f"lowers the risk without Mixup from {here:.3g} to between {risk.low:.3g} and {risk.high:.3g}"
        shown = lowers if risk.high < here else "may or may not lower the risk: that does not show"
        return f"training on {twice:.0f} rows, twice as many, {shown}"

    @property
    def gain_in_words(self) -> str:
        """What Mixup would do there."""
        gain = self.forecast("gain", 2 * float(self.sizes[-1]))
        return "helps" if gain.low > 0 else "hurts" if gain.high < 0 else "may help or not"

    def _forecast(self, quantity: Quantity, num_rows: float, number: int) -> Forecast:
        """From that many of the sizes."""
        values = self._resampled(quantity)[:number]
        foretold = []
        for power in POWERS:
            basis, there = ((self.sizes[0] / rows) ** power for rows in (self.sizes[:number], num_rows))
            design = np.stack([np.ones(number), basis], axis=1)
            foretold.append(np.asarray([1.0, there]) @ np.linalg.lstsq(design, values, rcond=None)[0])
        middle = float(np.mean([each[0] for each in foretold]))  # the first is of the rows as they are
        widening = self.held.widening("difference")
        low, high = np.quantile(np.stack(foretold), BAND)
        least = {"risk": 0.0, "gain": -np.inf, "cost": -1.0}[quantity]
        band = middle - widening * (middle - float(low)), middle + widening * (float(high) - middle)
        return Forecast(*(max(least, value) for value in (middle, *band)))

    def _resampled(self, quantity: Quantity) -> Float[np.ndarray, "sizes resamples"]:
        """The quantity on units drawn with replacement; first on all of them."""
        rng = np.random.default_rng(0)
        often = rng.multinomial(self.held.num_units, np.full(self.held.num_units, 1 / self.held.num_units), RESAMPLES)
        weights = np.concatenate([np.ones((1, self.held.num_units)), often])[:, self.held.unit]
        weights = weights / weights.sum(axis=1, keepdims=True)
        plain, mixup, end = (risk @ weights.T for risk in (self.plain_risk, self.mixup_risk, self.end_risk))
        return {"risk": plain, "gain": plain - mixup, "cost": end / mixup - 1}[quantity]


@untraced
def learning_curve(
    inputs: Any,
    targets: Any,
    *,
    features: Features,
    law: Mixup | None = None,
    shares: tuple[float, ...] = SHARES,
    num_folds: int = 5,
    num_held_out: int | None = None,
    folds: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    order: ArrayLike | None = None,
    splits: Iterable[tuple[Any, Any]] | None = None,
    missing: Missing = "refuse",
    num_components: int | None = None,
    metric: Metric = "squared-error",
    budget: float | None = None,
    step_size: float | None = None,
    trainer: Trainer | None = None,
    num_times: int = 61,
    tolerance: float = 1e-3,
    key: PRNGKeyArray,
    progress: Callable[[int], object] | None = None,
) -> LearningCurve:
    """How the lowest risk, Mixup's gain and the cost of over-training go with the number of rows; see `rfm.advise`.

    Args:
        inputs: one row a sample.
        targets: numbers, or whole numbers that stand for classes.
        features: a feature map, or ``raw``.
        law: the Mixup to look at.
        shares: of the rows of a training part, ascending, three or more, at most 1.
        num_folds: K random folds; or
        num_held_out: so many rows, once; or
        folds: the fold of each row; or
        groups: what each row belongs to; or
        order: when each row was taken; or
        splits: pairs of indices.
        missing: ``refuse`` or ``mean``.
        num_components: of the inputs, in their place.
        metric: ``squared-error`` or ``accuracy``.
        budget: when training ends, at every size.
        step_size: that of a step; or
        trainer: how your own code trains.
        num_times: at which it may stop.
        tolerance: of expected Mixup.
        key: draws folds, subsets and pairs.
        progress: called with 1 after each part of each size.

    Raises:
        ValueError: shares that do not ascend, or make a subset that is too small or lacks a class; as `rfm.advise`.

    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(60, 2))
    >>> y = x[:, 0] + 0.3 * rng.normal(size=60)
    >>> found = learning_curve(x, y, features="raw", num_folds=3, num_times=9, key=jax.random.key(0))
    >>> found.sizes.tolist()
    [10.0, 14.0, 20.0, 28.0, 40.0]
    >>> found.forecast("risk", 80).high < found.seen("risk", 0).mean
    True
    """
    check_count("shares (how many)", len(shares), least=3)
    if not all(0 < low < high <= 1 for low, high in pairwise(shares)):
        raise ValueError(f"shares: must ascend and lie in (0, 1], got {shares}")
    if isinstance(features, Encoder | MixedFeatures):
        raise ValueError("features: subsets leave too few mixtures of a frozen network; pass a feature map, or 'raw'")
    law = Mixup(alpha=1.0, pairs="expected") if law is None else law
    asked = Asked(
        Ways(num_folds, num_held_out, folds, groups, order, splits),
        metric,
        missing,
        budget,
        None,
        None,
        num_times,
        num_components,
    )
    asked.check()
    table = arrays_of(inputs, targets, missing=missing)
    given = asked.given(table.inputs, table.targets)
    sizes = asked.parts_of(given, features, [law, ERM()], shares, tolerance=tolerance, key=key, progress=progress)
    times, _ = asked.times(sizes[-1])
    risks = []
    for parts in sizes:
        null, *curves = in_metric(metric, sizes[-1].null(), parts.errors(1, times), parts.errors(0, times))
        plain, mixup = (np.maximum(curve / null.mean(), SAME) for curve in curves)
        risks.append((parts.held.at_times_of_others(plain), parts.held.at_times_of_others(mixup), mixup[:, -1]))
    plain, mixup, end = (np.stack(column) for column in zip(*risks, strict=True))
    rows = np.asarray([np.mean([len(part.split.train.labels) for part in parts.parts]) for parts in sizes])
    return LearningCurve(rows, sizes[-1].held, plain, mixup, end)
