"""The command line: one command an experiment, `rfm advise DATA` for data of one's own, `rfm show FILE`.

Help is printed without importing jax: everything that needs it is imported by the command that runs. Figures lie a
floor above: the registry names them, and a finished result is handed to the figure's own script.
"""

import argparse
import contextlib
import dataclasses
import functools
import operator
import sys
import tomllib
from collections.abc import Callable, Sequence
from importlib import import_module, metadata
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, TypeVar

import tyro

from experiments import exits
from experiments.configs import NAMED
from experiments.constraints import check_fields
from experiments.data_configs import PairsConfig
from experiments.fields import Config
from experiments.registry import EXPERIMENTS, Experiment

if TYPE_CHECKING:
    from experiments.variables import Stage, Variables

BAD_INPUT, INTERRUPTED = exits.BAD_INPUT, exits.INTERRUPTED
SomeConfig = TypeVar("SomeConfig", bound=Config)


@dataclasses.dataclass(frozen=True)
class Run(Generic[SomeConfig]):
    """The command of an experiment."""

    experiment: tyro.conf.Suppress[tyro.conf.Fixed[Experiment]]
    arguments: tyro.conf.Suppress[tyro.conf.Fixed[tuple[str, ...]]]
    run: SomeConfig
    output: Path
    """The result file; an old one is replaced once the new one is whole."""
    figure: Path | None
    """The figure's path without its ending, .pdf and .png; None for no figure."""
    config: Path | None = None
    """Take the fields from a .toml file, from an older result, or (for ucurve) from the setting named curved; flags
    override it."""


@dataclasses.dataclass(frozen=True)
class RunInThreads(Run[SomeConfig]):
    """That of one whose work is shared among threads."""

    num_workers: int | None = None
    """Threads of the simulation; None for one a core. The numbers do not depend on it."""


@dataclasses.dataclass(frozen=True)
class RunOnData(Run[SomeConfig]):
    """That of one whose data set is named before all flags."""

    data: Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(metavar="DATA")] = None
    """diabetes, digits, or the path of a .csv file (with --target) or of an .npz file with x and y; left out, that of
    --dataset."""

    format: Literal["text", "json"] = "text"
    """json: print the result for machines, and nothing else."""


@dataclasses.dataclass(frozen=True)
class WritePairs:
    """Write rows of your data and mixtures of them to a file, to be encoded by a frozen network elsewhere; `rfm advise
    DATA --features FILE` then reads the features.
    """

    data: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DATA")]
    """diabetes, digits, or the path of a .csv file (with --target) or of an .npz file with x and y."""
    run: PairsConfig = dataclasses.field(default_factory=PairsConfig)
    output: Path = Path("pairs.npz")
    """The file to write."""


@dataclasses.dataclass(frozen=True)
class Show:
    """Print a stored result: its table, its configuration and where it came from."""

    file: tyro.conf.Positional[Path]
    """A file that one of the other commands wrote."""
    format: Literal["text", "json"] = "text"
    """json: print the result for machines."""


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
    if isinstance(command, WritePairs):
        return _write_pairs(command, arguments)
    return _show(command) if isinstance(command, Show) else _run(command)


