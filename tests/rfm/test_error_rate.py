"""The 0-1 error of every record that has a test set of classes, against predictions made one by one."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rfm
import theory
from tests.tolerances import EXACT
from theory.classes import Classes

KEYS = jax.random.split(jax.random.key(11), 5)
NUM_CLASSES, NUM_TRAIN, NUM_TEST = 3, 12, 40


def blobs(number: int, key: jax.Array) -> tuple[np.ndarray, np.ndarray]:
    """Inputs around one of three corners, close enough to be mistaken."""
    of_row = np.arange(number) % NUM_CLASSES
    centres = np.asarray([[1.0, 0.0], [-1.0, 0.5], [0.0, -1.0]])
    return centres[of_row] + 0.9 * np.asarray(jax.random.normal(key, (number, 2))), of_row


FEATURES = rfm.RandomFeatures(2, 20, "tanh", weight_std=2.0, key=KEYS[0])
X, CLASS = blobs(NUM_TRAIN, KEYS[1])
TEST_X, TEST_CLASS = blobs(NUM_TEST, KEYS[2])
CODES = np.eye(NUM_CLASSES) - 1 / NUM_CLASSES
SAMPLE = rfm.Sample(jnp.asarray(X), jnp.asarray(CODES[CLASS]), None)
TEST = rfm.TestSet(FEATURES(jnp.asarray(TEST_X)), CODES[TEST_CLASS])
PHI_TEST = np.asarray(TEST.features)
STEPS = [0, 1, 3, 10, 30, 100, 300, 1000]


def share_wrong(weights: np.ndarray) -> float:
    """Each prediction's nearest label, by a loop over inputs; no two are as near here."""
    wrong = 0
    for row, truth in zip(PHI_TEST @ weights, TEST_CLASS, strict=True):
        distances = [float(np.sum((row - code) ** 2)) for code in CODES]
        wrong += int(np.argmin(distances)) != truth
    return wrong / NUM_TEST


def trained(features: np.ndarray, labels: np.ndarray, steps: int, step_size: float) -> np.ndarray:
    """Gradient descent, one step after the other."""
    theta = np.zeros((features.shape[1], labels.shape[1]))
    for _ in range(steps):
        theta = theta - step_size * features.T @ (features @ theta - labels) / len(features)
    return theta


@pytest.fixture(scope="module")
def problem() -> rfm.Problem:
    return rfm.synthesize(SAMPLE, FEATURES, rfm.Mixup(lam=0.3), population=TEST).table()


@pytest.fixture(scope="module")
def step_size(problem: rfm.Problem) -> float:
    return 1 / problem.largest_eigenvalue()


def test_curves_and_training_are_wrong_where_brute_force_is(problem: rfm.Problem, step_size: float) -> None:
    phi, labels = np.asarray(problem.features), np.asarray(problem.labels)
    expected = [share_wrong(trained(phi, labels, step, step_size)) for step in STEPS[1:]]
    rule = theory.GradientDescent(step_size)
    for curve in (rfm.closed_form(problem, rule=rule, steps=STEPS), rfm.simulate(problem, rule=rule, steps=STEPS)):
        assert np.allclose(curve.error_rate[1:], expected, rtol=0, atol=EXACT)
        assert np.isclose(curve.error_rate[0], 1 - 1 / NUM_CLASSES)  # nothing is learnt, and all classes tie
        lowest = min([*expected, 2 / 3])
        assert np.isclose(curve.lowest_error_rate, lowest)
        there = np.flatnonzero(np.isclose(curve.error_rate, lowest))
        times = step_size * np.asarray(STEPS)
        assert np.allclose(curve.lowest_error_times, times[[there[0], there[-1]]])
        assert np.isclose(curve.error_rate_penalty, expected[-1] - lowest)
    assert len(set(expected)) > 2


def test_features_that_outnumber_the_modes_change_nothing() -> None:
    """Then curves are evaluated in the coordinates of the modes."""
    plain = rfm.synthesize(SAMPLE, FEATURES, rfm.ERM(), population=TEST)
    times = jnp.logspace(0, 4, 30)
    curve = rfm.closed_form(plain, times=times)
    weights = np.asarray(theory.risk.weights(rfm.solve(plain).spectrum, theory.GradientFlow(), times))
    expected = [share_wrong(weights[:, place]) for place in range(len(times))]
    assert np.allclose(curve.error_rate, expected, rtol=0, atol=EXACT)


def test_phases_and_switches_know_it_too(problem: rfm.Problem, step_size: float) -> None:
    plain = rfm.synthesize(SAMPLE, FEATURES, rfm.ERM(), population=TEST).table()
    rule = theory.GradientDescent(step_size)
    phases = [rfm.TrainingPhase(problem, rule, 100), rfm.TrainingPhase(plain, rule)]
    found = rfm.simulate_phases(phases, steps=[50, 100, 300])
    exact = rfm.closed_form_phases(phases, steps=[50, 100, 300])
    assert np.allclose(found.error_rate, exact.error_rate, rtol=0, atol=EXACT)
    curve = rfm.closed_form_switch(problem, plain, rule=rule, budget=300, switch_times=[0, 100, 300])
    assert np.isclose(curve.error_rate[1], exact.error_rate[-1])


