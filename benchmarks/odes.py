"""The closed form against solvers of the differential equation that it solves, d theta / dt = b - C theta.

The equation is stiff: its rates are the eigenvalues of C, and its times reach from the fastest to far past the turning
point. So both solvers are implicit. Each is asked for the risk at the same 200 times, to about 1e-8.
"""

import importlib.util
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import scipy.integrate

import rfm
from benchmarks import problems
from benchmarks.harness import Row, compare
from theory.spectrum import Method

TIMES = np.concatenate([[0.0], np.geomspace(0.1, 1e5, 199)])
LSODA_TOLERANCE, KVAERNO5_TOLERANCE = 1e-10, 1e-11
"""Relative and absolute, of one step: what brings the whole curve to about 1e-8."""

Curve = Callable[[], np.ndarray]


def odes() -> list[Row]:
    """LSODA of scipy and Kvaerno5 of diffrax, both implicit, until t = 1e5."""
    small, tall = (
        problems.without_clean_labels(problem) for problem in (problems.mixup_problem(20, 200), problems.tall())
    )
    rows = [
        _compare("400 x 200, svd / LSODA", small, "svd", _lsoda(small)),
        _compare("4900 x 1000, gram / LSODA", tall, "gram", _lsoda(tall)),
    ]
    if importlib.util.find_spec("diffrax") is None:
        return [*rows, Row("closed form, 400 x 200, svd / Kvaerno5", (), "x", note="no diffrax: install '.[bench]'")]
    return [*rows, _compare("400 x 200, svd / Kvaerno5", small, "svd", _kvaerno5(small))]


def _compare(what: str, problem: rfm.Problem, method: Method, solver: Curve) -> Row:
    def ours() -> np.ndarray:
        return np.asarray(rfm.closed_form(problem, times=TIMES, method=method).risk)

    row = compare(f"closed form, {what}", ours, solver, rounds=5)
    exact = np.asarray(rfm.closed_form(problem, times=TIMES, method="svd").risk)
    off, solver_off = (np.max(np.abs(curve() / exact - 1)) for curve in (ours, solver))
    return Row(
        row.what, row.values, "x", note=f"{row.note}; off the svd curve: ours {off:.1g}, theirs {solver_off:.1g}"
    )


def _lsoda(problem: rfm.Problem) -> Curve:
    """It is told the Jacobian."""
    features, labels = np.asarray(problem.features), np.asarray(problem.labels[:, 0])
    test_features, targets = _test_set(problem)

    def curve() -> np.ndarray:
        moment, force = features.T @ features / len(labels), features.T @ labels / len(labels)
        solution = scipy.integrate.solve_ivp(
            lambda _, weights: force - moment @ weights,
            (0, TIMES[-1]),
            np.zeros_like(force),
            method="LSODA",
            t_eval=TIMES,
            jac=lambda _time, _weights: -moment,
            rtol=LSODA_TOLERANCE,
            atol=LSODA_TOLERANCE,
        )
        return np.mean((test_features @ solution.y - targets) ** 2, axis=0)

    return curve


def _kvaerno5(problem: rfm.Problem) -> Curve:
    """One compiled program, the Jacobian its own affair: it cannot be told."""
    import diffrax  # in the extra "bench" only

    test_features, targets = _test_set(problem)

    @jax.jit
    def curve(features: jax.Array, labels: jax.Array) -> jax.Array:
        moment, force = features.T @ features / len(labels), features.T @ labels / len(labels)
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda _time, weights, args: args[1] - args[0] @ weights),
            diffrax.Kvaerno5(),
            t0=0.0,
            t1=TIMES[-1],
            dt0=None,
            y0=jnp.zeros_like(force),
            args=(moment, force),
            saveat=diffrax.SaveAt(ts=TIMES),
            stepsize_controller=diffrax.PIDController(rtol=KVAERNO5_TOLERANCE, atol=KVAERNO5_TOLERANCE),
            max_steps=100_000,
        )
        return jnp.mean((test_features @ solution.ys.T - targets) ** 2, axis=0)

    return lambda: np.asarray(curve(problem.features, problem.labels[:, 0]))


def _test_set(problem: rfm.Problem) -> tuple[np.ndarray, np.ndarray]:
    """Features and targets."""
    test = problem.population
    assert isinstance(test, rfm.TestSet)
    return np.asarray(test.features), np.asarray(test.targets)
