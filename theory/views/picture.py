"""What a picture of a curve holds, before anybody draws it: lines over time, bands about them, a mark.

`theory.views.svg` writes it for a notebook, `plot` draws it with matplotlib.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float

from theory.views.look import GREY, POINTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DEEPEST = 1e3
"""Lines beside the first one are drawn down to its lowest value over this, and up to its highest times this: a noise
part of 1e-20 would make a flat line of everything else."""
VISIBLE = 0.01
"""Share of the values from which on a band about them can be seen."""
BAND_ALPHA = 0.2

Values = Float[np.ndarray, "times"]


class Line(NamedTuple):
    """One line, or the points that were measured.

    Attributes:
        name: as its label says.
        colour: None for that of the text.
        values: at each of the times; what is not positive has no place on a logarithmic axis.
        marker: of points.
        band: its lower and its upper edge, if there is one.
        is_dashed: whether it is another kind of thing than the others.
    """

    name: str
    colour: str | None
    values: Values
    marker: str = "o"
    band: tuple[Values, Values] | None = None
    is_dashed: bool = False


class Mark(NamedTuple):
    """A time that matters, and why."""

    time: float
    name: str


class Picture(NamedTuple):
    """Lines over time, on logarithmic axes.

    Attributes:
        times: of all lines.
        lines: the first one is what the picture is of.
        across: what the horizontal axis says.
        up: what the vertical axis says.
        mark: a time that matters, if there is one.
        is_measured: whether the lines are points.
    """

    times: Values
    lines: tuple[Line, ...]
    across: str
    up: str
    mark: Mark | None = None
    is_measured: bool = False

    def drawable(self) -> "Picture":
        """The same at positive times, with NaN for what has no place in it."""
        later = self.times > 0
        first = self.lines[0].values[later]
        known = first[np.isfinite(first) & (first > 0)]
        low, high = np.min(known, initial=np.inf) / DEEPEST, np.max(known, initial=0.0) * DEEPEST

        def within(line: Line) -> Line:
            values = line.values[later]
            seen = np.isfinite(values) & (values >= low) & (values <= high)
            band = None if line.band is None else tuple(np.clip(edge[later], low, high) for edge in line.band)
            return line._replace(values=np.where(seen, values, np.nan), band=band)

        return self._replace(times=self.times[later], lines=tuple(map(within, self.lines)))


def rounding_band(values: Values, error: Values) -> tuple[Values, Values] | None:
    """The band of a rounding error, where it can be seen.

    >>> rounding_band(np.ones(2), np.asarray([1e-9, 1e-6])) is None
    True
    """
    seen = error > VISIBLE * np.abs(values)
    return (np.where(seen, values - error, values), np.where(seen, values + error, values)) if seen.any() else None


def plot(picture: Picture, axes: "Axes | None" = None, **look: Any) -> "Axes":
    """Draws it with matplotlib: lines of formulas, points of what was measured.

    Args:
        picture: what is drawn.
        axes: where to; None for new ones. Empty ones become logarithmic, others keep their scales.
        look: of the first line, such as ``color=`` and ``label=``.
    """
    if axes is None:
        from matplotlib import pyplot as plt

        axes = plt.subplots(layout="constrained")[1]
    if not axes.has_data():
        axes.set(xscale="log", yscale="log")
    ink = axes.xaxis.label.get_color()  # black, or what can be read on a dark ground
    picture = picture.drawable()
    for index, line in enumerate(picture.lines):
        colour = ink if line.colour is None else line.colour
        mine: dict[str, Any] = {"color": colour, "label": line.name, "linestyle": "--" if line.is_dashed else "-"}
        if picture.is_measured:
            mine |= {"marker": line.marker, **POINTS}
        (drawn,) = axes.plot(picture.times, line.values, **(mine if index else mine | look))
        if line.band is not None:
            axes.fill_between(picture.times, *line.band, color=drawn.get_color(), alpha=BAND_ALPHA, linewidth=0)
    if picture.mark is not None and picture.mark.time > 0:
        axes.axvline(picture.mark.time, color=GREY, linewidth=0.6, linestyle=(0, (4, 2)), zorder=0)
    axes.set_xlabel(picture.across)
    axes.set_ylabel(picture.up)
    if len(picture.lines) > 1:
        axes.legend()
    return axes
