"""What a run is said to cost is about what it costs, and is said before anything is done."""

import dataclasses
import io
from pkgutil import resolve_name
from typing import Any

import pytest
from rich.console import Console

from experiments import cli, cost, limits, progress
from experiments.configs import RulesConfig
from experiments.fields import Config
from experiments.registry import EXPERIMENTS
from tests.experiments.small import SMALL, flags

KINDS = list(EXPERIMENTS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_experiment_says_what_it_costs(kind: str) -> None:
    small, usual = (cost.cost(config) for config in (SMALL[kind], EXPERIMENTS[kind].config()))
    assert cost.START < small.seconds < usual.seconds
    assert cost.BASE < small.bytes <= usual.bytes


def test_of_an_experiment_of_which_nobody_has_said_it_nothing_is_said() -> None:
    console = Console(file=io.StringIO())
    with progress.stages(console, lambda: cost.cost(Config())) as stage:
        stage("one", 1)
    assert console.file.getvalue() == ""


MEASURED: tuple[tuple[str, dict[str, Any], float, float], ...] = (
    ("ucurve", {}, 28, 1.07),
    ("ucurve", {"num_samples": 40, "num_features": 600, "num_steps": 5000, "num_seeds": 2}, 29, 1.13),
    ("sample-size", {}, 27, 1.07),
    ("sample-size", {"num_seeds": 2, "sample_sizes": (32, 128, 256)}, 31, 1.23),
    ("noise", {"num_seeds": 1}, 21, 0.92),
    ("noise", {"num_seeds": 1, "num_pairs": 1000, "teacher_weight_stds": (1.0, 2.0)}, 15, 0.78),
    ("bound", {}, 7, 0.74),
    ("minibatch", {}, 29, 1.86),
    ("switch", {}, 24, 1.24),
    ("switch", {"num_features": 400, "num_seeds": 2}, 74, 1.30),
    ("rules", {}, 28, 1.24),
    ("penalty-map", {}, 33, 1.52),
    ("advise", {}, 13, 0.74),
    ("advise", {"num_seeds": 2}, 31, 1.24),
    ("advise", {"dataset": "digits"}, 78, 0.77),
)
"""CPU seconds of runs from a cold start (AMD EPYC, one BLAS thread), and peak gigabytes, measured earlier: less now."""


@pytest.mark.parametrize(("kind", "fields", "seconds", "size"), MEASURED)
def test_it_is_about_what_was_measured(kind: str, fields: dict, seconds: float, size: float) -> None:
    said = cost.cost(dataclasses.replace(EXPERIMENTS[kind].config(), **fields))
    assert seconds / cost.FACTOR < said.seconds < seconds * cost.FACTOR
    assert size / cost.FACTOR < said.bytes / 1e9 < size * cost.FACTOR


LARGER = {
    "ucurve": {"num_features": 3000, "num_samples": 60},
    "sample-size": {"sample_sizes": (16, 1000)},
    "noise": {"num_pairs": 10_000_000},
    "bound": {"num_features": 3000, "num_samples": 60},
    "minibatch": {"num_features": 5000, "batch_sizes": (2, 10_000)},
    "switch": {"num_features": 3000},
    "rules": {"num_features": 3000, "num_samples": 60},
    "penalty-map": {"num_features": 3000},
    "advise": {"num_features": 5000},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("more", [{}, LARGER], ids=["usual", "large"])
def test_it_is_never_less_memory_than_the_run_insists_on(kind: str, more: dict, monkeypatch) -> None:
    config = dataclasses.replace(EXPERIMENTS[kind].config(), **more.get(kind, {}))
    said = cost.cost(config).bytes
    monkeypatch.setattr(limits, "memory", lambda: said)
    resolve_name(EXPERIMENTS[kind].run.replace(":run_" + EXPERIMENTS[kind].stem, ":_check"))(config)


class Enough(Exception):
    """Work was announced."""


def test_steps_of_rules_of_different_speed_are_counted_as_the_run_counts_them() -> None:
    totals = {}

    def stage(name: str, total: int):
        totals[name] = total
        raise Enough

    small = SMALL["rules"]
    assert isinstance(small, RulesConfig)
    config = dataclasses.replace(small, num_steps=20_000)
    with pytest.raises(Enough):
        resolve_name(EXPERIMENTS["rules"].run)(config, stage=stage)
    assert cost.cost(config).steps == pytest.approx(totals["training"], rel=0.05)


@pytest.mark.parametrize("field", ["num_steps", "num_seeds", "num_features"])
def test_twice_as_many_cost_at_least_as_much(field: str) -> None:
    for kind in KINDS:
        config = EXPERIMENTS[kind].config()
        if hasattr(config, field):
            more = dataclasses.replace(config, **{field: 2 * getattr(config, field) + (kind == "advise")})
            once, twice = cost.cost(config), cost.cost(more)
            assert twice.seconds > once.seconds
            assert twice.seconds < 16 * once.seconds


def test_more_than_the_machine_has_is_said_in_the_same_line(monkeypatch) -> None:
    assert "more than" not in str(cost.cost(SMALL["ucurve"]))
    monkeypatch.setattr(cost, "memory", lambda: 1e6)
    line = str(cost.cost(SMALL["ucurve"]))
    assert line.endswith("of memory, more than the 1 MB of this machine")
    assert "\n" not in line


def test_it_is_said_once_before_the_first_stage_and_not_if_there_is_none() -> None:
    console = Console(file=io.StringIO(), width=20)
    with progress.stages(console, lambda: "cost: 1 s [/red]") as stage:
        assert console.file.getvalue() == ""
        stage("one", 2)(1)
        stage("two", 2)
    assert console.file.getvalue() == "cost: 1 s [/red]\n"


def test_the_command_says_it_before_it_works(monkeypatch, tmp_path, capsys) -> None:
    def run(config: Config, *, stage) -> None:
        stage("work", 1)
        raise ValueError("work: is enough")

    monkeypatch.setattr(cli, "resolve_name", lambda name: run)
    assert cli.main(["bound", *flags(SMALL["bound"]), "--output", str(tmp_path / "a.nc")]) == cli.BAD_INPUT
    said, error = capsys.readouterr().err.splitlines()
    assert said == str(cost.cost(SMALL["bound"]))
    assert error == "rfm: error: work: is enough"
