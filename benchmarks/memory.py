"""Peak memory of the closed form beyond what was there before it, each method in a process of its own.

The kernel's high-water mark is reset just before the call. The code has run once on a small problem by then; what
compiling for the real shape takes is counted in.
"""

import gc
import subprocess
import sys
import warnings
from pathlib import Path

import jax

import rfm
from benchmarks import problems
from benchmarks.harness import Row
from theory.spectrum import METHODS, Method

PROCESS = Path("/proc/self")


def memory() -> list[Row]:
    """4900 x 1000, all methods."""
    if not (PROCESS / "clear_refs").exists():
        return [Row("extra peak memory", (), "x Phi", 3.0, "this system does not tell (no /proc)")]
    return [
        Row(f"extra peak memory of the closed form, {method}", (_in_new_process(method),), "x Phi", 3.0)
        for method in METHODS
    ]


def _in_new_process(method: str) -> float:
    command = [sys.executable, "-m", "benchmarks.memory", method]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _measure(method: Method) -> float:
    problem, small = problems.tall(), problems.mixup_problem(5, 20)
    jax.block_until_ready(rfm.closed_form(small, times=problems.TIMES, method=method))
    gc.collect()
    (PROCESS / "clear_refs").write_text("5")  # the high-water mark falls to what is held now
    before = _kilobytes("VmRSS")
    jax.block_until_ready(rfm.closed_form(problem, times=problems.TIMES, method=method))
    return (_kilobytes("VmHWM") - before) * 1024 / problem.features.nbytes


def _kilobytes(field: str) -> int:
    lines = (PROCESS / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    warnings.simplefilter("ignore", rfm.PrecisionWarning)
    print(_measure(next(known for known in METHODS if known == sys.argv[1])))
