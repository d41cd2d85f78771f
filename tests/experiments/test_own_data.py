"""Data of one's own from the command line: which rows are held out, features made elsewhere, results for machines."""

import dataclasses
import json
import re

import jax
import numpy as np
import pandas as pd
import pytest

from experiments import cli, store
from experiments.advise import run_advise
from experiments.data_configs import AdviseConfig
from experiments.own_data import read
from tests.experiments.small import flags, without_cost

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(rng.normal(size=(24, 2)), columns=["area", "age"])
    rows["price"] = rows["area"] ** 2 + 0.1 * rng.normal(size=24)
    rows["kind"] = np.where(rows["price"] > 0.6, "dear", "cheap")
    rows["owner"] = [f"owner {row % 8}" for row in range(24)]
    rows["sold"] = pd.date_range("2024-01-01", periods=24).strftime("%Y-%m-%d")[::-1]
    rows["use"] = np.where(np.arange(24) < 16, "train", "valid")
    rows["fold"] = np.arange(24) % 4 - 1
    return rows


@pytest.fixture(scope="module")
def table(frame, tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "houses.csv"
    frame.to_csv(path, index=False)
    return str(path)


def asked(table, **fields):
    usual = {"dataset": table, "target": "price", "inputs": "area,age", "num_folds": 3, "features": "raw"}
    return AdviseConfig(**(usual | {"num_times": 8} | fields))


def test_columns_say_what_belongs_together_and_when_it_was(table, frame):
    data = read(asked(table, groups="owner"), KEY)
    assert data.hold_out["groups"].tolist() == frame["owner"].tolist()
    assert data.num_parts == 3
    order = read(asked(table, time_order="sold"), KEY).hold_out["order"]
    assert np.array_equal(np.argsort(order), np.arange(24)[::-1])


def test_a_split_is_words_or_the_numbers_of_folds(table, frame):
    assert read(asked(table, split="use"), KEY).hold_out["folds"].tolist() == [-1] * 16 + [0] * 8
    data = read(asked(table, split="fold"), KEY)
    assert data.hold_out["folds"].tolist() == frame["fold"].tolist()
    assert data.num_parts == 3
    with pytest.raises(ValueError, match=r"^split: column kind holds cheap, dear; pass one with the word train and"):
        read(asked(table, split="kind"), KEY)


def test_the_rows_of_a_validation_file_are_held_out_and_no_others(table, frame, tmp_path):
    other = tmp_path / "validation.csv"
    frame[["price", "age", "owner", "area"]].iloc[:5].to_csv(other, index=False)  # another order, and more columns
    data = read(asked(table, validation=str(other)), KEY)
    assert data.hold_out["folds"].tolist() == [-1] * 24 + [0] * 5
    assert np.array_equal(data.inputs[24:], data.inputs[:5])
    frame[["price", "age"]].to_csv(other, index=False)
    with pytest.raises(ValueError, match=r"area"):
        read(asked(table, validation=str(other)), KEY)
    with pytest.raises(ValueError, match=r"^split, validation: each says which rows are held out; pass one of them"):
        read(asked(table, validation=str(other), split="use"), KEY)


def test_some_rows_of_the_data_keep_their_groups(table):
    data = read(asked(table, groups="owner"), KEY).part(np.asarray([3, 9, 4]))
    assert data.hold_out["groups"].tolist() == ["owner 3", "owner 1", "owner 4"]
    assert data.hold_out["num_folds"] == 3


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments):
    return cli.main([*map(str, arguments)])


def test_features_made_elsewhere_come_back(table, here, capsys):
    """What `rfm pairs` says to do is done, and the advice is about those features."""
    names = ["--target", "price", "--inputs", "area,age"]
    assert run("pairs", table, *names, "--pairs-per-row", 5, "--alpha", 0.5) == 0
    said = capsys.readouterr().out
    pairs = np.load("pairs.npz")
    assert pairs["x"].shape == (24 + 5 * 24 + 8, 2)
    commands = [line.strip() for line in said.splitlines() if line.startswith("  ")]
    exec("\n".join(commands), {"np": np, "encoder": lambda x: np.tanh(x @ np.eye(2, 4))})
    assert run("advise", table, *names, "--features", "mixed.npz", "--num-times", 8, "--figure", "None") == 0
    result = store.read(here / "results" / "advise.nc", "advise")
    assert int(result["num_inputs"]) == 4
    assert np.isnan(float(result["slowdown"]))
    assert run("advise", table, *names, "--features", "mixed.npz", "--alpha", 0.5) == cli.BAD_INPUT
    assert "alpha: is ignored beside --features mixed.npz, whose rows are mixed already" in capsys.readouterr().err


