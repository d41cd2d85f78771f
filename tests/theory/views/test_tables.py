"""What xarray and pandas get of a curve is what the curve says, and no more."""

import numpy as np
import pytest

import rfm
from tests.theory.views.curves import MINIBATCH, PROBLEM, RISK_CURVES, SWITCH

PARTS = ("clean_risk", "noise_risk", "cross_risk")


@pytest.mark.parametrize("name", RISK_CURVES)
def test_a_data_set_and_a_table_hold_what_the_curve_knows_and_no_more(name: str) -> None:
    curve = RISK_CURVES[name]
    data, frame = curve.to_xarray(), curve.to_pandas()
    known = {"risk", "train_loss", "rounding_error", "penalty_so_far"} | (set(PARTS) if "out" not in name else set())
    assert set(frame.columns) - {"step"} == known
    for column in known:
        assert np.array_equal(data[column], getattr(curve, column))
        assert np.array_equal(frame[column], getattr(curve, column))
    assert np.array_equal(data["time"], curve.times)
    assert np.array_equal(frame.index, curve.times)
    assert ("step" in data.coords) == ("step" in frame) == (curve.steps is not None)
    assert ("risk_at_infinity" in data) == (name != "measured")
    assert data["risk_by_target"].dims == ("time", "target")
    assert data["risk_by_target"].sum("target").equals(data["risk"])


def test_the_modes_of_a_curve_sum_to_its_parts() -> None:
    curve = rfm.closed_form(PROBLEM, times=[0.0, 1.0, 10.0], by_mode=True)
    data = curve.to_xarray()
    assert np.array_equal(data["noise_by_mode"], curve.modes.noise)
    assert np.allclose(data["noise_by_mode"].sum("mode"), data["noise_risk"], rtol=1e-9)
    assert np.array_equal(data["eigenvalue"], curve.modes.eigenvalues)


def test_the_spread_over_batches_is_what_is_added_to_the_mean() -> None:
    data, frame = MINIBATCH.to_xarray(), MINIBATCH.to_pandas()
    assert np.allclose(data["mean_risk"] + data["spread"], data["risk"], rtol=1e-12)
    assert data["spread_by_target"].sum("target").equals(data["spread"])
    assert np.array_equal(frame["risk"], MINIBATCH.risk)
    assert list(frame["step"]) == list(MINIBATCH.steps)


def test_a_switch_curve_runs_along_the_times_of_the_switch() -> None:
    data, frame = SWITCH.to_xarray(), SWITCH.to_pandas()
    assert data["risk"].dims == ("switch_time",)
    assert frame.index.name == "switch_time"
    assert float(data["best_risk"]) == pytest.approx(frame["risk"].min(), rel=1e-3)
    assert np.allclose(data["clean_risk"] + data["noise_risk"] + data["cross_risk"], data["risk"], rtol=1e-9)


@pytest.mark.parametrize("curve", [*RISK_CURVES.values(), MINIBATCH, SWITCH], ids=lambda curve: type(curve).__name__)
def test_every_variable_has_a_unit_and_a_name(curve) -> None:
    for variable in curve.to_xarray().variables.values():
        assert variable.attrs["units"]
        assert variable.attrs["long_name"]
