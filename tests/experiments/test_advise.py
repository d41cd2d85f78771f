"""What `rfm advise` stores and says, of bundled data and of one's own."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from benchmarks import coverage
from experiments import cli, report, store
from experiments.advise import run_advise
from rfm.decide.estimates import CALLED, HELD
from tests.experiments.small import ADVISE, flags, without_cost
from tests.tolerances import IDENTITY

DATA = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.fixture(scope="module")
def stored():
    return run_advise(ADVISE)


@pytest.fixture(scope="module")
def small(stored):
    return {name: variable.values for name, variable in stored.items()}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table of one's own, with a column that is no number."""
    path = tmp_path_factory.mktemp("table") / "houses.csv"
    rng = np.random.default_rng(0)
    rows = [f"street {i};{a:.3f};{b:.3f};{a - b + 0.3 * e:.3f}" for i, (a, b, e) in enumerate(rng.normal(size=(30, 3)))]
    path.write_text("\n".join(["name;area;age;price", *rows, ""]))
    return str(path)


def printed(variables, folder, config=ADVISE):
    """The result as the terminal shows it, on one line."""
    file = folder / "advise.nc"
    store.write(file, "advise", variables, {"configuration": dataclasses.asdict(config)})
    console = Console(record=True, width=150)
    report.print_result(console, store.read(file))
    return re.sub(r"\s+", " ", console.export_text())


def test_the_stored_advice_follows_from_the_stored_curves(small):
    mean = small["mixup_risk"]
    assert small["action"].tolist() == ["plain", "stop", "switch"]
    assert small["action_time"][1] == small["time"][np.argmin(mean)]
    assert small["action_time"][0] == small["time"][np.argmin(small["plain_risk"])]
    assert small["action_time"][2] == small["switch_time"][np.argmin(small["switched_risk"])]
    assert np.isclose(small["overtraining_cost"], mean[-1] / small["action_risk"][1] - 1, rtol=1e3 * IDENTITY)
    assert small["is_advised"].sum() == 1
    assert np.min(small["gain"][small["is_choice"] == 1]) == 0
    assert np.isnan(small["slowdown"])
    assert np.all(small["earliest"] <= small["latest"])


def test_a_check_measures_what_is_lost_on_every_split(small):
    for name in ("lost_at_stop", "lost_at_budget"):
        assert small[name].shape == (2,)
        assert np.all((small[name] >= 0) & (small[name] < 1))
    assert np.all(np.isfinite(small["lost_by_advice"]))


def test_the_same_seed_gives_the_same_advice(small):
    again = {name: variable.values for name, variable in run_advise(dataclasses.replace(ADVISE, num_seeds=0)).items()}
    assert "lost_at_stop" not in again
    for name, values in again.items():
        assert np.array_equal(values, small[name], equal_nan=values.dtype.kind == "f"), name


def test_the_page_says_what_to_do_why_and_what_would_change_it(stored, tmp_path):
    text = printed(stored, tmp_path)
    for words in (
        "diabetes: 442 rows, 10 inputs, numbers to predict; 442 rows held out in 2 parts",
        "Advice: train ",
        "of the risk of the mean, by '",
        "going on with Mixup to ",
        "changed by ",
        "the largest stable one is",
        f"range ({100 * CALLED:.0f} %)",
        f"held the true value of the model fitted to all rows in {100 * HELD[0]:.0f} to {100 * HELD[1]:.0f} % of",
        "Check by real training on 2 random splits",
        "with Mixup, stopped at its best: median",
    ):
        assert words in text


