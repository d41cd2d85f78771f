"""Who is mixed with whom: weights against their definitions, laws against brute force over every pair, and limits."""

import re
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

import rfm
from rfm.mixup import NearestInputs, OtherClass, OtherSamples, Partners, SameClass, SimilarLabels
from rfm.mixup.partners import partners_of
from tests.tolerances import EXACT, IDENTITY, ORACLE, P_VALUE, SAMPLING

KEYS = jax.random.split(jax.random.key(3), 6)
TASK = rfm.TeacherStudent(input_dim=3, num_hidden=4, weight_std=3.0, key=KEYS[0])
FEATURES = rfm.RandomFeatures(input_dim=3, num_features=6, weight_std=2.0, key=KEYS[1])
SAMPLE = TASK.sample(7, key=KEYS[2])
POPULATION = TASK.population(FEATURES)
CLASSES = rfm.Sample(SAMPLE.inputs, jnp.asarray([0.0, 1.0, 0.0, 2.0, 1.0, 0.0, 2.0]), None)
GIVEN = np.random.default_rng(4).exponential(size=(7, 7)) * (np.random.default_rng(5).uniform(size=(7, 7)) < 0.6)
GIVEN /= GIVEN.sum()
LAM = 0.3


def by_rows(affinity: np.ndarray) -> np.ndarray:
    return affinity / affinity.sum(axis=1, keepdims=True) / len(affinity)


def similar(labels: np.ndarray, bandwidth: float) -> np.ndarray:
    return by_rows(np.exp(-((labels[:, None] - labels[None, :]) ** 2) / (2 * bandwidth**2)))


def nearest(inputs: np.ndarray, number: int) -> np.ndarray:
    distance = np.linalg.norm(inputs[:, None] - inputs[None, :], axis=2) + np.diag(np.full(len(inputs), np.inf))
    there = np.zeros_like(distance)
    for i, row in enumerate(distance):
        there[i, np.argsort(row)[:number]] = 1
    return by_rows(there)


X, Y, C = np.asarray(SAMPLE.inputs), np.asarray(SAMPLE.labels), np.asarray(CLASSES.labels)
LAWS: dict[str, tuple[Partners | np.ndarray | None, rfm.Sample, np.ndarray]] = {
    "any": (None, SAMPLE, np.full((7, 7), 1 / 49)),
    "others": (OtherSamples(), SAMPLE, by_rows(1 - np.eye(7))),
    "similar labels": (SimilarLabels(0.4), SAMPLE, similar(Y, 0.4)),
    "nearest": (NearestInputs(2), SAMPLE, nearest(X, 2)),
    "same class": (SameClass(), CLASSES, by_rows((C[:, None] == C[None, :]).astype(float))),
    "other class": (OtherClass(), CLASSES, by_rows((C[:, None] != C[None, :]).astype(float))),
    "given": (GIVEN, SAMPLE, GIVEN),
}
EVERY_LAW = pytest.mark.parametrize(("partners", "sample", "expected"), LAWS.values(), ids=LAWS)
EVERYONE = jnp.arange(7)


def mixed(law: rfm.Mixup, sample: rfm.Sample, weights: np.ndarray, ratios: list[tuple[float, float, float]]) -> tuple:
    """E phi phiᵀ, E phi y~ and E y~^2, by a loop over every pair and ratio of the inputs and of the labels."""
    x, y = np.asarray(sample.inputs), np.asarray(sample.labels)
    second, force, power = np.zeros((6, 6)), np.zeros(6), 0.0
    for (i, j), weight in np.ndenumerate(weights):
        for lam, label_lam, chance in ratios:
            row = np.asarray(FEATURES(jnp.asarray((lam * x[i] + (1 - lam) * x[j])[None])))[0]
            label = label_lam * y[i] + (1 - label_lam) * y[j]
            second += weight * chance * np.outer(row, row)
            force += weight * chance * row * label
            power += weight * chance * label**2
    return second, force, power


