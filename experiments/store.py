"""Results in files: one self-describing NetCDF file a result. The only room that knows xarray.

Names, units and axes travel with the numbers, and one JSON attribute says where they came from. A file is written under
a temporary name and then renamed, so that its own name always stands for a whole result: the old one or the new one.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr

import theory
from experiments.variables import Variables
from rfm.files import replacing

# A coordinate off by one rounding would otherwise drop points from a difference without a word.
xr.set_options(arithmetic_join="exact")

LAYOUT = 3
"""Of the file: raised whenever a variable changes its name, axes, unit or meaning."""
SUFFIX = ".nc"

Result = xr.Dataset
Variable = xr.DataArray


def check_writable(path: Path) -> None:
    """Makes the folder of a future result; ValueError if the result could not be written there."""
    if path.suffix != SUFFIX:
        raise ValueError(f"output: {str(path)!r} must end in {SUFFIX}")
    if path.is_dir():
        raise ValueError(f"output: {str(path)!r} is a folder; pass the name of a file in it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"output: cannot make the folder {str(path.parent)!r} ({error.strerror})") from error
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"output: may not write into {str(path.parent)!r}; pass a file in another folder")


def write(path: Path, kind: str, variables: Variables, provenance: Mapping[str, Any]) -> None:
    """Stores a result, replacing the file at once or not at all.

    Args:
        path: the file; its folder exists.
        kind: the experiment, such as "ucurve".
        variables: what the run handed over.
        provenance: from `experiments.provenance`.
    """
    dataset = xr.Dataset(
        {
            name: xr.Variable(dims, values, {"units": units, "long_name": long_name})
            for name, (dims, values, units, long_name) in variables.items()
        },
        attrs={
            "title": f"rfm {kind}",
            "kind": kind,
            "layout": LAYOUT,
            "provenance": json.dumps({**provenance, "layout": LAYOUT, "variables": sorted(variables)}),
        },
    )
    with replacing(path) as temporary:
        dataset.to_netcdf(temporary, engine="h5netcdf", format="NETCDF4")


def read(path: Path, kind: str | None = None) -> Result:
    """A stored result, whole and in memory.

    Args:
        path: the file.
        kind: the experiment that it must come from; None for any.

    Raises:
        ValueError: no such file, not a result, cut short, of another layout, or of another kind.
    """
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file; run one of the experiments that `rfm --help` lists")
    try:
        with xr.open_dataset(path, engine="h5netcdf") as opened:
            result = opened.load()
    except Exception as error:  # h5py raises OSError, RuntimeError or KeyError, as the damage has it
        raise ValueError(f"{path}: is not a whole result file ({error}); run its experiment again") from error
    if "provenance" not in result.attrs or "layout" not in result.attrs:
        raise ValueError(f"{path}: was not written by rfm; pass a file that one of its experiments wrote")
    if result.attrs["layout"] != LAYOUT:
        raise ValueError(
            f"{path}: has layout {result.attrs['layout']}, and this version of rfm reads layout {LAYOUT}; run its "
            "experiment again (`--config` takes its configuration from the file)"
        )
    missing = sorted(set(provenance_of(result)["variables"]) - set(map(str, result.variables)))
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
    return provenance["configuration"]


def provenance_of(result: Result) -> dict[str, Any]:
    """What `write` was given, with the layout and the names of all variables."""
    return json.loads(result.attrs["provenance"])


def over_seeds(variable: Variable) -> tuple[Variable, Variable]:
    """Mean over seeds and its standard error, which is NaN for a single seed."""
    return variable.mean("seed"), variable.std("seed", ddof=1) / variable.sizes["seed"] ** 0.5


def turns_of_means(risk: Variable, error: Variable) -> list[int]:
    """For each law, the index of the time at which the mean curve over seeds turns, to within its rounding error."""
    curves = (variable.mean("seed").transpose("law", ...).values for variable in (risk, error))
    return [int(theory.earliest_lowest(*curve)) for curve in zip(*curves, strict=True)]


def over_parts(variable: Variable) -> tuple[float, float]:
    """Mean over held-out parts and its standard error."""
    return float(variable.mean("part")), float(variable.std("part", ddof=1)) / variable.sizes["part"] ** 0.5
