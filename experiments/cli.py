"""The command line: one command an experiment, `rfm advise DATA` for data of one's own, `rfm show FILE`.

Help is printed without importing jax: everything that needs it is imported by the command that runs. Figures lie a
floor above, so a finished result is handed to the figure's own script.
"""

import argparse
import dataclasses
import functools
import importlib
import operator
import sys
import tomllib
import typing
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import tyro

from experiments import exits
from experiments.configs import (
    NAMED,
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

if TYPE_CHECKING:
    from experiments.variables import Stage, Variables

BAD_INPUT, INTERRUPTED = exits.BAD_INPUT, exits.INTERRUPTED


@dataclasses.dataclass(frozen=True)
class Run:
    """What the commands that run an experiment have in common; each has its own configuration, kind and runner."""

    run: Any
    output: Path
    """The result file; an old one is replaced once the new one is whole."""
    figure: Path | None
    """The figure's path without its ending, .pdf and .png; None for no figure."""
    config: Path | None = None
    """Take the fields from a .toml file, from an older result, or (for ucurve) from the setting named curved; flags
    override it."""
    kind: ClassVar[str]
    runner: ClassVar[str]


@dataclasses.dataclass(frozen=True)
class UCurve(Run):
    """Run the main experiment: the U-curve of ERM and two Mixup laws, in closed form and in simulation."""

    run: UCurveConfig = dataclasses.field(default_factory=UCurveConfig)
    output: Path = Path("results/ucurve.nc")
    figure: Path | None = Path("figures/ucurve")
    kind: ClassVar[str] = "ucurve"
    runner: ClassVar[str] = "experiments.ucurve.run_ucurve"
    num_workers: int | None = None
    """Threads of the simulation; None for one a core. The numbers do not depend on it."""


@dataclasses.dataclass(frozen=True)
class SampleSize(Run):
    """Run the overtraining penalty against the number of samples, at fixed p and for p that grows with n."""

    run: SampleSizeConfig = dataclasses.field(default_factory=SampleSizeConfig)
    output: Path = Path("results/sample_size.nc")
    figure: Path | None = Path("figures/sample_size")
    kind: ClassVar[str] = "sample-size"
    runner: ClassVar[str] = "experiments.sample_size.run_sample_size"


@dataclasses.dataclass(frozen=True)
class Noise(Run):
    """Run the law of Mixup's label noise: against the ratio, the distance of a pair, and for hard labels."""

    run: NoiseConfig = dataclasses.field(default_factory=NoiseConfig)
    output: Path = Path("results/noise.nc")
    figure: Path | None = Path("figures/noise")
    kind: ClassVar[str] = "noise"
    runner: ClassVar[str] = "experiments.label_noise.run_label_noise"


@dataclasses.dataclass(frozen=True)
class Bound(Run):
    """Run the bounds of the literature beside the exact curve, over training time."""

    run: BoundConfig = dataclasses.field(default_factory=BoundConfig)
    output: Path = Path("results/bound.nc")
    figure: Path | None = Path("figures/bound")
    kind: ClassVar[str] = "bound"
    runner: ClassVar[str] = "experiments.risk_bound.run_risk_bound"


@dataclasses.dataclass(frozen=True)
class Minibatch(Run):
    """Run training on fresh batches: mean, spread and gradients in closed form, beside real runs."""

    run: MinibatchConfig = dataclasses.field(default_factory=MinibatchConfig)
    output: Path = Path("results/minibatch.nc")
    figure: Path | None = Path("figures/minibatch")
    kind: ClassVar[str] = "minibatch"
    runner: ClassVar[str] = "experiments.minibatch.run_minibatch"


@dataclasses.dataclass(frozen=True)
class Switch(Run):
    """Run Mixup until a switch and plain training after it, against the time of the switch, at equal budget."""

    run: SwitchConfig = dataclasses.field(default_factory=SwitchConfig)
    output: Path = Path("results/switch.nc")
    figure: Path | None = Path("figures/switch")
    kind: ClassVar[str] = "switch"
    runner: ClassVar[str] = "experiments.switch.run_switch"


@dataclasses.dataclass(frozen=True)
class Rules(Run):
    """Run the U-curve under every training rule, at equal effective time, in closed form and in simulation."""

    run: RulesConfig = dataclasses.field(default_factory=RulesConfig)
    output: Path = Path("results/rules.nc")
    figure: Path | None = Path("figures/rules")
    kind: ClassVar[str] = "rules"
    runner: ClassVar[str] = "experiments.rules.run_rules"


@dataclasses.dataclass(frozen=True)
class PenaltyMap(Run):
    """Run the overtraining penalty over the number of originals and Mixup's alpha, and over training time."""

    run: PenaltyMapConfig = dataclasses.field(default_factory=PenaltyMapConfig)
    output: Path = Path("results/penalty_map.nc")
    figure: Path | None = Path("figures/penalty_map")
    kind: ClassVar[str] = "penalty-map"
    runner: ClassVar[str] = "experiments.penalty_map.run_penalty_map"


@dataclasses.dataclass(frozen=True)
class Advise(Run):
    """Advise on data of your own: what over-training with Mixup would cost, when to stop or to switch it off."""

    data: Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(metavar="DATA")] = None
    """diabetes, digits, or the path of a .csv file (with --target) or of an .npz file with x and y; left out, that of
    --dataset."""
    run: AdviseConfig = dataclasses.field(default_factory=AdviseConfig)
    output: Path = Path("results/advise.nc")
    figure: Path | None = Path("figures/advise")
    kind: ClassVar[str] = "advise"
    runner: ClassVar[str] = "experiments.advice.run_advice"


