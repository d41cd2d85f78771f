"""The command line: what it writes, and what it says about bad input."""

import dataclasses
import re
import subprocess
import sys

import numpy as np
import pytest

from experiments import cli, store
from experiments.configs import CURVED
from experiments.data_configs import AdviseConfig
from experiments.fields import TaskConfig
from experiments.registry import EXPERIMENTS
from tests.experiments.small import NOISE, SAMPLE_SIZE, UCURVE, flags, without_cost

PRINTED = 0.1  # two digits of the standard error, which two seeds make large
HEAVY = ("jax", "numpy", "scipy", "xarray", "matplotlib", "rfm", "theory")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder in which both experiments have been run, with their figures."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert cli.main(["ucurve", *flags(UCURVE)]) == 0
        assert cli.main(["sample-size", *flags(SAMPLE_SIZE)]) == 0
    return folder


@pytest.mark.parametrize("arguments", [["--help"], ["ucurve", "--help"], ["sample-size", "--help"], ["--version"]])
def test_help_is_printed_without_importing_what_computes(arguments):
    code = (
        "import sys\nfrom experiments.cli import main\n"
        f"try: main({arguments})\nexcept SystemExit as end: assert not end.code\n"
        f"sys.exit(' '.join(set({HEAVY}) & set(sys.modules)))"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert finished.stderr.strip() == ""
    assert finished.stdout


@pytest.mark.parametrize("kind", EXPERIMENTS)
def test_every_field_is_a_flag_with_help(kind, capsys):
    with pytest.raises(SystemExit):
        cli.main([kind, "--help"])
    printed = capsys.readouterr().out
    assert EXPERIMENTS[kind].about in " ".join(printed.split())
    for field in EXPERIMENTS[kind].config.__dataclass_fields__:
        assert f"--{field.replace('_', '-')}" in printed


def test_both_experiments_leave_a_result_and_a_figure(folder):
    for name in ("ucurve", "sample_size"):
        assert (folder / "results" / f"{name}.nc").is_file()
        for ending in (".pdf", ".png"):
            assert (folder / "figures" / f"{name}{ending}").stat().st_size > 1000


def test_a_result_knows_its_configuration_command_and_versions(folder):
    provenance = store.provenance_of(store.read(folder / "results" / "ucurve.nc", "ucurve"))
    assert provenance["configuration"]["num_samples"] == 6
    assert provenance["command"].startswith("rfm ucurve --num-seeds 2 ")
    assert {"jax", "numpy", "rfm"} <= set(provenance["versions"])
    assert provenance["seeds"] == {"seed": 0, "folded_in": [0, 1]}


@pytest.mark.parametrize(
    ("name", "words"), [("ucurve", ("turning risk", "penalty", "agreement")), ("sample_size", ("growing p", "penalty"))]
)
def test_show_prints_the_table_the_configuration_and_the_origin(folder, capsys, name, words):
    assert cli.main(["show", str(folder / "results" / f"{name}.nc")]) == 0
    printed = capsys.readouterr().out
    for word in (*words, "num_seeds = 2", "command:", "versions:"):
        assert word in printed


def test_flags_override_a_toml_file(tmp_path):
    (tmp_path / "a.toml").write_text("lam = 0.25\nnum_samples = 7\n")
    command = cli._parse(["ucurve", "--config", str(tmp_path / "a.toml"), "--num-samples", "9"])
    assert (command.run.lam, command.run.num_samples, command.run.alpha) == (0.25, 9, 1.0)


def test_flags_override_a_stored_result(folder):
    command = cli._parse(["ucurve", f"--config={folder / 'results' / 'ucurve.nc'}", "--lam", "0.1"])
    assert (command.run.lam, command.run.num_features) == (0.1, 12)
    command = cli._parse(["sample-size", "--config", str(folder / "results" / "sample_size.nc")])
    assert command.run.sample_sizes == (4, 6)


def test_flags_override_a_setting_with_a_name():
    command = cli._parse(["ucurve", "--config", "curved", "--num-samples", "9"])
    assert command.run == dataclasses.replace(CURVED, num_samples=9)
    assert type(CURVED)() != CURVED
    with pytest.raises(ValueError, match=r"config: there is no file curved$"):
        cli._parse(["bound", "--config", "curved"])  # the name is known to its own experiment only


def test_the_table_compares_each_mixup_with_erm_seed_by_seed(folder, capsys):
    path = folder / "results" / "ucurve.nc"
    cli.main(["show", str(path)])
    lines = capsys.readouterr().out.splitlines()
    result = store.read(path, "ucurve")
    for label, name in (("turning", "turning_risk"), ("final", "final_risk"), ("late", "flow_final_risk")):
        (line,) = [line for line in lines if line.startswith(f"{label} / ERM's")]
        erm, *mixup = result[name].values
        printed = [float(cell.split("±")[0]) for cell in re.split(r"  +", line.strip())[1:]]
        np.testing.assert_allclose(printed, [np.mean(law / erm) for law in mixup], rtol=PRINTED)


def _readable(value):
    return " ".join(value) if isinstance(value, list) else ""


UCURVE_ERRORS = [
    (["--lam", "1.5"], "lam: must lie in [0, 1], got 1.5"),
    (["--lam", "nan"], "lam: "),
    (["--alpha", "0"], "alpha: must lie between 0.0001 and 1000, got 0.0; for (almost) no mixing pass ERM()"),
    (["--alpha", "-1"], "alpha: must lie between 0.0001 and 1000, got -1.0; 1 makes all"),
    (["--num-samples", "1"], "num_samples: must be a whole number of at least 2, got 1"),
    (["--num-features", "0"], "num_features: must be a whole number of at least 1, got 0"),
    (["--num-pairs", "0"], "num_pairs: must be a whole number of at least 1, got 0"),
    (["--num-steps", "0"], "num_steps: "),
    (["--num-seeds", "0"], "num_seeds: "),
    (["--seed", "-1"], "seed: must be a whole number of at least 0, got -1"),
    (["--label-noise-std", "-0.1"], "label_noise_std: must be a finite number that is not negative, got -0.1"),
    (["--step-fraction", "1"], "step_fraction: 1 of the largest stable step size, 2/mu_max = "),
    (["--step-fraction", "-1"], "step_fraction: must be a positive number, got -1"),
    (
        ["--beyond-simulation", "0.5"],
        "beyond_simulation: must be at least 1, got 0.5; gradient flow covers the simulated time",
    ),
    (["--feature-activation", "step"], "feature_activation: 'step' is not known; pass one of "),
    (["--teacher-activation", "step"], "teacher_activation: 'step' is not known; pass one of "),
    (["--num-workers", "0"], "num_workers: must be a whole number of at least 1, got 0"),
    (["--output", "result.txt"], "output: 'result.txt' must end in .nc"),
    (["--seed", "99999999999999999999999"], "seed: must be at most 2^63 - 1 = 9223372036854775807, got 9999999999999"),
    (
        ["--feature-weight-std", "0"],
        "feature_weight_std: must be at least 1e-06, got 0; with weights of zero all featu",
    ),
    (["--feature-weight-std", "1e200"], "feature_weight_std: must be at most 1000, got 1e+200"),
    (["--feature-bias-std", "1e200"], "feature_bias_std: must be at most 1000, got 1e+200"),
    (["--teacher-weight-std", "0"], "teacher_weight_std: must be at least 1e-06, got 0; with weights of zero the teac"),
    (
        ["--teacher-activation", "exp", "--teacher-weight-std", "999"],
        "teacher_weight_std: 999 is too large for teacher_",
    ),
    (
        ["--feature-activation", "exp", "--feature-weight-std", "999"],
        "feature_weight_std: 999 is too large for feature_",
    ),
    (["--label-noise-std", "1e200"], "label_noise_std: must be at most 1e+06, got 1e+200"),
    (["--step-fraction", "1e-300"], "step_fraction: must be at least 1e-06, got 1e-300; with smaller steps nothing is"),
    (["--beyond-simulation", "1e300"], "beyond_simulation: must lie between 1e-30 and 1e+30, got 1e+300"),
    (["--num-steps", "99999999999999999999"], "num_steps: must be at most 2^53 = 9007199254740992, got 99999999999"),
    (["--num-seeds", "1000000000000"], "num_seeds: must be at most 1e+06, got 1e+12"),
    (
        ["--num-samples", "100000"],
        "num_samples, num_pairs, num_features, num_seeds, num_times: these sizes need at leas",
    ),
    (["--truth", "labels"], "truth: is ignored without --dataset; leave one of them out"),
    (["--config", "none.toml"], "config: there is no file none.toml; the settings of ucurve with a name are: curved"),
]


@pytest.mark.parametrize(("arguments", "message"), UCURVE_ERRORS, ids=_readable)
def test_bad_input_gets_one_line_that_names_it(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["ucurve", *flags(UCURVE), *arguments]) == cli.BAD_INPUT
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"rfm: error: {message}")
    assert printed.err.count("\n") == 1
    assert not list(tmp_path.rglob("*.nc"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sample-sizes", "1", "5"], "sample_sizes: must be a whole number of at least 2, got 1"),
        (["--sample-sizes", "6", "4"], "sample_sizes: must be a list that strictly ascends, got [6, 4]"),
        (["--alpha", "0"], "alpha: must lie between 0.0001 and 1000, got 0.0; for (almost) no mixing pass ERM()"),
        (["--final-time", "-1"], "final_time: must be a positive number, got -1"),
    ],
    ids=_readable,
)
def test_bad_input_of_the_sample_size(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["sample-size", *flags(SAMPLE_SIZE), *arguments]) == cli.BAD_INPUT
    assert capsys.readouterr().err.startswith(f"rfm: error: {message}")


