"""What a column holds: numbers, or categories; and what is wrong with one that holds neither.

Text is looked at once for each different value, however long the column is.
"""

import re
from collections.abc import Collection, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from rfm.data.cells import MISSING, Cells
from rfm.data.dates import as_dates, is_date

MOST_CATEGORIES = 50
"""Of an input; a column of more is taken for names or free text."""
ALWAYS_FINE = 5
"""However few rows there are."""
NO_VALUE = -1
"""The code of a missing value."""


class Numbers(NamedTuple):
    """A column of numbers, NaN where one is missing."""

    values: np.ndarray

    @property
    def is_missing(self) -> np.ndarray:
        """Whether it is, by row."""
        return np.isnan(self.values)


class Categories(NamedTuple):
    """A column of text: the names of its values, and which of them each row has, `NO_VALUE` for none."""

    codes: np.ndarray
    names: tuple[str, ...]

    @property
    def is_missing(self) -> np.ndarray:
        """Whether it is, by row."""
        return self.codes == NO_VALUE

    def one_hot(self) -> np.ndarray:
        """One column a name, [rows, names]; NaN in all of them where the value is missing."""
        columns = (self.codes[:, None] == np.arange(len(self.names))[None, :]).astype(float)
        columns[self.is_missing] = np.nan
        return columns


class Fault(NamedTuple):
    """What is wrong with a column, and where.

    Attributes:
        kind: a key of `REMEDIES`.
        detail: with the first cell at fault.
    """

    kind: str
    detail: str


REMEDIES = {
    "values": ("columns that hold neither numbers nor text", "leave them out (--exclude)"),
    "dates": (
        "columns of dates",
        "use one with --time-order, leave it out (--exclude), or write it as a number, such as days since the start",
    ),
    "days": ("dates that cannot be read", "write all of them as 2020-01-31"),
    "strays": (
        "columns that are not numbers throughout",
        "write these cells as numbers, without units or marks between thousands, or leave the columns out (--exclude); "
        "where categories are meant, write none as a number",
    ),
    "marks": (
        "numbers with commas that may stand before decimals or between thousands",
        "pass --decimal , for the former, and write none between thousands",
    ),
    "infinite": ("values that are not finite", "write numbers, or leave those rows or columns out (--exclude)"),
    "huge": (
        "whole numbers beyond 2^53, which floating point cannot tell apart",
        "leave the columns out (--exclude), or subtract what they share",
    ),
    "names": (
        "columns of text with very many different values, as names and remarks have",
        "leave them out (--exclude)",
    ),
    "unknown": (
        "text that the table which it is read like has not",
        "drop those rows, or have such rows in both",
    ),
}
"""Of each kind of fault: what there is, and what to do; the columns are named between the two."""


def column_of(cells: Cells, name: str, most: int = MOST_CATEGORIES) -> Numbers | Categories | Fault:
    """What there is in a column: numbers, or categories, of which there may be so many.

    >>> import pandas as pd
    >>> from rfm.data.cells import cells_of_frame
    >>> column_of(cells_of_frame(pd.DataFrame({"colour": ["red", "blue", "red"]})), "colour").names
    ('blue', 'red')
    """
    series = cells.frame[name]
    if series.dtype.kind in "iuf":
        return _finite(cells, name, series)
    if series.dtype.kind in "mMc":
        return Fault("values" if series.dtype.kind == "c" else "dates", f"of type {series.dtype}")
    text = text_of(cells, name)
    return text if _is_named_so(series) else _read(cells, name, text, most)


def categories_like(cells: Cells, name: str, names: Sequence[str]) -> Categories | Fault:
    """The column as categories that are known from another table.

    >>> import pandas as pd
    >>> from rfm.data.cells import cells_of_frame
    >>> categories_like(cells_of_frame(pd.DataFrame({"colour": ["red", None]})), "colour", ["blue", "red"]).codes
    array([ 1, -1])
    """
    text = text_of(cells, name)
    place = {known: code for code, known in enumerate(names)}
    if new := [code for code, value in enumerate(text.names) if value not in place]:
        return Fault("unknown", _first(cells, name, text, new))
    codes = np.asarray([*(place[value] for value in text.names), NO_VALUE])
    return Categories(codes[text.codes], tuple(names))


def raw_values(cells: Cells, name: str) -> np.ndarray | Fault:
    """Numbers, dates as datetime64, or text, of a column that is no input; what is missing is NaN, NaT or "".

    >>> import pandas as pd
    >>> from rfm.data.cells import cells_of_frame
    >>> cells = cells_of_frame(pd.DataFrame({"sold": ["31/1/2020", "1/2/2020"], "patient": ["A3", "17"]}))
    >>> raw_values(cells, "sold").astype("datetime64[D]").astype(str).tolist(), raw_values(cells, "patient").tolist()
    (['2020-01-31', '2020-02-01'], ['A3', '17'])
    """
    series = cells.frame[name]
    if series.dtype.kind in "iuf":
        missing = series.isna().any()
        return series.to_numpy(float, na_value=np.nan) if missing else series.to_numpy(series.dtype.kind + "8")
    if series.dtype.kind in "mM":
        return (series.dt.tz_convert(None) if getattr(series.dtype, "tz", None) else series).to_numpy()
    text = text_of(cells, name)
    numbers = _as_numbers(text, cells.decimal)
    if not np.isnan(numbers[:-1]).any():
        return numbers[text.codes]
    if all(map(is_date, text.names)):
        return _dates(cells, name, text)
    return np.asarray([*text.names, ""])[text.codes]


