"""Where samples and test sets come from: ground truths, features, data sets."""

from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import rfm
import theory
from tests.tolerances import IDENTITY, P_VALUE, SAMPLING

DATA = Path(__file__).parents[3].parent / "shared" / "data"
KEYS = jax.random.split(jax.random.key(3), 8)
INPUTS = np.random.default_rng(0).normal(size=(7, 3))

NUMPY_ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "erf": lambda x: 2 * scipy.stats.norm.cdf(np.sqrt(2) * x) - 1,
    "gelu": lambda x: x * scipy.stats.norm.cdf(x),
    "sin": np.sin,
    "cos": np.cos,
    "sign": np.sign,
    "softplus": lambda x: np.log(1 + np.exp(x)),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "identity": lambda x: x,
    "abs": np.abs,
    "exp": np.exp,
    "gaussian": lambda x: np.exp(-(x**2)),
    "silu": lambda x: x / (1 + np.exp(-x)),
}


# --- activations, teachers, features -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NUMPY_ACTIVATIONS)
def test_a_teacher_is_its_formula(name: str) -> None:
    task = rfm.TeacherStudent(input_dim=3, num_hidden=5, activation=name, weight_std=2.0, key=KEYS[0])
    w, v = np.asarray(task.truth.weights), np.asarray(task.truth.readout)
    expected = NUMPY_ACTIVATIONS[name](INPUTS @ w.T / np.sqrt(3)) @ v / np.sqrt(5)
    assert np.allclose(task.truth(jnp.asarray(INPUTS)), expected, rtol=IDENTITY, atol=IDENTITY)


@pytest.mark.parametrize("name", NUMPY_ACTIVATIONS)
def test_random_features_are_their_formula(name: str) -> None:
    features = rfm.RandomFeatures(3, 6, name, weight_std=1.5, bias_std=0.5, key=KEYS[1])
    w, bias = np.asarray(features.weights), np.asarray(features.bias)
    expected = NUMPY_ACTIVATIONS[name](INPUTS @ w.T / np.sqrt(3) + bias) / np.sqrt(6)
    assert features.num_features == 6
    assert np.allclose(features(jnp.asarray(INPUTS)), expected, rtol=IDENTITY, atol=IDENTITY)


def test_every_named_activation_was_tested() -> None:
    assert set(NUMPY_ACTIVATIONS) == set(theory.duals.ACTIVATIONS)


def test_any_callable_is_an_activation() -> None:
    features = rfm.RandomFeatures(3, 6, lambda x: x**2, key=KEYS[1])
    linear = rfm.RandomFeatures(3, 6, "identity", key=KEYS[1])
    x = jnp.asarray(INPUTS)
    assert np.allclose(features(x), linear(x) ** 2 * np.sqrt(6), rtol=IDENTITY)


def test_weights_and_biases_have_the_scale_asked_for() -> None:
    features = rfm.RandomFeatures(50, 400, weight_std=0.7, bias_std=2.0, key=KEYS[2])
    assert scipy.stats.kstest(np.ravel(features.weights), scipy.stats.norm(0, 0.7).cdf).pvalue > P_VALUE
    assert scipy.stats.kstest(np.ravel(features.bias), scipy.stats.norm(0, 2.0).cdf).pvalue > P_VALUE
    assert np.all(rfm.RandomFeatures(5, 4, key=KEYS[2]).bias == 0)


def test_the_norm_of_features_stays_of_order_one_as_they_grow_in_number() -> None:
    x = jnp.asarray(np.random.default_rng(1).normal(size=(1, 40)))
    for num_features in (100, 10000):
        power = float(jnp.sum(rfm.RandomFeatures(40, num_features, "erf", key=KEYS[3])(x) ** 2))
        # |phi|^2 is a mean of p values in [0, 1].
        z = x[0] @ x[0] / 40
        expected = 2 / np.pi * np.arcsin(2 * z / (1 + 2 * z))  # E erf(h)^2, Williams (1997)
        assert abs(power - expected) < SAMPLING * 0.5 / np.sqrt(num_features)


