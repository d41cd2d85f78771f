"""Shared by the tests; precision, type checks and hypothesis are set up in the repository's own conftest.py."""

import importlib
import os
import pickle
from collections.abc import Callable

import pytest

from experiments.configs import Config
from experiments.variables import Variables
from rfm.files import replacing
from tests.problems import CASES, Case


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    """Each problem of the table in turn."""
    return request.param


@pytest.fixture(scope="session")
def result_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Config], Variables]:
    """Runs an experiment, such as "switch.run_switch", once for all the tests and all processes that ask for it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def run(runner: str, config: Config) -> Variables:
        file = shared / f"{runner}.pickle"
        if not file.exists():
            module, function = runner.split(".")
            variables = getattr(importlib.import_module(f"experiments.{module}"), function)(config)
            with replacing(file) as temporary:
                temporary.write_bytes(pickle.dumps((config, variables)))
        found, variables = pickle.loads(file.read_bytes())
        assert found == config, f"{runner} is shared by tests of one configuration"
        return variables

    return run
