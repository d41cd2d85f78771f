"""What a curve says of its rounding error, against exact arithmetic: never too hopeful, and by how much too careful."""

import functools
import itertools
import warnings

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import rfm
import theory
from tests.problems import make, named, with_singular_values
from tests.theory import ill_conditioned, oracles
from tests.theory.ill_conditioned import Claim, ExactRisk

TIMES = tuple(float(t) for t in 10.0 ** np.arange(0, 17, 2))

PESSIMISM = 3e4
"""How many times too large the error may be claimed, in the median over many problems whose error can be measured;
measured, by route and precision: 400 to 700 (docs/accuracy.md)."""


def curve(problem: rfm.Problem, method: str, tolerance: float = 1e-6, **settings: object) -> theory.Curve:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rfm.PrecisionWarning)
        return rfm.closed_form(problem, method=method, tolerance=tolerance, **({"times": TIMES} | settings))


# --- many problems -------------------------------------------------------------------------------------------------


NUMBERS = range(len(ill_conditioned.KINDS) * 3)
"""`benchmarks.accuracy` goes through thousands."""
PRECISION = pytest.mark.parametrize(
    "single", [pytest.param(False, id="double"), pytest.param(True, id="single", marks=pytest.mark.slow)]
)


@functools.cache
def claims(kind: str, single: bool, every: int = 1) -> list[tuple[dict[str, Claim], dict[str, Claim]]]:
    return [ill_conditioned.claims_of(number, kind, single) for number in NUMBERS[::every]]


@PRECISION
@pytest.mark.parametrize("method", theory.spectrum.METHODS)
def test_an_error_is_never_larger_than_claimed_under_flow(method: str, single: bool) -> None:
    for curves, _ in claims("flow", single):
        assert np.all(curves[method].error <= curves[method].claimed)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ill_conditioned.RULES[1:])
def test_an_error_is_never_larger_than_claimed_under_any_rule(kind: str) -> None:
    for curves, _ in claims(kind, False, every=7):
        for claim in curves.values():
            assert np.all(claim.error <= claim.claimed)


@PRECISION
@pytest.mark.parametrize("method", theory.spectrum.METHODS)
def test_a_claimed_error_is_not_uselessly_careful(method: str, single: bool) -> None:
    exact, error, claimed = (
        np.concatenate(arrays) for arrays in zip(*(curves[method] for curves, _ in claims("flow", single)), strict=True)
    )
    measured = (error > 4 * np.finfo(np.float32 if single else np.float64).eps * exact) & np.isfinite(claimed)
    assert measured.sum() > 30
    assert np.median(claimed[measured] / error[measured]) < PESSIMISM


@PRECISION
@pytest.mark.parametrize("method", theory.spectrum.METHODS)
def test_a_limit_that_is_claimed_to_be_resolved_is(method: str, single: bool) -> None:
    resolved = [limits[method] for _, limits in claims("flow", single) if method in limits]
    assert len(resolved) > (1 if method == "gram" or single else 5)
    assert all(claim.error <= claim.claimed for claim in resolved)


@pytest.mark.slow
@PRECISION
@pytest.mark.parametrize("method", ["svd", "gram"])
def test_errors_are_handed_on_from_phase_to_phase(method: str, single: bool) -> None:
    for number in NUMBERS[::4]:
        first, rng = ill_conditioned.draw(number), np.random.default_rng([3, number])
        if single:
            first = ill_conditioned.in_single_precision(first)
        shuffled = rng.permutation(len(first.problem.labels))
        second = rfm.Problem(
            first.problem.features[shuffled] / 8, first.problem.labels, population=first.problem.population
        )
        problems = (first.problem, second)
        switch = float(first.clock[rng.integers(1, 6)].astype(first.problem.labels.dtype))
        times = [switch * (1 + share) for share in (0.5, 8.0, 512.0)]
        one, other = (ExactRisk(problem, None) for problem in problems)
        begun = one.after_flow(mpmath.zeros(one.force.rows, one.force.cols), switch)
        exact = [other.of(other.after_flow(begun, time - switch)) for time in times]
        spectra = [problem.spectrum(method) for problem in problems]
        flow, population = theory.GradientFlow(), second.population
        phases = [theory.phases.Phase(spectra[0], flow, switch), theory.phases.Phase(spectra[1], flow)]
        phased = theory.phases.phased_curve(phases, population, times)
        switched = theory.switching.switch_curve(spectra[0], spectra[1], population, flow, times[-1], [0.0, switch])
        found = [*zip(phased.risk, phased.rounding_error, strict=True), (switched.risk[1], switched.rounding_error[1])]
        for (risk, claimed), right in zip(found, [*exact, exact[-1]], strict=True):
            assert abs(float(mpmath.mpf(float(risk)) - right)) <= float(claimed), number


