"""The U-curve: Mixup's test error falls, turns and rises, ERM's does not; the simulation lies on the closed form.

The strip on top says where a Mixup law helps and where it hurts: where its curve lies below and above that of ERM.
Before it turns, a law above ERM only lags behind: it learns the same pattern later.
"""

import itertools
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.store import Result, over_seeds, turns_of_means
from figures import style
from figures.script import draw_from_file


def draw(result: Result) -> Figure:
    """Test error against time for every law, with the turning points of the mean curves."""
    has_classes = "flow_error_rate" in result
    heights, height = ((1, 9, 6), 4.6) if has_classes else ((1, 9), 3.1)
    figure, (strip, axes, *below) = plt.subplots(
        len(heights), figsize=(style.COLUMN_WIDTH, height), sharex=True, gridspec_kw={"height_ratios": heights}
    )
    flows, errors = (result[name].mean("seed").values for name in ("flow_risk", "flow_error"))
    turns = turns_of_means(result["flow_risk"], result["flow_error"])
    for index, (colour, marker) in enumerate(style.LAWS):
        law, flow = result.isel(law=index), flows[index]
        mean, error = over_seeds(law["simulated_risk"])
        axes.plot(result["time"], flow, color=colour, linewidth=0.8, linestyle=style.DASHED)
        axes.plot(result["step_time"], over_seeds(law["descent_risk"])[0], color=colour)
        axes.errorbar(result["step_time"], mean, error, color=colour, marker=marker, **style.POINTS)
        axes.annotate(
            "",
            (float(result["time"][turns[index]]), flow[turns[index]]),
            xytext=(0, -14),
            textcoords="offset points",
            zorder=4,
            arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 0.8, "shrinkB": 3},
        )
    style.log_time_axis(axes)
    axes.set_xlim(result["time"][0], result["time"][-1])
    axes.set_yscale("log")
    style.plain_log_ticks(axes.yaxis, [digit * 10.0**power for power in range(-4, 4) for digit in (1, 2, 5)])
    low, high = axes.get_ylim()
    axes.set_ylim(low / 1.15, high)
    axes.set_ylabel("test error")
    style.label_ends(axes, float(result["time"][-1]), [
        (flow[-1], _short(name), colour)
        for flow, name, (colour, _) in zip(flows, result["law"].values, style.LAWS, strict=True)
    ])  # fmt: skip
    axes.legend(handles=_sources(result.sizes["seed"]), loc="best", handlelength=1.8, labelspacing=0.3)
    _compare(strip, result["time"].values, flows, errors, turns)
    for panel in below:
        axes.set_xlabel("")
        _draw_error_rates(panel, result)
    return figure


CLOSE = 2
"""Times the largest share of wrong classes at the end: what is shown of those before."""
SAME_SHARE = 1e-9
"""Percent by which means of counts differ by rounding."""


def _draw_error_rates(axes: Axes, result: Result) -> None:
    """Wrong classes: a bar where their mean is lowest, and beside the end by how much it rises from there."""
    times, ends = result["time"].values, []
    for index, (colour, marker) in enumerate(style.LAWS):
        law = 100 * result.isel(law=index)[["flow_error_rate", "descent_error_rate", "simulated_error_rate"]]
        flow = law["flow_error_rate"].mean("seed").values
        mean, error = over_seeds(law["simulated_error_rate"])
        axes.plot(times, flow, color=colour, linewidth=0.8, linestyle=style.DASHED)
        axes.plot(result["step_time"], law["descent_error_rate"].mean("seed"), color=colour)
        axes.errorbar(result["step_time"], mean, error, color=colour, marker=marker, **style.POINTS)
        lowest = times[np.flatnonzero(flow <= flow.min() + SAME_SHARE)[[0, -1]]]
        bar: dict[str, Any] = {"marker": "o", "markersize": 2.5, "linewidth": 2.5}
        axes.plot(lowest, [0.04 + 0.05 * index] * 2, color=colour, transform=axes.get_xaxis_transform(), **bar)
        ends.append((flow[-1], f"+{flow[-1] - flow.min():.1f}", colour))
    axes.annotate("lowest", (0.02, 0.09), xycoords="axes fraction", va="center", color=style.GUIDE, fontsize=7)
    style.log_time_axis(axes)
    axes.set_ylabel("wrong classes (%)")
    axes.set_ylim(0, min(axes.get_ylim()[1], CLOSE * max(end for end, *_ in ends)))  # what is low and late counts
    style.label_ends(axes, float(times[-1]), ends)


VISIBLE = 0.02
"""The strip marks differences of at least this part of ERM's test error, where they are above rounding; smaller ones
cannot be seen in the curves."""


def _sources(num_seeds: int) -> list[Line2D]:
    turn = "turn of the mean" if num_seeds > 1 else "turn of the flow"
    return [
        style.entry("gradient descent", style.GUIDE),
        style.entry("gradient flow", style.GUIDE, linewidth=0.8, linestyle=style.DASHED),
        style.entry(style.with_error("training", num_seeds), style.GUIDE, marker="o", linestyle="none"),
        style.entry(turn, style.GUIDE, marker=r"$\uparrow$", markersize=6, linestyle="none"),
    ]


def _compare(strip: Axes, times: np.ndarray, flows: np.ndarray, errors: np.ndarray, turns: Sequence[int]) -> None:
    """One bar a Mixup law: filled where it helps, hatched where it lags (before its turning point) or hurts."""
    decades = np.log10(times[-1] / times[0])
    for row, (colour, _) in enumerate(style.LAWS[1:]):
        differences, rounding = flows[row + 1] - flows[0], errors[row + 1] + errors[0]
        differs = np.abs(differences) > np.maximum(VISIBLE * flows[0], rounding)
        for sign, first, last in _runs(np.sign(differences) * differs):
            start, end = times[first], times[last]
            hollow: dict[str, Any] = {"facecolor": "none", "edgecolor": colour, "hatch": "/////"}
            look = {"color": colour, "alpha": 0.25} if sign < 0 else hollow
            strip.barh(-row, end - start, left=start, height=0.8, linewidth=0, **look)
            if np.log10(end / start) > WIDE * decades:
                background = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
                word, box = ("helps", None) if sign < 0 else ("hurts" if last > turns[row + 1] else "lags", background)
                middle = float(np.sqrt(start * end))
                strip.text(middle, -row, word, ha="center", va="center_baseline", fontsize=6.5, bbox=box)
    note: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "center", "fontsize": 7}
    strip.annotate("against\nERM", (1, 0.5), xytext=(3, 0), color=style.LAWS[0][0], linespacing=0.9, **note)
    strip.set_yticks([])
    strip.spines[["left", "bottom"]].set_visible(False)
    strip.tick_params(which="both", bottom=False, labelbottom=False)


WIDE = 0.12
"""A bar of this part of the axis has room for its word."""


def _runs(signs: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Sign, first and last index of each stretch of one sign; stretches of zeros are left out."""
    for sign, group in itertools.groupby(range(len(signs)), key=lambda index: int(signs[index])):
        indices = list(group)
        if sign != 0:
            yield sign, indices[0], indices[-1]


def _short(law: str) -> str:
    """A law's name on two lines, without its pairs."""
    name, _, arguments = law.partition("(")
    return f"{name}\n{arguments.partition(',')[0]}".strip()


def main(argv: Sequence[str] | None = None) -> int:
    """Draws the figure from a result of `rfm ucurve`."""
    return draw_from_file(draw, name="ucurve", kind="ucurve", about=__doc__, argv=argv)


if __name__ == "__main__":
    sys.exit(main())
