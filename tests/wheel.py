"""The wheel away from the checkout: built, installed into an empty environment, and used beside folders called as ours.

``make test-wheel``, which is ``python -m tests.wheel``: about two minutes. Needs what `build` and pip fetch.
"""

import os
import subprocess
import sys
import tarfile
import tempfile
import time
import venv
import zipfile
from pathlib import Path

from tests.structure import FLOORS, ROOT

TRAPS = ("theory.py", "rfm.py", "figures/__init__.py", "experiments/__init__.py")
"""What a user's folder may hold, and what ends whoever takes it for ours."""
TINY = [
    "--num-seeds",
    "1",
    "--num-samples",
    "5",
    "--num-features",
    "8",
    "--num-hidden",
    "2",
    "--input-dim",
    "2",
    "--num-times",
    "6",
]
OURS = {*FLOORS, "rfm_command.py"}


def main() -> None:
    """Stops at the first thing that is not as it should be."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = built(folder)
        programs = installed(wheel, folder / "environment")
        work = trapped(folder / "my own work")
        the_command_works(programs, work)
        scripts_find_it(programs, folder, work)
    print("wheel: as it should be")


def built(folder: Path) -> Path:
    """The wheel, made of the source distribution, and so of nothing else that lies about."""
    run([sys.executable, "-m", "build", "--outdir", str(folder / "dist"), str(ROOT)], folder)
    (wheel,), (source,) = ((folder / "dist").glob(pattern) for pattern in ("*.whl", "*.tar.gz"))
    inside = zipfile.ZipFile(wheel).namelist()
    about = next(name for name in inside if name.endswith(".dist-info/METADATA")).rpartition("/")[0]
    expect({name.split("/")[0] for name in inside} == {*OURS, about}, f"holds only what is ours: {inside}")
    expect({"rfm/py.typed", "theory/py.typed", f"{about}/licenses/LICENSE"} <= set(inside), "types and licence")
    with tarfile.open(source) as archive:
        of_source = {name.partition("/")[2] for name in archive.getnames()}
    expect({"LICENSE", "README.md", "pyproject.toml", "rfm_command.py"} <= of_source, "the source is whole")
    return wheel


def installed(wheel: Path, environment: Path) -> Path:
    """The folder of the programs of a new environment."""
    venv.create(environment, with_pip=True)
    programs = environment / ("Scripts" if os.name == "nt" else "bin")
    pip = [str(programs / "python"), "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    run([*pip, "--constraint", str(ROOT / "constraints.txt"), str(wheel)], environment)
    return programs


def trapped(work: Path) -> Path:
    """A folder with blanks in its name, and the traps in it."""
    for trap in TRAPS:
        (work / trap).parent.mkdir(parents=True, exist_ok=True)
        (work / trap).write_text("raise SystemExit('another module was taken for ours')")
    return work


def the_command_works(programs: Path, work: Path) -> None:
    """Help, and two experiments with their figures; also where PYTHONPATH names the current folder."""
    rfm = str(programs / "rfm")
    expect("penalty-map" in run([rfm, "--help"], work), "help lists the experiments")
    for arguments, path in (
        (["noise", "--num-seeds", "1", "--num-ratios", "3", "--num-pairs", "100"], None),
        (["ucurve", *TINY], os.pathsep),
    ):
        run([rfm, *arguments], work, path=path)
        for file in (f"results/{arguments[0]}.nc", f"figures/{arguments[0]}.pdf", f"figures/{arguments[0]}.png"):
            expect((work / file).stat().st_size > 1000, f"{file} is written")
    expect("not in a checkout" in run([rfm, "show", "results/noise.nc"], work), "nobody's commit is taken for ours")


def scripts_find_it(programs: Path, folder: Path, work: Path) -> None:
    """A script elsewhere imports it; one beside a ``theory.py`` is told so."""
    python, script = str(programs / "python"), folder / "elsewhere.py"
    script.write_text("import rfm, theory\nprint(rfm.__file__, theory.__file__)")
    found = run([python, "-W", "error", str(script)], folder).split()
    expect(all(Path(path).is_relative_to(folder / "environment") for path in found), f"{found} are installed")
    (work / "rfm.py").unlink()
    beside = work / "beside.py"
    beside.write_text("import rfm")
    said = run([python, str(beside)], work, status=1).splitlines()[-1]
    expect(said.startswith(f"ImportError: theory: {work / 'theory.py'} hides the package"), said)


def run(command: list[str], folder: Path, *, path: str | None = None, status: int = 0) -> str:
    """What a command printed, run in a folder, with another PYTHONPATH or none."""
    since = time.monotonic()
    left_out = ("PYTHONPATH", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    environment |= {} if path is None else {"PYTHONPATH": path}
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    print(f"{time.monotonic() - since:5.1f} s  {Path(command[0]).name} {' '.join(command[1:])}", flush=True)
    printed = ended.stdout + ended.stderr
    expect(ended.returncode == status, f"status {ended.returncode}, not {status}: {printed}")
    return printed


def expect(truth: bool, what: str) -> None:
    """Ends the program where something is not so."""
    if not truth:
        sys.exit(f"wheel: expected that {what}")


if __name__ == "__main__":
    main()
