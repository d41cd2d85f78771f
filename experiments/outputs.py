"""Where a result and its figure go; asked before anything is computed, so that no work is lost to a path."""

from pathlib import Path

from rfm.files import check_writable

RESULT_ENDING, ARRAYS_ENDING = ".nc", ".npz"
FIGURE_ENDINGS = (".pdf", ".png")
_OTHER_FIGURES = (".svg", ".eps", ".jpg", ".jpeg")


def check_result(path: Path) -> None:
    """Makes the folder of a future result; ValueError if the result could not be written there."""
    if path.suffix != RESULT_ENDING:
        raise ValueError(f"output: {str(path)!r} must end in {RESULT_ENDING}")
    if path.is_dir():
        raise ValueError(f"output: {str(path)!r} is a folder; pass the name of a file in it")
    check_writable("output", path)


def check_arrays(path: Path) -> None:
    """Makes the folder of a future file of arrays; ValueError if it could not be written there."""
    if path.suffix != ARRAYS_ENDING or path.is_dir():
        raise ValueError(f"output: {str(path)!r} must be the name of a file that ends in {ARRAYS_ENDING}")
    check_writable("output", path)


def check_figure(stem: Path, name: str = "figure") -> None:
    """Makes the folder of a future figure; ValueError if its files could not be written there."""
    if not stem.name or stem.is_dir():
        raise ValueError(f"{name}: {str(stem)!r} is a folder; pass a name in it, such as {stem / 'curve'}")
    if stem.suffix.lower() in (*FIGURE_ENDINGS, *_OTHER_FIGURES):
        ours = " and ".join(FIGURE_ENDINGS)
        raise ValueError(f"{name}: {str(stem)!r} has an ending; pass {stem.with_suffix('')}, to which {ours} are added")
    for ending in FIGURE_ENDINGS:
        path = stem.with_name(stem.name + ending)
        if path.is_dir():
            raise ValueError(f"{name}: {str(path)!r} is a folder; pass the name of another figure")
        check_writable(name, path)
