"""Mini-batch training: real runs against their mean and variance in closed form."""

import itertools
import warnings

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import scipy.stats

import rfm
import theory
from rfm.source import draw_pairs
from tests.tolerances import FLOAT32, IDENTITY, LATE, ORACLE, P_VALUE, SAMPLING

KEYS = jax.random.split(jax.random.key(31), 8)
TASK = rfm.TeacherStudent(input_dim=3, num_hidden=5, weight_std=2.0, label_noise_std=0.1, key=KEYS[0])
FEATURES = rfm.RandomFeatures(input_dim=3, num_features=10, weight_std=2.0, key=KEYS[1])
SAMPLE = TASK.sample(num_samples=5, key=KEYS[2])
TEST = TASK.test_set(FEATURES, num_samples=40, key=KEYS[3])
STEPS = [0, 1, 5, 30, 200]
NUM_RUNS = 200


def problem_of(law: rfm.mixup.Law) -> rfm.problem.Solvable:
    return rfm.synthesize(SAMPLE, FEATURES, law, population=TEST)


UNIFORM = problem_of(rfm.Mixup(alpha=1.0, pairs="expected"))
CONCENTRATED = problem_of(rfm.Mixup(alpha=4.0, pairs="expected"))
FIXED = problem_of(rfm.Mixup(lam=0.3, pairs="expected"))
TABLE = problem_of(rfm.ERM())
LAWS = [{"shared_ratio": shared, "replacement": replace} for shared in (False, True) for replace in (True, False)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("problem", "batches", "share", "ridge"),
    [
        (UNIFORM, rfm.Batches(1), 0.5, 0.0),
        (UNIFORM, rfm.Batches(8), 0.9, 0.0),
        (UNIFORM, rfm.Batches(6, shared_ratio=True), 0.7, 0.0),
        (UNIFORM, rfm.Batches(12, replacement=False), 0.8, 0.05),
        (CONCENTRATED, rfm.Batches(4), 0.3, 0.0),
        (TABLE, rfm.Batches(3, replacement=False), 0.8, 0.0),
    ],
)
def test_mean_and_variance_of_real_runs_are_the_closed_forms(
    problem: rfm.Problem | rfm.expected.ExpectedProblem, batches: rfm.Batches, share: float, ridge: float
) -> None:
    step = share * rfm.solve(problem).largest_stable_step(batches, ridge=ridge)
    exact = rfm.minibatch_curve(problem, batches, step_size=step, steps=STEPS, ridge=ridge)
    assert not exact.is_diagonal
    runs = rfm.simulate_minibatch(
        problem,
        batches,
        step_size=step,
        steps=STEPS,
        ridge=ridge,
        keys=list(jax.random.split(KEYS[7], NUM_RUNS)),
    )
    rule = theory.GradientDescent(step, ridge)
    mean_weights = np.moveaxis(
        np.asarray(theory.risk.weights(problem.spectrum(), rule, jnp.asarray(STEPS, float))), 0, 1
    )
    off = np.asarray(runs.weights) - mean_weights
    seen = np.einsum("rtpk,pq,rtqk->rt", off, np.asarray(TEST.second_moment), off)

    def agrees(draws: np.ndarray, expected: np.ndarray) -> None:
        error = draws.std(axis=0) / np.sqrt(NUM_RUNS)
        assert np.all(np.abs(draws.mean(axis=0) - expected) <= SAMPLING * error + IDENTITY)

    agrees(np.asarray(runs.parts.risk[..., 0]), exact.risk)
    agrees(seen, exact.spread)
    agrees(np.sum(off**2, axis=(2, 3)), exact.weight_variance_by_target[:, 0])
    agrees(np.asarray(runs.gradient_power[..., 0]), exact.gradient_power_by_target[:, 0])
    agrees(off.reshape(NUM_RUNS, -1), 0.0)
    assert np.all(exact.spread[1:] > 1e-6 * exact.mean_risk[1:])


