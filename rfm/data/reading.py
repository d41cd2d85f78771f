"""Data by name: a bundled set, a file of arrays or a table, as it was stored."""

from os import PathLike
from typing import Any

from rfm.data.datasets import Missing, RawData, check_varies, stored
from rfm.data.names import Names, listed
from rfm.data.tables import Table, load_table
from rfm.data.text import ENDINGS


def read_arrays(name_or_path: str | PathLike[str], **options: Any) -> RawData:
    """Inputs and targets of `read_data`, which says of all options.

    >>> read_arrays("diabetes").inputs.shape
    (442, 10)
    """
    return RawData(*read_data(name_or_path, **options)[:2])


def read_data(
    name_or_path: str | PathLike[str], *, missing: Missing = "refuse", target: Names | None = None, **columns: Any
) -> Table:
    """A bundled set, an ``.npz`` file or a table, not prepared; names, notes and classes are known of a table only.

    Args:
        name_or_path: as for `load_dataset`, or a .csv, .tsv or .txt file, perhaps packed (.gz).
        missing: refuse inputs with missing values, or leave them NaN for `Scaling` to fill in.
        target: the column of the table to predict, or several.
        columns: all else that `rfm.data.load_table` takes; None and () where nothing is asked for.

    Raises:
        ValueError: the name is not known, the file cannot be read, columns named of what is no table, a target or
            inputs that are the same in all rows.
        FileNotFoundError: there is no such file.

    >>> read_data("digits").inputs.shape
    (1797, 8, 8)
    """
    name = str(name_or_path)
    if name.lower().endswith(ENDINGS):
        table = load_table(name, target or (), **columns, missing=missing)
        check_varies(f"dataset: column {listed(table.target_names)} of {name}", table.targets)
        check_varies(f"dataset: columns {listed(table.input_names)} of {name}", table.inputs)
        return table
    raw = stored(name, "the path of a .csv or .npz file", missing)
    options = {"target": target} | columns
    if asked := [argument for argument, value in options.items() if value not in (None, ())]:
        raise ValueError(
            f"{', '.join(asked)}: only a .csv file names its columns, got {name!r}; leave out what asks for them"
        )
    return Table(*raw)
