"""Moments of ground truths, and of the label noise that Mixup makes of them, against many draws and by hand."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rfm
import theory
from tests.tolerances import IDENTITY, QUADRATURE, SAMPLING

DIM = 3
NUM_DRAWS = 20_000


@functools.cache
def teacher(activation: str) -> rfm.data.TwoLayerTeacher:
    truth = rfm.TeacherStudent(DIM, 3, activation, weight_std=2.0, key=jax.random.key(3)).truth
    assert isinstance(truth, rfm.data.TwoLayerTeacher)
    return truth


@functools.cache
def quadratic(seed: int = 0, dim: int = DIM) -> rfm.data.QuadraticTruth:
    rng = np.random.default_rng(seed)
    curvature = rng.normal(size=(dim, dim))
    return rfm.data.QuadraticTruth(jnp.asarray(curvature + curvature.T), jnp.asarray(rng.normal(size=dim)), 0.4)


TRUTHS: dict[str, Callable[[], rfm.data.GaussianTruth]] = {
    "tanh": functools.partial(teacher, "tanh"),
    "relu": functools.partial(teacher, "relu"),
    "erf": functools.partial(teacher, "erf"),
    "quadratic": quadratic,
    "uneven quadratic": lambda: rfm.data.QuadraticTruth(
        jnp.asarray([[1.0, 4, 0], [0, -1, 2], [-3, 0, 1]]), jnp.ones(3), 0.2
    ),
    "linear": lambda: rfm.data.LinearTruth(jnp.asarray([1.0, -2.0, 0.5]), 0.3),
}
EVERY_TRUTH = pytest.mark.parametrize("name", TRUTHS)


@functools.cache
def normals(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(NUM_DRAWS, DIM))


def agrees(draws: np.ndarray, exact: float) -> bool:
    """Within `SAMPLING` standard errors of the mean of the draws."""
    error = np.std(draws) / np.sqrt(len(draws))
    return bool(abs(np.mean(draws) - float(exact)) <= SAMPLING * error + QUADRATURE)


def values(truth: rfm.data.GaussianTruth, inputs: np.ndarray) -> np.ndarray:
    return np.asarray(truth(jnp.asarray(inputs)))


def test_constants_of_straight_and_bent_activations_are_those_of_calculus() -> None:
    for activation, slope, bend in ((lambda x: x, 1.0, 0.0), (jax.nn.relu, 1.0, np.inf), (jnp.tanh, 1.0, 4 / 27**0.5)):
        truth = rfm.data.TwoLayerTeacher(jnp.eye(2), jnp.ones(2), activation)  # of 2 units, |v| = |w| = 1/sqrt(2)
        assert truth.lipschitz_constant() == pytest.approx(slope, rel=1e-3)
        assert truth.smoothness_constant() == pytest.approx(bend / 2**0.5, rel=1e-3)


def test_only_the_symmetric_part_of_a_curvature_counts() -> None:
    uneven = np.random.default_rng(5).normal(size=(DIM, DIM))
    even = (uneven + uneven.T) / 2
    a, b = (rfm.data.QuadraticTruth(jnp.asarray(matrix), jnp.zeros(DIM)) for matrix in (uneven, even))
    assert np.array_equal(a.curvature, b.curvature)
    power = (np.trace(even) ** 2 + 2 * np.trace(even @ even)) / 4  # E (x . A x / 2)^2, by Isserlis
    assert np.isclose(a.power(), power, rtol=IDENTITY)
    assert not np.isclose((np.trace(uneven) ** 2 + 2 * np.sum(uneven**2)) / 4, power, rtol=0.01)
    with pytest.raises(ValueError, match=r"curvature: has shape \(2, 3\); pass an array of shape \(2, 2\)"):
        rfm.data.QuadraticTruth(jnp.ones((2, 3)), jnp.ones(3))


@EVERY_TRUTH
@pytest.mark.parametrize(("scale1", "scale2", "correlation"), [(1.0, 1.0, 1.0), (1.0, 0.6, 0.8), (0.7, 1.3, -0.5)])
def test_the_overlap_is_the_mean_product_at_correlated_inputs(
    name: str, scale1: float, scale2: float, correlation: float
) -> None:
    truth = TRUTHS[name]()
    twin = correlation * normals(0) + np.sqrt(1 - correlation**2) * normals(1)
    products = values(truth, scale1 * normals(0)) * values(truth, scale2 * twin)
    assert agrees(products, truth.overlap(scale1, scale2, correlation))
    assert np.isclose(truth.power(), truth.overlap(1.0, 1.0, 1.0), rtol=IDENTITY, atol=0)


@EVERY_TRUTH
def test_smoothing_averages_over_gaussian_neighbours(name: str) -> None:
    truth = TRUTHS[name]()
    points = normals(2)[:4]
    ours = truth.smoothed(jnp.asarray(points), 0.7)
    for point, smoothed in zip(points, ours, strict=True):
        assert agrees(values(truth, point + 0.7 * normals(0)), smoothed)
    assert agrees(values(truth, 1.4 * normals(1)), truth.mean(1.4))
    assert np.allclose(truth.smoothed(jnp.asarray(points), 0.0), values(truth, points), rtol=0, atol=QUADRATURE)


@pytest.mark.slow
@EVERY_TRUTH
@pytest.mark.parametrize(("lam", "alpha"), [(0.5, None), (0.2, None), (None, 0.5)])
def test_moments_of_the_label_noise_are_those_of_many_draws(name: str, lam: float | None, alpha: float | None) -> None:
    truth, first, second = TRUTHS[name](), normals(0), normals(1)
    ratios = np.full(NUM_DRAWS, lam) if alpha is None else np.random.default_rng(2).beta(alpha, alpha, NUM_DRAWS)
    mixed = values(truth, ratios[:, None] * first + (1 - ratios)[:, None] * second)
    z = ratios * values(truth, first) + (1 - ratios) * values(truth, second) - mixed
    ours = truth.noise_moments(lam=lam, alpha=alpha)
    assert agrees(z, ours.mean)
    assert agrees(z**2, ours.power)
    assert agrees(mixed**2, ours.truth_power)
    assert agrees(z * mixed, ours.truth_product)
    assert agrees(mixed, ours.truth_mean)
    if name != "linear":
        spread = np.sqrt(ours.variance * (ours.truth_power - ours.truth_mean**2))
        assert agrees((z - ours.mean) * (mixed - ours.truth_mean), ours.correlation * spread)


@pytest.mark.parametrize("own", [{"label_lam": 0.7}, {"label_alpha": 0.4}], ids=["fixed", "beta"])
@pytest.mark.parametrize("law", [{"lam": 0.2}, {"alpha": 0.5}], ids=["fixed", "beta"])
def test_moments_know_the_labels_own_ratio(law: dict[str, float], own: dict[str, float]) -> None:
    """z is linear in that ratio, and so its square quadratic: a finer rule for it changes nothing."""
    truth, drawn = quadratic(), np.random.default_rng(2)
    first, second = normals(0), normals(1)
    ratios = np.full(NUM_DRAWS, law["lam"]) if "lam" in law else drawn.beta(0.5, 0.5, NUM_DRAWS)
    shares = np.full(NUM_DRAWS, own["label_lam"]) if "label_lam" in own else drawn.beta(0.4, 0.4, NUM_DRAWS)
    mixed = values(truth, ratios[:, None] * first + (1 - ratios)[:, None] * second)
    z = shares * values(truth, first) + (1 - shares) * values(truth, second) - mixed
    ours = truth.noise_moments(**law, **own)
    for sample, moment in ((z, ours.mean), (z**2, ours.power), (z * mixed, ours.truth_product)):
        assert agrees(sample, moment)


@EVERY_TRUTH
@pytest.mark.parametrize("lam", [0.5, 0.8])
def test_conditional_noise_is_the_mean_over_the_partner(name: str, lam: float) -> None:
    truth, points = TRUTHS[name](), normals(2)[:4]
    ours = truth.conditional_noise(jnp.asarray(points), lam)
    at_partners = values(truth, normals(0))
    for index, point in enumerate(points):
        mixed = values(truth, lam * point + (1 - lam) * normals(0))
        z = lam * values(truth, point[None])[0] + (1 - lam) * at_partners - mixed
        assert agrees(z, ours[index])


@EVERY_TRUTH
def test_conditional_noise_averages_to_the_mean_noise(name: str) -> None:
    truth = TRUTHS[name]()
    over_inputs = np.asarray(truth.conditional_noise(jnp.asarray(normals(3)[:4000]), 0.3))
    assert agrees(over_inputs, truth.noise_moments(lam=0.3).mean)


@EVERY_TRUTH
@pytest.mark.parametrize("lam", [0.0, 1.0])
def test_an_unmixed_truth_has_no_noise(name: str, lam: float) -> None:
    truth = TRUTHS[name]()
    moments = truth.noise_moments(lam=lam)
    assert abs(float(moments.mean)) <= QUADRATURE
    assert abs(float(moments.power)) <= QUADRATURE * float(truth.power())
    if lam == 1:
        assert np.allclose(truth.conditional_noise(jnp.asarray(normals(0)[:5]), lam), 0, rtol=0, atol=QUADRATURE)


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.sampled_from([1, 2, 10, 50]), st.floats(0, 1))
def test_noise_of_a_quadratic_has_the_moments_of_a_gaussian_form(seed: int, dim: int, lam: float) -> None:
    """With x - x' = sqrt(2) g: z = lam (1 - lam) gᵀ A g, whose moments are traces."""
    truth, share = quadratic(seed, dim), lam * (1 - lam)
    curvature = np.asarray(truth.curvature)
    moments = truth.noise_moments(lam=lam)
    size = IDENTITY * 10 * float(truth.power())
    assert np.isclose(moments.mean, share * np.trace(curvature), rtol=0, atol=size)
    power = share**2 * (2 * np.sum(curvature**2) + np.trace(curvature) ** 2)
    assert np.isclose(moments.power, power, rtol=0, atol=size)


