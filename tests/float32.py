"""The README's way through the house in single precision, as JAX computes unless it is told otherwise.

``python -m tests.float32`` prints what came out in another precision, or not finite.
"""

import warnings
from collections.abc import Iterator
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

import rfm
import theory


def main() -> None:
    """Prints one line a fault, and how many arrays there were; a warning of anything but rounding is an error."""
    warnings.simplefilter("error")
    warnings.simplefilter("ignore", rfm.PrecisionWarning)
    with mock.patch("equinox.error_if", side_effect=AssertionError("what was checked is checked again inside")):
        found = {
            name + jax.tree_util.keystr(path): wrong(leaf)
            for name, record in records()
            for path, leaf in jax.tree_util.tree_leaves_with_path(record)
        }
    for name, fault in found.items():
        if fault:
            print(f"{name}: {fault}")
    print(f"{len(found)} arrays")


def records() -> Iterator[tuple[str, object]]:
    """What every step of the way returns."""
    task = rfm.TeacherStudent(input_dim=4, num_hidden=3, weight_std=3.0, label_noise_std=0.1, key=jax.random.key(0))
    features = rfm.RandomFeatures(input_dim=4, num_features=12, activation="tanh", key=jax.random.key(1))
    sample = task.sample(num_samples=6, key=jax.random.key(2))
    population = task.population(features)
    yield "sample", (sample.inputs, sample.labels)
    yield "population", population
    law = rfm.Mixup(lam=0.3)
    problem = rfm.synthesize(sample, features, law, population=population)
    solution = rfm.solve(problem)
    yield "solution", solution.spectrum
    times, steps = jnp.logspace(0, 3, 5), [1, 10, 100]
    yield "curve", solution.curve(times=times)
    rule = theory.GradientDescent(step_size=1 / solution.largest_eigenvalue())
    yield "descent", solution.curve(rule=rule, steps=steps)
    yield "trained", rfm.simulate(problem, rule=rule, steps=steps)
    batches, size = rfm.Batches(4), 0.1 / solution.largest_eigenvalue()
    yield "batches", rfm.minibatch_curve(problem, batches=batches, step_size=size, steps=steps)
    flow, plain = theory.GradientFlow(), rfm.synthesize(sample, features, rfm.ERM(), population=population)
    phases = [rfm.TrainingPhase(problem, flow, 10.0), rfm.TrainingPhase(plain, flow)]
    yield "phases", rfm.closed_form_phases(phases, times=[1.0, 20.0])
    expected = rfm.synthesize(sample, features, rfm.Mixup(alpha=1.0, pairs="expected"), population=population)
    yield "expected", rfm.solve(expected).curve(times=times)
    test = task.test_set(features, num_samples=20, key=jax.random.key(3))
    table = rfm.Problem(features(sample.inputs), sample.labels, population=test)
    yield "table", rfm.closed_form(table, times=times)


def wrong(leaf: object) -> str:
    """What is wrong with a number or an array; "" for nothing, and for what is no number."""
    values = np.asarray(leaf)
    if values.dtype.kind != "f":
        return ""
    if isinstance(leaf, jax.Array) and values.dtype != np.float32:
        return f"is of {values.dtype}"
    return "" if np.all(np.isfinite(values)) else f"holds {values[~np.isfinite(values)].flat[0]}"


if __name__ == "__main__":
    main()
