"""A pass over all pairs that is stopped goes on where it was, on one device or several."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import rfm
from tests.rfm.expected.small import (
    FEATURES,
    KEYS,
    METHODS,
    SAMPLE,
    TASK,
    TEST,
    UNIFORM,
    expected,
    moments,
    smallest_budget,
)
from tests.tolerances import IDENTITY


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("last", [1, 4])
def test_an_interrupted_pass_goes_on_from_its_last_block_to_the_same_bits(
    method: str, last: int, tmp_path: Path
) -> None:
    settings = {"method": method, "memory_budget": smallest_budget(method)}
    whole = expected(**settings)
    file = tmp_path / "pass.npz"

    def interrupt(done: int, total: int) -> None:
        if done == last:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        expected(**settings, checkpoint=file, progress=interrupt)
    done: list[int] = []
    resumed = expected(**settings, checkpoint=file, progress=lambda count, total: done.append(count))
    assert done[0] == last + 1
    for a, b in zip(jax.tree.leaves(resumed.spectrum()), jax.tree.leaves(whole.spectrum()), strict=True):
        assert np.array_equal(a, b)
    assert np.array_equal(resumed.smoother, whole.smoother)
    # A finished one is only read.
    (tmp_path / "pass.npz").chmod(0o400)
    before = file.stat().st_mtime_ns
    assert np.array_equal(expected(**settings, checkpoint=file, progress=interrupt).smoother, whole.smoother)
    assert file.stat().st_mtime_ns == before
    assert [path.name for path in tmp_path.iterdir()] == ["pass.npz"]


def test_the_checkpoint_of_another_problem_is_refused_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "pass.npz"
    expected(checkpoint=file)
    before = file.read_bytes()
    other = TASK.sample(num_samples=7, key=KEYS[5])
    by_hand = rfm.TestSet(TEST.features, TEST.targets)
    cases = (
        ({"sample": other}, "features, inputs, labels, truth"),
        ({"features": rfm.RandomFeatures(4, 12, bias_std=0.3, key=KEYS[5]), "population": by_hand}, "features"),
        ({"law": rfm.Mixup(alpha=2.0, pairs="expected")}, "law, ratios"),
        ({"method": "gram"}, "method"),
        ({"memory_budget": smallest_budget("qr")}, r"blocks \(memory_budget, devices\)"),
    )
    for change, what in cases:
        settings = {"sample": SAMPLE, "features": FEATURES, "law": UNIFORM, "population": TEST} | change
        with pytest.raises(ValueError, match=f"checkpoint: .*pass.npz belongs to another problem.* differs in {what};"):
            rfm.expected_mixup(**settings, checkpoint=file)
    assert file.read_bytes() == before
    file.write_bytes(before[: len(before) // 2])
    with pytest.raises(ValueError, match=r"checkpoint: .*pass.npz is not a whole checkpoint"):
        expected(checkpoint=file)


SEVERAL_DEVICES = """
import json, sys
import jax
jax.config.update("jax_enable_x64", True)
import numpy as np
from tests.rfm.expected import small as t

def numbers(**settings):
    problem = t.expected(memory_budget=400_000, **settings)
    return [np.asarray(a).tolist() for a in (*t.moments(problem), problem.smoother)]

def interrupt(done, total):
    if done == 1:
        raise KeyboardInterrupt

answer = {"devices": len(jax.devices())}
for method in t.METHODS:
    for count in (1, 2, 3):
        answer[f"{method} {count}"] = numbers(method=method, devices=jax.devices()[:count])
    try:
        numbers(method=method, checkpoint=f"{sys.argv[1]}/{method}.npz", progress=interrupt)
    except KeyboardInterrupt:
        pass
    answer[f"{method} resumed"] = numbers(method=method, checkpoint=f"{sys.argv[1]}/{method}.npz")
own = t.rfm.expected_mixup(t.SAMPLE, lambda x: t.FEATURES(x), t.UNIFORM, population=t.TEST, method="gram")
answer["gram of a callable"] = [np.asarray(a).tolist() for a in (*t.moments(own), own.smoother)]
print(json.dumps(answer))
"""


@pytest.mark.slow
def test_the_number_of_devices_changes_rounding_only_and_resuming_on_several_nothing(tmp_path: Path) -> None:
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=3", "JAX_PLATFORMS": "cpu"}
    root = str(Path(__file__).parents[3])
    command = [sys.executable, "-c", SEVERAL_DEVICES, str(tmp_path)]
    ran = subprocess.run(command, env=os.environ | flags | {"PYTHONPATH": root}, cwd=root, capture_output=True)
    assert ran.returncode == 0, ran.stderr.decode()
    answer = json.loads(ran.stdout.splitlines()[-1])
    assert answer.pop("devices") == 3
    alone = expected()
    for name, numbers in answer.items():
        for a, b in zip(numbers, (*moments(alone), alone.smoother), strict=True):
            assert np.allclose(a, b, rtol=0, atol=IDENTITY), name
    for method in METHODS:
        assert answer[f"{method} resumed"] == answer[f"{method} 3"]
