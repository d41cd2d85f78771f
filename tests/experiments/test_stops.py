"""What ends a run: bad input, Ctrl-C, SIGTERM, a full disk, a reader who leaves."""

import signal
import subprocess
import sys
import time

import pytest

from experiments import cli
from experiments.cost import SAID
from tests.experiments.small import PROGRAM, SAMPLE_SIZE, UCURVE, flags


@pytest.fixture(autouse=True)
def _heard_interrupts():
    """A shell's background jobs ignore Ctrl-C, and so would all that they start."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def last_words(process):
    """What a program that was told to stop says; one that goes on is killed, and no test waits for it."""
    try:
        return process.communicate(timeout=60)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        raise


def complaints(said):
    """What a program says beside what its run will cost, which is its first line once it has begun."""
    first, _, rest = said.partition("\n")
    assert first.startswith(SAID)
    return rest


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


@pytest.mark.slow
def test_bad_input_ends_the_process_with_2_and_no_traceback(tmp_path):
    for arguments in (["ucurve", "--lam", "1.5"], ["ucurve", "--lam", "x"], ["show", "none.nc"], ["draw"]):
        finished = subprocess.run([*PROGRAM, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert finished.returncode == cli.BAD_INPUT
        assert finished.stderr
        assert "Traceback" not in finished.stderr


@pytest.mark.slow
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
        errors = last_words(process)
    assert process.returncode == cli.INTERRUPTED
    assert complaints(errors) == (
        "rfm: interrupted; nothing was stored, and an earlier result file, if any, is untouched\n"
    )
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


@pytest.mark.slow
def test_a_full_disk_costs_neither_the_table_nor_an_earlier_result(tmp_path):
    output = tmp_path / "ucurve.nc"
    output.write_bytes(b"an earlier result")
    arguments = ["ucurve", *flags(UCURVE), "--output", str(output), "--figure", "None"]
    finished = _on_a_disk_with_room_for(5000, arguments, tmp_path)
    assert finished.returncode == cli.BAD_INPUT
    assert "turning risk" in finished.stdout
    said = complaints(finished.stderr)
    assert said.startswith("rfm: error: output: cannot write the 0.")
    assert said.count("\n") == 1
    assert output.read_bytes() == b"an earlier result"
    assert [path.name for path in tmp_path.iterdir()] == ["ucurve.nc"]


@pytest.mark.slow
def test_a_disk_too_full_for_the_figure_keeps_the_result_and_no_part_of_a_picture(tmp_path):
    arguments = ["sample-size", *flags(SAMPLE_SIZE), "--output", "a.nc", "--figure", "a"]
    finished = _on_a_disk_with_room_for(30_000, arguments, tmp_path)
    assert finished.returncode == cli.BAD_INPUT
    assert complaints(finished.stderr).startswith("figures.sample_size: error: output: cannot write 'a.p")
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


@pytest.mark.slow
def test_a_reader_of_the_output_who_leaves_early_costs_neither_result_nor_figure(tmp_path):
    process = subprocess.Popen(
        [*PROGRAM, "sample-size", *flags(SAMPLE_SIZE), "--output", "a.nc", "--figure", "a"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    process.stdout.close()
    with process:
        assert complaints(process.stderr.read()) == ""
    assert process.returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nc", "a.pdf", "a.png"]


STOPS = [
    (signal.SIGINT, 130, "rfm: interrupted; nothing was stored, and an earlier result file, if any, is untouched\n"),
    (signal.SIGTERM, 143, "rfm: terminated; nothing was stored, and an earlier result file, if any, is untouched\n"),
    (signal.SIGHUP, 129, ""),
]


@pytest.mark.slow
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
        errors = last_words(process)
    assert (process.returncode, errors) == (status, words)
    assert [path.name for path in tmp_path.iterdir()] == ["bound.nc"]
    assert (tmp_path / "bound.nc").read_bytes() == b"an earlier result"


AT_ONCE = 2.0
"""Seconds, on a busy machine."""


@pytest.mark.slow
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
        errors = last_words(process)
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
