"""One look for all figures: sizes of a paper's column, and colours that mean the same thing in each.

Colour says what a curve is; the mark says where it comes from: closed forms are lines, simulations are points. The
colours are those of `theory.views`; line styles differ as well.
"""

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import matplotlib
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullFormatter

from theory import views
from theory.views import BLACK, BLUE, BROWN, GREY, ORANGE, SKY

COLUMN_WIDTH = 3.4
"""Inches: a single column of the usual journals."""

LAWS = ((BLUE, "s"), (BLACK, "o"), (ORANGE, "^"))
"""Colour and marker of ERM, Mixup of all pairs, Mixup of random pairs: the order in which results store them."""
DASHED = (0, (4, 2))
REGIMES = ((SKY, "o"), (BROWN, "s"))
"""Colour and marker of fixed and of growing p."""
GUIDE = GREY
"""Of lines that only guide the eye."""

POINTS = views.POINTS | {"elinewidth": 0.7}
"""How a simulation is drawn."""


def entry(label: str, colour: str, **look: Any) -> Line2D:
    """An entry of a legend: a line, with a point on it if a marker is given."""
    defaults: dict[str, Any] = {"markersize": 3.2, "markerfacecolor": "white"}
    return Line2D([], [], label=label, color=colour, **(defaults | look))


@contextmanager
def used() -> Iterator[None]:
    """The look for as long as a figure is drawn; whoever draws figures of another look finds theirs again."""
    screen = matplotlib.get_backend() if "matplotlib.pyplot" in sys.modules else None
    with matplotlib.rc_context():
        use()
        yield
    if screen is not None:
        matplotlib.use(screen)


def use() -> None:
    """Sets the look, for files only: no screen is needed."""
    matplotlib.use("agg")
    logging.getLogger("fontTools").setLevel(logging.ERROR)  # it remarks on the dates of fonts
    sns.set_theme(
        context="paper",
        style="ticks",
        rc={
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
            **{
                f"{axis}tick.{ticks}.width": width for axis in "xy" for ticks, width in (("major", 0.6), ("minor", 0.4))
            },
            **{f"{axis}tick.{ticks}.size": size for axis in "xy" for ticks, size in (("major", 3), ("minor", 2))},
            "axes.spines.top": False,
            "axes.spines.right": False,
            "savefig.dpi": 300,
            "pdf.fonttype": 42,  # whole TrueType fonts, which every journal takes and every editor can edit
        },
    )


def law_name(law: str) -> str:
    """A law with its ratio and pairs; what else it chooses stands below the figure.

    >>> law_name("Mixup(lam=0.5, pairs=81, partners=similar labels (h=0.5), share=0.5)"), law_name("ERM")
    ('Mixup(lam=0.5, pairs=81)', 'ERM')
    """
    parts = law.removesuffix(")").split(", ")
    return f"{', '.join(parts[:2])})" if len(parts) > 1 else law


def with_error(label: str, number: int) -> str:
    """The label of a mean over so many, which one alone has no standard error beside."""
    return f"{label} ± s.e." if number > 1 else label


def label_log_axes(figure: Figure) -> None:
    """Sees to it that every logarithmic axis has two labels or more, or nobody can read a ratio from it."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if axis.get_scale() == "log" and _num_labels(axis) < LEAST_LABELS:
                _label_round_numbers(axis)


LEAST_LABELS = 2
ROUND = ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7))
"""Digits of the numbers that an axis may be labelled with, the fewest first."""


def _num_labels(axis: Axis) -> int:
    low, high = sorted(axis.get_view_interval())
    seen = [value for value in axis.get_majorticklocs() if low <= value <= high]
    return sum(bool(label) for label in axis.get_major_formatter().format_ticks(seen))


def _label_round_numbers(axis: Axis) -> None:
    low, high = sorted(axis.get_view_interval())
    powers = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    for digits in ROUND:
        values = [digit * power for power in powers for digit in digits if low <= digit * power <= high]
        if len(values) >= LEAST_LABELS:
            break
    else:
        values = [value for value in MaxNLocator(4).tick_values(low, high) if low <= value <= high]
    if digits == ROUND[0]:
        axis.set_major_locator(FixedLocator(values))
    else:
        plain_log_ticks(axis, values)


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


def label_ends(axes: Axes, x: float, ends: Sequence[tuple[float, str, str]]) -> None:
    """Writes names to the right of lines that end at x, moved apart where the lines end close together.

    Args:
        axes: whose limits are final.
        x: where the lines end.
        ends: of each line the y at which it ends, its name and its colour.
    """
    ends = sorted(ends)
    to_fraction = axes.transScale + axes.transLimits
    heights = [float(to_fraction.transform((x, y))[1]) for y, _, _ in ends]
    gaps = [LINE_HEIGHT * (a.count("\n") + b.count("\n") + 2) / 2 for (_, a, _), (_, b, _) in pairwise(ends)]
    for index, gap in enumerate(gaps):  # half of what is missing goes down, half up
        missing = max(0.0, gap - (heights[index + 1] - heights[index]))
        heights[: index + 1] = [height - missing / 2 for height in heights[: index + 1]]
        heights[index + 1 :] = [height + missing / 2 for height in heights[index + 1 :]]
    for (_, name, colour), height in zip(ends, heights, strict=True):
        axes.annotate(
            name,
            (x, height),
            xycoords=("data", "axes fraction"),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            color=colour,
            fontsize=7,
            annotation_clip=False,
        )


LINE_HEIGHT = 0.055
"""Of a name in `label_ends`, as a part of the axis."""


def time(value: float) -> str:
    """A time as a title says it, with two digits."""
    digits, exponent = f"{value:.1e}".split("e")
    power = f"10^{{{int(exponent)}}}"
    return f"$t = {power}$" if digits == "1.0" else rf"$t = {digits} \times {power}$"
