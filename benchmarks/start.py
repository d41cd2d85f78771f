"""How long a reader waits for help."""

import subprocess
import sys
import time
from pathlib import Path

from benchmarks.harness import Row

ROUNDS = 5


def start() -> list[Row]:
    """`rfm ucurve --help`, in a new process."""
    command = Path(sys.executable).parent / "rfm"
    what = "cold start of `rfm ucurve --help`"
    if not command.exists():
        return [Row(what, (), "s", 1.0, "not there")]
    if subprocess.run([command, "ucurve", "--help"], capture_output=True, check=False).returncode != 0:
        return [Row(what, (), "s", 1.0, "the command failed")]
    return [Row(what, tuple(_seconds(command) for _ in range(ROUNDS)), "s", 1.0)]


def _seconds(command: Path) -> float:
    began = time.perf_counter()
    subprocess.run([command, "ucurve", "--help"], capture_output=True, check=True)
    return time.perf_counter() - began
