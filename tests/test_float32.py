"""Nobody has to switch on float64: everything then comes out in single precision, finite, and with a word about it."""

import os
import re
import subprocess
import sys

import jax.numpy as jnp

from tests.float32 import wrong
from tests.structure import ROOT


def test_the_way_of_the_readme_is_whole_in_single_precision() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "JAX_ENABLE_X64"}
    command = [sys.executable, "-W", "error", "-m", "tests.float32"]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.stderr == ""
    assert re.fullmatch(r"\d{2,} arrays\n", ended.stdout)


def test_another_precision_and_what_is_not_finite_would_be_found() -> None:
    assert wrong(jnp.ones(2)) == "is of float64"
    assert wrong(jnp.asarray([1, jnp.nan], jnp.float32)) == "holds nan"
    assert wrong(jnp.ones(2, jnp.float32)) == wrong("gram") == wrong(True) == ""
