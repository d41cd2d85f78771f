"""Shared by the tests; precision, type checks and hypothesis are set up in the repository's own conftest.py."""

import pytest

from tests.problems import CASES, Case


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    """Each problem of the table in turn."""
    return request.param
