"""Momentum's filters, as tests ask for them."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

import rfm
import theory
from tests.problems import make, with_singular_values
from tests.theory import oracles

Kind = type[theory.HeavyBall] | type[theory.Nesterov]
KINDS: tuple[Kind, ...] = (theory.HeavyBall, theory.Nesterov)
STEPS = (1, 10, 1000, 100_000)
SPECTRUM = make(with_singular_values(24, 8, np.sqrt(np.geomspace(1, 1e-7, 8)), seed=81), seed=82)
"""Eigenvalues from 1 to 1e-7: after 100 000 steps the slowest have hardly begun."""
kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


@partial(jax.jit, static_argnums=0)
def filters(
    kind: Kind, step_size: jax.Array, momentum: jax.Array, ridge: jax.Array, mu: jax.Array, k: jax.Array
) -> tuple[jax.Array, jax.Array]:
    rule = kind(step_size, momentum, ridge)
    return rule.residual(mu, k), rule.gain(mu, k)


def padded(values: object, length: int) -> jax.Array:
    """At that length, filled with ones: one shape compiles once."""
    there = np.ravel(np.asarray(values))
    return jnp.asarray(np.concatenate([there, np.ones(length - len(there))]))


def evaluate(
    kind: Kind, step_size: float, momentum: float, mu: object, k: object, ridge: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    settings = (jnp.asarray(value, float) for value in (step_size, momentum, ridge))
    rows = (slice(np.size(k)) if np.ndim(k) else 0, slice(np.size(mu)))
    residual, gain = filters(kind, *settings, padded(mu, 13), padded(k, 9))
    return np.asarray(residual)[rows], np.asarray(gain)[rows]


def largest(kind: Kind, momentum: float, rate: float = 1.0) -> float:
    return float(kind(1.0, momentum).largest_stable_step(rate))


def critical(kind: Kind, momentum: float) -> float:
    """The progress step_size * (mu + ridge) at which the two roots meet."""
    if kind is theory.HeavyBall:
        return (1 - np.sqrt(momentum)) ** 2
    return ((1 - momentum) / (1 + momentum)) ** 2


def loop_weights(
    kind: Kind,
    problem: rfm.Problem,
    step_size: float,
    momentum: float,
    ridge: float,
    start: np.ndarray,
    recorded: tuple[int, ...],
) -> np.ndarray:
    """The textbook updates on weights, from rest."""
    covariance, force = oracles.moments(problem)
    before = theta = start
    found = []
    for k in range(1, recorded[-1] + 1):
        carried = theta + momentum * (theta - before)
        at = theta if kind is theory.HeavyBall else carried
        before, theta = theta, carried - step_size * (covariance @ at - force + ridge * at)
        if k in recorded:
            found.append(theta)
    return np.stack(found, axis=1)


RATES = (0.0, 1e-300, 1e-12, 1e-9, 1e-6, 1e-4, 0.01, 0.1, 0.4, 0.75, 1.0)
eigenvalue_lists = st.lists(
    st.sampled_from([0.0, 1e-300, 1e-17]) | st.floats(-18, 0).map(lambda e: 10**e), min_size=4, max_size=4
)


ridges = st.sampled_from([0.0, 1e-300, 1e-9, 0.5])
