"""The closed form against that of neural-tangents, which solves the same flow in function space.

It goes through the eigenvectors of the kernel Phi Phiᵀ of the m rows: m^3 operations and several m x m matrices, where
modes of the p features take m p^2 and a few p x p. It runs in an environment and a process of its own, which answers
one problem after another; what it does there stands in `benchmarks/peer_neural_tangents.py`.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import jax.numpy as jnp
import mpmath
import numpy as np
import scipy.linalg

import rfm
import theory
from benchmarks import closed_form, memory, problems
from benchmarks.harness import CPU_TIME, Row, compare, interleave, own_clock, seconds
from theory.spectrum import Method

ROOT = Path(__file__).parents[1]
ENVIRONMENT = ROOT / ".venv-peer"
METHODS: tuple[Method, ...] = ("gram", "qr")
SPEED, MEMORY, ERROR = 1 / 30, 1 / 10, 1e-9
PROCESSES = 3
"""Whose memory is taken: what compiling takes differs from one to the next."""
LATE = 1e8
DIGITS = 50


@dataclass(frozen=True)
class Answer:
    """What one call of the peer took and gave.

    Attributes:
        seconds: kernels included.
        extra_bytes: the most memory that it held beyond its arguments; None where the system does not tell.
        risk: the curve.
        versions: of what ran.
    """

    seconds: float
    extra_bytes: int | None
    risk: np.ndarray
    versions: str


@dataclass(frozen=True)
class Peer:
    """The peer's process, and where problems are left for it."""

    process: subprocess.Popen
    folder: Path
    errors: IO[str]

    def store(self, problem: rfm.Problem, times: object = problems.TIMES) -> Path:
        """The name to ask for; times None asks for the peer's own way to t = infinity."""
        test = _test_set(problem)
        arrays = {"features": problem.features, "labels": problem.labels}
        arrays |= {"test_features": test.features, "test_targets": test.targets}
        path = self.folder / f"{len(list(self.folder.iterdir()))}.npz"
        np.savez(path, **arrays, **({} if times is None else {"times": times}))
        return path

    def ask(self, path: Path) -> Answer:
        """Its answer for a stored problem."""
        with suppress(BrokenPipeError):  # then there is no line to read either
            print(path, file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            raise RuntimeError(f"neural-tangents stopped: {self.errors.read()[-2000:]}")
        found = json.loads(line)
        return Answer(found["seconds"], found["extra_bytes"], np.asarray(found["risk"]), found["versions"])


def neural_tangents() -> list[Row]:
    """Its predict.gradient_descent_mse: 4900 x 1000, 400 x 3000, late times, t = infinity."""
    if not (ENVIRONMENT / ".installed").exists():
        return [Row("closed form / neural-tangents", (), "x", SPEED, "not there: say `make bench-peer` first")]
    with _peer() as peer:
        return [_at_infinity(peer), _late(peer), *_tall(peer), *_wide(peer)]


def _tall(peer: Peer) -> list[Row]:
    """It takes half a minute a call: the first compiles, the second is the one whose time counts."""
    problem = problems.without_clean_labels(problems.tall())
    path = peer.store(problem)
    first, second = peer.ask(path), peer.ask(path)
    ours = interleave(*(closed_form.solve(problem, method) for method in METHODS), rounds=3)
    rows = []
    for method, taken in zip(METHODS, ours, strict=True):
        note = f"best {min(taken):.3g} s, theirs {second.seconds:.3g} s ({first.seconds:.3g} s the first time); "
        note += f"{_difference(problem, method, second)}; {second.versions}"
        ratios = tuple(each / second.seconds for each in taken)
        rows.append(Row(f"closed form, 4900 x 1000, {method} / neural-tangents", ratios, "x", SPEED, note))
    return [*rows, *(_memory(method, first, second, problem.features.nbytes) for method in METHODS)]


def _memory(method: Method, first: Answer, second: Answer, unit: int) -> Row:
    """Of first calls at this size, of the total risk only, which is all that theirs gives."""
    what = f"extra peak memory, 4900 x 1000, {method} / neural-tangents"
    if first.extra_bytes is None or second.extra_bytes is None:
        return Row(what, (), "x", MEMORY, "this system does not tell (no /proc)")
    ours, later = np.transpose([memory.in_new_process(method, split=False) for _ in range(PROCESSES)]) * unit
    note = f"{np.median(ours) / 1e6:.0f} MB and {first.extra_bytes / 1e6:.0f} MB, "
    note += f"second calls {np.median(later) / 1e6:.0f} MB and {second.extra_bytes / 1e6:.0f} MB"
    return Row(what, tuple((ours / first.extra_bytes).tolist()), "x", MEMORY, note)


def _wide(peer: Peer) -> list[Row]:
    """With fewer rows than features the kernel is the smaller matrix."""
    problem = problems.without_clean_labels(problems.wide())
    path = peer.store(problem)
    rows = []
    for method in ("gram", "svd"):
        ours = closed_form.solve(problem, method)
        row = compare(
            f"closed form, 400 x 3000, {method} / neural-tangents",
            lambda ours=ours: seconds(ours),
            lambda: peer.ask(path).seconds,
            at_most=1.0,
            clock=own_clock,
        )
        note = f"{row.note}; {_difference(problem, method, peer.ask(path))}"
        rows.append(Row(row.what, row.values, "x", row.at_most, note))
    return rows


def _at_infinity(peer: Peer) -> Row:
    """25 mixed rows, of which 10 come twice: the kernel is singular."""
    problem = problems.without_clean_labels(problems.mixup_problem(5, 20))
    solution = scipy.linalg.lstsq(np.asarray(problem.features), np.asarray(problem.labels))[0]
    exact = float(problem.population.risk_parts(jnp.asarray(solution)[:, None], None).risk[0, 0])
    ours = float(rfm.closed_form(problem, times=[0.0], method="svd").risk_at_infinity)
    theirs, solved = (float(peer.ask(peer.store(problem, times)).risk[0]) for times in ([np.inf], None))
    note = f"neural-tangents gives {theirs:.3g} for t=inf and {solved:.3g} for t=None"
    return Row("risk at t = infinity, against least squares", (abs(ours / exact - 1),), "relative", ERROR, note)


def _late(peer: Peer) -> Row:
    """60 x 30, singular values over six decades."""
    problem = _ill_conditioned()
    exact = _to_many_digits(problem, LATE)

    def error(risk: object) -> float:
        return abs(float(np.ravel(np.asarray(risk))[0]) / exact - 1)

    ours = {method: error(rfm.closed_form(problem, times=[LATE], method=method).risk) for method in ("svd", "qr")}
    note = f"qr {ours['qr']:.1g}, neural-tangents {error(peer.ask(peer.store(problem, [LATE])).risk):.1g}"
    what = f"risk at t = {LATE:.0e}, 60 x 30, svd, against {DIGITS} digits"
    return Row(what, (ours["svd"],), "relative", ERROR, note)


def _ill_conditioned() -> rfm.Problem:
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.normal(size=(rows, 30)))[0] for rows in (60, 30))
    scaled = np.geomspace(1, 1e-6, 30)[:, None] * right.T
    test = rfm.TestSet(rng.normal(size=(200, 30)) @ scaled, rng.normal(size=200))
    return rfm.Problem(np.sqrt(60) * left @ scaled, rng.normal(size=60), population=test)