@pytest.mark.parametrize("alpha", [0.3, 1.0, 5.0])
def test_noise_of_a_quadratic_over_a_beta_law_scales_with_moments_of_that_law(alpha: float) -> None:
    """E lam (1 - lam) = alpha / (2 (2 alpha + 1)), and likewise its square."""
    truth = quadratic()
    curvature, moments = np.asarray(truth.curvature), truth.noise_moments(alpha=alpha)
    share = alpha / (2 * (2 * alpha + 1))
    square = share * (alpha + 1) ** 2 / ((2 * alpha + 2) * (2 * alpha + 3))
    power = square * (2 * np.sum(curvature**2) + np.trace(curvature) ** 2)
    assert np.isclose(moments.mean, share * np.trace(curvature), rtol=QUADRATURE, atol=0)
    assert np.isclose(moments.power, power, rtol=QUADRATURE, atol=0)


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.sampled_from([1, 10, 50]), st.floats(0, 1))
def test_a_linear_truth_makes_no_noise(seed: int, dim: int, lam: float) -> None:
    truth = rfm.data.LinearTruth(jnp.asarray(np.random.default_rng(seed).normal(size=dim)), 0.7)
    moments, size = truth.noise_moments(lam=lam), IDENTITY * float(truth.power())
    assert abs(float(moments.mean)) <= size
    assert abs(float(moments.power)) <= 10 * size


