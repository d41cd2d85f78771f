"""Which modes do it: those of large eigenvalue learn the pattern early, those of small eigenvalue the noise, late."""

import sys
from collections.abc import Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from experiments.store import Result
from figures import style
from figures.decomposition import LAW
from figures.script import draw_from_file
from theory import views


def draw(result: Result) -> Figure:
    """What each mode contributes to the clean and to the noise risk, against its eigenvalue, at three times."""
    if "mode_noise" not in result:
        raise ValueError(
            "result: nobody knows the noise of a data set's own labels, or of mixed features; run `rfm ucurve` "
            "with --truth kernel or without --dataset, and without --space"
        )
    law = result.isel(law=LAW)
    eigenvalues = law["mode_eigenvalue"].values
    phases = result["phase"].values
    figure, panels = plt.subplots(len(phases), figsize=(style.COLUMN_WIDTH, 4.2), sharex=True, sharey=True)
    for panel, phase in zip(panels, phases, strict=True):
        here = law.sel(phase=phase)
        time = float(here["mode_time"])
        panel.axhline(0, color=style.GUIDE, linewidth=0.5)
        panel.axvline(1 / time, color=style.GUIDE, linewidth=0.8, linestyle=":")
        for part in ("clean", "noise"):
            colour, marker = views.PARTS[part]
            values = here[f"mode_{part}"]
            panel.vlines(eigenvalues, 0, values, color=colour, linewidth=0.5, alpha=0.6)
            panel.plot(eigenvalues, values, color=colour, marker=marker, label=part, **_DOTS)
        panel.set_title(f"{phase}, {style.time(time)}", loc="left")
    figure.suptitle(f"{style.law_name(str(law['law'].item()))}, first seed", fontsize=8)
    panels[0].set_xscale("log")
    panels[0].set_xlim(eigenvalues[eigenvalues > SMALLEST].min() / 2, eigenvalues[0] * 2)
    panels[0].set_yscale("symlog", linthresh=LINEAR_BELOW)
    shown = np.concatenate([law[f"mode_{part}"].values.ravel() for part in ("clean", "noise")])
    low, high = np.nanmin(shown), np.nanmax(shown)
    panels[0].set_ylim(min(BEYOND * low, -LINEAR_BELOW), max(BEYOND * high, LINEAR_BELOW))
    panels[0].set_yticks([tick for tick in TICKS if BEYOND * low < tick < BEYOND * high])
    panels[0].legend(loc="lower left", ncols=2)
    panels[-1].set_xlabel(r"eigenvalue $\mu$ of the mode  (dotted: $\mu = 1/t$)")
    panels[1].set_ylabel("contribution of the mode to the test error\n(below 0: it lowers the error)")
    return figure


SMALLEST = 1e-12
"""Modes below this are null for all times shown."""
LINEAR_BELOW = 5e-3
"""The axis of contributions is linear up to here, and logarithmic beyond."""
BEYOND = 1.6
"""How far the axis reaches beyond the largest contributions, so that no mark is cut."""
TICKS = (*(-(10.0**power) for power in range(3, -3, -1)), 0.0, *(10.0**power for power in range(-2, 4)))
_DOTS = {"linestyle": "none", "markersize": 2.5, "markeredgewidth": 0}


def main(argv: Sequence[str] | None = None) -> int:
    """Draws the figure from a result of `rfm ucurve`."""
    return draw_from_file(draw, name="modes", kind="ucurve", about=__doc__, argv=argv)


if __name__ == "__main__":
    sys.exit(main())
