"""Data of one's own, as a configuration names them: inputs, targets, features, and which rows are held out."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import rfm
from experiments.data_configs import AdviseConfig
from rfm.data import MixedFeatures
from rfm.decide.splits import NEVER_HELD_OUT, TRAIN
from theory.views import counted

MOST_CLASSES = 20
"""That whole numbers are taken for unless they are said to be."""


class OwnData(NamedTuple):
    """Data that advice is asked about.

    Attributes:
        inputs: one row a sample.
        targets: in floating point, or whole numbers that stand for classes.
        features: as `rfm.advise` takes them.
        hold_out: which rows are held out, as its arguments.
        notes: sentences on how the data were read.
        class_names: of classes that are text.
    """

    inputs: np.ndarray
    targets: np.ndarray
    features: Any
    hold_out: dict[str, Any]
    notes: tuple[str, ...]
    class_names: tuple[str, ...]

    def drawn(self, num_rows: int | None, key: jax.Array, num_left: int = 0) -> "OwnData":
        """So many random rows, with others left; None for all rows."""
        if num_rows is None:
            return self
        if num_rows > (most := len(self.inputs) - num_left):
            others = f", and {num_left} to test on" if num_left else ""
            raise ValueError(f"num_rows: {num_rows} of {len(self.inputs)} rows{others}; pass {most} or fewer")
        rows = np.sort(jax.random.permutation(key, len(self.inputs))[:num_rows])
        self.check_classes(rows, f"num_rows: of {num_rows} random rows")
        return self.part(rows)

    def check_classes(self, rows: np.ndarray, whose: str) -> None:
        """Raises ValueError unless each class is among those rows."""
        if not self.num_classes:
            return
        if len(missing := np.setdiff1d(self.targets, self.targets[rows])):
            name = self.class_names[missing[0]] if self.class_names else missing[0]
            raise ValueError(f"{whose}, none is of class {name}; pass more rows, another --seed, or data without it")

    def part(self, rows: np.ndarray) -> "OwnData":
        """Those rows alone, held out in the same way."""
        hold_out = {name: value[rows] if isinstance(value, np.ndarray) else value
                    for name, value in self.hold_out.items()}  # fmt: skip
        features = self.features.within(rows) if isinstance(self.features, MixedFeatures) else self.features
        return self._replace(inputs=self.inputs[rows], targets=self.targets[rows], features=features, hold_out=hold_out)

    @property
    def num_classes(self) -> int:
        """How many classes the targets stand for; 0 for numbers."""
        return len(np.unique(self.targets)) if np.issubdtype(self.targets.dtype, np.integer) else 0

    @property
    def num_targets(self) -> int:
        """Columns of the targets; classes have one each."""
        return self.num_classes or self.targets.reshape(len(self.targets), -1).shape[1]

    @property
    def rows_of_an_epoch(self) -> int:
        """All rows, or those that are trained on where the others are held out for good."""
        folds = self.hold_out.get("folds")
        return len(self.inputs) if folds is None or self.num_parts > 1 else int(np.sum(folds == NEVER_HELD_OUT))

    @property
    def num_parts(self) -> int:
        """How many parts are held out."""
        if "folds" in self.hold_out:
            return len(set(self.hold_out["folds"].tolist()) - {NEVER_HELD_OUT})
        return self.hold_out.get("num_folds", 1)


def read(config: AdviseConfig, features_key: jax.Array) -> OwnData:
    """The data of a configuration.

    Raises:
        ValueError: data that cannot be read; two ways to hold out rows; features of other rows.
    """
    asked = {"num_held_out": config.num_held_out, "groups": config.groups, "time_order": config.time_order,
             "split": config.split, "validation": config.validation}  # fmt: skip
    if len(given := [name for name, value in asked.items() if value is not None]) > 1:
        raise ValueError(f"{', '.join(given)}: each says which rows are held out; pass one of them")
    with called("apart", config.apart_flag):
        table = rfm.data.read_data(config.dataset, apart=config.apart(), **config.reading())
    inputs, targets, notes = _with_columns(table.inputs), np.asarray(table.targets), table.notes
    if config.validation is None:
        hold_out = _held_out(config, table)
    else:
        inputs, targets, folds, more = _with_validation(config, table)
        hold_out, notes = {"folds": folds}, (*notes, *(f"validation: {note}" for note in more))
    targets = _of_kind(config, table, targets)
    if config.features not in ("random", "raw"):
        inputs, features = rfm.data.read_mixed(Path(config.features), len(inputs))
    else:
        features = _features(config, config.num_components or prod(inputs.shape[1:]), features_key)
    return OwnData(inputs, targets, features, hold_out, notes, table.class_names)


@contextmanager
def called(argument: str, flag: str, more: str = "") -> Iterator[None]:
    """Errors about that argument are about that flag, and say more."""
    try:
        yield
    except (ValueError, FileNotFoundError) as error:
        name, separator, rest = str(error).partition(": ")
        if name != argument:
            raise
        raise type(error)(f"{flag}{separator}{rest}{more}") from error


def _held_out(config: AdviseConfig, table: rfm.data.Table) -> dict[str, Any]:
    if config.num_held_out is not None:
        return {"num_held_out": config.num_held_out}
    if config.split is not None:
        return {"folds": _folds(config.split, table.apart[config.split])}
    found: dict[str, Any] = {"num_folds": config.num_folds}
    if config.groups is not None:
        found["groups"] = table.apart[config.groups]
    if config.time_order is not None:
        found["order"] = table.apart[config.time_order]
    return found


def _folds(name: str, column: np.ndarray) -> np.ndarray:
    """The fold of each row, from their numbers or from words."""
    if column.dtype.kind in "iuf":
        return column
    words = np.char.lower(np.char.strip(column.astype(str)))
    others = sorted(set(words.tolist()) - {TRAIN})
    if TRAIN not in words or len(others) != 1:
        raise ValueError(
            f"split: column {name} holds {', '.join([TRAIN] * (TRAIN in words) + others)}; pass one with the word "
            f"{TRAIN} and one other for the rows that are held out, or the numbers of folds"
        )
    return np.where(words == TRAIN, NEVER_HELD_OUT, 0)


def _with_validation(
    config: AdviseConfig, table: rfm.data.Table
) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]:
    """All rows, folds that hold out those of the validation file, and what is to be said of how it was read."""
    path = str(config.validation)
    if config.features not in ("random", "raw"):
        raise ValueError(
            f"validation: {config.features} holds features of the rows of the data and no others; write both to one "
            "table, with a column for --split"
        )
    if table.layout is None and not path.endswith(".npz"):
        raise ValueError(f"validation: {config.dataset} has no columns with names, as {path} has; pass an .npz file")
    with called("dataset", "validation"):
        other = rfm.data.read_data(path, missing=config.missing) if table.layout is None else table.read_like(path)
    seen, new = (_with_columns(each.inputs) for each in (table, other))
    goals, new_goals = (np.asarray(each.targets).reshape(len(each.targets), -1) for each in (table, other))
    if seen.shape[1:] != new.shape[1:] or goals.shape[1] != new_goals.shape[1]:
        raise ValueError(
            f"validation: {path} has {_counted(new)} and {counted(new_goals.shape[1], 'target')}, the data "
            f"{_counted(seen)} and {goals.shape[1]}; pass a file of the same columns"
        )
    folds = np.repeat([NEVER_HELD_OUT, 0], [len(seen), len(new)])
    return np.concatenate([seen, new]), np.concatenate([goals, new_goals]), folds, other.notes


def _with_columns(inputs: np.ndarray) -> np.ndarray:
    """One column where there is a number a row; images stay images."""
    inputs = np.asarray(inputs, float)
    return inputs[:, None] if inputs.ndim == 1 else inputs


def _counted(inputs: np.ndarray) -> str:
    """How many inputs a row has, or of what shape."""
    return counted(inputs.shape[1], "input") if inputs.ndim == 2 else f"inputs of shape {inputs.shape[1:]}"


def _of_kind(config: AdviseConfig, table: rfm.data.Table, targets: np.ndarray) -> np.ndarray:
    """Targets in floating point, or whole numbers that stand for classes."""
    if table.class_names:
        if config.target_kind == "numbers":
            raise ValueError(
                f"target_kind: {table.target_names[0]} holds text, such as {table.class_names[0]}; pass classes"
            )
        return targets.reshape(-1).astype(int)
    numbers = np.squeeze(np.asarray(targets, float))
    whole = numbers.ndim == 1 and np.array_equal(numbers, np.round(numbers))
    if config.target_kind == "classes" and not whole:
        raise ValueError("target_kind: classes are one column of whole numbers, and these are not; pass numbers")
    few = whole and len(np.unique(numbers)) <= MOST_CLASSES
    return numbers.astype(int) if config.target_kind == "classes" or (config.target_kind == "auto" and few) else numbers


def _features(config: AdviseConfig, input_dim: int, key: jax.Array) -> Any:
    if config.features == "raw":
        return "raw"
    return rfm.RandomFeatures(
        input_dim,
        config.num_features,
        config.feature_activation,
        weight_std=config.feature_weight_std,
        bias_std=config.feature_bias_std,
        key=key,
    )
