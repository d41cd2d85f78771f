"""Fresh batches: the risk with what batches add to it, and gradients that vanish under ERM and not under Mixup."""

import sys
from collections.abc import Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from experiments.store import Result, over_seeds
from figures import style
from figures.script import draw_from_file
from theory import views

SIZES = ("-", style.DASHED, (0, (1, 1)), (0, (4, 1, 1, 1)))
"""Line style of each batch size, smallest first."""
FILLS = ("none", "full", "left", "bottom")
"""What is filled of the points of each batch size, likewise."""
TICKS = tuple(factor * 10.0**power for power in range(-6, 7) for factor in (1, 1.5, 2, 3, 5, 7))


def draw(result: Result) -> Figure:
    """Above: expected risk against time. Below: the norm of a batch's gradient, and wrong classes of the runs."""
    if result.sizes["batch_size"] > len(SIZES):
        raise ValueError(
            f"batch_sizes: the figure shows at most {len(SIZES)}, the result has {result.sizes['batch_size']}"
        )
    has_classes = "simulated_error_rate" in result
    number, height = (3, 6.8) if has_classes else (2, 4.8)
    figure, panels = plt.subplots(number, 1, figsize=(style.COLUMN_WIDTH, height), sharex=True)
    step_size = float(result["step_size"])
    time, drawn_time = step_size * result["long_step"], step_size * result["step"]
    colours = [style.LAWS[0], style.LAWS[2]]
    for law, (colour, marker) in zip(result["law"].values, colours, strict=True):
        for size, line, fill in zip(result["batch_size"].values, SIZES, FILLS, strict=False):
            row, points = result.sel(law=law, batch_size=size), {**style.POINTS, **_filled(fill, colour)}
            panels[0].plot(time, row["risk"], color=colour, linestyle=line)
            panels[1].plot(time, row["gradient_norm"], color=colour, linestyle=line)
            mean, error = over_seeds(row["simulated_risk"])
            panels[0].errorbar(drawn_time, mean, 2 * error, color=colour, marker=marker, **points)
            power, error = over_seeds(row["simulated_gradient_power"])
            norm = np.sqrt(power)
            panels[1].errorbar(drawn_time, norm, error / norm, color=colour, marker=marker, **points)
            if has_classes:
                mean, error = over_seeds(100 * row["simulated_error_rate"])
                panels[2].errorbar(drawn_time, mean, 2 * error, color=colour, marker=marker, **points)
                panels[2].plot(drawn_time, mean, color=colour, linestyle=line, linewidth=0.7)
        smallest = result.sel(law=law).isel(batch_size=0)
        panels[0].plot(time, smallest["mean_risk"], color=style.GUIDE, linewidth=0.8)
    panels[0].set_ylabel("expected test error")
    panels[1].set_ylabel("norm of a batch's gradient")
    for axes in panels[:2]:
        axes.set_yscale("log")
    low, high = panels[0].get_ylim()
    style.plain_log_ticks(panels[0].yaxis, [tick for tick in TICKS if low <= tick <= high])
    _, largest = panels[1].get_ylim()
    panels[1].set_ylim(largest * 1e-7, largest)
    names = [("ERM", colours[0]), ("Mixup, fresh pairs", colours[1])]
    laws = [style.entry(name, colour, marker=marker) for name, (colour, marker) in names]
    guide = [style.entry("risk of the mean weights", style.GUIDE, linewidth=0.8)]
    panels[0].legend(handles=laws + guide, loc="best")
    sizes = [
        style.entry(f"$B = {size}$", views.BLACK, linestyle=line, marker="o", **_filled(fill, views.BLACK))
        for size, line, fill in zip(result["batch_size"].values, SIZES, FILLS, strict=False)
    ]
    panels[1].legend(handles=sizes, loc="lower left")
    if has_classes:
        panels[2].set_ylabel("wrong classes of the runs (%)")
        panels[2].set_ylim(0, None)
    style.log_time_axis(panels[-1])
    return figure


def _filled(fill: str, colour: str) -> dict[str, str]:
    """A point of that colour, so far filled; the rest is white."""
    if fill == "none":
        return {"markerfacecolor": "white"}
    return {"markerfacecolor": colour, "markerfacecoloralt": "white", "fillstyle": fill}


def main(argv: Sequence[str] | None = None) -> int:
    """Draws the figure from a result of `rfm minibatch`."""
    return draw_from_file(draw, name="minibatch", kind="minibatch", about=__doc__, argv=argv)


if __name__ == "__main__":
    sys.exit(main())
