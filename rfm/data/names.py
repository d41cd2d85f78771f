"""Names of columns as users write them: one string with commas between names, or a list; chosen from a header."""

import csv
import difflib
from collections import Counter
from collections.abc import Sequence

Names = str | Sequence[str]
MOST_LISTED = 50
"""Names of a header that an error lists."""


def choose(source: str, argument: str, names: Names, header: Sequence[str]) -> list[str]:
    """The columns that are named, in that order.

    Args:
        source: whose columns they are, for errors.
        argument: what names them, for errors.
        names: a list; or one string, which is a name, or names with commas between them, as in a line of a .csv file.
        header: all names that there are.

    Raises:
        ValueError: a name that is not known, with those that are like it, or one that is given twice.

    >>> choose("a.csv", "inputs", "area, m2", ["area, m2", "rooms"])
    ['area, m2']
    >>> choose("a.csv", "inputs", '"area, m2",rooms', ["area, m2", "rooms"])
    ['area, m2', 'rooms']
    """
    chosen = _split(names, header) if isinstance(names, str) else [str(name) for name in names]
    if unknown := [name for name in chosen if name not in set(header)]:
        asked = ", ".join(name + _alike(name, header) for name in unknown)
        raise ValueError(
            f"{argument}: {source} has no column {asked}; it has {listed_names(header)}{_hint(names, header)}"
        )
    if twice := repeated(chosen):
        raise ValueError(f"{argument}: {', '.join(twice)} is named more than once; name each column once")
    return chosen


def repeated(names: Sequence[str]) -> list[str]:
    """Those that occur more than once, sorted.

    >>> repeated(["b", "a", "b"])
    ['b']
    """
    return sorted(name for name, count in Counter(names).items() if count > 1)


def listed(names: Sequence[str]) -> str:
    """All names, or the first of very many, with commas between them.

    >>> listed([f"x{i}" for i in range(60)])[-17:]
    '... (60 in all)'
    """
    if len(names) <= MOST_LISTED:
        return ", ".join(names)
    return f"{', '.join(names[:MOST_LISTED])}, ... ({len(names)} in all)"


def listed_names(names: Sequence[str]) -> str:
    """The same of names, those that hold a comma between quotes.

    >>> listed_names(["area, m2", "rooms"])
    '"area, m2", rooms'
    """
    return listed([f'"{name}"' if "," in name else name for name in names])


def _split(names: str, header: Sequence[str]) -> list[str]:
    if not names.strip():
        return []
    if names in header:
        return [names]
    return [name.strip() for name in next(csv.reader([names], skipinitialspace=True))]


def _alike(name: str, header: Sequence[str]) -> str:
    by_small = {other.lower(): other for other in header}
    found = [by_small[small] for small in difflib.get_close_matches(name.lower(), by_small)]
    return f" (did you mean {' or '.join(found)}?)" if found else ""


def _hint(names: Names, header: Sequence[str]) -> str:
    """What may have gone wrong with cells that hold a comma, or are parted by another mark."""
    if len(header) == 1:
        return "; if its cells are parted by another mark, pass that (--separator)"
    split = next((name for name in header if "," in name and isinstance(names, str) and name in names), None)
    return "" if split is None else f"; put a name that holds a comma between quotes, as in '\"{split}\",...'"
