"""What the fields of mixing make: the laws that one would write down in Python, from every command that mixes."""

import dataclasses
from importlib import import_module

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure
from rich.console import Console

import rfm
from experiments import advice_check, report, store
from experiments.bound import run_bound
from experiments.configs import mixing_in_words
from experiments.constraints import check_fields
from experiments.fields import MixingConfig
from experiments.laws import all_pairs, check_mixing, mixup
from experiments.minibatch import run_minibatch
from experiments.own_data import OwnData
from experiments.registry import EXPERIMENTS
from experiments.ucurve import run_ucurve
from figures import style
from rfm.decide import featured
from rfm.decide.splits import Rows
from tests.experiments.small import ADVISE, BOUND, MINIBATCH, SAMPLE_SIZE, SMALL, UCURVE
from tests.tolerances import IDENTITY, SAMPLING

SAMPLE = rfm.Sample(jnp.arange(12.0).reshape(6, 2), jnp.asarray([0.0, 0.0, 1.0, 1.0, 2.0, 2.0]), None)
MIXING = [kind for kind, one in EXPERIMENTS.items() if issubclass(one.config, MixingConfig)]


@pytest.mark.parametrize(
    ("fields", "partners"),
    [
        ({}, None),
        ({"partners": "others"}, rfm.mixup.OtherSamples()),
        ({"partners": "similar-labels", "bandwidth": 0.7}, rfm.SimilarLabels(0.7)),
        ({"partners": "nearest-inputs", "num_neighbors": 2}, rfm.mixup.NearestInputs(2)),
        ({"partners": "same-class"}, rfm.mixup.SameClass()),
        ({"partners": "other-class"}, rfm.mixup.OtherClass()),
        ({"share": 0.25}, None),
    ],
)
def test_fields_make_the_law_of_the_same_words(fields, partners):
    made = mixup(MixingConfig(**fields), "expected", alpha=2.0)
    meant = rfm.Mixup(alpha=2.0, pairs="expected", partners=partners, share=fields.get("share", 1.0))
    everyone = jnp.arange(6)
    weights = [law.on(SAMPLE).weights_of(6).block(everyone, everyone) for law in (made, meant)]
    np.testing.assert_array_equal(*weights)
    assert str(made) == str(meant)


def test_the_labels_ratio_and_the_space_are_those_of_the_fields():
    assert str(mixup(MixingConfig(label_lam=0.5), 9, lam=0.3)) == str(rfm.Mixup(0.3, pairs=9, label_lam=0.5))
    assert str(mixup(MixingConfig(label_alpha=2.0), 9, lam=0.3)) == str(rfm.Mixup(0.3, pairs=9, label_alpha=2.0))
    assert mixup(MixingConfig(space="features"), 9, lam=0.3).mixes_features


@pytest.mark.parametrize(
    ("fields", "rows"),
    [
        ({}, 36),
        ({"partners": "others"}, 30),
        ({"partners": "nearest-inputs", "num_neighbors": 2}, 12),
        ({"share": 0.0}, 6),
        ({"share": 0.5}, 36),
        ({"partners": "similar-labels", "bandwidth": 1.0}, 36),
    ],
)
def test_all_pairs_are_each_once_where_they_are_as_likely_and_else_drawn(fields, rows):
    law = all_pairs(MixingConfig(**fields), 6, lam=0.5)
    assert law.on(SAMPLE).num_rows(6) == rows
    assert law.needs_key == (fields.get("share") == 0.5 or "bandwidth" in fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"partners": "similar-labels"}, "bandwidth: partners similar-labels need it; pass one, such as --bandwidth"),
        ({"partners": "nearest-inputs"}, "num_neighbors: partners nearest-inputs need it"),
        ({"label_lam": 0.5, "label_alpha": 1.0}, "label_lam, label_alpha: pass one of them"),
        ({"partners": "similar-labels", "bandwidth": 0.0}, "bandwidth: 0 mixes samples of the same label alone"),
        ({"partners": "similar-labels", "bandwidth": np.inf}, "bandwidth: infinite is plain Mixup"),
        ({"partners": "similar-labels", "bandwidth": np.nan}, "bandwidth: must be a positive number"),
        ({"share": 1.5}, r"share: must lie in \[0, 1\]"),
    ],
)
@pytest.mark.parametrize("kind", MIXING)
def test_fields_that_make_no_law_are_named_by_every_command(kind, fields, message):
    run = getattr(import_module(f"experiments.{EXPERIMENTS[kind].stem}"), f"run_{EXPERIMENTS[kind].stem}")
    with pytest.raises(ValueError, match=f"^{message}"):
        run(dataclasses.replace(SMALL[kind], **fields))


@pytest.mark.parametrize("partners", ["same-class", "other-class"])
def test_classes_are_asked_of_labels_that_are_classes(partners):
    for fields in ({}, {"dataset": "digits"}, {"dataset": "digits", "truth": "labels", "label_noise_std": 0.1}):
        with pytest.raises(ValueError, match=f"^partners: {partners} asks for labels that are classes"):
            check_mixing(dataclasses.replace(UCURVE, partners=partners, **fields))
    check_mixing(dataclasses.replace(UCURVE, partners=partners, dataset="digits", truth="labels"))


def test_more_neighbors_than_the_smallest_sample_has_are_named():
    with pytest.raises(ValueError, match=r"^num_neighbors: 4 asked for, but a sample has 3 others"):
        check_mixing(dataclasses.replace(SAMPLE_SIZE, partners="nearest-inputs", num_neighbors=4))


