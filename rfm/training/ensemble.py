"""Several problems trained side by side, such as the seeds of an ensemble."""

import os
import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor

from jaxtyping import PRNGKeyArray

import theory
from rfm.checks import check_keys
from rfm.problem import Problem
from rfm.training.full import Progress, simulate
from theory.checks import Clock, untraced


@untraced
def simulate_many(
    problems: Sequence[Problem],
    *,
    step_size: float,
    steps: Clock,
    ridge: float = 0.0,
    start: theory.Start | None = None,
    keys: Sequence[PRNGKeyArray] | None = None,
    progress: Progress | None = None,
    num_workers: int | None = None,
) -> list[theory.curve.MeasuredCurve]:
    """`simulate` for several problems, such as the seeds of an ensemble: compiled once, trained on all cores.

    The curves are those of `simulate`, bit for bit, whatever the number of workers. (Separate matrices on separate
    cores beat one batched product: a batch of matrices no longer fits the caches that one matrix does.)

    Args:
        problems: one a seed.
        step_size: eta, the same for all.
        steps: the step counts to record at.
        ridge: coupled weight decay.
        start: the initial weights; None for zero.
        keys: one a problem, for a random start.
        progress: called with the steps done, from any of the workers.
        num_workers: threads; None for one a core.
    """
    if keys is not None:
        check_keys("keys", keys, "problem")
        if len(keys) != len(problems):
            raise ValueError(f"keys: there are {len(keys)} for {len(problems)} problems; pass one a problem")
    stopped = threading.Event()

    def report(steps: int) -> None:
        if stopped.is_set():
            raise CancelledError
        if progress is not None:
            progress(steps)

    def run(index: int) -> theory.curve.MeasuredCurve:
        key = None if keys is None else keys[index]
        return simulate(
            problems[index], step_size=step_size, steps=steps, ridge=ridge, start=start, key=key, progress=report
        )

    with ThreadPoolExecutor(num_workers or os.cpu_count()) as pool:
        try:
            return list(pool.map(run, range(len(problems))))
        except BaseException:  # Ctrl-C reaches this thread only: without a word, the others would train to the end
            stopped.set()
            raise