OTHER_ERRORS = [
    (["ucurve", "--dataset", "iris"], "dataset: 'iris' is not known; pass one of diabetes, digits, or the path of an"),
    (["ucurve", "--dataset", "none.npz"], "dataset: there is no file none.npz"),
    (["ucurve", "--dataset", "diabetes", "--num-samples", "420"],
     "num_samples: 420 asked for, but 'diabetes' has 442 rows"),
    (["ucurve", "--dataset", "diabetes", "--num-test", "1000"], "num_test: 1000 of 442 rows"),
    (["rules", "--ridge", "1e9", "--num-samples", "4", "--num-features", "5", "--num-seeds", "1"],
     "ridge: 1e+09 makes steps of step_fraction 0.6 diverge; pass less than 2 / step_size - mu_max = "),
    (["rules", "--step-fraction", "1e-300"], "step_fraction: must be at least 1e-06, got 1e-300"),
    (["rules", "--num-samples", "100000"], "num_samples, num_features, num_seeds, num_times: these sizes need at"),
    (["switch", "--step-fraction", "1e-300"], "step_fraction: must be at least 1e-06, got 1e-300"),
    (["minibatch", "--step-fraction", "1e-300"], "step_fraction: must be at least 1e-06, got 1e-300"),
    (["bound", "--final-time", "1e300"], "final_time: must lie between 1e-30 and 1e+30, got 1e+300"),
    (["bound", "--start-variance", "1e300"], "start_variance: must be at most 1e+06, got 1e+300"),
    (["sample-size", "--final-time", "1e-300"], "final_time: must lie between 1e-30 and 1e+30, got 1e-300"),
    (["penalty-map", "--alphas", "1"], "alphas: a map has at least 2 of them, got [1.0]; pass more"),
    (["penalty-map", "--sample-sizes", "8"], "sample_sizes: a map has at least 2 of them, got [8]; pass more"),
    (["noise", "--teacher-weight-stds", "1e200"], "teacher_weight_stds: must be at most 1000, got 1e+200"),
    (["noise", "--sharpness", "1e300"], "sharpness: must be at most 1e+06, got 1e+300"),
    (["noise", "--num-pairs", "99999999999"], "num_seeds, num_pairs, input_dim, num_hidden, num_classes, num_ratios, "),
    (["advise", "--budget", "1e-300"], "budget: must lie between 1e-30 and 1e+30, got 1e-300"),
    (["advise", "--budget", "1e-9", "--num-features", "5", "--num-folds", "2"],
     "budget: 1e-09 is over before the first step, of "),
    (["advise", "diabetes", "--dataset", "digits"], "dataset: 'digits' is ignored beside 'diabetes'; leave one"),
    (["advise", "--features", "raw", "--num-features", "9"], "num_features: is ignored beside --features raw, which "),
    (["advise", "--num-held-out", "9", "--num-folds", "3"], "num_folds: is ignored beside --num-held-out, which takes"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), OTHER_ERRORS, ids=_readable)
