"""What the runs compute: closed form and simulation agree, and nothing but the configuration decides the numbers."""

import dataclasses

import numpy as np
import pytest

import rfm
from experiments.configs import UCurveConfig
from experiments.draws import Seed
from experiments.ucurve import laws, run_ucurve
from tests.experiments.small import UCURVE
from tests.tolerances import IDENTITY, ORACLE


@pytest.fixture(scope="module")
def small(result_of):
    return result_of("ucurve")


def test_simulation_lies_on_the_closed_form(small):
    assert np.max(small["agreement"].values) < ORACLE
    for part in ("risk", "train_loss", "clean", "noise", "cross"):
        np.testing.assert_allclose(
            small[f"simulated_{part}"].values, small[f"descent_{part}"].values, rtol=ORACLE, atol=ORACLE
        )


def test_the_parts_make_the_whole(small):
    parts = sum(small[f"flow_{part}"].values for part in ("clean", "noise", "cross"))
    np.testing.assert_allclose(parts, small["flow_risk"].values, rtol=IDENTITY)


def test_erm_without_label_noise_has_no_noise_part(small):
    assert np.all(small["flow_noise"].values[0] == 0)
    assert np.all(small["flow_noise"].values[1:, :, -1] > 0)


def test_the_modes_sum_to_the_noise_risk_of_the_first_seed(small):
    noise, at_end = np.nansum(small["mode_noise"].values[:, 2], axis=1), small["mode_time"].values[:, 2]
    np.testing.assert_allclose(at_end, small["step_time"].values[-1], rtol=IDENTITY)
    # The modes are those of gradient flow, which after 200 steps differs from descent by far less than this.
    np.testing.assert_allclose(noise, small["descent_noise"].values[:, 0, -1], rtol=1e-2)


def test_every_value_of_a_variable_has_its_axis(small):
    sizes = {name: len(variable.values) for name, variable in small.items() if variable.dims == (name,)}
    for dims, values, units, long_name in small.values():
        assert values.shape == tuple(sizes.get(dim, values.shape[axis]) for axis, dim in enumerate(dims))
        assert units
        assert long_name


@pytest.mark.slow
def test_the_numbers_do_not_depend_on_the_number_of_workers(small):
    again = run_ucurve(UCURVE, num_workers=1)
    for name, variable in run_ucurve(UCURVE, num_workers=2).items():
        np.testing.assert_array_equal(variable.values, again[name].values)
        np.testing.assert_array_equal(variable.values, small[name].values)


def test_a_seed_is_the_same_in_a_larger_ensemble():
    draws = [Seed.draw(dataclasses.replace(UCURVE, num_seeds=count), None, 1, num_samples=6, num_features=12)
             for count in (2, 5)]  # fmt: skip
    np.testing.assert_array_equal(draws[0].sample.inputs, draws[1].sample.inputs)


def test_seeds_share_the_truth_and_nothing_else():
    first, second = (Seed.draw(UCURVE, None, index, num_samples=6, num_features=12) for index in (0, 1))
    np.testing.assert_array_equal(first.task.truth.weights, second.task.truth.weights)
    assert not np.any(np.asarray(first.sample.inputs) == np.asarray(second.sample.inputs))
    assert not np.any(np.asarray(first.features.weights) == np.asarray(second.features.weights))


@pytest.mark.slow
def test_labels_of_a_data_set_give_the_total_without_the_parts():
    config = dataclasses.replace(UCURVE, dataset="diabetes", truth="labels", num_seeds=1)
    variables = run_ucurve(config)
    assert np.max(variables["agreement"].values) < ORACLE
    assert not {"flow_clean", "simulated_noise", "mode_noise"} & set(variables)


@pytest.mark.slow
def test_a_kernel_truth_of_a_data_set_gives_the_parts():
    variables = run_ucurve(dataclasses.replace(UCURVE, dataset="diabetes", truth="kernel", num_seeds=1))
    assert np.max(variables["agreement"].values) < ORACLE
    assert {"flow_clean", "simulated_noise", "mode_noise"} <= set(variables)


def test_penalties_are_at_least_one_and_final_over_turning(result_of):
    variables = result_of("sample-size")
    penalty = variables["overtraining_penalty"].values
    assert penalty.shape == (2, 2, 2)
    assert np.all(penalty >= 1)
    np.testing.assert_allclose(
        penalty, variables["final_risk"].values / variables["turning_risk"].values, rtol=IDENTITY
    )
    assert variables["num_features"].values.tolist() == [[5, 5], [12, 18]]


@pytest.mark.slow
def test_by_default_mixup_helps_early_then_hurts():
    """One seed of each of 16 teachers; docs/tour.md has the figures of 100 seeds."""
    early, late, turned = [], [], []
    for teacher in range(1000, 1016):
        config = UCurveConfig(seed=teacher)
        seed = Seed.draw(config, None, 0, num_samples=config.num_samples, num_features=config.num_features)
        population = seed.population()
        curves = [
            rfm.closed_form(seed.problem(law, population), times=np.geomspace(1, SIMULATED * 300, 60))
            for law in laws(config)
        ]
        simulated = curves[0].times <= SIMULATED
        bottom = [curve.risk[simulated].min() for curve in curves]
        early.append([float(low / bottom[0]) for low in bottom[1:]])
        late.append([float(curve.final_risk / curves[0].final_risk) for curve in curves[1:]])
        turned.append([float(c.risk[simulated][-1] / low) for c, low in zip(curves[1:], bottom[1:], strict=True)])
    assert np.all(np.mean(early, axis=0) < 0.85)
    assert sorted(np.mean(late, axis=0))[0] > 1
    assert sorted(np.mean(late, axis=0))[1] > 1.5
    assert np.all(np.mean(turned, axis=0) > 1.1)  # the rise begins where real training sees it


SIMULATED = 1.9e5
"""About where the simulation of `rfm ucurve` ends by default."""
