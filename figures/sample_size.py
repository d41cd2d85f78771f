"""Is overtraining worse on smaller data? At a fixed number of features yes, if that grows with the data no."""

import sys
from collections.abc import Sequence

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from experiments.store import Result, over_seeds
from figures import style
from figures.script import draw_from_file


def draw(result: Result) -> Figure:
    """The penalty against n for both regimes; below it, the final and the turning risk that it is the ratio of."""
    figure, (above, below) = plt.subplots(2, figsize=(style.COLUMN_WIDTH, 3.6), sharex=True)
    sizes = result["num_samples"].values
    for index, (colour, marker) in enumerate(style.REGIMES):
        regime = result.isel(regime=index)
        widths = regime["num_features"].values
        width = f"$p$ = {widths[0]}" if widths[0] == widths[-1] else f"$p$ = {widths[0] // sizes[0]}$n$"
        look = {"color": colour, "marker": marker, "markersize": 4, "capsize": 2}
        above.errorbar(sizes, *over_seeds(regime["overtraining_penalty"]), label=width, **look)
        below.errorbar(sizes, *over_seeds(regime["final_risk"]), label=f"final, {width}", **look)
        turning = over_seeds(regime["turning_risk"])
        below.errorbar(
            sizes, *turning, label=f"turning, {width}", linestyle=style.DASHED, markerfacecolor="white", **look
        )
    above.set_ylabel("penalty = final / turning")
    below.set_ylabel("test error")
    seeds = result.sizes["seed"]
    mean = style.with_error("mean", seeds) if seeds > 1 else "one seed"
    above.set_title(f"closed form until {style.time(float(result['final_time']))}, {mean}", loc="left")
    below.set_xscale("log")
    style.plain_log_ticks(below.xaxis, sizes.tolist())
    below.tick_params(which="minor", bottom=False)
    above.tick_params(which="minor", bottom=False)
    below.set_xlabel("number of originals  $n$")
    above.legend()
    below.legend(ncols=2)
    return figure


def main(argv: Sequence[str] | None = None) -> int:
    """Draws the figure from a result of `rfm sample-size`."""
    return draw_from_file(draw, name="sample_size", kind="sample-size", about=__doc__, argv=argv)


if __name__ == "__main__":
    sys.exit(main())
