"""From a configuration to problems: tasks, features and pairs, drawn seed by seed.

A seed's keys are folded from the one seed of the configuration and the seed's index, so that a seed is the same
whatever the size of the ensemble, the order of the work and the number of workers.
"""

import itertools
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

import rfm
from experiments.configs import (
    AdviseConfig,
    BoundConfig,
    MinibatchConfig,
    PenaltyMapConfig,
    RulesConfig,
    SampleSizeConfig,
    SwitchConfig,
    TaskConfig,
    UCurveConfig,
)
from rfm.checks import check_choice, check_count
from theory import ACTIVATIONS
from theory.checks import check_alpha, check_not_negative, check_positive

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
    truth: rfm.KernelTruth | None


def check_ucurve(config: UCurveConfig) -> None:
    """Raises ValueError, naming the field, its value and the remedy, if the configuration makes no sense."""
    _check_task(config)
    check_count("num_samples", config.num_samples, least=2)
    check_count("num_features", config.num_features)
    if config.num_pairs is not None:
        check_count("num_pairs", config.num_pairs)
    laws(config)
    check_positive("step_fraction", config.step_fraction)
    check_count("num_steps", config.num_steps)
    check_count("num_recorded", config.num_recorded, least=2)
    check_count("num_times", config.num_times, least=2)
    if not config.beyond_simulation >= 1:
        raise ValueError(
            f"beyond_simulation: must be a number of at least 1, got {config.beyond_simulation}; gradient flow covers "
            "the simulated time"
        )
    check_positive("beyond_simulation", config.beyond_simulation)


def check_sample_size(config: SampleSizeConfig) -> None:
    """Raises ValueError, naming the field, its value and the remedy, if the configuration makes no sense."""
    _check_task(config)
    check_ascending("sample_sizes", config.sample_sizes, least=2)
    check_count("pairs_per_sample", config.pairs_per_sample)
    check_count("num_features", config.num_features)
    check_count("features_per_sample", config.features_per_sample)
    check_alpha("alpha", config.alpha)
    check_positive("final_time", config.final_time)
    check_count("num_times", config.num_times, least=2)


def check_bound(config: BoundConfig) -> None:
    """Raises ValueError, naming the field, its value and the remedy, if the configuration makes no sense."""
    _check_task(config)
    if config.dataset is not None:
        raise ValueError(f"dataset: the bounds are shown for Gaussian inputs, got {config.dataset!r}; leave it out")
    if config.num_test is None:
        raise ValueError("num_test: the bound asks for the largest |phi| among test inputs, got None; pass a number")
    check_count("num_samples", config.num_samples, least=2)
    check_count("num_features", config.num_features)
    fixed_law(config)
    check_not_negative("start_variance", config.start_variance)
    check_positive("final_time", config.final_time)
    check_count("num_times", config.num_times, least=2)


def check_minibatch(config: MinibatchConfig) -> None:
    """Raises ValueError, naming the field, its value and the remedy, if the configuration makes no sense."""
    _check_task(config)
    check_count("num_seeds", config.num_seeds, least=2)
    check_count("num_samples", config.num_samples, least=2)
    check_count("num_features", config.num_features)
    check_alpha("alpha", config.alpha)
    check_ascending("batch_sizes", config.batch_sizes, least=1)
    if not 0 < config.step_fraction < 1:
        raise ValueError(
            f"step_fraction: must lie between 0 and 1, got {config.step_fraction}; at 1 the spread no longer settles"
        )
    check_count("num_steps", config.num_steps)
    check_count("num_recorded", config.num_recorded, least=2)
    check_count("num_times", config.num_times, least=2)


def check_advise(config: AdviseConfig) -> None:
    """Raises ValueError, naming the field, its value and the remedy, if the configuration makes no sense."""
    check_count("seed", config.seed, least=0)
    check_count("num_seeds", config.num_seeds, least=0)
    check_count("num_folds", config.num_folds, least=2)
    if config.num_held_out is not None:
        check_count("num_held_out", config.num_held_out, least=2)
    check_count("num_features", config.num_features)
    check_choice("feature_activation", config.feature_activation, ACTIVATIONS)
    for name in ("feature_weight_std", "feature_bias_std"):
        check_not_negative(name, getattr(config, name))
    check_alpha("alpha", config.alpha)
    if config.num_pairs is not None:
        check_count("num_pairs", config.num_pairs)
    for name in ("budget", "step_size"):
        if getattr(config, name) is not None:
            check_positive(name, getattr(config, name))
    check_count("num_times", config.num_times, least=4)


def check_switch(config: SwitchConfig) -> None:
    """Raises ValueError, naming the field, its value and the remedy, if the configuration makes no sense."""
    _check_descent(config)
    check_count("num_times", config.num_times, least=8)
    check_count("num_simulated", config.num_simulated, least=2)


