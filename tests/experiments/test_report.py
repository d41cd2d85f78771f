"""The tables, as a terminal of 80 columns shows them."""

import dataclasses

import numpy as np
import pytest
from rich.console import Console

from experiments import report, store
from experiments.registry import EXPERIMENTS
from experiments.report import averaged, folded, written
from tests.experiments.small import BOUND, SMALL, UCURVE


def printed(kind, variables, config, folder):
    file = folder / "result.nc"
    store.write(file, kind, variables, {"configuration": dataclasses.asdict(config)})
    console = Console(record=True, width=80)
    report.print_result(console, store.read(file))
    return console.export_text()


def assert_whole(text):
    """No cell is broken after its ±, or cut."""
    assert not any(line.rstrip().endswith("±") or " ±  " in line or "…" in line for line in text.splitlines())


@pytest.mark.parametrize("kind", EXPERIMENTS)
def test_a_table_fits_into_80_columns(kind, result_of, tmp_path):
    text = printed(kind, result_of(kind), SMALL[kind], tmp_path)
    assert "±" in text or kind == "bound"  # which shows medians
    assert_whole(text)


def test_bounds_say_that_they_are_upper_ones(result_of, tmp_path):
    assert printed("bound", result_of("bound"), BOUND, tmp_path).count("its upper bound") == 2


def test_the_turn_of_the_mean_is_that_of_the_figure(result_of, tmp_path):
    variables = result_of("ucurve")
    text = printed("ucurve", variables, UCURVE, tmp_path)
    (line,) = (line for line in text.splitlines() if line.startswith("turn of the mean  "))
    lowest = variables["time"].values[np.argmin(variables["flow_risk"].values.mean(axis=1), axis=1)]
    assert line.split()[4:] == [f"{time:.3g}" for time in lowest]


STOPPED = [0.4, 0.5]


@pytest.mark.parametrize(
    ("best", "plain", "words"),
    [
        ([0.2, 0.26], 30, "30 to 30), which lowers the error of Mixup stopped at its best by 49.0 ± 1.0 %."),
        ([0.42, 0.55], 30, "no lower than that of Mixup stopped at its best."),
        ([0.3, 0.499], 30, "no lower than that of Mixup stopped at its best by two standard errors (13 ± 12 %)."),
        ([0.4, 0.5], 0, "no lower than that of Mixup stopped at its best."),
        ([0.2, 0.26], 0, "no lower than that of Mixup stopped at its best."),
        ([1e-20, 1e-20], 30, "30 to 30); the error is then below rounding."),
    ],
)
def test_a_switch_that_does_not_help_is_not_said_to_lower_the_error(best, plain, words, result_of, tmp_path):
    variables = dict(result_of("switch"))
    steps = int(variables["num_steps"].values) - plain
    for name, values in {"best_risk": best, "mixup_turning_risk": STOPPED, "best_step": [steps, steps]}.items():
        variables[name] = variables[name]._replace(values=np.asarray(values, float))
    text = " ".join(printed("switch", variables, SMALL["switch"], tmp_path).split())
    assert words in text
    assert ("does not help here" in text) == words.startswith("no lower")
    assert "last 0 steps" not in text
    assert "by -" not in text


def test_estimates_beside_one_another_have_one_form():
    assert written([(0.0198, 0.0025), (0.1991, 0.0301), None]) == [
        "0.0198 ± 0.0025", "0.199 ± 0.030", "below rounding",
    ]  # fmt: skip
    assert written([(2.0, 0.1), (3e-9, 1e-10)]) == ["2.00e+00 ± 1.00e-01", "3.00e-09 ± 1.00e-10"]
    assert written([(2.5, float("nan")), (0.125, 0.0)]) == ["2.50", "0.125"]
    assert written([(0.0251, float("nan")), (0.012, 0.0), (0.0, 0.0)]) == ["0.0251", "0.0120", "0"]


def test_numbers_below_rounding_are_said_to_be(result_of, tmp_path):
    text = printed("minibatch", result_of("minibatch"), SMALL["minibatch"], tmp_path)
    (line,) = (line for line in text.splitlines() if line.startswith("  at infinity"))
    assert "below rounding" in line
    assert "e-" not in line
    variables = dict(result_of("noise"))
    power = variables["noise_power"]
    variables["noise_power"] = power._replace(values=np.where([[[True]], [[False]]], 7.3e-17, power.values))
    text = printed("noise", variables, SMALL["noise"], tmp_path)
    assert "below rounding" in text
    assert "e-17" not in text


def test_errors_stand_beside_their_means_where_they_fit(result_of, tmp_path):
    for kind in ("minibatch", "penalty-map"):
        text = printed(kind, result_of(kind), SMALL[kind], tmp_path)
        assert not any(line.strip().startswith("±") for line in text.splitlines())
    rows = [["a", *["0.123 ± 0.001"] * 6]]
    console = Console(record=True, width=80)
    console.print(folded(console, "six", ["", *"123456"], rows))
    lines = console.export_text().splitlines()
    assert [line.split() for line in lines[-2:]] == [["a", *["0.123"] * 6], ["±", "0.001"] * 6]


def test_the_note_of_one_seed_says_what_the_two_turns_are(result_of, tmp_path):
    whole = result_of("ucurve")
    first = {
        name: variable._replace(values=variable.values.take([0], axis=variable.dims.index("seed")))
        if "seed" in variable.dims
        else variable
        for name, variable in whole.items()
    }
    text = " ".join(printed("ucurve", first, UCURVE, tmp_path).split())
    assert "turn of the mean" not in text
    assert "turn of the flow: time at which gradient flow is lowest" in text
    assert "turning time: of gradient descent, within its steps." in text


def test_a_kink_has_no_bound_by_curvature_and_the_table_says_so(result_of, tmp_path):
    variables = dict(result_of("noise"))
    words = "upper bound by curvature does not exist"
    assert words not in printed("noise", variables, SMALL["noise"], tmp_path)
    bound = variables["smoothness_bound"]
    variables["smoothness_bound"] = bound._replace(values=np.full_like(bound.values, np.inf))
    assert words in printed("noise", variables, SMALL["noise"], tmp_path)


def test_one_seed_has_no_standard_error():
    assert (averaged(1), averaged(3), averaged(1, "teacher")) == (
        "one seed",
        "mean ± standard error of 3 seeds",
        "one teacher",
    )
