"""What a run hands over: named arrays that explain themselves, and how far the work has come.

A plain record, so that runs know nothing of files; `experiments.store` turns a collection of them into one.
"""

from collections.abc import Callable

from theory.views import Variable

Variables = dict[str, Variable]

Advance = Callable[[int], object]
"""Called with the amount of work just done."""
Stage = Callable[[str, int], Advance]
"""Opens a stage of a run, given its name and its amount of work."""


def silent(name: str, total: int) -> Advance:
    """The stage of a run that nobody watches."""
    return lambda amount: None