def check_rules(config: RulesConfig) -> None:
    """Raises ValueError, naming the field, its value and the remedy, if the configuration makes no sense."""
    _check_descent(config)
    if config.step_fraction >= INCREASING_MOMENTUM:
        raise ValueError(
            f"step_fraction: must lie below 2/3, got {config.step_fraction}; beyond, increasing momentum diverges"
        )
    if not 0 <= config.momentum < 1:
        raise ValueError(f"momentum: must lie in [0, 1), got {config.momentum}")
    check_not_negative("ridge", config.ridge)
    check_count("num_recorded", config.num_recorded, least=2)
    check_count("num_times", config.num_times, least=2)


INCREASING_MOMENTUM = 2 / 3


def check_penalty_map(config: PenaltyMapConfig) -> None:
    """Raises ValueError, naming the field, its value and the remedy, if the configuration makes no sense."""
    _check_task(config)
    check_ascending("sample_sizes", config.sample_sizes, least=2)
    check_alpha("alpha", config.alpha)
    for alpha in config.alphas:
        check_alpha("alphas", alpha)
    if not config.alphas or list(config.alphas) != sorted(set(config.alphas)):
        raise ValueError(f"alphas: must be a list that strictly ascends, got {list(config.alphas)}")
    check_count("pairs_per_sample", config.pairs_per_sample)
    check_count("num_features", config.num_features)
    check_positive("final_time", config.final_time)
    check_count("num_times", config.num_times, least=2)


def _check_descent(config: SwitchConfig | RulesConfig) -> None:
    _check_task(config)
    check_count("num_samples", config.num_samples, least=2)
    check_count("num_features", config.num_features)
    fixed_law(config)
    if not 0 < config.step_fraction < 1:
        raise ValueError(f"step_fraction: must lie between 0 and 1, got {config.step_fraction}; at 1 training diverges")
    check_count("num_steps", config.num_steps, least=2)


def fixed_law(config: UCurveConfig | BoundConfig | SwitchConfig | RulesConfig) -> rfm.Mixup:
    """Mixup of all ordered pairs at a fixed ratio."""
    return rfm.Mixup(lam=config.lam)


def laws(config: UCurveConfig) -> list[rfm.Law]:
    """ERM, Mixup of all pairs at a fixed ratio, and Mixup of random pairs at random ratios."""
    num_pairs = config.num_samples**2 if config.num_pairs is None else config.num_pairs
    return [rfm.ERM(), fixed_law(config), rfm.Mixup(alpha=config.alpha, pairs=num_pairs)]


def check_ascending(name: str, sizes: tuple[int, ...], *, least: int) -> None:
    """Raises ValueError unless the sizes are whole numbers, at least that, one or more of them, and strictly ascend."""
    for size in sizes:
        check_count(name, size, least=least)
    if not sizes or any(later <= earlier for earlier, later in itertools.pairwise(sizes)):
        raise ValueError(f"{name}: must be a list that strictly ascends, got {list(sizes)}")


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
    return Data(inputs, targets, rfm.KernelTruth(inputs, targets) if config.truth == "kernel" else None)


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
        return Seed(task, task.sample(num_samples, key=keys.sample), features, num_test, keys)

    def first(self, num_samples: int, num_features: int) -> "Seed":
        """The same seed with the first of its originals and features only."""
        # Through numpy, which need not compile a slice of every size.
        sample, features = self.sample, self.features
        inputs, labels = (np.asarray(array)[:num_samples] for array in (sample.inputs, sample.labels))
        weights, bias = (np.asarray(array)[:num_features] for array in (features.weights, features.bias))
        fewer = eqx.tree_at(lambda f: (f.weights, f.bias), features, (jnp.asarray(weights), jnp.asarray(bias)))
        part = rfm.Sample(jnp.asarray(inputs), jnp.asarray(labels), sample.truth)
        return self._replace(sample=part, features=fewer)

    def population(self) -> rfm.Population | rfm.TestSet:
        """What the risk is averaged over: all Gaussian inputs where no number of test inputs is given."""
        if self.num_test is None:
            assert isinstance(self.task, rfm.TeacherStudent)  # a data set always has a number
            return self.task.population(self.features)
        test = self.task.test_set(self.features, self.num_test, key=self.keys.test)
        assert isinstance(test, rfm.TestSet)  # the features are finitely many
        return test

    def problem(self, law: rfm.Law, population: rfm.Population | rfm.TestSet) -> rfm.Problem:
        """The seed's problem under a law."""
        problem = rfm.synthesize(self.sample, self.features, law, population=population, key=self.keys.pairs)
        assert isinstance(problem, rfm.Problem)  # without block_rows it always is
        return problem


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


def _check_task(config: TaskConfig) -> None:
    check_count("seed", config.seed, least=0)
    check_count("num_seeds", config.num_seeds)
    check_count("input_dim", config.input_dim)
    check_count("num_hidden", config.num_hidden)
    if config.num_test is not None:
        check_count("num_test", config.num_test)
    for name in ("teacher_weight_std", "label_noise_std", "feature_weight_std", "feature_bias_std"):
        check_not_negative(name, getattr(config, name))
    for name in ("teacher_activation", "feature_activation"):
        check_choice(name, getattr(config, name), ACTIVATIONS)
