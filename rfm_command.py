"""The command `rfm`: that of `experiments.cli`, with our packages found beside this file and nowhere else.

An empty entry of PYTHONPATH stands for the current folder, and there ``figures/`` or ``theory.py`` may be anybody's.
"""

import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

PACKAGES = ("theory", "rfm", "experiments", "figures")
HERE = os.path.dirname(os.path.abspath(__file__))


def main() -> int:
    """Runs the command of this process and returns its exit status."""
    sys.meta_path.insert(0, Beside)
    from experiments import cli

    return cli.main()


class Beside:
    """Finds our packages, before anything else looks for them."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """None for all modules but our packages; what is in those is found through them."""
        return PathFinder.find_spec(name, [HERE]) if name in PACKAGES else None
