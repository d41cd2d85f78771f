"""What `rfm minibatch` stores: closed forms that the runs confirm."""

import dataclasses

import numpy as np
import pytest
from rich.console import Console

from experiments import report, store
from experiments.minibatch import run_minibatch
from tests.experiments.small import MINIBATCH
from tests.tolerances import IDENTITY, ORACLE, SAMPLING


@pytest.fixture(scope="module")
def stored(result_of):
    return result_of("minibatch")


@pytest.fixture(scope="module")
def small(stored):
    return {name: variable.values for name, variable in stored.items()}


@pytest.mark.parametrize(("drawn", "exact", "power"), [("risk", "risk", 1), ("gradient_power", "gradient_norm", 2)])
def test_the_mean_of_the_runs_is_the_closed_form(small, drawn, exact, power):
    runs = small[f"simulated_{drawn}"]
    at_steps = np.isin(small["long_step"], small["step"])
    error = runs.std(axis=2) / np.sqrt(MINIBATCH.num_seeds)
    assert np.all(np.abs(runs.mean(axis=2) - small[exact][:, :, at_steps] ** power) <= SAMPLING * error + IDENTITY)


def test_batches_add_a_spread_that_shrinks_with_their_size_and_leave_the_mean(small):
    np.testing.assert_allclose(small["risk"], small["mean_risk"] + small["spread"], rtol=IDENTITY)
    np.testing.assert_allclose(small["mean_risk"][:, 0], small["mean_risk"][:, 1], rtol=ORACLE)
    assert np.all(small["spread"][:, 0] > small["spread"][:, 1])


def test_gradients_vanish_under_erm_alone(small):
    erm, mixup = small["gradient_floor"]
    assert np.all(erm < 1e-9)
    assert np.all(mixup > 1e-3)
    assert np.all(small["largest_stable_step"] > small["step_size"])


def test_the_table_says_what_was_measured(stored, tmp_path):
    file = tmp_path / "minibatch.nc"
    store.write(file, "minibatch", stored, {})
    console = Console(record=True, width=120)
    report.print_result(console, store.read(file))
    text = console.export_text()
    for words in ("40 steps", "60 runs", "ERM, B = 1", "Mixup, B = 3", "stable below", "standard errors off"):
        assert words in text


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_seeds", 1),
        ("num_samples", 1),
        ("alpha", 0.0),
        ("batch_sizes", (3, 3)),
        ("batch_sizes", ()),
        ("batch_sizes", (0, 2)),
        ("step_fraction", 1.0),
        ("num_steps", 0),
    ],
)
def test_a_field_out_of_range_is_named(field, value):
    with pytest.raises(ValueError, match=f"^{field}: "):
        run_minibatch(dataclasses.replace(MINIBATCH, **{field: value}))
