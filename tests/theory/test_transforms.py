"""Curves under jit, vmap and grad, and the record that they are."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rfm
import theory
from tests.problems import named
from tests.theory.curves import STEPS, TIMES, Method, descent_curve, flow_curve
from tests.tolerances import FINITE_DIFFERENCE, FLOAT32, IDENTITY

# --- transforms ---------------------------------------------------------------------------------------------------


def test_risk_parts_work_under_jit_and_vmap() -> None:
    problem = named("tall")
    spectrum, at = problem.spectrum(), jnp.asarray(TIMES)

    def risk(ridge: jax.Array, t: jax.Array) -> jax.Array:
        return theory.risk.risk_parts(spectrum, problem.population, theory.GradientFlow(ridge), t).risk[:, 0]

    ridges = jnp.asarray([0.0, 0.1, 1.0])
    direct = jnp.stack([risk(ridge, at) for ridge in ridges])
    assert np.allclose(jax.jit(risk)(ridges[1], at), direct[1], rtol=IDENTITY)
    assert np.allclose(jax.vmap(risk, in_axes=(0, None))(ridges, at), direct, rtol=IDENTITY)
    by_time = jax.vmap(lambda t: risk(ridges[2], t[None])[0])(at)
    assert np.allclose(by_time, direct[2], rtol=IDENTITY)


@pytest.mark.parametrize("kind", ["time", "flow ridge", "step size", "descent ridge", "label", "start"])
def test_gradients_of_the_risk_are_those_of_finite_differences(kind: str) -> None:
    problem = named("rank-deficient")
    spectrum, population = problem.spectrum(), problem.population

    def risk(x: jax.Array) -> jax.Array:
        rule: theory.Rule = theory.GradientFlow(0.2)
        at, start, learnt = jnp.asarray([3.0]), None, spectrum
        if kind == "time":
            at = x[None]
        elif kind == "flow ridge":
            rule = theory.GradientFlow(x)
        elif kind == "step size":
            rule = theory.GradientDescent(x)
        elif kind == "descent ridge":
            rule = theory.GradientDescent(0.3, x)
        elif kind == "label":
            learnt = eqx.tree_at(lambda s: s.label_coordinates, spectrum, x * spectrum.label_coordinates)
        else:
            start = theory.Start(x * jnp.ones((8, 1)), x)
        parts = theory.risk.risk_parts(learnt, population, rule, at, start)
        return parts.risk[0, 0] + jnp.sum(theory.risk.train_loss(learnt, rule, at, start))

    x, h = jnp.asarray(0.8), 1e-5
    difference = (risk(x + h) - risk(x - h)) / (2 * h)
    slope = jax.grad(risk)(x)
    assert np.isclose(slope, difference, rtol=FINITE_DIFFERENCE)
    assert abs(slope) > 1e-3  # there is something to see


@pytest.mark.parametrize(
    ("rule", "method"),
    [(theory.GradientFlow(0.01), "svd"), (theory.GradientDescent(0.5), "gram"), (theory.GradientFlow(), "qr")],
    ids=str,
)
def test_single_precision_stays_single_and_agrees_early(rule: theory.Rule, method: Method) -> None:
    problem = named("tall")
    single, double = (
        theory.risk_curve(
            case.spectrum(method), case.population, rule, [0, 1, 20], start=theory.Start(variance=0.1), by_mode=True
        )
        for case in (jax.tree.map(lambda a: a.astype(jnp.float32), problem), problem)
    )
    dtypes = {leaf.dtype for leaf in jax.tree.leaves(single) if jnp.issubdtype(leaf.dtype, jnp.floating)}
    assert dtypes == {jnp.dtype(jnp.float32)}
    assert np.allclose(single.risk, double.risk, rtol=FLOAT32)
    assert np.allclose(single.train_loss, double.train_loss, rtol=FLOAT32)
    assert np.isclose(single.turning_risk, double.turning_risk, rtol=FLOAT32)


def test_blocks_of_times_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = named("tall")
    whole = flow_curve(problem, "svd")
    monkeypatch.setattr(theory.curve, "BLOCK_BYTES", 2 * 15 * 8)  # two times of fifteen test rows
    pieces = flow_curve(problem, "svd")
    assert np.array_equal(pieces.times, whole.times)
    assert np.allclose(pieces.risk_by_target, whole.risk_by_target, rtol=IDENTITY)
    assert np.allclose(pieces.noise_risk, whole.noise_risk, rtol=IDENTITY, atol=IDENTITY)
    assert np.allclose(pieces.train_loss, whole.train_loss, rtol=IDENTITY)


# --- the record ---------------------------------------------------------------------------------------------------


def test_the_record_tells_what_was_asked() -> None:
    problem = named("tall")
    flow = flow_curve(problem, "qr")
    assert flow.steps is None
    assert flow.method == "qr"
    assert flow.times.tolist() == list(TIMES)
    descent, _ = descent_curve(problem, "svd", 0.5)
    assert descent.steps.tolist() == list(STEPS)
    assert np.isclose(descent.final_risk, descent.risk[-1], rtol=0)
    assert np.isclose(descent.overtraining_penalty, descent.risk[-1] / descent.turning_risk, rtol=IDENTITY)
    assert descent.overtraining_penalty >= 1


def test_parts_need_clean_labels_and_say_so() -> None:
    problem = named("tall")
    bare = rfm.Problem(problem.features, problem.labels, population=problem.population)
    curve = flow_curve(bare, "svd")
    assert np.allclose(curve.risk, flow_curve(problem, "svd").risk, rtol=IDENTITY)
    for part in ("clean_risk", "noise_risk", "cross_risk"):
        with pytest.raises(ValueError, match=r"clean_labels: none were given.*pass clean_labels="):
            getattr(curve, part)
    with pytest.raises(ValueError, match=r"clean_labels: none were given.*pass clean_labels="):
        theory.risk_curve(bare.spectrum(), bare.population, theory.GradientFlow(), [1.0], by_mode=True)
