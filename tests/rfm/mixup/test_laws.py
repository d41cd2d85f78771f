"""Which pairs are mixed, with what ratio, and the rows that come of it."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

import rfm
import theory
from rfm.expected.quadrature import COARSEST, FINEST
from tests.tolerances import EXACT, ORACLE, P_VALUE, SAMPLING
from theory.checks import ALPHAS, check_alpha

KEY = jax.random.key(7)


def whole(
    law: rfm.mixup.Law, num_samples: int, key: jax.Array | None = None, block_rows: int = 10**6
) -> rfm.mixup.PairTable:
    tables = list(law.tables(num_samples, block_rows, key=key))
    return jax.tree.map(lambda *parts: jnp.concatenate(parts), *tables)


def same(a: rfm.mixup.PairTable, b: rfm.mixup.PairTable) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def test_all_pairs_are_all_ordered_pairs_once() -> None:
    table = whole(rfm.Mixup(lam=0.3), 5)
    pairs = list(zip(table.first.tolist(), table.second.tolist(), strict=True))
    assert pairs == [(i, j) for i in range(5) for j in range(5)]
    assert np.all(table.lam == 0.3)
    assert len(table) == rfm.Mixup(lam=0.3).num_rows(5) == 25


def test_erm_is_each_sample_itself() -> None:
    table, values = whole(rfm.ERM(), 6), jnp.arange(12.0).reshape(6, 2)
    assert np.array_equal(table.mix(values), values)
    assert rfm.ERM().num_rows(6) == 6


LAWS = [
    rfm.ERM(),
    rfm.Mixup(lam=0.5),
    rfm.Mixup(alpha=0.4),
    rfm.Mixup(lam=0.2, pairs=17),
    rfm.Mixup(alpha=1.0, pairs=30),
]


@pytest.mark.slow
@pytest.mark.parametrize("law", LAWS, ids=str)
@pytest.mark.parametrize("block_rows", [1, 7])
def test_rows_do_not_depend_on_the_size_of_the_blocks(law: rfm.mixup.Law, block_rows: int) -> None:
    blocks = list(law.tables(5, block_rows, key=KEY))
    assert [len(block) for block in blocks[:-1]] == [block_rows] * (len(blocks) - 1)
    ours, theirs = whole(law, 5, KEY, block_rows), whole(law, 5, KEY)
    assert np.array_equal(ours.first, theirs.first)
    assert np.array_equal(ours.second, theirs.second)
    assert np.allclose(ours.lam, theirs.lam, rtol=EXACT, atol=0)  # XLA rounds log and exp of one row differently
    assert len(whole(law, 5, KEY)) == law.num_rows(5)


@pytest.mark.parametrize("law", LAWS[2:], ids=str)
def test_a_key_gives_the_same_rows_and_another_gives_others(law: rfm.Mixup) -> None:
    assert law.needs_key
    assert same(whole(law, 5, KEY), whole(law, 5, KEY))
    assert not same(whole(law, 5, KEY), whole(law, 5, jax.random.key(8)))


def test_a_ratio_of_one_keeps_the_first_and_of_zero_the_second() -> None:
    values = jnp.arange(4.0) ** 2
    first, second = whole(rfm.Mixup(lam=1.0), 4), whole(rfm.Mixup(lam=0.0), 4)
    assert np.array_equal(first.mix(values), values[first.first])
    assert np.array_equal(second.mix(values), values[second.second])


def test_whole_numbers_are_mixed_as_numbers() -> None:
    table = rfm.mixup.PairTable(jnp.asarray([0]), jnp.asarray([1]), jnp.asarray([0.25]))
    assert table.mix(jnp.asarray([0, 8])).tolist() == [6.0]


@given(st.lists(st.floats(-1e3, 1e3), min_size=8, max_size=8), st.floats(-3, 3), st.floats(0, 1))
def test_mixing_is_linear_and_stays_between_its_parents(values: list[float], scale: float, lam: float) -> None:
    a, b = jnp.asarray(values[:4]), jnp.asarray(values[4:])
    table = rfm.mixup.PairTable(jnp.asarray([0, 1, 2]), jnp.asarray([3, 1, 0]), jnp.full(3, lam))
    bound = 1e3 * 8 * np.finfo(float).eps * (1 + abs(scale))
    assert np.allclose(table.mix(a + scale * b), table.mix(a) + scale * table.mix(b), rtol=0, atol=bound)
    parents = np.asarray([a[table.first], a[table.second]])
    assert np.all(table.mix(a) <= parents.max(axis=0) + bound)
    assert np.all(table.mix(a) >= parents.min(axis=0) - bound)


def test_inputs_and_labels_of_any_shape_are_mixed_alike_and_keep_their_precision() -> None:
    table = whole(rfm.Mixup(alpha=1.0), 3, KEY)
    images = jax.random.normal(jax.random.key(1), (3, 4, 2), jnp.float32)
    mixed = table.mix(images)
    assert mixed.shape == (9, 4, 2)
    assert mixed.dtype == jnp.float32
    by_pixel = table.mix(images[:, 2, 1])
    assert np.array_equal(mixed[:, 2, 1], by_pixel)
    k = 5
    expected = table.lam[k] * images[table.first[k]] + (1 - table.lam[k]) * images[table.second[k]]
    assert np.allclose(mixed[k], expected, rtol=1e-6)


@pytest.mark.parametrize(("alpha", "pairs"), [(0.2, "all"), (1.0, 2500), (4.0, "all")])
def test_ratios_follow_the_beta_distribution(alpha: float, pairs: int | str) -> None:
    lam = np.asarray(whole(rfm.Mixup(alpha=alpha, pairs=pairs), 50, KEY).lam)
    assert scipy.stats.kstest(lam, scipy.stats.beta(alpha, alpha).cdf).pvalue > P_VALUE
    assert scipy.stats.kstest(lam, scipy.stats.beta(1.3 * alpha, alpha).cdf).pvalue < P_VALUE  # it can tell


def test_random_pairs_are_uniform_and_independent() -> None:
    table = whole(rfm.Mixup(lam=0.5, pairs=20000), 4, KEY)
    counts = np.bincount(np.asarray(4 * table.first + table.second), minlength=16)
    assert scipy.stats.chisquare(counts).pvalue > P_VALUE
    assert np.all(table.lam == 0.5)


def test_ratios_are_independent_of_the_pairs() -> None:
    table = whole(rfm.Mixup(alpha=1.0, pairs=5000), 10, KEY)
    for index in (table.first, table.second):
        assert scipy.stats.pearsonr(np.asarray(index, float), np.asarray(table.lam)).pvalue > P_VALUE


@pytest.mark.parametrize("lam", [-0.1, 1.1, np.nan, np.inf])
def test_a_ratio_must_lie_between_zero_and_one(lam: float) -> None:
    with pytest.raises(ValueError, match=rf"lam: must lie in \[0, 1\], got {lam}"):
        rfm.Mixup(lam=lam)


@pytest.mark.parametrize(
    ("alpha", "remedy"),
    [
        (0.0, "pass ERM()"),
        (1e-310, "pass ERM()"),
        (1e-40, "pass ERM()"),
        (9e-5, "pass ERM()"),
        (1.1e3, "pass Mixup(lam=0.5)"),
        (1e300, "pass Mixup(lam=0.5)"),
        (np.inf, "pass Mixup(lam=0.5)"),
        (-1.0, "1 makes all ratios equally likely"),
        (np.nan, "1 makes all ratios equally likely"),
    ],
)
def test_an_alpha_out_of_range_is_named_with_the_law_to_pass_instead(alpha: float, remedy: str) -> None:
    doors = (
        lambda: rfm.Mixup(alpha=alpha),
        lambda: theory.noise.beta_quadrature(alpha, 8),
        lambda: theory.derivatives.beta_weights(alpha, 8),
        lambda: rfm.data.LinearTruth(jnp.ones(2)).noise_moments(alpha=alpha),
        lambda: theory.noise.cross_entropy_floor(alpha, jnp.ones(2) / 2),
        lambda: check_alpha("alpha", jnp.asarray(alpha)),
    )
    message = f"alpha: must lie between 0.0001 and 1000, got {alpha}; "
    for door in doors:
        with pytest.raises(ValueError, match=re.escape(message)) as caught:
            door()
        assert remedy in str(caught.value)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("nodes", [COARSEST, 2 * FINEST])
def test_the_whole_range_of_alpha_works(alpha: float, nodes: int) -> None:
    """Both moments of the ratio by the rule, and by draws; warnings are errors."""
    ratios, weights = theory.noise.beta_quadrature(alpha, nodes)
    variance = 1 / (2 * alpha + 1) / 4
    assert np.isclose(weights @ (ratios - 0.5) ** 2, variance, rtol=ORACLE)
    assert np.isclose(weights @ (ratios * (1 - ratios)), alpha / (4 * alpha + 2), rtol=1e3 * ORACLE)
    drawn = next(rfm.Mixup(alpha=alpha, pairs=4000).tables(2, 4000, key=jax.random.key(0))).lam
    assert np.all((drawn >= 0) & (drawn <= 1))
    deviation = (np.asarray(drawn) - 0.5) ** 2
    error = max(deviation.std() / 4000**0.5, 1e-3 * variance)  # small alpha: all but a few are 0 or 1
    assert abs(deviation.mean() - variance) < SAMPLING * error
    inputs = jnp.asarray(np.random.default_rng(0).normal(size=(6, 2)))
    assert rfm.expected.ratio_quadrature(rfm.Mixup(alpha=alpha, pairs="expected"), inputs, jnp.tanh).error < 1e-7


def test_one_of_lam_and_alpha_is_needed_and_not_both() -> None:
    with pytest.raises(ValueError, match=r"lam, alpha: pass one of them.*got None and None"):
        rfm.Mixup()
    with pytest.raises(ValueError, match=r"lam, alpha: pass one of them.*got 0.5 and 1.0"):
        rfm.Mixup(lam=0.5, alpha=1.0)


def test_pairs_are_all_or_a_positive_number() -> None:
    with pytest.raises(ValueError, match="pairs: must be a whole number of at least 1, got 0"):
        rfm.Mixup(lam=0.5, pairs=0)


def test_a_law_compiles_once_for_all_numbers_of_pairs_and_ratios() -> None:
    laws = [rfm.Mixup(alpha=alpha, pairs=pairs) for alpha, pairs in ((1.0, 4000), (0.3, 4001))]
    static = [jax.tree.structure(law) for law in laws]
    assert static[0] == static[1]


class Empty(rfm.mixup.Law):
    """A law of one's own that makes nothing of a sample."""

    def num_rows(self, num_samples: int) -> int:
        return 0

    def table(self, rows: jax.Array, num_samples: int, key: jax.Array | None) -> rfm.mixup.PairTable:
        return rfm.mixup.PairTable(rows, rows, jnp.ones(rows.shape))


