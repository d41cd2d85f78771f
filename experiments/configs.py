"""What an experiment is made of: frozen records of plain values, from which all of its numbers follow.

The annotation of a field says what it may be (`experiments.constraints`), the line under it is its help text. Nothing
that computes is imported here, so that the command line can print its help without waiting for jax.
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from experiments.constraints import (
    NOT_NEGATIVE,
    Activation,
    Alpha,
    Ascending,
    AtLeast,
    Below,
    Count,
    Curvature,
    FeatureWeightStd,
    Fraction,
    NoLess,
    NotEmpty,
    Ratio,
    Seeds,
    Several,
    Steps,
    Strength,
    TeacherWeightStd,
    Time,
)
from experiments.fields import Config, MixingConfig, TaskConfig


@dataclasses.dataclass(frozen=True)
class UCurveConfig(TaskConfig):
    """ERM and two Mixup laws side by side, in closed form and in simulation.

    As it stands, a gently curved teacher: Mixup helps early, then hurts. `CURVED` is a second setting.
    """

    input_dim: Count = 10
    """d, the number of inputs; a data set brings its own."""
    teacher_weight_std: TeacherWeightStd = 0.75
    """Standard deviation of the teacher's weights: how curved it is, and so how noisy Mixup's labels are."""
    feature_activation: Activation = "relu"
    """Of the random features; the same names as for the teacher."""
    feature_weight_std: FeatureWeightStd = 1.0
    """Standard deviation of the features' weights."""
    num_samples: Several = 18
    """n, the originals of a sample; at least 2."""
    num_features: Count = 200
    """p, the random features."""
    lam: Ratio = 0.5
    """Mixing ratio of the law that mixes all ordered pairs, in [0, 1]."""
    alpha: Alpha = 1.0
    """Beta parameter of the law that mixes random pairs, from 1e-4 to 1e3."""
    num_pairs: Count | None = None
    """How many random pairs; None for as many as there are ordered pairs, n^2."""
    step_fraction: Fraction = 0.9
    """Step size as a fraction of the largest stable one, 2/mu_max, of the whole ensemble: one clock for all curves."""
    num_steps: Steps = 25_000
    """Steps of gradient descent that are simulated."""
    num_recorded: Several = 30
    """At how many of them the risk is recorded, evenly in log t."""
    num_times: Several = 120
    """Times at which gradient flow is evaluated."""
    beyond_simulation: Annotated[Time, NoLess(1, "gradient flow covers the simulated time")] = 300.0
    """Gradient flow goes on to this multiple of the simulated time; at least 1."""


CURVED = UCurveConfig(
    input_dim=5,
    teacher_weight_std=3.0,
    feature_activation="tanh",
    feature_weight_std=2.0,
    num_samples=15,
    num_steps=30_000,
    beyond_simulation=100.0,
)
"""A strongly curved teacher, that of most other experiments: Mixup's labels are so noisy that its best is no better
than ERM's, and over-training costs most."""

NAMED: Mapping[str, Mapping[str, Config]] = {"ucurve": {"curved": CURVED}}
"""Settings beside the defaults, by experiment and name; `rfm ucurve --config curved` takes one."""


@dataclasses.dataclass(frozen=True)
class SampleSizeConfig(TaskConfig):
    """The overtraining penalty against n, at fixed p and for p that grows with n; in closed form."""

    input_dim: Count = 10
    """d, the number of inputs; a data set brings its own."""
    num_seeds: Seeds = 12
    """Size of the ensemble, over which means and standard errors are taken."""
    sample_sizes: Annotated[tuple[Several, ...], Ascending()] = (16, 24, 40, 64)
    """The values of n, ascending, each at least 2."""
    pairs_per_sample: Count = 8
    """m/n: Mixup draws this many random pairs per original."""
    alpha: Alpha = 1.0
    """Beta parameter of the mixing ratio, from 1e-4 to 1e3."""
    num_features: Count = 64
    """p where it is fixed."""
    features_per_sample: Count = 12
    """p/n where p grows."""
    final_time: Time = 1e7
    """When training ends, in units of 1/eigenvalue."""
    num_test: Count | None = 1000
    """Test inputs that the risk is averaged over; None for all Gaussian inputs, exactly, or for a quarter of a data
    set, up to 1000."""
    num_times: Several = 60
    """Times at which gradient flow is evaluated."""


