"""Dates as tables write them: which text is a date, and which day that is."""

import re
from collections.abc import Sequence

import numpy as np

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NAME = rf"(?P<name>{'|'.join(_MONTHS)})[a-z]*\.?"
_CLOCK = r"(?P<clock>[T ]\s?\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?(\s?[ap]m)?\s?(Z|[+-]\d{2}(:?\d{2})?)?)?"
_FORMS = tuple(
    re.compile(form + _CLOCK, re.IGNORECASE)
    for form in (
        r"(?P<year>\d{4})(?P<mark>[-/.])(?P<month>\d{1,2})((?P=mark)(?P<day>\d{1,2}))?",
        r"(?P<first>\d{1,2})(?P<mark>[-/.])(?P<second>\d{1,2})(?P=mark)(?P<year>\d{4}|\d{2})",
        rf"(?P<day>\d{{1,2}})[-. ]\s?{_NAME}[-, ]\s?(?P<year>\d{{4}}|\d{{2}})",
        rf"{_NAME} (?P<day>\d{{1,2}}),? (?P<year>\d{{4}})",
    )
)
_CENTURY = 69
"""Years of two digits from there on are of the last century, as POSIX has it."""


def is_date(text: str) -> bool:
    """Whether it is a date, with or without a time of day.

    >>> [text for text in ("2020-01-31", "31.1.2020 14:05", "Jan 31, 2020", "1/31/20", "10-20", "3.5") if is_date(text)]
    ['2020-01-31', '31.1.2020 14:05', 'Jan 31, 2020', '1/31/20']
    """
    return _parts(text) is not None


def as_dates(texts: Sequence[str]) -> np.ndarray:
    """The dates as datetime64, [texts], in UTC where they name a zone; NaT for what is no day of the calendar.

    Days come first where a point stands between the numbers. Elsewhere some date must tell, by a number above 12.

    Raises:
        ValueError: it may be that days come first, and that months do.

    >>> as_dates(["1/2/2020", "31/1/2020"]).astype("datetime64[D]").tolist()
    [datetime.date(2020, 2, 1), datetime.date(2020, 1, 31)]
    """
    import pandas as pd

    parts = [_parts(text) or {} for text in texts]
    days_first = _days_first(parts)
    iso = [_iso(part, days_first) for part in parts]
    found = pd.to_datetime(pd.Series(iso, dtype=object), format="mixed", utc=True, errors="coerce")
    return found.dt.tz_localize(None).to_numpy()


_Parts = dict[str, str | None]


def _parts(text: str) -> _Parts | None:
    found = next(filter(None, (form.fullmatch(text) for form in _FORMS)), None)
    return None if found is None else found.groupdict()


def _days_first(parts: Sequence[_Parts]) -> bool:
    numbered = [part for part in parts if part.get("first")]
    if not numbered or any(part["mark"] == "." or int(part["first"] or 0) > 12 for part in numbered):
        return True
    if any(int(part["second"] or 0) > 12 for part in numbered):
        return False
    raise ValueError("days and months cannot be told apart")


def _iso(part: _Parts, days_first: bool) -> str:
    if part.get("first"):
        day, month = (part["first"], part["second"]) if days_first else (part["second"], part["first"])
    else:
        day = part.get("day") or "1"
        month = part.get("month") or str(_MONTHS.index((part.get("name") or "jan").lower()) + 1)
    year = part.get("year") or ""
    if len(year) == 2:
        year = f"{'19' if int(year) >= _CENTURY else '20'}{year}"
    return f"{year}-{int(month or 0):02}-{int(day or 0):02}{(part.get('clock') or '').replace(',', '.')}"