def test_a_law_without_rows_is_refused() -> None:
    with pytest.raises(ValueError, match=r"law: num_rows\(num_samples\): must be a whole number of at least 1, got 0"):
        whole(Empty(), 3)


@pytest.mark.parametrize("law", [rfm.Mixup(lam=0.5), rfm.Mixup(lam=0.5, pairs=3)], ids=str)
def test_mixup_needs_two_samples(law: rfm.Mixup) -> None:
    with pytest.raises(ValueError, match=r"num_samples.*: must be a whole number of at least 2, got 1"):
        list(law.tables(1, 10, key=KEY))


@pytest.mark.parametrize("law", LAWS[2:], ids=str)
def test_a_law_that_draws_needs_a_key(law: rfm.Mixup) -> None:
    with pytest.raises(ValueError, match=r"key: Mixup\(.*\) draws at random; pass key=jax.random.key\(seed\)"):
        list(law.tables(5, 10))


def test_mixing_in_double_precision_rounds_once() -> None:
    table = whole(rfm.Mixup(alpha=1.0), 3, KEY)
    values = np.asarray([1.0, 2.0, 4.0])
    lam = np.asarray(table.lam)
    expected = lam * values[np.asarray(table.first)] + (1 - lam) * values[np.asarray(table.second)]
    assert table.lam.dtype == jnp.float64
    assert np.allclose(table.mix(jnp.asarray(values)), expected, rtol=EXACT)


