"""Expected Mixup against the matrix products it cannot do without, a million pairs, and mini-batches side by side."""

import subprocess
import sys
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg

import rfm
import theory
from benchmarks import peak, problems
from benchmarks.harness import Row, compare, interleave, now, own_clock
from rfm.expected.sums import PassMethod

LAW = rfm.Mixup(alpha=1.0, pairs="expected")
NUM_FEATURES = 1000
NUM_RATIOS = 16
NUM_SAMPLES = 120
ROWS_NEEDED = NUM_SAMPLES * (NUM_SAMPLES + 1) // 2 * NUM_RATIOS
"""Of all pairs and ratios, half: swapping a pair and its ratio gives the same row."""
SPEED = 1 / 0.7
"""At least 70 % of the speed of a matrix product."""
BLOCK: dict[PassMethod, int] = {"gram": 2048, "qr": 16384}
RUNS, STEPS, ALONE = 200, 1000, 10
MOMENTS, BATCH = 60, 16
"""Originals, and features, of the exact moments of batches; and rows of a batch."""


def expected() -> list[Row]:
    """All pairs of 120 originals, 16 ratios, 1000 features: the whole pass against bare products of as many rows."""
    return [
        _pass("relu", "gram", "matrix product", _product(), at_most=SPEED),
        compare(
            "a symmetric update alone / matrix product, as many rows",
            _symmetric(),
            _product(),
            clock=own_clock,
            rounds=3,
        ),
        _pass("tanh", "gram", "matrix product", _product()),
        compare("tanh alone / matrix product, as many rows", _tanh(), _product(), clock=own_clock, rounds=3),
        _pass("tanh", "qr", "LAPACK's QR", _factorisation()),
        compare(
            "C-Mixup / Mixup, expected, gram",
            lambda: _call(rfm.SimilarLabels(0.5)),
            lambda: _call(None),
            at_most=1.2,
            rounds=3,
        ),
    ]


def accelerator() -> list[Row]:
    """The pass in float64 and float32 where JAX has an accelerator."""
    what = "expected Mixup, relu, gram, on the accelerator: the pass / matrix product of as many rows"
    if jax.default_backend() == "cpu":
        return [Row(what, (), "x", SPEED, "JAX sees no accelerator here")]
    return [
        _pass("relu", "gram", f"{dtype} matrix product on the accelerator", _device_product(dtype), SPEED, dtype)
        for dtype in ("float64", "float32")
    ]


