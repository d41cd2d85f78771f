"""Solutions in files: what a decomposition and a population are made of, as the arrays of one .npz."""

import io
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

import theory
from rfm.files import write_whole
from theory.classes import Classes
from theory.population import Averages
from theory.spectrum import Spectrum

LAYOUT = 1
POPULATIONS = {kind.__name__: kind for kind in (theory.TestSet, theory.Population)}


def write(path: Path, spectrum: Spectrum, population: Averages, until: float) -> None:
    """Writes them whole or not at all.

    Raises:
        TypeError: a population of another kind than `POPULATIONS`.
    """
    kind = type(population).__name__
    if POPULATIONS.get(kind) is not type(population):
        raise TypeError(f"population: a {kind} cannot be saved; pass a {' or a '.join(POPULATIONS)}")
    arrays: dict[str, Any] = {"layout": LAYOUT, "population": kind, "until": until}
    for prefix, record in (("spectrum", spectrum), ("population", population)):
        known = {name: value for name, value in vars(record).items() if not isinstance(value, Classes | None)}
        arrays |= {f"{prefix}.{name}": value for name, value in known.items()}  # classes follow from the targets
    content = io.BytesIO()
    np.savez(content, **arrays)
    write_whole(path, content.getvalue())


def read(path: Path) -> tuple[Spectrum, Averages, float]:
    """What `write` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is another file, or one of another layout.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays: dict[str, Any] = {name: file[name] for name in file.files}
        layout, kind, until = int(arrays["layout"]), POPULATIONS[str(arrays["population"])], float(arrays["until"])
    except FileNotFoundError:
        raise
    except Exception as error:  # zip, pickle, numpy and struct all have their own
        raise ValueError(f"path: {str(path)!r} is no file that Solution.save wrote") from error
    if layout != LAYOUT:
        raise ValueError(f"path: {str(path)!r} is of layout {layout}, this version reads {LAYOUT}; solve again")

    def of(prefix: str) -> dict[str, Any]:
        parts = {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
        return {name: str(part) if part.dtype.kind == "U" else jnp.asarray(part) for name, part in parts.items()}

    return Spectrum(**{"clean_coordinates": None, **of("spectrum.")}), kind(**of("population.")), until
