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
from experiments.limits import (
    STEEPEST,
    check_curvature,
    check_fraction,
    check_memory,
    check_seed,
    check_steps,
    check_strength,
    check_time,
)
from theory.checks import check_alpha, check_choice, check_count, check_not_negative
from theory.duals import ACTIVATIONS

CONSTANT_FEATURES = "all features are constant"
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


def check_ucurve(config: UCurveConfig) -> None:
    """Raises ValueError, naming the field, its value and the remedy, if the configuration makes no sense."""
    _check_task(config)
    check_count("num_samples", config.num_samples, least=2)
    check_count("num_features", config.num_features)
    if config.num_pairs is not None:
        check_count("num_pairs", config.num_pairs)
    laws(config)
    check_fraction("step_fraction", config.step_fraction)
    check_steps("num_steps", config.num_steps)
    check_count("num_recorded", config.num_recorded, least=2)
    check_count("num_times", config.num_times, least=2)
    if not config.beyond_simulation >= 1:
        raise ValueError(
            f"beyond_simulation: must be a number of at least 1, got {config.beyond_simulation}; gradient flow covers "
            "the simulated time"
        )
    check_time("beyond_simulation", config.beyond_simulation)
    num_pairs = config.num_samples**2 if config.num_pairs is None else config.num_pairs
    rows = config.num_samples, config.num_samples**2, num_pairs
    _check_size(config, max(rows), config.num_features, held=config.num_seeds * sum(rows), num_times=config.num_times)


def check_sample_size(config: SampleSizeConfig) -> None:
    """Raises ValueError, naming the field, its value and the remedy, if the configuration makes no sense."""
    _check_task(config)
    check_ascending("sample_sizes", config.sample_sizes, least=2)
    check_count("pairs_per_sample", config.pairs_per_sample)
    check_count("num_features", config.num_features)
    check_count("features_per_sample", config.features_per_sample)
    check_alpha("alpha", config.alpha)
    check_time("final_time", config.final_time)
    check_count("num_times", config.num_times, least=2)
    largest = config.sample_sizes[-1]
    widest = max(config.num_features, config.features_per_sample * largest)
    _check_size(config, config.pairs_per_sample * largest, widest, num_times=config.num_times)


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
    check_strength("start_variance", config.start_variance)
    check_time("final_time", config.final_time)
    check_count("num_times", config.num_times, least=2)
    _check_size(config, config.num_samples**2, config.num_features, num_times=config.num_times)


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
    check_fraction("step_fraction", config.step_fraction)
    check_steps("num_steps", config.num_steps)
    check_count("num_recorded", config.num_recorded, least=2)
    check_count("num_times", config.num_times, least=2)
    _check_size(config, config.num_samples, config.num_features, held=config.num_seeds, num_times=config.num_times)
    check_memory("batch_sizes, num_features", config.batch_sizes[-1] * config.num_features)


def check_advise(config: AdviseConfig) -> None:
    """Raises ValueError, naming the field, its value and the remedy, if the configuration makes no sense."""
    check_seed(config.seed)
    check_count("num_seeds", config.num_seeds, least=0)
    check_count("num_folds", config.num_folds, least=2)
    if config.num_held_out is not None:
        check_count("num_held_out", config.num_held_out, least=2)
    check_count("num_features", config.num_features)
    check_choice("feature_activation", config.feature_activation, ACTIVATIONS)
    check_curvature("feature_weight_std", config.feature_weight_std, CONSTANT_FEATURES)
    check_strength("feature_bias_std", config.feature_bias_std, STEEPEST)
    check_alpha("alpha", config.alpha)
    if config.num_pairs is not None:
        check_count("num_pairs", config.num_pairs)
    for name in ("budget", "step_size"):
        if getattr(config, name) is not None:
            check_time(name, getattr(config, name))
    check_count("num_times", config.num_times, least=4)
    check_memory("num_features, num_pairs, num_times", 2 * config.num_features**2
                 + config.num_features * ((config.num_pairs or 0) + config.num_times))  # fmt: skip


def check_switch(config: SwitchConfig) -> None:
    """Raises ValueError, naming the field, its value and the remedy, if the configuration makes no sense."""
    _check_descent(config)
    check_count("num_times", config.num_times, least=8)
    check_count("num_simulated", config.num_simulated, least=2)
    _check_size_of_descent(config)


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
    _check_size_of_descent(config)


INCREASING_MOMENTUM = 2 / 3


