"""What the figures' scripts have in common: a result goes in, a PDF and a PNG come out, and errors are one line."""

import argparse
import io
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from experiments import exits
from experiments.configs import mixing_in_words
from experiments.outputs import FIGURE_ENDINGS, check_figure
from experiments.store import Result, configuration_of, read
from figures import style
from rfm.files import write_whole


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

    def run() -> int:
        arguments = parser.parse_args(argv)
        return _draw(draw, kind, arguments.result, arguments.output)

    if argv is None:
        exits.once_stopped("a figure is stored whole or not at all")
        return exits.whole_process(f"figures.{name}", run)
    return exits.guarded(f"figures.{name}", run)


def _draw(draw: Callable[[Result], Figure], kind: str, result: Path, stem: Path) -> int:
    check_figure(stem, "output")
    pictures = {}
    with style.used():
        stored = read(result, kind)
        figure = draw(stored)
        _name_mixing(figure, stored)
        style.label_log_axes(figure)
        for ending in FIGURE_ENDINGS:
            picture = io.BytesIO()
            figure.savefig(picture, format=ending.removeprefix("."))
            pictures[stem.with_name(stem.name + ending)] = picture.getvalue()
        plt.close(figure)
    for path, content in pictures.items():
        try:
            write_whole(path, content)
        except OSError as error:
            raise ValueError(
                f"output: cannot write {str(path)!r} ({error.strerror}); make room or pass another path, and draw "
                f"again: {result} is stored"
            ) from error
    try:
        print(f"figure: {stem}{{{','.join(FIGURE_ENDINGS)}}}", flush=True)
    except BrokenPipeError:  # nobody reads any more what has been drawn all the same
        exits.drop_output()
    return 0


LETTERS = 55
"""Of a line of small print as wide as a figure."""


def _name_mixing(figure: Figure, result: Result) -> None:
    """Says below the figure whom its Mixup mixes and how, where that is not the usual."""
    if words := mixing_in_words(configuration_of(result)):
        figure.supxlabel(textwrap.fill(f"mixing: {words}", LETTERS), fontsize=7)
