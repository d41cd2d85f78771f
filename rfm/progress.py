"""A progress bar on the terminal for passes that take minutes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def bars(console: Console) -> Progress:
    """Bars with the work done and the time left; silent where the console is no terminal."""
    columns = (TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal, transient=True)


@contextmanager
def progress_bar(description: str = "blocks") -> Iterator[Callable[[int, int], object]]:
    """A bar with the time left, to be passed as ``progress=``; silent where standard error is no terminal.

    >>> with progress_bar("all pairs") as progress:
    ...     progress(1, 3)
    """
    console = Console(stderr=True)
    with bars(console) as bar:
        task = bar.add_task(description, total=None)

        def advance(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield advance
