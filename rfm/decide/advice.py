"""Advice on one's own data: what over-training with Mixup would cost, when to stop, when to switch Mixup off.

Each part of the data is held out in turn. On the rest, training with Mixup, plain training, and every switch from the
first to the second have a closed form, and the held-out part says what each of them would cost. Nothing is trained, so
all times of all folds take some seconds. Whatever is fitted to rows (means, scales, weights) is fitted to those that
are not held out.

Risks are relative to that of predicting the mean of the training targets, over all parts; an action's risk on a part
is that at the time which the other parts choose, so that choosing the time does not make it look better than it is.
"""

from collections.abc import Callable
from typing import Literal

import jax
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, PRNGKeyArray

import theory
from rfm.checks import check_key
from rfm.data.datasets import as_numbers, check_varies
from rfm.decide.actions import SAME, Action, Advice
from rfm.decide.parts import LONGEST, Part, Split, feature_map, held_out_rows
from rfm.features import FeatureMap, check_features
from rfm.mixup.laws import Mixup
from theory.checks import check_count, check_positive, check_type, untraced

BUDGET = 1e4
"""When training ends unless said otherwise, in units of 1/mu_max: as many steps of the default step size."""
FIRST = 0.1
"""The first time that is looked at, likewise."""
RESAMPLES = 1000
COVERAGE = 0.9
"""Of resampled parts: the share of their times that an interval holds."""
MOST_GROUPS = 10
"""Of parts, that choose times for one another."""


@untraced
def advise(
    inputs: ArrayLike,
    targets: ArrayLike,
    *,
    features: FeatureMap | Literal["raw"],
    law: Mixup | None = None,
    num_folds: int = 5,
    num_held_out: int | None = None,
    folds: ArrayLike | None = None,
    budget: float | None = None,
    step_size: float | None = None,
    num_times: int = 61,
    tolerance: float = 1e-3,
    key: PRNGKeyArray,
    progress: Callable[[int], object] | None = None,
) -> Advice:
    """When to stop training with Mixup, or to switch it off, for data of one's own.

    Args:
        inputs: one row a sample, as they are: each training part is standardised by itself.
        targets: numbers, one column a target; or whole numbers that stand for classes.
        features: of standardised inputs; ``raw`` takes these themselves, say a frozen network's, and a constant.
        law: the Mixup to look at; None for fresh pairs with ratios from Beta(1, 1).
        num_folds: K, at random; each fold is held out once.
        num_held_out: hold out that many random rows once instead.
        folds: the fold of each row instead, for rows that belong together. Rows of fold -1 are never held out, as in
            scikit-learn's ``PredefinedSplit``; with one fold beside them, its rows are held out once.
        budget: when training ends; unit 1/eigenvalue. None for `BUDGET` over the largest eigenvalue.
        step_size: None for half of the largest stable one, 2/mu_max.
        num_times: of the curves, evenly in log t; about as many switches, evenly in log t and in log of what is left.
        tolerance: relative, of the average over the ratio's law; see `rfm.expected_mixup`.
        key: draws folds, resampled parts, and pairs where the law draws them.
        progress: called with 1 after each part.

    Raises:
        ValueError: too few rows for the folds, values that are not finite, constant targets, a number out of range.

    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(100, 3))
    >>> y = np.sin(2 * x[:, 0]) + 0.5 * rng.normal(size=100)
    >>> features = rfm.RandomFeatures(input_dim=3, num_features=30, activation="relu", key=jax.random.key(0))
    >>> advice = rfm.advise(x, y, features=features, key=jax.random.key(1))
    >>> advice.mixup_risk.shape, advice.recommended.name
    ((5, 61), 'stop')
    """
    law = Mixup(alpha=1.0, pairs="expected") if law is None else law
    check_type("law", law, Mixup, "rfm.Mixup(...)")
    check_count("num_times", num_times, least=4)
    check_positive("tolerance", tolerance)
    check_key("key", key)
    for name, value in (("budget", budget), ("step_size", step_size)):
        if value is not None:
            check_positive(name, value)
    inputs, targets, are_classes = as_numbers(inputs, targets)
    phi = feature_map(features)
    check_features(phi, inputs.shape[1])
    check_varies("targets", targets)
    check_varies("inputs", inputs)
    targets = targets.reshape(-1, 1) if targets.ndim < 2 else targets
    fold_key, resample_key, pair_key = jax.random.split(key, 3)
    held_out = held_out_rows(len(inputs), num_folds, num_held_out, folds, fold_key)
    parts = []
    for index, rows in enumerate(held_out):
        rest = np.setdiff1d(np.arange(len(inputs)), rows)
        split = Split.of(inputs, targets, are_classes, rest, rows, phi)
        parts.append(Part.of(split, features, law, tolerance, jax.random.fold_in(pair_key, index)))
        if progress is not None:
            progress(1)
    largest = max(spectrum.fastest for part in parts for spectrum in (part.mixup, part.plain))
    budget, step_size = _checked_budget(budget, largest), _checked_step(step_size, largest)
    if budget < step_size:
        raise ValueError(
            f"budget: {budget:g} is over before the first step, of {step_size:.3g}; pass some steps' time, such as "
            f"{BUDGET / largest:.3g}"
        )
    first = min(FIRST / largest, budget / 10)
    times = np.geomspace(first, budget, num_times)
    switch_times = _switch_times(first, budget, num_times)
    rows_alone = len(parts) == 1
    slowdown = law.ratio.mean_same
    errors = [part.errors(times, switch_times, slowdown, rows_alone) for part in parts]
    null, *curves = (np.concatenate(column) for column in zip(*errors, strict=True))
    unit = null.mean()  # of all parts together: that of a single row may be next to nothing
    if unit == 0:
        raise ValueError("targets: what is held out holds nothing but the mean; hold out other or more rows")
    mixup, plain, switched, slowed = (np.maximum(error / unit, SAME) for error in curves)
    is_slowed = law.is_plain and bool(np.max(np.abs(mixup - slowed)) < SAME)
    counts = _resampled(len(mixup), resample_key)
    return Advice(
        times=times,
        mixup_risk=mixup,
        plain_risk=plain,
        null_risk=null / unit,
        switch_times=switch_times,
        switch_risk=switched,
        plain=_action("plain", times, plain, counts),
        stop=_action("stop", times, mixup, counts),
        switch=_action("switch", switch_times, switched, counts),
        step_size=step_size,
        largest_stable_step=2 / largest,
        slowdown=slowdown if is_slowed else None,
        num_train=len(inputs) - max(map(len, held_out)),
        has_folds=not rows_alone,
    )


