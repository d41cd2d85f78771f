"""`trusted_until` against 60 digits: never too hopeful, and by how much too careful."""

import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rfm
import theory
from tests.problems import make, named, with_singular_values
from tests.theory import oracles

TIMES = tuple(float(t) for t in 10.0 ** np.arange(0, 17, 2))
SINGLE_TIMES = TIMES[:6]

PROBLEMS = {
    "tall": named("tall"),
    "duplicated": named("duplicated rows, tall"),
    "power law": named("power law"),
    "condition 1e5": make(with_singular_values(24, 8, np.geomspace(1, 1e-5, 8), seed=9), seed=19, noise_std=1.0),
    "condition 1e7": make(with_singular_values(24, 8, np.geomspace(1, 1e-7, 8), seed=8), seed=17),
    "condition 1e7, scaled": make(30 * with_singular_values(24, 8, np.geomspace(1, 1e-7, 8), seed=21), seed=22),
    "steps": make(with_singular_values(24, 8, np.repeat([1.0, 1e-3, 1e-6, 1e-8], 2), seed=23), seed=24),
}
ILL_CONDITIONED = [name for name in PROBLEMS if name not in ("tall", "duplicated")]

PESSIMISM = 3000.0
"""How many times too large the estimated error may be on an ill-conditioned problem; measured: up to 1400."""


@functools.cache
def exact(name: str) -> np.ndarray:
    return np.asarray([oracles.exact_risk(PROBLEMS[name], t) for t in TIMES])


def curve(problem: rfm.Problem, method: str, tolerance: float, times: tuple[float, ...] = TIMES) -> theory.Curve:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rfm.PrecisionWarning)
        return rfm.closed_form(problem, times=list(times), method=method, tolerance=tolerance)


@pytest.mark.parametrize("method", theory.METHODS)
@pytest.mark.parametrize("name", PROBLEMS)
def test_a_trusted_time_is_never_too_hopeful(name: str, method: str) -> None:
    for tolerance in (1e-4, 1e-6, 1e-9, 1e-12):
        found = curve(PROBLEMS[name], method, tolerance)
        error = np.abs(np.asarray(found.risk) / exact(name) - 1)
        trusted = np.asarray(TIMES) <= float(found.trusted_until)
        assert np.all(error[trusted] <= tolerance), (tolerance, error)


@pytest.mark.parametrize("method", theory.METHODS)
@pytest.mark.parametrize("name", ILL_CONDITIONED)
def test_a_trusted_time_is_not_uselessly_careful(name: str, method: str) -> None:
    error = np.abs(np.asarray(curve(PROBLEMS[name], method, 1.0).risk) / exact(name) - 1)
    worst = float(np.maximum.accumulate(error)[-1])
    assert worst > 1e-14  # there is something to be careful about
    assert curve(PROBLEMS[name], method, PESSIMISM * worst).trusted_until >= TIMES[-1]


@pytest.mark.parametrize("method", ["svd", "qr"])
@pytest.mark.parametrize("name", ["tall", "power law"])
def test_the_accurate_routes_are_trusted_to_the_times_that_the_issue_asks_for(name: str, method: str) -> None:
    assert curve(PROBLEMS[name], method, 1e-6).trusted_until >= 1e10
    assert curve(PROBLEMS[name], method, 1e-9).trusted_until >= 1e6


def test_the_trusted_time_grows_with_the_tolerance_and_shrinks_on_the_gram_route() -> None:
    problem = PROBLEMS["condition 1e7"]
    by_tolerance = [float(curve(problem, "gram", 10.0**-k).trusted_until) for k in (4, 8, 12)]
    assert by_tolerance[0] > by_tolerance[1] > by_tolerance[2]
    assert curve(problem, "svd", 1e-8).trusted_until > curve(problem, "gram", 1e-8).trusted_until


