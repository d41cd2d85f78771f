"""What `rfm noise` and `rfm bound` store: closed forms that drawn pairs confirm, and bounds that hold."""

import dataclasses

import numpy as np
import pytest

from experiments.bound import run_bound
from experiments.noise import run_noise
from tests.experiments.small import BOUND, NOISE
from tests.tolerances import IDENTITY


@pytest.fixture(scope="module")
def noise(result_of):
    return {name: variable.values for name, variable in result_of("noise").items()}


@pytest.fixture(scope="module")
def bound(result_of):
    return {name: variable.values for name, variable in result_of("bound").items()}


def test_drawn_pairs_have_the_noise_power_of_the_closed_form(noise):
    # 4000 pairs of a heavy-tailed square: its relative standard error stays below 5 %, here with four of them.
    np.testing.assert_allclose(noise["sampled_noise_power"], noise["noise_power"], rtol=0.2, atol=IDENTITY)


def test_drawn_hard_labels_are_wrong_as_often_as_the_closed_form_says(noise):
    standard_error = 0.5 / np.sqrt(NOISE.num_pairs)
    np.testing.assert_allclose(noise["sampled_label_error"], noise["label_error"], atol=4 * standard_error)


def test_the_noise_is_symmetric_in_the_ratio_and_gone_at_its_ends(noise):
    np.testing.assert_allclose(noise["sampled_noise_power"][..., [0, -1]], 0, atol=IDENTITY)
    np.testing.assert_allclose(noise["noise_power"], noise["noise_power"][..., ::-1], atol=IDENTITY)


def test_no_drawn_pair_breaks_a_distance_bound(noise):
    drawn = ~np.isnan(noise["largest_noise"])
    assert drawn.any()
    for name in ("smoothness_bound", "lipschitz_bound"):
        assert np.all(noise["largest_noise"][drawn] <= noise[name][drawn])


def test_no_hard_label_bound_is_broken(noise):
    assert np.all(noise["sup_bound"] <= noise["total_variation"] + IDENTITY)
    assert np.all(noise["total_variation"] <= noise["label_error"] + IDENTITY)


def test_the_bounds_on_risk_hold_at_all_times(bound):
    assert np.all(bound["excess"] <= bound["paper_bound"])
    assert np.all(bound["noise_risk"] <= bound["variance_bound"] * (1 + IDENTITY))
    assert np.max(bound["noise_risk"]) > 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("teacher_activation", "cubic"),
        ("teacher_weight_stds", ()),
        ("alpha", 0.0),
        ("num_ratios", 1),
        ("num_classes", 1),
    ],
)
def test_a_field_out_of_range_is_named(field, value):
    with pytest.raises(ValueError, match=field):
        run_noise(dataclasses.replace(NOISE, **{field: value}))


@pytest.mark.parametrize(
    ("field", "value"), [("lam", 1.5), ("num_test", None), ("start_variance", -1.0), ("dataset", "digits")]
)
def test_a_bound_field_out_of_range_is_named(field, value):
    with pytest.raises(ValueError, match=field):
        run_bound(dataclasses.replace(BOUND, **{field: value}))
