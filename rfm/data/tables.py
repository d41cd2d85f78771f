"""Tables: one's own data from a .csv file, whose first line names the columns.

What is wrong with a table is said in one line that names the columns and the line of the file; nothing is dropped,
filled in or guessed in silence.
"""

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from rfm.files import check_is_file

DELIMITERS = (",", ";", "\t")
MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})
"""What stands for a missing value, in small letters."""
LEAST_ROWS = 2


class Table(NamedTuple):
    """Columns of numbers, as they stand in the file.

    Attributes:
        inputs: one row a line of the file.
        targets: the column to predict, or one column a target.
        input_names: of the columns of the inputs.
        target_names: likewise.
    """

    inputs: Float[np.ndarray, "rows inputs"]
    targets: Float[np.ndarray, "rows"] | Float[np.ndarray, "rows targets"]
    input_names: tuple[str, ...]
    target_names: tuple[str, ...]


def load_table(path: str | Path, target: str, inputs: Sequence[str] | None = None) -> Table:
    r"""Reads a .csv file; cells are parted by commas, semicolons or tabs, whichever part the first line most.

    Args:
        path: the file; its first line names the columns.
        target: the column to predict, or several with commas between them.
        inputs: the columns to predict from; None for all others.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no header, names that are not known, not unique or given twice, lines of another length, values that
            are missing or no numbers in the columns asked for, fewer than two rows.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "houses.csv").write_text("rooms;area;price\n3;70.5;210\n4;98;305\n")
    ...     table = load_table(f"{folder}/houses.csv", target="price")
    >>> table.input_names, table.inputs.tolist(), table.targets.tolist()
    (('rooms', 'area'), [[3.0, 70.5], [4.0, 98.0]], [210.0, 305.0])
    """
    path = Path(path)
    header, rows = _read(path)
    targets = _known(path, "target", [name.strip() for name in target.split(",")] if target else [], header)
    others = [name for name in header if name not in targets]
    chosen = _known(path, "inputs", others if inputs is None else list(inputs), header)
    if both := sorted(set(chosen) & set(targets)):
        raise ValueError(f"inputs: {', '.join(both)} is the target; leave it out of the inputs")
    columns = _numbers(path, header, rows, [*chosen, *targets])
    values = columns[:, len(chosen) :]
    return Table(
        columns[:, : len(chosen)], values[:, 0] if len(targets) == 1 else values, tuple(chosen), tuple(targets)
    )


_Rows = list[tuple[int, list[str]]]
"""The number of the line in the file, and its cells."""


def _read(path: Path) -> tuple[list[str], _Rows]:
    """The names of the columns, and all rows below them; empty lines are passed over."""
    check_is_file("dataset", path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            delimiter = max(DELIMITERS, key=lambda mark: len(next(csv.reader([first], delimiter=mark), [])))
            file.seek(0)
            reader = csv.reader(file, delimiter=delimiter, skipinitialspace=True)
            lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader if any(cells)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"dataset: {path} is not a readable .csv file ({error}); save it as text in UTF-8") from error
    if not lines:
        raise ValueError(f"dataset: {path} is empty; write the names of the columns in its first line")
    header, rows = lines[0][1], lines[1:]
    _check_header(path, header)
    for line, cells in rows:
        if len(cells) != len(header):
            raise ValueError(f"dataset: line {line} of {path} has {len(cells)} cells, the header {len(header)}")
    if len(rows) < LEAST_ROWS:
        raise ValueError(f"dataset: {path} has {len(rows)} row(s) below its header; at least {LEAST_ROWS} are needed")
    return header, rows


def _check_header(path: Path, header: list[str]) -> None:
    if all(_number(name) is not None for name in header):
        raise ValueError(
            f"dataset: {path} has no header, its first line begins with {header[0]}; name the columns there"
        )
    if "" in header:
        raise ValueError(
            f"dataset: column {header.index('') + 1} of {path} has no name; name it, or write the file without row "
            "numbers (index=False in pandas)"
        )
    if twice := _repeated(header):
        raise ValueError(f"dataset: {path} has several columns named {', '.join(twice)}; rename all but one")


def _known(path: Path, argument: str, names: list[str], header: list[str]) -> list[str]:
    if not names:
        raise ValueError(f"{argument}: none was named; the columns of {path} are {', '.join(header)}")
    if unknown := [name for name in names if name not in header]:
        raise ValueError(f"{argument}: {path} has no column {', '.join(unknown)}; it has {', '.join(header)}")
    if twice := _repeated(names):
        raise ValueError(f"{argument}: {', '.join(twice)} is named more than once; name each column once")
    return names


def _repeated(names: Sequence[str]) -> list[str]:
    return sorted(name for name, count in Counter(names).items() if count > 1)


def _numbers(path: Path, header: list[str], rows: _Rows, names: list[str]) -> np.ndarray:
    """The named columns as [rows, names]."""
    missing: dict[str, int] = {}
    wrong: dict[str, str] = {}
    columns = np.empty((len(rows), len(names)))
    for place, name in enumerate(names):
        index = header.index(name)
        for row, (line, cells) in enumerate(rows):
            value = _number(cells[index])
            if cells[index].lower() in MISSING:
                missing[name] = missing.get(name, 0) + 1
            elif value is None:
                wrong.setdefault(name, f"{name} ({cells[index]!r} in line {line})")
            columns[row, place] = np.nan if value is None else value
    if wrong:
        raise ValueError(
            f"dataset: {path} has columns that are not numbers: {', '.join(wrong.values())}; write numbers, or leave "
            "them out of the inputs"
        )
    if missing:
        counts = ", ".join(f"{name} in {count} row(s)" for name, count in missing.items())
        raise ValueError(f"dataset: {path} has missing values: {counts}; drop or fill those rows, or leave them out")
    return columns


def _number(cell: str) -> float | None:
    """The finite number that is written there, or None."""
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if np.isfinite(value) else None
