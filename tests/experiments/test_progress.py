"""Where nobody sees a bar, a plain line a minute says how far the work has come."""

import io

import pytest
from rich.console import Console

from experiments import progress


@pytest.fixture
def clock(monkeypatch):
    """The time in seconds, to be set."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_file_gets_one_plain_line_a_minute(clock):
    console = Console(file=io.StringIO(), width=20)
    with progress.bars(console) as bars:
        task = bars.add_task("a stage [/red]", total=600)
        for _ in range(300):
            clock[0] += 1
            bars.advance(task, 1)
    lines = console.file.getvalue().splitlines()
    assert lines == [f"a stage [/red]: {60 * k} of 600 ({10 * k} %)" for k in (1, 2, 3, 4, 5)]


def test_what_takes_less_than_a_minute_says_nothing(clock):
    console = Console(file=io.StringIO())
    with progress.bars(console) as bars:
        task = bars.add_task("a stage", total=600)
        clock[0] += 59
        bars.update(task, completed=599)
    assert console.file.getvalue() == ""


def test_a_terminal_gets_bars():
    assert not progress.bars(Console(file=io.StringIO(), force_terminal=True)).disable
