"""Tables: one's own data from a file or a DataFrame, whose columns are chosen by their names.

What is wrong with a table is said in one line that names the columns and the line of the file; nothing is dropped,
filled in or guessed in silence.
"""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
from jaxtyping import Float, Int

from rfm.data.cells import Cells, cells_of_frame, cells_of_text, check_rows
from rfm.data.columns import Fault, decimal_commas
from rfm.data.datasets import Missing
from rfm.data.layout import Layout, contents, refuse
from rfm.data.names import Names, choose, listed_names
from rfm.data.text import Text
from theory.checks import check_choice

DECIMALS = (".", ",")


class Table(NamedTuple):
    """Columns as arrays, one row a row of the file, not scaled.

    Attributes:
        inputs: numbers, and a column of zeros and ones for each value of a column of text; NaN where one is missing and
            may be.
        targets: the column to predict, or one column a target; whole numbers for the classes of a column of text.
        input_names: of the columns of the inputs, such as ``area`` or ``colour=red``.
        target_names: likewise.
        class_names: of the classes 0, 1, ...; empty unless the target is text.
        apart: columns that are neither, by name: numbers, text, or dates as datetime64.
        notes: sentences on what was guessed, passed over or left missing.
        layout: what was read how; None for data that was no table.
    """

    inputs: Float[np.ndarray, "rows inputs"]
    targets: Float[np.ndarray, "rows"] | Float[np.ndarray, "rows targets"] | Int[np.ndarray, "rows"]
    input_names: tuple[str, ...] = ()
    target_names: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()
    apart: Mapping[str, np.ndarray] = {}
    notes: tuple[str, ...] = ()
    layout: Layout | None = None

    def read_like(self, source: Any) -> "Table":
        """Another table, such as one to validate on, with the columns of this one; others in it are passed over.

        Its columns may stand in any order, and may be separated otherwise. Missing values are treated alike.

        Args:
            source: a path or a DataFrame.

        Raises:
            ValueError: as `load_table`; a column that is not there; text that this table has not.

        >>> import pandas as pd
        >>> table = load_table(pd.DataFrame({"area": [70, 98], "sold": ["no", "yes"]}), target="sold")
        >>> table.read_like(pd.DataFrame({"sold": ["yes"], "area": [80]}))[:2]
        (array([[80.]]), array([1]))
        """
        if self.layout is None:
            raise ValueError("dataset: is no table, so that none can be read like it; pass a .csv file or a DataFrame")
        cells = _cells(source, self.layout.separator, self.layout.decimal)
        check_rows(cells, 1)
        wanted = {"target": self.layout.targets, "inputs": self.layout.inputs, "apart": self.layout.apart}
        for argument, names in wanted.items():
            choose(cells.source, argument, names, cells.names)
        return _table(cells, self.layout, ())


