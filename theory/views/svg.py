"""A picture as a few kilobytes of SVG, for a notebook: no library, no style sheet, and readable on any ground.

Lines without a colour, axes and text take the colour of the text around them (``currentColor``). Lines are named where
they end. A curve of thousands of times is thinned to what can be seen at this size.
"""

from collections.abc import Iterator, Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from theory.views.look import GREY
from theory.views.picture import BAND_ALPHA, Line, Picture, Values
from theory.views.words import number

WIDTH, HEIGHT = 460, 250
LEFT, RIGHT, TOP, BOTTOM = 58, 92, 18, 40
"""Of the margins."""
MOST_POINTS = 200
"""Of a line."""
MOST_LABELS = 6
"""Of an axis."""
MOST_AROUND = 2.0
"""How far beyond the lines a band is shown."""
LINE_HEIGHT = 13
LEAST_RATIO = 1.2
"""Of the ends of an axis: a constant has no range of its own."""
ROUND = ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7))
"""Digits of the numbers that an axis of few decades is labelled with, the fewest first."""
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
PLAIN = range(-1, 3)
"""Powers of ten that are written out."""


class _Axis(NamedTuple):
    """A logarithmic axis: its ends, and where in the picture they lie."""

    low: float
    high: float
    start: float
    end: float

    @staticmethod
    def of(values: np.ndarray, start: float, end: float) -> "_Axis":
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        wider = max(1.0, (LEAST_RATIO / (high / low)) ** 0.5, (high / low) ** 0.03)
        return _Axis(low / wider, high * wider, start, end)

    def at(self, values: np.ndarray | list[float] | float) -> np.ndarray:
        share = np.log(np.asarray(values) / self.low) / np.log(self.high / self.low)
        return np.asarray(self.start + share * (self.end - self.start))

    def ticks(self) -> list[float]:
        """Round numbers to label: as few of one decade as give two or more, and of many decades not all."""
        first, last = int(np.floor(np.log10(self.low))), int(np.ceil(np.log10(self.high)))
        for digits in ROUND:
            values = [digit * 10.0**power for power in range(first, last + 1) for digit in digits]
            found = [value for value in values if self.low <= value <= self.high]
            if len(found) > 1:
                return found[:: -(-len(found) // MOST_LABELS)]
        unit = 10 ** np.floor(np.log10(self.high - self.low))
        for step in (unit, unit / 2, unit / 5):
            even = step * np.arange(np.ceil(self.low / step), self.high / step)
            if len(even) > 1:
                break
        return even.tolist()


def as_svg(picture: Picture) -> str | None:
    """The picture as an ``<svg>`` element; None where nothing in it can be drawn.

    >>> line = Line("height", None, np.asarray([1.0, 4.0]))
    >>> as_svg(Picture(np.asarray([1.0, 10.0]), (line,), "time (s)", "height (m)"))[:4]
    '<svg'
    """
    picture = _thinned(picture.drawable())
    values = np.concatenate([line.values for line in picture.lines])
    if not np.isfinite(values).any():
        return None
    edges = [edge for line in picture.lines for edge in line.band or ()]
    around = np.clip(edges, np.nanmin(values) / MOST_AROUND, np.nanmax(values) * MOST_AROUND).ravel()
    across = _Axis.of(picture.times, LEFT, WIDTH - RIGHT)
    up = _Axis.of(np.concatenate([values, around]), HEIGHT - BOTTOM, TOP)
    pieces = [
        *_frame(across, up, picture),
        *(_band(across, up, picture.times, line) for line in picture.lines if line.band is not None),
        *(_path(across, up, picture, line) for line in reversed(picture.lines)),
        *_names(up, picture.lines),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'role="img" aria-label="{escape(picture.up)} against {escape(picture.across)}" '
        f'font-family="sans-serif" font-size="11" fill="currentColor">{"".join(pieces)}</svg>'
    )


def _thinned(picture: Picture) -> Picture:
    """Evenly in the log of time, with the first and the last."""
    times = picture.times
    if len(times) <= MOST_POINTS:
        return picture
    kept = np.unique(np.searchsorted(times, np.geomspace(times[0], times[-1], MOST_POINTS)).clip(0, len(times) - 1))
    lines = (
        line._replace(
            values=line.values[kept], band=None if line.band is None else (line.band[0][kept], line.band[1][kept])
        )
        for line in picture.lines
    )
    return picture._replace(times=times[kept], lines=tuple(lines))


def _frame(across: _Axis, up: _Axis, picture: Picture) -> Iterator[str]:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    for value, x in zip(across.ticks(), across.at(across.ticks()), strict=True):
        yield f'<path d="M{x:.1f} {TOP}V{bottom}" stroke="currentColor" stroke-opacity=".12"/>'
        yield _text(x, bottom + 14, _tick(value), "middle")
    for value, y in zip(up.ticks(), up.at(up.ticks()), strict=True):
        yield f'<path d="M{LEFT} {y:.1f}H{right}" stroke="currentColor" stroke-opacity=".12"/>'
        yield _text(LEFT - 6, y + 4, _tick(value), "end")
    yield f'<path d="M{LEFT} {TOP}V{bottom}H{right}" fill="none" stroke="currentColor" stroke-opacity=".6"/>'
    yield _text((LEFT + right) / 2, HEIGHT - 6, picture.across, "middle")
    middle = (TOP + bottom) / 2
    yield _text(13, middle, picture.up, "middle", f' transform="rotate(-90 13 {middle})"')
    if picture.mark is not None and across.low <= picture.mark.time <= across.high:
        x = float(across.at(picture.mark.time))
        yield f'<path d="M{x:.1f} {TOP}V{bottom}" stroke="{GREY}" stroke-dasharray="4 3"/>'
        yield _text(x, TOP - 5, f"{picture.mark.name} {number(picture.mark.time)}", "middle")


def _path(across: _Axis, up: _Axis, picture: Picture, line: Line) -> str:
    seen = np.flatnonzero(np.isfinite(line.values))
    points = [f"{x:.1f} {y:.1f}" for x, y in zip(across.at(picture.times[seen]), up.at(line.values[seen]), strict=True)]
    colour = "currentColor" if line.colour is None else line.colour
    if picture.is_measured or len(points) == 1:  # lines of no length with round ends
        dots = "".join(f"M{point}h0" for point in points)
        return f'<path d="{dots}" stroke="{colour}" stroke-width="5" stroke-linecap="round"/>'
    follows = np.diff(seen, prepend=-1) == 1  # where nothing is missing in between
    course = "".join(f"{'L' if index and follows[index] else 'M'}{point}" for index, point in enumerate(points))
    dashes = ' stroke-dasharray="5 3"' if line.is_dashed else ""
    return f'<path d="{course}" fill="none" stroke="{colour}" stroke-width="1.6"{dashes}/>'


def _band(across: _Axis, up: _Axis, times: Values, line: Line) -> str:
    low, high = (np.clip(edge, up.low, up.high) for edge in line.band or ())
    seen = np.isfinite(low + high)
    x = across.at(times[seen])
    there = [f"{a:.1f} {b:.1f}" for a, b in zip(x, up.at(high[seen]), strict=True)]
    back = [f"{a:.1f} {b:.1f}" for a, b in zip(x[::-1], up.at(low[seen])[::-1], strict=True)]
    colour = "currentColor" if line.colour is None else line.colour
    return f'<path d="M{"L".join(there + back)}Z" fill="{colour}" fill-opacity="{BAND_ALPHA}"/>'


def _names(up: _Axis, lines: Sequence[Line]) -> Iterator[str]:
    """Beside the ends of the lines, moved apart where these lie close together."""
    seen = [(line, line.values[np.isfinite(line.values)]) for line in lines]
    ended = sorted(((float(up.at(values[-1])), line) for line, values in seen if values.size), key=lambda end: end[0])
    heights = [height for height, _ in ended]
    for below in range(1, len(heights)):  # half of what is missing goes up, half down
        missing = max(0.0, LINE_HEIGHT - (heights[below] - heights[below - 1]))
        heights = [height + (missing if index >= below else -missing) / 2 for index, height in enumerate(heights)]
    if heights:  # and all of them into the frame
        inside = max(0.0, TOP - heights[0]) - max(0.0, heights[-1] - (HEIGHT - BOTTOM))
        heights = [height + inside for height in heights]
    for height, (_, line) in zip(heights, ended, strict=True):
        colour = "" if line.colour is None else f' style="fill:{line.colour}"'
        yield _text(WIDTH - RIGHT + 6, height + 4, line.name, "start", colour)


def _text(x: float, y: float, words: str, anchor: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(words)}</text>'


def _tick(value: float) -> str:
    power = round(np.log10(value))
    if not np.isclose(value, 10.0**power, rtol=1e-9) or power in PLAIN:
        return number(value)
    return "10" + str(power).translate(SUPERSCRIPT)