def test_quadratic_and_linear_truths_are_their_formulas() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(3, 3)), rng.normal(size=3)
    quadratic = rfm.data.QuadraticTruth(jnp.asarray(a), jnp.asarray(b), 0.7)
    linear = rfm.data.LinearTruth(jnp.asarray(b), 0.7)
    expected = np.asarray([x @ b + 0.7 for x in INPUTS])
    assert np.allclose(linear(jnp.asarray(INPUTS)), expected, rtol=IDENTITY, atol=IDENTITY)
    expected += np.asarray([x @ a @ x / 2 for x in INPUTS])
    assert np.allclose(quadratic(jnp.asarray(INPUTS)), expected, rtol=IDENTITY, atol=IDENTITY)


# --- Gaussian tasks ------------------------------------------------------------------------------------------------


def test_a_sample_is_gaussian_with_noise_of_the_variance_asked_for() -> None:
    truth = rfm.data.LinearTruth(jnp.ones(4))
    task = rfm.GaussianTask(truth, input_dim=4, label_noise_std=0.3)
    sample = task.sample(5000, key=KEYS[4])
    noise = sample.labels - truth(sample.inputs)
    assert scipy.stats.kstest(np.ravel(sample.inputs), scipy.stats.norm.cdf).pvalue > P_VALUE
    assert scipy.stats.kstest(np.asarray(noise), scipy.stats.norm(0, 0.3).cdf).pvalue > P_VALUE
    assert sample.truth is truth


def test_a_test_set_holds_the_truth_without_noise() -> None:
    task = rfm.GaussianTask(rfm.data.LinearTruth(jnp.ones(4)), input_dim=4, label_noise_std=0.3)
    test = task.test_set(lambda x: x, 30, key=KEYS[4])
    assert np.allclose(test.targets[:, 0], task.truth(test.features), rtol=IDENTITY)


def test_keys_decide_everything() -> None:
    def draw(key: jax.Array) -> rfm.Sample:
        return rfm.TeacherStudent(4, 3, label_noise_std=1.0, key=KEYS[0]).sample(6, key=key)

    again, once, other = draw(KEYS[5]), draw(KEYS[5]), draw(KEYS[6])
    assert np.array_equal(once.inputs, again.inputs)
    assert np.array_equal(once.labels, again.labels)
    assert not np.any(once.inputs == other.inputs)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rfm.TeacherStudent(0, 3, key=KEYS[0]), "input_dim: must be a whole number of at least 1, got 0"),
        (lambda: rfm.TeacherStudent(3, 0, key=KEYS[0]), "num_hidden: must be a whole number of at least 1, got 0"),
        (lambda: rfm.TeacherStudent(3, 3, label_noise_std=-1.0, key=KEYS[0]), "label_noise_std: .* got -1.0"),
        (
            lambda: rfm.TeacherStudent(3, 3, "swish", key=KEYS[0]),
            "activation: 'swish' is not known; pass one of .*cos,",
        ),
        (lambda: rfm.RandomFeatures(3, 0, key=KEYS[0]), "num_features: must be a whole number of at least 1, got 0"),
        (lambda: rfm.RandomFeatures(3, 3, weight_std=np.nan, key=KEYS[0]), "weight_std: must be a finite number"),
        (
            lambda: rfm.RandomFeatures(3, 3, "swish", key=KEYS[0]),
            "activation: 'swish' is not known; pass one of .*cos,",
        ),
        (lambda: rfm.RandomFeatures(3, 3, key=KEYS[0])(jnp.ones((2, 4))), r"inputs: has shape \(2, 4\).*\(any, 3\)"),
        (lambda: rfm.TeacherStudent(3, 3, key=KEYS[0]).sample(0, key=KEYS[1]), "num_samples: .* at least 1, got 0"),
    ],
)
def test_bad_settings_of_tasks_and_features_are_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


# --- data ----------------------------------------------------------------------------------------------------------


def numbered_task(**settings: object) -> rfm.DataTask:
    rows = jnp.arange(20.0)
    return rfm.DataTask(jnp.stack([rows, -rows], axis=1), rows, **settings)