# --- inputs that broke earlier claims ------------------------------------------------------------------------------


def too_small_for_gram() -> rfm.Problem:
    """Three rows of five features, of singular values 1, 1e-4, 1e-8."""
    rng = np.random.default_rng(1)
    left, _, right = np.linalg.svd(rng.standard_normal((3, 5)), full_matrices=False)
    features = (left * np.asarray([1, 1e-4, 1e-8])) @ right
    labels, moment = rng.standard_normal(3), rng.standard_normal(5)
    return rfm.Problem(features, labels, population=theory.Population(np.eye(5), moment, moment @ moment + 1))


def mostly_outside() -> rfm.Problem:
    """Labels of two patterns that are learnt early, and of much that no features reach."""
    rng = np.random.default_rng(3)
    left, _, right = np.linalg.svd(rng.standard_normal((30, 5)), full_matrices=False)
    features = (left * np.logspace(0, -7.5, 5)) @ right
    outside = rng.standard_normal(30)
    outside -= left @ (left.T @ outside)
    labels = left[:, :2] @ np.ones(2) + outside * np.linalg.norm(features) / np.linalg.norm(outside)
    pattern = rng.standard_normal(5)
    return rfm.Problem(features, labels, population=theory.Population(np.eye(5), pattern, pattern @ pattern + 1))


def assert_honest(problem: rfm.Problem, method: str, start: theory.Start | None = None) -> theory.Curve:
    exact = ExactRisk(problem, start)
    truth = [exact.at(theory.GradientFlow(), t) for t in TIMES]
    for tolerance in (1e-3, 1e-6, 1e-9):
        found = curve(problem, method, tolerance, start=start)
        error = np.asarray([abs(float(mpmath.mpf(float(r)) - t)) for r, t in zip(found.risk, truth, strict=True)])
        assert np.all(error <= np.asarray(found.rounding_error))
        trusted = np.asarray(TIMES) <= float(found.trusted_until)
        assert np.all(error[trusted] <= tolerance * np.asarray(truth, float)[trusted])
    return found


@pytest.mark.parametrize("method", theory.spectrum.METHODS)
def test_what_a_gram_matrix_cannot_see_is_not_claimed(method: str) -> None:
    problem = too_small_for_gram()
    limit = float(ExactRisk(problem, None).at_infinity(0.0))
    assert limit == pytest.approx(1.733e14, rel=1e-3)
    assert_honest(problem, method)
    found = curve(problem, method, 1e-4)
    assert found.infinity_is_resolved == (method != "gram")
    if method != "gram":
        assert float(found.risk_at_infinity) == pytest.approx(limit, rel=1e-4)
    early = rfm.closed_form(problem, times=[1.0])  # by gram, which is accurate there
    assert early.method == "gram"
    assert not early.infinity_is_resolved


@pytest.mark.parametrize("method", theory.spectrum.METHODS)
def test_originals_that_nearly_coincide_are_not_taken_for_one(method: str) -> None:
    rng = np.random.default_rng(5)
    features = np.repeat(rng.normal(size=(4, 7)), 2, axis=0) + 1e-8 * rng.normal(size=(8, 7))
    pattern = rng.normal(size=7)
    population = theory.Population(np.eye(7), pattern, pattern @ pattern + 1)
    problem = rfm.Problem(features, features @ pattern + rng.normal(size=8), population=population)
    found = assert_honest(problem, method)
    exact = float(ExactRisk(problem, None).at_infinity(0.0))
    assert not found.infinity_is_resolved or float(found.risk_at_infinity) == pytest.approx(exact, rel=1e-6)
    assert not (found.infinity_is_resolved and method == "gram")


@pytest.mark.parametrize("method", theory.spectrum.METHODS)
def test_nearly_linear_features_have_an_honest_limit(method: str) -> None:
    task = rfm.TeacherStudent(2, 5, key=jax.random.key(0))
    features = rfm.RandomFeatures(2, 30, "tanh", weight_std=0.02, key=jax.random.key(1))
    sample = task.sample(12, key=jax.random.key(2))
    problem = rfm.synthesize(sample, features, rfm.ERM(), population=task.population(features))
    assert not curve(problem, method, times=[1.0]).infinity_is_resolved


