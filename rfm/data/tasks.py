"""Where inputs, labels and the ground truth come from.

A task gives samples to train on and test sets to average the risk over. Two kinds: Gaussian inputs with a ground truth
f of any form, of which the teacher-student task is one; and real inputs from arrays, with their own labels or with
labels made by a known f, so that Mixup's label noise is known too.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from rfm.checks import check_key
from rfm.data.truths import GaussianTruth, TwoLayerTeacher
from rfm.features import FeatureMap, RandomFeatures, signature
from rfm.kernels import KernelTest, as_test_set
from rfm.normals import scaled_normals
from rfm.sample import Inputs, Sample, Truth, Values, check_truth
from theory import Population, TestSet
from theory.checks import (
    as_floating,
    check_count,
    check_finite,
    check_not_negative,
    check_same_rows,
    check_shape,
    check_untraced,
    is_traced,
)
from theory.duals import activation as activation_named
from theory.duals.activations import Activation


class GaussianTask(eqx.Module):
    """x ~ N(0, I_d), y = f(x) + e.

    Args:
        truth: f, any callable on rows of inputs.
        input_dim: d.
        label_noise_std: of the independent normal e; what mixing adds is another matter.

    >>> import rfm
    >>> task = GaussianTask(truth=rfm.data.LinearTruth(jnp.ones(3)), input_dim=3)
    >>> task.sample(num_samples=7, key=jax.random.key(0)).labels.shape
    (7,)
    """

    truth: Truth
    input_dim: int
    label_noise_std: float | Float[Array, ""]

    def __init__(self, truth: Truth, input_dim: int, label_noise_std: float | Float[Array, ""] = 0.0) -> None:
        check_truth(truth)
        check_count("input_dim", input_dim)
        label_noise_std = check_not_negative("label_noise_std", label_noise_std)
        self.truth, self.input_dim, self.label_noise_std = truth, input_dim, label_noise_std

    def sample(self, num_samples: int, *, key: PRNGKeyArray) -> Sample:
        """Independent originals with noisy labels."""
        check_count("num_samples", num_samples)
        check_key("key", key)
        inputs, noise_key = _inputs(key, num_samples, self.input_dim)
        return Sample(inputs, _with_noise(noise_key, self.truth(inputs), self.label_noise_std), self.truth)

    def population(self, features: RandomFeatures) -> Population:
        """The average over all Gaussian inputs, exactly: no test set, no Monte Carlo.

        Raises:
            TypeError: the features are not `RandomFeatures`, or the truth is none whose moments are known.

        >>> import rfm
        >>> task = GaussianTask(truth=rfm.data.LinearTruth(jnp.ones(3)), input_dim=3)
        >>> features = rfm.RandomFeatures(input_dim=3, num_features=2, activation="relu", key=jax.random.key(0))
        >>> float(task.population(features).target_power[0])
        3.0
        """
        check_untraced(task=self, features=features)
        if not isinstance(features, RandomFeatures) or features.is_infinite:
            raise TypeError(
                f"features: only finitely many RandomFeatures have known moments, got {type(features).__name__}; "
                "average over a test set: task.test_set(features, num_samples=..., key=...)"
            )
        if not isinstance(self.truth, GaussianTruth):
            raise TypeError(
                f"truth: the moments of {type(self.truth).__name__} are not known (those of TwoLayerTeacher, "
                "QuadraticTruth and LinearTruth are); average over a test set: task.test_set(features, ...)"
            )
        of_map = signature(features, self.input_dim)
        moment = self.truth.feature_moment(features)
        return Population(features.second_moment(), moment, self.truth.power(), signature=of_map)

    def test_set(self, features: FeatureMap, num_samples: int, *, key: PRNGKeyArray) -> TestSet | KernelTest:
        """Independent inputs with the truth there, without label noise."""
        check_count("num_samples", num_samples)
        check_key("key", key)
        inputs = jax.random.normal(key, (num_samples, self.input_dim))
        return as_test_set(features, inputs, self.truth(inputs))


class TeacherStudent(GaussianTask):
    """A Gaussian task whose truth is a two-layer teacher drawn once: f(x) = v . act(W x / sqrt(d)) / sqrt(h).

    Args:
        input_dim: d.
        num_hidden: h.
        activation: a name of `theory.duals.ACTIVATIONS`, or any elementwise callable.
        label_noise_std: of the labels of the originals.
        weight_std: of the entries of W: how curved the teacher is, and so how noisy Mixup's labels are.
        key: draws the teacher.

    >>> task = TeacherStudent(input_dim=10, num_hidden=10, activation="tanh", key=jax.random.key(0))
    >>> task.truth(jnp.zeros((1, 10))).tolist()
    [0.0]
    """

    truth: TwoLayerTeacher

    def __init__(
        self,
        input_dim: int,
        num_hidden: int,
        activation: str | Activation = "tanh",
        *,
        label_noise_std: float | Float[Array, ""] = 0.0,
        weight_std: float | Float[Array, ""] = 1.0,
        key: PRNGKeyArray,
    ) -> None:
        check_count("input_dim", input_dim)
        check_count("num_hidden", num_hidden)
        weight_std = check_not_negative("weight_std", weight_std)
        check_key("key", key)
        weights, readout = scaled_normals(key, (weight_std, (num_hidden, input_dim)), (1.0, (num_hidden,)))
        super().__init__(TwoLayerTeacher(weights, readout, activation_named(activation)), input_dim, label_noise_std)


class DataTask(eqx.Module):
    """Real inputs from arrays; rows not held out for the risk are there to be sampled from.

    Args:
        inputs: one row an input.
        targets: the labels there, a vector or one column a target.
        truth: None takes the targets as they are: then nobody knows the clean labels of mixed inputs, and the risk is
            against the held-out targets. A callable f replaces them by f(inputs), so that the decomposition is known;
            `rfm.data.KernelTruth` fits one to the targets.
        label_noise_std: normal noise added to the labels of a sample.
        num_test: how many rows are held out; the last ones if `key` is None, else drawn at random.
        key: draws the held-out rows.

    >>> task = DataTask(jnp.ones((6, 2)), jnp.arange(6.0), num_test=2)
    >>> task.sample(num_samples=3, key=jax.random.key(0)).inputs.shape, task.test_inputs.shape
    ((3, 2), (2, 2))
    """

    inputs: Inputs
    labels: Values
    test_inputs: Float[Array, "test inputs"]
    test_targets: Float[Array, "test"] | Float[Array, "test targets"]
    truth: Truth | None
    label_noise_std: float | Float[Array, ""]

    def __init__(
        self,
        inputs: ArrayLike,
        targets: ArrayLike,
        *,
        truth: Truth | None = None,
        label_noise_std: float | Float[Array, ""] = 0.0,
        num_test: int,
        key: PRNGKeyArray | None = None,
    ) -> None:
        inputs, targets = as_floating("inputs", inputs), as_floating("targets", targets)
        check_shape("inputs", inputs, ndim=2)
        check_same_rows("targets", targets, "inputs", len(inputs))
        check_finite("inputs", inputs)
        check_finite("targets", targets)
        label_noise_std = check_not_negative("label_noise_std", label_noise_std)
        if truth is not None:
            check_truth(truth)
        num_rows = inputs.shape[0]
        check_count("num_test", num_test)
        if num_test >= num_rows:
            raise ValueError(f"num_test: {num_test} of {num_rows} rows leaves none to train on; pass fewer")
        if key is not None:
            check_key("key", key)
        order = jnp.arange(num_rows) if key is None else jax.random.permutation(key, num_rows)
        labels = targets if truth is None else truth(inputs)
        check_same_rows("truth(inputs)", labels, "inputs", num_rows)
        train, test = order[: num_rows - num_test], order[num_rows - num_test :]
        self.inputs, self.labels = inputs[train], labels[train]
        self.test_inputs, self.test_targets = inputs[test], labels[test]
        self.truth, self.label_noise_std = truth, label_noise_std

    @property
    def input_dim(self) -> int:
        """The number of input columns, d."""
        return self.inputs.shape[1]

    def sample(self, num_samples: int, *, key: PRNGKeyArray) -> Sample:
        """Distinct rows, drawn at random among those that are not held out."""
        check_count("num_samples", num_samples)
        available = self.inputs.shape[0]
        if num_samples > available:
            raise ValueError(f"num_samples: {num_samples} asked for, but only {available} rows are not held out")
        check_key("key", key)
        row_key, noise_key = jax.random.split(key)
        rows = jax.random.permutation(row_key, available)[:num_samples]
        labels = self.labels[rows]
        return Sample(self.inputs[rows], _with_noise(noise_key, labels, self.label_noise_std), self.truth)

    def test_set(
        self, features: FeatureMap, num_samples: int | None = None, *, key: PRNGKeyArray | None = None
    ) -> TestSet | KernelTest:
        """The held-out rows: all of them, or the first `num_samples` (with a key, a random choice)."""
        held_out = self.test_inputs.shape[0]
        num_samples = held_out if num_samples is None else num_samples
        check_count("num_samples", num_samples)
        if num_samples > held_out:
            raise ValueError(f"num_samples: {num_samples} asked for, but only {held_out} rows are held out")
        if key is not None:
            check_key("key", key)
        order = np.arange(held_out) if key is None else jax.random.permutation(key, held_out)
        rows = order[:num_samples]
        return as_test_set(features, self.test_inputs[rows], self.test_targets[rows])


@eqx.filter_jit
def _inputs(key: PRNGKeyArray, num_samples: int, input_dim: int) -> tuple[Float[Array, "samples inputs"], PRNGKeyArray]:
    """Standard normal inputs, and the key for the noise of their labels."""
    input_key, noise_key = jax.random.split(key)
    return jax.random.normal(input_key, (num_samples, input_dim)), noise_key


def _with_noise(key: PRNGKeyArray, labels: Values, std: float | Float[Array, ""]) -> Values:
    if not is_traced(std) and std == 0:
        return labels
    return _noisy(key, labels, std)


@eqx.filter_jit
def _noisy(key: PRNGKeyArray, labels: Values, std: float | Float[Array, ""]) -> Values:
    return labels + std * jax.random.normal(key, labels.shape, labels.dtype)
