"""Advice on one's own data: risk against time with and without Mixup, and the risk at the end against the switch."""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogitLocator
from matplotlib.transforms import blended_transform_factory

from experiments.store import Result, Variable
from figures import style
from figures.script import draw_from_file
from rfm.decide.estimates import CALLED
from theory import views

MIXUP, PLAIN = style.LAWS[2][0], style.LAWS[0][0]
BAND: dict[str, Any] = {"alpha": 0.2, "linewidth": 0}
HIGHEST = 1.05
"""The axis ends just above the risk of predicting the mean; what lies beyond is lost anyway."""
MOST_LABELS = 6
"""Across: those of shares close to 1 are wide."""
FOOT, ROW = 0.15, 0.04
"""Room below the curves, in panels' heights, and that of an interval in it."""


def draw(result: Result) -> Figure:
    """Above: relative risk against time, best stops with their intervals. Below: risk at the end against the switch.

    Where Mixup makes no difference but that it is slower, there is no switch to draw. At the foot, where it was asked
    for, risk at the stop against the rows that are trained on.
    """
    slowdown = float(result["slowdown"])
    is_slower, has_sizes = bool(np.isfinite(slowdown)), "size" in result
    number = 1 + (not is_slower) + has_sizes
    figure, panels = plt.subplots(number, 1, figsize=(style.COLUMN_WIDTH, 0.2 + 2.2 * number), squeeze=False)
    above = panels[0, 0]
    _draw_times(above, result, f"Mixup: the same, {1 / slowdown:.3g} times later" if is_slower else "Mixup")
    if not is_slower:
        _draw_switches(panels[1, 0], result)
    if has_sizes:
        _draw_sizes(panels[-1, 0], result)
    rows = int(result["num_held_out"])
    above.set_title(f"mean ± s.e., {rows} rows; bars hold the best ({100 * CALLED:.0f} %)", loc="left")
    return figure


def _draw_times(axes: Axes, result: Result, mixup_label: str) -> None:
    for row, (name, label, colour, action) in enumerate(
        (("mixup", mixup_label, MIXUP, "stop"), ("plain", "no Mixup", PLAIN, "plain"))
    ):
        _band(axes, result["time"], result, name, colour, label)
        best, ends = _best(result, action, 1.0)
        _mark(axes, best, float(result[f"{name}_risk"].sel(time=best)), ends, colour, row)
    style.log_time_axis(axes)
    axes.set_ylabel(f"relative {_what(result)}")
    low, high = axes.get_ylim()
    axes.set_ylim(low - FOOT * (high - low), min(HIGHEST, high))
    axes.legend(loc="best")


def _draw_switches(axes: Axes, result: Result) -> None:
    budget = float(result["time"][-1])
    switches = result.isel(switch_time=slice(0, -1))  # the last is never, where a logit axis has no place
    share = switches["switch_time"] / budget
    _band(axes, share, switches, "switched", views.GREEN, "Mixup, then none")
    for name, label, colour in (
        ("mixup_risk", "Mixup to the end", MIXUP),
        ("plain_risk", "no Mixup to the end", PLAIN),
    ):
        end = float(result[name][-1])
        axes.axhline(end, color=colour, linestyle=style.DASHED, linewidth=0.8, label=label)
    best, ends = _best(result, "switch", budget)
    last = float(share[-1])
    if best <= last:
        risk = float(switches["switched_risk"].min())
        _mark(axes, best, risk, [min(end, last) for end in ends], views.GREEN, 0)
    low, high = axes.get_ylim()
    axes.set_ylim(low - FOOT * (high - low), high)
    axes.set_xscale("logit")
    axes.xaxis.set_major_locator(LogitLocator(nbins=MOST_LABELS))
    axes.set_xlabel("share of the time until Mixup is switched off")
    axes.set_ylabel(f"relative {_what(result)} at the end")
    axes.legend(loc="best")


def _draw_sizes(axes: Axes, result: Result) -> None:
    """What was seen, and the band of what twice the rows may do."""
    sizes, risk = result["size"], result["size_risk"]
    twice, (low, high) = float(result["size_foretold"]), result["foretold_risk"].values[1:]
    if "size_gain" in result:
        axes.plot(sizes, risk - result["size_gain"], color=MIXUP, label="Mixup, stopped")
    axes.errorbar(sizes, risk, result["size_risk_error"], color=PLAIN, capsize=2, label="no Mixup, stopped")
    axes.plot([twice, twice], [low, high], color=PLAIN, linewidth=4, alpha=0.4, label="foretold (90 %)")
    axes.set_xscale("log")
    marks = [float(size) for size in [*sizes.values[::2], twice]]
    axes.set_xticks(marks, [f"{mark:.0f}" for mark in marks])
    axes.minorticks_off()
    axes.set_xlabel("rows that are trained on")
    axes.set_ylabel(f"relative {_what(result)}")
    axes.legend(loc="best")


def _what(result: Result) -> str:
    return "error rate" if result["metric"].item() == "accuracy" else "test error"


def _band(axes: Axes, x: Variable, result: Result, name: str, colour: str, label: str) -> None:
    """The mean over rows, in a band of one standard error."""
    mean, error = result[f"{name}_risk"], result[f"{name}_error"]
    axes.plot(x, mean, color=colour, label=label)
    axes.fill_between(x, mean - error, mean + error, color=colour, **BAND)


def _mark(axes: Axes, x: float, risk: float, ends: Sequence[float], colour: str, row: int) -> None:
    """The best time on its curve, and the interval of it at the foot of the panel."""
    axes.errorbar(x, risk, color=colour, marker="o", **style.POINTS)
    foot = blended_transform_factory(axes.transData, axes.transAxes)
    axes.plot(ends, [ROW * (row + 1)] * 2, color=colour, marker="|", transform=foot, linewidth=1.5)


def _best(result: Result, action: str, unit: float) -> tuple[float, tuple[float, float]]:
    """The time of an action and its interval, in that unit."""
    row = result.sel(action=action)
    time, low, high = (float(row[name]) / unit for name in ("action_time", "earliest", "latest"))
    return time, (low, high)


def main(argv: Sequence[str] | None = None) -> int:
    """Draws the figure from a result of `rfm advise`."""
    return draw_from_file(draw, name="advise", kind="advise", about=__doc__, argv=argv)


if __name__ == "__main__":
    sys.exit(main())