def moments(problem: rfm.expected.ExpectedProblem) -> tuple[np.ndarray, np.ndarray, float]:
    spectrum = problem.found
    modes, root = np.asarray(spectrum.modes), np.sqrt(np.asarray(spectrum.eigenvalues))
    power = float(jnp.sum(spectrum.label_coordinates**2) + jnp.sum(spectrum.label_outside))
    return (modes * root**2) @ modes.T, modes @ (root * np.asarray(spectrum.label_coordinates)[:, 0]), power


def expected_of(law: rfm.Mixup, sample: rfm.Sample, method: str = "qr") -> rfm.expected.ExpectedProblem:
    return rfm.expected_mixup(sample, FEATURES, law, population=POPULATION, method=method)


def agree(ours: tuple, theirs: tuple) -> bool:
    return all(np.allclose(a, b, rtol=ORACLE, atol=ORACLE) for a, b in zip(ours, theirs, strict=True))


@EVERY_LAW
@pytest.mark.parametrize("share", [1.0, 0.25, 0.0])
def test_weights_are_those_of_their_definition(
    partners: Partners | None, sample: rfm.Sample, expected: np.ndarray, share: float
) -> None:
    expected = share * expected + (1 - share) * np.eye(7) / 7
    weights = partners_of(partners).weights(sample, share)
    assert np.allclose(weights.block(EVERYONE, EVERYONE), expected, rtol=ORACLE, atol=0)
    assert np.allclose(weights.block(jnp.asarray([5, 1]), jnp.asarray([2])), expected[[5, 1]][:, [2]], rtol=ORACLE)
    assert np.allclose(weights.row_sums(), expected.sum(axis=1), rtol=ORACLE)
    assert np.allclose(weights.column_sums(), expected.sum(axis=0), rtol=ORACLE, atol=EXACT)
    values = jax.random.normal(KEYS[3], (7, 2))
    assert np.allclose(weights.times(values), expected @ np.asarray(values), rtol=ORACLE, atol=EXACT)
    there = np.argwhere(expected > 0)
    assert weights.num_pairs == len(there)
    assert weights.is_even == bool(np.ptp(expected[expected > 0]) < EXACT)
    listed = [tuple(map(int, weights.listed(jnp.asarray(place)))) for place in range(len(there))]
    assert listed == [tuple(map(int, pair)) for pair in there]


@pytest.mark.parametrize("bandwidth", [1e-310, 1e-160, 1e160])
def test_bandwidths_beyond_all_measure_are_still_those_of_their_limits(bandwidth: float) -> None:
    """Squares of labels in their unit overflow, and a sample is as far from itself as ever."""
    weights = SimilarLabels(bandwidth).weights(SAMPLE).block(EVERYONE, EVERYONE)
    assert np.array_equal(weights, np.eye(7) / 7 if bandwidth < 1 else np.full((7, 7), 1 / 49))


@pytest.mark.parametrize("name", ["others", "similar labels", "given"])
def test_pairs_are_drawn_by_their_weights_and_none_without_one(name: str) -> None:
    partners, sample, expected = LAWS[name]
    table = next(rfm.Mixup(lam=LAM, pairs=20_000, partners=partners).on(sample).tables(7, 20_000, key=KEYS[4]))
    counts = np.bincount(np.asarray(7 * table.first + table.second), minlength=49)
    there = expected.ravel() > 0
    assert not counts[~there].any()
    assert scipy.stats.chisquare(counts[there], 20_000 * expected.ravel()[there]).pvalue > P_VALUE


@EVERY_LAW
@pytest.mark.parametrize("method", ["gram", "qr"])
def test_the_expected_problem_is_the_mean_over_every_pair(
    partners: Partners | None, sample: rfm.Sample, expected: np.ndarray, method: str
) -> None:
    law = rfm.Mixup(lam=LAM, pairs="expected", partners=partners)
    problem = expected_of(law, sample, method)
    assert agree(moments(problem), mixed(law, sample, expected, [(LAM, LAM, 1.0)]))
    other = problem.with_labels(2 * sample.labels)
    assert np.isclose(moments(other)[2], 4 * moments(problem)[2], rtol=ORACLE)


SEVERAL_TILES = 4000
"""Bytes, of which one block of the few pairs takes a part."""


