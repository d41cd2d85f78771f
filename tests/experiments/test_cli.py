"""The command line: what it writes, what it says about bad input, and what it leaves behind when it is stopped."""

import dataclasses
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from experiments import cli, store
from experiments.configs import CURVED, AdviseConfig, TaskConfig
from experiments.registry import EXPERIMENTS
from tests.experiments.small import NOISE, SAMPLE_SIZE, UCURVE, flags

PRINTED = 0.1  # two digits of the standard error, which two seeds make large
HEAVY = ("jax", "numpy", "scipy", "xarray", "matplotlib", "rfm", "theory")


PROGRAM = [sys.executable, "-m", "experiments.cli"]


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
    printed = capsys.readouterr()
    assert printed.err.startswith(f"rfm: error: {message}")
    assert printed.err.count("\n") == 1
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


def test_an_unexpected_exception_is_one_line_unless_its_traceback_is_asked_for(monkeypatch, capsys):
    def fail(command):
        raise ZeroDivisionError("float division\nby zero")

    monkeypatch.setattr(cli, "_run", fail)
    monkeypatch.delenv("RFM_TRACEBACK", raising=False)
    assert cli.main(["bound"]) == 1
    assert capsys.readouterr().err == (
        "rfm: error: ZeroDivisionError: float division by zero; this is a bug: please report it (RFM_TRACEBACK=1 shows "
        "the traceback)\n"
    )
    monkeypatch.setenv("RFM_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        cli.main(["bound"])


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes")])
def test_memory_that_runs_out_is_bad_input(error, monkeypatch, capsys):
    monkeypatch.setattr(cli, "_run", lambda command: (_ for _ in ()).throw(error))
    assert cli.main(["bound"]) == cli.BAD_INPUT
    assert capsys.readouterr().err.startswith("rfm: error: not enough memory (")


@pytest.mark.parametrize(
    ("text", "message"), [("lamda = 1\n", "does not know lamda"), ("lam = \n", "is not a TOML file")]
)
def test_a_bad_configuration_file_is_refused(text, message, tmp_path, capsys):
    (tmp_path / "a.toml").write_text(text)
    assert cli.main(["ucurve", "--config", str(tmp_path / "a.toml")]) == cli.BAD_INPUT
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1


def test_bad_input_ends_the_process_with_2_and_no_traceback(tmp_path):
    for arguments in (["ucurve", "--lam", "1.5"], ["ucurve", "--lam", "x"], ["show", "none.nc"], ["draw"]):
        finished = subprocess.run([*PROGRAM, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert finished.returncode == cli.BAD_INPUT
        assert finished.stderr
        assert "Traceback" not in finished.stderr


def test_ctrl_c_ends_a_run_with_130_and_leaves_the_old_result_whole(tmp_path):
    output = tmp_path / "ucurve.nc"
    output.write_bytes(b"an earlier result")
    endless = ["ucurve", *flags(UCURVE), "--num-seeds", "1", "--num-steps", "2000000000", "--output", str(output)]
    # A line of its own says that training begins, so that the signal falls into it.
    code = (
        "import signal, sys, experiments.cli as cli, experiments.ucurve as ucurve\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background jobs ignore it
        "real = ucurve.rfm.simulate_many\n"
        "def begun(*a, **k): print('begun', flush=True); return real(*a, **k)\n"
        "ucurve.rfm.simulate_many = begun\n"
        f"sys.exit(cli.main({endless}))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "begun\n"
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == cli.INTERRUPTED
    assert errors == "rfm: interrupted; nothing was stored, and an earlier result file, if any, is untouched\n"
    assert output.read_bytes() == b"an earlier result"
    assert [path.name for path in tmp_path.iterdir()] == ["ucurve.nc"]


def _on_a_disk_with_room_for(size, arguments, folder):
    """The finished program, and its figure's, where no file may grow larger."""
    code = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))\n"
        "from experiments.cli import main\nsys.exit(main())"
    )
    whole = [sys.executable, "-c", code, *arguments]
    return subprocess.run(whole, cwd=folder, capture_output=True, text=True, timeout=120)


def test_a_full_disk_costs_neither_the_table_nor_an_earlier_result(tmp_path):
    output = tmp_path / "ucurve.nc"
    output.write_bytes(b"an earlier result")
    arguments = ["ucurve", *flags(UCURVE), "--output", str(output), "--figure", "None"]
    finished = _on_a_disk_with_room_for(5000, arguments, tmp_path)
    assert finished.returncode == cli.BAD_INPUT
    assert "turning risk" in finished.stdout
    assert finished.stderr.startswith("rfm: error: output: cannot write the 0.")
    assert finished.stderr.count("\n") == 1
    assert output.read_bytes() == b"an earlier result"
    assert [path.name for path in tmp_path.iterdir()] == ["ucurve.nc"]


def test_a_disk_too_full_for_the_figure_keeps_the_result_and_no_part_of_a_picture(tmp_path):
    arguments = ["sample-size", *flags(SAMPLE_SIZE), "--output", "a.nc", "--figure", "a"]
    finished = _on_a_disk_with_room_for(30_000, arguments, tmp_path)
    assert finished.returncode == cli.BAD_INPUT
    assert finished.stderr.startswith("figures.sample_size: error: output: cannot write 'a.p")
    assert finished.stderr.endswith("a.nc is stored\n")
    assert not [path.name for path in tmp_path.iterdir() if path.suffix not in {".nc", ".pdf"}]
    assert cli.main(["show", str(tmp_path / "a.nc")]) == 0


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("a.png", "figure: 'a.png' has an ending; pass a, to which .pdf and .png are added"),
        ("b/a.PDF", "figure: 'b/a.PDF' has an ending; pass b/a, "),
        ("", "figure: '.' is a folder; pass a name in it, such as curve"),
        ("folder", "figure: 'folder' is a folder; "),
        ("taken", "figure: 'taken.pdf' is a folder; "),
        ("file/a", "figure: 'file' is no folder; pass a file in another one"),
        ("/proc/a", "figure: cannot write '/proc/a.pdf' ("),
    ],
)
def test_a_figure_that_cannot_be_stored_is_refused_before_the_run(path, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("folder", "taken.pdf"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").touch()
    monkeypatch.setattr(cli, "_variables", None)  # nothing may be computed
    assert cli.main(["bound", "--figure", path]) == cli.BAD_INPUT
    printed = capsys.readouterr().err
    assert printed.startswith(f"rfm: error: {message}")
    assert printed.count("\n") == 1


def test_a_reader_of_the_output_who_leaves_early_costs_neither_result_nor_figure(tmp_path):
    process = subprocess.Popen(
        [*PROGRAM, "sample-size", *flags(SAMPLE_SIZE), "--output", "a.nc", "--figure", "a"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    process.stdout.close()
    with process:
        assert process.stderr.read() == ""
    assert process.returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nc", "a.pdf", "a.png"]


STOPS = [
    (signal.SIGINT, 130, "rfm: interrupted; nothing was stored, and an earlier result file, if any, is untouched\n"),
    (signal.SIGTERM, 143, "rfm: terminated; nothing was stored, and an earlier result file, if any, is untouched\n"),
    (signal.SIGHUP, 129, ""),
]


@pytest.mark.parametrize(("number", "status", "words"), STOPS, ids=lambda value: str(value)[:10])
def test_a_program_that_swallows_exceptions_is_stopped_all_the_same(number, status, words, tmp_path):
    # An exception that is raised while JAX calls back into Python ends there; a thread that computes goes on.
    code = (
        "import sys, threading, time, experiments.cli as cli\n"
        "from rfm.files import replacing\n"
        "def deaf(*_):\n"
        "    threading.Thread(target=time.sleep, args=(600,)).start()\n"
        "    with replacing(cli.Path('bound.nc')) as temporary:\n"
        "        print('begun', flush=True)\n"
        "        while True:\n"
        "            try: time.sleep(0.01)\n"
        "            except BaseException: pass\n"
        "cli._variables = deaf\n"
        "sys.exit(cli.main())"
    )
    (tmp_path / "bound.nc").write_bytes(b"an earlier result")
    with subprocess.Popen(
        [sys.executable, "-c", code, "bound", "--output", "bound.nc", "--figure", "None"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout.readline() == "begun\n"
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (status, words)
    assert [path.name for path in tmp_path.iterdir()] == ["bound.nc"]
    assert (tmp_path / "bound.nc").read_bytes() == b"an earlier result"


AT_ONCE = 2.0
"""Seconds, on a busy machine."""


@pytest.mark.parametrize("started_by", ["", "signal.signal(signal.SIGHUP, signal.SIG_IGN)"], ids=["shell", "nohup"])
@pytest.mark.parametrize(
    ("number", "status", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_stop_while_the_figure_is_drawn_keeps_the_result_and_no_part_of_a_picture(
    number, status, word, started_by, tmp_path
):
    code = (
        f"import signal, sys, time, types\n{started_by}\n"
        "import experiments.cli as cli, experiments.report as report\n"
        "from rfm.files import replacing\n"
        "def draw(argv):\n"
        "    with replacing(cli.Path(argv[-1] + '.pdf')):\n"
        "        print('drawing', flush=True)\n"
        "        time.sleep(600)\n"
        "cli._variables, report.print_result = (lambda *_: {}), (lambda *_: None)\n"
        "sys.modules['figures.bound'] = types.SimpleNamespace(main=draw)\n"
        "sys.exit(cli.main())"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, "bound", "--output", "a.nc", "--figure", "a"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout.readline() == "result: a.nc\n"
        assert process.stdout.readline() == "drawing\n"
        assert len(list(tmp_path.iterdir())) == 2
        start = time.monotonic()
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert time.monotonic() - start < AT_ONCE
    stored = f"rfm: {word}; the result is stored in a.nc, and its figure may not be drawn\n"
    assert (process.returncode, errors) == (status, stored)
    assert [path.name for path in tmp_path.iterdir()] == ["a.nc"]


def test_a_stop_after_all_is_done_changes_nothing():
    code = (
        "import os, signal, sys\n"
        "from experiments import cli\n"
        "class Late:\n"
        "    def __del__(self, kill=os.kill, me=os.getpid(), number=signal.SIGINT): kill(me, number)\n"
        "late = Late()  # which goes when the interpreter has let go of signals\n"
        "sys.argv = ['rfm', '--version']\n"
        "sys.exit(cli.main())"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (finished.returncode, finished.stderr) == (0, "")


def test_the_module_runs_as_a_program(tmp_path):
    finished = subprocess.run([*PROGRAM, "--version"], capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert (finished.returncode, finished.stdout) == (0, "rfm 0.1.0\n")
