"""Columns of tables: which of them are taken, what they hold, what is guessed of them, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rfm

NAN = np.nan


def table(folder: Path, text: str, target: str = "y", **options: Any) -> rfm.data.Table:
    path = folder / "a.csv"
    path.write_text(text.replace("|", "\n"), encoding="utf-8")
    return rfm.data.load_table(path, target, **options)


def refusal(folder: Path, text: str, target: str = "y", **options: Any) -> str:
    with pytest.raises(ValueError, match=r"^[^\n]*$") as caught:
        table(folder, text, target, **options)
    return str(caught.value).replace(str(folder / "a.csv"), "FILE")


NAMED = '"area, m2",rooms,y|1,2,3|4,5,6|'


def test_a_name_that_holds_a_comma_is_the_whole_string_or_quoted_or_one_of_a_list(tmp_path: Path) -> None:
    for inputs in ("area, m2", '"area, m2"', ["area, m2"]):
        assert table(tmp_path, NAMED, inputs=inputs).input_names == ("area, m2",)
    assert table(tmp_path, NAMED, inputs='rooms, "area, m2"').inputs.tolist() == [[2, 1], [5, 4]]
    assert table(tmp_path, NAMED, "area, m2", exclude="rooms").inputs.tolist() == [[3], [6]]
    assert table(tmp_path, NAMED, '"area, m2",y').target_names == ("area, m2", "y")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"inputs": "area, m2, rooms"},
            'inputs: FILE has no column area (did you mean area, m2?), m2; it has "area, m2", rooms, y; put a name '
            "that holds a comma between quotes, as in '\"area, m2\",...'",
        ),
        ({"exclude": "Room"}, 'exclude: FILE has no column Room (did you mean rooms?); it has "area, m2", rooms, y'),
        ({"exclude": ["rooms", "area, m2"]}, 'inputs: none was named; the columns of FILE are "area, m2", rooms, y'),
        ({"exclude": "y"}, "exclude: y is the target; name another column"),
        ({"apart": "y"}, "apart: y is the target; name another column"),
        ({"exclude": "rooms", "inputs": "rooms"}, "exclude: rooms is asked for elsewhere; name it in one place"),
        ({"exclude": "rooms", "apart": "rooms"}, "exclude: rooms is asked for elsewhere; name it in one place"),
        ({"exclude": "rooms,rooms"}, "exclude: rooms is named more than once; name each column once"),
        ({"decimal": "'"}, 'decimal: must be . or , got "\'"'),
        ({"separator": "||"}, "separator: must be one mark, such as ; or tab, got '||'"),
    ],
)
def test_what_is_asked_of_columns_in_vain_is_named(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    assert refusal(tmp_path, NAMED, **options) == message


def test_of_two_thousand_names_the_first_are_listed(tmp_path: Path) -> None:
    names = [f"x{i}" for i in range(2000)]
    text = "|".join([",".join(names), ",".join(["1"] * 2000), ",".join(["2"] * 2000)])
    assert table(tmp_path, text, "x7").inputs.shape == (2, 1999)
    said = refusal(tmp_path, text, "X1999")
    assert said.startswith("target: FILE has no column X1999 (did you mean x1999")
    assert said.endswith("x48, x49, ... (2000 in all)")


def test_text_becomes_a_column_of_zeros_and_ones_for_each_value(tmp_path: Path) -> None:
    found = table(tmp_path, "colour,size,new,y|red,1,True,1| blue ,2,FALSE,2|red,3,true,4|")
    assert found.input_names == ("colour=blue", "colour=red", "size", "new=False", "new=True")
    assert found.inputs.tolist() == [[0, 1, 1, 0, 1], [1, 0, 2, 1, 0], [0, 1, 3, 0, 1]]
    assert found.notes == ("colour (2 values), new (2 values): text, so a column of zeros and ones for each value.",)


def test_a_target_of_text_is_classes_and_one_of_numbers_stays_as_it_is(tmp_path: Path) -> None:
    found = table(tmp_path, "x,y|1,ill|2,well|3,ill|")
    assert (found.targets.tolist(), found.class_names) == ([0, 1, 0], ("ill", "well"))
    assert found.notes == ("y: text, so 2 classes: ill, well.",)
    assert rfm.data.prepare(found.inputs, found.targets).targets.tolist() == [[0.5, -0.5], [-0.5, 0.5], [0.5, -0.5]]
    assert table(tmp_path, "x,y|1,7|2,9|").targets.dtype == float
    assert refusal(tmp_path, "x,y,z|1,ill,2|2,well,4|", "y,z") == (
        "target: y holds text, so classes, which are one target by themselves"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x,y|1,1|12 kg,2|", "columns that are not numbers throughout: x ('12 kg' in line 3); write these cells as"),
        ("x,y|-,1|1,2|2,3|", "columns that are not numbers throughout: x ('-' in line 2); "),
        ("x,y|12 kg,1|13 kg,2|", "columns that are not numbers throughout: x ('12 kg' in line 2); "),
        (
            "x,y|" + "|".join(f"{i} kg,{i}" for i in range(99)),
            "columns that are not numbers throughout: x ('0 kg' ",
        ),
        ("x,y|70 m2,1|80 m2,2|", "columns that are not numbers throughout: x ('70 m2' in line 2); "),
        ("x,y|1_000,1|2,2|", "columns that are not numbers throughout: x ('1_000' in line 2); "),
        ('x,y|"1,234.5",1|"2,000",2|', "columns that are not numbers throughout: x ('1,234.5' in line 2); "),
        ("x,y|crew,1|1,2|2,3|1,4|", "columns that are not numbers throughout: x ('crew' in line 2); "),
        ("x,y|9007199254740992,1|9007199254740993,2|", "whole numbers beyond 2^53, which floating point cannot tell"),
        (
            "x,y|" + "|".join(f"name {i},{i}" for i in range(12)),
            "columns of text with very many different values, as names and remarks have: x (12 of them, such as 'name "
            "0' in line 2); leave them out (--exclude)",
        ),
        ("x,y|" + "|".join(f"a{i % 51},{i}" for i in range(1000)), "columns of text with very many different values"),
        ("x,y|2020-01-31,1|2020-02-01,2|", "columns of dates: x ('2020-01-31' in line 2); use one with --time-order, "),
        ("x,z,y|31.1.2020,1/31/20,1|1.2.2020,2/1/20,2|", "columns of dates: x ('31.1.2020' in line 2), z ('1/31/20'"),
        ("x,y|2020-01-31T10:00:00Z,1|soon,2|", "columns of dates: x ('2020-01-31T10:00:00Z' in line 2)"),
    ],
)
def test_what_is_neither_numbers_nor_categories_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    assert refusal(tmp_path, text).startswith(f"dataset: FILE has {message}")


def test_categories_may_begin_with_a_number(tmp_path: Path) -> None:
    text = "age,floor,y|10-20,1st,1|20-30,2nd,2|10-20,1st,3|"
    assert table(tmp_path, text).input_names == ("age=10-20", "age=20-30", "floor=1st", "floor=2nd")


def test_a_decimal_comma_is_guessed_aloud_where_columns_hold_no_numbers_without(tmp_path: Path) -> None:
    found = table(tmp_path, "area;rooms;price;y|70,5;3;1,234;1|98;4;20;-2,5e1|")
    assert (found.inputs.tolist(), found.targets.tolist()) == ([[70.5, 3, 1.234], [98, 4, 20]], [1, -25])
    assert found.notes == ("area, price, y: read with a decimal comma; --decimal . says otherwise.",)
    assert table(tmp_path, 'x,y|"3,5",1|4,2|').inputs.tolist() == [[3.5], [4]]
    assert table(tmp_path, "x;y|3,5;1|4;2|", decimal=",").notes == ()
    assert "x ('3,5' in line 2)" in refusal(tmp_path, "x;y|3,5;1|4;2|", decimal=".")
    points = "x;y|" + "|".join(f"{i}.5;{i}" for i in range(20))
    assert "not numbers throughout: x ('0.5' in line 2)" in refusal(tmp_path, points, decimal=",")


def test_a_comma_that_may_part_thousands_is_not_guessed(tmp_path: Path) -> None:
    text = "x;y|1,234;1|20;2|"
    assert refusal(tmp_path, text) == (
        "dataset: FILE has numbers with commas that may stand before decimals or between thousands: x ('1,234' in line "
        "2); pass --decimal , for the former, and write none between thousands"
    )
    assert table(tmp_path, text, decimal=",").inputs.tolist() == [[1.234], [20]]
    assert "x ('1,234,567' in line 2)" in refusal(tmp_path, "x;y|1,234,567;1|20;2|")


def test_points_beside_decimal_commas_are_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, "x;z;y|3,5;1.500;1|4;2;2|").startswith(
        "dataset: FILE, read with decimal commas (see --decimal), has columns that are not numbers throughout: z "
        "('1.500' in line 2)"
    )


def test_missing_inputs_stay_missing_where_they_may_be(tmp_path: Path) -> None:
    text = "x,colour,y|1,red,1| n/a ,blue,2|3,,4|?,red,5|"
    found = table(tmp_path, text, missing="mean")
    assert np.array_equal(found.inputs, [[1, 0, 1], [NAN, 1, 0], [3, NAN, NAN], [NAN, 0, 1]], equal_nan=True)
    assert found.notes[-1] == (
        "x (in 2 row(s)), colour (in 1 row(s)): missing there, which counts as the mean of the rows that are trained "
        "on."
    )
    assert "x in 2 row(s) (lines 3, 5), colour in 1 row(s) (line 4)" in refusal(tmp_path, text)
    assert "y in 1 row(s) (line 3)" in refusal(tmp_path, "x,y|1,2|3,|4,5|", missing="mean")


def test_columns_apart_are_handed_over_as_they_are(tmp_path: Path) -> None:
    text = "patient,visit,day,sold,x,y|A3,1,3/1/2020,2020-01-31 14:05,1,1|17,2,31/1/2020,2020-02-01T00:00:00+02:00,2,2|"
    found = table(tmp_path, text, apart="patient,visit,day,sold")
    assert found.input_names == ("x",)
    assert found.apart["patient"].tolist() == ["A3", "17"]
    assert found.apart["visit"].tolist() == [1, 2]
    assert found.apart["day"].astype("M8[D]").astype(str).tolist() == ["2020-01-03", "2020-01-31"]
    assert found.apart["sold"].astype("M8[h]").astype(str).tolist() == ["2020-01-31T14", "2020-01-31T22"]
    assert table(tmp_path, "t,x,y|1,2,3|4,5,6|", apart="t", inputs="t,x").input_names == ("t", "x")
    large = table(tmp_path, "id,x,y|9007199254740992,1,1|9007199254740993,2,2|", apart="id").apart["id"]
    assert len(set(large.tolist())) == 2


@pytest.mark.parametrize(
    ("written", "day"),
    [
        ("2020/2/3", "2020-02-03"),
        ("2020-02", "2020-02-01"),
        ("3.2.20", "2020-02-03"),
        ("3.2.1999", "1999-02-03"),
        ("2/13/69", "1969-02-13"),
        ("13-2-2020", "2020-02-13"),
        ("3 February 2020", "2020-02-03"),
        ("3-feb-20", "2020-02-03"),
        ("Feb 3, 2020 3:04 PM", "2020-02-03"),
    ],
)
def test_the_usual_ways_to_write_a_day_are_dates(tmp_path: Path, written: str, day: str) -> None:
    text = f'x;t;y|1;"{written}";1|2;"{written}";2|'
    assert table(tmp_path, text, apart="t").apart["t"].astype("M8[D]").astype(str).tolist() == [day, day]
    assert "columns of dates: t" in refusal(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("t,x,y|3/1/2020,1,1|1/2/2020,2,2|", "t ('3/1/2020' in line 2: days and months cannot be told apart); write "),
        (
            "t,x,y|2020-02-01,1,1|2020-02-31,2,2|",
            "t ('2020-02-31' in line 3 is no day); write all of them as ",
        ),
        ("t,x,y|a,1,1|,2,2|", "t in 1 row(s) (line 3); drop or fill those rows, since groups, times and splits are "),
        ("t,x,y|1,1,1|,2,2|", "t in 1 row(s) (line 3)"),
        ("t,x,y|2020-02-01,1,1|,2,2|", "t in 1 row(s) (line 3)"),
    ],
)
def test_what_is_apart_is_known_of_every_row(tmp_path: Path, text: str, message: str) -> None:
    assert message in refusal(tmp_path, text, apart="t")
