"""The moments of the label noise over Gaussian inputs against quadrature, and its spectrum by modes."""

import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

import theory
from tests.problems import Case, named
from tests.theory.noise.drawn import FEW, NODES, PLANE, overlap_and_mean
from tests.tolerances import BETA_MOMENT, IDENTITY, ORACLE, SAMPLING

# --- moments ------------------------------------------------------------------------------------------------------


def exact_moments(polynomial: np.polynomial.Polynomial, lam: float, label_lam: float | None = None) -> np.ndarray:
    """E of z, z^2, f(x~)^2, z f(x~), f(x~), from the definition of z on a grid of independent x and x'."""
    share = lam if label_lam is None else label_lam
    x, other = NODES[:, None], NODES[None, :]
    mixed = polynomial(lam * x + (1 - lam) * other)
    z = share * polynomial(x) + (1 - share) * polynomial(other) - mixed
    return np.asarray([np.sum(PLANE * value) for value in (z, z**2, mixed**2, z * mixed, mixed)])


def fields(moments: theory.noise.NoiseMoments) -> np.ndarray:
    return np.asarray([moments.mean, moments.power, moments.truth_power, moments.truth_product, moments.truth_mean])


POLYNOMIALS = st.lists(st.floats(-2, 2), min_size=5, max_size=5).map(np.polynomial.Polynomial)


@FEW
@given(POLYNOMIALS, st.floats(0, 1))
def test_moments_of_noise_are_those_of_its_definition(polynomial: np.polynomial.Polynomial, lam: float) -> None:
    ours = theory.noise.noise_moments(*overlap_and_mean(polynomial), lam)
    exact = exact_moments(polynomial, lam)
    size = 1 + float(overlap_and_mean(polynomial)[0](1.0, 1.0, 1.0))
    assert np.allclose(fields(ours), exact, rtol=0, atol=IDENTITY * 100 * size)
    assert np.isclose(ours.variance, exact[1] - exact[0] ** 2, rtol=0, atol=IDENTITY * 100 * size)


@FEW
@given(POLYNOMIALS, st.floats(0, 1), st.floats(0, 1))
def test_moments_of_labels_at_their_own_ratio_are_those_of_the_definition(
    polynomial: np.polynomial.Polynomial, lam: float, label_lam: float
) -> None:
    ours = fields(theory.noise.noise_moments(*overlap_and_mean(polynomial), lam, label_lam))
    size = 1 + float(overlap_and_mean(polynomial)[0](1.0, 1.0, 1.0))
    assert np.allclose(ours, exact_moments(polynomial, lam, label_lam), rtol=0, atol=IDENTITY * 100 * size)


@pytest.mark.parametrize("num_nodes", [9, 32])
def test_moments_over_a_beta_law_know_a_law_of_the_labels_own(num_nodes: int) -> None:
    """Not a symmetric one, which would not tell lam from 1 - lam."""
    polynomial = np.polynomial.Polynomial([0.5, -1.0, 0.7, 0.4, -0.2])
    shares, chances = np.asarray([0.1, 0.7]), np.asarray([0.4, 0.6])
    ratios, weights = theory.noise.beta_quadrature(0.8, num_nodes)
    exact = sum(
        weight * chance * exact_moments(polynomial, lam, share)
        for lam, weight in zip(ratios, weights, strict=True)
        for share, chance in zip(shares, chances, strict=True)
    )
    ours = theory.noise.beta_noise_moments(
        *overlap_and_mean(polynomial), 0.8, num_nodes=num_nodes, label_ratios=(shares, chances)
    )
    assert np.allclose(fields(ours), exact, rtol=ORACLE, atol=0)


@pytest.mark.parametrize("alpha", [0.3, 1.0, 2.5])
def test_moments_over_a_beta_law_are_the_integral_over_it(alpha: float) -> None:
    polynomial = np.polynomial.Polynomial([0.5, -1.0, 0.7, 0.4, -0.2])
    exact = [
        scipy.integrate.quad(
            lambda lam, k=k: exact_moments(polynomial, lam)[k], 0, 1, weight="alg", wvar=(alpha - 1, alpha - 1)
        )[0]
        / scipy.special.beta(alpha, alpha)
        for k in range(5)
    ]
    for num_nodes in (9, 32):  # an odd number has a node at 1/2
        ours = theory.noise.beta_noise_moments(*overlap_and_mean(polynomial), alpha, num_nodes=num_nodes)
        assert np.allclose(fields(ours), exact, rtol=ORACLE, atol=0)