def test_bad_input_of_the_other_experiments(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main([*arguments, "--figure", "None"]) == cli.BAD_INPUT
    said = without_cost(capsys.readouterr().err)
    assert said.startswith(f"rfm: error: {message}")
    assert said.count("\n") == 1
    assert not list(tmp_path.rglob("*.nc"))


DAYS = np.arange(12.0)
ARRAYS = [
    ("x", DAYS + 1j, "complex128; pass real ones, such as real and imaginary parts side by side"),
    ("y", DAYS + 1j, "complex128; pass real ones, such as real and imaginary parts side by side"),
    ("x", np.zeros(12, "f8,i4"), "[('f0', '<f8'), ('f1', '<i4')]; pass an array of numbers"),
    ("y", DAYS > 3, "bool; pass numbers (values.astype(float)), or whole numbers where classes are meant "),
    ("y", DAYS.astype(str), "<U32; pass an array of numbers"),
    ("x", DAYS.astype("M8[D]"), "datetime64[D]; pass an array of numbers"),
    ("x", DAYS.astype("m8[D]"), "timedelta64[D]; pass an array of numbers"),
]


@pytest.mark.parametrize("arguments", [["advise", "a.npz"], ["ucurve", "--dataset", "a.npz"]], ids=_readable)
@pytest.mark.parametrize(("name", "array", "message"), ARRAYS, ids=_readable)
def test_a_file_that_holds_no_real_numbers_is_bad_input(name, array, message, arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.savez("a.npz", **({"x": DAYS, "y": DAYS} | {name: array}))
    assert cli.main([*arguments, "--figure", "None"]) == cli.BAD_INPUT
    printed = capsys.readouterr().err
    assert printed.startswith(f"rfm: error: dataset: {name} of a.npz: holds values of type {message}")
    assert printed.count("\n") == 1


TEACHERS = {"num-hidden": "7", "teacher-activation": "relu", "teacher-weight-std": "2", "input-dim": "7"}
WITH_TASKS = [kind for kind, experiment in EXPERIMENTS.items() if issubclass(experiment.config, TaskConfig)]


@pytest.mark.parametrize("truth", [[], ["--truth", "labels"], ["--truth", "kernel"]], ids=_readable)
@pytest.mark.parametrize("flag", TEACHERS)
@pytest.mark.parametrize("kind", WITH_TASKS)
def test_a_teacher_beside_a_data_set_is_refused(kind, flag, truth, capsys):
    arguments = [kind, "--dataset", "diabetes", *truth, f"--{flag}", TEACHERS[flag]]
    assert cli.main(arguments) == cli.BAD_INPUT
    printed = capsys.readouterr().err
    assert printed.startswith(f"rfm: error: {flag.replace('-', '_')}: is ignored beside --dataset, ")
    assert printed.count("\n") == 1


def test_a_data_set_takes_the_place_of_a_teacher_that_nobody_asked_for(tmp_path):
    store.write(tmp_path / "a.nc", "ucurve", {}, {"configuration": dataclasses.asdict(UCURVE)})
    for source in ("curved", str(tmp_path / "a.nc")):
        assert cli._parse(["ucurve", "--config", source, "--dataset", "diabetes"]).run.dataset == "diabetes"


def test_what_a_toml_file_says_in_vain_is_refused_and_what_a_result_holds_is_not(tmp_path, capsys):
    (tmp_path / "a.toml").write_text('features = "raw"\nnum_features = 9\n')
    assert cli.main(["advise", "--config", str(tmp_path / "a.toml")]) == cli.BAD_INPUT
    assert capsys.readouterr().err.startswith("rfm: error: num_features: is ignored beside --features raw")
    configuration = dataclasses.asdict(AdviseConfig(features="raw"))
    store.write(tmp_path / "a.nc", "advise", {}, {"configuration": configuration})
    assert cli._parse(["advise", "--config", str(tmp_path / "a.nc")]).run.features == "raw"


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["relu", "abs", "sign", "exp", "identity"])
def test_noise_takes_every_activation_of_its_help(activation, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny = [*flags(NOISE), "--num-seeds", "1", "--num-ratios", "3", "--num-pairs", "100"]
    assert cli.main(["noise", *tiny, "--teacher-activation", activation, "--figure", "None"]) == 0
    bounds = store.read(tmp_path / "results" / "noise.nc")["smoothness_bound"].values
    assert np.all(bounds >= 0)  # infinite where there is none


@pytest.mark.parametrize("arguments", [["help"], ["help", "bound"], ["bound", "-h"]])
def test_help_is_a_command_too(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert not end.value.code
    assert " ".join(["usage: rfm", *({"bound"} & set(arguments))]) in capsys.readouterr().out


def test_the_version_is_printed_for_both_of_its_flags(capsys):
    assert [cli.main([flag]) for flag in ("-V", "--version")] == [0, 0]
    first, second = capsys.readouterr().out.splitlines()
    assert first == second


@pytest.mark.parametrize("arguments", [["--nmu-samples", "3"], ["--lam", "x"]])
def test_a_mistaken_flag_points_to_the_help_of_its_own_command(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["ucurve", *arguments])
    assert end.value.code == cli.BAD_INPUT
    printed = capsys.readouterr().err
    assert "rfm ucurve --help" in printed
    assert "rfm bound" not in printed


@pytest.mark.parametrize("name", ["x[/red]", "x[red]", "[bold]", ":smile:"])
def test_text_of_users_is_no_markup(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir(parents=True)
    rows = np.random.default_rng(0).normal(size=(30, 3)).tolist()
    table = tmp_path / name / "p.csv"
    table.write_text("\n".join([f"a{name},b,y", *(",".join(map(str, row)) for row in rows)]))
    quick = ["--num-folds", "2", "--num-features", "3", "--num-times", "8", "--target-kind", "numbers"]
    arguments = [f"{name}/p.csv", "--target", f"a{name}", *quick, "--output", f"{name}/p.nc", "--figure", "None"]
    assert cli.main(["advise", *arguments]) == 0
    assert f"result: {name}/p.nc" in capsys.readouterr().out
    assert cli.main(["show", f"{name}/p.nc"]) == 0
    assert f"{name}/p.csv" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "a"], "a: is a folder; pass a file in it that one of the experiments wrote, such as ucurve.nc"),
        (["ucurve", "--config", "a"], "config: a is a folder; the settings of ucurve with a name are: curved"),
        (["ucurve", "--dataset", "a.npz"], "dataset: a.npz is a folder; pass a file in it"),
        (["advise", "a.csv", "--target", "y"], "dataset: a.csv is a folder; pass a file in it"),
    ],
    ids=_readable,
)
def test_a_folder_in_the_place_of_a_file_is_called_one(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "a.npz", "a.csv"):
        (tmp_path / name).mkdir()
    assert cli.main(arguments) == cli.BAD_INPUT
    assert capsys.readouterr().err == f"rfm: error: {message}\n"