@EVERY_LAW
@pytest.mark.parametrize("lam", [LAM, 0.5])
def test_blocks_of_pairs_stand_for_their_mirror_images_whatever_the_weights(
    partners: Partners | None, sample: rfm.Sample, expected: np.ndarray, lam: float
) -> None:
    blocks: list[int] = []
    law = rfm.Mixup(lam=lam, pairs="expected", partners=partners)
    problem = rfm.expected_mixup(sample, FEATURES, law, population=POPULATION, memory_budget=SEVERAL_TILES,
                                 progress=lambda done, total: blocks.append(total))  # fmt: skip
    tiles = blocks[-1]
    assert tiles > 1
    assert round((1 + 8 * tiles) ** 0.5) ** 2 == 1 + 8 * tiles if lam == 0.5 else round(tiles**0.5) ** 2 == tiles
    assert agree(moments(problem), mixed(law, sample, expected, [(lam, lam, 1.0)]))


@pytest.mark.parametrize("name", ["others", "same class", "other class", "nearest"])
@pytest.mark.slow
def test_a_table_of_all_pairs_is_the_expected_problem_where_they_are_equally_likely(name: str) -> None:
    partners, sample, expected = LAWS[name]
    table, mean = (rfm.Mixup(lam=LAM, pairs=pairs, partners=partners) for pairs in ("all", "expected"))
    if not np.ptp(expected[expected > 0]) < EXACT:
        with pytest.raises(ValueError, match="pairs: 'all' lists each pair once, but these partners have pairs of"):
            rfm.synthesize(sample, FEATURES, table, population=POPULATION)
        return
    curves = [
        rfm.closed_form(rfm.synthesize(sample, FEATURES, law, population=POPULATION), times=[1.0, 1e3]).risk
        for law in (table, mean)
    ]
    assert np.allclose(*curves, rtol=ORACLE)


@pytest.mark.parametrize(
    ("arguments", "labels"),
    [
        ({"label_lam": 0.8}, [(0.8, 1.0)]),
        ({"label_alpha": 0.7}, [(0.5 - (0.25 / 2.4) ** 0.5, 0.5), (0.5 + (0.25 / 2.4) ** 0.5, 0.5)]),
    ],
    ids=["fixed", "drawn"],
)
def test_labels_may_have_a_ratio_of_their_own(arguments: dict, labels: list[tuple[float, float]]) -> None:
    """A drawn one stands for any law of its mean and variance, 1 / (4 (2 alpha + 1)): labels are squared at most."""
    law = rfm.Mixup(lam=LAM, pairs="expected", partners=GIVEN, **arguments)
    ratios = [(LAM, label_lam, chance) for label_lam, chance in labels]
    whole = mixed(law, SAMPLE, GIVEN, ratios)
    for method in ("qr", "gram"):
        problem = expected_of(law, SAMPLE, method)
        assert agree(moments(problem), whole)
        assert np.allclose(problem.smoother.T @ SAMPLE.labels / 7, whole[1], rtol=ORACLE, atol=ORACLE)
    table = next(rfm.Mixup(lam=LAM, **arguments).tables(7, 49, key=KEYS[4]))
    assert np.all(np.asarray(table.lam) == LAM)
    share = np.asarray(table.label_share)
    assert np.all(share == 0.8) if "label_lam" in arguments else np.ptp(share) > 0.5
    together = share * Y[np.asarray(table.first)] + (1 - share) * Y[np.asarray(table.second)]
    assert np.allclose(table.mix_labels(SAMPLE.labels), together, rtol=EXACT)


# --- limits and identities ----------------------------------------------------------------------------------------


def same_moments(law: rfm.Mixup, other: rfm.Mixup, sample: rfm.Sample = SAMPLE, tolerance: float = IDENTITY) -> bool:
    both = (moments(expected_of(each, sample)) for each in (law, other))
    return all(np.allclose(a, b, rtol=tolerance, atol=tolerance) for a, b in zip(*both, strict=True))


def fresh(**arguments: object) -> rfm.Mixup:
    return rfm.Mixup(lam=LAM, pairs="expected", **arguments)


