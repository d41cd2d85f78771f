"""Mixup's label noise: identities and bounds over random truths, points and ratios; moments by another quadrature."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rfm
import theory
from tests.theory.noise.drawn import FEW, overlap_and_mean
from tests.tolerances import IDENTITY, SAMPLING

DIMENSIONS = st.sampled_from([1, 2, 7, 50])
SEEDS = st.integers(0, 10**6)
NUM_PAIRS = 200
KINDS = ["quadratic", "convex", "two layers", "kinked"]
TANH_CURVATURE = 4 / (3 * np.sqrt(3))
"""The largest |tanh''|, at tanh = 1/sqrt(3)."""


class Drawn(NamedTuple):
    """A random truth with what is known of it: f - lower/2 |x|^2 is convex, its gradient upper-, itself K-Lipschitz."""

    truth: Callable[[jax.Array], jax.Array]
    lower: float
    upper: float
    lipschitz: float


def draw(kind: str, dim: int, seed: int) -> Drawn:
    rng = np.random.default_rng(seed)
    weights, readout = jnp.asarray(rng.normal(size=(3, dim))), jnp.asarray(rng.normal(size=3))
    lengths = np.linalg.norm(weights, axis=1)
    if kind == "quadratic":
        entries = rng.normal(size=(dim, dim))
        curvature = jnp.asarray(entries + entries.T)
        eigenvalues = np.linalg.eigvalsh(curvature)
        form = rfm.data.QuadraticTruth(curvature, jnp.asarray(rng.normal(size=dim)), 0.3)
        return Drawn(form, eigenvalues[0], np.abs(eigenvalues).max(), np.inf)
    if kind == "convex":  # log-sum-exp is convex, with Hessian at most max |w|^2; and a bowl on top
        bowl = rng.uniform(0.1, 2)
        return Drawn(
            lambda x: jax.nn.logsumexp(x @ weights.T, axis=1) + bowl / 2 * jnp.sum(x**2, axis=1),
            bowl,
            bowl + np.max(lengths) ** 2,
            np.inf,
        )
    if kind == "two layers":
        bend = TANH_CURVATURE * float(np.abs(readout) @ lengths**2)
        steepest = float(np.abs(readout) @ lengths)
        return Drawn(lambda x: jnp.tanh(x @ weights.T) @ readout, -bend, bend, steepest)
    return Drawn(lambda x: jnp.abs(x @ weights.T) @ jnp.abs(readout), 0.0, np.inf, float(np.abs(readout) @ lengths))


class Pairs(NamedTuple):
    """Random points and ratios."""

    inputs: jax.Array
    others: jax.Array
    lam: jax.Array


def draw_pairs(dim: int, seed: int) -> Pairs:
    rng = np.random.default_rng(seed + 1)
    size = rng.choice([0.1, 1.0, 10.0], size=(NUM_PAIRS, 1))
    inputs, others = size * rng.normal(size=(2, NUM_PAIRS, dim))
    return Pairs(jnp.asarray(inputs), jnp.asarray(others), jnp.asarray(rng.uniform(size=NUM_PAIRS)))


def rounding(drawn: Drawn, pairs: Pairs) -> float:
    """What subtracting values of that size may leave."""
    return IDENTITY * float(
        1 + jnp.max(jnp.abs(drawn.truth(pairs.inputs))) + jnp.max(jnp.abs(drawn.truth(pairs.others)))
    )


def noise(drawn: Drawn, pairs: Pairs) -> np.ndarray:
    return np.asarray(theory.mixup_noise(drawn.truth, *pairs))


# --- identities ---------------------------------------------------------------------------------------------------


@FEW
@given(seed=SEEDS, dim=DIMENSIONS)
def test_affine_truths_make_no_noise(seed: int, dim: int) -> None:
    rng = np.random.default_rng(seed)
    affine = Drawn(rfm.data.LinearTruth(jnp.asarray(rng.normal(size=dim)), 0.7), 0, 0, 0)
    pairs = draw_pairs(dim, seed)
    assert np.max(np.abs(noise(affine, pairs))) <= rounding(affine, pairs)


@pytest.mark.parametrize("kind", KINDS)
@FEW
@given(seed=SEEDS, dim=DIMENSIONS)
def test_noise_vanishes_at_the_ends_and_where_the_points_agree(kind: str, seed: int, dim: int) -> None:
    drawn, pairs = draw(kind, dim, seed), draw_pairs(dim, seed)
    for lam in (0.0, 1.0):
        at_end = theory.mixup_noise(drawn.truth, pairs.inputs, pairs.others, lam)
        assert np.max(np.abs(at_end)) <= rounding(drawn, pairs)
    itself = theory.mixup_noise(drawn.truth, pairs.inputs, pairs.inputs, pairs.lam)
    assert np.max(np.abs(itself)) <= rounding(drawn, pairs)
    assert np.max(np.abs(noise(drawn, pairs))) > rounding(drawn, pairs)  # and elsewhere it does not


@pytest.mark.parametrize("kind", KINDS)
@FEW
@given(seed=SEEDS, dim=DIMENSIONS)
def test_swapping_points_and_shares_changes_nothing(kind: str, seed: int, dim: int) -> None:
    drawn, pairs = draw(kind, dim, seed), draw_pairs(dim, seed)
    swapped = Pairs(pairs.others, pairs.inputs, 1 - pairs.lam)
    assert np.allclose(noise(drawn, pairs), noise(drawn, swapped), rtol=0, atol=rounding(drawn, pairs))


@pytest.mark.parametrize("kind", KINDS)
@FEW
@given(seed=SEEDS, dim=DIMENSIONS, scale=st.floats(-3, 3))
def test_noise_is_linear_in_the_truth_and_blind_to_its_affine_part(
    kind: str, seed: int, dim: int, scale: float
) -> None:
    first, second = draw(kind, dim, seed), draw("two layers", dim, seed + 7)
    slope, pairs = jnp.asarray(np.random.default_rng(seed).normal(size=dim)), draw_pairs(dim, seed)
    together = Drawn(lambda x: first.truth(x) + scale * second.truth(x) + x @ slope - 2.0, 0, 0, 0)
    expected = noise(first, pairs) + scale * noise(second, pairs)
    bound = 3 * rounding(first, pairs) + 3 * rounding(second, pairs) + rounding(together, pairs)
    assert np.allclose(noise(together, pairs), expected, rtol=0, atol=bound)


@FEW
@given(seed=SEEDS, dim=DIMENSIONS)
def test_noise_of_a_quadratic_is_its_closed_form(seed: int, dim: int) -> None:
    drawn, pairs = draw("quadratic", dim, seed), draw_pairs(dim, seed)
    exact = theory.noise.quadratic_noise(drawn.truth.curvature, *pairs)
    assert np.allclose(noise(drawn, pairs), exact, rtol=0, atol=rounding(drawn, pairs))


def test_noise_of_several_targets_is_that_of_each() -> None:
    drawn, other, pairs = draw("convex", 2, 1), draw("two layers", 2, 2), draw_pairs(2, 3)
    both = theory.mixup_noise(lambda x: jnp.stack([drawn.truth(x), other.truth(x)], axis=1), *pairs)
    each = np.stack([noise(drawn, pairs), noise(other, pairs)], axis=1)
    assert np.allclose(both, each, rtol=0, atol=rounding(drawn, pairs))


def test_noise_is_labels_less_clean_labels_of_a_problem_without_other_noise() -> None:
    task = rfm.TeacherStudent(input_dim=3, num_hidden=4, weight_std=3.0, key=jax.random.key(0))
    features = rfm.RandomFeatures(input_dim=3, num_features=5, key=jax.random.key(1))
    sample = task.sample(num_samples=4, key=jax.random.key(2))
    law = rfm.Mixup(alpha=0.7)
    problem = rfm.synthesize(
        sample, features, law, population=task.test_set(features, 3, key=jax.random.key(3)), key=jax.random.key(4)
    )
    (table,) = law.tables(4, 100, key=jax.random.key(4))
    ours = theory.mixup_noise(task.truth, sample.inputs[table.first], sample.inputs[table.second], table.lam)
    assert np.allclose(ours, (problem.labels - problem.clean_labels)[:, 0], rtol=0, atol=IDENTITY)


# --- bounds -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@FEW
@given(seed=SEEDS, dim=DIMENSIONS)
def test_noise_keeps_to_its_bounds(kind: str, seed: int, dim: int) -> None:
    """Strongly convex: from below; smooth and Lipschitz: in size."""
    drawn, pairs = draw(kind, dim, seed), draw_pairs(dim, seed)
    z, slack = noise(drawn, pairs), rounding(drawn, pairs)
    if drawn.lower >= 0:
        assert np.all(z >= theory.noise.strong_convexity_lower(float(drawn.lower), *pairs) - slack)
        assert np.all(z >= -slack)
    if np.isfinite(drawn.upper):
        assert np.all(np.abs(z) <= theory.noise.smoothness_upper(float(drawn.upper), *pairs) + slack)
    if np.isfinite(drawn.lipschitz):
        assert np.all(np.abs(z) <= theory.noise.lipschitz_upper(drawn.lipschitz, *pairs) + slack)


def test_the_kinds_of_truth_put_every_bound_to_work() -> None:
    drawn = [draw(kind, 2, 0) for kind in KINDS]
    assert any(truth.lower > 0 for truth in drawn)
    assert sum(np.isfinite(truth.upper) for truth in drawn) >= 2
    assert sum(np.isfinite(truth.lipschitz) for truth in drawn) >= 2


@FEW
@given(seed=SEEDS, dim=DIMENSIONS, constant=st.floats(0.1, 10))
def test_a_round_bowl_attains_the_convexity_and_the_smoothness_bound(seed: int, dim: int, constant: float) -> None:
    pairs = draw_pairs(dim, seed)
    for sign in (1, -1):
        bowl = Drawn(lambda x, sign=sign: sign * constant / 2 * jnp.sum(x**2, axis=1), constant, constant, np.inf)
        slack = rounding(bowl, pairs)
        assert np.allclose(
            sign * noise(bowl, pairs), theory.noise.smoothness_upper(constant, *pairs), rtol=0, atol=slack
        )
    assert np.array_equal(
        theory.noise.smoothness_upper(constant, *pairs), theory.noise.strong_convexity_lower(constant, *pairs)
    )


@FEW
@given(seed=SEEDS, dim=DIMENSIONS, constant=st.floats(0.1, 10))
def test_a_cone_whose_tip_lies_at_the_mixed_point_attains_the_lipschitz_bound(
    seed: int, dim: int, constant: float
) -> None:
    """At every ratio; at 1/2 the points are opposite each other."""
    pairs = draw_pairs(dim, seed)
    gap = pairs.others
    opposite = Pairs(-(1 - pairs.lam)[:, None] * gap, pairs.lam[:, None] * gap, pairs.lam)
    cone = Drawn(lambda x: constant * jnp.linalg.norm(x, axis=1), 0.0, np.inf, constant)
    bound = theory.noise.lipschitz_upper(constant, *opposite)
    assert np.allclose(noise(cone, opposite), bound, rtol=0, atol=rounding(cone, opposite))
    assert np.all(noise(cone, pairs) <= theory.noise.lipschitz_upper(constant, *pairs) + rounding(cone, pairs))


def test_bounds_trace_under_jit() -> None:
    pairs = draw_pairs(2, 0)
    for bound in (theory.noise.smoothness_upper, theory.noise.lipschitz_upper):
        assert np.allclose(jax.jit(bound)(2.0, *pairs), bound(2.0, *pairs), rtol=IDENTITY, atol=0)


# --- curvature from data ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["quadratic", "convex", "two layers"])
@FEW
@given(seed=SEEDS, dim=DIMENSIONS)
def test_estimated_curvature_never_leaves_the_true_range(kind: str, seed: int, dim: int) -> None:
    drawn, pairs = draw(kind, dim, seed), draw_pairs(dim, seed)
    lam = jnp.clip(pairs.lam, 0.1, 0.9)  # near its ends the quotient is all rounding
    estimate = theory.noise.estimate_curvature(drawn.truth, pairs.inputs, pairs.others, lam)
    slack = 1e-6 * (1 + drawn.upper)
    assert drawn.lower - slack <= estimate.lowest <= estimate.highest <= drawn.upper + slack


def test_estimated_curvature_of_a_quadratic_reaches_its_extreme_eigenvalues() -> None:
    angle = jnp.linspace(0, jnp.pi, 721)
    around = jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)
    form = rfm.data.QuadraticTruth(jnp.asarray([[1.0, 2.0], [2.0, -3.0]]), jnp.ones(2))
    estimate = theory.noise.estimate_curvature(form, around, -around, 0.3)
    assert np.allclose(estimate, np.linalg.eigvalsh(form.curvature), rtol=1e-4)  # angles are a quarter degree apart


def test_estimated_curvature_leaves_out_pairs_of_one_point() -> None:
    inputs, others = jnp.asarray([[1.0], [2.0], [5.0]]), jnp.asarray([[1.0], [4.0], [5.0]])
    estimate = theory.noise.estimate_curvature(lambda x: 3 * x[:, 0] ** 2, inputs, others, 0.5)
    assert np.allclose(estimate, 6.0, rtol=IDENTITY, atol=0)
    with pytest.raises(ValueError, match="inputs: every pair is one point twice; pass pairs of different points"):
        theory.noise.estimate_curvature(lambda x: x[:, 0], inputs, inputs)


# --- noise that was there before ----------------------------------------------------------------------------------


@pytest.mark.parametrize("law", [rfm.Mixup(lam=0.3), rfm.Mixup(alpha=0.5), rfm.Mixup(alpha=1.0, pairs=12)], ids=str)
def test_mixing_passes_the_originals_noise_on_with_the_covariance_of_shared_parents(law: rfm.Mixup) -> None:
    (table,) = law.tables(4, 100, key=jax.random.key(0))
    variance, num_draws = 1.7, 40_000
    ours = np.asarray(theory.noise.passed_on_covariance(table.first, table.second, table.lam, variance))
    mixing = np.asarray(table.mix(jnp.eye(4)))
    assert np.allclose(ours, variance * mixing @ mixing.T, rtol=0, atol=IDENTITY)
    noise = np.sqrt(variance) * np.random.default_rng(1).normal(size=(4, num_draws))
    mixed = np.asarray(table.mix(jnp.asarray(noise)))
    spread = np.sqrt((np.outer(np.diag(ours), np.diag(ours)) + ours**2) / num_draws)
    assert np.all(np.abs(mixed @ mixed.T / num_draws - ours) <= SAMPLING * spread)
    assert np.any(np.abs(ours - np.diag(np.diag(ours))) > 0.1)


# --- bad input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_constants_must_be_finite_and_not_negative(value: float) -> None:
    x = jnp.zeros((2, 1))
    for bound in (theory.noise.strong_convexity_lower, theory.noise.smoothness_upper, theory.noise.lipschitz_upper):
        with pytest.raises(ValueError, match=rf"constant: must be a finite number that is not negative, got {value}"):
            bound(value, x, x, 0.5)
    with pytest.raises(ValueError, match="label_noise_variance: must be a finite number that is not negative"):
        theory.noise.passed_on_covariance(jnp.asarray([0]), jnp.asarray([1]), jnp.asarray([0.5]), value)


@pytest.mark.parametrize("lam", [-0.1, 1.1, np.nan])
def test_ratios_must_lie_between_zero_and_one(lam: float) -> None:
    x = jnp.zeros((2, 1))
    with pytest.raises(ValueError, match=r"lam: must lie in \[0, 1\], got"):
        theory.noise.smoothness_upper(1.0, x, x, lam)
    with pytest.raises(ValueError, match=r"lam: must lie in \[0, 1\], got"):
        theory.noise.smoothness_upper(1.0, x, x, jnp.asarray([0.5, lam]))
    with pytest.raises(ValueError, match=r"lam: must lie in \[0, 1\], got"):
        theory.mixup_noise(lambda x: x[:, 0], x, x, lam)
    with pytest.raises(ValueError, match=r"lam: must lie in \[0, 1\], got"):
        theory.noise.noise_moments(*overlap_and_mean(np.polynomial.Polynomial([1.0])), lam)


@pytest.mark.parametrize("alpha", [0.0, -1.0, np.nan, np.inf])
def test_alpha_must_be_in_its_range(alpha: float) -> None:
    with pytest.raises(ValueError, match=f"alpha: must lie between 0.0001 and 1000, got {alpha}"):
        theory.noise.beta_quadrature(alpha, 3)