@pytest.mark.parametrize("key", [None, KEYS[0]])
def test_held_out_rows_are_never_sampled_and_none_is_lost(key: jax.Array | None) -> None:
    task = numbered_task(num_test=6, key=key)
    sample, test = task.sample(14, key=KEYS[1]), task.test_set(lambda x: x)
    assert isinstance(test, rfm.TestSet)
    seen, held_out = set(sample.labels.tolist()), set(test.targets[:, 0].tolist())
    assert len(seen) == 14
    assert len(held_out) == 6
    assert seen | held_out == set(range(20))
    assert np.array_equal(sample.inputs[:, 0], sample.labels)  # rows stay together
    assert np.array_equal(test.features[:, 0], test.targets[:, 0])
    if key is None:
        assert held_out == set(range(14, 20))


def test_part_of_the_held_out_rows_is_a_choice_of_them() -> None:
    task = numbered_task(num_test=6)
    assert task.test_set(lambda x: x, 2).targets[:, 0].tolist() == [14.0, 15.0]
    drawn = task.test_set(lambda x: x, 4, key=KEYS[2]).targets[:, 0].tolist()
    assert len(set(drawn)) == 4
    assert set(drawn) <= set(range(14, 20))


def test_a_known_truth_replaces_the_labels_and_stays_with_the_sample() -> None:
    truth = rfm.data.LinearTruth(jnp.asarray([2.0, 0.0]))
    task = numbered_task(num_test=6, truth=truth)
    sample = task.sample(5, key=KEYS[1])
    assert np.array_equal(sample.labels, 2 * sample.inputs[:, 0])
    assert sample.truth is truth
    assert numbered_task(num_test=6).sample(5, key=KEYS[1]).truth is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: numbered_task(num_test=20), "num_test: 20 of 20 rows leaves none to train on; pass fewer"),
        (lambda: numbered_task(num_test=0), "num_test: must be a whole number of at least 1, got 0"),
        (lambda: numbered_task(num_test=5).sample(16, key=KEYS[0]), "num_samples: 16 asked for, but only 15 rows"),
        (lambda: numbered_task(num_test=5).test_set(lambda x: x, 6), "num_samples: 6 asked for, but only 5 rows"),
        (lambda: rfm.DataTask(jnp.full((4, 1), jnp.nan), jnp.ones(4), num_test=1), "inputs: 4 of 4 values are not"),
        (lambda: rfm.DataTask(jnp.ones((4, 1)), jnp.ones((5, 2)), num_test=1), "targets: there are 5 for 4 rows"),
    ],
)  # fmt: skip
def test_bad_data_is_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_bundled_regression_data_is_standardised() -> None:
    inputs, targets = rfm.load_dataset("diabetes")
    assert (inputs.shape, targets.shape) == ((442, 10), (442,))
    assert np.allclose(inputs.mean(axis=0), 0, atol=IDENTITY)
    assert np.allclose(inputs.std(axis=0), 1, rtol=IDENTITY)
    assert np.allclose([targets.mean(), targets.std()], [0, 1], atol=IDENTITY)


def test_bundled_classes_are_centred_one_hot_and_pixels_share_one_scale() -> None:
    inputs, targets = rfm.load_dataset("digits")
    assert (inputs.shape, targets.shape) == ((1797, 64), (1797, 10))
    assert np.allclose(targets.sum(axis=1), 0, atol=IDENTITY)
    assert np.allclose(np.unique(np.round(targets, 12)), [-0.1, 0.9], atol=IDENTITY)
    assert np.allclose(inputs.mean(axis=0), 0, atol=IDENTITY)
    assert np.isclose(inputs.std(), 1, rtol=IDENTITY)
    assert np.ptp(inputs.std(axis=0)) > 0.5
    assert rfm.data.DATASETS == ("diabetes", "digits")


def test_constant_columns_become_zero() -> None:
    data = rfm.data.prepare(np.asarray([[1.0, 5.0], [3.0, 5.0]]), np.asarray([0.5, 0.5]))
    assert data.inputs.tolist() == [[-1.0, 0.0], [1.0, 0.0]]
    assert data.targets.tolist() == [0.0, 0.0]


