"""What the terminal shows of a result, and what all tables share."""

import json
from collections.abc import Sequence
from math import floor, isfinite, log10
from pkgutil import resolve_name
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from experiments import registry
from experiments.configs import mixing_in_words
from experiments.exits import drop_output
from experiments.store import Result, Variable, configuration_of, over_seeds, provenance_of


class _Console(Console):
    """Prints text as it is: names and paths that users bring are no markup. Where nobody reads on, work goes on."""

    def on_broken_pipe(self) -> None:
        drop_output(self.file)


def console(*, stderr: bool = False) -> Console:
    """Where everything is printed."""
    return _Console(stderr=stderr, markup=False, emoji=False)


def print_result(console: Console, result: Result) -> None:
    """The table of a result of any kind."""
    kind, kinds = result.attrs["kind"], registry.known()
    if kind not in kinds:
        raise ValueError(f"kind: {kind!r} is not known; this version prints results of {', '.join(sorted(kinds))}")
    print_table = resolve_name(kinds[kind].table)
    try:
        print_table(console, result)
        _print_mixing(console, result)
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{kind}: the result lacks what its table shows ({error}); run its experiment again"
        ) from error


def as_json(result: Result) -> str:
    """A result for machines: every variable with its axes, unit and meaning, and where it came from.

    Numbers that are not finite are null.
    """
    variables = {
        str(name): {
            "axes": list(variable.dims),
            "unit": variable.attrs.get("units", ""),
            "about": variable.attrs.get("long_name", ""),
            "values": _plain(variable.values.tolist()),
        }
        for name, variable in result.variables.items()
    }
    return json.dumps({"kind": result.attrs["kind"], "variables": variables, "provenance": provenance_of(result)})


def _plain(value: Any) -> Any:
    """What JSON has a word for."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _print_mixing(console: Console, result: Result) -> None:
    if words := mixing_in_words(configuration_of(result)):
        console.print(f"mixing: {words}.", highlight=False)


def print_origin(console: Console, result: Result) -> None:
    """The configuration and the provenance of a result."""
    provenance = provenance_of(result)
    missing = sorted({"configuration", *_ORIGIN} - set(provenance))
    if missing:
        raise ValueError(f"provenance: the result lacks {', '.join(missing)}; run its experiment again")
    commit = provenance["commit"]
    console.print("\nconfiguration", style="bold")
    for name, value in provenance["configuration"].items():
        console.print(f"  {name} = {json.dumps(value)}", highlight=False)
    console.print("\nprovenance", style="bold")
    versions = ", ".join(f"{name} {version}" for name, version in provenance["versions"].items())
    lines = {
        "command": provenance["command"],
        "created": provenance["created"],
        "commit": "not in a checkout"
        if commit is None
        else commit["id"] + (" with changes" if commit["dirty"] else ""),
        "python": f"{provenance['python']} on {provenance['platform']}",
        "versions": versions,
        "layout": provenance["layout"],
    }
    for name, value in lines.items():
        console.print(f"  {name}: {value}", highlight=False, markup=False)


_ORIGIN = ("command", "commit", "created", "layout", "platform", "python", "versions")


def empty_table(title: str, *headers: str) -> Table:
    """A table that leaves its 80 columns to the numbers: the first column to the left, the others to the right."""
    table = Table(
        title=title, title_justify="left", min_width=len(title),
        box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False,
    )  # fmt: skip
    for index, header in enumerate(headers):
        table.add_column(header, justify="right" if index else "left")
    return table


def folded(console: Console, title: str, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table whose errors stand below their means where they do not fit beside them."""
    widths = [max(map(len, column)) for column in zip(headers, *rows, strict=True)]
    fits = sum(widths) + len(widths) - 1 <= console.width
    table = empty_table(title, *headers)
    for row in rows:
        table.add_row(*(cell if fits else cell.replace(" ± ", "\n± ") for cell in row))
    return table


def averaged(number: int, what: str = "seed") -> str:
    """What the numbers of a table are: a mean and its error, or the numbers of the only one that there is."""
    return f"mean ± standard error of {number} {what}s" if number > 1 else f"one {what}"


def cells_of(estimates: Sequence[tuple[Result, str]]) -> list[str]:
    """The estimates of risks and penalties, each a name in a result, unless rounding has swallowed them."""
    return written([_known(result, name) for result, name in estimates])


def _known(result: Result, name: str) -> tuple[float, float] | None:
    risk = "final_risk" if name == "overtraining_penalty" else name
    return None if is_below_rounding(result, risk) else estimated(result[name])


def ratio(result: Result, base: Result, name: str) -> tuple[float, float] | None:
    """The ratio of two risks of the same seeds, unless rounding has swallowed one of them."""
    if is_below_rounding(result, name) or is_below_rounding(base, name):
        return None
    return estimated(result[name] / base[name])


def is_below_rounding(result: Result, risk: str) -> bool:
    """Whether the mean over seeds of a risk is no larger than its rounding error, where that is stored beside it."""
    error = f"{risk.removesuffix('risk')}error"
    return risk.endswith("_risk") and float(result[risk].mean()) <= float(result[error].mean())


def estimated(variable: Variable) -> tuple[float, float]:
    """Mean and standard error over seeds."""
    mean, error = over_seeds(variable)
    return float(mean), float(error)


def written(estimates: Sequence[tuple[float, float] | None]) -> list[str]:
    """Estimates that are read beside one another: all with an exponent, if one needs it."""
    known = [estimate for estimate in estimates if estimate is not None]
    exponent = any(_needs_exponent(*estimate) for estimate in known)
    return [BELOW_ROUNDING if one is None else with_error(*one, exponent=exponent) for one in estimates]


def with_error(mean: float, error: float, *, sign: str = "", exponent: bool | None = None) -> str:
    """mean ± error, with two digits of the error, or three of a mean without one."""
    exponent = _needs_exponent(mean, error) if exponent is None else exponent
    if not _has_error(mean, error):
        return f"{mean:{sign}.2e}" if exponent else f"{mean:{sign}.{_decimals(mean, 3)}f}"
    form = ".2e" if exponent else f".{_decimals(error, 2)}f"
    return f"{mean:{sign}{form}} ± {error:{form}}"


def _has_error(mean: float, error: float) -> bool:
    return isfinite(error) and error > SPREADLESS * abs(mean)


def _decimals(value: float, digits: int) -> int:
    """Places after the point that show so many digits of a value."""
    return max(0, digits - 1 - floor(log10(abs(value)))) if value else 0


def _needs_exponent(mean: float, error: float) -> bool:
    if not _has_error(mean, error):
        return mean != 0 and not 10.0**-MOST_DECIMALS <= abs(mean) < LARGEST_PLAIN
    return abs(mean) >= LARGEST_PLAIN or _decimals(error, 2) > MOST_DECIMALS


BELOW_ROUNDING = "below rounding"
SPREADLESS = 1e-12
"""An error smaller than that share of its mean is rounding."""
LARGEST_PLAIN, MOST_DECIMALS = 1e5, 5
"""Numbers outside these are written with an exponent."""
