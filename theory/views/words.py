"""Numbers as a line of text says them, and which of them can be said at all."""

import jax
import numpy as np

from theory.checks import is_traced

THREE_DIGITS, LARGEST_PLAIN = 1e3, 99999.5
"""Between them, numbers are written as whole ones."""


def number(value: object) -> str:
    """Three digits, whole numbers up to 1e5, and beyond the shortest exponent.

    >>> number(1e8), number(1331.3), number(0.012345), number(-2e-9), number(float("nan"))
    ('1e8', '1331', '0.0123', '-2e-9', 'nan')
    """
    found = float(np.asarray(value))
    if THREE_DIGITS <= abs(found) < LARGEST_PLAIN:
        return f"{found:.0f}"
    digits, _, exponent = f"{found:.3g}".partition("e")
    return f"{digits}e{int(exponent)}" if exponent else digits


def counted(count: int, what: str) -> str:
    """So many things.

    >>> counted(1, "row"), counted(400, "row")
    ('1 row', '400 rows')
    """
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def extent(values: np.ndarray) -> str:
    """From the first to the last.

    >>> extent(np.asarray([1.0, 10.0, 1e4])), extent(np.asarray([2.0]))
    ('1 to 10000', '2')
    """
    first, last = number(values[0]), number(values[-1])
    return first if len(values) == 1 else f"{first} to {last}"


def are_known(*arrays: object) -> bool:
    """Whether all are arrays whose values can be looked at: none is traced, a shape only, elsewhere or deleted.

    >>> are_known(jax.numpy.ones(2), np.ones(())), are_known(jax.ShapeDtypeStruct((2,), float))
    (True, False)
    """
    return all(isinstance(array, np.ndarray) or (isinstance(array, jax.Array) and _is_here(array)) for array in arrays)


def _is_here(array: jax.Array) -> bool:
    return not is_traced(array) and array.is_fully_addressable and not array.is_deleted()
