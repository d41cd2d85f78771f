"""What `rfm switch`, `rfm rules` and `rfm penalty-map` store: closed forms that training and other routes confirm."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib import pyplot as plt
from rich.console import Console

import theory
from experiments import report, store
from experiments.penalty_map import run_penalty_map
from experiments.rules import rules_of, run_rules, steps_until
from experiments.switch import run_switch
from experiments.ucurve import run_ucurve
from figures import penalty_map as penalty_map_figure
from figures import switch as switch_figure
from tests.experiments.small import PENALTY_MAP, RULES, SWITCH, UCURVE
from tests.tolerances import IDENTITY, ORACLE, TURNING_RISK

RUNS = {"switch": (run_switch, SWITCH), "rules": (run_rules, RULES), "penalty-map": (run_penalty_map, PENALTY_MAP)}


@pytest.fixture(scope="module")
def stored(result_of):
    return {kind: result_of(kind) for kind in RUNS}


@pytest.fixture(scope="module")
def switch(stored):
    return {name: variable.values for name, variable in stored["switch"].items()}


@pytest.fixture(scope="module")
def rules(stored):
    return {name: variable.values for name, variable in stored["rules"].items()}


@pytest.fixture(scope="module")
def penalties(stored):
    return {name: variable.values for name, variable in stored["penalty-map"].items()}


def test_training_in_two_phases_ends_on_the_curve(switch):
    places = np.searchsorted(switch["switch_step"], switch["simulated_step"])
    exact = switch["switch_step"][np.minimum(places, len(switch["switch_step"]) - 1)] == switch["simulated_step"]
    assert exact.sum() >= 2
    np.testing.assert_allclose(switch["simulated_risk"][exact], switch["risk"][0, places[exact]], rtol=ORACLE)


def test_the_ends_of_the_switch_curve_are_the_single_laws(switch):
    np.testing.assert_allclose(switch["risk"][:, 0], switch["plain_final_risk"], rtol=ORACLE)
    np.testing.assert_allclose(switch["risk"][:, -1], switch["mixup_final_risk"], rtol=ORACLE)
    assert np.all(switch["best_risk"] <= switch["risk"].min(axis=1) * (1 + TURNING_RISK))
    total = switch["clean_risk"] + switch["noise_risk"] + switch["cross_risk"]
    np.testing.assert_allclose(total, switch["risk"], rtol=ORACLE)


def test_noise_is_forgotten_in_every_band_but_the_one_without_modes(switch):
    left = switch["noise_left"]
    assert np.all(np.diff(left[:, :-1], axis=2) <= 0)
    np.testing.assert_allclose(np.diff(left[:, -1], axis=1), 0, atol=IDENTITY)
    assert np.all(left[:, -1] > 0)  # twelve features, six originals
    assert np.any(left[:, 0, -1] < 1e-2 * left[:, 0, 0])


def test_the_training_of_every_rule_lies_on_its_curve(rules):
    for place in range(len(rules["rule"])):
        shared = np.isin(rules["simulated_time"][place], rules["time"][place])
        at = np.searchsorted(rules["time"][place], rules["simulated_time"][place][shared])
        assert shared.sum() >= 2
        drawn, exact = rules["simulated_risk"][place][:, shared], rules["risk"][place][:, at]
        np.testing.assert_allclose(drawn, exact, rtol=ORACLE)
    np.testing.assert_allclose(
        rules["overtraining_penalty"], rules["final_risk"] / rules["turning_risk"], rtol=IDENTITY
    )


def test_all_rules_end_at_the_same_effective_time(rules):
    time = float(rules["step_size"]) * RULES.num_steps
    for place, (name, rule) in enumerate(rules_of(RULES, float(rules["step_size"])).items()):
        steps = int(rules["num_steps"][place])
        assert steps_until(rule, time) == steps
        if name != "cosine schedule":
            assert rule.time(jnp.asarray(float(steps))) >= time > rule.time(jnp.asarray(float(steps - 1)))
        assert np.isclose(rules["time"][place, -1], time, rtol=0.2), name  # a step of momentum is ten long
    assert steps_until(theory.GradientDescent(0.5), 0.5) == 1


def test_penalties_are_at_least_one_and_the_followed_alpha_is_in_both_maps(penalties):
    assert np.all(penalties["overtraining_penalty"] >= 1)
    assert np.all(penalties["penalty_so_far"] >= 1)
    np.testing.assert_array_equal(penalties["penalty_so_far"][:, :, 0], 1)
    followed = penalties["overtraining_penalty"][:, list(PENALTY_MAP.alphas).index(PENALTY_MAP.alpha)]
    # The one minimum is refined off the grid of times, the other is not.
    assert np.all(penalties["penalty_so_far"][:, :, -1] <= followed * (1 + TURNING_RISK))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("switch", ("200 steps in all", "Mixup, then plain", "Switching does not help here", "lies within")),
        ("rules", ("The U-curve by rule", "heavy ball", "averaged descent", "All end at the effective time")),
        ("penalty-map", ("Penalty of training to t = 1e+05", "n = 6", "0.5")),
    ],
)
def test_the_table_says_what_was_measured(stored, tmp_path, kind, words):
    file = tmp_path / "result.nc"
    store.write(file, kind, stored[kind], {})
    console = Console(record=True, width=140)
    report.print_result(console, store.read(file))
    text = console.export_text()
    for word in words:
        assert word in text


@pytest.mark.slow
def test_a_data_sets_own_labels_give_the_switch_without_the_noise():
    result = run_switch(dataclasses.replace(SWITCH, dataset="diabetes", truth="labels", num_seeds=1))
    assert "noise_left" not in result
    assert result["risk"].values.shape[0] == 1


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("switch", "num_samples", 1),
        ("switch", "lam", 2.0),
        ("switch", "step_fraction", 1.0),
        ("switch", "num_steps", 1),
        ("switch", "num_times", 7),
        ("switch", "num_simulated", 1),
        ("rules", "step_fraction", 0.7),
        ("rules", "momentum", 1.0),
        ("rules", "momentum", -0.1),
        ("rules", "ridge", -1.0),
        ("rules", "num_recorded", 1),
        ("penalty-map", "sample_sizes", (6, 4)),
        ("penalty-map", "alphas", (1.0, 0.5)),
        ("penalty-map", "alphas", ()),
        ("penalty-map", "final_time", 0.0),
        ("penalty-map", "pairs_per_sample", 0),
    ],
)
def test_a_field_out_of_range_is_named(kind, field, value):
    run, config = RUNS[kind]
    with pytest.raises(ValueError, match=f"^{field}: "):
        run(dataclasses.replace(config, **{field: value}))


LINEAR = {"teacher_activation": "identity", "feature_activation": "identity", "num_seeds": 2, "num_test": None}


@pytest.mark.slow
def test_rounding_is_stored_and_not_warned_of():
    small = {"feature_weight_std": 1e-3, "teacher_weight_std": 1e-3}
    result = run_switch(dataclasses.replace(SWITCH, num_seeds=1, **small))  # a warning would be an error
    assert np.all(result["best_error"].values > 0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::rfm.PrecisionWarning")
@pytest.mark.parametrize(
    ("config", "run", "draw"),
    [
        (dataclasses.replace(PENALTY_MAP, **LINEAR), run_penalty_map, penalty_map_figure.draw),
        (dataclasses.replace(SWITCH, **LINEAR, num_steps=20000), run_switch, switch_figure.draw),
        (dataclasses.replace(UCURVE, **LINEAR, num_steps=20000), run_ucurve, None),
    ],
    ids=["penalty-map", "switch", "ucurve"],
)
def test_a_truth_that_training_finds_leaves_nothing_to_compare(tmp_path, config, run, draw, request):
    kind, file = request.node.callspec.id, tmp_path / "result.nc"
    store.write(file, kind, run(config), {})
    result = store.read(file)
    for name in result:
        if name.endswith(("_risk", "penalty", "penalty_so_far", "agreement")) and "cross" not in name:
            assert np.all(np.isfinite(result[name])), name
            assert np.all(result[name] >= (1 if "penalty" in name else 0)), name
    console = Console(record=True, width=160)
    report.print_result(console, result)
    text = console.export_text()
    assert "below rounding" in text
    assert "nan" not in text
    if draw is not None:
        plt.close(draw(result))
