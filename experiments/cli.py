"""The command line: `rfm ucurve`, `rfm sample-size`, `rfm noise`, `rfm bound`, `rfm minibatch`,
`rfm show FILE`.

Help is printed without importing jax: everything that needs it is imported by the command that runs. Figures lie a
floor above, so a finished result is handed to the figure's own script.
"""

import argparse
import dataclasses
import os
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from experiments.configs import BoundConfig, Config, MinibatchConfig, NoiseConfig, SampleSizeConfig, UCurveConfig

if TYPE_CHECKING:
    from experiments.variables import Stage, Variables

BAD_INPUT = 2
INTERRUPTED = 130


@dataclasses.dataclass(frozen=True)
class Run:
    """What the commands that run an experiment have in common; each says where its own results go."""

    run: Any
    output: Path
    """The result file; an old one is replaced once the new one is whole."""
    figure: Path | None
    """The figure's path without its ending, .pdf and .png; None for no figure."""
    config: Path | None = None
    """Take the fields from a .toml file or from an older result; flags override it."""


@dataclasses.dataclass(frozen=True)
class UCurve(Run):
    """Run the main experiment: the U-curve of ERM and two Mixup laws, in closed form and in simulation."""

    run: UCurveConfig = dataclasses.field(default_factory=UCurveConfig)
    output: Path = Path("results/ucurve.nc")
    figure: Path | None = Path("figures/ucurve")
    num_workers: int | None = None
    """Threads of the simulation; None for one a core. The numbers do not depend on it."""


@dataclasses.dataclass(frozen=True)
class SampleSize(Run):
    """Run the overtraining penalty against the number of samples, at fixed p and for p that grows with n."""

    run: SampleSizeConfig = dataclasses.field(default_factory=SampleSizeConfig)
    output: Path = Path("results/sample_size.nc")
    figure: Path | None = Path("figures/sample_size")


@dataclasses.dataclass(frozen=True)
class Noise(Run):
    """Run the law of Mixup's label noise: against the ratio, the distance of a pair, and for hard labels."""

    run: NoiseConfig = dataclasses.field(default_factory=NoiseConfig)
    output: Path = Path("results/noise.nc")
    figure: Path | None = Path("figures/noise")


@dataclasses.dataclass(frozen=True)
class Bound(Run):
    """Run the bounds of the literature beside the exact curve, over training time."""

    run: BoundConfig = dataclasses.field(default_factory=BoundConfig)
    output: Path = Path("results/bound.nc")
    figure: Path | None = Path("figures/bound")


@dataclasses.dataclass(frozen=True)
class Minibatch(Run):
    """Run training on fresh batches: mean, spread and gradients in closed form, beside real runs."""

    run: MinibatchConfig = dataclasses.field(default_factory=MinibatchConfig)
    output: Path = Path("results/minibatch.nc")
    figure: Path | None = Path("figures/minibatch")


@dataclasses.dataclass(frozen=True)
class Show:
    """Print a stored result: its table, its configuration and where it came from."""

    file: tyro.conf.Positional[Path]
    """A file that one of the other commands wrote."""


