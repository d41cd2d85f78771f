"""The experiments: what each is called and made of, and where it is run, printed and drawn.

One entry an experiment; the command line, `rfm show`, `python -m figures` and the tests make themselves of them. What
computes or draws is named by strings, and imported when it is asked for: help is printed without waiting for it.
"""

from dataclasses import dataclass

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
from experiments.data_configs import AdviseConfig
from experiments.fields import Config


@dataclass(frozen=True, kw_only=True)
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
        return stem(self.kind)


def stem(kind: str) -> str:
    """A kind as files and functions are called after it."""
    return kind.replace("-", "_")


@dataclass(frozen=True, kw_only=True)
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


def _experiment(
    kind: str, config: type[Config], about: str, *more_figures: str, in_threads: bool = False, on_data: bool = False
) -> Experiment:
    """One whose names follow from its kind: experiments/<stem>.py runs and prints it, figures/<stem>.py draws it."""
    name = stem(kind)
    return Experiment(
        kind=kind,
        config=config,
        run=f"experiments.{name}:run_{name}",
        table=f"experiments.{name}:print_{name}",
        figures=tuple(f"figures.{figure}" for figure in (name, *more_figures)),
        about=about,
        in_threads=in_threads,
        on_data=on_data,
    )


_IN_ORDER = (
    _experiment(
        "ucurve",
        UCurveConfig,
        "Run the main experiment: the U-curve of ERM and two Mixup laws, in closed form and in simulation.",
        "decomposition",
        "modes",
        in_threads=True,
    ),
    _experiment(
        "sample-size",
        SampleSizeConfig,
        "Run the overtraining penalty against the number of samples, at fixed p and for p that grows with n.",
    ),
    _experiment(
        "noise",
        NoiseConfig,
        "Run the law of Mixup's label noise: against the ratio, the distance of a pair, and for hard labels.",
    ),
    _experiment("bound", BoundConfig, "Run the bounds of the literature beside the exact curve, over training time."),
    _experiment(
        "minibatch",
        MinibatchConfig,
        "Run training on fresh batches: mean, spread and gradients in closed form, beside real runs.",
    ),
    _experiment(
        "switch",
        SwitchConfig,
        "Run Mixup until a switch and plain training after it, against the time of the switch, at equal budget.",
    ),
    _experiment(
        "rules",
        RulesConfig,
        "Run the U-curve under every training rule, at equal effective time, in closed form and in simulation.",
    ),
    _experiment(
        "penalty-map",
        PenaltyMapConfig,
        "Run the overtraining penalty over the number of originals and Mixup's alpha, and over training time.",
    ),
    _experiment(
        "controls",
        ControlsConfig,
        "Run noise or bias: the U-curve of Mixup's label noise beside those of what may stand in its place.",
    ),
    _experiment(
        "advise",
        AdviseConfig,
        "Advise on data of your own: what over-training with Mixup would cost, when to stop or to switch it off.",
        on_data=True,
    ),
)
EXPERIMENTS = {experiment.kind: experiment for experiment in _IN_ORDER}
MEASURED = {"scaling": Kind(kind="scaling", table="experiments.scaling:print_scaling", figures=("figures.scaling",))}
"""What `benchmarks` store, which `rfm show` prints as well."""


def known() -> dict[str, Kind]:
    """Every kind of result, by its name."""
    return {**EXPERIMENTS, **MEASURED}
