"""How a command ends: its exit status, one line that says why, and nothing half done left behind.

Ctrl-C and SIGTERM leave at once, from the handler of the signal. An exception would not always do: raised while JAX
calls back into Python it is swallowed, and a process that unwinds while XLA's threads compute may crash at the end.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
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
_PATIENCE, _GLANCE = 0.5, 0.01
"""Seconds until a child that does not end is killed, and between two looks at it."""
_SPOKEN_FOR = "RFM_SPOKEN_FOR"
"""Set in the environment of a child, whose parent says why they are stopped."""
_NOTHING_STORED = "nothing was stored, and an earlier result file, if any, is untouched"

_consequence = _NOTHING_STORED
_child: subprocess.Popen[bytes] | None = None
_is_starting = False
_missed: signal.Signals | None = None
"""A signal that came while a child was starting."""


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
        global _missed
        if _is_starting:
            _missed = signal.Signals(number)
        else:
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


def run_child(arguments: Sequence[str]) -> int:
    """The exit status of another program, which is stopped where this one is."""
    _start(arguments)
    assert _child is not None
    try:
        status = _child.wait()
    finally:
        _stop(_child)
    return status if status >= 0 else 128 - status


def _start(arguments: Sequence[str]) -> None:
    global _child, _is_starting
    _is_starting = True
    try:
        # A session of its own: Ctrl-C reaches this process only, which then says one thing.
        _child = subprocess.Popen(arguments, start_new_session=True, env=os.environ | {_SPOKEN_FOR: "1"})
    finally:
        _is_starting = False
        if _missed is not None:
            signal.raise_signal(_missed)


def _stop(child: subprocess.Popen[bytes]) -> None:
    """Ends a child, without Popen's own wait: a signal may have interrupted that, and it holds a lock then."""
    end = time.monotonic() + _PATIENCE
    with contextlib.suppress(ChildProcessError):  # it has ended, and was waited for
        if _is_running(child):
            os.kill(child.pid, signal.SIGTERM)  # no hang-up, which nohup would have it ignore
        while _is_running(child):
            if time.monotonic() > end:
                child.kill()
            time.sleep(_GLANCE)


def _is_running(child: subprocess.Popen[bytes]) -> bool:
    if child.returncode is None:
        number, status = os.waitpid(child.pid, os.WNOHANG)
        child.returncode = os.waitstatus_to_exitcode(status) if number else None
    return child.returncode is None


def _leave(program: str, number: signal.Signals) -> None:
    files = sys.modules.get("rfm.files")  # imported here it would take jax along; where it isn't, nothing was written
    if files is not None:
        files.remove_temporaries()
    if _child is not None:
        _stop(_child)
    word = _SIGNALS[number.name]
    if word and _SPOKEN_FOR not in os.environ:
        with contextlib.suppress(OSError):
            cursor = _SHOW_CURSOR if os.isatty(2) else ""
            os.write(2, f"{cursor}{program}: {word}; {_consequence}\n".encode())
    os._exit(128 + number)
