"""Every figure is drawn from a stored result, in both formats, or says in one line why not."""

import importlib
import itertools
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.text import Text

from experiments import cli, store
from experiments.registry import EXPERIMENTS
from experiments.ucurve import run_ucurve
from figures import modes, style, switch, ucurve
from figures.__main__ import main as draw_all
from tests.experiments.small import UCURVE

KINDS = {figure.removeprefix("figures."): kind for kind, one in EXPERIMENTS.items() for figure in one.figures}
"""Of the result that each script draws."""
SCRIPTS = {name: importlib.import_module(f"figures.{name}") for name in KINDS}


@pytest.fixture(scope="module")
def results(tmp_path_factory, result_of):
    folder = tmp_path_factory.mktemp("results")
    runs = {kind: (kind, result_of(kind)) for kind in EXPERIMENTS}
    runs |= {"labels": ("ucurve", run_ucurve(replace(UCURVE, dataset="diabetes", truth="labels")))}
    for name, (kind, variables) in runs.items():
        store.write(folder / f"{name}.nc", kind, variables, {})
    return folder


def _source(name):
    return f"{KINDS[name]}.nc"


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_figure_is_drawn_in_both_formats(name, results, tmp_path):
    assert SCRIPTS[name].main([str(results / _source(name)), "--output", str(tmp_path / "folder" / "stem")]) == 0
    assert (tmp_path / "folder" / "stem.png").read_bytes().startswith(b"\x89PNG")
    pdf = (tmp_path / "folder" / "stem.pdf").read_bytes()
    assert pdf.startswith(b"%PDF")
    assert b"/Type3" not in pdf  # whole fonts are embedded, which journals ask for


@pytest.mark.parametrize("name", SCRIPTS)
def test_nothing_that_is_drawn_reaches_out_of_the_figure(name, results):
    style.use()
    figure = SCRIPTS[name].draw(store.read(results / _source(name), KINDS[name]))
    figure.canvas.draw()
    drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    pixel = 1 / figure.dpi
    assert min(drawn.x0, drawn.y0) >= -pixel
    assert drawn.x1 <= width + pixel
    assert drawn.y1 <= height + pixel
    plt.close(figure)


def test_whoever_draws_other_figures_finds_their_look_again(results, tmp_path):
    with plt.rc_context({"font.size": 13.0}):
        backend = plt.get_backend()
        assert SCRIPTS["bound"].main([str(results / _source("bound")), "--output", str(tmp_path / "stem")]) == 0
        assert plt.rcParams["font.size"] == 13.0
        assert plt.get_backend() == backend


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_result_of_another_kind_is_refused(name, results, tmp_path, capsys):
    other = "ucurve.nc" if name == "sample_size" else "sample-size.nc"
    assert SCRIPTS[name].main([str(results / other), "--output", str(tmp_path / "stem")]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"figures.{name}: error: ")
    assert "is a result of `rfm" in printed
    assert printed.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["decomposition", "modes"])
def test_a_result_without_decomposition_says_so(name, results, tmp_path, capsys):
    assert SCRIPTS[name].main([str(results / "labels.nc"), "--output", str(tmp_path / "stem")]) == 2
    printed = capsys.readouterr().err
    assert "noise of a data set's own labels" in printed
    assert "--truth kernel" in printed


@pytest.mark.slow
def test_all_figures_are_drawn_at_once_and_what_has_no_result_is_run_first(results, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    for kind, experiment in EXPERIMENTS.items():
        shutil.copy(results / f"{kind}.nc", tmp_path / "results" / f"{experiment.stem}.nc")
    (tmp_path / "results" / "penalty_map.nc").unlink()
    ran = []

    def run(arguments):
        ran.append(arguments)
        shutil.copy(results / "penalty-map.nc", "results/penalty_map.nc")
        return 0

    monkeypatch.setattr(cli, "main", run)
    assert draw_all() == 0
    assert ran == [["penalty-map", "--output", "results/penalty_map.nc", "--figure", "None"]]
    assert sorted(path.name for path in (tmp_path / "figures").glob("*.pdf")) == sorted(
        f"{name}.pdf" for name in SCRIPTS
    )
    monkeypatch.setattr(cli, "main", lambda arguments: cli.BAD_INPUT)
    (tmp_path / "results" / "bound.nc").unlink()
    assert draw_all() == cli.BAD_INPUT


def test_the_ucurve_is_drawn_without_decomposition(results, tmp_path):
    assert ucurve.main([str(results / "labels.nc"), "--output", str(tmp_path / "stem")]) == 0


def test_the_ucurve_marks_where_mixup_helps_and_where_it_hurts(results):
    style.use()
    result = store.read(results / "ucurve.nc", "ucurve")
    erm, fixed, random = np.ones((3, result.sizes["time"]))
    fixed[:4], fixed[4:8], fixed[7], fixed[8:] = 1.1, 0.8, 0.7, 1.2
    random[6:] = 0.5
    result["flow_risk"].values[:] = np.stack([erm, fixed, random])[:, None]
    strip = ucurve.draw(result).axes[0]
    words = [(text.get_text(), round(-text.get_position()[1])) for text in strip.texts if text.get_text() in WORDS]
    assert words == [("lags", 0), ("helps", 0), ("hurts", 0), ("helps", 1)]
    times = result["time"].values
    spans = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in strip.patches]
    np.testing.assert_allclose(spans, [(times[a], times[b]) for a, b in ((0, 3), (4, 7), (8, 11), (6, 11))])
    plt.close("all")