def test_the_correlation_with_the_truth_is_that_of_many_draws() -> None:
    polynomial, lam = np.polynomial.Polynomial([0.0, 1.0, 0.0, -0.3]), 0.4
    x, other = np.random.default_rng(0).normal(size=(2, 200_000))
    mixed = polynomial(lam * x + (1 - lam) * other)
    z = lam * polynomial(x) + (1 - lam) * polynomial(other) - mixed
    batches = [np.corrcoef(a, b)[0, 1] for a, b in zip(np.split(z, 100), np.split(mixed, 100), strict=True)]
    ours = float(theory.noise.noise_moments(*overlap_and_mean(polynomial), lam).correlation)
    assert abs(np.mean(batches) - ours) <= SAMPLING * np.std(batches) / np.sqrt(100)
    assert abs(ours) > 0.1


def test_without_noise_the_correlation_is_zero_and_not_nan() -> None:
    moments = theory.noise.noise_moments(*overlap_and_mean(np.polynomial.Polynomial([2.0])), 0.5)
    assert float(moments.correlation) == 0


def beta_moment(alpha: float, power: int) -> float:
    """E lam^k = prod_{i < k} (alpha + i) / (2 alpha + i)."""
    return float(np.prod([(alpha + i) / (2 * alpha + i) for i in range(power)]))


def test_the_beta_moments_are_those_of_another_library() -> None:
    """Which integrates some of them numerically, to about 1e-9."""
    ours = [beta_moment(0.7, power) for power in range(1, 5)]
    theirs = [scipy.stats.beta(0.7, 0.7).moment(power) for power in range(1, 5)]
    assert np.allclose(ours, theirs, rtol=10 * ORACLE, atol=0)


@pytest.mark.parametrize("alpha", [0.1, 0.4, 1.0, 4.0, 30.0])
def test_the_beta_rule_has_the_moments_of_the_beta_law(alpha: float) -> None:
    for num_nodes in (1, 4, 9):
        ratios, shares = theory.noise.beta_quadrature(alpha, num_nodes)
        for power in range(2 * num_nodes):
            exact = beta_moment(alpha, power)
            assert np.isclose(shares @ ratios**power, exact, rtol=BETA_MOMENT, atol=0)
        assert np.allclose(ratios + ratios[::-1], 1, rtol=IDENTITY, atol=0)
        assert np.all(shares > 0)
    ratios, shares = theory.noise.beta_quadrature(alpha, 4)  # one degree more is one too many
    assert not np.isclose(shares @ ratios**8, beta_moment(alpha, 8), rtol=BETA_MOMENT, atol=0)


# --- modes --------------------------------------------------------------------------------------------------------


def test_the_label_spectrum_sums_to_what_the_features_reach(case: Case) -> None:
    problem, spectrum = case.problem, case.problem.spectrum()
    phi, clean = np.asarray(problem.features), np.asarray(problem.clean_labels)
    z = np.asarray(problem.labels) - clean
    ours = theory.noise.label_spectrum(spectrum)
    u, s, _ = np.linalg.svd(phi, full_matrices=False)
    reach = u[:, s > 1e-12 * s[0]]
    for by_mode, labels in ((ours.clean, clean), (ours.noise, z)):
        assert np.isclose(np.sum(by_mode), np.sum((reach.T @ labels) ** 2) / len(phi), rtol=ORACLE, atol=IDENTITY)
    assert np.allclose(ours.eigenvalues, spectrum.eigenvalues, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["tall", "wide", "square"])
def test_each_mode_carries_its_own_share(name: str) -> None:
    problem = named(name)
    u, _, _ = np.linalg.svd(np.asarray(problem.features), full_matrices=False)
    ours = theory.noise.label_spectrum(problem.spectrum())
    rows = len(problem.features)
    clean = np.asarray(problem.clean_labels)
    z = np.asarray(problem.labels) - clean
    assert np.allclose(ours.clean, np.sum((u.T @ clean) ** 2, axis=1) / rows, rtol=ORACLE, atol=IDENTITY)
    assert np.allclose(ours.noise, np.sum((u.T @ z) ** 2, axis=1) / rows, rtol=ORACLE, atol=IDENTITY)
