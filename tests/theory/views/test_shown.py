"""What a record says of itself: in three lines, as a table with a picture, and never an error."""

import subprocess
import sys
from xml.etree import ElementTree

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import theory
from tests.theory.views.curves import CURVES, MINIBATCH, NOWHERE, RISK_CURVES, SWITCH
from theory.views import Facts, Line, Picture, Shown, number
from theory.views.svg import as_svg

MOST_BYTES = 20_000


@pytest.mark.parametrize("name", CURVES)
def test_a_curve_says_what_it_is_in_three_lines(name: str) -> None:
    lines = str(CURVES[name]).splitlines()
    assert repr(CURVES[name]) == str(CURVES[name])
    assert lines[0].startswith(type(CURVES[name]).__name__)
    assert 2 <= len(lines) <= 3
    assert max(map(len, lines)) <= 120


def test_what_a_curve_says_is_so() -> None:
    curve = RISK_CURVES["descent"]
    said = str(curve)
    assert "6 times, step 0 to 100, t = 0 to 50" in said
    for words, value in (
        ("test error there", curve.turning_risk),
        ("overtraining penalty", curve.overtraining_penalty),
        ("test error at infinity", curve.risk_at_infinity),
    ):
        assert f"{words}: {number(value)}" in said
    assert f"best switch: {number(SWITCH.best_time)}" in str(SWITCH)
    assert f"of which spread {number(MINIBATCH.spread[-1])}" in str(MINIBATCH)


def test_a_curve_that_cannot_be_trusted_says_so() -> None:
    said = {"trusted_until": jnp.asarray(0.0), "infinity_is_resolved": jnp.asarray(False)}
    lines = str(theory.curve.Curve(**{**vars(RISK_CURVES["flow"]), **said}))
    assert "trusted until: none of these times" in lines
    assert ", not resolved" in lines


@pytest.mark.parametrize("name", CURVES)
def test_inside_of_jit_a_curve_says_its_shapes(name: str) -> None:
    said = []

    @eqx.filter_jit
    def look(curve):
        said.append((repr(curve), curve._repr_html_()))
        return curve

    jax.eval_shape(look, CURVES[name])
    ((text, html),) = said
    assert "f64[" in text
    assert html is None


def test_a_known_curve_is_said_in_full_where_others_are_traced() -> None:
    curve, said = RISK_CURVES["descent"], []

    @jax.jit
    def look(x):
        said.append((repr(curve), curve._repr_html_()))
        return x

    look(1.0)
    assert said == [(repr(curve), curve._repr_html_())]


@pytest.mark.parametrize(
    "leaf",
    [None, "a string", jax.ShapeDtypeStruct((3,), float), jnp.ones((2, 3))],
    ids=lambda leaf: type(leaf).__name__,
)
def test_a_tree_that_is_no_curve_any_more_can_still_be_printed(leaf: object) -> None:
    arrays, rest = eqx.partition(RISK_CURVES["flow"], eqx.is_array)
    assert repr(rest)
    assert repr(jax.tree.map(lambda _: leaf, arrays))


@pytest.mark.parametrize("name", CURVES)
def test_a_notebook_gets_a_small_page_that_is_well_formed(name: str) -> None:
    html = CURVES[name]._repr_html_()
    page = ElementTree.fromstring(html)
    assert len(html.encode()) < MOST_BYTES
    assert len(page.findall(".//tr")) >= 2
    drawn = page.findall(".//{http://www.w3.org/2000/svg}svg")
    assert len(drawn) == (0 if name in ("at the start", "nowhere") else 1)


def test_a_long_curve_is_thinned_with_its_ends_kept() -> None:
    times = np.geomspace(1e-3, 1e16, 20_000)
    values = 1 + np.sin(np.log(times)) ** 2
    lines = tuple(Line(str(k), None, values * (k + 1)) for k in range(4))
    lines = (lines[0]._replace(band=(values / 2, 3 * values)), *lines[1:])
    svg = as_svg(Picture(times, lines, "time", "height"))
    assert len(svg) < MOST_BYTES
    short = as_svg(Picture(times[[0, -1]], (lines[0]._replace(values=values[[0, -1]], band=None),), "time", "height"))
    ends = [path.get("d") for path in ElementTree.fromstring(short) if path.get("stroke-width") == "1.6"]
    whole = as_svg(Picture(times, (lines[0]._replace(band=None),), "time", "height"))
    (course,) = [path.get("d") for path in ElementTree.fromstring(whole) if path.get("stroke-width") == "1.6"]
    left, right = (point.split()[0] for point in ends[0][1:].split("L"))
    assert course.startswith(f"M{left} ")
    assert course.split("L")[-1].startswith(f"{right} ")


def test_a_picture_is_broken_where_nothing_is_known() -> None:
    values = np.asarray([1.0, 2.0, np.nan, 3.0, 4.0, -1.0, 5.0])
    svg = as_svg(Picture(np.arange(1.0, 8.0), (Line("a", None, values),), "time", "height"))
    (course,) = [path.get("d") for path in ElementTree.fromstring(svg) if path.get("stroke-width") == "1.6"]
    assert (course.count("M"), course.count("L")) == (3, 2)


@pytest.mark.parametrize("ends", [(1e-8, 1e8), (1.0, 1.0), (0.9, 1.1), (3.0, 3.0), (1e-300, 1e-300), (0.02, 0.5)])
def test_every_axis_has_two_labels_or_more(ends: tuple[float, float]) -> None:
    line = Line("a", None, np.asarray(ends))
    page = ElementTree.fromstring(as_svg(Picture(np.asarray(ends), (line,), "time", "height")))
    labels = [text for text in page.iter("{http://www.w3.org/2000/svg}text") if text.get("text-anchor") == "end"]
    assert 2 <= len(labels) <= 8


def test_what_users_write_is_text_and_no_markup() -> None:
    class Record(Shown):
        def _facts(self) -> Facts:
            return Facts("<b>", {"<script>": "a & b"}, {})

        def _picture(self) -> Picture:
            return Picture(np.ones(1), (Line("<i>", None, np.ones(1)),), "&", "<u>")

    html = Record()._repr_html_()
    assert not [word for word in ("<script>", "<i>", "<u>", "a & b", "<b><b>") if word in html]
    assert ElementTree.fromstring(html).find("b").text == "<b>"


LIGHT = """
import sys
import rfm, theory, jax.numpy as jnp
problem = rfm.Problem(jnp.eye(2), jnp.ones(2), population=rfm.TestSet(jnp.eye(2), jnp.ones(2)))
rfm.closed_form(problem, times=[1.0])._repr_html_()
print(sorted({"matplotlib", "xarray", "pandas", "seaborn"} & set(sys.modules)))
"""


def test_to_say_what_it_is_a_curve_needs_no_library_that_draws() -> None:
    answer = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_a_curve_of_nothing_says_nothing_wrong() -> None:
    assert "turning time: nan" in str(NOWHERE)