def test_advice_is_checked_by_training_with_its_law():
    drawn, key = np.random.default_rng(0), jax.random.key(0)
    config = dataclasses.replace(ADVISE, partners="similar-labels", bandwidth=0.1, num_pairs=9)
    law, rows = mixup(config, "expected", alpha=1.0), Rows(np.arange(8), np.arange(8, 10))
    data = OwnData(drawn.normal(size=(10, 2)), drawn.normal(size=10), "raw", {}, (), ())
    split, (mixed, _) = advice_check._problems(config, data, law, rows, key)
    wanted = rfm.Mixup(alpha=1.0, pairs=9, partners=rfm.SimilarLabels(0.1))
    alone = rfm.synthesize(split.train, featured.with_constant, wanted, population=split.test, key=key)
    assert np.array_equal(mixed.features, alone.features)
    assert np.array_equal(mixed.labels, alone.labels)


def test_words_leave_out_what_is_ignored():
    left = dataclasses.asdict(MixingConfig(partners="nearest-inputs", num_neighbors=3, bandwidth=0.5, seed=4))
    assert mixing_in_words(left) == "partners nearest-inputs, num neighbors 3"
    assert mixing_in_words(dataclasses.asdict(MixingConfig(bandwidth=0.5))) == ""


def test_what_belongs_to_other_partners_is_ignored_aloud():
    assert MixingConfig().ignored().keys() == {"bandwidth", "num_neighbors"}
    assert MixingConfig(partners="similar-labels").ignored().keys() == {"num_neighbors"}


@pytest.fixture(scope="module")
def similar():
    return dataclasses.replace(UCURVE, partners="similar-labels", bandwidth=0.3)


@pytest.mark.slow
def test_the_u_curve_of_similar_labels_is_that_of_its_own_weights(similar):
    """Simulation knows the pairs that were drawn; that they are drawn by their weights shows beside plain Mixup."""
    found = run_ucurve(similar)
    names = [str(law) for law in found["law"].values]
    assert names[1:] == [f"Mixup({how}, pairs=36, partners=similar labels (h=0.3))" for how in ("lam=0.5", "alpha=1")]
    assert np.max(found["agreement"].values) < 1e-9
    wide = run_ucurve(dataclasses.replace(similar, bandwidth=1e6))
    narrow = run_ucurve(dataclasses.replace(similar, bandwidth=1e-6))
    late = [one["flow_final_risk"].values for one in (found, wide, narrow)]
    assert np.all(late[0][1:] != late[1][1:])
    assert np.max(narrow["flow_noise"].values) < 1e-20  # each with itself alone; rounding of the mixed inputs is left


@pytest.mark.slow
def test_mixed_features_have_no_parts():
    found = run_ucurve(dataclasses.replace(UCURVE, space="features"))
    assert "flow_clean" not in found
    assert "mode_noise" not in found
    assert np.max(found["agreement"].values) < 1e-9


def test_bounds_of_mixed_features_are_refused():
    with pytest.raises(ValueError, match=r"^space: features that are mixed have no truth"):
        run_bound(dataclasses.replace(BOUND, space="features"))


@pytest.mark.slow
@pytest.mark.parametrize("partners", ["permuted", "rolled"])
def test_batches_that_are_mixed_with_themselves_go_as_their_closed_form_says(partners):
    found = {k: v.values for k, v in run_minibatch(dataclasses.replace(MINIBATCH, batch_partners=partners)).items()}
    runs, at_steps = found["simulated_risk"], np.isin(found["long_step"], found["step"])
    error = runs.std(axis=2) / np.sqrt(MINIBATCH.num_seeds)
    assert np.all(np.abs(runs.mean(axis=2) - found["risk"][:, :, at_steps]) <= SAMPLING * error + IDENTITY)
    usual = run_minibatch(MINIBATCH)["mean_risk"].values[1]  # there a sample's own pair has another weight
    assert np.all(np.abs(found["mean_risk"][1, :, -1] / usual[:, -1] - 1) > 1e-3)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"epochs": True}, "epochs: independent pairs are drawn from all originals"),
        ({"batch_partners": "permuted", "batch_sizes": (5,)}, "batch_sizes: 5 different originals asked for"),
        ({"batch_partners": "flipped", "partners": "others"}, "batch_partners: flipped batches are mixed with themse"),
    ],
)
def test_batches_that_cannot_be_drawn_are_named(fields, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        run_minibatch(dataclasses.replace(MINIBATCH, **fields))


def test_table_and_figure_say_how_it_was_mixed(similar, result_of, tmp_path, monkeypatch):
    from figures import script, ucurve

    path = tmp_path / "ucurve.nc"
    for config, words in ((similar, "mixing: partners similar-labels, bandwidth 0.3"), (UCURVE, "")):
        check_fields(config)
        provenance = {"configuration": dataclasses.asdict(config)}
        store.write(path, "ucurve", result_of("ucurve"), provenance)
        console = Console(record=True, width=120)
        drawn: list[Figure] = []
        report.print_result(console, store.read(path))
        assert ("mixing: " in (text := console.export_text())) == bool(words)
        assert words in text
        monkeypatch.setattr(script.plt, "close", drawn.append)
        assert (
            script.draw_from_file(
                ucurve.draw, name="ucurve", kind="ucurve", about="", argv=[str(path), "--output", str(tmp_path / "u")]
            )
            == 0
        )
        assert drawn[0].get_supxlabel() == words


def test_a_law_is_written_short_with_its_ratio_and_pairs():
    assert style.law_name(str(mixup(MixingConfig(share=0.5), 9, lam=0.5))) == "Mixup(lam=0.5, pairs=9)"
    assert style.law_name("ERM") == "ERM"