def _checked_budget(budget: float | None, largest: float) -> float:
    if largest == 0:
        raise ValueError("features: all of them are zero on the training rows; pass inputs that vary")
    if budget is None:
        return BUDGET / largest
    if budget * largest > LONGEST:
        raise ValueError(f"budget: {budget:g} is longer than can be resolved; pass at most {LONGEST / largest:.3g}")
    return budget


def _switch_times(first: float, budget: float, number: int) -> np.ndarray:
    """Early ones, late ones, and never: what the plain leg undoes, it undoes in little time."""
    early = np.geomspace(first, budget / 2, number // 2)
    return np.concatenate([early, budget - early[-2::-1], [budget]])


def _checked_step(step_size: float | None, largest: float) -> float:
    if step_size is None:
        return 1 / largest
    theory.GradientDescent(step_size, 0.0).check_stable(largest)
    return step_size


def _action(
    name: Literal["plain", "stop", "switch"], times: np.ndarray, risk: np.ndarray, counts: np.ndarray
) -> Action:
    """The best time, the one of each resampling, and the risk on each part at the time that the others choose."""
    low, high = np.quantile(times[np.argmin(counts @ risk, axis=1)], [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2],
                            method="nearest")  # fmt: skip
    best = float(times[np.argmin(risk.mean(axis=0))])
    return Action(name, best, (float(low), float(high)), _at_times_of_others(risk))


def _at_times_of_others(risk: Float[np.ndarray, "parts times"]) -> Float[np.ndarray, "parts"]:
    """Each part's risk at the time that is best for the other groups of parts.

    Groups, since single rows that are left out would turn the choice just where they themselves are worst.
    """
    group = np.arange(len(risk)) % MOST_GROUPS
    others = np.stack([risk[group != index].sum(axis=0) for index in range(group.max() + 1)])
    return risk[np.arange(len(risk)), np.argmin(others, axis=1)[group]]


def _resampled(num_parts: int, key: PRNGKeyArray) -> Float[np.ndarray, "resamples parts"]:
    """How often each part is drawn when as many as there are are drawn with replacement."""
    drawn = np.asarray(jax.random.randint(key, (RESAMPLES, num_parts), 0, num_parts))
    return np.stack([np.bincount(row, minlength=num_parts) for row in drawn]).astype(float)