def million() -> list[Row]:
    """All pairs of 1000 originals, 16 ratios, 1000 relu features, in a process of its own: minutes."""
    command = [sys.executable, "-m", "benchmarks.expected"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    elapsed, gigabytes = map(float, output.split())
    what = "expected Mixup, a million pairs, 16 ratios, 1000 relu features, gram"
    return [
        Row(what, (elapsed,), "s", note="the whole call, compiling and eigenvectors included"),
        Row(f"{what}: peak memory", (gigabytes,), "GB", 1.0, "of the whole process, Python and JAX included"),
    ]


def minibatch() -> list[Row]:
    """200 runs of 1000 steps on fresh batches."""
    sample, features, test = problems.random_setting(10, 40, "tanh")
    problem = rfm.expected_mixup(sample, features, LAW, population=test)
    keys = list(jax.random.split(jax.random.key(9), RUNS))

    def train(keys: list[jax.Array]) -> object:
        return rfm.simulate_minibatch(problem, rfm.Batches(8), step_size=1.0, steps=[0, STEPS], keys=keys).weights

    together, alone = interleave(lambda: train(keys), lambda: [train([key]) for key in keys[:ALONE]], rounds=3)
    ratios = tuple(a / (b * RUNS / ALONE) for a, b in zip(together, alone, strict=True))
    note = f"{min(together):.3g} s against {min(alone) * RUNS / ALONE:.3g} s, from {ALONE} runs"
    return [Row(f"{RUNS} mini-batch runs side by side / one after another", ratios, "x", 0.8, note)]


def coupled() -> list[Row]:
    """Exact moments of batches that are mixed with themselves against those of independent pairs; 60 originals."""
    sample, features, test = problems.random_setting(MOMENTS, MOMENTS, "relu")
    problem = rfm.expected_mixup(sample, features, LAW, population=test, num_ratios=NUM_RATIOS // 2)

    def moments(batches: rfm.Batches) -> Callable[[], object]:
        spectrum, source = problem.drawn_by(batches).spectrum(), problem.source()
        return lambda: theory.batches.batch_moments(
            spectrum, source.blocks(batches), source.node_weights, batches
        ).noise.block_until_ready()

    independent = moments(rfm.Batches(BATCH))
    return [
        compare(
            f"exact moments, {partners}, {'one ratio a batch' if shared else 'own ratios'} / independent",
            moments(rfm.Batches(BATCH, partners, shared_ratio=shared)),
            independent,
            at_most=10,
            rounds=3,
        )
        for partners in ("permuted", "flipped", "rolled")
        for shared in (True, False)
    ]


def _call(partners: rfm.mixup.Partners | None) -> object:
    sample, features, test = problems.random_setting(NUM_SAMPLES, NUM_FEATURES // 5, "relu")
    law = rfm.Mixup(alpha=1.0, pairs="expected", partners=partners)
    problem = rfm.expected_mixup(sample, features, law, population=test, method="gram", num_ratios=NUM_RATIOS)
    return problem.smoother.block_until_ready()


def _pass(
    activation: str,
    method: PassMethod,
    name: str,
    peer: Callable[[], float],
    at_most: float | None = None,
    dtype: str = "float64",
) -> Row:
    sample, features, test = jax.tree.map(
        lambda leaf: leaf.astype(dtype) if isinstance(leaf, jax.Array) else leaf,
        problems.random_setting(NUM_SAMPLES, NUM_FEATURES, activation),
    )
    marks: list[float] = []

    def ours() -> float:
        """The pass alone: features, sums and smoother, from the first block to the last."""
        marks.clear()
        rfm.expected_mixup(
            sample, features, LAW, population=test, method=method, num_ratios=NUM_RATIOS,
            progress=lambda done, total: marks.append(now()),
        )  # fmt: skip
        blocks = len(marks)
        return (marks[-1] - marks[0]) * blocks / (blocks - 1)

    what = f"expected Mixup, {activation}, {method}: the pass / {name} of as many rows"
    return compare(what, ours, peer, at_most=at_most, clock=own_clock, rounds=3)


def _product() -> Callable[[], float]:
    """Two different matrices: of a matrix with itself BLAS computes one half only."""
    block = np.random.default_rng(0).normal(size=(BLOCK["gram"], NUM_FEATURES))
    other = block.copy()
    return lambda: _per_pass(lambda: block.T @ other, len(block))


def _device_product(dtype: str) -> Callable[[], float]:
    block = jnp.asarray(np.random.default_rng(0).normal(size=(BLOCK["gram"], NUM_FEATURES)), dtype)
    other, product = block.copy(), jax.jit(lambda a, b: a.T @ b)
    return lambda: _per_pass(lambda: product(block, other).block_until_ready(), len(block))


def _symmetric() -> Callable[[], float]:
    """A matrix with itself: half of the arithmetic, which is all that the pass needs."""
    block = np.random.default_rng(0).normal(size=(BLOCK["gram"], NUM_FEATURES))
    return lambda: _per_pass(lambda: block.T @ block, len(block))


def _factorisation() -> Callable[[], float]:
    block = np.asfortranarray(np.random.default_rng(0).normal(size=(BLOCK["qr"], NUM_FEATURES)))
    return lambda: _per_pass(lambda: scipy.linalg.qr(block, mode="raw", check_finite=False), len(block), repeats=1)


def _tanh() -> Callable[[], float]:
    block = jnp.asarray(np.random.default_rng(0).normal(size=(BLOCK["gram"], NUM_FEATURES)))
    tanh = jax.jit(jnp.tanh)
    return lambda: _per_pass(lambda: tanh(block).block_until_ready(), len(block))


def _per_pass(work: Callable[[], object], rows: int, repeats: int = 10) -> float:
    """Seconds that the rows of a whole pass would take."""
    began = now()
    for _ in range(repeats):
        work()
    return (now() - began) / repeats * ROWS_NEEDED / rows


def _measure_million() -> tuple[float, float]:
    sample, features, test = problems.random_setting(1000, NUM_FEATURES, "relu")
    began = time.perf_counter()
    problem = rfm.expected_mixup(sample, features, LAW, population=test, method="gram", num_ratios=NUM_RATIOS)
    jax.block_until_ready(problem.smoother)
    held = peak.whole_bytes()
    return time.perf_counter() - began, float("nan") if held is None else held / 1e9


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    print(*_measure_million())
