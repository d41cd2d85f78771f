"""The experiments: what each is called and made of, and where it is run, printed and drawn.

One entry an experiment; the command line, `rfm show`, `python -m figures` and the tests make themselves of them. What
computes or draws is named by strings, and imported when it is asked for: help is printed without waiting for it.
"""

from dataclasses import dataclass

from experiments.configs import (
    AdviseConfig,
    BoundConfig,
    Config,
    MinibatchConfig,
    NoiseConfig,
    PenaltyMapConfig,
    RulesConfig,
    SampleSizeConfig,
    SwitchConfig,
    UCurveConfig,
)


@dataclass(frozen=True)
class Kind:
    """A kind of result, which is shown and drawn.

    Attributes:
        kind: its name, as commands and stored results have it.
        table: what prints it, given a console and the result, by its name, such as ``package.module:function``.
        figures: the modules whose ``main`` draws it; the first one does so after a run.
    """

    kind: str
    table: str
    figures: tuple[str, ...]

    @property
    def stem(self) -> str:
        """The name of its files, without their endings."""
        return self.kind.replace("-", "_")


@dataclass(frozen=True)
class Experiment(Kind):
    """A kind of result that a command of `rfm` makes.

    Attributes:
        config: what it is made of.
        run: what turns that into variables, by its name; told a ``stage`` to report its work to.
        about: the help text of the command.
        in_threads: whether the run takes ``num_workers``.
        on_data: whether the command takes a data set before its flags.
    """

    config: type[Config]
    run: str
    about: str
    in_threads: bool = False
    on_data: bool = False


EXPERIMENTS: dict[str, Experiment] = {
    experiment.kind: experiment
    for experiment in (
        Experiment(
            "ucurve",
            "experiments.ucurve:print_ucurve",
            ("figures.ucurve", "figures.decomposition", "figures.modes"),
            UCurveConfig,
            "experiments.ucurve:run_ucurve",
            "Run the main experiment: the U-curve of ERM and two Mixup laws, in closed form and in simulation.",
            in_threads=True,
        ),
        Experiment(
            "sample-size",
            "experiments.sample_size:print_sample_size",
            ("figures.sample_size",),
            SampleSizeConfig,
            "experiments.sample_size:run_sample_size",
            "Run the overtraining penalty against the number of samples, at fixed p and for p that grows with n.",
        ),
        Experiment(
            "noise",
            "experiments.noise:print_noise",
            ("figures.noise",),
            NoiseConfig,
            "experiments.noise:run_noise",
            "Run the law of Mixup's label noise: against the ratio, the distance of a pair, and for hard labels.",
        ),
        Experiment(
            "bound",
            "experiments.bound:print_bound",
            ("figures.bound",),
            BoundConfig,
            "experiments.bound:run_bound",
            "Run the bounds of the literature beside the exact curve, over training time.",
        ),
        Experiment(
            "minibatch",
            "experiments.minibatch:print_minibatch",
            ("figures.minibatch",),
            MinibatchConfig,
            "experiments.minibatch:run_minibatch",
            "Run training on fresh batches: mean, spread and gradients in closed form, beside real runs.",
        ),
        Experiment(
            "switch",
            "experiments.switch:print_switch",
            ("figures.switch",),
            SwitchConfig,
            "experiments.switch:run_switch",
            "Run Mixup until a switch and plain training after it, against the time of the switch, at equal budget.",
        ),
        Experiment(
            "rules",
            "experiments.rules:print_rules",
            ("figures.rules",),
            RulesConfig,
            "experiments.rules:run_rules",
            "Run the U-curve under every training rule, at equal effective time, in closed form and in simulation.",
        ),
        Experiment(
            "penalty-map",
            "experiments.penalty_map:print_penalty_map",
            ("figures.penalty_map",),
            PenaltyMapConfig,
            "experiments.penalty_map:run_penalty_map",
            "Run the overtraining penalty over the number of originals and Mixup's alpha, and over training time.",
        ),
        Experiment(
            "advise",
            "experiments.advise:print_advise",
            ("figures.advise",),
            AdviseConfig,
            "experiments.advise:run_advise",
            "Advise on data of your own: what over-training with Mixup would cost, when to stop or to switch it off.",
            on_data=True,
        ),
    )
}

MEASURED = {"scaling": Kind("scaling", "experiments.scaling:print_scaling", ("figures.scaling",))}
"""What `benchmarks` store, which `rfm show` prints as well."""


def known() -> dict[str, Kind]:
    """Every kind of result, by its name."""
    return {**EXPERIMENTS, **MEASURED}
