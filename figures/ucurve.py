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
    figure, axes = plt.subplots()
    for index, (colour, marker) in enumerate(style.LAWS):
        law = result.isel(law=index)
        flow, descent = over_seeds(law["flow_risk"])[0], over_seeds(law["descent_risk"])[0]
        mean, error = over_seeds(law["simulated_risk"])
        axes.plot(result["time"], flow, color=colour, linewidth=0.8, linestyle=(0, (4, 2)))
        axes.plot(result["step_time"], descent, color=colour)
        axes.errorbar(result["step_time"], mean, error, color=colour, marker=marker, **style.POINTS)
        if index > 0:
            turn = int(flow.argmin())
            axes.plot(result["time"][turn], flow[turn] * 0.9, marker=(3, 0, 0), color=colour, markersize=5)
    style.log_time_axis(axes)
    axes.set_yscale("log")
    axes.set_ylabel("test error")
    figure.legend(handles=_legend(result), loc="outside upper center", ncols=2)
    return figure


def _legend(result: Result) -> list[Line2D]:
    laws = [
        Line2D([], [], color=colour, marker=marker, markersize=3.2, markerfacecolor="white", label=str(name))
        for (colour, marker), name in zip(style.LAWS, result["law"].values, strict=True)
    ]
    return [
        *laws,
        Line2D([], [], color=style.GUIDE, label="closed form, gradient descent"),
        Line2D([], [], color=style.GUIDE, linewidth=0.8, linestyle=(0, (4, 2)), label="closed form, gradient flow"),
        Line2D(
            [],
            [],
            color=style.GUIDE,
            marker="o",
            label="simulation, ± s.e.",
            linestyle="none",
            markersize=3.2,
            markerfacecolor="white",
        ),  # fmt: skip
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Draws the figure from a result of `rfm ucurve`."""
    return draw_from_file(draw, name="ucurve", kind="ucurve", about=__doc__, argv=argv)


if __name__ == "__main__":
    sys.exit(main())
