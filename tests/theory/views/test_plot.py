"""A plot shows the curve's own numbers, with matplotlib as its user has set it up."""

from collections.abc import Iterator

import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.collections import PolyCollection

import theory
from tests.theory.views.curves import CURVES, MINIBATCH, NOWHERE, RISK_CURVES, SWITCH

mpl.use("agg")


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    plt.close("all")


def drawn(axes) -> dict[str, np.ndarray]:
    return {line.get_label(): np.asarray(line.get_ydata()) for line in axes.lines}


@pytest.mark.parametrize("name", [name for name in RISK_CURVES if name != "at the start"])
def test_a_plot_draws_each_time_but_zero(name: str) -> None:
    curve = RISK_CURVES[name]
    axes = curve.plot(label="mine")
    line, later = axes.lines[0], np.asarray(curve.times) > 0
    assert np.array_equal(line.get_xdata(), curve.times[later])
    assert np.array_equal(line.get_ydata(), curve.risk[later])
    assert line.get_label() == "mine"
    assert (line.get_linestyle() == "None") == (name == "measured")  # points for what was measured
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert theory.views.TIME_UNIT in axes.get_xlabel()
    assert theory.views.RISK_UNIT in axes.get_ylabel()


def test_parts_are_drawn_where_they_are_known_and_refused_where_they_are_not() -> None:
    curve = RISK_CURVES["descent"]
    lines = drawn(curve.plot())
    assert np.array_equal(lines["clean"], curve.clean_risk[1:])
    seen = np.isfinite(lines["|cross|"])
    assert np.array_equal(lines["|cross|"][seen], np.abs(curve.cross_risk[1:])[seen])
    assert "clean" not in drawn(curve.plot(parts=False))
    assert "clean" not in drawn(RISK_CURVES["without parts"].plot())
    with pytest.raises(ValueError, match="clean_labels: none were given"):
        RISK_CURVES["without parts"].plot(parts=True)
    with pytest.raises(ValueError, match="parts: a curve over batches"):
        MINIBATCH.plot(parts=True)


def test_a_part_far_below_the_test_error_does_not_stretch_the_axis() -> None:
    curve = RISK_CURVES["flow"]
    tiny = theory.curve.Decomposition(curve.clean_risk, 1e-20 * curve.noise_risk, curve.cross_risk)
    lines = drawn(theory.curve.Curve(**{**vars(curve), "decomposition": tiny}).plot())
    assert np.isnan(lines["noise"]).all()
    assert np.isfinite(lines["clean"]).all()


def test_the_turning_time_is_marked_where_the_curve_turns() -> None:
    curve = RISK_CURVES["flow"]
    turned = theory.curve.Curve(**{**vars(curve), "turning_time": jnp.asarray(3.0)})
    assert turned.plot().lines[-1].get_xdata() == [3.0, 3.0]
    fallen = theory.curve.Curve(**{**vars(curve), "turning_time": curve.times[-1]})
    assert len(fallen.plot().lines) == len(turned.plot().lines) - 1


def test_the_rounding_error_is_a_band_where_it_can_be_seen() -> None:
    curve = RISK_CURVES["flow"]
    assert not curve.plot().findobj(PolyCollection)
    rounded = theory.curve.Curve(**{**vars(curve), "rounding_error": 0.5 * curve.risk})
    (band,) = rounded.plot(parts=False).findobj(PolyCollection)
    heights = np.asarray(band.get_paths()[0].vertices)[:, 1]
    assert heights.max() == pytest.approx(1.5 * float(curve.risk[1:].max()))
    assert heights.min() == pytest.approx(0.5 * float(curve.risk[1:].min()))


def test_the_spread_over_batches_is_a_band_on_the_mean() -> None:
    axes = MINIBATCH.plot()
    (band,) = axes.findobj(PolyCollection)
    assert np.asarray(band.get_paths()[0].vertices)[:, 1].max() == pytest.approx(float(MINIBATCH.risk[1:].max()))
    assert np.array_equal(drawn(axes)["of the mean"], MINIBATCH.mean_risk[1:])


def test_axes_that_hold_something_keep_their_scales() -> None:
    axes = plt.subplots()[1]
    axes.plot([0.0, 1.0], [0.0, 1.0])
    assert RISK_CURVES["flow"].plot(axes) is axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("linear", "linear")
    empty = plt.subplots()[1]
    RISK_CURVES["flow"].plot(ax=empty)
    assert empty.get_xscale() == "log"


def test_nothing_is_set_for_other_plots_and_nothing_is_shown(monkeypatch) -> None:
    monkeypatch.setattr(plt, "show", lambda: pytest.fail("shown"))
    before = dict(mpl.rcParams)
    SWITCH.plot()
    RISK_CURVES["measured"].plot()
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("name", CURVES)
def test_every_curve_can_be_drawn(name: str) -> None:
    CURVES[name].plot().figure.canvas.draw()


def test_of_a_dark_ground_the_test_error_can_be_told() -> None:
    with plt.style.context("dark_background"):
        assert RISK_CURVES["flow"].plot().lines[0].get_color() == "white"
    assert np.isnan(NOWHERE.plot().lines[0].get_ydata()).all()
