"""Peak memory of the closed form beyond what was there before it, each method in a process of its own.

The kernel's high-water mark is reset just before the call. The code has run once on a small problem by then; what
compiling for the real shape takes is counted in, and shows in the difference to a second call.
"""

import subprocess
import sys
import warnings

import jax

import rfm
from benchmarks import peak, problems
from benchmarks.harness import Row
from theory.spectrum import METHODS, Method


def memory() -> list[Row]:
    """4900 x 1000, all methods."""
    if not peak.IS_TOLD:
        return [Row("extra peak memory", (), "x Phi", 3.0, "this system does not tell (no /proc)")]
    return [_row(method) for method in METHODS]


def _row(method: Method) -> Row:
    first, second = in_new_process(method)
    note = f"{second:.2f} x Phi in a second call"
    return Row(f"extra peak memory of the closed form, {method}", (first,), "x Phi", 3.0, note)


def in_new_process(method: Method, *, split: bool = True) -> tuple[float, float]:
    """The tall problem in units of its features: the first call and a second; the risk split into parts, or total."""
    command = [sys.executable, "-m", "benchmarks.memory", method, *([] if split else ["--total"])]
    first, second = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(first), float(second)


def _measure(method: Method, *, split: bool) -> list[float]:
    problem, small = problems.tall(), problems.mixup_problem(5, 20)
    if not split:
        problem, small = problems.without_clean_labels(problem), problems.without_clean_labels(small)

    def solve(problem: rfm.Problem) -> None:
        jax.block_until_ready(rfm.closed_form(problem, times=problems.TIMES, method=method))

    solve(small)
    return [peak.extra_bytes(lambda: solve(problem)) / problem.features.nbytes for _ in range(2)]


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    warnings.simplefilter("ignore", rfm.PrecisionWarning)
    print(*_measure(next(known for known in METHODS if known == sys.argv[1]), split="--total" not in sys.argv))