@pytest.mark.parametrize("method", theory.METHODS)
@pytest.mark.parametrize("name", ["tall", "condition 1e7"])
def test_a_trusted_time_is_never_too_hopeful_in_single_precision(name: str, method: str) -> None:
    single = jax.tree.map(lambda a: a.astype(jnp.float32), PROBLEMS[name])
    truth = np.asarray([oracles.exact_risk(single, t) for t in SINGLE_TIMES])
    for tolerance in (1e-1, 1e-3, 1e-5):
        found = curve(single, method, tolerance, SINGLE_TIMES)
        assert found.risk.dtype == jnp.float32
        error = np.abs(np.asarray(found.risk, float) / truth - 1)
        trusted = np.asarray(SINGLE_TIMES) <= float(found.trusted_until)
        assert np.all(error[trusted] <= tolerance), (tolerance, error)


@pytest.mark.parametrize("name", ["tall", "power law", "condition 1e7"])
def test_a_trusted_time_is_never_too_hopeful_through_moments(name: str) -> None:
    problem = PROBLEMS[name]
    phi, f = problem.population.features, problem.population.targets
    population = theory.Population(phi.T @ phi / len(phi), phi.T @ f / len(phi), jnp.mean(f**2, axis=0))
    bare = rfm.Problem(problem.features, problem.labels, population=population)
    for tolerance in (1e-4, 1e-6, 1e-9, 1e-12):
        found = curve(bare, "svd", tolerance)
        error = np.abs(np.asarray(found.risk) / exact(name) - 1)
        trusted = np.asarray(TIMES) <= float(found.trusted_until)
        assert np.all(error[trusted] <= tolerance), (tolerance, error)


def test_moments_are_not_trusted_where_their_terms_cancel() -> None:
    # A pattern without noise is learnt entirely: the risk sinks below the rounding of F - 2 c . theta + theta C theta.
    rng = np.random.default_rng(25)
    phi, test, pattern = rng.normal(size=(24, 8)), rng.normal(size=(15, 8)), rng.normal(size=(8, 1))
    rows = theory.TestSet(jnp.asarray(test), jnp.asarray(test @ pattern))
    problem = rfm.Problem(jnp.asarray(phi), jnp.asarray(phi @ pattern), population=rows)
    population = theory.Population(
        jnp.asarray(test.T @ test / 15), jnp.asarray(test.T @ (test @ pattern) / 15), np.mean((test @ pattern) ** 2)
    )
    times = tuple(np.linspace(0, 100, 21))
    truth = np.asarray([oracles.exact_risk(problem, t) for t in times])
    assert truth[-1] < 1e-20
    for averages, tolerance in ((population, 1e-6), (population, 1e-3), (rows, 1e-6)):
        found = curve(rfm.Problem(problem.features, problem.labels, population=averages), "svd", tolerance, times)
        error = np.abs(np.asarray(found.risk) / truth - 1)
        trusted = np.asarray(times) <= float(found.trusted_until)
        assert np.all(error[trusted] <= tolerance), (tolerance, error)
        assert trusted.sum() >= 3
    assert not np.all(np.abs(np.asarray(through_moments(problem, population, times)) / truth - 1) < 1e-3)


def through_moments(problem: rfm.Problem, population: theory.Population, times: tuple[float, ...]) -> np.ndarray:
    """The curve there, trusted or not."""
    bare = rfm.Problem(problem.features, problem.labels, population=population)
    return np.asarray(curve(bare, "svd", 1.0, times).risk)


@pytest.mark.parametrize("x64", [True, False])
def test_times_past_the_trusted_one_are_warned_of_with_the_remedy(x64: bool) -> None:
    problem = PROBLEMS["condition 1e7"]
    if not x64:
        problem = jax.tree.map(lambda a: a.astype(jnp.float32), problem)
    remedy = "pass method='svd' or 'qr'" if x64 else r"switch on float64 first: jax.config.update\("
    with pytest.warns(rfm.PrecisionWarning, match=rf"until t = .* but was asked for until t = 1e\+12.*{remedy}"):
        found = rfm.closed_form(problem, times=[1.0, 1e12], method="gram")
    assert found.trusted_until < 1e12


def test_a_curve_within_its_trusted_time_is_given_without_a_warning() -> None:
    found = rfm.closed_form(PROBLEMS["tall"], times=[0.0, 1.0, 1e6])  # a warning would be an error here
    assert found.trusted_until > 1e6