@dataclasses.dataclass(frozen=True)
class NoiseConfig(Config):
    """The law of Mixup's label noise, for Gaussian inputs and two-layer teachers."""

    num_seeds: Seeds = 4
    """Number of teachers, over which means and standard errors are taken."""
    input_dim: Count = 5
    """d, the number of inputs."""
    num_hidden: Count = 10
    """Hidden units of a teacher."""
    teacher_activation: Activation = "tanh"
    """tanh, relu, erf, gelu, sin, cos, sign, softplus, sigmoid, identity, abs, silu, exp or gaussian."""
    teacher_weight_stds: Annotated[
        tuple[Annotated[float, Curvature("the teacher is constant and there is no label noise")], ...],
        NotEmpty("standard deviation"),
    ] = (1.0, 2.0, 4.0)
    """Standard deviations of a teacher's weights, from flat to curved; the last one is shown against distance."""
    num_ratios: Several = 21
    """Mixing ratios, evenly from 0 to 1."""
    alpha: Alpha = 1.0
    """Beta parameter of the ratios that the table averages over, from 1e-4 to 1e3."""
    num_pairs: Count = 20_000
    """Pairs that are drawn and mixed, beside the closed forms."""
    num_distances: Count = 20
    """Bins of the distance of a pair."""
    num_classes: Several = 4
    """Classes of the soft truth whose hard labels Mixup draws."""
    sharpness: Strength = 3.0
    """What the soft truth's logits are multiplied by."""


@dataclasses.dataclass(frozen=True)
class BoundConfig(TaskConfig):
    """Mixup's exact risk over time, beside the bounds of the literature; Gaussian inputs."""

    num_samples: Several = 15
    """n, the originals of a sample; at least 2."""
    num_features: Count = 60
    """p, the random features."""
    lam: Ratio = 0.5
    """Mixing ratio of the law, which mixes all ordered pairs, in [0, 1]."""
    start_variance: Strength = 0.0
    """xi^2, the variance of the initial weights."""
    final_time: Time = 1e8
    """When training ends, in units of 1/eigenvalue."""
    num_times: Several = 100
    """Times at which curve and bounds are evaluated, evenly in log t over the last eight decades."""
    num_test: Count | None = 1000
    """Test inputs that the risk is averaged over; a number, since the bound asks for the largest |phi| among them."""


@dataclasses.dataclass(frozen=True)
class MinibatchConfig(TaskConfig):
    """Training on fresh batches, under ERM and Mixup: mean, spread and gradients, closed form beside real runs."""

    num_seeds: Annotated[Seeds, AtLeast(2)] = 200
    """Runs of training, each on batches of its own; all share one sample and one draw of the features."""
    num_samples: Several = 10
    """n, the originals; at least 2."""
    num_features: Count = 40
    """p, the random features; up to 100 modes the second moment is exact, beyond that its diagonal approximation."""
    alpha: Alpha = 1.0
    """Beta parameter of the ratio, which Mixup draws afresh for each row, from 1e-4 to 1e3."""
    shared_lam: bool = False
    """Draw one ratio a batch instead of one a row."""
    batch_partners: Literal["independent", "permuted", "flipped", "rolled"] = "independent"
    """How a batch of Mixup is drawn. independent: pairs, one by one. Otherwise different originals, mixed with their
    permutation (reference implementations), reversal (timm) or themselves rolled by one (torchvision); ERM's too are
    different then."""
    epochs: bool = False
    """Draw the batches of the runs epoch by epoch, from each original once; closed forms are of independent batches."""
    batch_sizes: Annotated[tuple[Count, ...], Ascending()] = (2, 8)
    """B, the rows of a batch, ascending."""
    step_fraction: Annotated[Fraction, Below(1, "at 1 the spread no longer settles")] = 0.5
    """Step size as a fraction of the largest that is stable in mean square for all: one clock for all curves."""
    num_steps: Steps = 10_000
    """Steps that are simulated."""
    num_recorded: Several = 16
    """At how many of them the runs are recorded, evenly in log t."""
    num_times: Several = 80
    """Numbers of steps at which the closed form is evaluated, up to a hundred times as many."""


@dataclasses.dataclass(frozen=True)
class SwitchConfig(TaskConfig):
    """Mixup until a switch, plain training after it, at a given budget of steps."""

    num_samples: Several = 60
    """n, the originals of a sample; at least 2."""
    num_features: Count = 50
    """p, the random features."""
    lam: Ratio = 0.5
    """Mixing ratio of the law, which mixes all ordered pairs, in [0, 1]."""
    step_fraction: Annotated[Fraction, Below(1, "at 1 training diverges")] = 0.9
    """Step size as a fraction of the largest stable one, 2/mu_max, of the whole ensemble."""
    num_steps: Annotated[Steps, AtLeast(2)] = 20_000
    """The budget, in steps of gradient descent."""
    num_times: Annotated[int, AtLeast(8)] = 120
    """About so many switch times, evenly in the log of the steps before and after the switch."""
    num_simulated: Several = 6
    """At how many of them the first seed is trained for real."""