def test_a_wide_bandwidth_is_mixup_and_a_narrow_one_the_samples_themselves() -> None:
    assert same_moments(fresh(partners=SimilarLabels(1e6)), fresh(), tolerance=1e-9)
    assert same_moments(fresh(partners=SimilarLabels(1e-6)), fresh(partners=np.eye(7) / 7))
    assert same_moments(fresh(partners=SimilarLabels(1e-6)), fresh(partners=SameClass()), CLASSES)
    assert not same_moments(fresh(partners=SimilarLabels(0.4)), fresh())


def test_no_share_is_plain_training_and_all_of_it_the_law() -> None:
    plain = rfm.synthesize(SAMPLE, FEATURES, rfm.ERM(), population=POPULATION)
    times = [0.5, 10.0, 1e3]
    unmixed = rfm.closed_form(expected_of(fresh(share=0.0, partners=OtherSamples()), SAMPLE), times=times)
    assert np.allclose(unmixed.risk, rfm.closed_form(plain, times=times).risk, rtol=ORACLE)
    assert same_moments(fresh(share=1.0, partners=OtherSamples()), fresh(partners=OtherSamples()))
    assert not same_moments(fresh(share=0.5), fresh())


@given(st.floats(0, 1), st.integers(0, 2**31))
def test_moments_are_linear_in_the_weights(share: float, seed: int) -> None:
    other = np.random.default_rng(seed).exponential(size=(7, 7))
    other /= other.sum()
    parts = [moments(expected_of(fresh(partners=weights), SAMPLE, "gram")) for weights in (GIVEN, other)]
    both = moments(expected_of(fresh(partners=share * GIVEN + (1 - share) * other), SAMPLE, "gram"))
    for of_both, *of_parts in zip(both, *parts, strict=True):
        assert np.allclose(of_both, share * of_parts[0] + (1 - share) * of_parts[1], rtol=ORACLE, atol=ORACLE)


@pytest.mark.parametrize("weights", [GIVEN, similar(Y, 0.4)], ids=["given", "similar labels"])
def test_only_both_orders_together_matter_under_a_symmetric_ratio(weights: np.ndarray) -> None:
    def law(partners: np.ndarray, lam: float) -> rfm.Mixup:
        return rfm.Mixup(lam=lam, pairs="expected", partners=partners)

    symmetric = (weights + weights.T) / 2
    assert same_moments(law(weights, 0.5), law(symmetric, 0.5), tolerance=ORACLE)
    assert not same_moments(law(weights, LAM), law(symmetric, LAM), tolerance=ORACLE)


@EVERY_LAW
@pytest.mark.slow
def test_the_order_of_the_originals_changes_nothing(
    partners: Partners | np.ndarray | None, sample: rfm.Sample, expected: np.ndarray
) -> None:
    order = np.asarray([3, 0, 6, 2, 5, 1, 4])
    moved = rfm.Sample(sample.inputs[order], sample.labels[order], sample.truth)
    shuffled = partners[order][:, order] if isinstance(partners, np.ndarray) else partners
    ours, theirs = (
        moments(expected_of(fresh(partners=partners), sample)),
        moments(expected_of(fresh(partners=shuffled), moved)),
    )
    assert agree(ours, theirs)


@pytest.mark.slow
def test_pairs_of_others_run_plain_training_on_the_clock_of_the_theorem() -> None:
    """Where centred features mix as inputs do: 1 - 2 v n / (n - 1), v = E lam (1 - lam)."""
    inputs = SAMPLE.inputs - jnp.mean(SAMPLE.inputs, axis=0, keepdims=True)
    centred = rfm.Sample(inputs, SAMPLE.labels - jnp.mean(SAMPLE.labels), None)
    test = rfm.TestSet(jax.random.normal(KEYS[5], (20, 3)), jnp.ones(20))
    law = rfm.Mixup(alpha=1.0, pairs="expected", partners=OtherSamples())
    mixture = rfm.expected_mixup(centred, lambda x: x, law, population=test)
    plain = rfm.synthesize(centred, lambda x: x, rfm.ERM(), population=test)
    times = jnp.logspace(-1, 3, 12)
    clock = 1 - 2 / 6 * 7 / 6
    both = rfm.closed_form(mixture, times=times).risk, rfm.closed_form(plain, times=clock * times).risk
    assert np.allclose(*both, rtol=ORACLE)