def test_the_words_are_those_of_the_numbers(stored, tmp_path):
    def page(plain, stop, plain_gain, error, cost_error=0.0):
        numbers = {
            "action_time": [10.0, 20.0, 30.0],
            "overtraining_cost": 0.1,
            "overtraining_cost_error": cost_error,
            "action_risk": [plain, stop, 0.9],
            "mixup_gain": plain - stop,
            "mixup_gain_error": error,
            "beats_mean": 1,
            "gain": [plain_gain, stop - min(plain, stop), 0.9 - min(plain, stop)],
            "gain_error": [error, 0.0, 0.01],
            "is_advised": [int(plain_gain <= 2 * error), int(plain_gain > 2 * error), 0],
        }
        changed = {name: stored[name]._replace(values=np.asarray(values)) for name, values in numbers.items()}
        return printed({**stored, **changed}, tmp_path)

    assert "Mixup 0.100 ± 0.020 above no Mixup" in page(0.4, 0.5, 0.0, 0.02)
    text = page(0.5, 0.4, 0.1, 0.2)
    assert "more rows: 'Mixup, stop' has a risk lower by 0.10 ± 0.20; some 7100 rows would show whether" in text
    assert "the simpler way is advised" in text
    text = page(0.5, 0.4, 0.1, 0.01)
    assert "'no Mixup, stop' gaining more than the 0.100 ± 0.010 by which it is behind" in text
    assert "has 10.0 % more risk than stopping changed by" in text
    assert "over-training is not seen" not in text
    assert "over-training is not seen" in page(0.5, 0.4, 0.1, 0.01, cost_error=0.06)


def test_where_mixup_makes_no_difference_nothing_is_compared(tmp_path):
    config = dataclasses.replace(ADVISE, num_seeds=0, features="raw")
    found = run_advise(config)
    assert found["slowdown"].values == pytest.approx(2 / 3)
    text = printed(found, tmp_path, config)
    assert "Mixup makes no difference to the mean here: these features mix as their inputs do" in text
    assert "so that training with it is plain training 1.5 times slower" in text
    assert "Advice: train without Mixup and stop after" in text
    for words in ("Mixup, stop", "Mixup, then none", "Mixup to the end │"):
        assert words not in text.replace("no Mixup, stop", "").replace("no Mixup to the end", "")


@pytest.mark.slow
def test_a_simulated_set_says_which_intervals_hold():
    held = coverage.coverage(30, num_features=8, seed=0)
    assert len(held) == 9
    assert any(held.values())


