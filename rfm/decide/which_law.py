"""Which law of mixing suits one's own data: every law on the same parts, against training without Mixup.

Each law is stopped at the time that the other parts choose, and its errors are taken from those of plain training row
by row: what is hard about a row is hard for both, and drops out. Of many laws the best looks better than it is; so a
difference must be as large as would be rare for any of them.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Literal

import equinox as eqx
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, PRNGKeyArray
from scipy.special import ndtr, ndtri

from rfm.data.datasets import Missing
from rfm.data.frames import arrays_of
from rfm.data.frozen import Encoder, MixedFeatures
from rfm.decide.actions import SAME
from rfm.decide.budget import Pace, Trainer
from rfm.decide.estimates import SIGNIFICANT, Estimate, HeldOut, Metric
from rfm.decide.featured import Features
from rfm.decide.parts import Asked, in_metric
from rfm.decide.splits import Ways
from rfm.mixup.law import ERM, Law
from rfm.mixup.laws import Mixup
from rfm.mixup.partners import OtherSamples, SameClass, SimilarLabels
from theory.checks import check_type, untraced
from theory.views import (
    BLACK,
    BLUE,
    BROWN,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    TIME_UNIT,
    VERMILION,
    Facts,
    Line,
    Picture,
    Shown,
    counted,
    number,
)

NO_MIXUP = "no Mixup"
MOST_ROWS = 1e6
"""That are counted; nobody collects more to tell two laws apart."""
COLOURS = (BLACK, ORANGE, SKY, GREEN, BLUE, VERMILION, PURPLE, BROWN)


def usual_laws(
    *, are_classes: bool, pairs: int | Literal["expected"] = "expected", choose: bool = True
) -> dict[str, Law]:
    """The laws that are compared unless others are given, by name; the first is plain training.

    Ratios drawn from three Beta laws; never a row with itself; half of the rows unmixed, as RegMixup has it; partners
    of similar labels (C-Mixup) at two bandwidths, in standard deviations of the targets, or of the same class, if
    partners may be chosen.

    >>> list(usual_laws(are_classes=True))[-2:]
    ['RegMixup', 'same class']
    """
    uniform = partial(Mixup, alpha=1.0, pairs=pairs)
    laws: dict[str, Law] = {NO_MIXUP: ERM()}
    laws |= {f"Mixup, alpha {alpha:g}": Mixup(alpha=alpha, pairs=pairs) for alpha in (0.2, 1.0, 5.0)}
    laws |= {"never itself": uniform(partners=OtherSamples()), "RegMixup": uniform(share=0.5)}
    if not choose:
        return laws
    if are_classes:
        return laws | {"same class": uniform(partners=SameClass())}
    return laws | {f"C-Mixup, bandwidth {h:g}": uniform(partners=SimilarLabels(h)) for h in (0.3, 1.0)}


class LawComparison(Shown, eqx.Module):
    """Risks of several laws on the same rows held out, relative to predicting the mean of the training targets.

    Attributes:
        names: of the laws; the first is what the others are compared with.
        times: at which each may stop; unit 1/eigenvalue.
        held: who the rows are that were held out, in the order of all risks.
        risk: of each law at each time.
        row_risk: of each law, at the time that the other parts choose.
        pace: that turns times into steps and epochs.
        metric: ``squared-error`` or ``accuracy``.
    """

    names: tuple[str, ...] = eqx.field(static=True)
    times: Float[np.ndarray, "times"]
    held: HeldOut
    risk: Float[np.ndarray, "laws rows times"]
    row_risk: Float[np.ndarray, "laws rows"]
    pace: Pace
    metric: Metric = eqx.field(static=True)

    @property
    def stops(self) -> Float[np.ndarray, "laws"]:
        """Where the mean risk of each law is lowest; unit 1/eigenvalue."""
        return self.times[np.argmin(self.risk.mean(axis=1), axis=1)]

    @property
    def errors_to_tell(self) -> float:
        """How many errors a gain must have, so that chance gives any as much no more often than it gives one two.

        Bonferroni's bound, whatever the dependence: the laws share their rows.
        """
        return -float(ndtri(ndtr(-SIGNIFICANT) / (len(self.names) - 1)))

    def gain(self, index: int) -> Estimate:
        """By how much that law's risk is below that of the first, row by row."""
        return self.held.difference(self.row_risk[0], self.row_risk[index])

    def risk_of(self, index: int) -> Estimate:
        """The mean over rows."""
        return self.held.mean(self.row_risk[index])

    def is_better(self, index: int) -> bool:
        """Whether it shows that this law beats the first one, all comparisons in mind."""
        gain = self.gain(index)
        return gain.mean > self.errors_to_tell * gain.error

    @property
    def recommended(self) -> int:
        """Of the laws that are better than the first the one of lowest risk; the first if there is none."""
        better = [index for index in range(1, len(self.names)) if self.is_better(index)]
        return min(better, key=lambda index: self.row_risk[index].mean(), default=0)

    def rows_to_tell(self, index: int) -> float:
        """About how many units (rows, or groups) would show that this law is better, if its gain stayed as it is.

        Infinite where there is no gain.
        """
        gain = self.gain(index)
        if gain.mean <= 0:
            return math.inf
        return self.held.num_units * (self.errors_to_tell * gain.error / gain.mean) ** 2

    @property
    def in_words(self) -> str:
        """What the comparison says."""
        best = min(range(len(self.names)), key=lambda index: self.row_risk[index].mean())
        if self.recommended:
            name, gain = self.names[self.recommended], self.gain(self.recommended)
            return f"{name} is better than {self.names[0]}, by {_written(gain)}"
        if best == 0:
            return f"no law has a lower risk than {self.names[0]}"
        rows = self.rows_to_tell(best)
        return (
            f"no law shows to be better than {self.names[0]}; {self.names[best]} has a risk lower by "
            f"{_written(self.gain(best))}, which it would take about {rounded(rows)} rows to tell"
        )

    def _facts(self) -> Facts:
        lowest = {name: _written(self.risk_of(index)) for index, name in enumerate(self.names)}
        return Facts(
            f"Laws: {self.in_words}",
            lowest,
            {
                "held out": f"{counted(len(self.held.row), 'row')} in {counted(self.held.num_parts, 'part')}",
                "a gain counts from": f"{number(self.errors_to_tell)} errors on",
            },
        )

    def _picture(self) -> Picture:
        lines = []
        for index, (name, risk) in enumerate(zip(self.names, self.risk, strict=True)):
            lines.append(Line(name, COLOURS[index] if index < len(COLOURS) else GREY, risk.mean(axis=0)))
        return Picture(self.times, tuple(lines), f"training time ({TIME_UNIT})", "test error over the mean's", None)


