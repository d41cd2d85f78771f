"""Mixup first, plain training at the end: the test error against how long it is switched off, and what is forgotten."""

import re
import sys
from collections.abc import Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.store import Result, Variable, over_seeds
from figures import style
from figures.script import draw_from_file
from theory import views

BAND_COLOURS = (views.BROWN, views.VERMILION, views.ORANGE, views.SKY, views.GREY)
_POWER = re.compile(r"1e(-\d+)")
SMALLEST_SHARE = 1e-8
"""Of the noise that is shown."""


def draw(result: Result) -> Figure:
    """Test error at the end, against the steps of plain training; wrong classes, and what is left of Mixup's noise."""
    known = {"error_rate": _draw_classes, "noise_left": _draw_noise}
    below = [draw_one for name, draw_one in known.items() if name in result]
    size = style.COLUMN_WIDTH, 2.9 + 2 * len(below)
    figure, panels = plt.subplots(1 + len(below), figsize=size, sharex=True, squeeze=False)
    _draw_risk(panels[0, 0], result)
    for panel, draw_one in zip(panels[1:, 0], below, strict=True):
        draw_one(panel, result)
    bottom = panels[-1, 0]
    bottom.set_xscale("log")
    bottom.set_xlabel("steps of plain training, after Mixup")
    return figure


def _draw_risk(axes: Axes, result: Result) -> None:
    total = int(result["num_steps"])
    curve = _draw_mean(axes, result["risk"], total)
    several = result.sizes["seed"] > 1
    if several:
        one_seed = _by_plain_steps(result["risk"].isel(seed=0), total)
        axes.plot(one_seed["switch_step"], one_seed, color=style.GUIDE, linewidth=0.7)
    drawn = total - result["simulated_step"].values
    axes.errorbar(drawn, result["simulated_risk"], color=style.GUIDE, marker="o", **style.POINTS)
    for name, colour, label in (
        ("mixup_final_risk", views.ORANGE, "Mixup to the end"),
        ("mixup_turning_risk", views.ORANGE, "Mixup, stopped at its best"),
        ("plain_turning_risk", views.BLUE, "plain, stopped at its best"),
    ):
        dashes = "-" if name == "mixup_final_risk" else style.DASHED
        axes.axhline(float(result[name].mean()), color=colour, linestyle=dashes, linewidth=0.9, label=label)
    axes.set_yscale("log")
    ticks = np.asarray([0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1, 2, 5, 10])
    low, high = axes.get_ylim()
    style.plain_log_ticks(axes.yaxis, [tick for tick in ticks if low <= tick <= high])
    axes.set_ylabel("test error at the end")
    axes.set_title(f"{total} steps in all", loc="left")
    levels, names = axes.get_legend_handles_labels()
    one = style.entry("", style.GUIDE, marker="o", **({"linewidth": 0.7} if several else {"linestyle": "none"}))
    label = style.with_error("Mixup, then plain", result.sizes["seed"])
    axes.legend(
        [curve, one, *levels],
        [label, "one seed, and its training" if several else "its training", *names],
        loc="upper left",
    )


def _by_plain_steps(values: Variable, total: int) -> Variable:
    """Against the steps after the switch, where there are any."""
    plain_steps = total - values["switch_step"]
    return values.assign_coords(switch_step=plain_steps).isel(switch_step=plain_steps.values > 0)


def _draw_mean(axes: Axes, values: Variable, total: int) -> tuple[Artist, Artist]:
    """The mean over seeds with its error; the band and the line, for a legend."""
    mean, error = over_seeds(_by_plain_steps(values, total))
    steps = mean["switch_step"].values
    (line,) = axes.plot(steps, mean, color=views.BLACK)
    band = axes.fill_between(steps, mean - error, mean + error, color=views.BLACK, alpha=0.15, linewidth=0)
    return band, line


def _draw_classes(axes: Axes, result: Result) -> None:
    _draw_mean(axes, 100 * result["error_rate"], int(result["num_steps"]))
    for name, colour, dashes in (
        ("mixup_final_error_rate", views.ORANGE, "-"),
        ("mixup_lowest_error_rate", views.ORANGE, style.DASHED),
        ("plain_lowest_error_rate", views.BLUE, style.DASHED),
    ):
        axes.axhline(100 * float(result[name].mean()), color=colour, linestyle=dashes, linewidth=0.9)
    axes.set_ylabel("wrong classes at the end (%)")


def _draw_noise(axes: Axes, result: Result) -> None:
    since = result["since"].values
    left = over_seeds(result["noise_left"])[0]
    whole = float(left.isel(since=0).sum())
    for colour, band in zip(BAND_COLOURS, result["band"].values, strict=True):
        share = left.sel(band=band).values / whole
        if share[0] > SMALLEST_SHARE:
            label = "no mode of it" if band == "none" else _POWER.sub(r"$10^{\1}$", str(band))
            axes.plot(since[1:], share[1:], color=colour, label=label)
    axes.set_yscale("log")
    axes.set_ylim(SMALLEST_SHARE, 2)
    axes.set_ylabel("Mixup's noise that is left")
    axes.legend(title="eigenvalues of plain training,\nrelative to the largest", title_fontsize=7, loc="lower left")


def main(argv: Sequence[str] | None = None) -> int:
    """Draws the figure from a result of `rfm switch`."""
    return draw_from_file(draw, name="switch", kind="switch", about=__doc__, argv=argv)


if __name__ == "__main__":
    sys.exit(main())