# --- features, masks and tables of one's own ----------------------------------------------------------------------


def test_features_are_mixed_where_that_is_asked_and_no_parts_are_known() -> None:
    law = rfm.Mixup(lam=LAM, space="features")
    problem = rfm.synthesize(SAMPLE, FEATURES, law, population=POPULATION).table()
    phi = np.asarray(FEATURES(SAMPLE.inputs))
    rows = [LAM * phi[i] + (1 - LAM) * phi[j] for i in range(7) for j in range(7)]
    assert np.allclose(problem.features, rows, rtol=EXACT)
    assert problem.clean_labels is None
    mean = expected_of(rfm.Mixup(lam=LAM, pairs="expected", space="features"), SAMPLE)
    curves = [rfm.closed_form(each, times=[1.0, 1e3]) for each in (problem, mean)]
    assert np.allclose(curves[0].risk, curves[1].risk, rtol=ORACLE)
    assert curves[1].decomposition is None
    x = jax.random.normal(KEYS[5], (2, 3))
    predicted = rfm.solve(mean).predict(x, times=[1.0])
    weights = np.asarray(rfm.solve(mean).weights(times=[1.0])).reshape(6)
    assert np.allclose(np.ravel(predicted), np.asarray(FEATURES(x)) @ weights, rtol=ORACLE)


def test_a_mask_mixes_coordinate_by_coordinate_and_its_mean_the_label() -> None:
    mask = jnp.asarray([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    table = rfm.mixup.PairTable(jnp.asarray([0, 2]), jnp.asarray([1, 3]), mask)
    problem = rfm.synthesize(SAMPLE, lambda x: x, table, population=rfm.TestSet(jnp.eye(3), jnp.ones(3))).table()
    cut = np.where(np.asarray(mask) == 1, X[[0, 2]], X[[1, 3]])
    assert np.array_equal(problem.features, cut)
    labels = [2 / 3 * Y[0] + Y[1] / 3, Y[2] / 3 + 2 / 3 * Y[3]]
    assert np.allclose(problem.labels[:, 0], labels, rtol=EXACT)
    assert np.allclose(problem.clean_labels[:, 0], TASK.truth(jnp.asarray(cut)), rtol=ORACLE)
    smoother = problem.label_smoother()
    force = np.asarray(smoother).T @ Y[:4] / 4
    assert np.allclose(force, np.asarray(cut).T @ labels / 2, rtol=ORACLE)
    assert "mixing" in repr(problem)


def test_a_table_is_the_law_that_comes_out_as_itself() -> None:
    law = rfm.Mixup(alpha=1.0, pairs=30)
    (table,) = law.tables(7, 30, key=KEYS[4])
    ours, theirs = (rfm.synthesize(SAMPLE, FEATURES, each, population=POPULATION, key=KEYS[4]) for each in (table, law))
    assert np.array_equal(ours.table().features, theirs.table().features)
    streamed = rfm.synthesize(SAMPLE, FEATURES, table, population=POPULATION, block_rows=13)
    curves = [rfm.closed_form(each, times=[1.0, 1e3]).risk for each in (ours, streamed)]
    assert np.allclose(*curves, rtol=ORACLE)


# --- refusals -----------------------------------------------------------------------------------------------------


REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: SimilarLabels(0.0), r"bandwidth: 0 mixes samples of the same label alone; pass rfm.mixup.SameClass\(\)"),
    (lambda: SimilarLabels(np.inf), "bandwidth: infinite is plain Mixup; leave partners out"),
    (lambda: SimilarLabels(-1.0), "bandwidth: must be a positive number, got -1.0"),
    (lambda: NearestInputs(0), "number: must be a whole number of at least 1, got 0"),
    (lambda: NearestInputs(7).weights(SAMPLE), "partners: 7 nearest asked for, but there are 6 others; pass fewer"),
    (lambda: SameClass().weights(SAMPLE), "partners: sample 0 is the only one of its class, which has nobody"),
    (
        lambda: OtherClass().weights(rfm.Sample(SAMPLE.inputs, jnp.ones(7), None)),
        "partners: there is one class only, and none to mix it with",
    ),
    (lambda: fresh(partners=GIVEN - 0.1), r"partners: the weight of pair \(0, \d\) is -0.\d+; pass weights of at"),
    (lambda: fresh(partners=2 * GIVEN), "partners: the weights sum to 2; divide them by that, to sum to one"),
    (lambda: fresh(partners=np.diag([0.5, 0.5, 0.0])), "partners: sample 2 is in no pair; leave it out"),
    (lambda: fresh(partners=GIVEN[:3]), r"partners: weights of shape \(3, 7\); pass one row and one column a sample"),
    (lambda: fresh(partners=np.eye(3) / 3).on(SAMPLE), "partners: weights of 3 samples, but there are 7"),
    (lambda: fresh(share=1.5), r"share: must lie in \[0, 1\], got 1.5"),
    (lambda: fresh(label_lam=2.0), r"label_lam: must lie in \[0, 1\], got 2.0"),
    (lambda: fresh(label_alpha=0.0), "label_alpha: must lie between 0.0001 and 1000, got 0.0"),
    (lambda: fresh(label_lam=0.5, label_alpha=1.0), "label_lam, label_alpha: pass one of them"),
    (lambda: list(rfm.Mixup(lam=LAM, partners=OtherSamples()).tables(7, 9)), r"law: Mixup\(.*\) depends on the sample"),
    (
        lambda: list(rfm.Mixup(lam=LAM, partners=OtherSamples()).on(SAMPLE).tables(5, 9)),
        r"law: Mixup\(.*\) was made for 7 samples, not 5",
    ),
    (
        lambda: rfm.minibatch_curve(
            expected_of(fresh(partners=GIVEN), SAMPLE), rfm.Batches(2, replacement=False), step_size=1.0, steps=[1]
        ),
        r"batches: different pairs were asked for, but the pairs of Mixup\(.*\) have weights of their own",
    ),
    (
        lambda: rfm.minibatch_curve(
            expected_of(fresh(partners=GIVEN), SAMPLE), rfm.Batches(2, partners="rolled"), step_size=1.0, steps=[1]
        ),
        r"batches: partners='rolled' were asked for, but the pairs of Mixup\(.*\) have weights of their own",
    ),
]


