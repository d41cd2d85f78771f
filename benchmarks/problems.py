"""The problems that are timed: a two-layer teacher, tanh random features, all pairs of Mixup at ratio 1/2."""

import functools

import jax
import numpy as np

import rfm

NUM_TEST = 2000
INPUT_DIM = 10
TIMES = np.concatenate([[0.0], np.geomspace(0.1, 1e6, 199)])
"""200 flow times, from the fastest mode to far past the turning point."""


@functools.cache
def mixup_problem(
    num_originals: int, num_features: int, seed: int = 0, law: rfm.mixup.Law | None = None
) -> rfm.Problem:
    """Of all pairs unless the law says otherwise, with clean labels."""
    teacher_key, feature_key, sample_key, test_key = jax.random.split(jax.random.key(seed), 4)
    task = rfm.TeacherStudent(input_dim=INPUT_DIM, num_hidden=10, activation="tanh", key=teacher_key)
    features = rfm.RandomFeatures(input_dim=INPUT_DIM, num_features=num_features, activation="tanh", key=feature_key)
    population = task.test_set(features, num_samples=NUM_TEST, key=test_key)
    sample = task.sample(num_samples=num_originals, key=sample_key)
    problem = rfm.synthesize(sample, features, law or rfm.Mixup(lam=0.5), population=population)
    assert isinstance(problem, rfm.Problem)  # and not a streamed one
    return problem


def tall() -> rfm.Problem:
    """4900 x 1000."""
    return mixup_problem(70, 1000)


def plain() -> rfm.Problem:
    """70 x 1000: the originals of the tall one, without mixing."""
    return mixup_problem(70, 1000, law=rfm.ERM())


@functools.cache
def family() -> rfm.decide.MixupFamily:
    """Of 60 originals with noisy labels, in 200 features."""
    task = rfm.TeacherStudent(5, 10, weight_std=1.0, label_noise_std=0.5, key=jax.random.key(0))
    features = rfm.RandomFeatures(5, 200, weight_std=2.0, key=jax.random.key(1))
    sample = task.sample(60, key=jax.random.key(2))
    return rfm.decide.mixup_family(sample, features, population=task.population(features))


def wide() -> rfm.Problem:
    """400 x 3000."""
    return mixup_problem(20, 3000)


def without_clean_labels(problem: rfm.Problem) -> rfm.Problem:
    """The same problem, whose label noise nobody knows."""
    return rfm.Problem(problem.features, problem.labels, population=problem.population)


def random_setting(
    num_samples: int, num_features: int, activation: str
) -> tuple[rfm.Sample, rfm.RandomFeatures, rfm.TestSet]:
    """Originals, features and a small test set, from which a law makes a problem."""
    teacher_key, feature_key, sample_key, test_key = jax.random.split(jax.random.key(0), 4)
    task = rfm.TeacherStudent(input_dim=INPUT_DIM, num_hidden=10, weight_std=3.0, key=teacher_key)
    features = rfm.RandomFeatures(INPUT_DIM, num_features, activation, key=feature_key)
    test = task.test_set(features, NUM_TEST // 4, key=test_key)
    assert isinstance(test, rfm.TestSet)  # the features are finitely many
    return task.sample(num_samples, key=sample_key), features, test