def test_a_table_of_ones_own_is_read_as_its_flags_say(table, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    quick = [*flags(dataclasses.replace(ADVISE, num_seeds=0)), "--num-pairs", "40", "--figure", "None"]
    assert cli.main(["advise", table, "--target", "price", "--inputs", "area,age", *quick]) == 0
    assert "30 rows, 2 inputs, numbers to predict" in re.sub(r"\s+", " ", capsys.readouterr().out)
    result = store.read(tmp_path / "results" / "advise.nc", "advise")
    assert store.provenance_of(result)["configuration"]["dataset"] == table
    assert int(result["num_parts"]) == 2


def test_text_is_read_as_categories_and_classes_and_said_to_be(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    rows = [f"{a:.3f};{rng.choice(['old', 'new'])};{'yes' if a > 0 else 'no'}" for a in rng.normal(size=30)]
    (tmp_path / "a.csv").write_text("\n".join(["size, m2;state;sold", *rows]).replace(".", ","))
    quick = [*flags(dataclasses.replace(ADVISE, num_seeds=0)), "--num-pairs", "40", "--figure", "None"]
    arguments = ["advise", "a.csv", "--target", "sold", *quick]
    assert cli.main(arguments) == 0
    run = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert cli.main(["show", "results/advise.nc"]) == 0
    shown = re.sub(r"\s+", " ", capsys.readouterr().out)
    for said in (run, shown):
        assert "30 rows, 3 inputs, 2 classes to predict" in said
        assert '"size, m2": read with a decimal comma; --decimal . says otherwise.' in said
        assert "state (2 values): text, so a column of zeros and ones for each value." in said
        assert "sold: text, so 2 classes: no, yes." in said
        assert "whole numbers, taken for classes" not in said
    assert cli.main([*arguments, "--target-kind", "numbers"]) == cli.BAD_INPUT
    assert "target_kind: sold holds text, such as no; pass classes" in capsys.readouterr().err


def test_few_whole_numbers_are_classes_unless_they_are_said_to_be_numbers(tmp_path):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(20, 2))
    np.savez(tmp_path / "a.npz", x=x, y=(x[:, 0] > 0) * 1.0)
    config = dataclasses.replace(ADVISE, num_seeds=0, dataset=str(tmp_path / "a.npz"), features="raw", num_held_out=6)
    found = run_advise(config)
    assert found["num_classes"].values == 2
    assert found["num_held_out"].values == 6
    assert found["mixup_risk"].values.shape == found["mixup_wrong"].values.shape == (8,)
    text = printed(found, tmp_path, config)
    assert "2 classes to predict; 6 rows held out in 1 part" in text
    assert "most frequent class" not in text
    assert " %" in text
    assert "taken for classes; ratings or counts are numbers: --target-kind numbers" in text
    assert run_advise(dataclasses.replace(config, target_kind="numbers"))["num_classes"].values == 0
    with pytest.raises(ValueError, match=r"^target_kind: classes are one column of whole numbers"):
        run_advise(dataclasses.replace(ADVISE, dataset=_fractions(tmp_path), target_kind="classes"))


def _fractions(folder):
    np.savez(folder / "b.npz", x=np.eye(4), y=np.arange(4) + 0.5)
    return str(folder / "b.npz")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.csv"], "dataset: there is no file none.csv"),
        (
            ["houses"],
            "dataset: 'houses' is not known; pass one of diabetes, digits, or the path of a .csv or .npz file",
        ),
        (["TABLE"], "target: none was named; the columns of TABLE are name, area, age, price"),
        (
            ["TABLE", "--target", "prize"],
            "target: TABLE has no column prize (did you mean price?); it has name, area, age, price",
        ),
        (
            ["TABLE", "--target", "price"],
            "dataset: TABLE has columns of text with very many different values, as names and remarks have: name (30 "
            "of them, such as 'street 0' in line 2); leave them out (--exclude)",
        ),
        (
            ["TABLE", "--target", "price", "--exclude", "name", "--decimal", ","],
            "dataset: TABLE, read with decimal commas (see --decimal), has columns that are not numbers throughout: ",
        ),
        (["diabetes", "--target", "y"], "target: only a .csv file names its columns, got 'diabetes'"),
        (["diabetes", "--num-folds", "1"], "num_folds: must be a whole number of at least 2, got 1"),
        (["diabetes", "--num-folds", "443"], "num_folds: 443 folds of 442 rows ask for too many"),
        (["diabetes", "--num-held-out", "441"], "num_held_out: 441 rows held out of 442 rows ask for too many"),
        (
            ["diabetes", "--alpha", "0"],
            "alpha: must lie between 0.0001 and 1000, got 0.0; for (almost) no mixing pass ERM()",
        ),
        (["diabetes", "--feature-activation", "step"], "feature_activation: 'step' is not known; pass one of"),
        (["diabetes", "--budget", "-1"], "budget: must be a positive number, got -1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_gets_one_line_that_names_it(arguments, message, table, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["advise", *[table if word == "TABLE" else word for word in arguments]]) == cli.BAD_INPUT
    said = capsys.readouterr()
    assert said.out == ""
    error = without_cost(said.err)
    assert error.startswith(f"rfm: error: {message.replace('TABLE', table)}")
    assert error.count("\n") == 1


def test_advice_on_a_shared_set_beats_training_on():
    path = DATA / "uci_energy.npz"
    if not path.is_file():
        pytest.skip(f"there is no {path.name} in ../shared/data: advice on it was NOT tested")
    found = run_advise(dataclasses.replace(ADVISE, num_seeds=0, dataset=str(path), num_pairs=2000))
    assert 0 < found["action_risk"].values.min() <= found["mixup_risk"].values[-1] < 1


def test_what_the_page_says_was_held_is_what_the_documents_list():
    text = (Path(__file__).parents[2] / "docs" / "advice.md").read_text()
    table = text.split("| what | 40 rows | 160 rows | 640 rows |")[1].split("\n\n")[0]
    shares = [int(share) / 100 for share in re.findall(r"(\d+) %", table)]
    assert len(shares) == 27
    assert (min(shares), max(shares)) == HELD