def _to_many_digits(problem: rfm.Problem, time: float) -> float:
    """The risk at one time, through the eigenvectors of the covariance."""
    test = _test_set(problem)
    with mpmath.workdps(DIGITS):
        features, labels, test_features, targets = (
            mpmath.matrix(np.asarray(array).tolist())
            for array in (problem.features, problem.labels, test.features, test.targets)
        )
        eigenvalues, modes = mpmath.eigsy(features.T * features / features.rows)
        forces = modes.T * (features.T * labels) / features.rows
        learnt = [-mpmath.expm1(-mu * time) / mu * force for mu, force in zip(eigenvalues, forces, strict=True)]
        errors = test_features * (modes * mpmath.matrix(learnt)) - targets
        return float(sum(error**2 for error in errors) / len(errors))


def _difference(problem: rfm.Problem, method: Method, theirs: Answer) -> str:
    ours = closed_form.solve(problem, method)()
    assert isinstance(ours, theory.Curve)
    return f"curves {np.max(np.abs(theirs.risk / np.asarray(ours.risk) - 1)):.1g} apart"


def _test_set(problem: rfm.Problem) -> rfm.TestSet:
    assert isinstance(problem.population, rfm.TestSet)
    return problem.population


@contextmanager
def _peer() -> Iterator[Peer]:
    command = [ENVIRONMENT / "bin" / "python", "-m", "benchmarks.peer_neural_tangents"]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}  # it loads tensorflow, which talks
    if CPU_TIME.is_set():
        command.append("--cpu-time")
        environment["OPENBLAS_NUM_THREADS"] = "1"
    pipe = subprocess.PIPE
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True, stdin=pipe, stdout=pipe, stderr=errors
        ) as process,
    ):
        yield Peer(process, Path(folder), errors)