def decimal_commas(cells: Cells, name: str) -> Literal["yes", "maybe", "no"]:
    """Whether a column of text holds numbers with decimal commas; maybe if each of these may part thousands.

    >>> import pandas as pd
    >>> from rfm.data.cells import cells_of_frame
    >>> cells = cells_of_frame(pd.DataFrame({"a": ["3,5", "1"], "b": ["1,234", "20"], "c": ["3,5", "x"]}))
    >>> [decimal_commas(cells, name) for name in cells.names]
    ['yes', 'maybe', 'no']
    """
    series = cells.frame[name]
    if series.dtype.kind in "iufcmMb" or _is_named_so(series):
        return "no"
    names = text_of(cells, name).names
    with_comma = [value for value in names if "," in value]
    if not with_comma or any(number(value, "," if "," in value else ".") is None for value in names):
        return "no"
    return "maybe" if all(map(_PARTED.fullmatch, with_comma)) else "yes"


_PARTED = re.compile(r"[-+]?[1-9]\d{0,2},\d{3}")
"""What may be thousands and a comma between them."""
_MEASURED = re.compile(r"[-+]?\d[\d.,' ]*?(?P<unit>\s?[^\W\d_]+[²³23]?|\s?[%€$£°]C?)?|[$€£]\s?\d[\d.,' ]*")
"""A number with its unit, or with marks between thousands."""


def number(cell: str, decimal: str) -> float | None:
    """The number that is written there with that mark before its decimals, or None.

    >>> number("3,5", ","), number("3.5", ","), number("1_000", "."), number("12 kg", ".")
    (3.5, None, None, None)
    """
    if "_" in cell or (decimal != "." and "." in cell):
        return None
    try:
        return float(cell if decimal == "." else cell.replace(decimal, ".", 1))
    except ValueError:
        return None


def text_of(cells: Cells, name: str) -> Categories:
    """A column of any type as text: its different values, sorted, and which of them each row has.

    Raises:
        ValueError: it holds lists, or what else cannot be told apart.

    >>> import pandas as pd
    >>> from rfm.data.cells import cells_of_frame
    >>> text_of(cells_of_frame(pd.DataFrame({"a": [" red", "NA", True]})), "a")
    Categories(codes=array([ 1, -1,  0]), names=('True', 'red'))
    """
    try:
        codes, values = cells.frame[name].factorize()
    except TypeError as error:
        what, remedy = REMEDIES["values"]
        raise ValueError(f"dataset: {cells.source} has {what}: {name} ({error}); {remedy}") from error
    words = [_word(value, cells.decimal) for value in values]
    names = tuple(sorted({word for word in words if word.lower() not in MISSING}))
    place = {name: code for code, name in enumerate(names)}
    return Categories(np.asarray([*(place.get(word, NO_VALUE) for word in words), NO_VALUE])[codes], names)


def _word(value: Any, decimal: str) -> str:
    """A value as a file would hold it."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() else repr(float(value)).replace(".", decimal)
    return str(value)


def _is_named_so(series: Any) -> bool:
    """Whether pandas was told that its values are categories, or they are truth values."""
    return series.dtype.kind == "b" or hasattr(series.dtype, "categories")


def _finite(cells: Cells, name: str, series: Any) -> Numbers | Fault:
    values = series.to_numpy(float, na_value=np.nan)
    if np.isinf(values).any():
        return Fault("infinite", cells.first(name, np.isinf(values)))
    if series.dtype.kind in "iu":
        large = np.abs(values) >= 2**53
        if large.any():
            large[large] = [int(value) != int(whole) for value, whole in zip(values[large], series[large], strict=True)]
        if large.any():
            return Fault("huge", cells.first(name, large))
    return Numbers(values)


def _read(cells: Cells, name: str, text: Categories, most: int) -> Numbers | Categories | Fault:
    """Text as numbers if it is nothing else, as categories if it is no numbers; at fault where it is between."""
    numbers = _as_numbers(text, cells.decimal)
    others = np.flatnonzero(np.isnan(numbers[:-1])).tolist()
    if not others:
        infinite = np.flatnonzero(np.isinf(numbers)).tolist()
        return Fault("infinite", _first(cells, name, text, infinite)) if infinite else Numbers(numbers[text.codes])
    dates = [code for code in others if is_date(text.names[code])]
    many = len(text.names)
    if 2 * len(dates) >= many:
        return Fault("dates", _first(cells, name, text, dates))
    is_remarks = 2 * len(others) > many > max(ALWAYS_FINE, min(most, len(text.codes) / 2))
    if _are_measured(text.names) or (len(others) < many and not is_remarks):
        return Fault("strays", _first(cells, name, text, others))
    if is_remarks:
        return Fault("names", f"{many} of them, such as {_first(cells, name, text, others)}")
    return text


def _are_measured(words: Sequence[str]) -> bool:
    """Whether all are numbers with one unit, or thousands with marks between them."""
    found = [_MEASURED.fullmatch(word) for word in words]
    return len(words) > 1 and all(found) and len({match["unit"] for match in found if match}) == 1


def _as_numbers(text: Categories, decimal: str) -> np.ndarray:
    """The number that each name is, NaN if it is none; and NaN for a missing value."""
    found = [number(name, decimal) for name in text.names]
    return np.asarray([*(np.nan if value is None else value for value in found), np.nan])


def _first(cells: Cells, name: str, text: Categories, codes: Collection[int]) -> str:
    """The first cell that holds one of those values, and where."""
    return cells.first(name, np.isin(text.codes, list(codes)))


def _dates(cells: Cells, name: str, text: Categories) -> np.ndarray | Fault:
    try:
        days = as_dates(text.names)
    except ValueError as error:
        return Fault("days", f"{_first(cells, name, text, range(len(text.names)))}: {error}")
    if np.isnat(days).any():
        return Fault("days", f"{_first(cells, name, text, np.flatnonzero(np.isnat(days)).tolist())} is no day")
    return np.append(days, np.datetime64("NaT"))[text.codes]