def test_a_file_is_read_whole_or_in_its_two_parts(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(9, 2)), rng.normal(size=9)
    np.savez(tmp_path / "whole.npz", x=x, y=y)
    np.savez(tmp_path / "parts.npz", x_train=x[:6], y_train=y[:6], x_test=x[6:], y_test=y[6:])
    whole, parts = (rfm.load_dataset(str(tmp_path / name)) for name in ("whole.npz", "parts.npz"))
    assert np.array_equal(whole.inputs, parts.inputs)
    assert np.array_equal(whole.targets, parts.targets)
    assert np.allclose(whole.inputs, rfm.data.prepare(x, y).inputs, rtol=IDENTITY)


@pytest.mark.parametrize("name", ["uci_concrete", "uci_yacht_raw", "mnist"])
def test_files_of_the_shared_folder_are_read(name: str) -> None:
    path = DATA / f"{name}.npz"
    if not path.is_file():
        pytest.skip(f"there is no {path.name} in ../shared/data: reading it was NOT tested")
    inputs, targets = rfm.load_dataset(str(path))
    expected = {"uci_concrete": (1030, 8), "uci_yacht_raw": (308, 6), "mnist": (7000, 784)}[name]
    assert inputs.shape == expected
    assert np.isclose(inputs.std(), 1, rtol=1e-9)
    assert targets.shape == ((7000, 10) if name == "mnist" else expected[:1])


def test_unreadable_data_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"dataset: 'mnst' is not known; pass one of diabetes, digits, or"):
        rfm.load_dataset("mnst")
    with pytest.raises(FileNotFoundError, match=r"dataset: there is no file .*absent.npz"):
        rfm.load_dataset(str(tmp_path / "absent.npz"))
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 and then nothing")
    with pytest.raises(ValueError, match=r"dataset: .*broken.npz is not a readable .npz file"):
        rfm.load_dataset(str(tmp_path / "broken.npz"))
    np.savez(tmp_path / "keys.npz", a=np.ones(2))
    with pytest.raises(ValueError, match=r"it holds a, neither x and y nor x_train"):
        rfm.load_dataset(str(tmp_path / "keys.npz"))
    with pytest.raises(ValueError, match=r"^inputs: holds values that are not finite; drop or impute"):
        rfm.data.prepare(np.asarray([[np.nan], [1.0]]), np.arange(2.0))
    with pytest.raises(ValueError, match=r"^targets: has 1001 different whole numbers; pass floats if it is a"):
        rfm.data.prepare(np.eye(1001), np.arange(1001))


def test_a_kernel_truth_is_kernel_ridge_regression() -> None:
    rng = np.random.default_rng(5)
    x, y, ridge, bandwidth = rng.normal(size=(30, 2)), rng.normal(size=(30, 2)), 0.1, 0.8
    truth = rfm.data.KernelTruth(jnp.asarray(x), jnp.asarray(y), bandwidth=bandwidth, ridge=ridge)

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.exp(-np.sum((a[:, None] - b[None]) ** 2, axis=2) / (2 * bandwidth**2))

    new = rng.normal(size=(4, 2))
    expected = kernel(new, x) @ np.linalg.solve(kernel(x, x) + ridge * np.eye(30), y)
    assert np.allclose(truth(jnp.asarray(new)), expected, rtol=1e-9)


def test_a_kernel_truth_looks_like_the_data_it_was_fitted_to() -> None:
    data = rfm.load_dataset("diabetes")
    truth = rfm.data.KernelTruth(data.inputs, data.targets)
    explained = 1 - float(jnp.mean((truth(data.inputs) - data.targets) ** 2))
    assert explained > 0.5
    with pytest.raises(ValueError, match="bandwidth: must be a positive number, got 0"):
        rfm.data.KernelTruth(data.inputs, data.targets, bandwidth=0.0)


def test_whole_numbers_may_be_data() -> None:
    task = rfm.DataTask(np.arange(24).reshape(8, 3), np.arange(8), num_test=3)
    sample = task.sample(4, key=jax.random.key(1))
    assert sample.inputs.dtype == sample.labels.dtype == float
