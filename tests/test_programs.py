"""What a new user waits for: the number of programs that are compiled, which grows unseen."""

import pytest

from benchmarks.programs import STAGES, in_a_new_process


@pytest.fixture(scope="module")
def counted() -> dict[str, tuple[int, float]]:
    """One process for all."""
    return in_a_new_process()


@pytest.mark.slow
@pytest.mark.parametrize("what", STAGES)
def test_a_public_call_compiles_few_programs(what: str, counted: dict[str, tuple[int, float]]) -> None:
    assert 0 < counted[what][0] <= STAGES[what]
