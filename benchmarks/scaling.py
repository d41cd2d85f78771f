"""How time and memory grow with the originals and the features: `python -m benchmarks.scaling`, then `figures.scaling`.

Each size is measured in a process of its own: the fastest of some calls, after the first has compiled; memory is that
of the first, beyond what was there before it. The closed form
makes the table of all pairs, expected Mixup streams them.
"""

import argparse
import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from rich.progress import track

import rfm
from benchmarks import machine, peak, problems
from benchmarks.harness import seconds
from experiments import outputs, provenance, store
from experiments.fields import Config
from experiments.variables import Variable, Variables

NUM_RATIOS = 16
NUM_POINTS = 5
ROUNDS, PATIENCE = 5, 10.0
"""The fastest of so many calls counts; none begins after so many seconds."""


class Sweep(NamedTuple):
    """Sizes along one axis, the other one fixed."""

    originals: tuple[int, ...]
    features: tuple[int, ...]


SWEEPS = {
    ("closed form", "originals"): Sweep((20, 35, 60, 100, 170), (500,) * NUM_POINTS),
    ("closed form", "features"): Sweep((60,) * NUM_POINTS, (300, 600, 1200, 2400, 4800)),
    ("expected Mixup", "originals"): Sweep((30, 60, 120, 240, 480), (500,) * NUM_POINTS),
    ("expected Mixup", "features"): Sweep((60,) * NUM_POINTS, (300, 600, 1200, 2400, 4800)),
}


def measure() -> Variables:
    """All sweeps: seconds and bytes, by what is computed, by the axis that grows, and by its size."""
    works, axes = ("closed form", "expected Mixup"), ("originals", "features")
    shape = (len(works), len(axes), NUM_POINTS)
    originals, features, seconds, extra = (np.empty(shape) for _ in range(4))
    places = [(i, j, k) for i in range(shape[0]) for j in range(shape[1]) for k in range(NUM_POINTS)]
    for i, j, k in track(places, "measuring"):
        sweep = SWEEPS[works[i], axes[j]]
        originals[i, j, k], features[i, j, k] = sweep.originals[k], sweep.features[k]
        command = [sys.executable, "-m", "benchmarks.scaling", "--one", works[i], str(sweep.originals[k])]
        output = subprocess.run([*command, str(sweep.features[k])], check=True, capture_output=True, text=True).stdout
        seconds[i, j, k], extra[i, j, k] = json.loads(output)
    dims = ("work", "axis", "point")
    return {
        "work": Variable(("work",), np.asarray(works), "1", "what is computed"),
        "axis": Variable(("axis",), np.asarray(axes), "1", "which size grows"),
        "num_samples": Variable(dims, originals, "1", "originals, n"),
        "num_features": Variable(dims, features, "1", "features, p"),
        "seconds": Variable(dims, seconds, "s", "time of the fastest call"),
        "extra_bytes": Variable(dims, extra, "byte", "peak memory of the first call, beyond what was there"),
    }


def _one(work: str, num_samples: int, num_features: int) -> tuple[float, float]:
    """Seconds and bytes of one size."""
    warnings.simplefilter("ignore", rfm.PrecisionWarning)

    def compute() -> object:
        if work == "closed form":
            problem = problems.mixup_problem.__wrapped__(num_samples, num_features)
            return rfm.closed_form(problem, times=problems.TIMES, method="gram")
        sample, features, test = problems.random_setting(num_samples, num_features, "relu")
        law = rfm.Mixup(alpha=1.0, pairs="expected")
        return rfm.expected_mixup(sample, features, law, population=test, method="gram", num_ratios=NUM_RATIOS).smoother

    extra = peak.extra_bytes(lambda: jax.block_until_ready(compute()))
    times: list[float] = []
    while len(times) < ROUNDS and sum(times) < PATIENCE:
        times.append(seconds(compute))
    return min(times), float("nan") if extra is None else float(extra)


def main() -> None:
    """Measures, and stores what `figures.scaling` draws."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("output", nargs="?", type=Path, default=Path("results/scaling.nc"), help="the result file")
    parser.add_argument("--one", nargs=3, metavar=("WORK", "N", "P"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    if arguments.one:
        work, num_samples, num_features = arguments.one
        print(json.dumps(_one(work, int(num_samples), int(num_features))))
        return
    outputs.check_result(arguments.output)
    origin = provenance.collect(Config(num_seeds=1), provenance.this_command()) | {"machine": machine.describe()}
    store.write(arguments.output, "scaling", measure(), origin)
    print(f"result: {arguments.output}")


if __name__ == "__main__":
    main()
