"""Results in files: one self-describing NetCDF file a result. Of the experiments, the only room that knows xarray.

Names, units and axes travel with the numbers, and one JSON attribute says where they came from. A file is written under
a temporary name and then renamed, so that its own name always stands for a whole result: the old one or the new one.
"""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5netcdf
import xarray as xr
from xarray.backends import H5NetCDFStore

import theory
from experiments.variables import Variables
from rfm.files import write_whole
from theory.views import as_dataset

# A coordinate off by one rounding would otherwise drop points from a difference without a word.
xr.set_options(arithmetic_join="exact")

LAYOUT = 4
"""Of the file: raised whenever a variable changes its name, axes, unit or meaning."""

Result = xr.Dataset
Variable = xr.DataArray


def assemble(kind: str, variables: Variables, provenance: Mapping[str, Any]) -> Result:
    """The result of a run, in memory.

    Args:
        kind: the experiment, such as "ucurve".
        variables: what the run handed over.
        provenance: from `experiments.provenance`.
    """
    return as_dataset(variables).assign_attrs(
        title=f"rfm {kind}",
        kind=kind,
        layout=LAYOUT,
        provenance=json.dumps({**provenance, "layout": LAYOUT, "variables": sorted(variables)}),
    )


def save(path: Path, result: Result) -> None:
    """Stores a result, replacing the file at once or not at all; its folder exists.

    Raises:
        ValueError: the file cannot be written, say on a full disk.
    """
    # In memory first: where a disk is full, h5py fails again when it closes the file, and then crashes.
    content = io.BytesIO()
    with h5netcdf.File(content, "w") as file:
        result.dump_to_store(H5NetCDFStore(file))
    try:
        write_whole(path, content.getvalue())
    except OSError as error:
        size = len(content.getvalue()) / 1e6
        raise ValueError(
            f"output: cannot write the {size:.2f} MB of {str(path)!r} ({error.strerror}); nothing was stored, and an "
            "earlier file is untouched: make room or pass another file, and run again"
        ) from error


def write(path: Path, kind: str, variables: Variables, provenance: Mapping[str, Any]) -> None:
    """Assembles a result and saves it."""
    save(path, assemble(kind, variables, provenance))


def read(path: Path, kind: str | None = None) -> Result:
    """A stored result, whole and in memory.

    Args:
        path: the file.
        kind: the experiment that it must come from; None for any.

    Raises:
        ValueError: no such file, a folder, not a result, cut short, of another layout, or of another kind.
    """
    if path.is_dir():
        raise ValueError(f"{path}: is a folder; pass a file in it that one of the experiments wrote, such as ucurve.nc")
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file; run one of the experiments that `rfm --help` lists")
    try:
        with xr.open_dataset(path, engine="h5netcdf") as opened:
            result = opened.load()
    except Exception as error:  # h5py raises OSError, RuntimeError or KeyError, as the damage has it
        raise ValueError(f"{path}: is not a whole result file ({error}); run its experiment again") from error
    if not {"kind", "layout", "provenance"} <= set(result.attrs):
        raise ValueError(f"{path}: was not written by rfm; pass a file that one of its experiments wrote")
    if result.attrs["layout"] != LAYOUT:
        raise ValueError(
            f"{path}: has layout {result.attrs['layout']}, and this version of rfm reads layout {LAYOUT}; run its "
            "experiment again (`--config` takes its configuration from the file)"
        )
    try:
        missing = sorted(set(provenance_of(result)["variables"]) - set(map(str, result.variables)))
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path}: does not say where it came from ({error}); run its experiment again") from error
    if missing:
        raise ValueError(f"{path}: lacks {', '.join(missing)}; run its experiment again")
    if kind is not None and result.attrs["kind"] != kind:
        raise ValueError(f"{path}: is a result of `rfm {result.attrs['kind']}`; pass one of `rfm {kind}`")
    return result


def stored_configuration(path: Path, kind: str) -> dict[str, Any]:
    """The configuration that a result came from, of this layout or an older one.

    Raises:
        ValueError: as `read`.
    """
    try:
        with xr.open_dataset(path, engine="h5netcdf") as opened:
            stored_kind, provenance = opened.attrs["kind"], json.loads(opened.attrs["provenance"])
    except Exception as error:
        raise ValueError(f"config: {path} holds no configuration ({error}); pass a .toml file or a result") from error
    if stored_kind != kind:
        raise ValueError(f"config: {path} is a result of `rfm {stored_kind}`; pass one of `rfm {kind}`")
    if not isinstance(provenance, dict) or not isinstance(provenance.get("configuration"), dict):
        raise ValueError(f"config: {path} holds no configuration; pass a .toml file or a result")
    return provenance["configuration"]


def provenance_of(result: Result) -> dict[str, Any]:
    """What `write` was given, with the layout and the names of all variables."""
    return json.loads(result.attrs["provenance"])


def configuration_of(result: Result) -> dict[str, Any]:
    """The values of the fields that it was made of, where they are stored with it."""
    return provenance_of(result).get("configuration", {})


def over_seeds(variable: Variable) -> tuple[Variable, Variable]:
    """Mean over seeds and its standard error, which is NaN for a single seed."""
    return variable.mean("seed"), variable.std("seed", ddof=1) / variable.sizes["seed"] ** 0.5


def turns_of_means(risk: Variable, error: Variable) -> list[int]:
    """For each law, the index of the time at which the mean curve over seeds turns, to within its rounding error."""
    curves = (variable.mean("seed").transpose("law", ...).values for variable in (risk, error))
    return [int(theory.minimum.earliest_lowest(*curve)) for curve in zip(*curves, strict=True)]