def _written(estimate: Estimate) -> str:
    return f"{number(estimate.mean)} ± {number(estimate.error)}"


def rounded(rows: float) -> str:
    """A number of rows to two digits.

    >>> rounded(1234.0), rounded(3e7)
    ('1200', 'over a million')
    """
    if rows > MOST_ROWS:
        return "over a million"
    return str(int(round(rows, 1 - math.floor(math.log10(max(rows, 1))))))


@untraced
def compare_laws(
    inputs: Any,
    targets: Any,
    *,
    features: Features,
    laws: Mapping[str, Law] = MappingProxyType({}),
    num_folds: int = 5,
    num_held_out: int | None = None,
    folds: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    order: ArrayLike | None = None,
    splits: Iterable[tuple[Any, Any]] | None = None,
    metric: Metric = "squared-error",
    missing: Missing = "refuse",
    num_components: int | None = None,
    budget: float | None = None,
    step_size: float | None = None,
    trainer: Trainer | None = None,
    num_times: int = 61,
    tolerance: float = 1e-3,
    key: PRNGKeyArray,
    progress: Callable[[int], object] | None = None,
) -> LawComparison:
    """Which law of mixing has the lowest risk on rows that were held out, and whether that shows.

    All arguments but ``laws`` are those of `rfm.advise`.

    Args:
        inputs: one row a sample.
        targets: numbers, or whole numbers that stand for classes.
        features: of scaled inputs, ``raw``, or an `rfm.data.Encoder`, for which partners are any or others.
        laws: by name, `rfm.Mixup` or `rfm.ERM`, two at least; the first is what the others are compared with. If none
            is given, `usual_laws`.
        num_folds: K random folds; or
        num_held_out: so many rows, once; or
        folds: the fold of each row; or
        groups: what each row belongs to; or
        order: when each row was taken; or
        splits: pairs of indices.
        metric: ``squared-error`` or ``accuracy``.
        missing: ``refuse`` or ``mean``.
        num_components: of the inputs, in their place.
        budget: when training ends.
        step_size: that of a step; or
        trainer: how your own code trains.
        num_times: of the curves.
        tolerance: of expected Mixup.
        key: draws folds, and pairs where laws draw them, from one key for all.
        progress: called with 1 after each part.

    Raises:
        ValueError: fewer than two laws; as `rfm.advise`.

    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(60, 2))
    >>> y = x[:, 0] ** 2 + 0.1 * rng.normal(size=60)
    >>> features = rfm.RandomFeatures(input_dim=2, num_features=20, activation="relu", key=jax.random.key(0))
    >>> laws = {"no Mixup": rfm.ERM(), "Mixup": rfm.Mixup(alpha=1.0, pairs="expected")}
    >>> found = compare_laws(x, y, features=features, laws=laws, num_times=9, key=jax.random.key(1))
    >>> found.names[found.recommended]
    'no Mixup'
    """
    ways = Ways(num_folds, num_held_out, folds, groups, order, splits)
    asked = Asked(ways, metric, missing, budget, step_size, trainer, num_times, num_components)
    asked.check()
    table = arrays_of(inputs, targets, missing=missing)
    given = asked.given(table.inputs, table.targets)
    if isinstance(features, MixedFeatures):
        raise ValueError(
            "features: rows that are mixed already are of one law, which rfm.advise compares with none; pass an Encoder"
        )
    # An encoder's pairs are drawn for all parts together, so that partners must not hang on rows.
    laws = dict(laws) or usual_laws(are_classes=given.data.codes is not None, choose=not isinstance(features, Encoder))
    for name, law in laws.items():
        check_type(f"laws[{name!r}]", law, (Mixup, ERM), "rfm.Mixup(...) or rfm.ERM()")
    if len(laws) < 2:
        raise ValueError(f"laws: there is one, {next(iter(laws))!r}, and nothing to compare it with; pass two or more")
    parts = asked.parts(given, features, list(laws.values()), tolerance=tolerance, key=key, progress=progress)
    times, step_size = asked.times(parts)
    null, *curves = in_metric(metric, parts.null(), *(parts.errors(index, times) for index in range(len(laws))))
    risk = np.maximum(np.stack(curves) / null.mean(), SAME)
    row_risk = np.stack([parts.held.at_times_of_others(law) for law in risk])
    return LawComparison(
        tuple(laws),
        times,
        parts.held,
        risk,
        row_risk,
        Pace(step_size, trainer, parts.num_rows, parts.num_targets),
        metric,
    )