def test_the_ucurve_marks_nothing_below_rounding(results):
    style.use()
    result = store.read(results / "ucurve.nc", "ucurve")
    falling = 10.0 ** -np.linspace(0, 24, result.sizes["time"])
    wiggling = np.where(falling < 1e-16, 1e-18 * (2 + np.cos(np.arange(len(falling)))), falling)
    result["flow_risk"].values[:] = np.stack([wiggling, 2 * wiggling, wiggling[::-1] + 1])[:, None]
    result["flow_error"].values[:] = 1e-16
    figure = ucurve.draw(result)
    reached = result["time"].values[np.argmax(2 * wiggling <= 2e-16)]
    arrow = next(text for text in figure.axes[1].texts if getattr(text, "arrow_patch", None) is not None)
    assert arrow.xy[0] == reached
    ends = [bar.get_x() + bar.get_width() for bar in figure.axes[0].patches if round(bar.get_y() + 0.4) == 0]
    assert max(ends) <= reached
    plt.close("all")


@pytest.mark.parametrize("name", ["ucurve", "decomposition", "sample_size", "noise", "switch", "rules"])
@pytest.mark.parametrize("num_seeds", [1, 2])
def test_the_mean_of_one_seed_has_no_standard_error(name, num_seeds, results):
    style.use()
    result = store.read(results / _source(name))
    figure = SCRIPTS[name].draw(result.isel(seed=slice(0, num_seeds)))
    words = " ".join(text.get_text() for text in figure.findobj(Text))
    assert ("s.e." in words) == (num_seeds > 1 and name != "rules")
    assert "1 seeds" not in words
    plt.close("all")


@pytest.mark.parametrize("limits", [(0.28, 0.35), (50, 300), (30, 2000), (2e-7, 2.3e-7), (1, 1e6), (0.9, 1.4)])
@pytest.mark.parametrize(
    "label", [style.log_time_axis, lambda axes: None, lambda axes: style.plain_log_ticks(axes.xaxis, [0.3])]
)
def test_a_logarithmic_axis_has_two_labels_at_least(limits, label):
    style.use()
    figure, axes = plt.subplots()
    axes.set_xscale("log")
    label(axes)
    axes.set_xlim(*limits)
    style.label_log_axes(figure)
    figure.draw_without_rendering()
    seen = [tick for tick in axes.xaxis.get_major_ticks() if limits[0] <= tick.get_loc() <= limits[1]]
    labels = [tick.label1.get_text() for tick in seen if tick.label1.get_text()]
    assert len(set(labels)) >= 2
    plt.close(figure)


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_logarithmic_axis_of_a_figure_has_two_labels(name, results):
    style.use()
    figure = SCRIPTS[name].draw(store.read(results / _source(name)))
    style.label_log_axes(figure)
    axes = [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) if axis.get_scale() == "log"]
    assert all(style._num_labels(axis) >= 2 for axis in axes)
    plt.close("all")


def test_modes_say_whose_they_are(results):
    style.use()
    assert "Mixup(lam=0.5" in (title := modes.draw(store.read(results / "ucurve.nc")).get_suptitle())
    assert title.endswith(", first seed")
    plt.close("all")


def test_bands_of_eigenvalues_are_powers_of_ten(results):
    style.use()
    legend = switch.draw(store.read(results / "switch.nc")).axes[1].get_legend()
    words = [text.get_text() for text in legend.get_texts()]
    assert words[0] == "1 to $10^{-2}$"
    assert not any("0.0" in word or "e-" in word for word in words)
    plt.close("all")


WORDS = ("lags", "helps", "hurts")


@pytest.mark.parametrize("ends", [(1.0, 1.0, 1.0), (1.0, 1.02, 5.0), (0.2, 4.9, 5.0), (3.0, 1.0, 2.0)])
def test_names_at_the_ends_of_lines_do_not_lie_on_each_other(ends):
    style.use()
    figure, axes = plt.subplots(figsize=(style.COLUMN_WIDTH, 3.1))
    axes.set_yscale("log")
    axes.set_ylim(0.1, 10)
    style.label_ends(axes, 1.0, [(y, name, "k") for y, name in zip(ends, ("ERM", "A\n1", "B\n2"), strict=True)])
    figure.draw_without_rendering()
    boxes = sorted((text.get_window_extent() for text in axes.texts), key=lambda box: box.y0)
    for lower, upper in itertools.pairwise(boxes):
        assert lower.y1 <= upper.y0
    plt.close(figure)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_runs_as_a_program_and_refuses_a_missing_file(name, tmp_path):
    finished = subprocess.run(
        [sys.executable, "-m", f"figures.{name}", "none.nc"], capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert finished.returncode == 2
    assert finished.stderr.startswith(f"figures.{name}: error: none.nc: there is no such file")
    assert finished.stderr.count("\n") == 1


def test_labels_of_shares_near_one_do_not_run_into_each_other(results):
    """By accuracy, times begin at a step: then switches span eight decades, whose labels are wide."""
    result = store.read(results / _source("advise"))
    share = np.geomspace(1e-4, 0.5, len(result["switch_time"]) // 2)
    switches = np.concatenate([share, 1 - share[::-1]])[: len(result["switch_time"])] * float(result["time"][-1])
    figure = SCRIPTS["advise"].draw(result.assign_coords(switch_time=np.sort(switches)))
    figure.canvas.draw()
    axis = figure.axes[1].xaxis
    left, right = axis.get_view_interval()
    boxes = [tick.label1.get_window_extent() for tick in axis.get_major_ticks() if left <= tick.get_loc() <= right]
    assert len(boxes) >= 3
    assert all(one.x1 < other.x0 for one, other in itertools.pairwise(sorted(boxes, key=lambda box: box.x0)))
