"""Two bounds beside what they bound: valid at all times, and loose once slow modes begin to learn."""

import sys
from collections.abc import Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from experiments.store import Result
from figures import style
from figures.script import draw_from_file
from theory import views


def draw(result: Result) -> Figure:
    """Excess and noise risk against time, each with its bound; medians over seeds."""
    figure, panels = plt.subplots(2, 1, figsize=(style.COLUMN_WIDTH, 4.6), sharex=True)
    time, median = result["time"], result.median("seed")
    excess = median["excess"]
    panels[0].plot(time, median["paper_bound"], color=views.BLUE, linestyle=style.DASHED,
                   label="bound of Liu et al. (2023)")  # fmt: skip
    panels[0].plot(time, np.where(excess > 0, excess, np.nan), color=views.BLACK, label="exact: $R_t - R_*$")
    panels[0].plot(time, np.where(excess < 0, -excess, np.nan), color=views.BLACK, linestyle=(0, (1, 1)),
                   label="exact, negative: $R_* - R_t$")  # fmt: skip
    panels[0].set_ylabel("excess risk")
    noise = views.PARTS["noise"][0]
    panels[1].plot(time, median["variance_bound"], color=views.BLUE, linestyle=style.DASHED,
                   label="bound for any noise of that size")  # fmt: skip
    panels[1].plot(time, median["noise_risk"], color=noise, label="exact noise risk")
    panels[1].set_ylabel("noise risk")
    for axes in panels:
        axes.set_yscale("log")
        low, high = axes.get_ylim()
        axes.set_ylim(low, high * (high / low) ** 0.3)
        axes.legend(loc="upper left", handlelength=1.8)
    style.log_time_axis(panels[1])
    return figure


def main(argv: Sequence[str] | None = None) -> int:
    """Draws the figure from a result of `rfm bound`."""
    return draw_from_file(draw, name="bound", kind="bound", about=__doc__, argv=argv)


if __name__ == "__main__":
    sys.exit(main())
