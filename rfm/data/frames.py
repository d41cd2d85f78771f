"""DataFrames and arrays as one has them in Python, read as files are."""

import sys
from typing import Any

import numpy as np

from rfm.data.datasets import Missing
from rfm.data.names import Names, listed
from rfm.data.tables import Table, load_table
from theory.checks import check_same_rows


def arrays_of(
    inputs: Any,
    targets: Any,
    *,
    exclude: Names = (),
    apart: Names = (),
    decimal: str | None = None,
    missing: Missing = "refuse",
) -> Table:
    """Inputs and targets as one has them in Python; a DataFrame is read as a file is, plain arrays stay as they are.

    Whole numbers stay whole, since these stand for classes in arrays.

    Args:
        inputs: a DataFrame, or an array.
        targets: names of its columns; or what has a row for each of its rows, in a DataFrame or Series of the same
            index, or in an array.
        exclude: as for `load_table`, as are all others; of a DataFrame only.
        apart: likewise.
        decimal: likewise.
        missing: likewise.

    Raises:
        ValueError: as `load_table`; an index that is not the same; names where there is no DataFrame.

    >>> import pandas as pd
    >>> houses = pd.DataFrame({"area": [70, 98, 60], "heated": [True, False, True], "price": [2.1, 3.0, 1.5]})
    >>> arrays_of(houses, "price").inputs.tolist()
    [[70.0, 0.0, 1.0], [98.0, 1.0, 0.0], [60.0, 0.0, 1.0]]
    >>> arrays_of(houses[["area"]], houses["heated"]).class_names
    ('False', 'True')
    """
    pandas = sys.modules.get("pandas")  # where nobody has imported it, there is no DataFrame
    if pandas is None or not isinstance(inputs, pandas.DataFrame):
        if named := [name for name, value in (("exclude", exclude), ("apart", apart)) if len(value)]:
            raise ValueError(f"{', '.join(named)}: only a DataFrame names its columns; leave them out")
        return Table(inputs, targets)
    if not _are_names(targets):
        inputs, targets = _joined(pandas, inputs, targets)
    table = load_table(inputs, targets, exclude=exclude, apart=apart, decimal=decimal, missing=missing)
    kinds = [inputs[name].dtype.kind for name in inputs.columns if str(name) in table.target_names]
    return table._replace(targets=table.targets.astype(int)) if set(kinds) <= {"i", "u"} else table


def _are_names(targets: Any) -> bool:
    return isinstance(targets, str) or (
        isinstance(targets, list | tuple) and len(targets) > 0 and all(isinstance(name, str) for name in targets)
    )


def _joined(pandas: Any, inputs: Any, targets: Any) -> tuple[Any, list[str]]:
    """Targets as further columns of the inputs, and their names."""
    if isinstance(targets, pandas.Series):
        targets = targets.to_frame("target" if targets.name is None else targets.name)
    if not isinstance(targets, pandas.DataFrame):
        there = np.asarray(targets)
        check_same_rows("targets", there, "inputs", len(inputs))
        names = ["target"] if there.ndim == 1 else [f"target {place}" for place in range(there.shape[1])]
        targets = pandas.DataFrame(there, columns=names, index=inputs.index)
    check_same_rows("targets", targets.to_numpy(), "inputs", len(inputs))
    if not targets.index.equals(inputs.index):
        raise ValueError(
            "targets: have another index than the inputs; pass them in the same order, and then targets.to_numpy() or "
            "both after reset_index(drop=True)"
        )
    if both := [str(name) for name in targets.columns if name in inputs.columns]:
        raise ValueError(f"targets: {listed(both)} is among the inputs too; drop it from them")
    return inputs.join(targets), [str(name) for name in targets.columns]
