"""Curves of flow and descent, as tests ask for them."""

import jax.numpy as jnp
import numpy as np
import pytest

import rfm
import theory
from tests.theory import oracles

Method = theory.spectrum.Method
ALL_METHODS = pytest.mark.parametrize("method", theory.spectrum.METHODS)
TIMES = (0.0, 0.1, 1.0, 20.0, 300.0)
STEPS = (0, 1, 2, 41, 300)


def largest_eigenvalue(problem: rfm.Problem) -> float:
    return float(np.linalg.eigvalsh(oracles.moments(problem)[0])[-1])


def flow_curve(problem: rfm.Problem, method: Method, times: tuple[float, ...] = TIMES) -> theory.Curve:
    return theory.risk_curve(problem.spectrum(method), problem.population, theory.GradientFlow(), list(times))


def descent_curve(problem: rfm.Problem, method: Method, share: float) -> tuple[theory.Curve, float]:
    step = share * 2 / largest_eigenvalue(problem)
    rule = theory.GradientDescent(step)
    return theory.risk_curve(problem.spectrum(method), problem.population, rule, list(STEPS)), step


def scale(problem: rfm.Problem) -> float:
    """The risk of predicting zero: parts of a risk may vanish, and are held against this."""
    return float(jnp.sum(problem.population.target_power_by_target))
