"""How large: what a configuration may ask of this machine, said before any work is done."""

import os
from pathlib import Path

NUMBER = 8
"""Bytes of one, in double precision."""

_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def check_memory(names: str, numbers: float) -> None:
    """Raises ValueError if arrays of so many numbers do not fit into this machine.

    Args:
        names: the fields that decide how many.
        numbers: a lower estimate, in double precision.
    """
    needed, there = NUMBER * numbers, memory()
    if needed > there:
        raise ValueError(
            f"{names}: these sizes need at least {readable(needed)} of memory, and this machine has "
            f"{readable(there)}; pass smaller ones"
        )


def memory() -> float:
    """Bytes of memory that this process may use at most; infinity where nobody says."""
    limits = [float("inf")]
    if hasattr(os, "sysconf"):
        limits.append(float(os.sysconf("SC_PAGE_SIZE")) * os.sysconf("SC_PHYS_PAGES"))
    for file in map(Path, _CGROUP_LIMITS):
        try:
            limits.append(float(file.read_text()))
        except (OSError, ValueError):  # no such file, or the word max
            continue
    return min(limits)


def readable(size: float) -> str:
    for unit in ("MB", "GB", "TB", "PB"):
        size /= 1e6 if unit == "MB" else 1e3
        if size < 1000:
            break
    return f"{size:.3g} {unit}"