@pytest.mark.parametrize(("flag", "names", "argument"), [("--target", "y,y", "target"), ("--inputs", "a, a", "inputs")])
def test_a_column_is_named_once(flag, names, argument, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text("a,b,y\n1,2,3\n4,6,5\n")
    assert cli.main(["advise", "a.csv", *(["--target", "y"] if argument == "inputs" else []), flag, names]) == 2
    twice = names[0]
    assert capsys.readouterr().err == (
        f"rfm: error: {argument}: {twice} is named more than once; name each column once\n"
    )


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"kind": "dream"}, "kind: 'dream' is not known; this version prints results of advise, bound, "),
        ({"kind": "ucurve", "provenance": '{"variables": []}'}, "ucurve: the result lacks what its table shows ("),
        ({"kind": "ucurve", "provenance": "{}"}, "a.nc: does not say where it came from ("),
        ({"kind": "ucurve", "provenance": "[]"}, "a.nc: does not say where it came from ("),
        ({"kind": "ucurve", "provenance": "?"}, "a.nc: does not say where it came from ("),
        ({"kind": "ucurve", "provenance": None}, "a.nc: was not written by rfm; pass a file that one of its "),
    ],
)
def test_a_result_that_cannot_be_shown_is_refused_in_one_line(attributes, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    whole = {"layout": store.LAYOUT, "provenance": '{"variables": []}'} | attributes
    kept = {name: value for name, value in whole.items() if value is not None}
    store.save(tmp_path / "a.nc", store.Result(attrs=kept))
    assert cli.main(["show", "a.nc"]) == cli.BAD_INPUT
    printed = capsys.readouterr().err
    assert printed.startswith(f"rfm: error: {message}")
    assert printed.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "message"), [("lamda = 1\n", "does not know lamda"), ("lam = \n", "is not a TOML file")]
)
def test_a_bad_configuration_file_is_refused(text, message, tmp_path, capsys):
    (tmp_path / "a.toml").write_text(text)
    assert cli.main(["ucurve", "--config", str(tmp_path / "a.toml")]) == cli.BAD_INPUT
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1
