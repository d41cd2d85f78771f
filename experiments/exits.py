"""How a command ends: its exit status, one line that says why, and nothing half done left behind.

Ctrl-C and SIGTERM leave at once, from the handler of the signal. An exception would not always do: raised while JAX
calls back into Python it is swallowed, and a process that unwinds while XLA's threads compute may crash at the end.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import IO

UNEXPECTED = 1
BAD_INPUT = 2
HUNG_UP, INTERRUPTED, TERMINATED = 129, 130, 143
"""128 and the number of the signal, as shells have it."""
SHOW_TRACEBACK = "RFM_TRACEBACK"

_SIGNALS = {"SIGHUP": "", "SIGINT": "interrupted", "SIGTERM": "terminated"}
"""By name, for not every system has all. At a hang-up there is nobody to tell."""
_SHOW_CURSOR = "\x1b[?25h\n"
_NOTHING_STORED = "nothing was stored, and an earlier result file, if any, is untouched"

_consequence = _NOTHING_STORED


def whole_process(program: str, run: Callable[[], int]) -> int:
    """`guarded`, where this process does nothing else: until it is done, Ctrl-C, SIGTERM and a hang-up end it."""
    leave_on_signals(program)
    try:
        return guarded(program, run)
    finally:
        # Python gives signals back to the system before it has ended, and one would then end it without a word.
        for number in _heard():
            signal.signal(number, signal.SIG_IGN)


def guarded(program: str, run: Callable[[], int]) -> int:
    """The exit status of what is run; an exception becomes one line.

    The exceptions of bad input are ValueError and OSError. Others are mistakes of this software, and pass through where
    the environment sets RFM_TRACEBACK.
    """
    try:
        return run()
    except BrokenPipeError:  # the reader of the output, such as head, has seen enough
        drop_output()
        return 0
    except (ValueError, OSError) as error:
        return _fail(program, str(error), BAD_INPUT)
    except KeyboardInterrupt:  # called from Python, where the handler is its own
        print(f"{program}: interrupted; {_consequence}", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        if os.environ.get(SHOW_TRACEBACK):
            raise
        if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
            return _fail(program, f"not enough memory ({error or type(error).__name__}); pass smaller sizes", BAD_INPUT)
        what = f"{type(error).__name__}: {error}; this is a bug: please report it"
        return _fail(program, f"{what} ({SHOW_TRACEBACK}=1 shows the traceback)", UNEXPECTED)


def _fail(program: str, message: str, status: int) -> int:
    print(f"{program}: error: {' '.join(message.splitlines())}", file=sys.stderr)
    return status


def drop_output(stream: IO[str] | None = None) -> None:
    """Sends a stream, standard output by default, nowhere from now on: its reader is gone, and the work goes on."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), (stream or sys.stdout).fileno())


def leave_on_signals(program: str) -> None:
    """From now on Ctrl-C, SIGTERM and a hang-up end this process, except those that whoever started it ignores."""

    def leave(number: int, frame: FrameType | None) -> None:
        _leave(program, signal.Signals(number))

    for number in _heard():
        signal.signal(number, leave)


def _heard() -> list[signal.Signals]:
    known = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
    return [number for number in known if signal.getsignal(number) is not signal.SIG_IGN]


def once_stopped(consequence: str = _NOTHING_STORED) -> None:
    """What to say from now on, if the process is stopped."""
    global _consequence
    _consequence = consequence


def _leave(program: str, number: signal.Signals) -> None:
    files = sys.modules.get("rfm.files")  # imported here it would take jax along; where it isn't, nothing was written
    if files is not None:
        files.remove_temporaries()
    word = _SIGNALS[number.name]
    if word:
        with contextlib.suppress(OSError):
            cursor = _SHOW_CURSOR if os.isatty(2) else ""
            os.write(2, f"{cursor}{program}: {word}; {_consequence}\n".encode())
    os._exit(128 + number)