@pytest.mark.parametrize("method", theory.spectrum.METHODS)
def test_labels_outside_of_the_range_are_felt_as_t(method: str) -> None:
    assert_honest(mostly_outside(), method)


@pytest.mark.parametrize("method", theory.spectrum.METHODS)
@pytest.mark.parametrize("make_problem", [too_small_for_gram, mostly_outside])
def test_a_start_is_counted(make_problem: object, method: str) -> None:
    assert_honest(make_problem(), method, theory.Start(jnp.asarray(np.random.default_rng(8).normal(size=(5, 1)))))


@pytest.mark.parametrize("method", theory.spectrum.METHODS)
def test_single_precision_features_beside_double_labels_are_solved_in_double(method: str) -> None:
    rng = np.random.default_rng(4)
    features = with_singular_values(24, 8, np.geomspace(1, 1e-5, 8), seed=9).astype(np.float32)
    pattern = rng.normal(size=8)
    population = theory.TestSet(rng.normal(size=(6, 8)).astype(np.float32), rng.normal(size=6))
    problem = rfm.Problem(jnp.asarray(features), features @ pattern + rng.normal(size=24), population=population)
    assert problem.features.dtype == jnp.float64
    assert theory.decompose(jnp.asarray(features), jnp.asarray(features @ pattern)).modes.dtype == jnp.float64
    assert_honest(problem, method)


@pytest.mark.parametrize("method", theory.spectrum.METHODS)
@pytest.mark.parametrize("share", [1e-14, 1e-8])
def test_a_ridge_resolves_no_more_than_it_holds_down(method: str, share: float) -> None:
    features = with_singular_values(24, 8, np.geomspace(1, 1e-9, 8), seed=31)
    problem = make(features, seed=32)
    found = curve(problem, method, rule=theory.GradientFlow(share), times=[1.0])
    exact = float(ExactRisk(problem, None).at_infinity(share))
    right = abs(float(found.risk_at_infinity) / exact - 1) <= 1e-6
    assert right or not found.infinity_is_resolved
    assert found.infinity_is_resolved or share == 1e-14 or method == "gram"


@pytest.mark.parametrize("share", [0.5, 0.9999, 0.9999999])
def test_averages_near_the_largest_stable_step_are_as_wrong_as_they_say(share: float) -> None:
    problem = named("tall")
    largest = float(jnp.linalg.norm(problem.features, 2) ** 2 / 24)
    stable = theory.HeavyBall(1.0, 0.999).largest_stable_step(largest)
    rule = theory.Averaged(theory.HeavyBall(float(share * stable), 0.999))
    steps = [1, 10, 1000, 10**5, 10**8]
    found = curve(problem, "svd", times=None, steps=steps, rule=rule)
    exact = ExactRisk(problem, None)
    error = [abs(float(mpmath.mpf(float(r)) - exact.at(rule, k))) for r, k in zip(found.risk, steps, strict=True)]
    assert np.all(error <= np.asarray(found.rounding_error))
    assert np.all(np.asarray(error) <= 1e-6 * np.asarray(found.risk))


@pytest.mark.slow
@pytest.mark.parametrize("method", theory.spectrum.METHODS)
@pytest.mark.parametrize("by_moments", [False, True])
def test_what_new_inputs_hardly_excite_is_not_lost_in_a_difference_of_powers(method: str, by_moments: bool) -> None:
    for seed, smallest in itertools.product(range(3), 10.0 ** -np.arange(10.7, 12.4, 0.4)):
        rng = np.random.default_rng(seed)
        left, _, right = np.linalg.svd(rng.normal(size=(5, 12)))
        test = rng.normal(size=(6, 4)) @ right[:4] + 1e-8 * rng.normal(size=(6, 7)) @ right[5:]
        targets = test @ rng.normal(size=12)
        population: theory.Averages = theory.TestSet(test, targets)
        if by_moments:
            population = theory.Population(test.T @ test / 6, test.T @ targets / 6, np.mean(targets**2))
        features = (left * np.asarray([1, 1, 1, 1, smallest])) @ right[:5]
        assert_honest(rfm.Problem(features, rng.normal(size=5), population=population), method)


