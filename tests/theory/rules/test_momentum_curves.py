"""Whole curves under momentum, and their transforms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rfm
import theory
from tests.problems import named
from tests.theory import oracles
from tests.theory.rules.momenta import Kind, critical, evaluate, filters, kinds, largest, loop_weights
from tests.tolerances import DERIVATIVE, EXACT, FLOAT32, IDENTITY, LATE, ORACLE

# --- whole curves -------------------------------------------------------------------------------------------------


@kinds
def test_a_curve_is_that_of_training_and_so_are_its_turning_point_and_its_limit(kind: Kind) -> None:
    problem, recorded, momentum = named("power law"), tuple(range(1, 400)), 0.8
    step = 0.3 * largest(theory.HeavyBall, momentum, problem.largest_eigenvalue())  # stable for both
    grid = [0, 1, 2, 4, 7, 12, 20, 35, 60, 110, 200, 399]
    curve = rfm.closed_form(problem, steps=grid, rule=kind(step, momentum))
    loop = loop_weights(kind, problem, step, momentum, 0.0, np.zeros((8, 1)), recorded)
    risk = np.asarray([oracles.risk(problem, loop[:, k])[0] for k in range(len(recorded))])
    assert np.allclose(curve.risk[1:], risk[np.asarray(grid[1:]) - 1], rtol=ORACLE)
    assert np.allclose(curve.times, step / (1 - momentum) * np.asarray(grid), rtol=EXACT)
    best = int(np.argmin(risk))
    assert 110 < recorded[best] < 200
    assert float(curve.turning_risk) == pytest.approx(risk[best], rel=ORACLE)
    assert float(curve.turning_time) == pytest.approx(step / (1 - momentum) * recorded[best], rel=EXACT)
    settled = np.linalg.pinv(np.asarray(problem.features)) @ np.asarray(problem.labels)
    assert float(curve.risk_at_infinity) == pytest.approx(oracles.risk(problem, settled)[0], rel=LATE)
    assert curve.trusted_until == curve.times[-1]


# --- transforms ---------------------------------------------------------------------------------------------------


@kinds
def test_filters_work_under_vmap_and_outside_of_jit(kind: Kind) -> None:
    mu, t = jnp.asarray([0.0, 1e-300, 0.03, 1.3]), jnp.asarray([0.0, 1.0, 100.0, jnp.inf])
    rule = kind(0.5, 0.9, 0.3)
    residual, gain = evaluate(kind, 0.5, 0.9, mu, t, ridge=0.3)
    assert np.allclose(rule.gain(mu, t), gain, rtol=IDENTITY, atol=0)
    assert np.allclose(jax.vmap(lambda one: rule.residual(mu, one))(t), residual, rtol=0, atol=IDENTITY)


@kinds
def test_filters_stay_in_single_precision(kind: Kind) -> None:
    rule, k = kind(0.5, 0.9, 0.3), [0.0, 1.0, 100.0, 1e7]
    mu = [0.0, 1e-30, 0.03, 1.3]
    found = [f(jnp.asarray(mu, jnp.float32), jnp.asarray(k, jnp.float32)) for f in (rule.residual, rule.gain)]
    assert {array.dtype for array in found} == {jnp.dtype(jnp.float32)}
    for single, double in zip(found, evaluate(kind, 0.5, 0.9, mu, k, ridge=0.3), strict=True):
        assert np.allclose(single, double, rtol=FLOAT32, atol=FLOAT32)


@kinds
def test_derivatives_by_the_settings_are_those_of_the_loop(kind: Kind) -> None:
    mu = jnp.asarray([0.0, 1e-300, 1e-3, 0.25, 0.5, 1.0])  # at the settings below, 0.25 is critical for the heavy ball
    counts = (1, 2, 20)

    def loop(settings: jax.Array) -> jax.Array:
        step, momentum, ridge = settings
        before = u = jnp.zeros_like(mu)
        found = []
        for k in range(1, counts[-1] + 1):
            carried = u + momentum * (u - before)
            at = u if kind is theory.HeavyBall else carried
            before, u = u, carried - step * ((mu + ridge) * at - 1)
            found += [u] if k in counts else []
        return jnp.stack(found)

    def closed(settings: jax.Array) -> jax.Array:
        return filters(kind, *settings, mu, jnp.asarray(counts, float))[1]

    settings = jnp.asarray([1.0, 0.25, 0.0])
    assert np.allclose(
        jax.jacrev(closed)(settings), jax.jacfwd(jax.jit(loop))(settings), rtol=DERIVATIVE, atol=DERIVATIVE
    )


@kinds
def test_derivatives_are_finite_everywhere(kind: Kind) -> None:
    mu = jnp.asarray([0.0, 1e-300, 1e-8, critical(kind, 0.9) / 0.5, 0.5, 1.0, 2.0])
    settings = tuple(map(jnp.asarray, (0.5, 0.9, 0.0)))
    for t in (0.0, 1.0, 2.0, 1e12, jnp.inf):
        _, pull = jax.vjp(lambda mu, t=t: filters(kind, *settings, mu, jnp.asarray(t)), mu)
        for which in range(2):
            (slopes,) = pull(tuple(jnp.full_like(mu, float(which == output)) for output in range(2)))
            # The gain 1 / mu of the limit falls infinitely steeply at mu -> 0.
            assert np.all(np.isfinite(slopes) | (t == jnp.inf) & (np.asarray(mu) == 1e-300)), t
