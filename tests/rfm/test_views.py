"""What others see of a curve is what the curve says."""

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt

import rfm
import theory
from tests.problems import named

mpl.use("agg")
STEPS = [0, 1, 2, 5, 20, 100]
PROBLEM = named("tall")
BARE = rfm.Problem(PROBLEM.features, PROBLEM.labels, population=PROBLEM.population)
RULE = theory.GradientDescent(0.5)
PARTS = ("clean_risk", "noise_risk", "cross_risk")
CURVES = {
    "flow": rfm.closed_form(PROBLEM, times=[0.0, 1.0, 10.0]),
    "descent": rfm.closed_form(PROBLEM, steps=STEPS, rule=RULE),
    "measured": rfm.simulate(PROBLEM, step_size=0.5, steps=STEPS),
    "without parts": rfm.closed_form(BARE, times=[0.0, 1.0, 10.0]),
}


@pytest.mark.parametrize("name", CURVES)
def test_a_data_set_and_a_table_hold_what_the_curve_knows_and_no_more(name: str) -> None:
    curve = CURVES[name]
    data, frame = rfm.views.as_dataset(curve), rfm.views.as_frame(curve)
    known = {"risk", "train_loss", "rounding_error", "penalty_so_far"} | (set(PARTS) if "out" not in name else set())
    assert set(frame.columns) - {"step"} == known
    for column in known:
        assert np.array_equal(data[column], getattr(curve, column))
        assert np.array_equal(frame[column], getattr(curve, column))
    assert np.array_equal(data["time"], curve.times)
    assert ("step" in data.coords) == ("step" in frame) == (curve.steps is not None)
    assert ("risk_at_infinity" in data) == (name != "measured")
    assert data["risk_by_target"].sum("target").equals(data["risk"])
    assert all(variable.attrs["units"] and variable.attrs["long_name"] for variable in data.variables.values())


@pytest.mark.parametrize("name", CURVES)
def test_a_plot_draws_each_time_but_zero(name: str) -> None:
    curve = CURVES[name]
    axes = rfm.views.plot(curve, label="mine")
    line = axes.lines[0]
    assert np.array_equal(line.get_xdata(), curve.times[1:])
    assert np.array_equal(line.get_ydata(), curve.risk[1:])
    assert line.get_label() == "mine"
    assert (line.get_linestyle() == "None") == (name == "measured")  # points for what was measured
    assert rfm.views.plot(curve, axes=axes) is axes
    plt.close(axes.figure)


def test_parts_are_drawn_where_they_are_known() -> None:
    axes = rfm.views.plot(CURVES["measured"], parts=True)
    drawn = {line.get_label(): np.asarray(line.get_ydata()) for line in axes.lines}
    assert np.allclose(drawn["clean"] + drawn["noise"] + drawn["cross"], drawn["test error"], rtol=1e-9)
    plt.close(axes.figure)
    with pytest.raises(ValueError, match="clean_labels: none were given"):
        rfm.views.plot(CURVES["without parts"], parts=True)
