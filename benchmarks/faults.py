"""Faults, tried through the command line: bad input, and runs that are killed, stopped, or out of disk at any moment.

Prints a table in markdown, that of docs/reliability.md, and fails if anything was lost or said in more than one line.
"""

import argparse
import contextlib
import io
import random
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr

from experiments import cli, store
from experiments.cost import SAID

BAD = cli.BAD_INPUT
INPUTS: tuple[tuple[str, int, str], ...] = (
    ("draw", BAD, "rfm --help"),
    ("ucurve --nmu-samples 3", BAD, "rfm ucurve --help"),
    ("ucurve --lam x", BAD, "rfm ucurve --help"),
    ("ucurve --lam", BAD, "rfm ucurve --help"),
    ("show", BAD, "rfm show --help"),
    ("ucurve --lam 1.5", BAD, "lam: "),
    ("ucurve --lam nan", BAD, "lam: "),
    ("ucurve --alpha 0", BAD, "alpha: "),
    ("ucurve --alpha inf", BAD, "alpha: "),
    ("ucurve --num-samples 1", BAD, "num_samples: "),
    ("ucurve --num-samples 100000", BAD, "num_samples, "),
    ("ucurve --num-features 0", BAD, "num_features: "),
    ("ucurve --num-features 100000000000", BAD, "num_features"),
    ("ucurve --num-pairs 0", BAD, "num_pairs: "),
    ("ucurve --num-pairs 1000000000000", BAD, "num_pairs"),
    ("ucurve --num-steps 0", BAD, "num_steps: "),
    ("ucurve --num-steps 99999999999999999999", BAD, "num_steps: "),
    ("ucurve --num-seeds 0", BAD, "num_seeds: "),
    ("ucurve --num-seeds 1000000000000", BAD, "num_seeds: "),
    ("ucurve --num-times 1", BAD, "num_times: "),
    ("ucurve --num-times 100000000000", BAD, "num_times"),
    ("ucurve --num-recorded 1", BAD, "num_recorded: "),
    ("ucurve --seed -1", BAD, "seed: "),
    ("ucurve --seed 99999999999999999999999", BAD, "seed: "),
    ("ucurve --step-fraction 1e-300", BAD, "step_fraction: "),
    ("ucurve --step-fraction -1", BAD, "step_fraction: "),
    ("ucurve --beyond-simulation 1e300", BAD, "beyond_simulation: "),
    ("ucurve --teacher-weight-std 0", BAD, "teacher_weight_std: "),
    ("ucurve --teacher-weight-std 1e200", BAD, "teacher_weight_std: "),
    ("ucurve --feature-weight-std 0", BAD, "feature_weight_std: "),
    ("ucurve --feature-weight-std 1e200", BAD, "feature_weight_std: "),
    ("ucurve --feature-bias-std inf", BAD, "feature_bias_std: "),
    ("ucurve --label-noise-std 1e200", BAD, "label_noise_std: "),
    ("ucurve --teacher-activation exp --teacher-weight-std 999", BAD, "teacher_weight_std: "),
    ("ucurve --teacher-activation step", BAD, "teacher_activation: "),
    ("ucurve --truth labels", BAD, "truth: "),
    ("ucurve --dataset diabetes --num-hidden 7", BAD, "num_hidden: "),
    ("switch --dataset digits --truth labels --teacher-activation relu", BAD, "teacher_activation: "),
    ("ucurve --dataset iris", BAD, "dataset: "),
    ("ucurve --dataset none.npz", BAD, "dataset: "),
    ("ucurve --dataset complex.npz", BAD, "x of complex.npz: "),
    ("ucurve --dataset truth.npz", BAD, "y of truth.npz: "),
    ("ucurve --dataset diabetes --num-samples 420", BAD, "num_samples: "),
    ("ucurve --dataset diabetes --num-test 1000", BAD, "num_test: "),
    ("ucurve --num-workers 0", BAD, "num_workers: "),
    ("ucurve --output a.txt", BAD, "output: "),
    ("ucurve --output folder.nc", BAD, "output: "),
    ("ucurve --output file/a.nc", BAD, "output: "),
    ("ucurve --output /proc/a.nc", BAD, "output: "),
    ("ucurve --figure a.png", BAD, "figure: "),
    ("ucurve --figure ''", BAD, "figure: "),
    ("ucurve --figure folder.nc", BAD, "figure: "),
    ("ucurve --figure file/a", BAD, "figure: "),
    ("ucurve --config none.toml", BAD, "config: "),
    ("ucurve --config broken.toml", BAD, "config: "),
    ("ucurve --config unknown.toml", BAD, "config: "),
    ("ucurve --config file", BAD, "config: "),
    ("ucurve --config kind.nc", BAD, "config: "),
    ("ucurve --config folder.nc", BAD, "is a folder"),
    ("show folder.nc", BAD, "is a folder"),
    ("show none.nc", BAD, "none.nc: "),
    ("show file", BAD, "file: "),
    ("show 'x[/red]/p.nc'", BAD, "x[/red]/p.nc: "),
    ("show other.nc", BAD, "other.nc: "),
    ("show kind.nc", BAD, "kind: "),
    ("show origin.nc", BAD, "origin.nc: "),
    ("show poor.nc", BAD, "ucurve: "),
    ("sample-size --sample-sizes 6 4", BAD, "sample_sizes: "),
    ("sample-size --final-time 1e-300", BAD, "final_time: "),
    ("sample-size --features-per-sample 100000000", BAD, "num_features"),
    ("noise --teacher-weight-stds 1e200", BAD, "teacher_weight_stds: "),
    ("noise --sharpness 1e300", BAD, "sharpness: "),
    ("noise --num-classes 1", BAD, "num_classes: "),
    ("noise --num-pairs 99999999999", BAD, "num_pairs"),
    ("bound --num-test None", BAD, "num_test: "),
    ("bound --dataset digits", BAD, "dataset: "),
    ("bound --start-variance 1e300", BAD, "start_variance: "),
    ("bound --final-time nan", BAD, "final_time: "),
    ("minibatch --batch-sizes 8 2", BAD, "batch_sizes: "),
    ("minibatch --step-fraction 1", BAD, "step_fraction: "),
    ("switch --step-fraction 1e-300", BAD, "step_fraction: "),
    ("switch --num-samples 1000000", BAD, "num_samples, "),
    ("rules --momentum 1", BAD, "momentum: "),
    ("rules --num-samples 4 --num-features 5 --num-seeds 1 --ridge 1e9", BAD, "ridge: "),
    ("penalty-map --alphas 1", BAD, "alphas: "),
    ("penalty-map --sample-sizes 8", BAD, "sample_sizes: "),
    ("advise diabetes --dataset digits", BAD, "dataset: "),
    ("advise --features raw --num-features 9", BAD, "num_features: "),
    ("advise --num-held-out 9 --num-folds 3", BAD, "num_folds: "),
    ("advise --budget 1e-300", BAD, "budget: "),
    ("advise --budget 1e-9 --num-features 5 --num-folds 2", BAD, "budget: "),
    ("advise --step-size -1", BAD, "step_size: "),
    ("advise complex.npz", BAD, "x of complex.npz: "),
    ("advise phase.npz", BAD, "y of phase.npz: "),
    ("advise table.npz", BAD, "x of table.npz: "),
    ("advise truth.npz", BAD, "y of truth.npz: "),
    ("advise text.npz", BAD, "y of text.npz: "),
    ("advise date.npz", BAD, "x of date.npz: "),
    ("advise duration.npz", BAD, "x of duration.npz: "),
    ("advise mixed.npz", BAD, "x_train holds "),
    ("advise cut.npz", BAD, "cut.npz"),
    ("advise none.csv --target y", BAD, "none.csv"),
    ("advise 'x[/red]/p.csv' --target z", BAD, "z"),
    ("advise 'x[/red]/p.csv' --target a,a", BAD, "target: "),
    ("advise 'x[/red]/p.csv' --target a --inputs b,b", BAD, "inputs: "),
    ("advise 'x[/red]/p.csv' --target '[/b]' --num-folds 2 --num-features 3 --num-times 8 --figure None", 0, ""),
    ("help", 0, ""),
    ("-V", 0, ""),
)
"""Arguments, the status that they end with, and a word of what is said."""

