"""Where over-training hurts: over the number of originals and the mixing law, and over training time."""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from experiments.store import Result, over_seeds
from figures import style
from figures.script import draw_from_file
from theory import views

COLOURS = "magma_r"
TICKS = (1, 1.2, 1.5, 2, 3, 5, 10, 20, 50, 100)


def draw(result: Result) -> Figure:
    """Final over lowest test error, by n and alpha; below it, test error over the lowest until then, by n/p and t."""
    figure, panels = plt.subplots(2, figsize=(style.COLUMN_WIDTH, 4.8))
    penalty, so_far = over_seeds(result["overtraining_penalty"])[0], over_seeds(result["penalty_so_far"])[0]
    largest = max(float(penalty.max()), float(so_far.max()), TICKS[1])
    norm = LogNorm(1, largest)
    sizes = result["num_samples"].values
    table = penalty.transpose("alpha", "num_samples").to_pandas().sort_index(ascending=False)
    numbers: dict[str, Any] = {"annot": table.map(_two_digits), "fmt": "", "annot_kws": {"size": 5.5}}
    sns.heatmap(table, ax=panels[0], norm=norm, cmap=COLOURS, cbar=False, rasterized=True, **numbers)
    panels[0].set_xlabel("number of originals  $n$")
    panels[0].set_ylabel(r"$\alpha$ of Mixup's ratio")
    panels[0].tick_params(rotation=0)
    final = style.time(float(result["time"][-1]))
    panels[0].set_title(f"$p$ = {int(result['num_features'])}, training ends at {final}", loc="left")
    ratios = sizes / int(result["num_features"])
    mesh = _map(panels[1], ratios, result["time"].values, so_far.transpose("time", "num_samples").values, norm)
    panels[1].set_xlabel("originals per feature  $n/p$")
    panels[1].set_ylabel("training time  $t$  (1/eigenvalue)")
    panels[1].set_title(rf"$\alpha$ = {float(result['followed_alpha']):g}", loc="left")
    style.plain_log_ticks(panels[1].xaxis, [float(f"{ratio:.2g}") for ratio in ratios])
    bar = figure.colorbar(mesh, ax=panels, label="test error over the lowest until then")
    style.plain_log_ticks(bar.ax.yaxis, [tick for tick in TICKS if tick <= largest])
    return figure


def _two_digits(value: float) -> str:
    return f"{value:.1f}" if value < 9.95 else f"{value:.0f}"


def _map(axes: Axes, x: np.ndarray, y: np.ndarray, values: np.ndarray, norm: LogNorm) -> QuadMesh:
    mesh = axes.pcolormesh(x, y, values, norm=norm, cmap=COLOURS, shading="nearest", rasterized=True)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.tick_params(which="minor", bottom=False, left=False)
    levels = [tick for tick in TICKS[1:] if values.min() < tick < values.max()]
    if levels:
        lines = axes.contour(x, y, values, levels=levels, colors=views.BLACK, linewidths=0.6)
        axes.clabel(lines, fmt="%g", fontsize=6)
    return mesh


def main(argv: Sequence[str] | None = None) -> int:
    """Draws the figure from a result of `rfm penalty-map`."""
    return draw_from_file(draw, name="penalty_map", kind="penalty-map", about=__doc__, argv=argv)


if __name__ == "__main__":
    sys.exit(main())
