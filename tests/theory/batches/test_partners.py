"""Batches that are mixed with themselves, against every draw and every permutation written out."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

import theory
from tests.theory.batches.tables import (
    EVERY_LAW_OF_THEMSELVES,
    OF_THEMSELVES,
    STEPS,
    Table,
    agree,
    by_target,
    gradients,
    make,
    name_of,
    partners_of,
)
from tests.theory.batches.test_minibatch import written_out
from tests.tolerances import IDENTITY, ORACLE

ORIGINALS = {n: make(n * n, 2, 3, 2, seed=20 + n) for n in (3, 4)}


CASES = [
    pytest.param(n, law, id=f"n={n} {name_of(law)}", marks=pytest.mark.slow if name_of(law) == "B=4 permuted" else ())
    for n in ORIGINALS
    for law in OF_THEMSELVES
    if law.size <= n
]


@pytest.mark.parametrize(("num_originals", "law"), CASES)
def test_curves_are_those_of_every_draw_and_permutation_written_out(num_originals: int, law: theory.Batches) -> None:
    table = ORIGINALS[num_originals].mixed_by(law)
    moments = table.moments(law, ridge=0.1)
    step = 0.6 * theory.batches.largest_stable_step(moments)
    expected = np.stack([written_out(table, law, 0.1, step, k) for k in STEPS], axis=1)
    assert agree(by_target(table.curve(moments, step)), expected)


@EVERY_LAW_OF_THEMSELVES
@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_the_largest_stable_step_without_a_matrix_is_that_by_moments(law: theory.Batches, ridge: float) -> None:
    table = ORIGINALS[4].mixed_by(law)
    found = theory.batches.largest_stable_step_of_rows(
        table.spectrum, table.blocks(law), jnp.asarray(table.node_weights), law, num_pairs=16, ridge=ridge
    )
    assert np.isclose(found, theory.batches.largest_stable_step(table.moments(law, ridge=ridge)), rtol=ORACLE, atol=0)


@pytest.mark.parametrize("law", [theory.Batches(3, "permuted", shared_ratio=True), theory.Batches(4, "flipped"),
                                 theory.Batches(4, "rolled")], ids=name_of)  # fmt: skip
def test_training_shrinks_below_the_largest_stable_step_and_grows_above(law: theory.Batches) -> None:
    table = ORIGINALS[4].mixed_by(law)
    limit, size = theory.batches.largest_stable_step(table.moments(law)), table.features.shape[2]
    for share, grows in ((0.98, False), (1.02, True)):
        total = np.zeros((size**2, size**2))
        for chance, gradient in gradients(table, law, 0, 0.0):
            step = np.eye(size) - share * limit * gradient[:, :-1]
            total += chance * np.kron(step, step)
        assert (np.max(np.abs(np.linalg.eigvals(total))) > 1) == grows


@EVERY_LAW_OF_THEMSELVES
def test_the_diagonal_keeps_the_entries_of_the_exact_moments(law: theory.Batches) -> None:
    table = ORIGINALS[4].mixed_by(law)
    exact, diagonal = (table.moments(law, ridge=0.1, diagonal=only) for only in (False, True))
    first, second, _ = exact.entries
    kept = np.flatnonzero(first == second)
    for ours, expected in (
        (diagonal.curvature, exact.curvature[kept][:, kept]),
        (diagonal.cross, exact.cross[kept]),
        (diagonal.noise, exact.noise[kept]),
    ):
        assert np.allclose(ours, expected, rtol=0, atol=IDENTITY * np.max(np.abs(exact.curvature)) * 100)


def test_weights_of_pairs_are_their_probabilities() -> None:
    """Pairs that come three times, and pairs of the weight 3, are the same law; weights count by their proportions."""
    table = make(4, 2, 3, 2, seed=1)
    times = np.asarray([3, 1, 2, 1])
    repeated = table._replace(features=np.repeat(table.features, times, 0), labels=np.repeat(table.labels, times, 0))
    for law in (theory.Batches(2), theory.Batches(3, shared_ratio=True)):
        for scale in (1.0, 0.1):
            ours = table._replace(pair_weights=scale * times)
            for diagonal in (False, True):
                found = [each.moments(law, diagonal=diagonal, block=3) for each in (ours, repeated)]
                for name in ("curvature", "cross", "noise"):
                    expected = np.asarray(getattr(found[1], name))
                    assert np.allclose(getattr(found[0], name), expected, rtol=0, atol=1e-11 * np.abs(expected).max())
            limits = [
                theory.batches.largest_stable_step_of_rows(
                    each.spectrum, each.blocks(law), jnp.asarray(each.node_weights), law, num_pairs=len(each.features)
                )
                for each in (ours, repeated)
            ]
            assert np.isclose(limits[0], limits[1], rtol=ORACLE)
    curve = table._replace(pair_weights=times / 7.0)
    moments = curve.moments(theory.Batches(2), ridge=0.1)
    expected = np.stack([written_out(curve, theory.Batches(2), 0.1, 0.05, k) for k in STEPS], axis=1)
    assert agree(by_target(curve.curve(moments, 0.05)), expected)


@pytest.mark.slow
def test_single_precision_stays_single() -> None:
    law = theory.Batches(3, "permuted")
    table = ORIGINALS[3].mixed_by(law)
    features, labels, weights, of_pairs = (array.astype(np.float32) for array in (*table[:3], table.pair_weights))
    test = theory.TestSet(table.test.features.astype(jnp.float32), table.test.targets.astype(jnp.float32))
    single = Table(features, labels, weights, test, of_pairs)
    for diagonal in (False, True):
        ours = single.curve(single.moments(law, diagonal=diagonal), 0.1)
        assert all(getattr(ours, name).dtype == jnp.float32 for name in ("risk", "spread", "gradient_norm"))
        assert agree(by_target(ours), by_target(table.curve(table.moments(law, diagonal=diagonal), 0.1)), 2e-4)


def test_pieces_of_a_star_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    law = theory.Batches(4, "permuted")
    table = ORIGINALS[4].mixed_by(law)
    whole = table.moments(law)
    monkeypatch.setattr(theory.batches.covariances, "CHUNK_BYTES", 1)
    pieces = table.moments(law)
    assert np.allclose(pieces.curvature, whole.curvature, rtol=0, atol=IDENTITY * np.abs(whole.curvature).max())


@pytest.mark.parametrize("partners", ["permuted", "flipped", "rolled"])
@pytest.mark.parametrize("size", [2, 3, 4, 5, 6])
def test_patterns_are_counted(partners: str, size: int) -> None:
    law, counts = theory.Batches(size, partners), np.zeros(6)
    for partner in partners_of(law):
        rows = [(k, partner[k]) for k in range(size)]
        counts[0] += sum(a == b for a, b in rows) / size
        for (a, b), (c, d) in itertools.permutations(rows, 2):
            alone = (a == b) + (c == d)
            which = {2: 1, 1: 2}.get(alone) or (3 if (a, b) == (d, c) else 4 if b == c or a == d else 5)
            counts[which] += 1 / (size * (size - 1))
    assert np.allclose(law.patterns, counts / len(partners_of(law)), rtol=0, atol=IDENTITY)


def test_what_has_no_closed_form_is_refused() -> None:
    table, rolled = ORIGINALS[3], theory.Batches(2, "rolled")
    one = jnp.asarray(table.node_weights)
    blocks = [(jnp.asarray(table.features[star]), jnp.asarray(table.labels[star])) for star in theory.batches.stars(3)]
    with pytest.raises(ValueError, match="partners: 'shuffled' is not known; pass one of flipped, indep"):
        theory.Batches(2, "shuffled")
    for wrong in ({"partners": "flipped"}, {"epochs": True}):
        with pytest.raises(ValueError, match=r"replacement: .* has each original at most once; leave it None"):
            theory.Batches(2, replacement=True, **wrong)
    spectrum = table.mixed_by(rolled).spectrum
    for ask in (
        lambda law, blocks: theory.batches.batch_moments(spectrum, iter(blocks), one, law),
        lambda law, blocks: theory.batches.largest_stable_step_of_rows(spectrum, iter(blocks), one, law, num_pairs=9),
    ):
        with pytest.raises(ValueError, match=r"epochs: the batches of one epoch are not independent .*epochs=False"):
            ask(theory.Batches(2, "rolled", epochs=True), blocks)
        with pytest.raises(ValueError, match="law: a batch of 4 distinct originals cannot be drawn from 3"):
            ask(theory.Batches(4, "rolled"), blocks)
        with pytest.raises(ValueError, match="blocks: the iterator gave no rows"):
            ask(rolled, [])
        with pytest.raises(ValueError, match=r"blocks: there are 2, of 6 pairs each; .* ask for one block an original"):
            ask(rolled, blocks[:2])
        with pytest.raises(ValueError, match="blocks: one has 4 pairs, another 6"):
            ask(rolled, [blocks[0], tuple(array[:4] for array in blocks[1])])
        weighted = [(*block, np.ones(6)) for block in blocks]
        with pytest.raises(ValueError, match=r"blocks: have weights, but batches of partners='rolled' draw all"):
            ask(rolled, weighted)
        with pytest.raises(ValueError, match="blocks: their pairs weigh differently"):
            ask(theory.Batches(2, replacement=False), [(*blocks[0], np.arange(6.0))])
        for bad in (np.ones(5), -np.ones(6), np.full(6, np.nan)):
            with pytest.raises(ValueError, match="blocks: their weights must be one finite number a pair"):
                ask(theory.Batches(2), [(*blocks[0], bad)])
        with pytest.raises(ValueError, match="blocks: all of their pairs have the weight zero"):
            ask(theory.Batches(2), [(*blocks[0], np.zeros(6))])
    with pytest.raises(ValueError, match=r"num_pairs: all ordered pairs of n originals are n\^2, but there are 8"):
        theory.batches.largest_stable_step_of_rows(spectrum, blocks, one, rolled, num_pairs=8)