def test_a_check_by_real_training_takes_the_features_of_the_file(table, here):
    names = ["--target", "price", "--inputs", "area,age"]
    run("pairs", table, *names, "--pairs-per-row", 5)
    pairs = dict(np.load("pairs.npz"))
    np.savez("mixed.npz", features=np.tanh(pairs.pop("x")), **pairs)
    quick = ["--num-times", 8, "--num-folds", 2, "--budget", 20, "--num-seeds", 1, "--figure", "None"]
    assert run("advise", table, *names, "--features", "mixed.npz", *quick) == 0
    assert float(store.read(here / "results" / "advise.nc")["lost_at_stop"][0]) >= 0


def test_a_result_for_machines_is_json_and_nothing_else(table, here, capsys):
    quick = [*flags(asked(table, metric="accuracy", target="kind")), "--figure", "None", "--format", "json"]
    assert run("advise", *quick) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["kind"] == "advise"
    assert printed["variables"]["advice"]["values"].startswith(("train ", "name "))
    assert printed["variables"]["mixup_risk"]["axes"] == ["time"]
    assert printed["provenance"]["configuration"]["metric"] == "accuracy"
    assert run("show", "results/advise.nc", "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)["variables"] == printed["variables"]
    assert run("show", "results/advise.nc") == 0
    assert "of the most frequent class" in re.sub(r"\s+", " ", capsys.readouterr().out)


@pytest.mark.parametrize("flag", ["--groups", "--time-order", "--split", "--validation"])
def test_rows_are_held_out_as_the_flag_says(flag, table, frame, here):
    frame[["price", "age", "area"]].iloc[:6].to_csv("later.csv", index=False)
    value = {"--groups": "owner", "--time-order": "sold", "--split": "use", "--validation": "later.csv"}[flag]
    usual = ["--target", "price", "--exclude", "kind,use,fold" if flag in ("--groups", "--time-order") else "kind,fold"]
    more = {"--groups": ",sold", "--time-order": ",owner", "--split": ",owner,sold", "--validation": ",owner,sold,use"}
    usual[-1] += more[flag]
    own = ["--learning-rate", 0.1, "--batch-size", 4, "--features", "raw", "--num-times", 8, "--figure", "None"]
    assert run("advise", table, *usual, flag, value, *own) == 0
    result = store.read(here / "results" / "advise.nc", "advise")
    wanted = {"--groups": (24, 8, 24), "--time-order": (20, 20, 24), "--split": (8, 8, 16), "--validation": (6, 6, 24)}
    held_out, units, in_an_epoch = wanted[flag]
    assert (int(result["num_held_out"]), int(result["num_units"])) == (held_out, units)
    assert float(result["length_unit"]) == pytest.approx(-(-in_an_epoch // 4) * 0.1 * 2)


def test_laws_are_printed_and_stored_side_by_side(table, here, capsys):
    quick = flags(asked(table, compare_laws=True, features="random", num_features=6, num_pairs=60))
    assert run("advise", *quick, "--figure", "None") == 0
    said = re.sub(r"\s+", " ", capsys.readouterr().out)
    result = store.read(here / "results" / "advise.nc", "advise")
    assert result["law"].values[0] == "no Mixup"
    assert result.sizes["law"] == 8
    for words in ("law of mixing", "never itself", "C-Mixup, bandwidth 0.3", "rows to tell", "Laws: "):
        assert words in said


def test_epochs_are_those_of_ones_own_training(table, here, capsys):
    own = ["--learning-rate", 0.05, "--batch-size", 6, "--momentum", 0.5, "--num-epochs", 30]
    assert run("advise", *flags(asked(table)), *own, "--figure", "None") == 0
    said = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert "epochs" in said
    result = store.read(here / "results" / "advise.nc", "advise")
    assert float(result["time"][-1]) == pytest.approx(30 * 4 * 0.05 * 2 / 0.5)
    assert "epoch 30 (120 steps" in result["budget_length"].item()


def test_more_data_is_foretold_and_drawn(table, here, capsys):
    quick = flags(asked(table, learning_curve=True, num_rows=20, num_components=1))
    assert run("advise", *quick) == 0
    said = re.sub(r"\s+", " ", capsys.readouterr().out)
    result = store.read(here / "results" / "advise.nc", "advise")
    assert int(result["num_rows"]) == 20
    assert result["size"].values.tolist() == pytest.approx([3, 5, 20 / 3, 28 / 3, 40 / 3], abs=0.4)
    for words in (
        "rows trained on",
        "over-training, %",
        "27, foretold",
        "13, foretold from fewer",
        "More data: training on",
    ):
        assert words in said
    assert "gain of Mixup" not in said  # raw features, of which Mixup makes none
    assert "size_gain" not in result
    assert np.isclose(result["size_risk"][-1], result["action_risk"].sel(action="plain"), rtol=1e-9)
    assert (here / "figures" / "advise.png").stat().st_size > 10_000


@pytest.mark.slow
def test_a_learning_curve_changes_nothing_beside_it(table):
    config = asked(
        table, features="random", num_features=6, learning_rate=0.05, batch_size=4, num_epochs=40.0, num_seeds=1
    )
    alone, beside = (run_advise(dataclasses.replace(config, learning_curve=curve)) for curve in (False, True))
    for name, variable in alone.items():
        assert np.array_equal(variable.values, beside[name].values, equal_nan=variable.values.dtype.kind == "f"), name
    for name, way in (("risk", "plain_risk"), ("cost", "overtraining_cost")):
        here = alone["action_risk"].values[0] if name == "risk" else alone[way].values
        assert np.isclose(beside[f"size_{name}"].values[-1], here, rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("rows", [60, 24])
def test_a_check_of_classes_counts_none_that_are_wrong(rows, tmp_path):
    rng = np.random.default_rng(0)
    goal = np.arange(rows) % 2
    np.savez(tmp_path / "apart.npz", x=rng.normal(size=(rows, 2)) + 20 * goal[:, None], y=goal)
    config = AdviseConfig(
        dataset=str(tmp_path / "apart.npz"), features="raw", metric="accuracy", num_seeds=1, num_times=8, num_folds=2
    )
    found = run_advise(config)
    assert found["lost_at_stop"].values.tolist() == [0]
    assert found["lost_by_advice"].values.tolist() == [0]


def test_random_rows_without_a_class_are_refused_by_its_name(table, here, capsys):
    lines = (here / table).read_text().splitlines()
    few = [line.replace("dear", "cheap") for line in lines[2:]]
    (here / "rare.csv").write_text("\n".join([lines[0], lines[1].replace("cheap", "dear"), *few, ""]))
    usual = ["--target", "kind", "--inputs", "area,age", "--num-folds", "2", "--features", "raw", "--figure", "None"]
    assert run("advise", "rare.csv", *usual, "--num-rows", "4") == cli.BAD_INPUT
    error = without_cost(capsys.readouterr().err)
    assert error.startswith("rfm: error: num_rows: of 4 random rows, none is of class dear; pass more rows, another")


def test_a_result_for_machines_is_alone_on_its_stream(table, here, capsys):
    assert run("advise", *flags(asked(table)), "--format", "json") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)
    assert "figure: " in captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--metric", "accuracy"], "metric: accuracy is of classes, and the targets are numbers; pass whole numbers"),
        (["--momentum", "0.5"], "momentum: is ignored without --learning-rate; leave one of them out"),
        (["--learning-rate", "0.1"], "batch_size: --learning-rate needs it, to know what an epoch is; pass one, such"),
        (
            ["--learning-rate", "0.1", "--batch-size", "4", "--optimizer", "adam"],
            "optimizer: adam has no training time: it steps each weight at a rate of its own",
        ),
        (["--groups", "owners"], "groups: "),
        (["--groups", "owner", "--num-seeds", "1"], "groups: the check by real training holds out rows at random"),
        (["--learning-rate", "9", "--batch-size", "4"], "learning_rate: 9 diverges on these features; pass less than "),
        (["--batch-size", "4"], "batch_size: is ignored without --learning-rate or a check (--num-seeds)"),
        (["--features", "none.npz"], "features: there is no file none.npz"),
        (["--validation", "none.csv"], "validation: there is no file none.csv"),
        (
            ["--split", "use", "--num-folds", "4"],
            "num_folds: is ignored beside --split, which takes the place of folds",
        ),
        (["--split", "use", "--num-rows", "9"], "num_rows: is ignored beside --split, which says of all rows whether"),
        (["--num-rows", "25"], "num_rows: 25 of 24 rows; pass 24 or fewer"),
        (["--num-rows", "23", "--num-seeds", "1"], "num_rows: 23 of 24 rows, and 2 to test on; pass 22 or fewer"),
        (["--num-components", "3"], "num_components: 3 of 2 inputs, with 16 rows to train on; pass 2 or fewer"),
        (
            ["--num-rows", "8", "--learning-curve"],
            "learning_curve: leave 1, 2, 2, 4, 5 rows to train on, and the sm",
        ),
        (
            ["--learning-rate", "0.1", "--batch-size", "4", "--num-epochs", "1e12"],
            "num_epochs: 1.2e+12 is longer than can be resolved; pass at most",
        ),
        (
            ["--features", "none.npz", "--learning-curve"],
            "learning_curve: is ignored beside --features none.npz, whose",
        ),
        (["--exclude", "area"], "exclude: area is asked for elsewhere; name it in one place"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_flags_get_one_line(arguments, message, table, here, capsys):
    usual = [] if {"--num-folds", "--split", "--validation"} & set(arguments) else ["--num-folds", "3"]
    names = ["--target", "price", "--inputs", "area,age", "--figure", "None", *usual]
    assert run("advise", table, *names, *arguments) == cli.BAD_INPUT
    error = without_cost(capsys.readouterr().err)
    assert error.startswith(f"rfm: error: {message}")
    assert error.count("\n") == 1
