"""The U-curve: Mixup's test error falls, turns and rises, ERM's does not; the simulation lies on the closed form."""

import sys
from collections.abc import Sequence

from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.store import Result, over_seeds
from figures import style
from figures.script import draw_from_file


def draw(result: Result) -> Figure:
    """Test error against time for every law, with the turning points of the mean curves."""
    figure, axes = plt.subplots(figsize=(style.COLUMN_WIDTH, 3.1))
    for index, (colour, marker) in enumerate(style.LAWS):
        law = result.isel(law=index)
        flow, descent = over_seeds(law["flow_risk"])[0], over_seeds(law["descent_risk"])[0]
        mean, error = over_seeds(law["simulated_risk"])
        axes.plot(result["time"], flow, color=colour, linewidth=0.8, linestyle=style.DASHED)
        axes.plot(result["step_time"], descent, color=colour)
        axes.errorbar(result["step_time"], mean, error, color=colour, marker=marker, **style.POINTS)
        if index > 0:  # ERM is there for comparison
            turn = flow.argmin("time")
            axes.annotate(
                "",
                (float(result["time"][turn]), float(flow[turn])),
                xytext=(0, -14),
                textcoords="offset points",
                zorder=4,
                arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 0.8, "shrinkB": 3},
            )
    style.log_time_axis(axes)
    axes.set_yscale("log")
    style.plain_log_ticks(axes.yaxis, [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100])
    low, high = axes.get_ylim()
    axes.set_ylim(low / 1.15, high)
    axes.set_ylabel("test error")
    figure.legend(handles=_legend(result), loc="outside upper center", ncols=2, columnspacing=1, handlelength=1.6)
    return figure


def _legend(result: Result) -> list[Line2D]:
    laws = zip(style.LAWS, result["law"].values, strict=True)
    return [
        *(style.entry(str(name), colour, marker=marker) for (colour, marker), name in laws),
        style.entry("closed form, gradient descent", style.GUIDE),
        style.entry("closed form, gradient flow", style.GUIDE, linewidth=0.8, linestyle=style.DASHED),
        style.entry("simulation, mean ± s.e.", style.GUIDE, marker="o", linestyle="none"),
        style.entry("turning point", style.GUIDE, marker=r"$\uparrow$", markersize=6, linestyle="none"),
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Draws the figure from a result of `rfm ucurve`."""
    return draw_from_file(draw, name="ucurve", kind="ucurve", about=__doc__, argv=argv)


if __name__ == "__main__":
    sys.exit(main())
