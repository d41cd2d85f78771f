"""Advice on one's own data: what over-training with Mixup would cost, when to stop, when to switch Mixup off.

Each part of the data is held out in turn. On the rest, training with Mixup, plain training, and every switch from the
first to the second have a closed form, and the held-out part says what each of them would cost. Nothing is trained, so
all times of all folds take some seconds. Whatever is fitted to rows (means, scales, weights) is fitted to those that
are not held out.

Risks are relative to that of predicting the mean of the training targets, over all parts; an action's risk on a part
is that at the time which the other parts choose, so that choosing the time does not make it look better than it is.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, PRNGKeyArray

import theory
from rfm.checks import check_key
from rfm.data.datasets import Scaling, as_numbers, check_varies
from rfm.data.sample import Sample
from rfm.expected.problem import expected_mixup
from rfm.features import FeatureMap, check_features
from rfm.mixup.laws import ERM, Mixup
from rfm.problem import Problem, Solvable
from rfm.synthesis import synthesize
from theory import Spectrum, TestSet
from theory.checks import check_count, check_positive, check_type, described, untraced
from theory.switching import switched

BUDGET = 1e4
"""When training ends unless said otherwise, in units of 1/mu_max: as many steps of the default step size."""
FIRST = 0.1
"""The first time that is looked at, likewise."""
LONGEST = 1e10
"""The longest budget, likewise: up to it the Gram route keeps its digits."""
RESAMPLES = 1000
COVERAGE = 0.9
"""Of resampled parts: the share of their times that an interval holds."""
MEASURED_COVERAGE = 0.70
"""What such an interval is worth: the share of 300 simulated data sets in which it held the best time of the model that
is fitted to all rows (± 0.03; with Mixup and without; by ``python -m benchmarks.coverage``)."""
MEASURED_ERROR_COVERAGE = 0.77
"""The same of two standard errors of the difference between plain training and Mixup, each stopped. Of their risks it
was 0.86 and 0.87, of the cost of over-training 0.72, where standard errors of independent parts would have 0.95."""
MOST_GROUPS = 10
"""Of parts, that choose times for one another."""
SIGNIFICANT = 2.0
"""Standard errors that a difference must have to count."""
SAME = 1e-9
"""How far relative risks of two ways to train may be apart and be the same but for rounding: about the square of 16
epsilons times `LONGEST`, by which rounding may move a prediction then. Lower risks count as this one."""
NEVER_HELD_OUT = -1
"""The fold, as scikit-learn has it, of rows that are in all training parts."""
FLOW = theory.GradientFlow()


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
        return _estimate(self.part_risk)


class Advice(eqx.Module):
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
        return _excess(self.mixup_risk[:, -1], self.stop.part_risk)

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
        return _estimate(self.null_risk - self.lowest.part_risk)

    @property
    def beats_mean(self) -> bool:
        """Whether it shows that anything is learnt: the lowest risk is below that of the mean by two standard errors.

        If not, predicting the mean of the targets is the safer choice, and `recommended` says nothing.
        """
        return is_significant(self.gain_over_mean)

    def gain(self, action: Action) -> Estimate:
        """By how much the lowest action's risk is below this one's, part by part."""
        return _estimate(action.part_risk - self.lowest.part_risk)

    def steps(self, time: float) -> int:
        """That time in steps of the step size."""
        return round(time / self.step_size)


def is_significant(difference: Estimate) -> bool:
    """Whether a difference is more than two of its standard errors.

    >>> is_significant(Estimate(0.5, 0.1)), is_significant(Estimate(0.1, 0.1))
    (True, False)
    """
    return difference.mean > SIGNIFICANT * difference.error


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
    held_out = _held_out(len(inputs), num_folds, num_held_out, folds, fold_key)
    parts = []
    for index, rows in enumerate(held_out):
        rest = np.setdiff1d(np.arange(len(inputs)), rows)
        split = Split.of(inputs, targets, are_classes, rest, rows, phi)
        parts.append(_Part.of(split, features, law, tolerance, jax.random.fold_in(pair_key, index)))
        if progress is not None:
            progress(1)
    largest = max(float(spectrum.eigenvalues[0]) for part in parts for spectrum in (part.mixup, part.plain))
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
    is_slowed = bool(np.max(np.abs(mixup - slowed)) < SAME)
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


class Split(NamedTuple):
    """Rows to train on and rows held out, both prepared by the former alone."""

    train: Sample
    test: TestSet

    @staticmethod
    def of(
        inputs: np.ndarray,
        targets: np.ndarray,
        are_classes: bool,
        train: np.ndarray,
        test: np.ndarray,
        phi: FeatureMap,
    ) -> "Split":
        """Of the rows with those indices; what `rfm.data.datasets.as_numbers` has made of all of them.

        Classes too are taken less their mean on the rows to train on, so that weights of zero predict that mean.
        """
        scaling = Scaling.of(inputs[train], targets[train], are_classes)
        seen, new = scaling(inputs[train], targets[train]), scaling(inputs[test], targets[test])
        mean = jnp.mean(seen.targets, axis=0, keepdims=True)
        return Split(Sample(seen.inputs, seen.targets - mean, None), TestSet(phi(new.inputs), new.targets - mean))


class _Part(NamedTuple):
    """What is known of one training part, and the rows held out from it."""

    mixup: Spectrum
    plain: Spectrum
    test: TestSet

    @staticmethod
    def of(
        split: Split, features: FeatureMap | Literal["raw"], law: Mixup, tolerance: float, key: PRNGKeyArray
    ) -> "_Part":
        """Everything that costs something."""
        train, test = split
        phi = feature_map(features)
        if features == "raw" and law.is_expected:
            mixup: Solvable = linear_mixup(phi(train.inputs), train.labels, law, test)
        elif law.is_expected:
            mixup = expected_mixup(train, phi, law, population=test, method="gram", tolerance=tolerance)
        else:
            mixup = synthesize(train, phi, law, population=test, key=key)
        plain = synthesize(train, phi, ERM(), population=test)
        return _Part(_spectrum(mixup), _spectrum(plain), test)

    def errors(
        self, times: np.ndarray, switch_times: np.ndarray, slowdown: float, rows_alone: bool
    ) -> tuple[np.ndarray, ...]:
        """Squared errors of the mean of the rows trained on, which is zero, as [1], or [rows] of each row by itself.

        Then those of Mixup, of plain training, after each switch, of plain training on a slower clock: [1, times], or
        [rows, times].
        """
        grid, switches = jnp.asarray(times), jnp.asarray(switch_times)
        found = _errors(self.mixup, self.plain, self.test, grid, switches, jnp.asarray(slowdown))
        null = np.sum(np.asarray(self.test.targets) ** 2, axis=1)
        rows = (null, *map(np.asarray, found))
        return rows if rows_alone else tuple(np.mean(each, axis=0, keepdims=True) for each in rows)


def _spectrum(problem: Solvable) -> Spectrum:
    return problem.spectrum(problem.suggest_method(LONGEST))


@eqx.filter_jit
def _errors(
    mixup: Spectrum, plain: Spectrum, test: TestSet, times: Array, switch_times: Array, slowdown: Array
) -> tuple:
    """Squared errors of each held-out row, summed over targets; of whom, `_Part.errors` says."""
    at_the_end, _ = switched(mixup, plain, FLOW, times[-1], switch_times)
    on_clock = [theory.risk.weights(spectrum, FLOW, clock) for spectrum, clock in
                ((mixup, times), (plain, times), (plain, slowdown * times))]  # fmt: skip
    weights = (*on_clock[:2], at_the_end, on_clock[2])
    return tuple(
        jnp.sum((test.targets[:, None, :] - jnp.tensordot(test.features, theta, 1)) ** 2, axis=2) for theta in weights
    )


def linear_mixup(
    features: Float[Array, "samples features"], labels: Float[Array, "samples targets"], law: Mixup, population: TestSet
) -> Problem:
    """Expected Mixup of features that mix as their inputs do: n + 1 rows stand for all pairs and ratios.

    With s = E (lam^2 + (1 - lam)^2), C = s mean(phi phiᵀ) + (1 - s) mean(phi) mean(phi)ᵀ, and b likewise: the
    originals times the root of s, and their mean times the root of 1 - s.

    >>> law = rfm.Mixup(lam=0.5, pairs="expected")
    >>> test = rfm.TestSet(jnp.eye(2), jnp.ones(2))
    >>> problem = linear_mixup(jnp.asarray([[0.0, 1.0], [2.0, 1.0]]), jnp.ones((2, 1)), law, test)
    >>> problem.spectrum().eigenvalues.round(3).tolist()  # of [[1.5, 1.0], [1.0, 1.0]]
    [2.281, 0.219]
    """
    same = law.ratio.mean_same

    def rows(values: Array) -> Array:
        scale = len(values) + 1  # of the mean over the new rows
        mean = jnp.mean(values, axis=0)[None, :]
        return jnp.concatenate([(same * scale / len(values)) ** 0.5 * values, ((1 - same) * scale) ** 0.5 * mean])

    return Problem(rows(features), rows(labels), population=population)


def feature_map(features: FeatureMap | str) -> FeatureMap:
    """The map itself, or that of ``raw``.

    >>> feature_map("raw")(jnp.zeros((1, 2))).tolist()
    [[0.0, 0.0, 1.0]]
    """
    if callable(features):
        return features
    if not isinstance(features, str) or features != "raw":
        raise ValueError(
            f"features: {described(features)} is not known; pass a feature map, or 'raw' for the inputs themselves"
        )
    return _with_constant


def _with_constant(inputs: Float[Array, "samples inputs"]) -> Float[Array, "samples features"]:
    return jnp.concatenate([inputs, jnp.ones_like(inputs[:, :1])], axis=1)


def _held_out(
    num_rows: int, num_folds: int, num_held_out: int | None, folds: ArrayLike | None, key: PRNGKeyArray
) -> list[Int[np.ndarray, "rows"]]:
    """The rows of each part; two at least are left to train on."""
    if folds is not None:
        fold_of_row = np.asarray(folds)
        if fold_of_row.shape != (num_rows,):
            raise ValueError(f"folds: has shape {fold_of_row.shape}; pass one fold a row, shape ({num_rows},)")
        parts = _parts_of(fold_of_row)
        name, value = "folds", f"{len(parts)} folds"
    elif num_held_out is not None:
        check_count("num_held_out", num_held_out, least=2)
        parts = [np.sort(np.asarray(jax.random.permutation(key, num_rows))[:num_held_out])]
        name, value = "num_held_out", f"{num_held_out} rows held out"
    else:
        check_count("num_folds", num_folds, least=2)
        parts = [np.sort(part) for part in np.array_split(np.asarray(jax.random.permutation(key, num_rows)), num_folds)]
        name, value = "num_folds", f"{num_folds} folds"
    if num_rows - max(map(len, parts)) < 2 or min(map(len, parts)) < 1:
        raise ValueError(
            f"{name}: {value} of {num_rows} rows ask for too many; each part needs a row, and two others to train on"
        )
    return parts


def _parts_of(fold_of_row: np.ndarray) -> list[Int[np.ndarray, "rows"]]:
    """The rows of each fold but -1."""
    unknown = np.flatnonzero(fold_of_row != fold_of_row)  # NaN alone differs from itself
    if len(unknown):
        raise ValueError(
            f"folds: row {unknown[0]} has none (NaN; {len(unknown)} rows in all); pass the fold of every row, or -1 "
            "for rows that are never held out"
        )
    names = [fold for fold in np.unique(fold_of_row) if fold != NEVER_HELD_OUT]
    parts = [np.flatnonzero(fold_of_row == fold) for fold in names]
    if not parts:
        raise ValueError("folds: all are -1, so that no row is ever held out; pass the fold of each row that may be")
    if len(parts) == 1 and len(parts[0]) == len(fold_of_row):
        raise ValueError("folds: all rows are in one; pass two folds or more, or -1 for rows that are never held out")
    if len(parts) == 1:
        check_count("folds (rows of the only one that is held out)", len(parts[0]), least=2)
    return parts


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


def _estimate(values: Float[np.ndarray, "parts"]) -> Estimate:
    return Estimate(float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5))


def _excess(above: Float[np.ndarray, "parts"], below: Float[np.ndarray, "parts"]) -> Estimate:
    """mean(above) / mean(below) - 1; the error is that of the linearised ratio."""
    ratio = above.mean() / below.mean()
    return Estimate(float(ratio - 1), _estimate((above - ratio * below) / below.mean()).error)
