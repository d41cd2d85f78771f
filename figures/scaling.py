"""How time and memory grow with the originals and the features, with fitted exponents."""

import sys
from collections.abc import Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from experiments.store import Result
from figures import style
from figures.script import draw_from_file
from theory import views

FITTED = 3
"""Largest sizes that the exponents are fitted to."""
WORKS = ((views.BLACK, "o"), (views.ORANGE, "^"))
LABELS = {"originals": "originals  $n$", "features": "features  $p$"}
MEGABYTES = tuple(float(factor * 10**power) for power in range(6) for factor in (1, 2, 5))
SIZES = {"originals": "num_samples", "features": "num_features"}


def draw(result: Result) -> Figure:
    """Time above, memory below; against the originals on the left, the features on the right."""
    figure, panels = plt.subplots(2, 2, figsize=(2 * style.COLUMN_WIDTH, 4.6), sharex="col", sharey="row")
    for column, axis in enumerate(result["axis"].values):
        symbol = LABELS[axis].split("$")[1]
        for work, (colour, marker) in zip(result["work"].values, WORKS, strict=True):
            row = result.sel(work=work, axis=axis)
            size = [float(value) for value in row[SIZES[axis]].values]
            for axes, measured in zip(panels[:, column], (row["seconds"], row["extra_bytes"] / 1e6), strict=True):
                power = np.polyfit(np.log(size[-FITTED:]), np.log(measured[-FITTED:]), 1)[0]
                axes.loglog(size, measured, color=colour, marker=marker, markersize=4, markerfacecolor="white",
                            label=f"{work}: ${symbol}^{{{power:.1f}}}$")  # fmt: skip
        for axes in panels[:, column]:
            axes.legend(loc="upper left")
            style.plain_log_ticks(axes.xaxis, size)
        panels[1, column].set_xlabel(LABELS[axis])
        fixed = "features" if axis == "originals" else "originals"
        constants = np.unique(result.sel(axis=axis)[SIZES[fixed]].values)
        panels[0, column].set_title(f"{fixed}: " + " and ".join(f"{value:g}" for value in constants))
    panels[0, 0].set_ylabel("time (s)")
    panels[1, 0].set_ylabel("extra peak memory of a first call (MB)")
    low, high = panels[1, 0].get_ylim()
    style.plain_log_ticks(panels[1, 0].yaxis, [tick for tick in MEGABYTES if low <= tick <= high])
    for axes in panels[:, 0]:
        low, high = axes.get_ylim()
        axes.set_ylim(low, high * (high / low) ** 0.35)
    return figure


def main(argv: Sequence[str] | None = None) -> int:
    """Draws the figure from a result of `python -m benchmarks.scaling`."""
    return draw_from_file(draw, name="scaling", kind="scaling", about=__doc__, argv=argv)


if __name__ == "__main__":
    sys.exit(main())
