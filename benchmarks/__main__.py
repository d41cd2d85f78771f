"""Runs the benchmarks and prints their table: `python -m benchmarks [--only NAME ...] [--markdown]`."""

import argparse
from collections.abc import Callable

import jax
import threadpoolctl
from rich.console import Console
from rich.table import Table

from benchmarks import (
    closed_form,
    decisions,
    duals,
    expected,
    machine,
    memory,
    odes,
    peers,
    programs,
    simulation,
    start,
)
from benchmarks.harness import CPU_TIME, Row

BENCHMARKS: dict[str, Callable[[], list[Row]]] = {
    "start": start.start,
    "programs": programs.programs,
    "gram": closed_form.gram,
    "qr": closed_form.qr,
    "svd": closed_form.svd,
    "wide": closed_form.wide,
    "memory": memory.memory,
    "simulation": simulation.simulation,
    "seeds": simulation.seeds,
    "targets": simulation.targets,
    "saved": closed_form.saved,
    "solution": closed_form.solution,
    "classes": closed_form.classes,
    "duals": duals.duals,
    "expected": expected.expected,
    "accelerator": expected.accelerator,
    "million": expected.million,
    "minibatch": expected.minibatch,
    "coupled": expected.coupled,
    "neural-tangents": peers.neural_tangents,
    "ode": odes.odes,
    "rules": decisions.rules,
    "phases": decisions.phases,
    "gradients": decisions.gradients,
    "leave-one-out": decisions.leave_one_out,
}
HEADINGS = ("what", "measured, median [min .. max]", "target", "met?", "note")


def main() -> None:
    """Parses the flags, measures, prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, metavar="NAME", help="run these; --list names them")
    parser.add_argument("--list", action="store_true", help="list the benchmarks and stop")
    parser.add_argument("--markdown", action="store_true", help="print the table as markdown, for docs/benchmarks.md")
    parser.add_argument("--cpu-time", action="store_true", help="count CPU seconds, one BLAS thread: for busy machines")
    args = parser.parse_args()
    if args.list:
        for name, run in BENCHMARKS.items():
            print(f"{name:15} {run.__doc__}")
        return
    jax.config.update("jax_enable_x64", True)
    if args.cpu_time:
        CPU_TIME.set()
        threadpoolctl.threadpool_limits(1)
    progress = Console(stderr=True)
    rows: list[Row] = []
    for name in args.only or BENCHMARKS:
        with progress.status(f"measuring {name}"):
            measured = BENCHMARKS[name]()
        for row in measured:
            progress.print(row.what, row.cells[1], row.verdict, markup=False, highlight=False)
        rows += measured
    _print(rows, machine.describe(), as_markdown=args.markdown)


def _print(rows: list[Row], about: list[str], *, as_markdown: bool) -> None:
    if as_markdown:
        print("\n".join(about), end="\n\n")
        for cells in (HEADINGS, ("---",) * len(HEADINGS), *(row.cells for row in rows)):
            print("| " + " | ".join(cells) + " |")
        return
    console = Console()
    if not console.is_terminal:  # the whole table, however narrow the pipe says it is
        console = Console(width=170)
    table = Table(*HEADINGS)
    for row in rows:
        colour = {"met": "green", "NOT MET": "red"}.get(row.verdict, "default")
        what, measured, target, verdict, note = row.cells
        table.add_row(what, measured.replace("[", r"\["), target, f"[{colour}]{verdict}[/]", note)
    console.print(*about, sep="\n", markup=False, highlight=False)
    console.print(table)


if __name__ == "__main__":
    main()
