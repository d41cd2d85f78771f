"""What is asked of one's own data, and its parts: each is held out in turn, and closed forms on the rest are asked."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Int, PRNGKeyArray

import theory
from rfm.checks import check_key
from rfm.data.datasets import Missing, as_numbers, check_varies
from rfm.decide.budget import LONGEST, Trainer, training_times
from rfm.decide.estimates import METRICS, HeldOut, Metric
from rfm.decide.featured import Data, Errors, Features, MappedFeatures, PartFeatures, Split, errors_of, featured
from rfm.decide.splits import Rows, Ways, check_subsets
from rfm.features import check_features
from rfm.mixup.law import Law
from rfm.solve import solve
from theory import Spectrum, TestSet
from theory.checks import check_choice, check_count, check_positive, untraced
from theory.classes import Classes
from theory.switching import switched

FLOW = theory.GradientFlow()


class Part(NamedTuple):
    """What is known of one training part under each law, and the rows held out from it."""

    split: Split
    spectra: tuple[Spectrum, ...]

    @staticmethod
    def of(
        data: Data, rows: Rows, features: PartFeatures, laws: Sequence[Law], tolerance: float, key: PRNGKeyArray
    ) -> "Part":
        """Everything that costs something; laws that draw pairs draw from the same key."""
        split = features.split(data, rows)
        problems = (features.problem(split, rows, law, tolerance, key) for law in laws)
        return Part(split, tuple(solve(problem, until=LONGEST).spectrum for problem in problems))

    def errors(self, index: int, times: np.ndarray, rule: theory.Rule = FLOW) -> Errors:
        """Under one of the laws, stopped at each of these times, or steps of a rule that counts them."""
        return _stopped(self.spectra[index], self.split.test, self.split.classes, rule, jnp.asarray(times))

    def errors_after(self, first: int, second: int, switch_times: np.ndarray, budget: float) -> Errors:
        """At the budget, trained by one law until each of these times and by another from there on."""
        end, switches = jnp.asarray(budget), jnp.asarray(switch_times)
        first_spectrum, second_spectrum = self.spectra[first], self.spectra[second]
        return _after(first_spectrum, second_spectrum, self.split.test, self.split.classes, end, switches)


class Parts(NamedTuple):
    """All parts, and who their held-out rows are."""

    parts: tuple[Part, ...]
    held: HeldOut
    num_rows: int

    @staticmethod
    def of(
        data: Data,
        splits: Sequence[Rows],
        units: Int[np.ndarray, "rows"],
        features: PartFeatures,
        laws: Sequence[Law],
        tolerance: float,
        key: PRNGKeyArray,
        num_rows: int,
        progress: Callable[[int], object] | None = None,
    ) -> "Parts":
        """Everything that costs something; progress is called with 1 after each part."""
        parts = []
        for index, rows in enumerate(splits):
            parts.append(Part.of(data, rows, features, laws, tolerance, jax.random.fold_in(key, index)))
            if progress is not None:
                progress(1)
        row = np.concatenate([rows.held_out for rows in splits])
        part = np.repeat(np.arange(len(splits)), [len(rows.held_out) for rows in splits])
        held = HeldOut(row, part, np.unique(units[row], return_inverse=True)[1])
        if held.num_units < 2:
            raise ValueError(
                "groups: all rows that are held out are in one group, so that no error is known; hold out more"
            )
        return Parts(tuple(parts), held, num_rows)

    @property
    def num_targets(self) -> int:
        """Columns of the targets; classes have one each."""
        return self.parts[0].split.test.targets.shape[1]

    @property
    def fastest(self) -> float:
        """The largest eigenvalue of all parts and laws."""
        return max(spectrum.fastest for part in self.parts for spectrum in part.spectra)

    def null(self) -> Errors:
        """Of predicting the mean of the targets trained on."""
        return Errors.joined([part.split.null() for part in self.parts])

    def errors(self, index: int, times: np.ndarray, rule: theory.Rule = FLOW) -> Errors:
        """As `Part.errors`, of all parts."""
        return Errors.joined([part.errors(index, times, rule) for part in self.parts])

    def errors_after(self, first: int, second: int, switch_times: np.ndarray, budget: float) -> Errors:
        """As `Part.errors_after`, of all parts."""
        return Errors.joined([part.errors_after(first, second, switch_times, budget) for part in self.parts])


class Given(NamedTuple):
    """One's own data: inputs of the shape in which they were passed, and all of it as numbers."""

    inputs: np.ndarray
    data: Data


