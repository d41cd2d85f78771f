"""Real training against the same matrix-vector products called straight from BLAS, and batches against single runs."""

import jax
import jax.numpy as jnp
import numpy as np

import rfm
from benchmarks import problems
from benchmarks.harness import Row, Work, compare, interleave, now, own_clock

STEP_SIZE = 0.5
NUM_STEPS = 150
BATCH = 20
BATCH_STEPS = 3000
SPEED = 1 / 0.6
"""At least 60 % of BLAS's speed."""


def simulation() -> list[Row]:
    """4900 x 1000, time a step; one column of weights, and two where clean labels are known."""
    one, two = problems.without_clean_labels(problems.tall()), problems.tall()
    return [
        _per_step("simulation, one column / BLAS", one, _blas_vector(one)),
        _per_step("simulation, two columns / BLAS", two, _blas_two_rows(two)),
        Row("simulation, set-up (largest eigenvalue)", _set_up(one), "s"),
    ]


def seeds() -> list[Row]:
    """20 seeds of 400 x 200 on all cores."""
    ensemble = [problems.mixup_problem(20, 200, seed) for seed in range(BATCH)]

    def together() -> object:
        return rfm.simulate_many(ensemble, step_size=STEP_SIZE, steps=[0, BATCH_STEPS])

    def in_turn() -> object:
        return [_train(problem) for problem in ensemble]

    return [compare(f"{BATCH} seeds batched / one after another", together, in_turn, at_most=0.8, rounds=5)]


def targets() -> list[Row]:
    """20 label vectors of one problem of 400 x 200."""
    problem = problems.without_clean_labels(problems.mixup_problem(20, 200))
    test = problem.population
    assert isinstance(test, rfm.TestSet)
    draws = jax.random.normal(jax.random.key(0), (BATCH, problem.labels.shape[0]))
    labels = [problem.labels[:, 0] + 0.1 * draw for draw in draws]
    singles = [rfm.Problem(problem.features, column, population=test) for column in labels]
    population = rfm.TestSet(test.features, jnp.tile(test.targets, (1, BATCH)))
    joint = rfm.Problem(problem.features, jnp.stack(labels, axis=1), population=population)

    def in_turn() -> object:
        return [_train(problem) for problem in singles]

    return [
        compare(f"{BATCH} label vectors as targets / 20 runs", lambda: _train(joint), in_turn, at_most=0.8, rounds=5)
    ]


def _train(problem: rfm.Problem) -> object:
    return rfm.simulate(problem, step_size=STEP_SIZE, steps=[0, BATCH_STEPS])


def _per_step(what: str, problem: rfm.Problem, peer: Work) -> Row:
    row = compare(what, _stepper(problem), peer, at_most=SPEED, clock=own_clock)
    return Row(what, row.values, "x", SPEED, row.note.replace("s and", "s a step and").replace(" s,", " s a step,"))


def _stepper(problem: rfm.Problem) -> Work:
    """Seconds a step, between two calls of `progress`: no compilation, no set-up."""

    def work() -> float:
        marks: list[float] = []
        rfm.simulate(problem, step_size=STEP_SIZE, steps=[1, 1 + NUM_STEPS], progress=lambda _: marks.append(now()))
        return (marks[-1] - marks[0]) / NUM_STEPS

    return work


def _set_up(problem: rfm.Problem) -> tuple[float, ...]:
    times, _ = interleave(lambda: problem.largest_eigenvalue(), lambda: None, rounds=3)
    return tuple(times)


def _blas_vector(problem: rfm.Problem) -> Work:
    phi, labels = np.asarray(problem.features), np.asarray(problem.labels)[:, 0]
    scale = STEP_SIZE / len(phi)

    def work() -> float:
        weights = np.zeros(phi.shape[1])
        began = now()
        for _ in range(NUM_STEPS):
            weights -= scale * (phi.T @ (phi @ weights - labels))
        return (now() - began) / NUM_STEPS

    return work


def _blas_two_rows(problem: rfm.Problem) -> Work:
    """Weights as rows: as columns the same products take BLAS twice as long."""
    phi = np.asarray(problem.features)
    labels = np.concatenate([np.asarray(problem.labels), np.asarray(problem.clean_labels)], axis=1).T.copy()
    scale = STEP_SIZE / len(phi)

    def work() -> float:
        weights = np.zeros((len(labels), phi.shape[1]))
        began = now()
        for _ in range(NUM_STEPS):
            weights -= scale * ((weights @ phi.T - labels) @ phi)
        return (now() - began) / NUM_STEPS

    return work
