"""The U-curve under every training rule, against effective time: same bottom, other ends."""

import sys
from collections.abc import Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from experiments.store import Result, over_seeds
from figures import style
from figures.script import draw_from_file
from theory import views

LOOKS = (
    (views.BLACK, "-", "o"),
    (views.BLUE, "-", "s"),
    (views.SKY, style.DASHED, "D"),
    (views.PURPLE, "-", "v"),
    (views.GREEN, style.DASHED, "^"),
    (views.ORANGE, "-", "P"),
    (views.VERMILION, "-", "X"),
)
"""Colour, line and marker of the rules, in the order in which results store them."""


def draw(result: Result) -> Figure:
    """The mean test error of every rule, closed forms as lines, training as points."""
    figure, axes = plt.subplots(figsize=(style.COLUMN_WIDTH, 3.4))
    for name, (colour, line, marker) in zip(result["rule"].values, LOOKS, strict=True):
        rule = result.sel(rule=name)
        axes.plot(rule["time"], over_seeds(rule["risk"])[0], color=colour, linestyle=line)
        drawn = over_seeds(rule["simulated_risk"])[0]
        axes.errorbar(rule["simulated_time"], drawn, color=colour, marker=marker, **style.POINTS)
    style.log_time_axis(axes)
    axes.set_xlabel("effective time  $t$  (1/eigenvalue)")
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    ticks = np.asarray([0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10])
    style.plain_log_ticks(axes.yaxis, [tick for tick in ticks if low <= tick <= high])
    axes.set_ylabel("test error")
    handles = [
        style.entry(f"{name}, {int(steps)}", colour, linestyle=line, marker=marker)
        for name, steps, (colour, line, marker) in zip(
            result["rule"].values, result["num_steps"].values, LOOKS, strict=True
        )
    ]
    seeds = result.sizes["seed"]
    title = f"rule, and its steps ({f'mean of {seeds} seeds' if seeds > 1 else 'one seed'})"
    figure.legend(handles=handles, title=title, title_fontsize=7, loc="outside upper center", ncols=2, handlelength=1.8)
    return figure


def main(argv: Sequence[str] | None = None) -> int:
    """Draws the figure from a result of `rfm rules`."""
    return draw_from_file(draw, name="rules", kind="rules", about=__doc__, argv=argv)


if __name__ == "__main__":
    sys.exit(main())
