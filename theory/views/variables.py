"""Named arrays that say along which axes they run, in what unit, and what they are; as xarray and as pandas have them.

A plain record, which knows neither library; each is imported when it is asked for.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


class Variable(NamedTuple):
    """An array that explains itself.

    Attributes:
        dims: the name of each axis; a variable with the name of its one axis is that axis's coordinate.
        values: the numbers, or strings.
        units: "1" for pure numbers.
        long_name: as a reader of a plot would say it.
    """

    dims: tuple[str, ...]
    values: np.ndarray
    units: str
    long_name: str


def as_dataset(variables: Mapping[str, Variable], *, beside: tuple[str, ...] = ()) -> "xr.Dataset":
    """The variables as a data set, with their units and long names.

    Args:
        variables: by name.
        beside: those that are coordinates without being an axis.

    >>> time = Variable(("time",), np.asarray([1.0, 2.0]), "s", "time")
    >>> data = as_dataset({"time": time, "height": time._replace(values=np.asarray([5.0, 6.0]), units="m")})
    >>> data["height"].sel(time=2.0).item(), data["height"].attrs["units"]
    (6.0, 'm')
    """
    import xarray as xr

    return xr.Dataset(
        {
            name: xr.Variable(dims, values, {"units": units, "long_name": long_name})
            for name, (dims, values, units, long_name) in variables.items()
        }
    ).set_coords(beside)


def as_frame(variables: Mapping[str, Variable], axis: str) -> "pd.DataFrame":
    """Those that run along one axis as a table: one row a point of it, which is the index, one column a variable.

    >>> time = Variable(("time",), np.asarray([1.0, 2.0]), "s", "time")
    >>> as_frame({"time": time, "height": time, "top": time._replace(dims=())}, "time").columns.tolist()
    ['height']
    """
    import pandas as pd

    columns = {name: it.values for name, it in variables.items() if it.dims == (axis,) and name != axis}
    return pd.DataFrame(columns, index=pd.Index(variables[axis].values, name=axis))
