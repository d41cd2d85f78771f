"""How rows of one's own become features, and what a law of mixing makes of them: of a map of scaled inputs, of
the inputs themselves, of a frozen network.

Whatever is fitted to rows is fitted to those of a part that are trained on.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from rfm.data.frozen import Encoder, MixedFeatures
from rfm.data.scaling import Components, Numbers, Scaling
from rfm.decide.splits import Rows
from rfm.expected.problem import expected_mixup
from rfm.features import FeatureMap
from rfm.mixup.law import Law
from rfm.mixup.laws import Mixup
from rfm.mixup.table import PairTable
from rfm.problem import Problem, Solvable
from rfm.sample import Sample
from theory import TestSet
from theory.checks import described
from theory.classes import Classes
from theory.linalg import on_device

Features = FeatureMap | Encoder | MixedFeatures | Literal["raw"]
"""What one's own features may be; see `rfm.advise`."""


class Data(NamedTuple):
    """One's own data as numbers; what `rfm.data.datasets.as_numbers` has made of it.

    Attributes:
        inputs: as they are.
        targets: likewise, or one-hot less 1/K.
        codes: the class of each row; None for numbers.
        are_images: whether inputs are scaled all alike.
    """

    inputs: Float[np.ndarray, "rows inputs"]
    targets: Float[np.ndarray, "rows targets"]
    codes: np.ndarray | None
    are_images: bool

    @staticmethod
    def of(numbers: Numbers) -> "Data":
        """With one column a target, and the classes of one-hot ones.

        >>> Data.of(Numbers(np.eye(2), np.asarray([[0.5, -0.5], [-0.5, 0.5]]), True, False)).codes.tolist()
        [0, 1]
        """
        columns = numbers.targets.reshape(len(numbers.targets), -1)
        codes = columns.argmax(axis=1) if numbers.are_classes else None
        return Data(numbers.inputs, columns, codes, numbers.are_images)

    def numbers(self, rows: np.ndarray) -> Numbers:
        """Of those rows."""
        return Numbers(self.inputs[rows], self.targets[rows], self.codes is not None, self.are_images)


class Errors(NamedTuple):
    """Of rows that were held out, one by one: summed over targets, and for classes whether the wrong one is named."""

    squared: Float[Array | np.ndarray, "rows times"]
    wrong: Float[Array | np.ndarray, "rows times"] | None

    @staticmethod
    def joined(errors: Sequence["Errors"]) -> "Errors":
        """Those of the rows of all parts, one part after the other."""
        squared = np.concatenate([np.asarray(each.squared) for each in errors])
        wrong = [np.asarray(each.wrong) for each in errors if each.wrong is not None]
        return Errors(squared, np.concatenate(wrong) if wrong else None)


class Split(NamedTuple):
    """Rows to train on and rows held out, both prepared by the former alone."""

    train: Sample
    test: TestSet
    classes: Classes | None

    def null(self) -> Errors:
        """Of predicting the mean of the targets trained on, which is zero; as if at one time."""
        nothing = jnp.zeros((len(self.test.targets), 1, self.test.targets.shape[1]), self.test.targets.dtype)
        return errors_of(nothing, self.test, self.classes)


def with_constant(inputs: Float[Array, "samples inputs"]) -> Float[Array, "samples features"]:
    """The inputs and a constant.

    >>> with_constant(jnp.zeros((1, 2))).tolist()
    [[0.0, 0.0, 1.0]]
    """
    return jnp.concatenate([inputs, jnp.ones_like(inputs[:, :1])], axis=1)


class PartFeatures(eqx.Module):
    """How the rows of a part become features, and what a law of mixing makes of those to train on.

    Attributes:
        are_as_they_are: whether inputs are not scaled.
        num_components: how many principal components stand for the scaled inputs; None for these themselves.
    """

    are_as_they_are: ClassVar[bool] = False
    num_components: int | None = eqx.field(default=None, kw_only=True)

    @abstractmethod
    def phi(self, inputs: Array) -> Float[Array, "rows features"]:
        """The features of inputs."""

    @abstractmethod
    def problem(self, split: Split, rows: Rows, law: Law, tolerance: float, key: PRNGKeyArray) -> Solvable:
        """What is trained on them, under a law."""

    def split(self, data: Data, rows: Rows) -> Split:
        """Of the rows with those indices, scaled as those to train on are, or their components.

        Classes too are taken less their mean on the rows to train on, so that weights of zero predict that mean.
        """
        scaling = Scaling.of(data.numbers(rows.train))
        seen, new = (scaling(data.inputs[side], data.targets[side]) for side in rows)
        if self.are_as_they_are:
            seen, new = (scaled._replace(inputs=on_device(data.inputs[side]))
                         for scaled, side in zip((seen, new), rows, strict=True))  # fmt: skip
        if self.num_components is not None:
            components = Components.of(seen.inputs, self.num_components)
            seen, new = (scaled._replace(inputs=components(scaled.inputs)) for scaled in (seen, new))
        mean = jnp.mean(seen.targets, axis=0, keepdims=True)
        classes = None if data.codes is None else Classes(on_device(data.codes[rows.held_out]), mean[0])
        test = TestSet(self.phi(new.inputs), new.targets - mean)
        return Split(Sample(seen.inputs, seen.targets - mean, None), test, classes)