Experiment = UCurve | SampleSize | Noise | Bound | Minibatch
Command = Experiment | Show
_KINDS: dict[type, str] = {
    UCurve: "ucurve",
    SampleSize: "sample-size",
    Noise: "noise",
    Bound: "bound",
    Minibatch: "minibatch",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status: 0; 2 for bad input; 130 for Ctrl-C; that of the figure's script."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments == ["--version"]:
        print(f"rfm {metadata.version('rfm')}")
        return 0
    try:
        command = _parse(arguments)
        return _show(command) if isinstance(command, Show) else _run(command)
    except BrokenPipeError:  # the reader of the output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError) as error:
        print(f"rfm: error: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("rfm: interrupted; nothing was stored, and an earlier result file, if any, is untouched", file=sys.stderr)
        return INTERRUPTED


def _parse(arguments: Sequence[str]) -> Command:
    """The command, with the fields of a --config file as its defaults, so that flags override them."""
    path = _config_path(arguments)
    name = next((argument for argument in arguments if not argument.startswith("-")), "")
    commands: Any = (
        Annotated[UCurve, _subcommand(UCurve, UCurveConfig, name, path)]
        | Annotated[SampleSize, _subcommand(SampleSize, SampleSizeConfig, name, path)]
        | Annotated[Noise, _subcommand(Noise, NoiseConfig, name, path)]
        | Annotated[Bound, _subcommand(Bound, BoundConfig, name, path)]
        | Annotated[Minibatch, _subcommand(Minibatch, MinibatchConfig, name, path)]
        | Annotated[Show, tyro.conf.subcommand("show")]
    )
    return tyro.cli(
        commands,
        prog="rfm",
        description="Over-training with Mixup in random-feature regression: exact risk curves beside real training. "
        "`rfm COMMAND --help` lists a command's flags, `rfm --version` prints the version.",
        args=arguments,
        config=(tyro.conf.OmitArgPrefixes,),
    )


def _config_path(arguments: Sequence[str]) -> Path | None:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--config", type=Path)
    try:
        return parser.parse_known_args(arguments)[0].config
    except argparse.ArgumentError:  # --config without a file; the real parser says so
        return None


def _subcommand(experiment: type, config: type[Config], name: str, path: Path | None) -> Any:
    own_name = _KINDS[experiment]
    values = {} if path is None or name != own_name else _values(path, own_name)
    return tyro.conf.subcommand(own_name, default=experiment(config.from_mapping(values, f"config: {path}")))


def _values(path: Path, kind: str) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"config: there is no file {path}")
    if path.suffix != ".toml":
        from experiments.store import stored_configuration

        return stored_configuration(path, kind)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"config: {path} is not a TOML file ({error}); write lines such as lam = 0.5") from error


def _show(command: Show) -> int:
    from rich.console import Console

    from experiments import report, store

    result = store.read(command.file)
    console = Console(soft_wrap=False)
    report.print_result(console, result)
    report.print_origin(console, result)
    return 0


def _run(command: Experiment) -> int:
    """Checks, runs, stores, prints and draws, in this order."""
    import jax
    from rich.console import Console

    # Slow modes differ from fast ones by more than single precision resolves.
    jax.config.update("jax_enable_x64", True)
    from experiments import provenance, report, store

    store.check_writable(command.output)
    kind = _KINDS[type(command)]
    # Collected first: an edit while the experiment runs is not the code that ran.
    origin = provenance.collect(command.run, provenance.this_command())
    with report.progress_bars(Console(stderr=True)) as stage:
        variables = _variables(command, stage)
    store.write(command.output, kind, variables, origin)
    console = Console()
    report.print_result(console, store.read(command.output, kind))
    console.print(f"result: {command.output}", highlight=False, markup=False)
    return 0 if command.figure is None else _draw(kind, command.output, command.figure)


def _variables(command: Experiment, stage: "Stage") -> "Variables":
    if isinstance(command, UCurve):
        from experiments.ucurve import run_ucurve
        from rfm.checks import check_count

        if command.num_workers is not None:
            check_count("num_workers", command.num_workers)
        return run_ucurve(command.run, num_workers=command.num_workers, stage=stage)
    if isinstance(command, Noise):
        from experiments.label_noise import run_label_noise

        return run_label_noise(command.run, stage=stage)
    if isinstance(command, Bound):
        from experiments.risk_bound import run_risk_bound

        return run_risk_bound(command.run, stage=stage)
    if isinstance(command, Minibatch):
        from experiments.minibatch import run_minibatch

        return run_minibatch(command.run, stage=stage)
    from experiments.sample_size import run_sample_size

    return run_sample_size(command.run, stage=stage)


def _draw(kind: str, result: Path, stem: Path) -> int:
    script = "figures." + kind.replace("-", "_")
    return subprocess.run([sys.executable, "-m", script, str(result), "--output", str(stem)], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
