"""Ratios from one run: the two sides take turns, and each round gives one ratio.

Where other programs want the same cores, BLAS's threads wait for each other, and ratios of times mean little.
`CPU_TIME` counts the processor time of this process; with one BLAS thread (none then waits) that is the work itself.
"""

import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import jax

Work = Callable[[], object]
Unit = Literal["x", "s", "GB", "x Phi", "relative", "calls", "programs"]

PATIENCE = 25.0
"""Seconds after which a comparison starts no further round (the machine is busy) but the `FEWEST_ROUNDS`."""
FEWEST_ROUNDS = 3
CPU_TIME = threading.Event()


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        what: what was measured, against what.
        values: one a round.
        unit: ``x`` for a ratio of times, ``s`` for seconds, ``GB`` and ``x Phi`` for memory, in units of the features,
            ``relative`` for an error, ``calls`` and ``programs`` for numbers of them.
        at_most: the target, or None for a figure without one.
        note: the seconds behind the ratio, or why there are no values.
    """

    what: str
    values: tuple[float, ...]
    unit: Unit
    at_most: float | None = None
    note: str = ""

    @property
    def median(self) -> float:
        """Of the rounds."""
        return statistics.median(self.values)

    @property
    def verdict(self) -> str:
        """Whether the median meets the target."""
        if self.at_most is None or not self.values:
            return "-"
        return "met" if self.median <= self.at_most else "NOT MET"

    @property
    def cells(self) -> tuple[str, str, str, str, str]:
        """What, measured, target, verdict, note."""
        measured = "-"
        if self.values:
            measured = f"{self.median:.3g} {self.unit}"
            if len(self.values) > 1:
                measured = f"{self.median:.3g} [{min(self.values):.3g} .. {max(self.values):.3g}] {self.unit}"
        target = "-" if self.at_most is None else f"<= {self.at_most:.3g} {self.unit}"
        return self.what, measured, target, self.verdict, self.note


def now() -> float:
    """Seconds on the clock of this run."""
    return time.process_time() if CPU_TIME.is_set() else time.perf_counter()


def seconds(work: Work) -> float:
    """The time that one call takes, its arrays waited for."""
    began = now()
    jax.block_until_ready(work())
    return now() - began


def own_clock(work: Work) -> float:
    """Of work that times itself, and gives back the seconds."""
    elapsed = work()
    assert isinstance(elapsed, float)
    return elapsed


def interleave(ours: Work, peer: Work, *, rounds: int, clock: Callable[[Work], float] = seconds) -> list[list[float]]:
    """The times of both, in turns, after one call of each that is not counted (it compiles, and touches the memory).

    Which goes first alternates, because what runs second finds the caches and the clock frequency that the first left.
    """
    sides = (ours, peer)
    times: list[list[float]] = [[], []]
    for side in sides:
        clock(side)
    began = time.perf_counter()
    for turn in range(rounds):
        if turn >= FEWEST_ROUNDS and time.perf_counter() - began > PATIENCE:
            break
        for index in (0, 1) if turn % 2 == 0 else (1, 0):
            times[index].append(clock(sides[index]))
    return times


def compare(
    what: str,
    ours: Work,
    peer: Work,
    *,
    at_most: float | None = None,
    rounds: int = 7,
    clock: Callable[[Work], float] = seconds,
) -> Row:
    """The ratio of our time to the peer's, round by round."""
    mine, theirs = interleave(ours, peer, rounds=rounds, clock=clock)
    ratios = tuple(a / b for a, b in zip(mine, theirs, strict=True))
    best = f"best of each {min(mine):.3g} s and {min(theirs):.3g} s, {min(mine) / min(theirs):.2f} x"
    return Row(what, ratios, "x", at_most, best)
