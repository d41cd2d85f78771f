"""What a run hands over: named arrays that say along which axes they run, in what unit, and what they are.

A plain record, so that runs know nothing of files; `experiments.store` turns a collection of them into one.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Variable(NamedTuple):
    """An array that explains itself.

    Attributes:
        dims: the name of each axis; a variable with the name of its one axis is that axis's coordinate.
        values: the numbers, or strings.
        units: "1" for pure numbers.
        long_name: as a reader of a plot would say it.
    """

    dims: tuple[str, ...]
    values: np.ndarray
    units: str
    long_name: str


Variables = dict[str, Variable]

Advance = Callable[[int], object]
"""Called with the amount of work just done."""
Stage = Callable[[str, int], Advance]
"""Opens a stage of a run, given its name and its amount of work."""


def silent(name: str, total: int) -> Advance:
    """The stage of a run that nobody watches."""
    return lambda amount: None
