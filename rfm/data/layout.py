"""Which column of a table is what; all of them read, and made into arrays if there is no fault with any."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from rfm.data.cells import Cells
from rfm.data.columns import (
    MOST_CATEGORIES,
    REMEDIES,
    Categories,
    Fault,
    Numbers,
    categories_like,
    column_of,
    raw_values,
)
from rfm.data.datasets import MAX_CLASSES, Missing
from rfm.data.names import listed

Column = Numbers | Categories


class Layout(NamedTuple):
    """Which columns of a table are what, and how their cells are read.

    Attributes:
        inputs: columns of the file, in their order.
        targets: likewise.
        apart: likewise, of what is neither.
        separator: as it was asked for; None where it is to be guessed.
        decimal: the mark before decimals.
        missing: what is done with missing inputs.
        categories: the values of each input that is text; None where they are to be found.
        classes: those of the target, empty if it is numbers.
    """

    inputs: tuple[str, ...]
    targets: tuple[str, ...]
    apart: tuple[str, ...]
    separator: str | None
    decimal: str
    missing: Missing
    categories: Mapping[str, tuple[str, ...]] | None = None
    classes: tuple[str, ...] = ()

    def known(self, name: str) -> tuple[str, ...] | None:
        """The values of a column of text, () of one that is known to hold numbers, None where nothing is known."""
        if self.categories is None:
            return None
        return self.classes if name in self.targets else self.categories.get(name, ())


class Contents(NamedTuple):
    """Arrays of what a layout names, and the layout with all that was found out; `rfm.data.Table` says of each."""

    inputs: np.ndarray
    targets: np.ndarray
    input_names: tuple[str, ...]
    apart: dict[str, np.ndarray]
    notes: tuple[str, ...]
    layout: Layout


def contents(cells: Cells, layout: Layout) -> Contents:
    """Reads the columns that a layout names.

    Raises:
        ValueError: a column that is at fault, or has missing values where it may not.

    >>> import pandas as pd
    >>> from rfm.data.cells import cells_of_frame
    >>> cells = cells_of_frame(pd.DataFrame({"colour": ["red", "blue"], "price": [3, 4]}))
    >>> contents(cells, Layout(("colour",), ("price",), (), None, ".", "refuse")).input_names
    ('colour=blue', 'colour=red')
    """
    found = {name: _column(cells, layout, name) for name in (*layout.inputs, *layout.targets)}
    raw = {name: raw_values(cells, name) for name in layout.apart}
    refuse(cells, {**found, **raw})
    columns = {name: column for name, column in found.items() if not isinstance(column, Fault)}
    inputs, targets = ({name: columns[name] for name in names} for names in (layout.inputs, layout.targets))
    apart = {name: values for name, values in raw.items() if not isinstance(values, Fault)}
    _check_there(cells, layout, inputs, targets, apart)
    classes = _classes(targets)
    return Contents(
        np.column_stack([_numbers(column) for column in inputs.values()]),
        _targets(targets),
        _input_names(inputs),
        apart,
        _notes(inputs, classes, layout.targets),
        layout._replace(categories=_texts(inputs), classes=classes),
    )


def refuse(cells: Cells, columns: Mapping[str, object]) -> None:
    """Raises ValueError if some columns are at fault: names all those of one kind, each with its first cell.

    >>> import pandas as pd
    >>> from rfm.data.cells import cells_of_frame
    >>> refuse(cells_of_frame(pd.DataFrame({"area": [70]})), {"area": Numbers(np.ones(1))})
    """
    faults = {name: column for name, column in columns.items() if isinstance(column, Fault)}
    for kind, (what, remedy) in REMEDIES.items():
        if those := [f"{name} ({fault.detail})" for name, fault in faults.items() if fault.kind == kind]:
            read = ", read with decimal commas (see --decimal)," if cells.decimal == "," else ""
            raise ValueError(f"dataset: {cells.source}{read} has {what}: {listed(those)}; {remedy}")


def _column(cells: Cells, layout: Layout, name: str) -> Column | Fault:
    known = layout.known(name)
    if known:
        return categories_like(cells, name, known)
    column = column_of(cells, name, MAX_CLASSES if name in layout.targets else MOST_CATEGORIES)
    if known == () and isinstance(column, Categories):
        return Fault("strays", cells.first(name, column.codes >= 0))
    return column


def _check_there(
    cells: Cells,
    layout: Layout,
    inputs: Mapping[str, Column],
    targets: Mapping[str, Column],
    apart: Mapping[str, np.ndarray],
) -> None:
    """Raises ValueError where a value is missing that may not be."""
    if layout.missing == "refuse":
        remedy = "leave the columns out (--exclude), or have their means filled in (--missing mean)"
        _check_none(cells, "dataset", {name: column.is_missing for name, column in inputs.items()}, remedy)
    _check_none(
        cells, "target", {name: column.is_missing for name, column in targets.items()}, "or pass another target"
    )
    remedy = "since groups, times and splits are known of every row"
    _check_none(cells, "apart", {name: _is_missing(values) for name, values in apart.items()}, remedy)


def _check_none(cells: Cells, argument: str, missing: Mapping[str, np.ndarray], remedy: str) -> None:
    rows = {name: np.flatnonzero(there).tolist() for name, there in missing.items() if there.any()}
    if rows:
        counts = [f"{name} in {len(those)} row(s) ({cells.places(those)})" for name, those in rows.items()]
        raise ValueError(
            f"{argument}: {cells.source} has missing values: {listed(counts)}; drop or fill those rows, {remedy}"
        )


def _is_missing(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind in "mM":
        return np.isnat(values)
    return values == "" if values.dtype.kind == "U" else np.isnan(values)


def _numbers(column: Column) -> np.ndarray:
    return column.one_hot() if isinstance(column, Categories) else column.values


def _texts(columns: Mapping[str, Column]) -> dict[str, tuple[str, ...]]:
    """The values of those that are text."""
    return {name: column.names for name, column in columns.items() if isinstance(column, Categories)}


def _input_names(columns: Mapping[str, Column]) -> tuple[str, ...]:
    texts = _texts(columns)
    return tuple(
        one for name in columns for one in ([f"{name}={value}" for value in texts[name]] if name in texts else [name])
    )


def _classes(targets: Mapping[str, Column]) -> tuple[str, ...]:
    """The names of the classes, none if the target is numbers."""
    texts = _texts(targets)
    if texts and len(targets) > 1:
        raise ValueError(f"target: {listed(list(texts))} holds text, so classes, which are one target by themselves")
    return next(iter(texts.values()), ())


def _targets(targets: Mapping[str, Column]) -> np.ndarray:
    """[rows], or [rows, targets]."""
    values = [column.codes if isinstance(column, Categories) else column.values for column in targets.values()]
    return values[0] if len(values) == 1 else np.column_stack(values)


def _notes(inputs: Mapping[str, Column], classes: Sequence[str], targets: Sequence[str]) -> tuple[str, ...]:
    """Sentences on columns that are more than the numbers in them."""
    notes = []
    if texts := [f"{name} ({len(values)} values)" for name, values in _texts(inputs).items()]:
        notes.append(f"{listed(texts)}: text, so a column of zeros and ones for each value.")
    if classes:
        notes.append(f"{targets[0]}: text, so {len(classes)} classes: {listed(classes)}.")
    if gaps := [
        f"{name} (in {column.is_missing.sum()} row(s))" for name, column in inputs.items() if column.is_missing.any()
    ]:
        notes.append(f"{listed(gaps)}: missing there, which counts as the mean of the rows that are trained on.")
    return tuple(notes)
