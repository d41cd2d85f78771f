"""One small problem of expected Mixup."""

import jax
import numpy as np
import pytest

import rfm

KEYS = jax.random.split(jax.random.key(23), 6)
TASK = rfm.TeacherStudent(input_dim=4, num_hidden=5, weight_std=2.0, label_noise_std=0.1, key=KEYS[0])
FEATURES = rfm.RandomFeatures(input_dim=4, num_features=12, bias_std=0.3, key=KEYS[1])
SAMPLE = TASK.sample(num_samples=7, key=KEYS[2])
TEST = TASK.test_set(FEATURES, num_samples=40, key=KEYS[3])
UNIFORM = rfm.Mixup(alpha=1.0, pairs="expected")
METHODS = ["gram", "qr"]


def expected(law: rfm.Mixup = UNIFORM, **settings: object) -> rfm.expected.ExpectedProblem:
    return rfm.expected_mixup(SAMPLE, FEATURES, law, population=TEST, **settings)


def moments(problem: rfm.expected.ExpectedProblem) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """C, b, the clean force and the power of the labels, put together again from the spectrum."""
    found = problem.spectrum()
    scaled = np.asarray(found.modes) * np.sqrt(found.eigenvalues)
    a = np.asarray(found.label_coordinates)
    power = np.sum(a**2, axis=0) + found.label_outside
    return scaled @ scaled.T, scaled @ a, scaled @ np.asarray(found.clean_coordinates), power


def smallest_budget(method: str) -> int:
    with pytest.raises(ValueError, match="memory_budget: 1 bytes cannot hold one block") as caught:
        expected(method=method, memory_budget=1)
    return int(str(caught.value).split()[-1])
