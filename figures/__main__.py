"""Draws every figure of every experiment from its result in ``results/``; runs first what has no result yet."""

import sys
from importlib import import_module
from pathlib import Path

from experiments import cli, exits
from experiments.registry import EXPERIMENTS


def main() -> int:
    """Stops at the first that fails, with its exit status."""
    for experiment in EXPERIMENTS.values():
        result = Path("results", f"{experiment.stem}.nc")
        if not result.is_file():
            exits.once_stopped()
            status = cli.main([experiment.kind, "--output", str(result), "--figure", "None"])
            if status != 0:
                return status
        exits.once_stopped("a figure is stored whole or not at all")
        for figure in experiment.figures:
            status = import_module(figure).main([str(result)])
            if status != 0:
                return status
    return 0


if __name__ == "__main__":
    sys.exit(exits.whole_process("figures", main))
