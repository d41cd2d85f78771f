"""How large and how strong: what a configuration may ask for, said with the flag's own name before any work is done.

The ranges are far wider than any experiment needs. Beyond them numbers overflow in the middle of a formula, whose words
would name things that nobody passed.
"""

import os
from pathlib import Path

from theory.checks import check_count, check_not_negative, check_positive

LARGEST_SEED = 2**63 - 1
MOST_STEPS = 2**53
"""Beyond, floating point no longer counts by ones."""
WEAKEST, STRONGEST = 1e-6, 1e6
"""Of what labels are multiplied by, or of noise."""
STEEPEST = 1e3
"""Of weights and biases in front of an activation; the expansions of steeper ones take minutes and gigabytes."""
MOST_SEEDS = 10**6
"""Each is named in the result's provenance."""
SHORTEST, LONGEST = 1e-30, 1e30
"""Of times, which are measured in 1/eigenvalue, whatever the features' scale."""
NUMBER = 8
"""Bytes of one, in double precision."""

_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def check_seed(seed: int) -> None:
    """Raises ValueError unless it is a whole number that a random key can hold."""
    check_count("seed", seed, least=0)
    if seed > LARGEST_SEED:
        raise ValueError(f"seed: must be at most 2^63 - 1 = {LARGEST_SEED}, got {seed}")


def check_steps(name: str, steps: int, *, least: int = 1) -> None:
    """Raises ValueError unless it is a number of steps that can be counted."""
    check_count(name, steps, least=least)
    if steps > MOST_STEPS:
        raise ValueError(f"{name}: must be at most 2^53 = {MOST_STEPS}, got {steps}")


def check_strength(name: str, value: float, most: float = STRONGEST) -> None:
    """Raises ValueError unless it is zero or positive and not beyond all measure."""
    check_not_negative(name, value)
    check_most(name, value, most)


def check_curvature(name: str, value: float, constant: str) -> None:
    """Raises ValueError unless weights of that spread make something that varies; `constant` says what else."""
    check_not_negative(name, value)
    if value < WEAKEST:
        raise ValueError(f"{name}: must be at least {WEAKEST:g}, got {value:g}; with weights of zero {constant}")
    check_most(name, value, STEEPEST)


def check_fraction(name: str, value: float) -> None:
    """Raises ValueError unless training moves with that share of the largest step; callers check the upper end."""
    check_positive(name, value)
    if value < WEAKEST:
        raise ValueError(f"{name}: must be at least {WEAKEST:g}, got {value:g}; with smaller steps nothing is learnt")


def check_time(name: str, value: float) -> None:
    """Raises ValueError unless it is a positive time that formulas can hold."""
    check_positive(name, value)
    if not SHORTEST <= value <= LONGEST:
        raise ValueError(f"{name}: must lie between {SHORTEST:g} and {LONGEST:g}, got {value:g}")


def check_most(name: str, value: float, most: float) -> None:
    """Raises ValueError if the value is larger than that."""
    if value > most:
        raise ValueError(f"{name}: must be at most {most:g}, got {value:g}")


def check_memory(names: str, numbers: float) -> None:
    """Raises ValueError if arrays of so many numbers do not fit into this machine.

    Args:
        names: the fields that decide how many.
        numbers: a lower estimate, in double precision.
    """
    needed, there = NUMBER * numbers, memory()
    if needed > there:
        raise ValueError(
            f"{names}: these sizes need at least {_readable(needed)} of memory, and this machine has "
            f"{_readable(there)}; pass smaller ones"
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


def _readable(size: float) -> str:
    for unit in ("MB", "GB", "TB", "PB"):
        size /= 1e6 if unit == "MB" else 1e3
        if size < 1000:
            break
    return f"{size:.3g} {unit}"
