"""How many programs are compiled before a new user sees something, and how long that takes: counted in a new process.

Each stage is what the README shows, one after the other; nothing is cached on disk.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

from benchmarks.harness import Row

STAGES = {
    "the README's first curve": 45,
    "the same curve at another number of times": 4,
    "an expected Mixup and its curve": 30,
    "the first mini-batch curve": 20,
    "the README's training": 20,
}
"""What is done, and how many programs it may take."""


def programs() -> list[Row]:
    """All stages."""
    counted = in_a_new_process()
    return [
        Row(f"compiled for {what}", (number,), "programs", STAGES[what], f"{seconds:.2f} s of CPU time")
        for what, (number, seconds) in counted.items()
    ]


def in_a_new_process() -> dict[str, tuple[int, float]]:
    """Programs and CPU seconds of each stage."""
    fresh = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.programs"], capture_output=True, check=True, text=True, env=fresh
    )
    return {what: tuple(found) for what, found in json.loads(ran.stdout).items()}


def _count() -> dict[str, tuple[int, float]]:
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    compiled: list[float] = []

    def listen(event: str, seconds: float, **_: str | int) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(seconds)

    jax.monitoring.register_event_duration_secs_listener(listen)
    import rfm
    import theory

    found: dict[str, tuple[int, float]] = {}

    def stage(what: str, work: Callable[[], object]) -> None:
        before, began = len(compiled), time.process_time()
        jax.block_until_ready(work())
        found[what] = len(compiled) - before, time.process_time() - began

    def first_curve() -> object:
        nonlocal task, features, sample, problem, solution
        task = rfm.TeacherStudent(input_dim=10, num_hidden=10, weight_std=3.0, key=jax.random.key(0))
        features = rfm.RandomFeatures(input_dim=10, num_features=200, activation="tanh", key=jax.random.key(1))
        sample = task.sample(num_samples=20, key=jax.random.key(2))
        problem = rfm.synthesize(sample, features, rfm.Mixup(lam=0.5), population=task.population(features))
        solution = rfm.solve(problem)
        exact = solution.curve(times=jnp.logspace(0, 8, 200))
        return exact.turning_time, exact.overtraining_penalty

    def other_times() -> object:
        return solution.curve(times=jnp.logspace(0, 8, 300)).turning_time

    def expected() -> object:
        law = rfm.Mixup(alpha=1.0, pairs="expected")
        mixed = rfm.synthesize(sample, features, law, population=problem.population)
        return rfm.solve(mixed).curve(times=jnp.logspace(0, 8, 200)).turning_time

    def minibatch() -> object:
        step = 0.1 / solution.largest_eigenvalue()
        return rfm.minibatch_curve(solution, rfm.Batches(8), step_size=step, steps=[1, 10, 100]).risk

    def training() -> object:
        rule, steps = theory.GradientDescent(step_size=1 / solution.largest_eigenvalue()), [1, 10, 100, 1000]
        trained, predicted = rfm.simulate(problem, rule=rule, steps=steps), solution.curve(rule=rule, steps=steps)
        return jnp.max(jnp.abs(trained.risk / predicted.risk - 1))

    task = features = sample = problem = solution = None
    works = (first_curve, other_times, expected, minibatch, training)
    for what, work in zip(STAGES, works, strict=True):
        stage(what, work)
    return found


if __name__ == "__main__":
    print(json.dumps(_count()))
