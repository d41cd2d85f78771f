"""Before anything is imported: float64, no silent broadcasting, and types and shapes checked as the code runs."""

import gc
import os
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import install_import_hook

# Tests compile far more than they compute, so their programs are compiled quickly, not to run quickly; rounding differs
# in the last bits. `make test-kernels`, or XLA_FLAGS set to anything, tries them as users have them.
QUICKLY = ["--xla_backend_optimization_level=0", "--xla_cpu_parallel_codegen_split_count=1"]
if version("jaxlib").startswith("0.10."):  # later ones end the process at a flag that is gone
    QUICKLY.append("--xla_cpu_use_fusion_emitters=false")
os.environ.setdefault("XLA_FLAGS", " ".join(QUICKLY))

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")

# An int may stand where a float is asked for, as in every type checker (PEP 484); beartype has to be told so.
CHECKER = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
install_import_hook(("theory", "rfm"), CHECKER)

# The first example of a shape compiles, so examples have no deadline; and each run draws the same ones.
hypothesis.settings.register_profile("repository", deadline=None, derandomize=True, max_examples=40)
hypothesis.settings.load_profile("repository")

# Compiled programs are objects that stay: looking through them again and again took a tenth of all tests' time.
gc.set_threshold(200_000, 20, 20)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A page of docs/ is one long test."""
    for item in items:
        if item.path.parent == Path(__file__).parent / "docs":
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True, scope="module")
def _forget_compiled_programs() -> Iterator[None]:
    """Each costs memory, and with thousands of them the next compilation takes half as long again."""
    yield
    jax.clear_caches()


@pytest.fixture(autouse=True)
def _names_for_doctests(doctest_namespace: dict[str, object]) -> None:
    import rfm
    import theory

    doctest_namespace.update(jax=jax, jnp=jnp, np=np, rfm=rfm, theory=theory)
