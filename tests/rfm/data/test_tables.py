"""Tables and arrays from files: what is read, and what is said of what cannot be."""

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rfm

GOOD = "rooms,area,price\n3,70.5,210\n4,98,305\n2,-1e1,150\n"


def written(folder: Path, text: str, encoding: str = "utf-8") -> str:
    path = folder / "a.csv"
    path.write_bytes(text.encode(encoding))
    return str(path)


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(("separator", "told"), [(",", None), (";", None), ("\t", None), ("\t", "tab"), ("|", "|")])
def test_columns_are_told_apart_by_the_usual_marks_and_by_others_that_are_told(
    tmp_path: Path, separator: str, told: str | None, ending: str
) -> None:
    text = GOOD.replace(",", separator).replace("\n", ending)
    table = rfm.data.load_table(written(tmp_path, text), target="price", separator=told)
    assert table.input_names == ("rooms", "area")
    assert table.inputs.tolist() == [[3, 70.5], [4, 98], [2, -10]]
    assert table.targets.tolist() == [210, 305, 150]


def test_targets_and_inputs_are_those_that_are_named_in_their_order(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    table = rfm.data.load_table(path, target="price, rooms")
    assert table.target_names == ("price", "rooms")
    assert table.targets.tolist() == [[210, 3], [305, 4], [150, 2]]
    assert table.inputs.tolist() == [[70.5], [98], [-10]]
    assert rfm.data.load_table(path, "rooms", ["price", "area"]).inputs[0].tolist() == [210, 70.5]


def test_quotes_empty_lines_spaces_and_a_byte_order_mark_are_no_data(tmp_path: Path) -> None:
    text = '"floor, area", price\n\n 1 , "2"\r\n\n3,4\n\n'
    table = rfm.data.load_table(written(tmp_path, text, "utf-8-sig"), target="price")
    assert table.input_names == ("floor, area",)
    assert (table.inputs.tolist(), table.targets.tolist()) == ([[1], [3]], [2, 4])


def test_a_packed_file_is_read_as_what_is_in_it(tmp_path: Path) -> None:
    for name, text in (("a.csv.gz", GOOD), ("A.TSV.GZ", GOOD.replace(",", "\t"))):
        (tmp_path / name).write_bytes(gzip.compress(text.encode()))
        assert rfm.data.read_arrays(tmp_path / name, target="price").targets.tolist() == [210, 305, 150]


@pytest.mark.parametrize(
    "text",
    [
        "x,y,,\n1,2,,\n,,,\n3,4,,\n",
        "x,y\n1,2,\n3,4,\n",
        "x,y,\n1,2\n3,4\n",
        "x,y\n1,2\n3,4,\n",
        "x,y\n\n1,2\n  \n3,4",
        '"x","y"\n"1","2"\n" 3 ","4"\n',
        "# from, a, survey\nx,y\n1,2\n# the rest is of May\n3,4\n",
    ],
)
def test_separators_at_the_end_of_lines_and_lines_without_data_are_passed_over(tmp_path: Path, text: str) -> None:
    table = rfm.data.load_table(written(tmp_path, text), "y")
    assert (table.inputs.tolist(), table.targets.tolist()) == ([[1], [3]], [2, 4])
    assert table.notes == (("2 line(s) that begin with # are passed over.",) if "#" in text else ())


def test_lines_are_those_of_the_file_whatever_stands_between_quotes(tmp_path: Path) -> None:
    text = '# c\n"n","x",y\r\n"a\r\n# b, ""c""",2,3\n\n"c, d",oops,5\n,,\nq,1,1\n'
    with pytest.raises(ValueError, match=r"x \('oops' in line 6\)"):
        rfm.data.load_table(written(tmp_path, text), "y", "x")


CELL = st.text(st.sampled_from('ab,;"# \n\t1.'), max_size=5)


@given(st.lists(st.tuples(CELL, st.floats(allow_nan=False, allow_infinity=False)), min_size=2, max_size=6))
def test_what_csv_writes_is_what_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, float]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "written.csv"
    with path.open("w", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_NONNUMERIC).writerows([("remark", "x", "y"), *((a, b, b) for a, b in rows)])
    table = rfm.data.load_table(path, "y", "x")
    assert table.inputs[:, 0].tolist() == table.targets.tolist() == [b for _, b in rows]


def test_columns_that_are_not_asked_for_may_hold_anything(tmp_path: Path) -> None:
    path = written(tmp_path, "city,area,price\nBonn,1,2\n,3,4\n")
    assert rfm.data.load_table(path, "price", ["area"]).inputs.tolist() == [[1], [3]]