@dataclasses.dataclass(frozen=True)
class RulesConfig(TaskConfig):
    """The U-curve of Mixup under every training rule, at equal effective time."""

    num_seeds: Seeds = 4
    """Size of the ensemble, over which means and standard errors are taken."""
    num_samples: Several = 15
    """n, the originals of a sample; at least 2."""
    num_features: Count = 200
    """p, the random features."""
    lam: Ratio = 0.5
    """Mixing ratio of the law, which mixes all ordered pairs, in [0, 1]."""
    momentum: Annotated[float, NOT_NEGATIVE, Below(1, "at 1 it forgets nothing")] = 0.9
    """Of the heavy ball and of Nesterov's momentum, in [0, 1)."""
    ridge: Annotated[float, NOT_NEGATIVE] = 3e-3
    """Weight decay of the one rule that has it, in eigenvalues."""
    step_fraction: Annotated[Fraction, Below(2 / 3, "from 2/3 on, increasing momentum diverges")] = 0.6
    """Step size as a fraction of the largest stable one of plain descent, 2/mu_max; below 2/3, for increasing
    momentum."""
    num_steps: Annotated[Steps, AtLeast(2)] = 20_000
    """Steps of plain descent; the other rules take as many as reach the same effective time."""
    num_recorded: Several = 14
    """At how many of them training is recorded, evenly in log t."""
    num_times: Several = 100
    """Times of the closed form."""


@dataclasses.dataclass(frozen=True)
class PenaltyMapConfig(TaskConfig):
    """The overtraining penalty over the number of originals and the mixing law, and over training time."""

    num_seeds: Seeds = 6
    """Size of the ensemble, over which means are taken."""
    sample_sizes: Annotated[tuple[Several, ...], Ascending()] = (8, 12, 18, 27, 40, 60, 90, 135)
    """The values of n, ascending, each at least 2."""
    alphas: Annotated[tuple[Alpha, ...], Ascending()] = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4)
    """Beta parameters of the mixing ratio, ascending, from 1e-4 to 1e3."""
    alpha: Alpha = 1.0
    """The one of them (or another) that is followed over time."""
    pairs_per_sample: Count = 20
    """Random pairs a sample."""
    num_features: Count = 60
    """p, the random features."""
    final_time: Time = 1e5
    """When training ends, in units of 1/eigenvalue."""
    num_times: Several = 60
    """Times of the second map, evenly in log t from 1 on."""


CONTROL_STEPS = 2000
"""Of the training on what may stand in the place of the noise."""


@dataclasses.dataclass(frozen=True)
class ControlsConfig(TaskConfig):
    """Noise or bias: the U-curve of Mixup's label noise beside those of what may stand in its place."""

    num_seeds: Seeds = 4
    """Size of the ensemble, over which means and standard errors are taken."""
    sample_sizes: Annotated[tuple[Several, ...], Ascending()] = (10, 20, 40)
    """The values of n, ascending, each at least 2."""
    teacher_weight_stds: Annotated[tuple[TeacherWeightStd, ...], Ascending()] = (0.75, 3.0)
    """Standard deviations of the teacher's weights, from flat to curved; a data set has none."""
    num_features: Count = 100
    """p, the random features."""
    lam: Ratio = 0.5
    """Mixing ratio of the law that mixes all ordered pairs, in [0, 1]."""
    alpha: Alpha = 1.0
    """Beta parameter of the law that mixes as many random pairs, from 1e-4 to 1e3."""
    final_time: Time = 1e6
    """When training ends, in units of 1/eigenvalue."""
    num_times: Several = 60
    """Times at which gradient flow is evaluated."""
    num_draws: Several = 16
    """Draws of what is random that are trained on for real, of the smallest sample."""

    def ignored(self) -> dict[str, str]:
        ignored = super().ignored() | {"label_noise_std": "here, where the labels' own noise is left out"}
        if self.dataset is None:
            return ignored | {"teacher_weight_std": "beside teacher_weight_stds"}
        return ignored | {"teacher_weight_stds": ignored["teacher_weight_std"]}


def mixing_in_words(configuration: Mapping[str, Any]) -> str:
    """What a configuration chose of Mixup beside ratio and pairs, in the words of its flags; empty for nothing.

    >>> mixing_in_words({"lam": 0.5, "partners": "similar-labels", "bandwidth": 0.5, "num_neighbors": 3, "share": 1.0})
    'partners similar-labels, bandwidth 0.5'
    """
    ignored = MixingConfig(partners=configuration.get("partners", "any")).ignored()
    return ", ".join(
        name.replace("_", " ") + ("" if value is True else f" {value}")
        for name, value in configuration.items()
        if name in _USUAL and value != _USUAL[name] and name not in ignored
    )


_OF_MIXING = {field.name for field in dataclasses.fields(MixingConfig)} - {"seed", "num_seeds"}
_USUAL = {
    field.name: field.default
    for field in dataclasses.fields(MinibatchConfig)
    if field.name in _OF_MIXING | {"batch_partners", "epochs"}
}
