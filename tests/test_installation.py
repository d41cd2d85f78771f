"""Beside anyone's folders: what is called as our packages are is not taken for them; what hides them is named."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import rfm_command
from rfm import hidden
from tests.structure import FLOORS, ROOT

Files = dict[str, str]
"""Texts by their paths."""


def lay(folder: Path, files: Files) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def python(script: Path, *arguments: str, path: str = str(ROOT)) -> subprocess.CompletedProcess[str]:
    """Runs a script: its own folder comes first, and then that of our packages."""
    command = [sys.executable, "-W", "error", str(script), *arguments]
    environment = os.environ | {"PYTHONPATH": path, "JAX_PLATFORMS": "cpu"}
    return subprocess.run(command, env=environment, cwd=script.parent, capture_output=True, text=True, timeout=120)


HIDING = {
    "a file": ({"theory.py": "raise SystemExit('was run')"}, "theory.py"),
    "a package": ({"theory/__init__.py": "raise SystemExit('was run')"}, "theory"),
}


@pytest.mark.parametrize("kind", HIDING)
@pytest.mark.parametrize("statement", ["import rfm", "from rfm.features import RandomFeatures"])
def test_what_hides_theory_is_named_in_one_line_and_not_run(kind: str, statement: str, tmp_path: Path) -> None:
    files, named = HIDING[kind]
    ended = python(lay(tmp_path, files | {"mine.py": statement}) / "mine.py")
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == (
        f"ImportError: theory: {tmp_path / named} hides the package of that name that rfm was installed with; rename it"
    )


def test_one_that_was_imported_before_is_named_too(tmp_path: Path) -> None:
    ended = python(lay(tmp_path, {"theory.py": "", "mine.py": "import theory, rfm"}) / "mine.py")
    assert f"theory: {tmp_path / 'theory.py'} hides" in ended.stderr.splitlines()[-1]


def test_a_folder_without_code_is_named_where_python_takes_it_for_the_package(tmp_path: Path) -> None:
    """An editable install is looked at last, after folders that hold no ``__init__.py``."""
    finds_last = (
        "import sys\nfrom importlib.machinery import PathFinder\n"
        "class Last:\n"
        "    find_spec = staticmethod(lambda name, path=None, target=None:\n"
        f"        PathFinder.find_spec(name, [{str(ROOT)!r}]) if name in ('rfm', 'theory') else None)\n"
        f"sys.path[:] = [place for place in sys.path if place != {str(ROOT)!r}]\n"
        "sys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in repr(f).lower()] + [Last]\n"
        "import rfm\n"
    )
    script = lay(tmp_path, {"theory/notes.md": "", "mine.py": finds_last}) / "mine.py"
    ended = python(script, path="")
    assert f"ImportError: theory: {tmp_path / 'theory'} hides" in ended.stderr.splitlines()[-1]
    # One on the path comes before them.
    script.write_text("import rfm, theory\nprint(rfm.__file__, theory.__file__)")
    assert python(script).stdout.split() == [str(ROOT / name / "__init__.py") for name in ("rfm", "theory")]


def test_what_hides_nothing_is_nobodys_business(tmp_path: Path) -> None:
    """A theory elsewhere, a folder of figures, one of experiments, and modules in folders of one's own."""
    names = "figures/__init__.py", "experiments/__init__.py", "my/theory.py", "elsewhere/theory.py"
    mine = "import rfm, my.theory, experiments\nprint(experiments.__file__)"
    script = lay(tmp_path, {"mine.py": mine, **dict.fromkeys(names, "")}) / "mine.py"
    ended = python(script, path=os.pathsep.join([str(ROOT), str(tmp_path / "elsewhere")]))
    assert (ended.stdout, ended.stderr) == (f"{tmp_path / 'experiments' / '__init__.py'}\n", "")


def test_figures_name_what_hides_the_experiments(tmp_path: Path) -> None:
    script = lay(tmp_path, {"experiments.py": "", "mine.py": "import figures.noise"}) / "mine.py"
    assert f"experiments: {tmp_path / 'experiments.py'} hides" in python(script).stderr.splitlines()[-1]


def test_a_module_made_by_hand_and_other_names_are_let_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "figures", type(sys)("figures"))
    hidden.check_not_hidden("figures")
    hidden.check_not_hidden("nobody.s")


def test_the_command_never_looks_for_our_packages_in_the_current_folder(tmp_path: Path) -> None:
    """Here it comes first on the path, as an empty entry of PYTHONPATH puts it."""
    names = "theory.py", "rfm.py", "figures/__init__.py", "experiments/__init__.py"
    trapped = lay(tmp_path / "my work", dict.fromkeys(names, "raise SystemExit('was run')"))
    code = (
        f"import sys\nassert sys.path[0] == ''\nsys.path.insert(1, {str(ROOT)!r})\nimport rfm_command\n"
        "status = rfm_command.main()\n"
        "import theory, rfm, experiments, figures.noise\n"
        "print(*(module.__file__ for module in (theory, rfm, experiments, figures)), sep='\\n')\n"
        "sys.exit(status)"
    )
    command = [sys.executable, "-c", code, "--version"]
    ended = subprocess.run(command, cwd=trapped, capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines()[1:] == [str(ROOT / floor / "__init__.py") for floor in FLOORS]


def test_what_hides_the_figures_is_named_before_the_work_is_done(tmp_path: Path) -> None:
    """Where a script of one's own calls the command line as a function."""
    call = "import sys\nfrom experiments import cli\nsys.exit(cli.main(['noise']))"
    ended = python(lay(tmp_path, {"figures/__init__.py": "", "mine.py": call}) / "mine.py")
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr == (
        f"rfm: error: figures: {tmp_path / 'figures'} hides the package of that name that rfm was installed with; "
        "rename it\n"
    )


def declared() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_everything_that_is_installed_is_looked_for_by_its_name() -> None:
    setuptools = declared()["tool"]["setuptools"]
    assert [name.removesuffix("*") for name in setuptools["packages"]["find"]["include"]] == list(FLOORS)
    assert rfm_command.PACKAGES == FLOORS
    assert {*hidden.PACKAGES, "rfm"} == set(FLOORS)
    assert setuptools["py-modules"] == ["rfm_command"]
    assert declared()["project"]["scripts"] == {"rfm": "rfm_command:main"}


def test_the_citation_is_of_this_version_and_licence_and_of_the_paper() -> None:
    cited = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    project = declared()["project"]
    assert cited.startswith("cff-version: 1.2.0\n")
    assert f"\nversion: {project['version']}\n" in cited
    assert f"\nlicense: {project['license']}\n" in cited
    paper = (ROOT / "docs" / "references.bib").read_text(encoding="utf-8").partition("{liu2023overtraining,")[2]
    fields = dict(re.findall(r"(\w+)\s*= \{(.*)\},", paper.partition("\n}")[0]))
    assert f"    title: {fields['title']}\n" in cited
    names = re.findall(r"family-names: (\w+)\n\s+given-names: (\w+)", cited)
    assert " and ".join(f"{given} {family}" for family, given in names) == fields["author"]
    assert f"    year: {fields['year']}\n" in cited
    assert f"arXiv:{fields['eprint']}" in cited


def test_what_says_that_it_is_typed_is_installed() -> None:
    data = declared()["tool"]["setuptools"]["package-data"]
    assert data == {floor: ["py.typed"] for floor in FLOORS if (ROOT / floor / "py.typed").is_file()}
    assert set(data) == {"theory", "rfm"}