class Asked(NamedTuple):
    """What is common to all questions; see `rfm.advise`."""

    ways: Ways
    metric: Metric
    missing: Missing
    budget: float | None
    step_size: float | None
    trainer: Trainer | None
    num_times: int
    num_components: int | None = None

    def given(self, inputs: ArrayLike, targets: ArrayLike) -> Given:
        """The data, checked."""
        data = Data.of(as_numbers(inputs, targets, missing=self.missing))
        check_varies("targets", data.targets)
        check_varies("inputs", data.inputs)
        if self.metric == "accuracy" and data.codes is None:
            raise ValueError(
                "metric: accuracy is of classes, and the targets are numbers; pass whole numbers that stand for "
                "classes, or metric='squared-error'"
            )
        return Given(np.asarray(inputs), data)

    def parts(
        self,
        given: Given,
        features: Features,
        laws: Sequence[Law],
        *,
        tolerance: float,
        key: PRNGKeyArray,
        progress: Callable[[int], object] | None,
    ) -> Parts:
        """The parts of the data, decomposed under each law."""
        return self.parts_of(given, features, laws, (1.0,), tolerance=tolerance, key=key, progress=progress)[0]

    def parts_of(
        self,
        given: Given,
        features: Features,
        laws: Sequence[Law],
        shares: Sequence[float],
        *,
        tolerance: float,
        key: PRNGKeyArray,
        progress: Callable[[int], object] | None,
    ) -> list[Parts]:
        """The same of nested random subsets of the rows that are trained on, of those shares of them."""
        tolerance = check_positive("tolerance", tolerance)
        check_key("key", key)
        inputs, data = given
        split_key, pair_key = jax.random.split(key)
        splits = self.ways.parts(len(data.inputs), data.codes, split_key)
        groups = None if self.ways.groups is None else np.unique(np.asarray(self.ways.groups), return_inverse=True)[1]
        encoded, maker, laws = featured(inputs, features, laws, self.num_components, pair_key)
        data = data._replace(inputs=encoded)
        if isinstance(maker, MappedFeatures):
            check_features(maker.map, self.num_components or data.inputs.shape[1])
        units = np.arange(len(data.inputs)) if groups is None else groups
        num_rows = self.ways.rows_of_an_epoch(splits, len(data.inputs))
        thinned = [
            [rows.thinned(share, data.codes, groups, jax.random.fold_in(pair_key, index))
             for index, rows in enumerate(splits)] for share in shares
        ]  # fmt: skip
        check_subsets(thinned, data.codes)
        if isinstance(maker, MappedFeatures) and self.num_components is not None:
            check_components(self.num_components, data.inputs.shape[1], thinned[0], of_all=len(shares) == 1)
        found = []
        for subsets in thinned:
            found.append(Parts.of(data, subsets, units, maker, laws, tolerance, pair_key, num_rows, progress))
        return found

    def times(self, parts: Parts) -> tuple[np.ndarray, float]:
        """At which training may stop, and the time of a step."""
        return training_times(
            parts.fastest, self.budget, self.trainer, self.step_size, parts.num_targets, self.num_times,
            from_a_step_on=self.metric == "accuracy",  # before it, a prediction names classes already
        )  # fmt: skip

    @untraced
    def check(self) -> None:
        """Raises ValueError for what cannot be asked, before data are looked at."""
        check_count("num_times", self.num_times, least=4)
        check_choice("metric", self.metric, METRICS)
        check_choice("missing", self.missing, get_args(Missing))
        if self.num_components is not None:
            check_count("num_components", self.num_components)
        for name, value in (("budget", self.budget), ("step_size", self.step_size)):
            if value is not None:
                check_positive(name, value)
        if self.step_size is not None and self.trainer is not None:
            raise ValueError("step_size, trainer: both say what a step is; pass one of them")


def check_components(number: int, num_inputs: int, parts: Sequence[Rows], *, of_all: bool) -> None:
    """Raises ValueError for more principal components than the rows of some part can have."""
    fewest = min(len(rows.train) for rows in parts)
    if number > (most := min(num_inputs, fewest - 1)):
        whose = "to train on" if of_all else "in the smallest subset"
        raise ValueError(
            f"num_components: {number} of {num_inputs} inputs, with {fewest} rows {whose}; pass {most} or fewer"
        )


def counted(metric: Metric, errors: Errors) -> np.ndarray:
    """What the metric counts of errors."""
    return np.asarray(errors.wrong if metric == "accuracy" else errors.squared)


def in_metric(metric: Metric, null: Errors, *others: Errors) -> list[np.ndarray]:
    """What the metric counts of these errors.

    Raises:
        ValueError: the first ones, of predicting the mean or naming the most frequent class, are none.
    """
    found = [counted(metric, each) for each in (null, *others)]
    if not np.any(found[0]):
        what = "the mean" if metric == "squared-error" else "the most frequent class"
        raise ValueError(f"targets: what is held out holds nothing but {what}; hold out other or more rows")
    return found


@eqx.filter_jit
def _stopped(spectrum: Spectrum, test: TestSet, classes: Classes | None, rule: theory.Rule, times: Array) -> Errors:
    weights = theory.risk.weights(spectrum, rule, times)
    return errors_of(jnp.tensordot(test.features, weights, 1), test, classes)


@eqx.filter_jit
def _after(
    first: Spectrum, second: Spectrum, test: TestSet, classes: Classes | None, end: Array, switch_times: Array
) -> Errors:
    weights, _ = switched(first, second, FLOW, end, switch_times)
    return errors_of(jnp.tensordot(test.features, weights, 1), test, classes)