@pytest.mark.parametrize("label_lam", [None, 0.8])
def test_the_logged_loss_of_libraries_lies_above_that_of_mixed_labels_by_its_gap(label_lam):
    """Of any predictions whatever, and for any weights of pairs: here all others, each once."""
    drawn = np.random.default_rng(0)
    labels = drawn.normal(size=(5, 2))
    sample = rfm.Sample(jnp.asarray(drawn.normal(size=(5, 3))), jnp.asarray(labels), None)
    law = rfm.Mixup(lam=0.3, partners=rfm.mixup.OtherSamples(), label_lam=label_lam)
    table = next(law.on(sample).tables(5, 100))
    predictions = drawn.normal(size=(20, 2))
    share = 0.3 if label_lam is None else label_lam
    of_row = (labels[np.asarray(index)] for index in (table.first, table.second))
    first, second = (np.sum((predictions - one) ** 2, axis=1) / 2 for one in of_row)
    logged = np.mean(share * first + (1 - share) * second)
    train_loss = np.mean(np.sum((predictions - np.asarray(table.mix_labels(sample.labels))) ** 2, axis=1)) / 2
    assert np.isclose(law.logged_loss_gap(sample), logged - train_loss, rtol=ORACLE)


def test_the_gap_of_the_logged_loss_is_a_share_of_the_labels_variance():
    sample = rfm.Sample(jnp.eye(9), jnp.arange(9.0), None)
    variance = np.var(np.arange(9.0))
    for alpha in (0.3, 1.0, 5.0):
        assert np.isclose(rfm.Mixup(alpha=alpha).logged_loss_gap(sample), alpha / (2 * (2 * alpha + 1)) * variance)
    assert float(rfm.Mixup(alpha=1.0, share=0.0).logged_loss_gap(sample)) == pytest.approx(0)
