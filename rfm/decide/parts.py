"""The parts of one's own data: each is held out in turn, and the closed forms on the rest are asked of it."""

from typing import Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, PRNGKeyArray

import theory
from rfm.data.datasets import Scaling
from rfm.expected.problem import expected_mixup
from rfm.features import FeatureMap
from rfm.mixup.law import ERM
from rfm.mixup.laws import Mixup
from rfm.problem import Problem, Solvable
from rfm.sample import Sample
from rfm.solve import solve
from rfm.synthesis import synthesize
from theory import Spectrum, TestSet
from theory.checks import check_count, described
from theory.switching import switched

LONGEST = 1e10
"""The longest budget, in units of 1/mu_max: up to it the Gram route keeps its digits."""
NEVER_HELD_OUT = -1
"""The fold, as scikit-learn has it, of rows that are in all training parts."""
FLOW = theory.GradientFlow()


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


class Part(NamedTuple):
    """What is known of one training part, and the rows held out from it."""

    mixup: Spectrum
    plain: Spectrum
    test: TestSet

    @staticmethod
    def of(
        split: Split, features: FeatureMap | Literal["raw"], law: Mixup, tolerance: float, key: PRNGKeyArray
    ) -> "Part":
        """Everything that costs something."""
        train, test = split
        phi = feature_map(features)
        if features == "raw" and law.is_expected and law.is_plain:
            mixup: Solvable = linear_mixup(phi(train.inputs), train.labels, law, test)
        elif law.is_expected:
            mixup = expected_mixup(train, phi, law, population=test, method="gram", tolerance=tolerance)
        else:
            mixup = synthesize(train, phi, law, population=test, key=key)
        plain = synthesize(train, phi, ERM(), population=test)
        return Part(solve(mixup, until=LONGEST).spectrum, solve(plain, until=LONGEST).spectrum, test)

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


@eqx.filter_jit
def _errors(
    mixup: Spectrum, plain: Spectrum, test: TestSet, times: Array, switch_times: Array, slowdown: Array
) -> tuple:
    """Squared errors of each held-out row, summed over targets; of whom, `Part.errors` says."""
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


def held_out_rows(
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
