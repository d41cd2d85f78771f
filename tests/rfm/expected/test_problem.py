"""Expected Mixup: the average over all pairs and ratios, against enumeration, against draws, and against itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

import rfm
import theory
from rfm.expected.tiles import Tiling
from rfm.mixup.weights import EvenPairs
from tests.rfm.expected.small import (
    FEATURES,
    KEYS,
    METHODS,
    SAMPLE,
    TASK,
    TEST,
    UNIFORM,
    expected,
    moments,
    smallest_budget,
)
from tests.tolerances import ESTIMATE, EXACT, FLOAT32, GRAM_AT_1E6, IDENTITY, ORACLE, SAMPLING

TIMES = [0.0, 1.0, 30.0, 1e3, 1e5]


def by_enumeration(lam: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray | float, ...]:
    """The same by loops over pairs and a dense grid of ratios; and H from its definition."""
    x, y = np.asarray(SAMPLE.inputs), np.asarray(SAMPLE.labels)
    n = len(x)
    second, force, clean, power, smoother = np.zeros((12, 12)), np.zeros(12), np.zeros(12), 0.0, np.zeros((n, 12))
    for i in range(n):
        for j in range(n):
            inputs = lam[:, None] * x[i] + (1 - lam[:, None]) * x[j]
            labels = lam * y[i] + (1 - lam) * y[j]
            phi = np.asarray(FEATURES(jnp.asarray(inputs)))
            second += phi.T @ (weights[:, None] * phi) / n**2
            force += phi.T @ (weights * labels) / n**2
            clean += phi.T @ (weights * np.asarray(TASK.truth(jnp.asarray(inputs)))) / n**2
            power += weights @ labels**2 / n**2
            smoother[i] += (weights * lam) @ phi / n
            smoother[j] += (weights * (1 - lam)) @ phi / n
    return second, force, clean, power, smoother


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("lam", [0.3, 0.5, 1.0])
def test_a_fixed_ratio_gives_the_curve_of_the_table_of_all_pairs(lam: float, method: str) -> None:
    table = rfm.synthesize(SAMPLE, FEATURES, rfm.Mixup(lam=lam), population=TEST)
    theirs = rfm.closed_form(table, times=TIMES, method="svd")
    ours = rfm.closed_form(expected(rfm.Mixup(lam=lam, pairs="expected"), method=method), times=TIMES)
    tolerance = ORACLE if method == "qr" else GRAM_AT_1E6
    for field in ("risk", "clean_risk", "noise_risk", "train_loss"):
        a, b = np.asarray(getattr(ours, field)), np.asarray(getattr(theirs, field))
        assert np.allclose(a, b, rtol=tolerance, atol=tolerance * np.max(b)), field
    assert ours.method == method
    assert ours.trusted_until >= (TIMES[-1] if method == "qr" else 1e4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("alpha", [1.0, 3.0])
def test_the_average_over_ratios_is_that_over_a_dense_grid(alpha: float, method: str) -> None:
    lam = np.linspace(0, 1, 2001)
    weights = scipy.integrate.simpson(np.eye(2001) * scipy.stats.beta.pdf(lam, alpha, alpha), lam)
    problem = expected(rfm.Mixup(alpha=alpha, pairs="expected"), method=method, tolerance=1e-12)
    *ours, power = moments(problem)
    *theirs, their_power, smoother = by_enumeration(lam, weights)
    for a, b in zip(ours, theirs, strict=True):
        assert np.allclose(np.squeeze(a), b, rtol=0, atol=ORACLE)
    assert np.isclose(power[0], their_power, rtol=ORACLE)
    assert np.allclose(problem.smoother, smoother, rtol=0, atol=ORACLE)


def test_the_mean_over_many_tables_of_random_pairs_is_the_expected_problem() -> None:
    second, force, clean, _ = moments(expected())
    draws = []
    for key in jax.random.split(KEYS[4], 120):
        table = rfm.synthesize(SAMPLE, FEATURES, rfm.Mixup(alpha=1.0, pairs=60), population=TEST, key=key)
        phi, y, star = (np.asarray(a) for a in (table.features, table.labels, table.clean_labels))
        draws.append(np.concatenate([phi.T @ phi, phi.T @ y, phi.T @ star], axis=1) / 60)
    mean, error = np.mean(draws, axis=0), np.std(draws, axis=0) / np.sqrt(len(draws))
    assert np.all(np.abs(mean - np.concatenate([second, force, clean], axis=1)) < SAMPLING * error)
    assert np.max(error) < 0.03 * np.max(mean)


def test_the_force_is_the_smoother_applied_to_the_labels() -> None:
    problem = expected()
    _, force, _, _ = moments(problem)
    assert np.allclose(problem.smoother.T @ SAMPLE.labels / 7, force[:, 0], rtol=0, atol=IDENTITY)


@pytest.mark.parametrize("method", METHODS)
def test_other_labels_need_no_other_pass(method: str) -> None:
    labels = SAMPLE.labels + jnp.sin(3.0 * jnp.arange(7.0))
    ours = rfm.closed_form(expected(method=method).with_labels(labels), times=TIMES)
    again = rfm.expected_mixup(rfm.Sample(SAMPLE.inputs, labels, TASK.truth), FEATURES, UNIFORM, population=TEST)
    theirs = rfm.closed_form(again, times=TIMES)
    for field in ("risk", "clean_risk", "noise_risk", "train_loss"):
        assert np.allclose(getattr(ours, field), getattr(theirs, field), rtol=GRAM_AT_1E6, atol=GRAM_AT_1E6), field
    assert ours.method == "gram"  # it rounds like that, and says so


def test_labels_beyond_the_features_reach_are_lost_whether_they_are_new_or_not() -> None:
    inputs = jnp.linspace(-1.0, 1.0, 8)[:, None]
    features = rfm.RandomFeatures(1, 40, key=KEYS[1])  # of some ten modes above rounding
    sample = rfm.Sample(inputs, jnp.cos(9.0 * inputs[:, 0]), None)
    test = theory.TestSet(features(inputs), sample.labels)
    problem = rfm.expected_mixup(sample, features, UNIFORM, population=test)
    times = jnp.asarray([1.0, 1e3, 1e6])
    ours, theirs = (theory.risk.train_loss(p.spectrum(), theory.GradientFlow(), times)
                    for p in (problem.with_labels(sample.labels), problem))  # fmt: skip
    assert np.allclose(ours, theirs, rtol=GRAM_AT_1E6)


@pytest.mark.parametrize("method", METHODS)
def test_the_size_of_the_blocks_changes_rounding_only(method: str) -> None:
    whole = expected(method=method)
    smallest = smallest_budget(method)
    for budget in (smallest, smallest + 60_000):
        totals: set[int] = set()
        parts = expected(method=method, memory_budget=budget, progress=lambda _, total, seen=totals: seen.add(total))
        assert totals.pop() > 1
        for a, b in zip(moments(parts), moments(whole), strict=True):
            assert np.allclose(a, b, rtol=0, atol=IDENTITY)
        assert np.allclose(parts.smoother, whole.smoother, rtol=0, atol=IDENTITY)


def test_a_budget_bounds_the_rows_of_a_block() -> None:
    ratios = rfm.expected.ratio_quadrature(UNIFORM, SAMPLE.inputs, FEATURES)
    for most in (1, 100, 400, 10**6):
        tiling = Tiling.of(
            SAMPLE.inputs, SAMPLE.labels[:, None], FEATURES, None, ratios, EvenPairs(7), most, jax.devices()[:1]
        )  # fmt: skip
        assert tiling.rows <= max(most, len(ratios))
        covered = sum(1 if i == j else 2 for i, j in tiling.positions) * tiling.side**2
        assert covered >= 49


def test_swapping_a_pair_halves_the_work_and_a_lopsided_ratio_does_not() -> None:
    def blocks(law: rfm.Mixup) -> int:
        ratios = rfm.expected.ratio_quadrature(law, SAMPLE.inputs, FEATURES)
        pairs, device = EvenPairs(7), jax.devices()[:1]
        tiling = Tiling.of(SAMPLE.inputs, SAMPLE.labels[:, None], FEATURES, None, ratios, pairs, 1, device)
        return len(tiling.positions)

    assert blocks(UNIFORM) == blocks(rfm.Mixup(lam=0.5, pairs="expected")) == 7 * 8 // 2
    assert blocks(rfm.Mixup(lam=0.3, pairs="expected")) == 49


# --- the quadrature over ratios -----------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["tanh", "erf", "relu"])
@pytest.mark.parametrize("num_ratios", [4, 8, 16])
def test_the_error_of_the_ratios_is_about_what_it_says(activation: str, num_ratios: int) -> None:
    features = rfm.RandomFeatures(4, 12, activation, weight_std=3.0, key=KEYS[1])
    test = TASK.test_set(features, num_samples=5, key=KEYS[3])

    def second_moment(number: int) -> tuple[np.ndarray, float]:
        problem = rfm.expected_mixup(SAMPLE, features, UNIFORM, population=test, num_ratios=number)
        return moments(problem)[0], problem.ratios.error

    (ours, said), (exact, _) = second_moment(num_ratios), second_moment(256)
    off = np.linalg.norm(ours - exact) / np.linalg.norm(exact)
    assert off < ESTIMATE * said + EXACT
    assert said < 100 * off + EXACT


def test_the_ratios_do_not_depend_on_how_the_sample_is_sorted() -> None:
    inputs = jnp.linspace(-3.0, 3.0, 300)[:, None]
    features = rfm.RandomFeatures(1, 12, weight_std=1.5, key=KEYS[1])
    ordered = rfm.expected.ratio_quadrature(UNIFORM, inputs, features)
    shuffled = rfm.expected.ratio_quadrature(UNIFORM, jax.random.permutation(KEYS[4], inputs), features)
    assert len(ordered) == len(shuffled) > 8


def test_the_ratios_are_enough_for_the_truth_too() -> None:
    flat = rfm.RandomFeatures(4, 12, "identity", key=KEYS[1])
    assert len(rfm.expected.ratio_quadrature(UNIFORM, SAMPLE.inputs, flat)) == 4
    assert 4 < len(rfm.expected.ratio_quadrature(UNIFORM, SAMPLE.inputs, flat, TASK.truth)) < 64


def test_a_ratio_near_one_half_is_not_one_half() -> None:
    lopsided = rfm.expected.ratio_quadrature(rfm.Mixup(lam=0.5 + 1e-9, pairs="expected"), SAMPLE.inputs, FEATURES)
    assert not lopsided.is_symmetric
    assert all(rfm.expected.ratio_quadrature(rfm.Mixup(alpha=a, pairs="expected"), SAMPLE.inputs, FEATURES).is_symmetric for a in (0.1, 1.0, 9.0))  # fmt: skip  # noqa: E501


def test_a_tighter_tolerance_takes_more_ratios_and_reaches_it() -> None:
    rules = [rfm.expected.ratio_quadrature(UNIFORM, SAMPLE.inputs, FEATURES, tolerance=10.0**-k) for k in (2, 6, 12)]
    assert [len(rule) for rule in rules] == sorted({len(rule) for rule in rules})
    assert all(rule.error <= 10.0**-k for rule, k in zip(rules, (2, 6, 12), strict=True))
    kinked = rfm.RandomFeatures(4, 12, "relu", key=KEYS[1])
    rule = rfm.expected.ratio_quadrature(UNIFORM, SAMPLE.inputs, kinked, tolerance=1e-12)
    assert len(rule) == 64
    assert rule.error > 1e-12  # out of reach, and it says so


# --- other inputs -------------------------------------------------------------------------------------------------


def test_several_targets_and_any_callable_go_through() -> None:
    def of_numpy(x: jax.Array) -> jax.Array:
        return jnp.asarray(np.tanh(np.asarray(x) @ np.ones((4, 3))))

    def two(x: jax.Array) -> jax.Array:
        return jnp.stack([TASK.truth(x), x[:, 0]], axis=1)

    sample = rfm.Sample(SAMPLE.inputs, two(SAMPLE.inputs), two)
    test = theory.TestSet(of_numpy(SAMPLE.inputs), two(SAMPLE.inputs))
    law = rfm.Mixup(lam=0.4, pairs="expected")
    ours = rfm.closed_form(rfm.synthesize(sample, of_numpy, law, population=test), times=TIMES)
    table = rfm.synthesize(sample, of_numpy, rfm.Mixup(lam=0.4), population=test)
    theirs = rfm.closed_form(table, times=TIMES, method="svd")
    assert np.allclose(ours.risk_by_target, theirs.risk_by_target, rtol=ORACLE)
    assert np.allclose(ours.noise_risk, theirs.noise_risk, rtol=ORACLE, atol=ORACLE)


def test_whole_numbers_are_averaged_as_numbers() -> None:
    def whole(sample: rfm.Sample, kind: type) -> rfm.Sample:  # what a user can make whose types nobody checks
        return jax.tree.map(lambda a: jnp.round(4 * a).astype(kind), rfm.Sample(sample.inputs, sample.labels, None))

    ours, theirs = (
        rfm.expected_mixup(whole(SAMPLE, kind), FEATURES, UNIFORM, population=TEST) for kind in (int, float)
    )
    assert np.array_equal(ours.spectrum().label_coordinates, theirs.spectrum().label_coordinates)
    step = rfm.solve(ours).largest_stable_step(rfm.Batches(2))
    assert step == rfm.solve(theirs).largest_stable_step(rfm.Batches(2))


def test_without_a_truth_the_total_is_there_and_the_split_is_not() -> None:
    bare = rfm.Sample(SAMPLE.inputs, SAMPLE.labels, None)
    # The truth has a say in the number of ratios.
    curve = rfm.closed_form(rfm.expected_mixup(bare, FEATURES, UNIFORM, population=TEST, num_ratios=16), times=TIMES)
    assert np.allclose(curve.risk, rfm.closed_form(expected(num_ratios=16), times=TIMES).risk, rtol=ORACLE)
    assert curve.decomposition is None


def test_single_precision_stays_there() -> None:
    def narrow(tree: object) -> object:
        return jax.tree.map(lambda a: a.astype(jnp.float32) if isinstance(a, jax.Array) else a, tree)

    for method in METHODS:
        problem = rfm.expected_mixup(narrow(SAMPLE), narrow(FEATURES), UNIFORM, population=narrow(TEST), method=method)
        curve = rfm.closed_form(problem, times=[0.0, 1.0, 10.0], tolerance=0.1)
        assert curve.risk.dtype == problem.smoother.dtype == jnp.float32
        assert np.allclose(curve.risk, rfm.closed_form(expected(), times=[0.0, 1.0, 10.0]).risk, rtol=FLOAT32)


# --- bad input ----------------------------------------------------------------------------------------------------


def test_what_cannot_be_averaged_is_refused() -> None:
    bare = rfm.Sample(SAMPLE.inputs, SAMPLE.labels, None)
    with pytest.raises(
        ValueError, match=r'law: pass rfm.Mixup\(..., pairs="expected"\), got Mixup\(lam=0.5, pairs=all'
    ):
        expected(rfm.Mixup(lam=0.5))
    with pytest.raises(ValueError, match=r"law: .* has no table of rows; rfm.expected_mixup averages"):
        list(UNIFORM.tables(5, 10))
    with pytest.raises(ValueError, match=r"method: 'gram' asked for, but the pass .* was made by 'qr'"):
        rfm.closed_form(expected(), times=TIMES, method="gram")
    with pytest.raises(ValueError, match=r"num_samples \(for Mixup\): must be a whole number of at least 2, got 1"):
        rfm.expected_mixup(TASK.sample(1, key=KEYS[2]), FEATURES, UNIFORM, population=TEST)
    with pytest.raises(ValueError, match="memory_budget: must be a whole number"):
        expected(memory_budget=0)
    with pytest.raises(ValueError, match="checkpoint: there is no folder 'nowhere'; make it first"):
        expected(checkpoint="nowhere/pass.npz")
    with pytest.raises(ValueError, match="num_ratios: must be a whole number"):
        expected(num_ratios=0)
    with pytest.raises(ValueError, match="tolerance: must be a positive number, got 0"):
        expected(tolerance=0.0)
    for shape in ((7, 2), (1, 7), (6,)):
        with pytest.raises(ValueError, match=r"labels: has shape .*; pass an array of shape \(7, 1\)"):
            expected().with_labels(jnp.ones(shape))
    with pytest.raises(ValueError, match=r"labels: 1 of 7 values are not finite"):
        expected().with_labels(jnp.ones(7).at[3].set(jnp.nan))
    holed = rfm.Sample(SAMPLE.inputs.at[2, 1].set(jnp.inf), SAMPLE.labels, None)
    with pytest.raises(ValueError, match=r"inputs: 1 of 28 values are not finite, the first \(inf\) at index \(2, 1\)"):
        rfm.expected_mixup(holed, FEATURES, UNIFORM, population=TEST)
    short = jax.tree.unflatten(jax.tree.structure(bare), [SAMPLE.inputs, SAMPLE.labels[:5]])
    with pytest.raises(ValueError, match="labels: there are 5 for 7 rows of inputs; pass one a row"):
        rfm.expected_mixup(short, FEATURES, UNIFORM, population=TEST)
    with pytest.raises(ValueError, match="devices: there is none in the list"):
        expected(devices=[])
    with pytest.raises(ValueError, match="block_rows: expected Mixup chooses its own"):
        rfm.synthesize(SAMPLE, FEATURES, UNIFORM, population=TEST, block_rows=10)
    infinite = rfm.RandomFeatures(4, np.inf, key=KEYS[1])
    with pytest.raises(TypeError, match="features: infinitely many features have no covariance"):
        rfm.synthesize(SAMPLE, infinite, UNIFORM, population=TASK.test_set(infinite, 5, key=KEYS[3]))


@pytest.mark.parametrize("method", METHODS)
def test_single_precision_features_beside_double_labels_are_summed_in_double(method: str) -> None:
    def single(inputs: jax.Array) -> jax.Array:
        return FEATURES(inputs).astype(jnp.float32)

    def double(inputs: jax.Array) -> jax.Array:
        return single(inputs).astype(jnp.float64)

    found = [
        rfm.expected_mixup(SAMPLE, features, UNIFORM, population=TEST, method=method).with_labels(SAMPLE.labels)
        for features in (single, double)
    ]
    one, other = (rfm.closed_form(problem, times=TIMES) for problem in found)
    assert found[0].smoother.dtype == jnp.float64
    assert np.allclose(one.risk, other.risk, rtol=IDENTITY)
