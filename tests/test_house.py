"""The rules of the house that a parser can hold."""

import ast
import doctest
import graphlib
import importlib
import inspect
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import rfm
import theory
from tests.structure import FLOORS, ROOT, chapters, doors, graph, imports, levels, modules, parse, passes_on

ENTRY_POINTS = {"experiments"}
"""Where float64 may be switched on, besides the tests' own conftest.py."""

WITHOUT_EXAMPLE = {
    "mode_risk": "its numbers mean something only beside a problem; held by tests/theory/test_risk.py",
    "noise_weights": "one line of `weights`, whose example shows it",
    "closed_form": "the example of `Problem` solves with it",
    "simulate_many": "`simulate`, whose example shows it, for several problems",
}


def names(tree: ast.AST) -> set[str]:
    """Every dotted name that is used or imported."""
    used = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return used | set(imports(tree))


@pytest.mark.parametrize("path", modules(*FLOORS), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_only_point_down(path: Path) -> None:
    floor = FLOORS.index(path.relative_to(ROOT).parts[0])
    above = {name for name in imports(parse(path)) if name.split(".")[0] in (*FLOORS[floor + 1 :], "tests")}
    assert not above


def test_the_rule_about_imports_would_catch_one_that_points_up() -> None:
    assert list(imports(ast.parse("def f():\n    from rfm.data.tasks import Sample"))) == ["rfm.data.tasks.Sample"]


KNOWS_ALL_FLOORS = {"cli", "registry"}
"""Of the experiments: the command line, and the entries that it makes itself of."""


def words(tree: ast.AST) -> Iterator[str]:
    """Every string that is no prose: docstrings, and lines under a name, speak of what they like."""
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.value


@pytest.mark.parametrize("path", modules("experiments"), ids=lambda path: path.stem)
def test_one_experiment_knows_no_figure_even_by_its_name(path: Path) -> None:
    named = [word for word in words(parse(path)) if re.search(r"\bfigures\b", word)]
    assert bool(named) == (path.stem in KNOWS_ALL_FLOORS)


def test_the_rule_about_names_would_catch_one_in_any_string() -> None:
    tree = ast.parse('def f():\n    """Of figures."""\n    return g(f"{x}figures.ucurve", "by")')
    assert list(words(tree)) == ["by", "figures.ucurve"]


MOST_LEVELS = 8
"""To which modules of a floor are stacked."""
MOST_LINES = 400


@pytest.mark.parametrize("path", modules(*FLOORS, "tests", "benchmarks"), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_is_longer_than_a_chapter(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


@pytest.mark.parametrize("floor", FLOORS)
def test_modules_are_stacked_no_higher_than_a_reader_can_follow(floor: str) -> None:
    found = levels(graph(floor), doors(floor))
    assert len(found) > 5
    assert {module: level for module, level in found.items() if level > MOST_LEVELS} == {}


@pytest.mark.parametrize("floor", FLOORS)
def test_chapters_do_not_need_each_other_in_a_circle(floor: str) -> None:
    levels(chapters(graph(floor)), set())


def test_the_picture_of_the_floors_shows_every_chapter() -> None:
    shown = re.findall(r">(\w+)</text>", (ROOT / "docs" / "floors.svg").read_text(encoding="utf-8"))
    there = [name.split(".")[1] for floor in FLOORS for name in chapters(graph(floor))]
    assert sorted(shown) == sorted([*there, *FLOORS]), "draw it again: python -m tests.structure docs/floors.svg"


def test_the_rule_about_levels_would_catch_a_stack_and_a_circle() -> None:
    stack = {f"theory.{n}": {f"theory.{n - 1}"} if n else set() for n in range(MOST_LEVELS + 1)}
    assert max(levels(stack, set()).values()) == MOST_LEVELS + 1
    assert max(levels(stack, {"theory.4"}).values()) == MOST_LEVELS
    with pytest.raises(graphlib.CycleError):
        levels(stack | {"theory.0": {"theory.8"}}, set())
    assert graph("theory")["theory.risk"] >= {"theory.checks", "theory.rules.rule"}
    assert {"theory", "theory.rules"} <= doors("theory")
    assert not passes_on(ast.parse("from theory.rules import rule\nNUM = 3"))


@pytest.mark.parametrize("path", modules("theory"), ids=lambda path: path.stem)
def test_theory_knows_no_chance_no_file_and_no_clock(path: Path) -> None:
    forbidden = ("jax.random", "numpy.random", "np.random", "random", "time", "datetime", "pathlib", "os", "io")
    found = {n for n in names(parse(path)) if any(n == word or n.startswith(f"{word}.") for word in forbidden)}
    calls = {ast.unparse(node.func) for node in ast.walk(parse(path)) if isinstance(node, ast.Call)}
    assert not found
    assert not calls & {"open", "print"}


OF_ANOTHER_ENVIRONMENT = {"peer_neural_tangents"}
BENCHMARKS = [path.stem for path in modules("benchmarks") if path.stem not in OF_ANOTHER_ENVIRONMENT]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_benchmarks_find_what_they_measure(name: str) -> None:
    importlib.import_module(f"benchmarks.{name}".removesuffix(".__init__"))


@pytest.mark.parametrize("path", modules(*FLOORS), ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_asserted_that_types_or_checks_should_say(path: Path) -> None:
    assert not [node for node in ast.walk(parse(path)) if isinstance(node, ast.Assert)]


@pytest.mark.parametrize("path", modules(*FLOORS), ids=lambda path: str(path.relative_to(ROOT)))
def test_annotations_are_never_postponed(path: Path) -> None:
    assert "__future__.annotations" not in names(parse(path))  # jaxtyping's checks would be skipped in silence


@pytest.mark.parametrize("path", modules("theory", "rfm"), ids=lambda path: str(path.relative_to(ROOT)))
def test_libraries_follow_the_precision_that_they_are_given(path: Path) -> None:
    assert not {name for name in names(parse(path)) if name.startswith("jax.config")}


@pytest.mark.parametrize("path", modules("rfm", "experiments", "figures"), ids=lambda p: str(p.relative_to(ROOT)))
def test_no_key_is_drawn_by_default(path: Path) -> None:
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.arguments):
            defaults = [*node.defaults, *(default for default in node.kw_defaults if default is not None)]
            assert not [d for d in defaults if "random.key" in ast.unparse(d) or "PRNGKey" in ast.unparse(d)]


@pytest.mark.parametrize("path", modules(*FLOORS), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_chapter_opens_with_what_it_is_about(path: Path) -> None:
    if path.read_text(encoding="utf-8").strip():
        assert ast.get_docstring(parse(path))


CHAPTERS = [theory, theory.batches, theory.derivatives, theory.duals, theory.noise, theory.rules, theory.views]
CHAPTERS += [rfm, rfm.data, rfm.decide, rfm.expected, rfm.mixup, rfm.training]
"""What says by ``__all__`` what it offers."""
PUBLIC = [(module, name) for module in CHAPTERS for name in module.__all__]
PUBLIC += [
    (getattr(theory, module), name)
    for module, names in {
        "bounds": "RiskBound bounded_noise_risk liu2023_risk_bound",
        "labels": "RiskOverLabels risk_over_labels",
        "minimum": "earliest_lowest risk_ratio turning_point",
        "phases": "Phase end_of phase_ends phased_curve",
        "population": "Averages Population RiskParts TestSet",
        "risk": "ModeRisk mode_risk noise_weights risk_parts train_loss weights",
        "spectrum": "METHODS decompose_blocks suggest_method",
        "switching": "SwitchCurve switch_curve",
    }.items()
    for name in names.split()
]


@pytest.mark.parametrize(("module", "name"), PUBLIC, ids=lambda item: getattr(item, "__name__", item))
def test_every_public_name_exists_and_says_what_it_is(module: object, name: str) -> None:
    thing = getattr(module, name)
    if inspect.isclass(thing) or inspect.isfunction(thing):
        assert inspect.getdoc(thing)
        assert "wrapper around" not in (thing.__doc__ or "")


@pytest.mark.parametrize(
    ("module", "name"),
    [(module, name) for module, name in PUBLIC if inspect.isfunction(getattr(module, name))],
    ids=lambda item: getattr(item, "__name__", item),
)
def test_every_public_function_has_an_example_or_a_reason(module: object, name: str) -> None:
    examples = doctest.DocTestParser().get_examples(inspect.getdoc(getattr(module, name)) or "")
    assert bool(examples) != (name in WITHOUT_EXAMPLE)


OF_THE_READER = {"experiments/decay.py", "figures/decay.py"}
"""Of docs/extending.md."""


@pytest.mark.parametrize(
    "path", [*modules(*FLOORS), *ROOT.glob("*.md"), *ROOT.glob("docs/*.md")], ids=lambda path: path.name
)
def test_files_that_are_named_exist(path: Path) -> None:
    folders = "|".join((*FLOORS, "tests", "benchmarks"))
    named = re.findall(rf"(?:{folders})/[\w/]+\.py", path.read_text(encoding="utf-8"))
    assert not [name for name in named if name not in OF_THE_READER and not (ROOT / name).is_file()]


def test_reasons_are_given_only_for_what_exists() -> None:
    assert set(WITHOUT_EXAMPLE) <= {name for _, name in PUBLIC}


def test_public_names_are_sorted_and_unique() -> None:
    for module in CHAPTERS:
        constants_first = sorted(module.__all__, key=lambda name: (not name.isupper(), name[0].islower(), name))
        assert list(module.__all__) == constants_first


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode != 0:
        pytest.skip("this is no git checkout: tracked files were NOT searched for machine paths")
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


def test_no_tracked_file_names_a_machine() -> None:
    words = ["/" + folder + "/" for folder in ("work", "root", "home")] + ["local" + "host"]
    found = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture
        found += [(path.name, word) for word in words if word in text]
    assert not found


def test_every_tolerance_has_a_reason() -> None:
    body = parse(ROOT / "tests" / "tolerances.py").body[1:]
    assert len(body) % 2 == 0
    for constant, reason in zip(body[::2], body[1::2], strict=True):
        assert isinstance(constant, ast.Assign)
        assert isinstance(reason, ast.Expr)
        assert len(ast.unparse(reason)) > 40