def _parse(arguments: Sequence[str]) -> Run | Show | WritePairs:
    """The command, with the fields of a --config file as its defaults, so that flags override them.

    A command is parsed by itself, so that what is said of its flags points to its own help.
    """
    name, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    for other, command in _OTHERS.items():
        if name == other:
            return tyro.cli(command, prog=f"rfm {name}", args=rest, config=(tyro.conf.OmitArgPrefixes,))
    if name in EXPERIMENTS:
        return _parse_run(EXPERIMENTS[name], rest)
    commands: Any = functools.reduce(
        operator.or_,
        [*(_subcommand(experiment) for experiment in EXPERIMENTS.values()),
         *(Annotated[command, tyro.conf.subcommand(other)] for other, command in _OTHERS.items())],
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


def _subcommand(experiment: Experiment) -> Any:
    default = _default(experiment, (), experiment.config())
    return Annotated[
        _type(experiment), tyro.conf.subcommand(experiment.kind, default=default, description=experiment.about)
    ]


def _default(experiment: Experiment, arguments: Sequence[str], config: Config) -> Run:
    files = Path("results", f"{experiment.stem}.nc"), Path("figures", experiment.stem)
    return _type(experiment)(experiment, tuple(arguments), config, *files)


def _type(experiment: Experiment) -> Any:
    command: Any = RunInThreads if experiment.in_threads else RunOnData if experiment.on_data else Run
    return command[experiment.config]


def _parse_run(experiment: Experiment, arguments: Sequence[str]) -> Run:
    path = _config_path(arguments)
    values = {} if path is None else _values(path, experiment.kind)
    config = experiment.config.from_mapping(values, f"config: {path}")
    command = tyro.cli(
        _type(experiment),
        prog=f"rfm {experiment.kind}",
        description=experiment.about,
        default=_default(experiment, arguments, config),
        args=arguments,
        config=(tyro.conf.OmitArgPrefixes,),
    )
    given = _given(arguments)
    if path is not None and path.suffix == ".toml":
        given |= set(values)  # an older result holds all fields, whether anybody passed them or not
    if isinstance(command, RunOnData) and command.data is not None:
        if "dataset" in given:
            raise ValueError(
                f"dataset: {command.run.dataset!r} is ignored beside {command.data!r}; leave one of them out"
            )
        command = dataclasses.replace(command, run=dataclasses.replace(command.run, dataset=command.data))
    _refuse(command.run.ignored(), given)
    return command


def _given(arguments: Sequence[str]) -> set[str]:
    """The fields whose flags stand among the arguments."""
    return {word.partition("=")[0][2:].replace("-", "_") for word in arguments if word.startswith("--")}


def _refuse(ignored: dict[str, str], given: set[str]) -> None:
    for name, why in ignored.items():
        if name in given:
            raise ValueError(f"{name}: is ignored {why}; leave one of them out")


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


_OTHERS: dict[str, Any] = {"pairs": WritePairs, "show": Show}
"""Commands that run no experiment."""


def _write_pairs(command: WritePairs, arguments: Sequence[str]) -> int:
    import jax

    jax.config.update("jax_enable_x64", True)
    from experiments import outputs, report
    from experiments.pairs import write_pairs

    outputs.check_arrays(command.output)
    ignored = {"dataset": "beside DATA", "num_seeds": "by pairs, which are drawn once"} | command.run.ignored()
    _refuse(ignored, _given(arguments))
    config = dataclasses.replace(command.run, dataset=command.data)
    report.console().print(write_pairs(config, command.output), highlight=False, soft_wrap=True)
    return 0


def _show(command: Show) -> int:
    from experiments import report, store

    result = store.read(command.file)
    if command.format == "json":
        print(report.as_json(result))
        return 0
    console = report.console()
    report.print_result(console, result)
    report.print_origin(console, result)
    return 0


def _run(command: Run) -> int:
    """Checks, runs, prints, stores and draws, in this order: what cannot be stored has at least been seen."""
    import jax

    # Slow modes differ from fast ones by more than single precision resolves.
    jax.config.update("jax_enable_x64", True)
    from experiments import outputs, progress, provenance, report, store
    from experiments.cost import cost

    check_fields(command.run)
    outputs.check_result(command.output)
    draw = None
    if command.figure is not None:
        outputs.check_figure(command.figure)
        draw = _figure(command.experiment)
    # Collected first: an edit while the experiment runs is not the code that ran.
    origin = provenance.collect(command.run, ["rfm", command.experiment.kind, *command.arguments])
    with progress.stages(report.console(stderr=True), lambda: cost(command.run)) as stage:
        variables = _variables(command, stage)
    result = store.assemble(command.experiment.kind, variables, origin)
    as_json = isinstance(command, RunOnData) and command.format == "json"
    console = report.console(stderr=as_json)
    if as_json:
        print(report.as_json(result))
    else:
        report.print_result(console, result)
    store.save(command.output, result)
    exits.once_stopped(f"the result is stored in {command.output}, and its figure may not be drawn")
    console.print(f"result: {command.output}", highlight=False)
    if draw is None:
        return 0
    with contextlib.redirect_stdout(sys.stderr if as_json else sys.stdout):  # for machines, the result alone
        return draw([str(command.output), "--output", str(command.figure)])


def _variables(command: Run, stage: "Stage") -> "Variables":
    run = resolve_name(command.experiment.run)
    if not isinstance(command, RunInThreads):
        return run(command.run, stage=stage)
    from theory.checks import check_count

    if command.num_workers is not None:
        check_count("num_workers", command.num_workers)
    return run(command.run, num_workers=command.num_workers, stage=stage)


def _figure(experiment: Experiment) -> Callable[[Sequence[str]], int]:
    """What draws the result, imported before there is one: where it cannot be, no work is done in vain."""
    from rfm import hidden

    module = experiment.figures[0]
    try:
        hidden.check_not_hidden(module.partition(".")[0])
    except ImportError as error:
        raise ValueError(str(error)) from error
    return import_module(module).main


if __name__ == "__main__":
    sys.exit(main())
