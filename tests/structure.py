"""The house as its imports draw it: what stands on what, how high, and a picture of it.

``python -m tests.structure docs/floors.svg`` draws the picture; tests/test_house.py holds the rules.
"""

import ast
import graphlib
import sys
from collections.abc import Iterator
from pathlib import Path

from matplotlib import pyplot as plt

ROOT = Path(__file__).parents[1]
FLOORS = ("theory", "rfm", "experiments", "figures")
"""From the ground up; an import only points down."""
Graph = dict[str, set[str]]
"""Modules, and those that each of them imports."""


def modules(*floors: str) -> list[Path]:
    """The files of some floors."""
    return sorted(path for floor in floors for path in (ROOT / floor).rglob("*.py"))


def parse(path: Path) -> ast.Module:
    """The file as a tree."""
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(tree: ast.AST) -> Iterator[str]:
    """Every dotted name that is imported, wherever in the file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import: its floor cannot be read off"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def graph(floor: str) -> Graph:
    """The modules of a floor, and those of them that each imports."""
    paths = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in modules(floor)}
    paths = {name.removesuffix(".__init__"): path for name, path in paths.items()}
    found = {}
    for module, path in paths.items():
        heads = [name.split(".") for name in imports(parse(path))]
        longest = {next((n for n in map(".".join, prefixes(head)) if n in paths), module) for head in heads}
        found[module] = longest - {module}
    return found


def prefixes(parts: list[str]) -> Iterator[list[str]]:
    """The longest first."""
    return (parts[:length] for length in range(len(parts), 0, -1))


def doors(floor: str) -> set[str]:
    """Packages whose ``__init__`` only passes names on."""
    paths = [path for path in modules(floor) if path.name == "__init__.py"]
    return {".".join(path.parent.relative_to(ROOT).parts) for path in paths if passes_on(parse(path))}


def passes_on(tree: ast.Module) -> bool:
    """Whether there is nothing in a file but imports, the names that it offers, and a docstring."""
    body = [node for node in tree.body if not isinstance(node, ast.Import | ast.ImportFrom)]
    return all(ast.unparse(node).startswith("__all__ = ") for node in body[ast.get_docstring(tree) is not None :])


def levels(graph: Graph, doors: set[str]) -> dict[str, int]:
    """How many modules are stacked up to each; a door is as high as the highest that it passes on.

    Raises:
        graphlib.CycleError: they import each other in a circle.
    """
    found: dict[str, int] = {}
    for module in graphlib.TopologicalSorter(graph).static_order():
        below = max((found[name] for name in graph[module]), default=0)
        found[module] = below if module in doors else below + 1
    return found


def chapters(graph: Graph) -> Graph:
    """The same of chapters: folders, and the modules beside them. The floor's own door goes."""

    def chapter(module: str) -> str:
        return ".".join(module.split(".")[:2])

    found: Graph = {}
    for module, below in graph.items():
        if "." in module:
            found.setdefault(chapter(module), set()).update(chapter(name) for name in below if "." in name)
    return {name: below - {name} for name, below in found.items()}


def reduced(graph: Graph) -> Graph:
    """Without what is imported through another one anyway."""

    def reach(name: str) -> set[str]:
        return graph[name].union(*(reach(below) for below in graph[name]))

    return {name: below - set().union(*(reach(other) for other in below)) for name, below in graph.items()}


COLOURS = dict(zip(FLOORS, ("#dbe9f6", "#e2f0d9", "#fdf0d5", "#f8dede"), strict=True))
HEIGHT, WIDTH = 0.45, 1.5
"""Of a line of boxes, and of a column, in inches."""


def draw(path: Path) -> None:
    """Every floor from the ground up: its chapters as boxes, from left to right by what they stand on."""
    parts = {floor: chapters(graph(floor)) for floor in FLOORS}
    columns = {floor: levels(found, set()) for floor, found in parts.items()}
    most = max(max(column.values()) for column in columns.values())
    places: dict[str, tuple[float, float]] = {}
    bands = []
    bottom = 0.0
    for floor in FLOORS:
        by_column: dict[int, list[str]] = {}
        for name, column in sorted(columns[floor].items()):
            by_column.setdefault(column, []).append(name)
        lines = max(map(len, by_column.values()))
        for column, names in by_column.items():
            for line, name in enumerate(names):
                places[name] = column - 0.5, bottom + 0.5 + (line + 0.5) * lines / len(names)
        bands.append((floor, bottom, lines + 1.0))
        bottom += lines + 1.15
    figure, axes = plt.subplots(figsize=(WIDTH * most, HEIGHT * bottom), layout="tight")
    for floor, low, height in bands:
        axes.add_patch(plt.Rectangle((-0.1, low), most + 0.2, height, color=COLOURS[floor], linewidth=0))
        axes.text(-0.02, low + height - 0.12, floor, weight="bold", va="top", size=13)
    box = {"boxstyle": "round,pad=0.35", "facecolor": "white", "edgecolor": "#555555", "linewidth": 0.8}
    written = {
        name: axes.text(*place, name.split(".")[1], ha="center", va="center", size=9.5, bbox=box, zorder=3)
        for name, place in places.items()
    }
    for found in parts.values():
        for name, below in reduced(found).items():
            for other in below:
                ends = {"patchA": written[name].get_bbox_patch(), "patchB": written[other].get_bbox_patch()}
                arrow = {"arrowstyle": "-|>", "color": "#888888", "linewidth": 0.7, "shrinkA": 0, "shrinkB": 2}
                axes.annotate("", places[other], places[name], arrowprops=arrow | ends, zorder=2)
    axes.set(xlim=(-0.15, most + 0.15), ylim=(-0.1, bottom))
    axes.axis("off")
    plt.rcParams["svg.fonttype"] = "none"
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