@dataclasses.dataclass(frozen=True)
class Show:
    """Print a stored result: its table, its configuration and where it came from."""

    file: tyro.conf.Positional[Path]
    """A file that one of the other commands wrote."""


EXPERIMENTS: tuple[type[Run], ...] = (UCurve, SampleSize, Noise, Bound, Minibatch, Switch, Rules, PenaltyMap, Advise)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status: 0, one of `experiments.exits`, or that of the figure's script.

    Without arguments it takes those of the process, which Ctrl-C and SIGTERM then end at once, with 130 and 143.
    """
    if arguments is None:
        return exits.whole_process("rfm", lambda: _obey(sys.argv[1:]))
    return exits.guarded("rfm", lambda: _obey(list(arguments)))


def _obey(arguments: Sequence[str]) -> int:
    if arguments in (["--version"], ["-V"]):
        print(f"rfm {metadata.version('rfm')}")
        return 0
    if arguments and arguments[0] == "help":
        arguments = [*arguments[1:], "--help"]
    command = _parse(arguments)
    return _show(command) if isinstance(command, Show) else _run(command)


def _parse(arguments: Sequence[str]) -> Run | Show:
    """The command, with the fields of a --config file as its defaults, so that flags override them.

    A command is parsed by itself, so that what is said of its flags points to its own help.
    """
    kinds = {kind.kind: kind for kind in EXPERIMENTS}
    name, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    if name == "show":
        return tyro.cli(Show, prog="rfm show", args=rest)
    if name in kinds:
        return _parse_run(kinds[name], rest)
    commands: Any = functools.reduce(
        operator.or_,
        [*(Annotated[kind, tyro.conf.subcommand(kind.kind)] for kind in EXPERIMENTS),
         Annotated[Show, tyro.conf.subcommand("show")]],
    )  # fmt: skip
    return tyro.cli(
        commands,
        prog="rfm",
        description="Over-training with Mixup in random-feature regression: exact risk curves beside real training. "
        "`rfm COMMAND --help` lists a command's flags, `rfm --version` prints the version. Status: 0; 2 for bad "
        "input; 130 after Ctrl-C and 143 after SIGTERM, which leave earlier results whole.",
        args=arguments,
        config=(tyro.conf.OmitArgPrefixes,),
    )


def _parse_run(experiment: type[Run], arguments: Sequence[str]) -> Run:
    path = _config_path(arguments)
    values = {} if path is None else _values(path, experiment.kind)
    config: type[Config] = typing.get_type_hints(experiment)["run"]
    default = experiment(run=config.from_mapping(values, f"config: {path}"))  # type: ignore[call-arg]  # each has its own output
    command = tyro.cli(
        experiment,
        prog=f"rfm {experiment.kind}",
        default=default,
        args=arguments,
        config=(tyro.conf.OmitArgPrefixes,),
    )
    given = {word.partition("=")[0][2:].replace("-", "_") for word in arguments if word.startswith("--")}
    if path is not None and path.suffix == ".toml":
        given |= set(values)  # an older result holds all fields, whether anybody passed them or not
    if isinstance(command, Advise) and command.data is not None:
        if "dataset" in given:
            raise ValueError(
                f"dataset: {command.run.dataset!r} is ignored beside {command.data!r}; leave one of them out"
            )
        command = dataclasses.replace(command, run=dataclasses.replace(command.run, dataset=command.data))
    for name, why in command.run.ignored().items():
        if name in given:
            raise ValueError(f"{name}: is ignored {why}; leave one of them out")
    return command


def _config_path(arguments: Sequence[str]) -> Path | None:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--config", type=Path)
    try:
        return parser.parse_known_args(arguments)[0].config
    except argparse.ArgumentError:  # --config without a file; the real parser says so
        return None


def _values(path: Path, kind: str) -> dict[str, Any]:
    named = NAMED.get(kind, {})
    if str(path) in named:
        return dataclasses.asdict(named[str(path)])
    if not path.is_file():
        what = f"{path} is a folder" if path.is_dir() else f"there is no file {path}"
        known = f"; the settings of {kind} with a name are: {', '.join(named)}" if named else ""
        raise ValueError(f"config: {what}{known}")
    if path.suffix != ".toml":
        from experiments.store import stored_configuration

        return stored_configuration(path, kind)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"config: {path} is not a TOML file ({error}); write lines such as lam = 0.5") from error


def _show(command: Show) -> int:
    from experiments import report, store

    result = store.read(command.file)
    console = report.console()
    report.print_result(console, result)
    report.print_origin(console, result)
    return 0


def _run(command: Run) -> int:
    """Checks, runs, prints, stores and draws, in this order: what cannot be stored has at least been seen."""
    import jax

    # Slow modes differ from fast ones by more than single precision resolves.
    jax.config.update("jax_enable_x64", True)
    from experiments import limits, outputs, provenance, report, store

    limits.check_most("num_seeds", command.run.num_seeds, limits.MOST_SEEDS)
    outputs.check_result(command.output)
    if command.figure is not None:
        outputs.check_figure(command.figure)
    # Collected first: an edit while the experiment runs is not the code that ran.
    origin = provenance.collect(command.run, provenance.this_command())
    with report.progress_bars(report.console(stderr=True)) as stage:
        variables = _variables(command, stage)
    result = store.assemble(command.kind, variables, origin)
    console = report.console()
    report.print_result(console, result)
    store.save(command.output, result)
    exits.once_stopped(f"the result is stored in {command.output}, and its figure may not be drawn")
    console.print(f"result: {command.output}", highlight=False)
    return 0 if command.figure is None else _draw(command.kind, command.output, command.figure)


def _variables(command: Run, stage: "Stage") -> "Variables":
    module, function = command.runner.rsplit(".", 1)
    run = getattr(importlib.import_module(module), function)
    if isinstance(command, UCurve):
        from theory.checks import check_count

        if command.num_workers is not None:
            check_count("num_workers", command.num_workers)
        return run(command.run, num_workers=command.num_workers, stage=stage)
    return run(command.run, stage=stage)


def _draw(kind: str, result: Path, stem: Path) -> int:
    script = "figures." + kind.replace("-", "_")
    return exits.run_child([sys.executable, "-m", script, str(result), "--output", str(stem)])


if __name__ == "__main__":
    sys.exit(main())