def check_penalty_map(config: PenaltyMapConfig) -> None:
    """Raises ValueError, naming the field, its value and the remedy, if the configuration makes no sense."""
    _check_task(config)
    check_ascending("sample_sizes", config.sample_sizes, least=2)
    for name in ("sample_sizes", "alphas"):
        if len(getattr(config, name)) < 2:
            raise ValueError(f"{name}: a map has at least 2 of them, got {list(getattr(config, name))}; pass more")
    check_alpha("alpha", config.alpha)
    for alpha in config.alphas:
        check_alpha("alphas", alpha)
    if not config.alphas or list(config.alphas) != sorted(set(config.alphas)):
        raise ValueError(f"alphas: must be a list that strictly ascends, got {list(config.alphas)}")
    check_count("pairs_per_sample", config.pairs_per_sample)
    check_count("num_features", config.num_features)
    check_time("final_time", config.final_time)
    check_count("num_times", config.num_times, least=2)
    rows = config.pairs_per_sample * config.sample_sizes[-1]
    _check_size(config, rows, config.num_features, num_times=config.num_times)


def _check_descent(config: SwitchConfig | RulesConfig) -> None:
    _check_task(config)
    check_count("num_samples", config.num_samples, least=2)
    check_count("num_features", config.num_features)
    fixed_law(config)
    if not 0 < config.step_fraction < 1:
        raise ValueError(f"step_fraction: must lie between 0 and 1, got {config.step_fraction}; at 1 training diverges")
    check_fraction("step_fraction", config.step_fraction)
    check_steps("num_steps", config.num_steps, least=2)


def _check_size_of_descent(config: SwitchConfig | RulesConfig) -> None:
    rows = config.num_samples**2
    held = config.num_seeds * (rows + config.num_samples)
    _check_size(config, rows, config.num_features, held=held, num_times=config.num_times)


def _check_size(config: TaskConfig, rows: int, num_features: int, *, held: int = 0, num_times: int) -> None:
    """Raises ValueError if the largest features, those that are held at once, and the curves do not fit into memory."""
    tests = num_features if config.num_test is None else config.num_test
    inputs = config.input_dim * (num_features + config.num_hidden) if config.dataset is None else 0
    numbers = (held + 2 * rows + tests) * num_features + 2 * num_times * min(rows, num_features) + inputs
    names = [name for name in _SIZES if hasattr(config, name)]
    check_memory(", ".join(names), numbers)


_SIZES = ("num_samples", "sample_sizes", "pairs_per_sample", "num_pairs", "num_features", "num_seeds", "num_times")


def fixed_law(config: UCurveConfig | BoundConfig | SwitchConfig | RulesConfig) -> rfm.Mixup:
    """Mixup of all ordered pairs at a fixed ratio."""
    return rfm.Mixup(lam=config.lam)


def laws(config: UCurveConfig) -> list[rfm.mixup.Law]:
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

    def population(self) -> rfm.Population | rfm.TestSet:
        """What the risk is averaged over: all Gaussian inputs where no number of test inputs is given."""
        if self.num_test is None:
            assert isinstance(self.task, rfm.TeacherStudent)  # a data set always has a number
            return self.task.population(self.features)
        test = self.task.test_set(self.features, self.num_test, key=self.keys.test)
        assert isinstance(test, rfm.TestSet)  # the features are finitely many
        return test

    def problem(self, law: rfm.mixup.Law, population: rfm.Population | rfm.TestSet) -> rfm.Problem:
        """The seed's problem under a law."""
        problem = rfm.synthesize(self.sample, self.features, law, population=population, key=self.keys.pairs)
        assert isinstance(problem, rfm.Problem)  # without block_rows it always is
        return problem


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


def _check_task(config: TaskConfig) -> None:
    check_seed(config.seed)
    check_count("num_seeds", config.num_seeds)
    check_count("input_dim", config.input_dim)
    check_count("num_hidden", config.num_hidden)
    if config.num_test is not None:
        check_count("num_test", config.num_test)
    check_curvature(
        "teacher_weight_std", config.teacher_weight_std, "the teacher is constant and nothing can be learnt"
    )
    check_curvature("feature_weight_std", config.feature_weight_std, CONSTANT_FEATURES)
    check_strength("label_noise_std", config.label_noise_std)
    check_strength("feature_bias_std", config.feature_bias_std, STEEPEST)
    for name in ("teacher_activation", "feature_activation"):
        check_choice(name, getattr(config, name), ACTIVATIONS)