class MappedFeatures(PartFeatures):
    """Those of a map, of scaled inputs."""

    map: FeatureMap

    def phi(self, inputs: Array) -> Float[Array, "rows features"]:
        return self.map(inputs)

    def problem(self, split: Split, rows: Rows, law: Law, tolerance: float, key: PRNGKeyArray) -> Solvable:
        if isinstance(law, Mixup) and law.is_expected:
            return expected_mixup(split.train, self.map, law, population=split.test, method="gram", tolerance=tolerance)
        drawn, (sample, phi) = law.on(split.train), law.what_it_mixes(split.train, self.map)
        number = drawn.num_rows(len(sample.labels))
        (table,) = drawn.tables(len(sample.labels), number, key=key if law.needs_key else None)
        return Problem(phi(table.mix(sample.inputs)), table.mix_labels(sample.labels), population=split.test)


class RawFeatures(MappedFeatures):
    """Scaled inputs themselves, and a constant: they mix as their inputs do."""

    map: FeatureMap = with_constant

    def problem(self, split: Split, rows: Rows, law: Law, tolerance: float, key: PRNGKeyArray) -> Solvable:
        if isinstance(law, Mixup) and law.is_expected and law.is_plain:
            return linear_mixup(self.phi(split.train.inputs), split.train.labels, law, split.test)
        return super().problem(split, rows, law, tolerance, key)


class EncodedFeatures(PartFeatures):
    """Those of a frozen network, as they are, and a constant."""

    are_as_they_are: ClassVar[bool] = True

    def phi(self, inputs: Array) -> Float[Array, "rows features"]:
        return with_constant(inputs)

    def problem(self, split: Split, rows: Rows, law: Law, tolerance: float, key: PRNGKeyArray) -> Solvable:
        labels = split.train.labels
        if isinstance(law, MixedFeatures):
            mixed = law.within(rows.train)
            return Problem(self.phi(mixed.features), mixed.pairs.mix_labels(labels), population=split.test)
        return Problem(self.phi(split.train.inputs), labels, population=split.test)


def errors_of(predictions: Float[Array, "rows times targets"], test: TestSet, classes: Classes | None) -> Errors:
    squared = jnp.sum((test.targets[:, None, :] - predictions) ** 2, axis=2)
    return Errors(squared, None if classes is None else classes.wrong(predictions))


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


def featured(
    inputs: np.ndarray, features: Features, laws: Sequence[Law], num_components: int | None, key: PRNGKeyArray
) -> tuple[np.ndarray, PartFeatures, Sequence[Law]]:
    """The inputs, or what a frozen network makes of them; how features are made; the laws, or what they have mixed."""
    flat = inputs.reshape(len(inputs), -1).astype(float, copy=False)
    if num_components is not None and isinstance(features, MixedFeatures | Encoder):
        raise ValueError("num_components: a frozen network is given inputs as they are; leave it out")
    if isinstance(features, MixedFeatures):
        features.check_originals(flat)
        return flat, EncodedFeatures(), [features if isinstance(law, Mixup) else law for law in laws]
    if isinstance(features, Encoder):
        tables = [pairs_for(law, len(inputs), features.pairs_per_row, key) if isinstance(law, Mixup) else None
                  for law in laws]  # fmt: skip
        encoded = features(inputs)
        mixed = [law if table is None else features.mixed(inputs, table)
                 for law, table in zip(laws, tables, strict=True)]  # fmt: skip
        return encoded, EncodedFeatures(), mixed
    if callable(features):
        return flat, MappedFeatures(features, num_components=num_components), laws
    if not isinstance(features, str) or features != "raw":
        raise ValueError(
            f"features: {described(features)} is not known; pass a feature map, 'raw' for the inputs themselves, or of "
            "a frozen network an rfm.data.Encoder or its rfm.data.MixedFeatures"
        )
    return flat, RawFeatures(num_components=num_components), laws


def pairs_for(law: Mixup, num_rows: int, pairs_per_row: int, key: PRNGKeyArray) -> PairTable:
    """Pairs of all rows, drawn once: the parts take those of which both are trained on.

    Raises:
        ValueError: partners that hang on what is held out.

    >>> len(pairs_for(rfm.Mixup(alpha=1.0, pairs="expected"), 5, 20, jax.random.key(0)))
    100
    """
    if law.mixes_features:
        raise ValueError(
            f"law: {law} mixes features, which needs no network; pass the features as inputs, and features='raw'"
        )
    if law.self_weight(num_rows) is None:
        raise ValueError(
            f"law: {law} chooses partners by what they are, and would look at rows that are held out; with features of "
            "a frozen network pass any partners, or rfm.mixup.OtherSamples()"
        )
    number = pairs_per_row * num_rows if law.is_expected else law.num_rows(num_rows)
    anyone = Sample(jnp.zeros((num_rows, 1)), jnp.zeros(num_rows), None)
    return law.drawing(number).on(anyone).table(jnp.arange(number), num_rows, key)
