"""Configurations that run in a moment; all tests share them, so that each shape is compiled once."""

import dataclasses
import sys

from experiments.configs import (
    BoundConfig,
    ControlsConfig,
    MinibatchConfig,
    NoiseConfig,
    PenaltyMapConfig,
    RulesConfig,
    SampleSizeConfig,
    SwitchConfig,
    UCurveConfig,
)
from experiments.cost import SAID
from experiments.data_configs import AdviseConfig
from experiments.fields import Config

PROGRAM = [sys.executable, "-m", "experiments.cli"]

_TASK = {"num_seeds": 2, "input_dim": 3, "num_hidden": 3, "num_test": 40, "num_times": 12}

UCURVE = UCurveConfig(**_TASK, num_samples=6, num_features=12, num_steps=200, num_recorded=6)
SAMPLE_SIZE = SampleSizeConfig(**_TASK, sample_sizes=(4, 6), pairs_per_sample=3, num_features=5, features_per_sample=3)


NOISE = NoiseConfig(
    num_seeds=2,
    input_dim=2,
    num_hidden=2,
    teacher_activation="erf",
    teacher_weight_stds=(1.0, 2.0),
    num_ratios=5,
    num_pairs=4000,
    num_distances=4,
    num_classes=3,
)
BOUND = BoundConfig(**_TASK, num_samples=6, num_features=12)
MINIBATCH = MinibatchConfig(
    **(_TASK | {"num_seeds": 60}),
    num_samples=4,
    num_features=6,
    batch_sizes=(1, 3),
    num_steps=40,
    num_recorded=5,
)
ADVISE = AdviseConfig(num_seeds=2, num_folds=2, num_features=6, feature_activation="tanh", budget=100.0, num_times=8)


SWITCH = SwitchConfig(**_TASK, num_samples=6, num_features=12, num_steps=200, num_simulated=3)
RULES = RulesConfig(**_TASK, num_samples=6, num_features=12, num_steps=200, num_recorded=5)
PENALTY_MAP = PenaltyMapConfig(**_TASK, sample_sizes=(4, 6), alphas=(0.5, 1.0), pairs_per_sample=3, num_features=5)

CONTROLS = ControlsConfig(
    **_TASK, sample_sizes=(4, 5), teacher_weight_stds=(1.0, 2.0), num_features=8, num_draws=6, final_time=1e4
)

SMALL: dict[str, Config] = {
    "ucurve": UCURVE,
    "sample-size": SAMPLE_SIZE,
    "noise": NOISE,
    "bound": BOUND,
    "minibatch": MINIBATCH,
    "switch": SWITCH,
    "rules": RULES,
    "penalty-map": PENALTY_MAP,
    "controls": CONTROLS,
    "advise": dataclasses.replace(ADVISE, num_seeds=0),
}
"""What `result_of` runs, by the kind of the result."""


def flags(config: Config) -> list[str]:
    """The configuration as flags; fields at their defaults are left out."""
    arguments = []
    for name, value in dataclasses.asdict(config).items():
        if value != getattr(type(config)(), name):
            values = value if isinstance(value, tuple) else () if value is True else (value,)
            arguments += [f"--{name.replace('_', '-')}", *map(str, values)]
    return arguments


def without_cost(said: str) -> str:
    """What a program says beside what its run will cost, where it has said that: bad input may be found at once."""
    return "".join(line for line in said.splitlines(keepends=True) if not line.startswith(SAID))