@pytest.mark.parametrize(("call", "message"), REFUSED)
def test_laws_that_cannot_be_are_refused_in_one_line(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert len(re.findall("\n", str(caught.value))) == 0


def shared(partners: str) -> rfm.Batches:
    return rfm.Batches(4, partners=partners, shared_ratio=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("partners", "batches"),
    [
        (OtherSamples(), rfm.Batches(4)),
        (GIVEN, rfm.Batches(4)),
        (SimilarLabels(0.4), rfm.Batches(4)),
        (None, shared("permuted")),
        (None, shared("flipped")),
        (None, shared("rolled")),
    ],
    ids=["others", "given", "similar", "permuted", "flipped", "rolled"],
)
def test_batches_of_any_law_train_as_the_closed_form_says(
    partners: Partners | np.ndarray | None, batches: rfm.Batches
) -> None:
    problem = expected_of(rfm.Mixup(alpha=1.0, pairs="expected", partners=partners), SAMPLE)
    step = rfm.solve(problem).largest_stable_step(batches) / 2
    curve = rfm.minibatch_curve(problem, batches, step_size=step, steps=[0, 3, 30])
    keys = list(jax.random.split(KEYS[3], 200))
    runs = rfm.simulate_minibatch(problem, batches, step_size=step, steps=[0, 3, 30], keys=keys)
    risk = np.asarray(runs.parts.risk.sum(axis=2))[:, 1:]
    error = risk.std(axis=0) / len(keys) ** 0.5
    assert np.all(np.abs(risk.mean(axis=0) - np.asarray(curve.risk)[1:]) < SAMPLING * error)
    if not batches.mixes_itself:
        assert np.all(np.asarray(curve.spread)[1:] > SAMPLING * error)  # the mean alone would not do