@pytest.mark.parametrize("settings", LAWS, ids=str)
@pytest.mark.parametrize(("problem", "batch_size"), [(UNIFORM, 4), (FIXED, 25), (TABLE, 2)])
@pytest.mark.parametrize("ridge", [0.0, 0.1])
def test_the_largest_stable_step_by_iteration_is_that_by_moments(
    problem: rfm.Problem | rfm.expected.ExpectedProblem, batch_size: int, ridge: float, settings: dict
) -> None:
    ours = rfm.solve(problem).largest_stable_step(rfm.Batches(batch_size, **settings), ridge=ridge)
    source, law = problem.source(), theory.Batches(batch_size, **settings)
    moments = theory.batches.batch_moments(
        problem.spectrum(), source.blocks(law), source.node_weights, law, ridge=ridge
    )
    assert np.isclose(ours, theory.batches.largest_stable_step(moments), rtol=ORACLE)


def test_a_step_past_mean_square_stability_is_refused_with_the_largest_one() -> None:
    largest = rfm.solve(UNIFORM).largest_stable_step(rfm.Batches(2))
    assert largest < 0.9 * 2 / float(UNIFORM.found.eigenvalues[0])  # the mean alone would still converge
    settings = {"batches": rfm.Batches(2), "steps": [0, 1]}
    for train in (rfm.simulate, rfm.minibatch_curve):
        key = {"key": KEYS[5]} if train is rfm.simulate else {}
        with pytest.raises(ValueError, match=rf"step_size: .*largest.*{str(largest)[:5]}"):
            train(UNIFORM, step_size=1.001 * largest, **settings, **key)
        train(UNIFORM, step_size=0.999 * largest, **settings, **key)