def load_table(
    source: Any,
    target: Names,
    inputs: Names | None = None,
    *,
    exclude: Names = (),
    apart: Names = (),
    separator: str | None = None,
    decimal: str | None = None,
    missing: Missing = "refuse",
) -> Table:
    r"""Reads a .csv, .tsv or .txt file, perhaps packed (.gz), or a pandas DataFrame.

    A column of text becomes a column of zeros and ones for each of its values, or the classes if it is the target.
    Names are a sequence, or one string with commas between them, in which a name that holds a comma is quoted unless it
    is the only one: ``"area, m2"`` or ``'"area, m2",rooms'``.

    Args:
        source: a path, whose first line names the columns, or a DataFrame.
        target: the column to predict, or several.
        inputs: the columns to predict from; None for all others.
        exclude: columns that are no inputs.
        apart: columns to hand over as they are, such as groups, times or splits; no inputs unless these name them.
        separator: the mark between cells; None for a tab, semicolon or comma, whichever the first two lines hold.
        decimal: the mark before decimals; None for a point, or for a comma where columns hold numbers only with it.
        missing: refuse inputs with missing values; or leave them NaN, and `Scaling` fills in the mean of those rows
            that it is made from. Targets and what is apart are never missing.

    Raises:
        FileNotFoundError: there is no such file.
        TypeError: the source is neither.
        ValueError: no header, names that are not known, not unique or given twice, lines of another length, fewer than
            two rows; in the columns asked for, values that are missing, not finite, dates, or not numbers throughout,
            text that is different in more than half of the rows or in 50; commas that may part thousands.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "houses.csv").write_text("rooms;area;price;heated\n3;70,5;210;no\n4;98;305;yes\n")
    ...     table = load_table(f"{folder}/houses.csv", target="price")
    >>> table.input_names, table.inputs.tolist(), table.targets.tolist()
    (('rooms', 'area', 'heated=no', 'heated=yes'), [[3.0, 70.5, 1.0, 0.0], [4.0, 98.0, 0.0, 1.0]], [210.0, 305.0])
    >>> table.notes[0]
    'area: read with a decimal comma; --decimal . says otherwise.'
    """
    if decimal not in (*DECIMALS, None):
        raise ValueError(f"decimal: must be . or , got {decimal!r}")
    check_choice("missing", missing, get_args(Missing))
    cells = _cells(source, separator, decimal or ".")
    header = cells.names
    arguments = {"target": target, "apart": apart, "exclude": exclude}
    targets, aside, without = (choose(cells.source, name, names, header) for name, names in arguments.items())
    others = [name for name in header if name not in {*targets, *aside, *without}]
    chosen = others if inputs is None else choose(cells.source, "inputs", inputs, header)
    _check_roles(cells, targets, chosen, aside, without)
    check_rows(cells)
    notes: tuple[str, ...] = ()
    if decimal is None:
        cells, notes = _with_guessed_decimal(cells, [*chosen, *targets, *aside])
    layout = Layout(tuple(chosen), tuple(targets), tuple(aside), separator, cells.decimal, missing)
    return _table(cells, layout, notes)


def _table(cells: Cells, layout: Layout, notes: tuple[str, ...]) -> Table:
    found = contents(cells, layout)
    return Table(
        found.inputs,
        found.targets,
        found.input_names,
        layout.targets,
        found.layout.classes or (),
        found.apart,
        (*cells.notes, *notes, *found.notes),
        found.layout,
    )


def _cells(source: Any, separator: str | None, decimal: str) -> Cells:
    if isinstance(source, str | PathLike):
        return cells_of_text(Text.of(Path(source), separator), decimal)
    if separator is not None:
        raise ValueError(f"separator: a DataFrame has none, got {separator!r}; leave it out")
    return cells_of_frame(source, decimal)


def _check_roles(
    cells: Cells, targets: Sequence[str], inputs: Sequence[str], apart: Sequence[str], exclude: Sequence[str]
) -> None:
    """Raises ValueError where there is nothing to learn, or a column is given two roles."""
    for argument, names in (("target", targets), ("inputs", inputs)):
        if not names:
            raise ValueError(
                f"{argument}: none was named; the columns of {cells.source} are {listed_names(cells.names)}"
            )
    if both := sorted(set(inputs) & set(targets)):
        raise ValueError(f"inputs: {listed_names(both)} is the target; leave it out of the inputs")
    for argument, names in (("exclude", exclude), ("apart", apart)):
        if both := sorted(set(names) & set(targets)):
            raise ValueError(f"{argument}: {listed_names(both)} is the target; name another column")
    if both := sorted(set(exclude) & {*inputs, *apart}):
        raise ValueError(f"exclude: {listed_names(both)} is asked for elsewhere; name it in one place")


def _with_guessed_decimal(cells: Cells, names: Sequence[str]) -> tuple[Cells, tuple[str, ...]]:
    """The cells with decimal commas, if some columns hold numbers only with these; and what is to be said of that."""
    suspects = {}
    for name in names:
        suspects[name] = decimal_commas(cells, name)
        if suspects[name] == "yes":
            break
    if "yes" in suspects.values():
        read = cells.with_decimal(",")
        changed = [
            name
            for name in names
            if read.frame[name].dtype.kind != cells.frame[name].dtype.kind or decimal_commas(read, name) != "no"
        ]
        return read, (f"{listed_names(changed)}: read with a decimal comma; --decimal . says otherwise.",)
    if doubtful := [name for name, verdict in suspects.items() if verdict == "maybe"]:
        has_comma = {name: np.asarray(["," in str(value) for value in cells.frame[name]]) for name in doubtful}
        refuse(cells, {name: Fault("marks", cells.first(name, there)) for name, there in has_comma.items()})
    return cells, ()
