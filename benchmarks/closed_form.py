"""The closed form against LAPACK's share of it: whatever is more is ours."""

import contextlib
import warnings
from unittest import mock

import numpy as np
import scipy.linalg

import rfm
import theory
from benchmarks import problems
from benchmarks.harness import Row, Work, compare, seconds
from theory.spectrum import Method

NUM_STEPS = 10_000
STEP_SIZE = 0.5


def gram() -> list[Row]:
    """4900 x 1000 by eigh."""
    phi = np.asarray(problems.tall().features)

    def peer() -> object:
        return scipy.linalg.eigh(phi.T @ phi, driver="evd", check_finite=False)

    return [compare("closed form, gram / (Phi.T @ Phi + eigh)", solve(problems.tall(), "gram"), peer, at_most=1.5)]


def qr() -> list[Row]:
    """4900 x 1000 by QR and the SVD of its triangle."""
    phi = np.asarray(problems.tall().features)

    def peer() -> object:
        _, triangle = scipy.linalg.qr(phi, mode="raw", check_finite=False)
        return scipy.linalg.svd(triangle, full_matrices=False, check_finite=False)

    return [compare("closed form, qr / (QR + SVD of R)", solve(problems.tall(), "qr"), peer, at_most=1.3)]


def svd() -> list[Row]:
    """4900 x 1000 by thin SVD."""
    return [
        compare("closed form, svd / thin SVD", solve(problems.tall(), "svd"), _thin_svd(problems.tall()), at_most=1.3)
    ]


def wide() -> list[Row]:
    """400 x 3000."""
    problem = problems.wide()
    return [
        compare(
            f"closed form, 400 x 3000, {method} / thin SVD", solve(problem, method), _thin_svd(problem), at_most=1.3
        )
        for method in ("gram", "svd")
    ]


def saved() -> list[Row]:
    """What the closed form saves: the same 200 numbers of steps, up to 10 000, by training."""
    problem = problems.tall()
    steps = np.unique(np.concatenate([np.arange(20), np.round(np.geomspace(20, NUM_STEPS, 180))]))

    def exact() -> object:
        return rfm.closed_form(problem, steps=steps, rule=theory.GradientDescent(step_size=STEP_SIZE))

    def trained() -> object:
        return rfm.simulate(problem, step_size=STEP_SIZE, steps=steps)

    rfm.simulate(problem, step_size=STEP_SIZE, steps=[0, 1])
    exact()
    quick, slow = seconds(exact), seconds(trained)
    what = f"{NUM_STEPS} steps simulated / closed form (discrete), {len(steps)} points"
    return [Row(what, (slow / quick,), "x", note=f"one run: {slow:.3g} s against {quick:.3g} s")]


def solution() -> list[Row]:
    """Ten questions of one solution, against the same curves alone."""
    problem = problems.tall()
    found = rfm.solve(problem, method="qr")
    step = 1 / float(found.spectrum.eigenvalues[0])
    steps = np.unique(np.round(np.geomspace(1, NUM_STEPS, len(problems.TIMES))))
    flows = [(theory.GradientFlow(ridge), problems.TIMES) for ridge in (0.0, 1e-6, 1e-4, 1e-2, 1.0)]
    descents = [(theory.GradientDescent(step, ridge), steps) for ridge in (0.0, 1e-6, 1e-4)]
    more = [(theory.HeavyBall(step, momentum=0.9), steps), (theory.Nesterov(step, momentum=0.9), steps)]
    questions = [*flows, *descents, *more]

    def asked() -> object:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rfm.PrecisionWarning)
            return [
                found.curve(steps=t, rule=rule) if rule.counts_steps else found.curve(times=t, rule=rule)
                for rule, t in questions
            ]

    def alone() -> object:
        return [theory.risk_curve(found.spectrum, problem.population, rule, t) for rule, t in questions]

    with contextlib.ExitStack() as stack:
        patched = (mock.patch.object(scipy.linalg, n, wraps=getattr(scipy.linalg, n)) for n in ("eigh", "qr", "svd"))
        counted = [stack.enter_context(patch) for patch in patched]
        asked()
    calls = sum(counter.call_count for counter in counted)
    return [
        compare(f"{len(questions)} curves of one solution / of its spectrum", asked, alone, at_most=1.1, rounds=3),
        Row("decompositions that they make", (float(calls),), "calls", 0),
    ]


def solve(problem: rfm.Problem, method: Method) -> Work:
    """Its curve at 200 times, trusted or not: what is timed is the work."""

    def work() -> object:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rfm.PrecisionWarning)
            return rfm.closed_form(problem, times=problems.TIMES, method=method)

    return work


def _thin_svd(problem: rfm.Problem) -> Work:
    phi = np.asarray(problem.features)
    return lambda: scipy.linalg.svd(phi, full_matrices=False, check_finite=False)


def classes() -> list[Row]:
    """Risk and 0-1 error of 10 classes on 2000 test inputs at 200 times, against the risk alone."""
    drawn = np.random.default_rng(0)
    of_row = drawn.integers(0, 10, 1000)
    phi, labels = drawn.normal(size=(1000, 500)), np.eye(10)[of_row] - 0.1
    tests, targets = drawn.normal(size=(2000, 500)), np.eye(10)[drawn.integers(0, 10, 2000)] - 0.1
    numbers = targets + 1e-3 * drawn.normal(size=targets.shape)
    asked, alone = (
        rfm.solve(rfm.Problem(phi, labels, population=rfm.TestSet(tests, target))) for target in (targets, numbers)
    )
    times = np.geomspace(1e-2, 1e2, 200)
    return [compare("curve of classes / of numbers", lambda: asked.curve(times=times), lambda: alone.curve(times=times),
                    at_most=1.5)]  # fmt: skip
