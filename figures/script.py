"""What the figures' scripts have in common: a result goes in, a PDF and a PNG come out, and errors are one line."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from experiments.store import Result, read
from figures import style

ENDINGS = (".pdf", ".png")
FAILED = 2


def draw_from_file(
    draw: Callable[[Result], Figure], *, name: str, kind: str, about: str | None, argv: Sequence[str] | None
) -> int:
    """Parses a script's arguments, reads its result, draws it and stores both files.

    Args:
        draw: makes the figure; a ValueError of its says what it lacks in the result.
        name: of the script and, unless --output says otherwise, of the files in ``figures/``.
        kind: of the experiment that the result must come from.
        about: the help text.
        argv: the arguments; None for those of the process.

    Returns:
        The exit status: 0, or 2 for a result that cannot be drawn.
    """
    parser = argparse.ArgumentParser(prog=f"python -m figures.{name}", description=about)
    parser.add_argument("result", type=Path, help=f"a file that `rfm {kind}` wrote")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("figures") / name,
        help="the figure's path without its ending, .pdf and .png",
    )
    arguments = parser.parse_args(argv)
    style.use()
    try:
        figure = draw(read(arguments.result, kind))
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        for ending in ENDINGS:
            figure.savefig(f"{arguments.output}{ending}")
    except (ValueError, OSError) as error:
        print(f"figures.{name}: error: {error}", file=sys.stderr)
        return FAILED
    plt.close(figure)
    print(f"figure: {arguments.output}{{{','.join(ENDINGS)}}}")
    return 0
