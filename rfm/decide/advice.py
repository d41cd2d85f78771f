"""Advice on one's own data: what over-training with Mixup would cost, when to stop, when to switch Mixup off.

Each part of the data is held out in turn. On the rest, training with Mixup, plain training, and every switch from the
first to the second have a closed form, and the held-out rows say what each of them would cost. Nothing is trained, so
all times of all parts take some seconds. Whatever is fitted to rows (means, scales, weights) is fitted to those that
are not held out.

Risks are relative to that of predicting the mean of the training targets, over all rows held out; an action's risk on a
row is that at the time which the other parts choose, so that choosing the time does not make it look better than it is.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import PRNGKeyArray

from rfm.data.datasets import Missing
from rfm.data.frames import arrays_of
from rfm.data.frozen import MixedFeatures
from rfm.decide.actions import SAME, Action, Advice, Risks
from rfm.decide.budget import Pace, Trainer, switch_times
from rfm.decide.estimates import HeldOut, Metric
from rfm.decide.featured import Errors, Features
from rfm.decide.parts import Asked, Parts, in_metric
from rfm.decide.splits import Ways
from rfm.mixup.law import ERM
from rfm.mixup.laws import Mixup
from theory.checks import check_type, untraced


@untraced
def advise(
    inputs: Any,
    targets: Any,
    *,
    features: Features,
    law: Mixup | None = None,
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
) -> Advice:
    """When to stop training with Mixup, or to switch it off, for data of one's own.

    Args:
        inputs: one row a sample, as they are: each training part is scaled by itself, column by column, or images
            (arrays of three axes or more) by one standard deviation. A DataFrame is read as `rfm.data.load_table` reads
            files: text becomes columns of zeros and ones.
        targets: numbers, one column a target; or whole numbers that stand for classes; or names of the DataFrame's
            columns.
        features: of scaled inputs, or ``raw``: these themselves and a constant. Of a frozen network, which is
            given inputs as they are: an `rfm.data.Encoder`; or its `rfm.data.MixedFeatures`, and then the inputs are
            its features of the rows themselves.
        law: the Mixup to look at; None for fresh pairs with ratios from Beta(1, 1).
        num_folds: K, at random, every class in each; each fold is held out once.
        num_held_out: hold out that many random rows once instead.
        folds: the fold of each row instead. Rows of fold -1 are never held out, as in scikit-learn's
            ``PredefinedSplit``; with one fold beside them, its rows are held out once.
        groups: what each row belongs to instead, such as a patient: whole groups are held out, in K folds.
        order: when each row was taken instead: each of K blocks is held out from all rows of earlier times.
        splits: pairs of indices (to train on, held out) instead, such as scikit-learn's splitters give.
        metric: what is compared, ``squared-error`` or, of classes, ``accuracy``; both are kept.
        missing: ``mean`` fills in inputs that are NaN by their column's mean over the rows to train on.
        num_components: so many principal components, of the scaled inputs of the rows to train on, take the place of
            the inputs; None for these themselves.
        budget: when training ends; unit 1/eigenvalue. None for `BUDGET` over the largest eigenvalue.
        step_size: None for half of the largest stable one, 2/mu_max; or
        trainer: how your own code trains, which says what a step and an epoch are.
        num_times: of the curves, evenly in log t; about as many switches, evenly in log t and in log of what is left.
        tolerance: relative, of the average over the ratio's law; see `rfm.expected_mixup`.
        key: draws folds, and pairs where the law draws them.
        progress: called with 1 after each part.

    Raises:
        ValueError: too few rows for the folds, values that are not finite, constant targets, a number out of range, two
            ways to choose rows to hold out, a class that some part does not train on, accuracy of numbers.

    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(100, 3))
    >>> y = x[:, 0] ** 2 + 0.5 * rng.normal(size=100)
    >>> features = rfm.RandomFeatures(input_dim=3, num_features=30, activation="relu", key=jax.random.key(0))
    >>> advice = rfm.advise(x, y, features=features, key=jax.random.key(1))
    >>> advice.mixup_risk.shape, advice.recommended.name
    ((100, 61), 'plain')
    """
    if law is not None and isinstance(features, MixedFeatures):
        raise ValueError(f"law: {law} is given beside features of rows that are mixed already; leave it out")
    law = Mixup(alpha=1.0, pairs="expected") if law is None else law
    check_type("law", law, Mixup, "rfm.Mixup(...)")
    ways = Ways(num_folds, num_held_out, folds, groups, order, splits)
    asked = Asked(ways, metric, missing, budget, step_size, trainer, num_times, num_components)
    asked.check()
    table = arrays_of(inputs, targets, missing=missing)
    given = asked.given(table.inputs, table.targets)
    parts = asked.parts(given, features, [law, ERM()], tolerance=tolerance, key=key, progress=progress)
    times, step_size = asked.times(parts)
    switches = switch_times(times)
    null, mixup, plain = parts.null(), parts.errors(0, times), parts.errors(1, times)
    errors = (null, mixup, plain, parts.errors_after(0, 1, switches, times[-1]))
    squared = Risks.of(*in_metric("squared-error", *errors))
    wrong = Risks.of(*in_metric("accuracy", *errors)) if metric == "accuracy" or _errs(null) else None
    risks, held = squared if wrong is None or metric == "squared-error" else wrong, parts.held
    rate = (lambda way: None) if wrong is None else (lambda way: wrong.unit * getattr(wrong, way))
    plain_stop = _action("plain", times, risks.plain, rate("plain"), held)
    stop = _action("stop", times, risks.mixup, rate("mixup"), held)
    return Advice(
        times=times,
        switch_times=switches,
        held=held,
        squared=squared,
        wrong=wrong,
        plain=plain_stop,
        stop=stop,
        switch=_action("switch", switches, risks.switched, rate("switched"), held),
        pace=Pace(step_size, trainer, parts.num_rows, parts.num_targets),
        trainer_error=None if trainer is None else _trainer_error(parts, trainer, ((0, stop), (1, plain_stop))),
        largest_stable_step=2 / parts.fastest,
        slowdown=_slowdown(law, parts, times, squared),
        num_train=min(len(part.split.train.labels) for part in parts.parts),
        metric=metric,
    )


def _slowdown(law: Mixup, parts: Parts, times: np.ndarray, squared: Risks) -> float | None:
    """By which plain training is training with Mixup on a slower clock; None where it is another training."""
    if not law.is_plain:
        return None
    slowdown = law.ratio.mean_same
    slowed = np.maximum(parts.errors(1, slowdown * times).squared / squared.unit, SAME)
    return slowdown if np.max(np.abs(squared.mixup - slowed)) < SAME else None


def _errs(null: Errors) -> bool:
    """Whether there are classes, and naming the most frequent one is ever wrong."""
    return null.wrong is not None and bool(np.any(null.wrong))


def _action(
    name: Literal["plain", "stop", "switch"],
    times: np.ndarray,
    risk: np.ndarray,
    wrong: np.ndarray | None,
    held: HeldOut,
) -> Action:
    """The best time, those that cannot be told from it, and what each row loses at the time that the others choose."""
    near = times[held.may_be_best(risk)]
    best, chosen = float(times[np.argmin(risk.mean(axis=0))]), held.times_of_others(risk)
    rows = np.arange(len(risk))
    rate = None if wrong is None else float(wrong[rows, chosen].mean())
    return Action(name, best, (float(near[0]), float(near[-1])), risk[rows, chosen], rate)


def _trainer_error(parts: Parts, trainer: Trainer, actions: Sequence[tuple[int, Action]]) -> float:
    """How far the risk at a stop is from that after as many steps of what the trainer follows, as a share of it."""
    off = []
    for index, action in actions:
        steps = np.maximum(1, np.round(np.asarray([action.time]) / trainer.step_time(parts.num_targets)))
        stepped, flowing = (np.mean(parts.errors(index, *clock).squared) for clock in
                            ((steps, trainer.rule(parts.num_targets)), (np.asarray([action.time]),)))  # fmt: skip
        off.append(abs(stepped / flowing - 1) if flowing else 0.0)
    return float(max(off))
