"""Wrong classes in what the commands store, print and draw, of a data set of classes."""

import dataclasses

import numpy as np
import pytest
from matplotlib import pyplot as plt
from rich.console import Console

from experiments import report, store
from experiments.minibatch import run_minibatch
from experiments.switch import run_switch
from experiments.ucurve import run_ucurve
from figures import minibatch, style, switch, ucurve
from tests.experiments.small import MINIBATCH, SWITCH, UCURVE
from tests.tolerances import EXACT, IDENTITY

CLASSES = {"dataset": "digits", "truth": "labels", "num_test": 60}


def stored(kind, variables, folder):
    path = folder / "result.nc"
    store.write(path, kind, variables, {})
    return store.read(path, kind)


def printed(result):
    console = Console(record=True, width=120)
    report.print_result(console, result)
    return console.export_text()


def labels_of(figure):
    figure.draw_without_rendering()
    labels = [axes.get_ylabel() for axes in figure.axes]
    plt.close(figure)
    return labels


@pytest.mark.slow
def test_the_u_curve_shows_wrong_classes_beside_the_risk(tmp_path):
    config = dataclasses.replace(UCURVE, **CLASSES)
    result = stored("ucurve", run_ucurve(config), tmp_path)
    exact, trained = result["descent_error_rate"].values, result["simulated_error_rate"].values
    np.testing.assert_allclose(trained, exact, rtol=0, atol=EXACT)
    counts = 60 * exact
    np.testing.assert_allclose(counts, np.round(counts), atol=1e-9)
    np.testing.assert_array_equal(result["lowest_error_rate"], exact.min(axis=2))
    np.testing.assert_array_equal(result["final_error_rate"], exact[:, :, -1])
    np.testing.assert_allclose(result["error_rate_penalty"], exact[:, :, -1] - exact.min(axis=2), atol=EXACT)
    times = result["step_time"].values
    where = [[times[row == row.min()][[0, -1]] for row in law] for law in exact]
    spans = np.stack([result["lowest_error_first"].values, result["lowest_error_last"].values], axis=2)
    np.testing.assert_allclose(spans, where, rtol=IDENTITY)
    assert "wrong classes, %" in printed(result)
    style.use()
    assert labels_of(ucurve.draw(result))[-1] == "wrong classes (%)"


@pytest.mark.slow
def test_a_switch_and_batches_show_them_too(tmp_path):
    result = stored("switch", run_switch(dataclasses.replace(SWITCH, **CLASSES)), tmp_path)
    rates = result["error_rate"]
    np.testing.assert_allclose(rates.isel(switch_step=-1), result["mixup_final_error_rate"], rtol=0, atol=EXACT)
    np.testing.assert_allclose(rates.isel(switch_step=0), result["plain_final_error_rate"], rtol=0, atol=EXACT)
    np.testing.assert_array_equal(rates.min("switch_step"), result["best_error_rate"])
    assert "wrong classes (%)" in printed(result)
    style.use()
    assert labels_of(switch.draw(result))[1] == "wrong classes at the end (%)"
    result = stored("minibatch", run_minibatch(dataclasses.replace(MINIBATCH, **CLASSES)), tmp_path)
    rates = result["simulated_error_rate"].values
    assert rates.shape == result["simulated_risk"].shape
    assert np.all((rates >= 0) & (rates <= 1))
    assert rates[:, :, :, -1].mean() < rates[:, :, :, 0].mean()
    assert "wrong classes, %" in printed(result)
    assert labels_of(minibatch.draw(result))[2] == "wrong classes of the runs (%)"


def test_numbers_have_no_wrong_classes(result_of):
    assert not any("error_rate" in name for kind in ("ucurve", "switch", "minibatch") for name in result_of(kind))
