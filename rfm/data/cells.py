"""Cells of a file or of a DataFrame: named columns, typed by pandas, that know on which line each cell stands.

Pandas reads a file in one go, and says of no cell where it stood. That is asked only where something is wrong: then the
same text is gone through again, record by record.
"""

import io
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from rfm.data.names import listed, repeated
from rfm.data.text import Record, Text

if TYPE_CHECKING:
    import pandas as pd

MISSING = frozenset({"", "na", "n/a", "#n/a", "<na>", "nan", "nat", "null", "none", "?"})
"""What stands for a missing value, in small letters."""
_AS_WRITTEN = sorted({form for word in MISSING for form in (word, word.upper(), word.capitalize())} | {"NaN", "NaT"})
LEAST_ROWS = 2


class Cells:
    """Named columns, and where each of their cells stands.

    Attributes:
        source: the path, or what else stands for it in errors.
        frame: one column a name, missing values as pandas has them.
        decimal: the mark before decimals.
        notes: what was passed over.
    """

    def __init__(self, source: str, frame: "pd.DataFrame", decimal: str, text: Text | None = None) -> None:
        self.source, self.frame, self.decimal, self.text = source, frame, decimal, text

    @property
    def names(self) -> list[str]:
        """Of the columns."""
        return list(self.frame.columns)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on what was passed over."""
        if self.text is None or not self.text.num_comments:
            return ()
        return (f"{self.text.num_comments} line(s) that begin with # are passed over.",)

    def with_decimal(self, decimal: str) -> "Cells":
        """The same cells, with another mark before decimals."""
        return Cells(self.source, self.frame, decimal) if self.text is None else cells_of_text(self.text, decimal)

    def where(self, row: int) -> str:
        """Line of the file, or row of the DataFrame by its label."""
        return f"row {self.frame.index[row]}" if self.text is None else f"line {self._records[row].line}"

    def places(self, rows: Sequence[int], most: int = 3) -> str:
        """The same of several, the first of them by number."""
        kind, _, first = self.where(rows[0]).partition(" ")
        others = [self.where(row).partition(" ")[2] for row in rows[1:most]]
        numbers = ", ".join([first, *others, *(["..."] if len(rows) > most else [])])
        return f"{kind}{'s' if len(rows) > 1 else ''} {numbers}"

    def first(self, name: str, is_there: np.ndarray) -> str:
        """The first cell of a column where that is so, as it was written, and where it stands."""
        row, place = int(np.argmax(is_there)), self.names.index(name)
        cell = str(self.frame.iat[row, place]) if self.text is None else self._records[row].cells[place].strip()
        return f"{cell!r} in {self.where(row)}"

    @cached_property
    def _records(self) -> list[Record]:
        return [] if self.text is None else list(self.text.records())[1:]


def cells_of_frame(frame: Any, decimal: str = ".") -> Cells:
    """The columns of a DataFrame.

    Raises:
        TypeError: it is none.
        ValueError: names that are not unique.

    >>> import pandas as pd
    >>> cells_of_frame(pd.DataFrame({"area": [70, 98]})).names
    ['area']
    """
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"dataset: pass a path or a pandas DataFrame, got a {type(frame).__name__}")
    source = "the DataFrame"
    names = [str(name) for name in frame.columns]
    if twice := repeated(names):
        raise ValueError(f"dataset: {source} has several columns named {listed(twice)}; rename all but one")
    return Cells(source, frame.set_axis(names, axis=1), decimal)


def cells_of_text(text: Text, decimal: str = ".") -> Cells:
    r"""The columns of a file.

    Raises:
        ValueError: there is no header, or its names are not unique; lines of another length.

    >>> cells_of_text(Text("houses.csv", "rooms;area\n3;70,5\n4;98", ";"), ",").frame["area"].tolist()
    [70.5, 98.0]
    """
    first = next(text.records())
    header = [name.strip() for name in first.cells]
    frame = _parsed(text, text.below(first), decimal)
    while header[-1] == "" and frame.iloc[:, len(header) - 1 :].isna().all(axis=None):
        del header[-1]  # a separator ends the line
    width = len(header)
    if frame.shape[1] != width or frame.iloc[:, -1].isna().any():
        _check_lengths(text, width)  # pandas fills short lines with missing values
    _check_header(text, header)
    return Cells(text.source, frame.iloc[:, :width].set_axis(header, axis=1), decimal, text)


def check_rows(cells: Cells, least: int = LEAST_ROWS) -> None:
    """Raises ValueError if there are fewer rows.

    >>> import pandas as pd
    >>> check_rows(cells_of_frame(pd.DataFrame({"area": [70, 98]})))
    """
    if len(cells.frame) < least:
        below = "" if cells.text is None else " below its header"
        raise ValueError(f"dataset: {cells.source} has {len(cells.frame)} row(s){below}; at least {least} are needed")


def _parsed(text: Text, body: str, decimal: str, width: int | None = None) -> "pd.DataFrame":
    """Numbers where a column holds nothing else, text where it does; as many columns as the first line, or so many."""
    import pandas as pd

    if not body.strip():
        return pd.DataFrame(columns=range(len(next(text.records()).cells)))
    try:
        return pd.read_csv(
            io.StringIO(body),
            header=None,
            names=None if width is None else range(width),
            sep=text.separator,
            decimal=decimal,
            skipinitialspace=True,
            na_values=_AS_WRITTEN,
            keep_default_na=False,
            low_memory=False,
        )
    except pd.errors.ParserError as error:
        records = list(text.records())
        if "EOF inside string" in str(error):
            raise ValueError(
                f"dataset: line {records[-1].line} of {text.source} opens a quote that is never closed; close it"
            ) from error
        _check_lengths(text, len(records[0].cells))
        return _parsed(text, body, decimal, max(len(record.cells) for record in records))


def _check_lengths(text: Text, width: int) -> None:
    """Raises ValueError at a record of another length; further separators may end a line."""
    for record in text.records():
        length = len(record.cells)
        if length < width or "".join(record.cells[width:]).strip():
            remedy = f"; write cells that hold a {text.separator!r} between quotes" if length > width else ""
            raise ValueError(
                f"dataset: line {record.line} of {text.source} has {length} cells, the header {width}{remedy}"
            )


def _check_header(text: Text, header: list[str]) -> None:
    source = text.source
    if all(_is_number(name) for name in header):
        passed = "; lines that begin with # are passed over" if text.num_comments else ""
        raise ValueError(
            f"dataset: {source} has no header, its first line begins with {header[0]}; name the columns there{passed}"
        )
    if "" in header:
        raise ValueError(
            f"dataset: column {header.index('') + 1} of {source} has no name; name it, or write the file without row "
            "numbers (index=False in pandas)"
        )
    if twice := repeated(header):
        raise ValueError(f"dataset: {source} has several columns named {listed(twice)}; rename all but one")


def _is_number(name: str) -> bool:
    try:
        return float(name) is not None
    except ValueError:
        return False