@pytest.mark.parametrize(
    ("text", "target", "message"),
    [
        ("", "y", "dataset: {path} is empty; write the names of the columns in its first line"),
        ("1,2\n3,4\n5,6\n", "y", "dataset: {path} has no header, its first line begins with 1; name the columns there"),
        (
            ",x,y\n0,1,2\n1,3,4\n",
            "y",
            "dataset: column 1 of {path} has no name; name it, or write the file without row numbers "
            "(index=False in pandas)",
        ),
        ("x,y,x\n1,2,3\n4,5,6\n", "y", "dataset: {path} has several columns named x; rename all but one"),
        (
            "x,y\n1,2\n3,4,5\n",
            "y",
            "dataset: line 3 of {path} has 3 cells, the header 2; write cells that hold a ',' between quotes",
        ),
        ("x,y\n1,2\n\n3\n", "y", "dataset: line 4 of {path} has 1 cells, the header 2"),
        ('x,y\n1,2\n"3,4\n5,6\n', "y", "dataset: line 3 of {path} opens a quote that is never closed; close it"),
        ("x,y\n1,2\n", "y", "dataset: {path} has 1 row(s) below its header; at least 2 are needed"),
        ("x,y\n1,2\n3,4\n", "z", "target: {path} has no column z; it has x, y"),
        ("x,y\n1,2\n3,4\n", "", "target: none was named; the columns of {path} are x, y"),
        ("y\n1\n3\n", "y", "inputs: none was named; the columns of {path} are y"),
        (
            "x,w,y\n1,NA,2\n,,4\n5,nan,6\n",
            "y",
            "dataset: {path} has missing values: x in 1 row(s) (line 3), w in 3 row(s) (lines 2, 3, 4); drop or fill "
            "those rows, leave the columns out (--exclude), or have their means filled in (--missing mean)",
        ),
        (
            "x,w,y\n1,3,2\n\nred,3,4\nblue,-,6\n",
            "y",
            "dataset: {path} has columns that are not numbers throughout: x ('red' in line 4), w ('-' in line 5); "
            "write these cells as numbers, without units or marks between thousands, or leave the columns out "
            "(--exclude); where categories are meant, write none as a number",
        ),
        (
            "x,w,y\n1,3,2\n1,-1e999,4\nInfinity,5,6\n",
            "y",
            "dataset: {path} has values that are not finite: x ('Infinity' in line 4), w ('-1e999' in line 3); write "
            "numbers, or leave those rows or columns out (--exclude)",
        ),
        (
            "x,y\n1,2\n3,\n4,NA\n",
            "y",
            "target: {path} has missing values: y in 2 row(s) (lines 3, 4); drop or fill those "
            "rows, or pass another target",
        ),
        (
            "#x,y\n1,2\n3,4\n",
            "y",
            "dataset: {path} has no header, its first line begins with 1; name the columns there; "
            "lines that begin with # are passed over",
        ),
        (
            "x|y\n1|2\n3|4\n",
            "y",
            "target: {path} has no column y; it has x|y; if its cells are parted by another mark, pass "
            "that (--separator)",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, text: str, target: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ValueError, match=r"^[^\n]*$") as caught:
        rfm.data.load_table(path, target)
    assert str(caught.value) == message.format(path=path)


def test_a_target_is_no_input(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^inputs: price is the target; leave it out of the inputs$"):
        rfm.data.load_table(written(tmp_path, GOOD), "price", ["area", "price"])


def test_files_that_are_absent_or_no_text_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"^dataset: there is no file .*b\.csv$"):
        rfm.data.load_table(tmp_path / "b.csv", "y")
    with pytest.raises(ValueError, match=r"^dataset: .* is a folder; pass a file in it$"):
        rfm.data.load_table(tmp_path, "y")


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (
            "größe,y\n1,2\n3,4\n".encode("latin-1"),
            "a.csv",
            "is not in UTF-8: line 1 holds the byte 0xf6, which in Latin-1 ",
        ),
        (GOOD.encode("utf-16"), "a.csv", "is in UTF-16; save it as text in UTF-8"),
        (GOOD.encode("utf-16-le"), "a.csv", "holds zero bytes, so it is no text; save it as text in UTF-8"),
        (b"PK\x03\x04\0\0", "a.csv", "is a spreadsheet, or another archive; save it as text in UTF-8"),
        (GOOD.encode(), "a.csv.gz", "cannot be unpacked (Not a gzipped file"),
        (gzip.compress(GOOD.encode(), mtime=0)[:-9], "a.csv.gz", "cannot be unpacked (Compressed file ended before"),
        (gzip.compress(GOOD.encode(), mtime=0)[:12] + b"??????", "a.csv.gz", "cannot be unpacked ("),
    ],
    ids=["latin-1", "utf-16", "zero bytes", "archive", "not packed", "cut", "broken"],
)
def test_what_is_no_text_in_utf_8_is_said_to_be_what_it_is(
    tmp_path: Path, content: bytes, name: str, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=r"^[^\n]*$") as caught:
        rfm.data.load_table(tmp_path / name, "price")
    assert str(caught.value).startswith(f"dataset: {tmp_path / name} {message}")


def test_arrays_are_read_as_they_are_stored(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 2, 2)), rng.integers(0, 3, size=5)
    np.savez(tmp_path / "a.npz", x=x, y=y)
    raw = rfm.data.read_arrays(str(tmp_path / "a.npz"))
    assert np.array_equal(raw.inputs, x)
    assert np.array_equal(raw.targets, y)
    assert raw.targets.dtype == y.dtype
    assert rfm.data.read_arrays(written(tmp_path, GOOD), target="price").targets.tolist() == [210, 305, 150]