def test_runs_on_batches_have_that_of_their_weights(problem: rfm.Problem) -> None:
    runs = rfm.simulate_minibatch(
        problem, rfm.Batches(4), step_size=0.2, steps=[5, 50], keys=list(jax.random.split(KEYS[3], 3))
    )
    expected = [[share_wrong(np.asarray(runs.weights[run, time])) for time in range(2)] for run in range(3)]
    assert np.allclose(runs.parts.error_rate, expected, rtol=0, atol=EXACT)
    assert np.allclose(runs.curve(1).error_rate, expected[1], rtol=0, atol=EXACT)


def test_a_random_start_leaves_that_of_the_mean_weights(problem: rfm.Problem) -> None:
    times = [1.0, 100.0]
    begun = rfm.closed_form(problem, times=times, start=rfm.Start(variance=1.0))
    assert np.array_equal(begun.error_rate, rfm.closed_form(problem, times=times).error_rate)


def test_a_saved_solution_knows_its_classes(problem: rfm.Problem, tmp_path: Path) -> None:
    solution = rfm.solve(problem)
    solution.save(tmp_path / "solution.npz")
    again = rfm.Solution.load(tmp_path / "solution.npz")
    assert np.array_equal(again.curve(times=[1.0, 10.0]).error_rate, solution.curve(times=[1.0, 10.0]).error_rate)


def test_it_is_a_column_of_the_views(problem: rfm.Problem) -> None:
    curve = rfm.closed_form(problem, times=[1.0, 10.0])
    assert np.array_equal(curve.to_xarray()["error_rate"], curve.error_rate)
    assert "error_rate" in curve.to_pandas()
    assert "error_rate" not in rfm.closed_form(_of_numbers(), times=[1.0, 10.0]).to_xarray()


def _of_numbers() -> rfm.Problem:
    return rfm.Problem(jnp.eye(3), jnp.ones(3), population=rfm.TestSet(jnp.eye(3), jnp.asarray([1.0, 2.0, 4.0])))


def test_numbers_and_a_single_class_and_a_distribution_have_none() -> None:
    task = rfm.TeacherStudent(2, 3, key=KEYS[4])
    gauss = rfm.synthesize(task.sample(4, key=KEYS[4]), FEATURES, rfm.ERM(), population=task.population(FEATURES))
    single = rfm.Problem(jnp.eye(3), CODES, population=rfm.TestSet(jnp.eye(3), np.tile(CODES[:1], (3, 1))))
    for problem in (_of_numbers(), single, gauss):
        with pytest.raises(ValueError, match=r"^error_rate: the risk is not over a test set of classes; pass an"):
            _ = rfm.closed_form(problem, times=[1.0]).error_rate


@given(st.integers(0, 10**6), st.integers(2, 5), st.floats(0.1, 10), st.lists(st.floats(-3, 3), min_size=5, max_size=5))
def test_constants_added_to_labels_and_predictions_change_no_class(
    seed: int, number: int, scale: float, shift: list[float]
) -> None:
    drawn = np.random.default_rng(seed)
    of_row = drawn.permutation(np.concatenate([[0, 1], drawn.integers(0, number, 10)]))
    codes, moved = np.eye(number), np.asarray(shift[:number])
    predictions = drawn.normal(size=(12, 4, number))
    plain, other = Classes.of(jnp.asarray(codes[of_row])), Classes.of(jnp.asarray(scale * codes[of_row] - moved))
    assert plain is not None
    assert other is not None
    assert np.array_equal(other.of_row, of_row)
    ours = other.error_rate(jnp.asarray(scale * predictions - moved))
    assert np.allclose(ours, plain.error_rate(jnp.asarray(predictions)), rtol=0, atol=EXACT)


@pytest.mark.parametrize("values", [(-1.0, 1.0), (0.0, 1.0), (-0.3, 5.0)])
def test_one_column_of_two_values_is_parted_in_the_middle(values: tuple[float, float]) -> None:
    of_row = np.asarray([0, 1, 1, 0])
    classes = Classes.of(jnp.asarray(np.asarray(values)[of_row])[:, None])
    assert classes is not None
    middle = np.mean(values)
    predictions = jnp.asarray(middle + np.asarray([-0.1, 0.1, -0.1, 0.1]))[:, None, None]
    assert classes.error_rate(predictions).tolist() == [0.5]
    assert classes.error_rate(jnp.full((4, 1, 1), middle)).tolist() == pytest.approx([0.5])  # a tie


@pytest.mark.parametrize(
    "targets",
    [
        np.asarray([[0.0], [1.0], [2.0]]),
        np.asarray([[1.0, 1.0], [0.0, 1.0]]),
        np.asarray([[0.7, 0.3], [0.2, 0.8], [0.0, 1.0]]),
        np.asarray([[2.0, 0.0], [0.0, 1.0]]),
        np.ones((3, 2)),
        np.ones((3, 1)),
    ],
    ids=["three numbers", "not one-hot", "soft", "of two heights", "a single class", "a constant"],
)
def test_what_is_no_class(targets: np.ndarray) -> None:
    assert Classes.of(jnp.asarray(targets)) is None


def test_single_precision_is_enough_to_know_classes() -> None:
    codes = (CODES[TEST_CLASS] - CODES[TEST_CLASS].mean(axis=0)).astype(np.float32)
    classes = Classes.of(jnp.asarray(codes))
    assert classes is not None
    assert np.array_equal(classes.of_row, TEST_CLASS)
