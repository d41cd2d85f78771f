"""Three factorisations of one covariance: they agree with each other and with its definition, however rows arrive."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rfm
import theory
from tests.problems import CASES, Case, make, named, tagged
from tests.tolerances import IDENTITY, ORACLE
from theory.blocks import Block
from theory.checks import check_choice

TIMES = jnp.asarray([0.0, 0.3, 10.0, 1e3])


def covariance(problem: rfm.Problem) -> np.ndarray:
    return np.asarray(problem.features).T @ np.asarray(problem.features) / problem.features.shape[0]


def risk(spectrum: theory.Spectrum, problem: rfm.Problem) -> np.ndarray:
    return np.asarray(theory.risk.risk_parts(spectrum, problem.population, theory.GradientFlow(), TIMES).risk)


def in_blocks(problem: rfm.Problem, rows: int) -> Iterator[Block]:
    for first in range(0, problem.features.shape[0], rows):
        block = slice(first, first + rows)
        clean = None if problem.clean_labels is None else problem.clean_labels[block]
        yield problem.features[block], problem.labels[block], clean


@pytest.mark.parametrize("method", theory.spectrum.METHODS)
def test_eigenvalues_are_those_of_the_covariance(case: Case, method: theory.spectrum.Method) -> None:
    eigenvalues = np.asarray(case.problem.spectrum(method).eigenvalues)
    expected = np.linalg.eigvalsh(covariance(case.problem))[::-1][: len(eigenvalues)]
    assert np.allclose(eigenvalues, expected, rtol=0, atol=IDENTITY * expected[0])
    assert np.all(eigenvalues >= 0)
    assert np.all(np.diff(eigenvalues) <= 0)


@pytest.mark.parametrize("method", theory.spectrum.METHODS)
def test_modes_and_eigenvalues_rebuild_the_covariance(case: Case, method: theory.spectrum.Method) -> None:
    spectrum = case.problem.spectrum(method)
    modes = np.asarray(spectrum.modes)
    rebuilt = modes * np.asarray(spectrum.eigenvalues) @ modes.T
    assert np.allclose(rebuilt, covariance(case.problem), rtol=0, atol=IDENTITY)


@pytest.mark.parametrize("method", theory.spectrum.METHODS)
def test_modes_are_orthonormal(case: Case, method: theory.spectrum.Method) -> None:
    spectrum = case.problem.spectrum(method)
    modes = np.asarray(spectrum.modes)
    ones = np.ones(modes.shape[1])
    if method == "gram" and "wide" in case.tags:  # which does not know the directions of null modes
        ones[spectrum.rank :] = 0
    assert np.allclose(modes.T @ modes, np.diag(ones), rtol=0, atol=10 * IDENTITY)


@pytest.mark.parametrize("method", theory.spectrum.METHODS)
def test_label_coordinates_rebuild_force_and_power(case: Case, method: theory.spectrum.Method) -> None:
    problem, spectrum = case.problem, case.problem.spectrum(method)
    phi, num_samples = np.asarray(problem.features), problem.features.shape[0]
    singular = np.sqrt(np.asarray(spectrum.eigenvalues))[:, None]
    for labels, coordinates in (
        (problem.labels, spectrum.label_coordinates),
        (problem.clean_labels, spectrum.clean_coordinates),
    ):
        force = np.asarray(spectrum.modes) @ (singular * np.asarray(coordinates))
        assert np.allclose(force, phi.T @ np.asarray(labels) / num_samples, rtol=0, atol=10 * IDENTITY)
    power = np.sum(np.asarray(spectrum.label_coordinates) ** 2, axis=0) + np.asarray(spectrum.label_outside)
    assert np.allclose(power, np.mean(np.asarray(problem.labels) ** 2, axis=0), rtol=10 * IDENTITY)


@pytest.mark.parametrize("method", theory.spectrum.METHODS)
def test_labels_outside_the_range_are_what_least_squares_leaves(case: Case, method: theory.spectrum.Method) -> None:
    phi, y = np.asarray(case.problem.features), np.asarray(case.problem.labels)
    left = y - phi @ np.linalg.lstsq(phi, y, rcond=1e-10)[0]
    outside = case.problem.spectrum(method).label_outside
    assert np.allclose(outside, np.mean(left**2, axis=0), rtol=ORACLE, atol=IDENTITY)


@pytest.mark.parametrize("name", ["tall", "wide", "rank-deficient"])
@given(rows=st.integers(1, 26), method=st.sampled_from(["qr", "gram"]))
def test_streaming_in_blocks_of_any_size_changes_nothing(name: str, rows: int, method: theory.spectrum.Method) -> None:
    problem = named(name)
    streamed = theory.spectrum.decompose_blocks(in_blocks(problem, rows), method=method)
    whole = problem.spectrum("svd")
    rank = whole.rank
    assert np.allclose(streamed.eigenvalues[:rank], whole.eigenvalues[:rank], rtol=IDENTITY, atol=IDENTITY)
    assert np.allclose(streamed.label_outside, whole.label_outside, rtol=0, atol=10 * IDENTITY)
    coordinates = np.asarray(streamed.label_coordinates)[:rank], np.asarray(whole.label_coordinates)[:rank]
    assert np.allclose(np.abs(coordinates[0]), np.abs(coordinates[1]), rtol=0, atol=100 * IDENTITY)


@pytest.mark.parametrize("rows", [3, 8, 100])
@pytest.mark.parametrize("method", ["qr", "gram"])
def test_streaming_changes_no_curve(case: Case, rows: int, method: theory.spectrum.Method) -> None:
    streamed = theory.spectrum.decompose_blocks(in_blocks(case.problem, rows), method=method)
    expected = risk(case.problem.spectrum("svd"), case.problem)
    assert np.allclose(risk(streamed, case.problem), expected, rtol=ORACLE)


def test_streaming_without_clean_labels_leaves_them_out() -> None:
    problem = named("tall")
    streamed = theory.spectrum.decompose_blocks((phi, y, None) for phi, y, _ in in_blocks(problem, 5))
    assert streamed.clean_coordinates is None
    assert np.allclose(risk(streamed, problem), risk(problem.spectrum(), problem), rtol=ORACLE)


@pytest.mark.parametrize("method", theory.spectrum.METHODS)
def test_rotated_features_and_permuted_rows_give_the_same_curve(method: theory.spectrum.Method) -> None:
    for case in tagged("tall"):
        problem, rng = case.problem, np.random.default_rng(0)
        rotation = jnp.asarray(np.linalg.qr(rng.normal(size=(8, 8)))[0])
        order = rng.permutation(problem.features.shape[0])
        other = rfm.Problem(
            (problem.features @ rotation)[order],
            problem.labels[order],
            problem.clean_labels[order],
            population=theory.TestSet(problem.population.features @ rotation, problem.population.targets),
        )
        ours, theirs = other.spectrum(method), problem.spectrum(method)
        assert np.allclose(ours.eigenvalues, theirs.eigenvalues, rtol=0, atol=IDENTITY)
        assert np.allclose(risk(ours, other), risk(theirs, problem), rtol=ORACLE)


@pytest.mark.parametrize("method", theory.spectrum.METHODS)
def test_infinity_is_resolved_by_a_gap_and_only_by_a_gap(method: theory.spectrum.Method) -> None:
    for case in tagged("gapped", "singular"):
        # A Gram matrix does not tell null modes from small ones, and does not claim to.
        resolved = method != "gram" or "gapped" in case.tags
        assert case.problem.spectrum(method).infinity_is_resolved == resolved, case.name
    # Singular values that fall through the rounding level of all three routes without a gap.
    decades = np.geomspace(1, 1e-20, 8)
    rng = np.random.default_rng(5)
    left, right = (np.linalg.qr(rng.normal(size=(n, 8)))[0] for n in (24, 8))
    gapless = make(left * decades @ right.T, seed=6)
    assert not gapless.spectrum(method).infinity_is_resolved


def test_rank_is_that_of_the_features(case: Case) -> None:
    expected = np.linalg.matrix_rank(np.asarray(case.problem.features))
    assert case.problem.spectrum("svd").rank == expected
    assert case.problem.spectrum("qr").rank == expected


@pytest.mark.parametrize("method", theory.spectrum.METHODS)
def test_null_modes_hold_no_labels_and_do_not_move(method: theory.spectrum.Method) -> None:
    for case in tagged("singular"):
        if method == "gram" and "tall" in case.tags:  # which cannot tell null modes from small ones
            continue
        spectrum = case.problem.spectrum(method)
        null = np.arange(8) >= spectrum.rank
        assert null.any()
        assert np.all(np.asarray(spectrum.eigenvalues)[null] == 0)
        assert np.all(np.asarray(spectrum.label_coordinates)[null] == 0)


@pytest.mark.parametrize("method", theory.spectrum.METHODS)
@pytest.mark.parametrize("name", ["tall", "wide"])
def test_decompose_works_under_jit(method: theory.spectrum.Method, name: str) -> None:
    problem = named(name)

    @jax.jit
    def curve(features: jax.Array, labels: jax.Array) -> jax.Array:
        spectrum = theory.decompose(features, labels, method=method)
        return theory.risk.risk_parts(spectrum, problem.population, theory.GradientFlow(), TIMES).risk

    expected = risk(problem.spectrum("svd"), problem)
    assert np.allclose(curve(problem.features, problem.labels), expected, rtol=ORACLE)


@pytest.mark.parametrize("method", theory.spectrum.METHODS)
def test_a_spectrum_keeps_single_precision(method: theory.spectrum.Method) -> None:
    problem = named("tall")
    phi, y, clean = (array.astype(jnp.float32) for array in (problem.features, problem.labels, problem.clean_labels))
    spectrum = theory.decompose(phi, y, clean, method=method)
    dtypes = {leaf.dtype for leaf in jax.tree.leaves(spectrum) if jnp.issubdtype(leaf.dtype, jnp.floating)}
    assert dtypes == {jnp.dtype(jnp.float32)}


def test_the_suggested_method_is_accurate_enough_and_fits_the_shape() -> None:
    eps = float(np.finfo(float).eps)
    assert theory.spectrum.suggest_method(100, 10, 1e3, eps) == "gram"
    assert theory.spectrum.suggest_method(100, 10, 1e8, eps) == "qr"
    assert theory.spectrum.suggest_method(10, 100, 1e8, eps) == "svd"
    assert theory.spectrum.suggest_method(100, 10, 1e3, float(np.finfo(np.float32).eps)) == "qr"


def test_all_cases_of_the_table_are_there() -> None:
    tags = set().union(*(case.tags for case in CASES))
    assert tags == {"tall", "wide", "square", "gapped", "gapless", "singular", "noiseless"}


def test_an_unknown_method_is_named_and_the_known_ones_listed() -> None:
    with pytest.raises(ValueError, match="method: 'lanczos' is not known; pass one of gram, qr, svd"):
        check_choice("method", "lanczos", theory.spectrum.METHODS)
    with pytest.raises(ValueError, match="method: 'svd' does not stream; pass 'qr' or 'gram'"):
        theory.spectrum.decompose_blocks([], method="svd")


@pytest.mark.parametrize("method", ["qr", "gram"])
def test_a_stream_without_rows_says_so(method: theory.spectrum.Method) -> None:
    with pytest.raises(ValueError, match="blocks: the iterator gave no rows; pass at least one block"):
        theory.spectrum.decompose_blocks([], method=method)


def test_label_noise_needs_clean_labels() -> None:
    spectrum = theory.decompose(jnp.eye(2), jnp.ones(2))
    with pytest.raises(ValueError, match=r"clean_labels: none were given.*pass clean_labels="):
        _ = spectrum.noise_coordinates
