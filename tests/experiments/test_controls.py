"""What `rfm controls` stores: the risks of `rfm.decide.noise_controls`, and training that confirms them."""

import dataclasses

import numpy as np
import pytest
from rich.console import Console

import rfm
from experiments import report, store
from experiments.controls import run_controls
from experiments.draws import Seed
from rfm.decide.controls import CONTROLS, RANDOM
from tests.experiments import small
from tests.tolerances import IDENTITY, ORACLE, SAMPLING


@pytest.fixture(scope="module")
def stored(result_of):
    return result_of("controls")


@pytest.fixture(scope="module")
def found(stored):
    return {name: variable.values for name, variable in stored.items()}


def test_risks_are_those_of_the_library(found):
    config = dataclasses.replace(small.CONTROLS, teacher_weight_std=2.0)
    seed = Seed.draw(config, None, 1, num_samples=5, num_features=8).first(4, 8)
    controls = rfm.decide.noise_controls(
        seed.sample, seed.features, rfm.Mixup(alpha=1.0, pairs=16), population=seed.population(), key=seed.keys.pairs
    )
    for row, name in enumerate(CONTROLS):
        exact = controls.risk(name, times=found["time"])
        np.testing.assert_allclose(found["risk"][1, 1, 0, 1, row], exact, rtol=ORACLE)
    assert tuple(found["control"]) == CONTROLS


def test_penalties_are_final_over_lowest_risks(found):
    np.testing.assert_array_equal(found["turning_risk"], found["risk"].min(axis=-1))
    np.testing.assert_allclose(
        found["overtraining_penalty"], found["final_risk"] / found["turning_risk"], rtol=IDENTITY
    )


def test_training_confirms_what_is_not_drawn_and_the_mean_of_what_is(found):
    for row, name in enumerate(CONTROLS):
        runs, exact = found["simulated_risk"][row], found["exact_risk"][row]
        if name in RANDOM:
            error = runs.std(axis=0, ddof=1) / np.sqrt(len(runs))
            # Of six draws: a Student's t has wider tails than SAMPLING is made for.
            assert np.all(np.abs(runs.mean(axis=0) - exact) <= 2 * SAMPLING * error + IDENTITY)
        else:
            np.testing.assert_allclose(runs[0], exact, rtol=1e-7)
            assert np.all(np.isnan(runs[1:]))


def test_the_table_says_what_over_trains(stored, tmp_path):
    path = tmp_path / "controls.nc"
    store.write(path, "controls", stored, {})
    console = Console(record=True, width=120)
    report.print_result(console, store.read(path))
    text = console.export_text()
    for words in ("Final over lowest test error, all pairs, teacher's weights 1", "its rest", "per original", "n = 5"):
        assert words in text


@pytest.mark.slow
def test_a_data_set_has_the_controls_that_ask_for_no_gaussian_inputs():
    found = run_controls(dataclasses.replace(small.CONTROLS, dataset="diabetes", num_seeds=1))
    assert tuple(found["control"].values) == tuple(one for one in CONTROLS if one not in ("its bias", "its rest"))
    assert np.all(np.isnan(found["weight_std"].values))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"space": "features"}, "space: features that are mixed have no truth"),
        ({"dataset": "digits", "truth": "labels"}, "truth: nobody knows the noise of a data set's own labels"),
        ({"num_draws": 1}, "num_draws: must be a whole number of at least 2"),
        ({"teacher_weight_stds": (2.0, 1.0)}, "teacher_weight_stds: must be a list that strictly ascends"),
    ],
)
def test_what_cannot_be_controlled_is_named(fields, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        run_controls(dataclasses.replace(small.CONTROLS, **fields))
