"""From a configuration to problems: tasks, features and pairs, drawn seed by seed.

A seed's keys are folded from the one seed of the configuration and the seed's index, so that a seed is the same
whatever the size of the ensemble, the order of the work and the number of workers.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

import rfm
import theory
from experiments.fields import TaskConfig
from experiments.limits import check_memory
from rfm.problem import Solvable

RisksOver = theory.Averages | rfm.kernels.KernelTest
"""What the risk is averaged over."""
MOST_TEST = 1000
"""Rows of a data set that are held out unless a number is given, at most."""


class Keys(NamedTuple):
    """One key a thing that is drawn; each is used once a seed, but the truth, which is the same for all seeds."""

    truth: PRNGKeyArray
    held_out: PRNGKeyArray
    features: PRNGKeyArray
    test: PRNGKeyArray
    sample: PRNGKeyArray
    pairs: PRNGKeyArray

    @staticmethod
    def of_seed(seed: int, index: int) -> "Keys":
        """The keys of the ensemble's seed with that index."""
        truth, ensemble = jax.random.split(jax.random.key(seed))
        return Keys(truth, *jax.random.split(jax.random.fold_in(ensemble, index), len(Keys._fields) - 1))


class Data(NamedTuple):
    """A data set, and the ground truth that replaces its labels, or None."""

    inputs: Array
    targets: Array
    truth: rfm.data.KernelTruth | None


def check_size(config: TaskConfig, rows: int, num_features: int, *, held: int = 0, num_times: int) -> None:
    """Raises ValueError if the largest features, those that are held at once, and the curves do not fit into memory."""
    tests = num_features if config.num_test is None else config.num_test
    inputs = config.input_dim * (num_features + config.num_hidden) if config.dataset is None else 0
    numbers = (held + 2 * rows + tests) * num_features + 2 * num_times * min(rows, num_features) + inputs
    names = [name for name in _SIZES if hasattr(config, name)]
    check_memory(", ".join(names), numbers)


_SIZES = ("num_samples", "sample_sizes", "pairs_per_sample", "num_pairs", "num_features", "num_seeds", "num_times")


@contextmanager
def rounding_is_stored() -> Iterator[None]:
    """Within it, rounding is no warning: results keep rounding errors, or until when curves can be trusted."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rfm.PrecisionWarning)
        yield


def load_data(config: TaskConfig, largest_sample: int) -> Data | None:
    """The data set that a configuration names, read and fitted once for all seeds; None for Gaussian inputs."""
    if config.dataset is None:
        return None
    inputs, targets = rfm.load_dataset(config.dataset)
    num_test = _num_test(config, len(inputs))
    if num_test >= len(inputs):
        raise ValueError(f"num_test: {num_test} of {len(inputs)} rows leaves none to train on; pass fewer")
    available = len(inputs) - num_test
    if available < largest_sample:
        raise ValueError(
            f"num_samples: {largest_sample} asked for, but {config.dataset!r} has {len(inputs)} rows, of which "
            f"{available} are left to train on; pass fewer, or a smaller num_test"
        )
    return Data(inputs, targets, rfm.data.KernelTruth(inputs, targets) if config.truth == "kernel" else None)


class Seed(NamedTuple):
    """What the laws of one seed share: the originals, the features and the test set."""

    task: rfm.TeacherStudent | rfm.DataTask
    sample: rfm.Sample
    features: rfm.RandomFeatures
    num_test: int | None
    keys: Keys

    @staticmethod
    def draw(config: TaskConfig, data: Data | None, index: int, *, num_samples: int, num_features: int) -> "Seed":
        """The seed of that index."""
        keys = Keys.of_seed(config.seed, index)
        num_test = config.num_test if data is None else _num_test(config, len(data.inputs))
        task = _gaussian_task(config, keys) if data is None else _data_task(config, data, keys)
        features = rfm.RandomFeatures(
            task.input_dim,
            num_features,
            config.feature_activation,
            weight_std=config.feature_weight_std,
            bias_std=config.feature_bias_std,
            key=keys.features,
        )
        sample = task.sample(num_samples, key=keys.sample)
        _check_finite(config, sample.labels, "teacher")
        _check_finite(config, features(sample.inputs), "feature")
        return Seed(task, sample, features, num_test, keys)

    def first(self, num_samples: int, num_features: int) -> "Seed":
        """The same seed with the first of its originals and features only."""
        # Through numpy, which need not compile a slice of every size.
        sample, features = self.sample, self.features
        inputs, labels = (np.asarray(array)[:num_samples] for array in (sample.inputs, sample.labels))
        weights, bias = (np.asarray(array)[:num_features] for array in (features.weights, features.bias))
        fewer = eqx.tree_at(lambda f: (f.weights, f.bias), features, (jnp.asarray(weights), jnp.asarray(bias)))
        part = rfm.Sample(jnp.asarray(inputs), jnp.asarray(labels), sample.truth)
        return self._replace(sample=part, features=fewer)

    def population(self) -> RisksOver:
        """What the risk is averaged over: all Gaussian inputs where no number of test inputs is given."""
        if isinstance(self.task, rfm.DataTask):
            return self.task.test_set(self.features, self.num_test, key=self.keys.test)
        if self.num_test is None:
            return self.task.population(self.features)
        return self.task.test_set(self.features, self.num_test, key=self.keys.test)

    def problem(self, law: rfm.mixup.Law, population: RisksOver) -> Solvable:
        """The seed's problem under a law."""
        return rfm.synthesize(self.sample, self.features, law, population=population, key=self.keys.pairs)


def _check_finite(config: TaskConfig, values: Array, role: str) -> None:
    """Raises ValueError where squares overflow, as those of exponentials may."""
    with np.errstate(over="ignore"):
        power = np.sum(np.asarray(values) ** 2)
    if not np.isfinite(power):
        std, activation = f"{role}_weight_std", getattr(config, f"{role}_activation")
        raise ValueError(
            f"{std}: {getattr(config, std):g} is too large for {role}_activation {activation}, whose values overflow; "
            "pass a smaller one, or another activation"
        )


def _gaussian_task(config: TaskConfig, keys: Keys) -> rfm.TeacherStudent:
    return rfm.TeacherStudent(
        config.input_dim,
        config.num_hidden,
        config.teacher_activation,
        label_noise_std=config.label_noise_std,
        weight_std=config.teacher_weight_std,
        key=keys.truth,
    )


def _data_task(config: TaskConfig, data: Data, keys: Keys) -> rfm.DataTask:
    return rfm.DataTask(
        data.inputs,
        data.targets,
        truth=data.truth,
        label_noise_std=config.label_noise_std,
        num_test=_num_test(config, len(data.inputs)),
        key=keys.held_out,
    )


def _num_test(config: TaskConfig, num_rows: int) -> int:
    return min(MOST_TEST, num_rows // 4) if config.num_test is None else config.num_test