@pytest.mark.parametrize("method", theory.spectrum.METHODS)
@pytest.mark.parametrize("single", [False, True], ids=["double test set", "single test set"])
def test_the_risk_of_a_random_start_is_as_wrong_as_it_says(method: str, single: bool) -> None:
    # New inputs are the old ones, and forget the start: the power of the draws cancels.
    rng = np.random.default_rng(42)
    test = rng.normal(size=(5, 12)).astype(np.float32)
    features, pattern = test.astype(float), rng.normal(size=12)
    targets = (test @ pattern).astype(np.float32 if single else float)
    population = theory.TestSet(test if single else features, targets)
    problem = rfm.Problem(features, features @ pattern, population=population)
    found = curve(problem, method, start=theory.Start(None, 1.0), times=TIMES[:5])
    every_draw = theory.Start(jnp.eye(12))
    spread = rfm.Problem(features, np.zeros((5, 12)), population=theory.TestSet(features, np.zeros((5, 12))))
    exact = ExactRisk(problem, None), ExactRisk(spread, every_draw)
    for t, risk, claimed in zip(TIMES, found.risk, found.rounding_error, strict=False):
        right = sum(part.at(theory.GradientFlow(), t) for part in exact)
        assert abs(float(mpmath.mpf(float(risk)) - right)) <= float(claimed), t


@pytest.mark.parametrize("method", theory.spectrum.METHODS)
def test_nothing_is_known_of_times_that_overflow(method: str) -> None:
    left, _, right = np.linalg.svd(np.random.default_rng(43).normal(size=(6, 4)), full_matrices=False)
    features = 1e10 * (left * np.asarray([1, 1e-3, 1e-8, 1e-17])) @ right
    problem = rfm.Problem(features, np.arange(6.0), population=theory.TestSet(np.eye(4), np.ones(4)))
    found = curve(problem, method, times=(1e-20, 1e290))
    assert np.isinf(found.rounding_error[1])
    assert found.trusted_until == 1e-20


def test_nothing_is_known_after_steps_that_rounding_makes_unstable() -> None:
    for seed in range(6):
        rng = np.random.default_rng(seed)
        population = theory.TestSet(rng.normal(size=(4, 2)), rng.normal(size=4))
        problem = rfm.Problem(rng.normal(size=(3, 2)), rng.normal(size=3), population=population)
        largest_stable = 2 / float(problem.spectrum("svd").eigenvalues[0])
        rule = theory.GradientDescent(float(np.nextafter(largest_stable, 0)))
        found = curve(problem, "svd", times=None, steps=[1, 10**18], rule=rule)
        exact = ExactRisk(problem, None).at(rule, 10**18)
        assert abs(float(mpmath.mpf(float(found.risk[1])) - exact)) <= float(found.rounding_error[1])


def test_what_is_not_a_number_is_not_known() -> None:
    population = theory.TestSet(np.zeros((3, 2)), np.ones(3))  # no features: infinitely wrong weights do no harm
    start = theory.Start(jnp.ones((2, 1)), error=jnp.inf)
    found = curve(rfm.Problem(np.eye(2), np.ones(2), population=population), "svd", start=start)
    assert np.all(np.isinf(found.rounding_error))
    assert found.trusted_until == 0


@pytest.mark.parametrize("method", theory.spectrum.METHODS)
def test_sums_over_many_rows_in_single_precision_are_as_wrong_as_they_say(method: str) -> None:
    num_rows = 200_000  # one after the other, they would add up to sums thousands of epsilons wrong
    for mean, spread, num_features in ((1.0, 1e-2, 3), (0.1, 1e-3, 2)):
        rng = np.random.default_rng(0)
        features = (mean + spread * rng.normal(size=(num_rows, num_features))).astype(np.float32)
        labels = (0.7 + 1e-3 * rng.normal(size=num_rows)).astype(np.float32)
        population = theory.TestSet(features[:50], labels[:50])
        single = rfm.Problem(features, labels, population=population)
        found = curve(single, method, 1e-2, times=TIMES[:4])
        exact = curve(jax.tree.map(lambda array: array.astype(jnp.float64), single), "svd", times=TIMES[:4])
        error = np.abs(np.asarray(found.risk, float) - np.asarray(exact.risk))
        assert found.risk.dtype == jnp.float32
        assert np.all(error <= np.asarray(found.rounding_error))