def test_curved_teachers_make_more_noise_and_pull_labels_to_the_middle() -> None:
    """Mixed labels of a saturating teacher shrink towards zero: the noise opposes the truth."""
    powers = []
    for std in (0.1, 1.0, 5.0):
        truth = rfm.TeacherStudent(DIM, 3, "erf", weight_std=std, key=jax.random.key(0)).truth
        assert isinstance(truth, rfm.data.TwoLayerTeacher)
        moments = truth.noise_moments(lam=0.5)
        powers.append(float(moments.power / truth.power()))
        assert float(moments.correlation) < 0
    assert powers == sorted(powers)


def test_a_law_of_ratios_is_one_of_two() -> None:
    truth = quadratic()
    with pytest.raises(ValueError, match=r"lam, alpha: pass one of them, got None and None"):
        truth.noise_moments()
    with pytest.raises(ValueError, match=r"lam, alpha: pass one of them, got 0.5 and 1.0"):
        truth.noise_moments(lam=0.5, alpha=1.0)
    with pytest.raises(ValueError, match=r"label_lam, label_alpha: pass one of them, got 0.5 and 1.0"):
        truth.noise_moments(lam=0.5, label_lam=0.5, label_alpha=1.0)
    with pytest.raises(ValueError, match=r"label_alpha: must lie between"):
        truth.noise_moments(lam=0.5, label_alpha=-1.0)
    with pytest.raises(ValueError, match=r"label_lam: must lie in \[0, 1\], got -1.0"):
        truth.noise_moments(alpha=1.0, label_lam=-1.0)
    with pytest.raises(ValueError, match=r"lam: must lie in \[0, 1\], got 1.5"):
        truth.noise_moments(lam=1.5)


def test_moments_hold_for_any_elementwise_activation() -> None:
    weights, readout = jnp.asarray([[1.0, -0.5, 2.0]]), jnp.asarray([1.5])
    by_callable = rfm.data.TwoLayerTeacher(weights, readout, lambda x: jnp.sin(x))
    by_closed_form = rfm.data.TwoLayerTeacher(weights, readout, theory.duals.activation("sin"))
    ours, exact = by_callable.noise_moments(lam=0.4), by_closed_form.noise_moments(lam=0.4)
    for name in theory.noise.NoiseMoments.__dataclass_fields__:
        assert np.isclose(getattr(ours, name), getattr(exact, name), rtol=0, atol=QUADRATURE)
