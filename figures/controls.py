"""Noise or bias: test error over time with Mixup's label noise, and with what may stand in its place."""

import sys
from collections.abc import Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from experiments.store import Result
from figures import style
from figures.script import draw_from_file
from theory import views

LOOKS = {
    "its noise": (views.BLACK, "-"),
    "nothing": (views.BLUE, "-"),
    "its bias": (views.VERMILION, "-"),
    "its rest": (views.ORANGE, "-"),
    "per row": (views.SKY, style.DASHED),
    "permuted": (views.BLACK, (0, (1, 3))),
    "per pair": (views.GREEN, style.DASHED),
    "per original": (views.BROWN, style.DASHED),
}
"""Colour and line of each: whole ones are made of the noise, broken ones have its mean and variance."""


def draw(result: Result) -> Figure:
    """One panel a law and curvature, at the smallest n; means over seeds."""
    laws, curvatures = result["law"].values, result["weight_std"].values
    size = 2 * style.COLUMN_WIDTH, 0.7 + 2.2 * len(curvatures)
    figure, panels = plt.subplots(len(curvatures), len(laws), figsize=size, sharex=True, sharey="row", squeeze=False)
    looks = {name: look for name, look in LOOKS.items() if name in result["control"].values}
    smallest = result["risk"].isel(num_samples=0).mean("seed")
    for row, std in enumerate(curvatures):
        for column, law in enumerate(laws):
            axes = panels[row, column]
            for name, (colour, line) in looks.items():
                risk = smallest.isel(weight_std=row).sel(law=law, control=name)
                axes.plot(result["time"], risk, color=colour, linestyle=line)
            axes.set_yscale("log")
            style.log_time_axis(axes)
            axes.label_outer()
            of = "" if np.isnan(std) else f", teacher's weights {std:g}"
            axes.set_title(f"{law}{of}", loc="left")
        panels[row, 0].set_ylabel("test error")
    handles = [style.entry(name, colour, linestyle=line) for name, (colour, line) in looks.items()]
    title = f"in the place of the label noise, $n$ = {int(result['num_samples'][0])}"
    figure.legend(handles=handles, title=title, title_fontsize=7, loc="outside upper center", ncols=4)
    return figure


def main(argv: Sequence[str] | None = None) -> int:
    """Draws the figure from a result of `rfm controls`."""
    return draw_from_file(draw, name="controls", kind="controls", about=__doc__, argv=argv)


if __name__ == "__main__":
    sys.exit(main())
