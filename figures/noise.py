"""Mixup's label noise: largest in the middle, growing with distance and curvature; hard labels that must be wrong."""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.store import Result, over_seeds
from figures import style
from figures.script import draw_from_file
from theory import views

_ABOVE: dict[str, Any] = {
    "loc": "lower center",
    "bbox_to_anchor": (0.45, 1.0),
    "ncols": 2,
    "columnspacing": 1,
    "handlelength": 1.6,
}
"""Of a panel, where its legend hides no data."""
SHADES = (views.SKY, views.BLUE, views.BLACK, views.PURPLE, views.BROWN)


def draw(result: Result) -> Figure:
    """Three panels: against the ratio, against the distance of a pair, and hard labels."""
    figure, panels = plt.subplots(3, 1, figsize=(style.COLUMN_WIDTH, 6.6))
    _against_ratio(panels[0], result)
    _against_distance(panels[1], result)
    _hard_labels(panels[2], result)
    for label, axes in zip("abc", panels, strict=True):
        axes.text(-0.2, 1.06, label, transform=axes.transAxes, fontweight="bold")
    return figure


def _against_ratio(axes: Axes, result: Result) -> None:
    for std, colour in zip(result["weight_std"].values, SHADES, strict=False):
        row = result.sel(weight_std=std)
        mean, error = over_seeds(row["sampled_noise_power"])
        axes.plot(result["lam"], over_seeds(row["noise_power"])[0], color=colour)
        axes.errorbar(result["lam"], mean, error, color=colour, marker="o", **style.POINTS)
    axes.set_xlabel("mixing ratio  $\\lambda$")
    axes.set_ylabel("label noise  $E z^2$")
    handles = [
        style.entry(f"teacher's weights {std:g}", colour)
        for std, colour in zip(result["weight_std"].values, SHADES, strict=False)
    ]
    handles.append(
        style.entry(style.with_error("drawn pairs", result.sizes["seed"]), style.GUIDE, marker="o", linestyle="none")
    )
    axes.set_ylim(0)
    axes.legend(handles=handles, **_ABOVE)


def _against_distance(axes: Axes, result: Result) -> None:
    distance = result["distance"]
    noise = views.PARTS["noise"][0]
    axes.plot(distance, result["typical_noise"].mean("seed"), color=noise, label="root mean square")
    axes.plot(distance, result["largest_noise"].max("seed"), color=noise, marker="^", linestyle="none", markersize=3.2,
              markerfacecolor="white", label="largest of all drawn pairs")  # fmt: skip
    for name, dashes, label in (
        ("lipschitz_bound", style.DASHED, "upper bound, by slope"),
        ("smoothness_bound", (0, (1, 1)), "upper bound, by curvature"),
    ):
        largest = result[name].max("seed")
        if np.all(np.isfinite(largest)):  # a truth with a kink has no bound by its curvature
            axes.plot(distance, largest, color=views.BLACK, linestyle=dashes, label=label)
    axes.set_yscale("log")
    axes.set_xlabel("distance of the pair  $|x - x'|$")
    axes.set_ylabel("label noise  $|z|$  at  $\\lambda = 1/2$")
    axes.legend(title=f"teacher's weights {result['weight_std'].values[-1]:g}", title_fontsize=7, **_ABOVE)


def _hard_labels(axes: Axes, result: Result) -> None:
    lam = result["lam"]
    mean, error = over_seeds(result["sampled_label_error"])
    axes.plot(lam, over_seeds(result["label_error"])[0], color=views.BLACK, label="closed form")
    drawn = style.with_error("drawn labels", result.sizes["seed"])
    axes.errorbar(lam, mean, error, color=views.BLACK, marker="o", label=drawn, **style.POINTS)
    axes.plot(lam, over_seeds(result["total_variation"])[0], color=views.GREEN, linestyle=style.DASHED,
              label="lower bound, total variation")  # fmt: skip
    axes.plot(
        lam,
        over_seeds(result["sup_bound"])[0],
        color=views.BLUE,
        linestyle=(0, (1, 1)),
        label="lower bound, worst class",
    )
    axes.set_xlabel("mixing ratio  $\\lambda$")
    axes.set_ylabel("P(hard label is wrong)")
    axes.set_ylim(0)
    axes.legend(**_ABOVE)


def main(argv: Sequence[str] | None = None) -> int:
    """Draws the figure from a result of `rfm noise`."""
    return draw_from_file(draw, name="noise", kind="noise", about=__doc__, argv=argv)


if __name__ == "__main__":
    sys.exit(main())