def test_a_path_serves_where_its_name_does(tmp_path: Path) -> None:
    x, y = np.eye(3), np.arange(3.0)
    np.savez(tmp_path / "a.npz", x=x, y=y)
    assert np.array_equal(rfm.data.read_arrays(tmp_path / "a.npz").inputs, x)
    assert rfm.load_dataset(tmp_path / "a.npz").inputs.shape == (3, 3)
    (tmp_path / "houses.csv").write_text(GOOD)
    assert rfm.data.read_arrays(tmp_path / "houses.csv", target="price").targets.tolist() == [210, 305, 150]


X, Y = np.eye(4), np.arange(4.0)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.ones(()), "y": Y}, "x of {path}: is one number; pass 2 rows or more"),
        ({"x": X[:1], "y": Y[:1]}, "x of {path}: has 1 row(s); pass 2 rows or more"),
        ({"x": X, "y": np.ones(())}, "y of {path}: is one number; pass 2 rows or more"),
        ({"x": X[:, :0], "y": Y}, "x of {path}: has shape (4, 0); pass one column or more"),
        ({"x": X, "y": Y[:3]}, "y of {path}: there are 3 for 4 rows of x of {path}; pass one a row"),
        ({"x": np.zeros(4, "f8,i4"), "y": Y}, "x of {path}: holds values of type [('f0'"),
        ({"x": X.astype(str), "y": Y}, "x of {path}: holds values of type <U32; pass an array of numbers"),
        ({"x": X, "y": Y + 1j}, "y of {path}: holds values of type complex128; pass real ones"),
        ({"x": X, "y": Y > 1}, "y of {path}: holds values of type bool; pass numbers"),
        ({"x": X.astype("M8[D]"), "y": Y}, "x of {path}: holds values of type datetime64[D]; pass an array of numbers"),
        (
            {"x": X.astype("m8[D]"), "y": Y},
            "x of {path}: holds values of type timedelta64[D]; pass an array of numbers",
        ),
        ({"x": X, "y": np.asarray([0, 1, 2, np.inf])}, "y of {path}: holds values that are not finite"),
        ({"x": X, "y": np.asarray([1.0, None] * 2)}, "{path} is not a readable .npz file (x or y hold Python objects"),
        ({"x": np.ones((4, 2)), "y": Y}, "x of {path}: all rows are the same, so there is nothing to learn"),
        ({"x": X, "y": np.ones(4)}, "y of {path}: all rows are the same, so there is nothing to learn"),
        ({"a": X}, "{path} is not a readable .npz file (it holds a, neither x and y nor x_train"),
        (
            {"x_train": X, "x_test": X[:, 1:], "y_train": Y, "y_test": Y},
            "{path} is not a readable .npz file (x_train has shape (4, 4) and x_test (4, 3), which cannot be joined)",
        ),
        (
            {"x_train": X, "x_test": X.astype("M8[D]"), "y_train": Y, "y_test": Y},
            "{path} is not a readable .npz file (x_train holds float64 and x_test datetime64[D], which cannot be ",
        ),
    ],
)
def test_what_is_wrong_with_a_file_of_arrays_is_said_in_one_line(
    tmp_path: Path, arrays: dict[str, np.ndarray], message: str
) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)
    for read in (rfm.data.read_arrays, rfm.load_dataset):
        with pytest.raises(ValueError, match=r"^[^\n]*$") as caught:
            read(str(path))
        said = str(caught.value)
        assert said.startswith(f"dataset: {message.format(path=path)}"), said
        assert "allow_pickle" not in said


def test_one_array_under_the_name_of_several_is_found_out(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", X)
    (tmp_path / "a.npy").rename(tmp_path / "a.npz")
    with pytest.raises(
        ValueError, match=r"^dataset: .*a.npz is not a readable .npz file \(it is one array, as numpy.save"
    ):
        rfm.data.read_arrays(str(tmp_path / "a.npz"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rooms,area,price\n3,70,1\n4,98,1\n", "dataset: column price of {path}: all rows are the same"),
        ("rooms,area,price\n3,70,1\n3,70,2\n", "dataset: columns rooms, area of {path}: all rows are the same"),
    ],
)
def test_columns_that_never_vary_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ValueError, match=r"^[^\n]*$") as caught:
        rfm.data.read_arrays(path, target="price")
    assert str(caught.value).startswith(message.format(path=path))


def test_a_column_of_huge_numbers_counts_as_any_other(tmp_path: Path) -> None:
    path = written(tmp_path, "area,price\n1e300,1\n2e300,2\n4e300,3\n")
    assert rfm.data.prepare(*rfm.data.read_arrays(path, target="price")).inputs[:, 0].round(3).tolist() == [
        -1.069,
        -0.267,
        1.336,
    ]


def test_arrays_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^dataset: 'a\.xls' is not known; pass one of diabetes, digits, or the path"):
        rfm.data.read_arrays("a.xls")
    with pytest.raises(
        ValueError, match=r"^target, exclude: only a \.csv file names its columns, got 'diabetes'; leave"
    ):
        rfm.data.read_arrays("diabetes", target="y", inputs=None, exclude="x")
