"""Fields that experiments share: the seeds, the law of mixing, the task.

The annotation of a field says what it may be (`experiments.constraints`), the line under it is its help text. Nothing
that computes is imported here, so that the command line can print its help without waiting for jax.
"""

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any, Literal, Self

from experiments.constraints import (
    Activation,
    Alpha,
    BiasStd,
    Count,
    FeatureWeightStd,
    Ratio,
    Seed,
    Seeds,
    Strength,
    TeacherWeightStd,
    of_type,
)


@dataclasses.dataclass(frozen=True)
class Config:
    """What all experiments have in common."""

    seed: Seed = 0
    """The one random seed, a whole number from 0 on; everything random follows from it."""
    num_seeds: Seeds = 8
    """Size of the ensemble, over which means and standard errors are taken."""

    def ignored(self) -> dict[str, str]:
        """The fields that change nothing beside the values of others, and why."""
        return {}

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], source: str) -> Self:
        """A configuration from the keys and values of a file; fields that it leaves out keep their defaults.

        Args:
            values: by field.
            source: the file, for the error message.

        Raises:
            ValueError: a key that is no field, or a value of another type.

        >>> TaskConfig.from_mapping({"input_dim": 3}, "a.toml").input_dim
        3
        """
        known = typing.get_type_hints(cls)
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise ValueError(f"{source}: does not know {', '.join(unknown)}; known are {', '.join(known)}")
        return cls(**{name: of_type(f"{source}: {name}", value, known[name]) for name, value in values.items()})


@dataclasses.dataclass(frozen=True)
class MixingConfig(Config):
    """What a law of Mixup chooses beside the ratio and the pairs; as it stands, nothing."""

    partners: Literal["any", "others", "similar-labels", "nearest-inputs", "same-class", "other-class"] = "any"
    """Whom a sample is mixed with. similar-labels is C-Mixup; classes are samples of equal labels, of a data set with
    --truth labels. Where some pairs are likelier than others, a law of all pairs draws as many, n^2."""
    bandwidth: float | None = None
    """h of similar-labels: how far apart labels are that are mixed, in their unit; numbers of a data set are
    standardised, and two one-hot labels lie 1.41 apart."""
    num_neighbors: Count | None = None
    """k of nearest-inputs: each is mixed with one of so many nearest others."""
    share: Ratio = 1.0
    """Of rows that are mixed, in [0, 1]; the others are originals. A law of all pairs draws n^2 then."""
    label_lam: Ratio | None = None
    """A ratio for the labels alone, in [0, 1]; None for that of the inputs."""
    label_alpha: Alpha | None = None
    """Beta parameter of a ratio of the labels' own, from 1e-4 to 1e3; None for that of the inputs."""
    space: Literal["inputs", "features"] = "inputs"
    """What is mixed beside the labels. features: the features themselves (Manifold Mixup); then there is no split into
    clean, noise and cross."""

    def ignored(self) -> dict[str, str]:
        needed_by = {"bandwidth": "similar-labels", "num_neighbors": "nearest-inputs"}
        return {
            name: f"without --partners {partners}" for name, partners in needed_by.items() if self.partners != partners
        }


@dataclasses.dataclass(frozen=True)
class TaskConfig(MixingConfig):
    """Where samples, labels and features come from: one ground truth, and all else drawn anew by each seed."""

    dataset: str | None = None
    """diabetes, digits, or the path of an .npz file with x and y; None for Gaussian inputs and a teacher."""
    truth: Literal["kernel", "labels"] = "kernel"
    """For a data set. kernel: labels come from a kernel regressor fitted to the set, so that the label noise is known.
    labels: the set's own labels; then there is no split into clean, noise and cross."""
    input_dim: Count = 5
    """d, the number of inputs; a data set brings its own."""
    num_hidden: Count = 10
    """Hidden units of the teacher; a data set has none."""
    teacher_activation: Activation = "tanh"
    """Its nonlinearity: tanh, relu, erf, sin, or another that the message about an unknown name lists."""
    teacher_weight_std: TeacherWeightStd = 3.0
    """Standard deviation of the teacher's weights: how curved it is, and so how noisy Mixup's labels are."""
    label_noise_std: Strength = 0.0
    """Standard deviation of noise on the labels of the originals, besides what mixing makes."""
    num_test: Count | None = None
    """Test inputs that the risk is averaged over; None for all Gaussian inputs, exactly, or for a quarter of a data
    set, up to 1000."""
    feature_activation: Activation = "tanh"
    """Of the random features; the same names as for the teacher."""
    feature_weight_std: FeatureWeightStd = 2.0
    """Standard deviation of the features' weights."""
    feature_bias_std: BiasStd = 0.0
    """Standard deviation of the features' biases."""

    def ignored(self) -> dict[str, str]:
        if self.dataset is None:
            return super().ignored() | {"truth": "without --dataset"}
        return super().ignored() | {
            "input_dim": "beside --dataset, which brings its own inputs",
            **dict.fromkeys(_TEACHER, "beside --dataset, whose labels come from no teacher"),
        }


_TEACHER = ("num_hidden", "teacher_activation", "teacher_weight_std")
