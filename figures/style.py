"""One look for all figures: sizes of a paper's column, and colours that mean the same thing in each.

Colour says what a curve is; the mark says where it comes from: closed forms are lines, simulations are points. The
colours are those of Okabe and Ito, which colour-blind eyes tell apart; and line styles differ as well.
"""

import logging
from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, LogLocator, NullFormatter

COLUMN_WIDTH = 3.4
"""Inches: a single column of the usual journals."""

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILION, PURPLE, GREY, BROWN = "#0072B2", "#D55E00", "#CC79A7", "#777777", "#6B3D00"

LAWS = ((BLUE, "s"), (BLACK, "o"), (ORANGE, "^"))
"""Colour and marker of ERM, Mixup of all pairs, Mixup of random pairs: the order in which results store them."""
PARTS = {"risk": (BLACK, "o"), "clean": (GREEN, "s"), "noise": (VERMILION, "^"), "cross": (PURPLE, "D")}
"""Of the test error and its parts."""
DASHED = (0, (4, 2))
REGIMES = ((SKY, "o"), (BROWN, "s"))
"""Colour and marker of fixed and of growing p."""
GUIDE = GREY
"""Of lines that only guide the eye."""

POINTS: dict[str, Any] = {
    "linestyle": "none",
    "markersize": 3.2,
    "markeredgewidth": 0.7,
    "elinewidth": 0.7,
    "markerfacecolor": "white",
}
"""How a simulation is drawn."""


def entry(label: str, colour: str, **look: Any) -> Line2D:
    """An entry of a legend: a line, with a point on it if a marker is given."""
    defaults: dict[str, Any] = {"markersize": 3.2, "markerfacecolor": "white"}
    return Line2D([], [], label=label, color=colour, **(defaults | look))


def use() -> None:
    """Sets the look, for files only: no screen is needed."""
    matplotlib.use("agg")
    logging.getLogger("fontTools").setLevel(logging.ERROR)  # it remarks on the dates of fonts
    matplotlib.rcParams.update(
        {
            "figure.figsize": (COLUMN_WIDTH, 2.5),
            "figure.constrained_layout.use": True,
            "font.size": 8,
            "axes.labelsize": 8,
            "axes.titlesize": 8,
            "xtick.labelsize": 7,
            "ytick.labelsize": 7,
            "legend.fontsize": 7,
            "legend.frameon": False,
            "lines.linewidth": 1.2,
            "axes.linewidth": 0.6,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "savefig.dpi": 300,
            "pdf.fonttype": 42,  # whole TrueType fonts, which every journal takes and every editor can edit
        }
    )


def plain_log_ticks(axis: Axis, values: Sequence[float]) -> None:
    """Labels a logarithmic axis with these numbers, written out."""
    axis.set_major_locator(FixedLocator(values))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def log_time_axis(axes: Axes) -> None:
    """A logarithmic time axis with a label at every second decade."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(base=100))
    axes.xaxis.set_minor_locator(LogLocator(base=10))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("training time  $t$  (1/eigenvalue)")


def time(value: float) -> str:
    """A time as a title says it, with two digits."""
    digits, exponent = f"{value:.1e}".split("e")
    power = f"10^{{{int(exponent)}}}"
    return f"$t = {power}$" if digits == "1.0" else rf"$t = {digits} \times {power}$"
