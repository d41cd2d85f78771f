"""Shared by the tests; precision, type checks and hypothesis are set up in the repository's own conftest.py."""

import os
import pickle
from collections.abc import Callable
from pkgutil import resolve_name

import pytest

from experiments.registry import EXPERIMENTS
from experiments.variables import Variables
from rfm.files import replacing
from tests.experiments.small import SMALL
from tests.problems import CASES, Case


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    """Each problem of the table in turn."""
    return request.param


@pytest.fixture(scope="session")
def result_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Variables]:
    """Runs the small experiment of a kind once for all the tests and all processes that ask for it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def run(kind: str) -> Variables:
        file = shared / f"{kind}.pickle"
        if not file.exists():
            variables = resolve_name(EXPERIMENTS[kind].run)(SMALL[kind])
            with replacing(file) as temporary:
                temporary.write_bytes(pickle.dumps(variables))
        return pickle.loads(file.read_bytes())

    return run