# --- what a promise is worth ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["svd", "qr"])
@pytest.mark.parametrize("name", ["tall", "power law"])
def test_the_accurate_routes_are_trusted_to_the_times_that_the_issue_asks_for(name: str, method: str) -> None:
    assert curve(named(name), method, 1e-6).trusted_until >= 1e10
    assert curve(named(name), method, 1e-9).trusted_until >= 1e6


def test_the_trusted_time_grows_with_the_tolerance_and_shrinks_on_the_gram_route() -> None:
    problem = make(with_singular_values(24, 8, np.geomspace(1, 1e-7, 8), seed=8), seed=17)
    by_tolerance = [float(curve(problem, "gram", 10.0**-k).trusted_until) for k in (2, 6, 10)]
    assert by_tolerance[0] > by_tolerance[1] > by_tolerance[2]
    assert curve(problem, "svd", 1e-8).trusted_until > curve(problem, "gram", 1e-8).trusted_until


def test_no_time_is_trusted_past_the_last_one_asked_for() -> None:
    assert curve(named("tall"), "svd", times=[0.0, 1.0]).trusted_until == 1.0
    assert curve(named("tall"), "svd", 1e-20, times=[1.0, 2.0]).trusted_until == 0.0


def test_moments_are_not_trusted_where_their_terms_cancel() -> None:
    # A pattern without noise is learnt entirely: the risk sinks below the rounding of F - 2 c . theta + theta C theta.
    rng = np.random.default_rng(25)
    phi, test, pattern = rng.normal(size=(24, 8)), rng.normal(size=(15, 8)), rng.normal(size=(8, 1))
    rows = theory.TestSet(jnp.asarray(test), jnp.asarray(test @ pattern))
    population = theory.Population(test.T @ test / 15, test.T @ (test @ pattern) / 15, np.mean((test @ pattern) ** 2))
    times = tuple(np.linspace(0, 100, 21))
    truth = np.asarray([oracles.exact_risk(rfm.Problem(phi, phi @ pattern, population=rows), t) for t in times])
    assert truth[-1] < 1e-20
    for averages, tolerance in ((population, 1e-6), (population, 1e-3), (rows, 1e-6)):
        found = curve(rfm.Problem(phi, phi @ pattern, population=averages), "svd", tolerance, times=times)
        error = np.abs(np.asarray(found.risk) / truth - 1)
        trusted = np.asarray(times) <= float(found.trusted_until)
        assert np.all(error[trusted] <= tolerance), (tolerance, error)
        assert trusted.sum() >= 3
    moments = curve(rfm.Problem(phi, phi @ pattern, population=population), "svd", times=times)
    assert not np.all(np.abs(np.asarray(moments.risk) / truth - 1) < 1e-3)


@pytest.mark.parametrize("x64", [True, False])
def test_times_past_the_trusted_one_are_warned_of_with_the_remedy(x64: bool) -> None:
    problem = make(with_singular_values(24, 8, np.geomspace(1, 1e-7, 8), seed=8), seed=17)
    if not x64:
        problem = jax.tree.map(lambda a: a.astype(jnp.float32), problem)
    remedy = "pass method='svd' or 'qr'" if x64 else r"switch on float64 first: jax.config.update\("
    with pytest.warns(rfm.PrecisionWarning, match=rf"until t = .* but was asked for until t = 1e\+12.*{remedy}"):
        found = rfm.closed_form(problem, times=[1.0, 1e12], method="gram")
    assert found.trusted_until < 1e12


def test_a_curve_within_its_trusted_time_is_given_without_a_warning() -> None:
    found = rfm.closed_form(named("tall"), times=[0.0, 1.0, 1e6])  # a warning would be an error here
    assert found.trusted_until == 1e6


def test_a_mode_that_is_known_to_be_null_leaves_the_limit_certain() -> None:
    # The second feature never occurs in training; the first is learnt: theta = (1/2, 0).
    spectrum = theory.decompose(jnp.diag(jnp.asarray([2.0, 0.0])), jnp.ones(2))
    test = theory.TestSet(jnp.eye(2), jnp.ones(2))
    curve = theory.risk_curve(spectrum, test, theory.GradientFlow(), [0.0, 1.0])
    assert curve.infinity_is_resolved
    assert float(curve.risk_at_infinity) == pytest.approx((0.25 + 1) / 2, rel=1e-12)
