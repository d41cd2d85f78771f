"""A second table like a first one, and DataFrames in the place of files."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import rfm
from rfm.data import arrays_of, load_table

HOUSES = pd.DataFrame(
    {
        "area": [70.5, 98, 60, 55],
        "state": pd.Categorical(["old", "new", "old", None], categories=["old", "new", "ruin"]),
        "heated": [True, False, True, True],
        "price": [210, 305, 150, 140],
    }
)


def refusal(frame: object, *arguments: object, **options: object) -> str:
    with pytest.raises((ValueError, TypeError), match=r"^[^\n]*$") as caught:
        load_table(frame, *arguments, **options)
    return str(caught.value)


def test_a_frame_is_read_as_its_file_is(tmp_path: Path) -> None:
    HOUSES.to_csv(tmp_path / "a.csv", index=False)
    of_frame, of_file = (
        load_table(source, "price", exclude="area", missing="mean") for source in (HOUSES, tmp_path / "a.csv")
    )
    assert of_frame.input_names == of_file.input_names == ("state=new", "state=old", "heated=False", "heated=True")
    assert np.array_equal(of_frame.inputs, of_file.inputs, equal_nan=True)
    assert np.array_equal(of_frame.targets, of_file.targets)
    assert of_frame.notes == of_file.notes


def test_pandas_types_are_what_they_stand_for() -> None:
    frame = pd.DataFrame(
        {
            "whole": pd.array([1, None, 3], dtype="Int64"),
            "flag": pd.array([True, None, False], dtype="boolean"),
            "code": pd.Categorical([7, 8, 7]),
            "mixed": pd.Series([1, 2.5, "3"], dtype=object, index=["a", "b", "c"]),
            "y": [1.0, 2.0, 4.0],
        },
        index=["a", "b", "c"],
    )
    found = load_table(frame, "y", missing="mean")
    assert found.input_names == ("whole", "flag=False", "flag=True", "code=7", "code=8", "mixed")
    assert np.isnan(found.inputs[1, :3]).all()
    assert found.inputs[:, -1].tolist() == [1, 2.5, 3]
    assert "whole in 1 row(s) (row b)" in refusal(frame, "y")
    assert load_table(pd.DataFrame({"x": ["3,5", "4"], "y": [1, 2]}), "y").inputs.tolist() == [[3.5], [4]]
    assert load_table(pd.DataFrame(np.eye(3)), "2").input_names == ("0", "1")


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pd.date_range("2020-01-31", periods=3), "columns of dates: x (of type datetime64["),
        (pd.period_range("2020-01", periods=3, freq="M"), "columns of dates: x ('2020-01' in row 0)"),
        (pd.to_timedelta([1, 2, 3], unit="D"), "columns of dates: x (of type timedelta64["),
        ([1j, 2, 3], "columns that hold neither numbers nor text: x (of type complex128)"),
        ([1, 2, np.inf], "values that are not finite: x ('inf' in row 2)"),
        (pd.Series([1, "a", 3], dtype=object), "columns that are not numbers throughout: x ('a' in row 1)"),
        ([[1], [2], [3]], "columns that hold neither numbers nor text: x (unhashable type: 'list'"),
    ],
)
def test_what_a_frame_may_not_hold_is_named_by_row(column: object, message: str) -> None:
    assert refusal(pd.DataFrame({"x": column, "y": [1, 2, 3]}), "y").startswith(f"dataset: the DataFrame has {message}")


def test_what_is_no_table_and_what_a_table_has_not_is_named() -> None:
    assert refusal(np.eye(2), "y") == "dataset: pass a path or a pandas DataFrame, got a ndarray"
    assert refusal(HOUSES, "price", separator=";") == "separator: a DataFrame has none, got ';'; leave it out"
    assert refusal(HOUSES[["area", "area"]], "area").endswith("has several columns named area; rename all but one")
    assert (
        refusal(HOUSES[["area", "price"]][:1], "price") == "dataset: the DataFrame has 1 row(s); at least 2 are needed"
    )
    with pytest.raises(ValueError, match=r"^dataset: is no table, so that none can be read like it"):
        rfm.data.read_data("diabetes").read_like(HOUSES)


def test_times_apart_are_in_utc() -> None:
    frame = HOUSES.assign(sold=pd.date_range("2020-01-31", periods=4, tz="Europe/Berlin"))
    sold = load_table(frame, "price", "area", apart="sold").apart["sold"]
    assert sold[0] == np.datetime64("2020-01-30T23:00")


TRAIN = "rooms;state;id;sold|3,5;old;a;no|4;new;b;yes|2;old;c;no|"


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text.replace("|", "\n"))
    return path


def test_a_table_to_validate_on_has_the_columns_and_categories_of_the_first(tmp_path: Path) -> None:
    first = load_table(written(tmp_path, "a.csv", TRAIN), "sold", exclude="id")
    second = first.read_like(written(tmp_path, "b.csv", "sold\tremark\tstate\trooms|no\tx\told\t4,25|"))
    assert second.input_names == first.input_names == ("rooms", "state=new", "state=old")
    assert (second.inputs.tolist(), second.targets.tolist()) == ([[4.25, 0, 1]], [0])
    assert (second.class_names, second.layout) == (first.class_names, first.layout)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rooms;sold|3;no|", "inputs: FILE has no column state; it has rooms, sold"),
        ("rooms;state|3;old|", "target: FILE has no column sold; it has rooms, state"),
        (
            "rooms;state;sold|1;old;no|3;ruin;no|",
            "has text that the table which it is read like has not: state ('ruin' in line 3); drop those rows, or ",
        ),
        (
            "rooms;state;sold|3;old;perhaps|",
            "has text that the table which it is read like has not: sold ('perhaps' in line 2); drop those rows, or ",
        ),
        ("rooms;state;sold|many;old;no|", "columns that are not numbers throughout: rooms ('many' in line 2); "),
        ("rooms;state;sold|3.5;old;no|", "columns that are not numbers throughout: rooms ('3.5' in line 2); "),
        ("rooms;state;sold|;old;no|", "dataset: FILE has missing values: rooms in 1 row(s) (line 2); "),
        ("rooms;state;sold|", "dataset: FILE has 0 row(s) below its header; at least 1 are needed"),
    ],
)
def test_what_the_second_table_lacks_or_has_beyond_the_first_is_named(tmp_path: Path, text: str, message: str) -> None:
    first = load_table(written(tmp_path, "a.csv", TRAIN), "sold", exclude="id")
    path = written(tmp_path, "b.csv", text)
    with pytest.raises(ValueError, match=r"^[^\n]*$") as caught:
        first.read_like(path)
    assert message in str(caught.value).replace(str(path), "FILE")


def test_text_where_the_first_table_has_numbers_is_refused(tmp_path: Path) -> None:
    first = load_table(written(tmp_path, "a.csv", "x,y|1,2|3,4|"), "y")
    with pytest.raises(ValueError, match=r"not numbers throughout: x \('red' in line 2\)"):
        first.read_like(written(tmp_path, "b.csv", "x,y|red,2|blue,4|"))


def test_frames_and_arrays_are_told_apart_and_named_alike() -> None:
    numbers = HOUSES.drop(columns="state")
    by_name = arrays_of(numbers, "price")
    for targets in (HOUSES["price"], HOUSES[["price"]], HOUSES["price"].to_numpy()):
        again = arrays_of(numbers.drop(columns="price"), targets)
        assert np.array_equal(again.inputs, by_name.inputs)
        assert np.array_equal(again.targets, by_name.targets)
    assert by_name.targets.dtype.kind == "i"  # whole numbers of arrays stand for classes
    assert arrays_of(numbers, ["price", "area"]).targets.dtype == float
    assert arrays_of(numbers[["area"]], HOUSES["heated"]).class_names == ("False", "True")
    apart = arrays_of(HOUSES, "price", exclude="state", apart="heated").apart["heated"]
    assert apart.tolist() == ["True", "False", "True", "True"]
    x, y = np.eye(3), np.arange(3)
    assert arrays_of(x, y).inputs is x
    assert arrays_of(x, y).targets is y


@pytest.mark.parametrize(
    ("inputs", "targets", "options", "message"),
    [
        (HOUSES, HOUSES["price"], {}, "targets: price is among the inputs too; drop it from them"),
        (HOUSES[["area"]], HOUSES["price"][:3], {}, "targets: there are 3 for 4 rows of inputs; pass one a row"),
        (HOUSES[["area"]], HOUSES["price"][::-1], {}, "targets: have another index than the inputs; pass them in the"),
        (HOUSES[["area"]], np.arange(3), {}, "targets: there are 3 for 4 rows of inputs; pass one a row"),
        (
            np.eye(3),
            np.arange(3),
            {"exclude": "a", "apart": ["b"]},
            "exclude, apart: only a DataFrame names its",
        ),
    ],
)
def test_pairs_that_do_not_fit_are_refused(
    inputs: object, targets: object, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]*$") as caught:
        arrays_of(inputs, targets, **options)
    assert str(caught.value).startswith(message)
