"""How far a run of minutes has come: bars on a terminal, and a plain line a minute where the output is none."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from experiments.variables import Advance, Stage

SECONDS_A_LINE = 60.0


def bars(console: Console) -> Progress:
    """Bars with the work done, the time gone and the time left; lines where the console is no terminal."""
    if not console.is_terminal:
        return _Lines(console=console, disable=True)
    columns = (
        TextColumn("{task.description:<12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),  # which moves while a program is compiled and the bar stands still
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, transient=True)


class _Lines(Progress):
    """Says at most once a minute how much of a task is done."""

    _said = 0.0

    def start(self) -> None:
        self._said = time.monotonic()

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        super().advance(task_id, advance)
        self._say(task_id)

    def update(self, task_id: TaskID, **changes: Any) -> None:
        super().update(task_id, **changes)
        self._say(task_id)

    def _say(self, task_id: TaskID) -> None:
        with self._lock:
            now = time.monotonic()
            if now - self._said < SECONDS_A_LINE:
                return
            self._said = now
            task = self._tasks[task_id]
            share = f"{task.completed:.0f}"
            if task.total:
                share += f" of {task.total:.0f} ({100 * task.completed / task.total:.0f} %)"
            self.console.print(f"{task.description}: {share}", highlight=False, markup=False, soft_wrap=True)


@contextmanager
def stages(console: Console, cost: Callable[[], object | None] = lambda: None) -> Iterator[Stage]:
    """One bar a stage of a run; before the first, when its input has been found good, what the run will cost."""
    with bars(console) as progress:

        def stage(name: str, total: int) -> Advance:
            if not progress.tasks and (words := cost()) is not None:
                progress.console.print(str(words), highlight=False, markup=False, soft_wrap=True)
            task = progress.add_task(name, total=total)
            return lambda amount: progress.advance(task, amount)

        yield stage