def test_a_subset_of_the_pairs_tells_the_largest_stable_step_about(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = rfm.solve(UNIFORM).largest_stable_step(rfm.Batches(2))
    monkeypatch.setattr("rfm.source.STABILITY_WORK", 20 * len(UNIFORM.ratios) * 10**2)
    with pytest.warns(rfm.PrecisionWarning, match="estimated from 20 of 25 pairs"):
        assert np.isclose(rfm.solve(UNIFORM).largest_stable_step(rfm.Batches(2)), exact, rtol=0.5)


@pytest.mark.slow
def test_gradients_vanish_under_erm_and_not_under_mixup() -> None:
    wide = rfm.RandomFeatures(input_dim=3, num_features=12, weight_std=2.0, key=KEYS[6])
    test = TASK.test_set(wide, num_samples=20, key=KEYS[3])
    floors = {}
    for law in (rfm.ERM(), rfm.Mixup(alpha=1.0, pairs="expected")):
        problem = rfm.synthesize(SAMPLE, wide, law, population=test)
        step = 0.5 * rfm.solve(problem).largest_stable_step(rfm.Batches(2))
        curve = rfm.minibatch_curve(problem, rfm.Batches(2), step_size=step, steps=[0, 10**6])
        floors[type(law)] = float(curve.gradient_floor / curve.gradient_norm[0])
        assert np.isclose(curve.gradient_norm[-1], curve.gradient_floor, rtol=1e-3, atol=1e-6)
    assert floors[rfm.ERM] < 1e-6
    assert floors[rfm.Mixup] > 0.05


def test_a_curve_past_what_rounding_leaves_warns() -> None:
    wide = rfm.RandomFeatures(input_dim=3, num_features=40, key=KEYS[6])
    test, law = TASK.test_set(wide, num_samples=20, key=KEYS[3]), rfm.Mixup(lam=0.3, pairs="expected")
    rough = rfm.expected_mixup(SAMPLE, wide, law, population=test, method="gram")
    with pytest.warns(rfm.PrecisionWarning, match="the expected risk can be trusted until t = .*pass method='qr'"):
        rfm.minibatch_curve(rough, rfm.Batches(2), step_size=1.0, steps=[1, 10**12], moments="diagonal")


def steep(decades: float, seed: int, spread_alone: bool) -> rfm.Problem:
    """Five rows and three features whose singular values span so many decades; test rows of the same law.

    Or labels in the strongest mode and outside of all, and that mode's truth on test rows in all directions: then the
    mean weights are right, and what is left of the risk is the spread of the weak modes.
    """
    rng = np.random.default_rng(seed)
    left, _, right = np.linalg.svd(rng.normal(size=(5, 3)), full_matrices=False)
    scales = np.logspace(0, -decades, 3)
    labels, test = rng.normal(size=5), rng.normal(size=(6, 3))
    if spread_alone:
        labels -= left[:, 1:] @ (left[:, 1:].T @ labels)
        population = rfm.TestSet(test, test @ right[0] * (left[:, 0] @ labels))
    else:
        population = rfm.TestSet(test * scales @ right, rng.normal(size=6))
    return rfm.Problem(left * scales @ right, labels, population=population)


def in_digits(problem: rfm.Problem, step_size: float, steps: list[int]) -> np.ndarray:
    """The expected risk of batches of one row, by powers of the exact matrix of one step, in 80 digits."""
    with mpmath.workdps(80):
        features, labels = (mpmath.matrix(np.asarray(a).tolist()) for a in (problem.features, problem.labels))
        size, eta = features.cols + 1, mpmath.mpf(step_size)
        one_step = mpmath.zeros(size**2)
        for row in range(features.rows):  # (theta, 1) is taken to step (theta, 1)
            step = mpmath.eye(size)
            seen = mpmath.matrix([*features[row, :], -labels[row]])
            step[: size - 1, :] -= eta * seen[: size - 1] * seen.T
            one_step += mpmath.matrix(np.kron(*2 * (np.asarray(step.tolist(), object),)).tolist()) / features.rows
        test = [[*map(mpmath.mpf, map(float, row)), -mpmath.mpf(float(f[0]))] for row, f in
                zip(problem.population.features, problem.population.targets, strict=True)]  # fmt: skip
        second = [(one_step**k)[:, size**2 - 1] for k in steps]
        pairs = [(i, j) for i in range(size) for j in range(size)]
        return np.asarray([
            float(sum(row[i] * row[j] * at[i * size + j] for row in test for i, j in pairs) / len(test))
            for at in second
        ])  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("decades", [4.0, 8.0, 10.0, 12.0, 14.0])
@pytest.mark.parametrize("spread_alone", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_ill_conditioned_rows_give_a_curve_that_knows_how_good_it_is(
    decades: float, seed: int, spread_alone: bool
) -> None:
    problem, steps = steep(decades, seed, spread_alone), [1, 1000, 10**6, 10**9, 10**12, 10**15]
    step_size = 0.5 * rfm.solve(problem).largest_stable_step(rfm.Batches(1))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        curve = rfm.minibatch_curve(problem, rfm.Batches(1), step_size=step_size, steps=steps)
    trusted = np.asarray(curve.times <= curve.trusted_until)
    error = np.abs(np.asarray(curve.risk) / in_digits(problem, step_size, steps) - 1)
    assert np.all(error[trusted] < LATE)
    assert np.all(trusted[: 2 if decades > 4 else 6])
    assert [warning.category for warning in caught] == [rfm.PrecisionWarning] * (not trusted[-1])
    assert not any("expected_mixup" in str(warning.message) for warning in caught)


def test_features_that_are_all_zero_are_named() -> None:
    problem = rfm.Problem(np.zeros((3, 2)), np.ones(3), population=rfm.TestSet(np.ones((3, 2)), np.ones(3)))
    with pytest.raises(ValueError, match="features: all of them are zero"):
        rfm.minibatch_curve(problem, rfm.Batches(2), step_size=0.1, steps=[1])


def test_the_batches_of_most_libraries_have_another_spread() -> None:
    """A batch mixed with a permutation of itself, all enumerated: 5.8 times less than with independent pairs."""
    x, y, grid = np.asarray([-1.0, 0.0, 1.0]), np.asarray([1.0, 0.0, 1.0]), np.linspace(-1, 1, 41)

    def features(x: jax.Array) -> jax.Array:
        return jnp.concatenate([jnp.ones_like(x), x, x**2], axis=1)

    test = rfm.TestSet(features(jnp.asarray(grid[:, None])), grid**2)
    sample = rfm.Sample(jnp.asarray(x[:, None]), jnp.asarray(y), None)
    problem = rfm.expected_mixup(sample, features, rfm.Mixup(lam=0.5, pairs="expected"), population=test)
    curve = rfm.minibatch_curve(problem, rfm.Batches(3, shared_ratio=True), step_size=0.3, steps=[1])
    after_a_step = []
    for order in itertools.permutations(range(3)):
        phi = np.asarray(features(jnp.asarray((x + x[list(order)])[:, None] / 2)))
        after_a_step.append(0.3 * phi.T @ (y + y[list(order)]) / 2 / 3)
    spread = np.trace(np.asarray(test.second_moment) @ np.cov(np.asarray(after_a_step).T, bias=True))
    assert np.isclose(spread, 0.001424, rtol=1e-3)
    assert np.isclose(curve.spread[0], 0.008324, rtol=1e-3)


def test_more_modes_than_the_exact_moments_hold_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rfm.training.batches.MAX_EXACT_MODES", 5)
    settings = {"batches": rfm.Batches(2), "step_size": 1.0, "steps": [10]}
    assert rfm.minibatch_curve(UNIFORM, **settings).is_diagonal
    with pytest.raises(ValueError, match="moments: the exact ones of 10 modes are too large, at most 5 are allowed"):
        rfm.minibatch_curve(UNIFORM, moments="exact", **settings)


def test_a_run_is_the_same_alone_or_beside_others_and_however_often_it_is_recorded() -> None:
    settings = {"batches": rfm.Batches(4), "step_size": 1.0}
    keys = list(jax.random.split(KEYS[5], 3))
    together = rfm.simulate_minibatch(UNIFORM, keys=keys, steps=[0, 3, 40], **settings)
    for index, key in enumerate(keys):
        alone = rfm.simulate(UNIFORM, key=key, steps=[40], **settings)
        assert np.allclose(alone.risk, together.curve(index).risk[-1:], rtol=ORACLE)
        assert np.allclose(alone.noise_risk, together.curve(index).noise_risk[-1:], rtol=ORACLE)
        assert np.allclose(alone.train_loss, together.curve(index).train_loss[-1:], rtol=ORACLE)
    assert np.all(np.std(together.parts.risk[:, -1], axis=0) > 0)


def test_many_runs_are_trained_in_parts_that_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {
        "batches": rfm.Batches(4),
        "step_size": 1.0,
        "steps": [0, 7],
        "keys": list(jax.random.split(KEYS[5], 5)),
    }
    whole = rfm.simulate_minibatch(UNIFORM, **settings)
    monkeypatch.setattr("rfm.training.batches.ENSEMBLE_BYTES", 2 * 4 * 10 * 8)
    counts: list[int] = []
    parts = rfm.simulate_minibatch(UNIFORM, **settings, progress=counts.append)
    assert np.allclose(parts.weights, whole.weights, rtol=ORACLE, atol=IDENTITY)
    assert counts == [14, 14, 7]


def test_the_loss_and_the_parts_are_those_of_the_weights() -> None:
    runs = rfm.simulate_minibatch(FIXED, rfm.Batches(3), step_size=1.0, steps=[0, 20], keys=list(KEYS[5:7]))
    table = rfm.synthesize(SAMPLE, FEATURES, rfm.Mixup(lam=0.3), population=TEST)
    phi, y = np.asarray(table.features), np.asarray(table.labels)
    for run in range(2):
        theta = np.asarray(runs.weights[run, 1])
        assert np.isclose(runs.train_loss[run, 1], np.mean((phi @ theta - y) ** 2) / 2, rtol=ORACLE)
        risk = np.mean((np.asarray(TEST.features) @ theta - np.asarray(TEST.targets)) ** 2)
        assert np.isclose(runs.parts.risk[run, 1, 0], risk, rtol=ORACLE)
    parts = runs.parts
    assert np.allclose(parts.risk, parts.clean + parts.noise + parts.cross, rtol=ORACLE)
    assert np.all(parts.noise[:, 1] > 0)


def test_a_batch_of_all_rows_without_replacement_is_full_batch_training() -> None:
    step = 0.9 * 2 / TABLE.largest_eigenvalue()
    exact = rfm.closed_form(TABLE, steps=STEPS, rule=theory.GradientDescent(step))
    run = rfm.simulate(TABLE, batches=rfm.Batches(5, replacement=False), step_size=step, steps=STEPS, key=KEYS[5])
    for field in ("risk", "noise_risk", "train_loss"):
        assert np.allclose(getattr(run, field), getattr(exact, field), rtol=ORACLE, atol=IDENTITY), field


def test_a_random_start_is_drawn_anew_for_each_run() -> None:
    start = theory.Start(variance=0.5)
    keys = list(jax.random.split(KEYS[7], NUM_RUNS))
    runs = rfm.simulate_minibatch(UNIFORM, rfm.Batches(2), step_size=1.0, steps=[0], keys=keys, start=start)
    assert scipy.stats.kstest(np.ravel(runs.weights) / np.sqrt(0.5), "norm").pvalue > P_VALUE


@pytest.mark.parametrize("batch_size", [1, 3, 20])
@pytest.mark.parametrize("replace", [True, False])
def test_pairs_are_drawn_uniformly_and_differ_if_asked_to(batch_size: int, replace: bool) -> None:
    law = theory.Batches(batch_size, replacement=replace)
    drawn = np.asarray(jax.vmap(lambda key: draw_pairs(key, law, 25))(jax.random.split(KEYS[5], 4000 // batch_size)))
    assert scipy.stats.chisquare(np.bincount(drawn.ravel(), minlength=25)).pvalue > P_VALUE
    repeats = any(len(set(batch)) < batch_size for batch in drawn.tolist())
    assert repeats == (replace and batch_size > 1)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("alpha", [1.0, 0.4])
def test_ratios_are_those_of_the_law_one_a_row_or_one_a_batch(alpha: float, shared: bool) -> None:
    inputs = jnp.asarray([[0.0], [1.0]])
    sample = rfm.Sample(inputs, inputs[:, 0], None)
    test = theory.TestSet(inputs, inputs[:, 0])
    problem = rfm.synthesize(sample, lambda x: x, rfm.Mixup(alpha=alpha, pairs="expected"), population=test)
    law = theory.Batches(4, shared_ratio=shared)
    phi, labels = jax.vmap(lambda key: problem.source().draw(key, law))(jax.random.split(KEYS[5], 500))
    assert np.allclose(phi, labels, rtol=0, atol=IDENTITY)  # labels are mixed as inputs are
    mixed = np.asarray(phi[:, :, 0])
    lam = np.where((mixed > 0) & (mixed < 1), mixed, np.nan)  # a pair of two different originals
    one_a_batch = np.asarray([row[~np.isnan(row)][0] for row in lam if np.any(~np.isnan(row))])
    assert scipy.stats.kstest(one_a_batch, "beta", (alpha, alpha)).pvalue > P_VALUE
    # Swapping the pair turns lam into 1 - lam; but for that, a shared ratio is the same in a batch.
    distances = [np.ptp(np.abs(row[~np.isnan(row)] - 0.5)) for row in lam if np.sum(~np.isnan(row)) > 1]
    assert (np.max(distances) < IDENTITY) == shared


def test_single_precision_stays_there() -> None:
    def narrow(tree: object) -> object:
        return jax.tree.map(lambda a: a.astype(jnp.float32) if isinstance(a, jax.Array) else a, tree)

    problem = rfm.synthesize(
        narrow(SAMPLE), narrow(FEATURES), rfm.Mixup(lam=0.3, pairs="expected"), population=narrow(TEST)
    )
    settings = {"batches": rfm.Batches(3), "step_size": 1.0, "steps": [0, 10], "key": KEYS[5]}
    run = rfm.simulate(problem, **settings)
    assert run.risk.dtype == run.train_loss.dtype == jnp.float32
    assert np.allclose(run.risk, rfm.simulate(FIXED, **settings).risk, rtol=FLOAT32)


# --- bad input -----------------------------------------------------------------------------------------------------


def test_bad_batches_are_refused() -> None:
    settings = {"step_size": 0.1, "steps": [0, 1]}
    with pytest.raises(ValueError, match="batches: 26 different pairs asked for, but there are only 25; pass at most"):
        rfm.simulate(UNIFORM, batches=rfm.Batches(26, replacement=False), key=KEYS[5], **settings)
    with pytest.raises(ValueError, match="batches: 6 different rows asked for, but there are only 5"):
        rfm.minibatch_curve(TABLE, rfm.Batches(6, replacement=False), **settings)
    for bad in (0, -1):
        with pytest.raises(ValueError, match=f"size: must be a whole number of at least 1, got {bad}"):
            rfm.simulate(UNIFORM, batches=rfm.Batches(bad), key=KEYS[5], **settings)
    with pytest.raises(ValueError, match=r"key: batches are drawn at random; pass key=jax.random.key\(seed\)"):
        rfm.simulate(UNIFORM, batches=rfm.Batches(2), **settings)
    with pytest.raises(ValueError, match="ridge: must be a finite number that is not negative, got -5"):
        rfm.solve(UNIFORM).largest_stable_step(rfm.Batches(2), ridge=-5.0)
    start = theory.Start(jnp.ones((9, 1)))
    with pytest.raises(ValueError, match=r"start.weights: has shape \(9, 1\); pass an array of shape \(10, 1\)"):
        rfm.minibatch_curve(UNIFORM, rfm.Batches(2), start=start, **settings)
    with pytest.raises(ValueError, match=r"problem: stands for fresh pairs .* no table; .*batches="):
        rfm.simulate(UNIFORM, **settings)
    with pytest.raises(ValueError, match=r"keys: there is none; pass one jax.random.key a run"):
        rfm.simulate_minibatch(UNIFORM, rfm.Batches(2), keys=[], **settings)
    with pytest.raises(ValueError, match="steps: must strictly ascend"):
        rfm.simulate(UNIFORM, batches=rfm.Batches(2), key=KEYS[5], step_size=0.1, steps=[3, 1])


def test_features_of_numpy_are_averaged_and_cannot_be_trained_on_afresh() -> None:
    def of_numpy(x: jax.Array) -> jax.Array:
        return jnp.asarray(np.tanh(np.asarray(x)))

    test = theory.TestSet(of_numpy(SAMPLE.inputs), SAMPLE.labels)
    problem = rfm.synthesize(SAMPLE, of_numpy, rfm.Mixup(lam=0.3, pairs="expected"), population=test)
    assert rfm.minibatch_curve(problem, rfm.Batches(2), step_size=0.1, steps=[5]).spread[0] > 0
    with pytest.raises(TypeError, match="features, truth: fresh rows are made inside compiled steps, so both must be"):
        rfm.simulate(problem, batches=rfm.Batches(2), step_size=0.1, steps=[5], key=KEYS[5])