SMALL = ["--num-seeds", "2", "--num-times", "12", "--num-test", "40", "--num-features", "5"]
RUNS = (
    ["sample-size", *SMALL, "--sample-sizes", "4", "6", "--features-per-sample", "3"],
    ["penalty-map", *SMALL, "--sample-sizes", "4", "6", "--alphas", "0.5", "1"],
)
STOPS = (("killed", signal.SIGKILL, -9), ("interrupted", signal.SIGINT, 130), ("terminated", signal.SIGTERM, 143))
MINUTES = 4.0
FIRST = 0.3
"""Seconds after which the first signals come."""
WHOLE_PDF = b"%%EOF\n"


class Row(NamedTuple):
    """One line of the table, and what went wrong, a sentence each."""

    what: str
    tried: int
    faults: list[str]


def main() -> int:
    """Tries everything, prints the table, and returns 1 if anything went wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES, help="for the runs that are stopped")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [try_inputs(Path(folder))]
    with tempfile.TemporaryDirectory() as folder:
        rows += try_stops(Path(folder), random.Random(arguments.seed), 60 * arguments.minutes)
    print("| tried through the command line | how often | said unclearly, crashed, or lost |")
    print("|---|---:|---:|")
    for row in rows:
        print(f"| {row.what} | {row.tried} | {len(row.faults)} |")
    faults = [fault for row in rows for fault in row.faults]
    print("\n".join(faults), file=sys.stderr, end="\n" if faults else "")
    return 1 if faults else 0


def try_inputs(folder: Path) -> Row:
    """Every line of `INPUTS`, in this process."""
    _make_files(folder)
    with contextlib.chdir(folder):
        faults = [fault for line, status, word in INPUTS for fault in _faults_of(line, status, word)]
    faults += [f"left behind: {path.name}" for path in folder.rglob(".*.tmp")]
    return Row("inputs that are wrong, or look so", len(INPUTS), faults)


def _faults_of(line: str, status: int, word: str) -> list[str]:
    printed, said, is_box = io.StringIO(), io.StringIO(), False
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(said):
            found: object = cli.main(shlex.split(line))
    except SystemExit as end:  # of the parser, whose words come in a box
        found, is_box = end.code or 0, True
    except BaseException as error:
        return [f"{line}: {type(error).__name__}: {error}"]
    words = said.getvalue()
    if found == status and word in words and (is_box or _complaints(words) == (status != 0)):
        return []
    return [f"{line}: status {found}, said {words!r}"]


def _complaints(said: str) -> int:
    """Lines beside the one that says what a run will cost."""
    return sum(not line.startswith(SAID) for line in said.splitlines())


def _make_files(folder: Path) -> None:
    (folder / "file").write_text("no folder, no result")
    (folder / "folder.nc").mkdir()
    (folder / "broken.toml").write_text("lam = \n")
    (folder / "unknown.toml").write_text("lamda = 1\n")
    xr.Dataset({"a": 1}).to_netcdf(folder / "other.nc", engine="h5netcdf")
    for name, kind, provenance in (
        ("kind.nc", "dream", '{"variables": []}'),
        ("origin.nc", "ucurve", "{}"),
        ("poor.nc", "ucurve", '{"variables": []}'),
    ):
        attributes = {"kind": kind, "layout": store.LAYOUT, "provenance": provenance}
        store.save(folder / name, store.Result(attrs=attributes))
    (folder / "x[/red]").mkdir(parents=True)
    _make_arrays(folder)
    rows = np.random.default_rng(0).normal(size=(30, 3)).tolist()
    lines = ["[/b],a,b", *(",".join(map(str, row)) for row in rows)]
    (folder / "x[/red]" / "p.csv").write_text("\n".join(lines))


def _make_arrays(folder: Path) -> None:
    """Files of arrays that hold no real numbers, and one that is cut."""
    days = np.arange(30.0)
    x, y = np.stack([days, days % 7], axis=1), days
    for name, inputs, targets in (
        ("complex", x + 1j, y),
        ("phase", x, y + 1j),
        ("table", np.zeros(30, "f8,i4"), y),
        ("truth", x, y > 9),
        ("text", x, y.astype(str)),
        ("date", x.astype("M8[D]"), y),
        ("duration", x.astype("m8[D]"), y),
    ):
        np.savez(folder / f"{name}.npz", x=inputs, y=targets)
    np.savez(folder / "mixed.npz", x_train=x, x_test=x.astype("M8[D]"), y_train=y, y_test=y)
    np.savez_compressed(folder / "cut.npz", x=x, y=y)
    content = bytearray((folder / "cut.npz").read_bytes())
    content[60:90] = bytes(30)
    (folder / "cut.npz").write_bytes(content)


def try_stops(folder: Path, chance: random.Random, seconds: float) -> list[Row]:
    """Stops runs at random moments until the time is over; every run has an earlier result and figure to lose."""
    durations = [_duration(folder, run) for run in RUNS]
    rows = {name: Row(f"runs {name} at a random moment", 0, []) for name, *_ in STOPS}
    full = Row("runs on a disk that is full at a random size", 0, [])
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for name, number, status in STOPS:
            index = chance.randrange(len(RUNS))
            faults = _stop(folder, index, number, status, chance.uniform(FIRST, durations[index]))
            rows[name] = Row(rows[name].what, rows[name].tried + 1, rows[name].faults + faults)
        index, size = chance.randrange(len(RUNS)), chance.randrange(2, 100_000)
        full = Row(full.what, full.tried + 1, full.faults + _fill(folder, index, size))
    for run in RUNS:  # the next writer of the same paths sweeps up
        _duration(folder, run)
    strays = [f"left behind: {path.name}" for path in folder.iterdir() if path.name.startswith(".")]
    rows["killed"] = Row(rows["killed"].what, rows["killed"].tried, rows["killed"].faults + strays)
    return [*rows.values(), full]


def _whole(run: Sequence[str]) -> list[str]:
    return [*run, "--output", f"{run[0]}.nc", "--figure", run[0]]


def _duration(folder: Path, run: Sequence[str]) -> float:
    begin = time.monotonic()
    subprocess.run([sys.executable, "-m", "experiments.cli", *_whole(run)], cwd=folder, check=True, capture_output=True)
    return time.monotonic() - begin


def _stop(folder: Path, index: int, number: signal.Signals, status: int, moment: float) -> list[str]:
    before = {path.name for path in folder.iterdir()}
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments.cli", *_whole(RUNS[index])],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(moment)
    process.send_signal(number)
    _, said = process.communicate()
    what = f"{RUNS[index][0]}, {number.name} after {moment:.2f} s: "
    faults = [what + fault for fault in _losses(folder, index)]
    if process.returncode in (0, -number):  # it had ended before, or not begun yet
        return faults
    if process.returncode != status or _complaints(said) != 1:
        faults.append(f"{what}status {process.returncode}, said {said!r}")
    if number != signal.SIGKILL:
        faults += [f"{what}left {name}" for name in {path.name for path in folder.iterdir()} - before]
    return faults


def _fill(folder: Path, index: int, size: int) -> list[str]:
    code = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))\n"
        "from experiments.cli import main\nsys.exit(main())"
    )
    before = {path.name for path in folder.iterdir()}
    finished = subprocess.run(
        [sys.executable, "-c", code, *_whole(RUNS[index])], cwd=folder, capture_output=True, text=True
    )
    what = f"{RUNS[index][0]}, files of at most {size} bytes: "
    faults = [what + fault for fault in _losses(folder, index)]
    faults += [f"{what}left {name}" for name in {path.name for path in folder.iterdir()} - before]
    if finished.returncode not in (0, BAD) or _complaints(finished.stderr) != (finished.returncode == BAD):
        faults.append(f"{what}status {finished.returncode}, said {finished.stderr!r}")
    if "───" not in finished.stdout:  # the rule under a table's head
        faults.append(f"{what}the table is lost")
    return faults


def _losses(folder: Path, index: int) -> list[str]:
    """What is no longer whole of the run's result and figure."""
    name = RUNS[index][0]
    losses = []
    try:
        store.read(folder / f"{name}.nc", name)
    except ValueError as error:
        losses.append(str(error))
    if not (folder / f"{name}.pdf").read_bytes().endswith(WHOLE_PDF):
        losses.append("the .pdf is not whole")
    if not (folder / f"{name}.png").read_bytes().endswith(b"IEND\xaeB`\x82"):
        losses.append("the .png is not whole")
    return losses


if __name__ == "__main__":
    sys.exit(main())
