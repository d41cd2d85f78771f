"""Why the test error turns: the clean part has fallen when the noise part, learnt from Mixup's labels, rises."""

import sys
from collections.abc import Sequence

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from experiments.store import Result, over_seeds
from figures import style
from figures.script import draw_from_file
from theory import views

LAW = 1
"""Mixup of all pairs, in the order of `style.LAWS`."""


def draw(result: Result) -> Figure:
    """The test error of Mixup and its three parts against time."""
    if "simulated_clean" not in result:
        raise ValueError(
            "result: nobody knows the noise of a data set's own labels, or of mixed features, so there is no "
            "decomposition to draw; run `rfm ucurve` with --truth kernel or without --dataset, and without --space"
        )
    figure, axes = plt.subplots(figsize=(style.COLUMN_WIDTH, 2.8))
    law = result.isel(law=LAW)
    axes.axhline(0, color=style.GUIDE, linewidth=0.5)
    for part, (colour, marker) in views.PARTS.items():
        mean, error = over_seeds(law[f"simulated_{part}"])
        flow = over_seeds(law[f"flow_{part}"])[0]
        axes.plot(result["time"], flow, color=colour, linewidth=0.8, linestyle=style.DASHED)
        axes.plot(result["step_time"], over_seeds(law[f"descent_{part}"])[0], color=colour)
        axes.errorbar(result["step_time"], mean, error, color=colour, marker=marker, **style.POINTS)
    style.log_time_axis(axes)
    axes.set_ylabel("test error and its parts")
    axes.set_title(style.law_name(str(law["law"].item())))
    names = {"risk": "test error, their sum"}
    handles = [
        style.entry(names.get(part, part), colour, marker=marker) for part, (colour, marker) in views.PARTS.items()
    ]
    handles += [
        style.entry("closed form (dashed: flow)", style.GUIDE),
        style.entry(style.with_error("simulation", result.sizes["seed"]), style.GUIDE, marker="o", linestyle="none"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=2, columnspacing=1, handlelength=1.6)
    return figure


def main(argv: Sequence[str] | None = None) -> int:
    """Draws the figure from a result of `rfm ucurve`."""
    return draw_from_file(draw, name="decomposition", kind="ucurve", about=__doc__, argv=argv)


if __name__ == "__main__":
    sys.exit(main())
