"""Checks of the arguments from which problems are made; those of arrays are in `theory.checks`."""

import numbers
from collections.abc import Iterable


def check_count(name: str, value: float, *, least: int = 1) -> None:
    """Raises ValueError unless the value is a whole number, `least` or more."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise ValueError(f"{name}: must be a whole number of at least {least}, got {value!r}")


def check_choice(name: str, value: str, known: Iterable[str]) -> None:
    """Raises ValueError unless the value is a known name; the message lists them."""
    if value not in set(known):
        raise ValueError(f"{name}: {value!r} is not known; pass one of {', '.join(sorted(known))}")
