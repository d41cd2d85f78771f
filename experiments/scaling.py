"""How time and memory grow with the sizes, as `python -m benchmarks.scaling` measures it: its table."""

from rich.console import Console

from experiments.report import empty_table
from experiments.store import Result


def print_scaling(console: Console, result: Result) -> None:
    """The table of `python -m benchmarks.scaling`."""
    table = empty_table("Time and extra peak memory", "", "n", "p", "seconds", "MB")
    for work in result["work"].values:
        for axis in result["axis"].values:
            for point in range(result.sizes["point"]):
                row = result.sel(work=work, axis=axis).isel(point=point)
                sizes = (f"{int(row[name])}" for name in ("num_samples", "num_features"))
                table.add_row(
                    str(work), *sizes, f"{float(row['seconds']):.3g}", f"{float(row['extra_bytes']) / 1e6:.0f}"
                )
            table.add_section()
    console.print(table)
