"""Batches as libraries draw them: what is drawn, what an epoch goes through, and what is refused."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import rfm
from rfm.source import members_at
from tests.rfm.training.test_batches import KEYS, TABLE, UNIFORM
from tests.theory.batches.tables import drawn, make
from tests.tolerances import IDENTITY, P_VALUE

KINDS = ["permuted", "flipped", "rolled"]
EVERY_KIND = pytest.mark.parametrize("partners", KINDS)


def pairs_of(batches: rfm.Batches, num_draws: int) -> list[tuple[int, ...]]:
    """Of batches that are drawn from originals 0, 1, 2, .., and mixed so that a row says of which."""
    inputs = jnp.asarray([[0.0], [1.0], [3.0]])
    test = rfm.TestSet(inputs, inputs[:, 0])
    sample = rfm.Sample(inputs, jnp.arange(3.0), None)
    problem = rfm.synthesize(sample, lambda x: x, rfm.Mixup(lam=0.75, pairs="expected"), population=test)
    _, labels = jax.vmap(lambda key: problem.source().draw(key, batches))(jax.random.split(KEYS[5], num_draws))
    known = {0.75 * i + 0.25 * j: 3 * i + j for i in range(3) for j in range(3)}
    return [tuple(known[row] for row in batch) for batch in np.asarray(labels[:, :, 0]).tolist()]


@EVERY_KIND
@pytest.mark.parametrize("size", [1, 2, 3])
def test_every_batch_is_drawn_as_often_as_it_is_likely(partners: str, size: int) -> None:
    batches, num_draws = rfm.Batches(size, partners), 4000
    chances = collections.Counter(drawn(make(9, 1, 1, 1, seed=0), batches))
    counts = collections.Counter(pairs_of(batches, num_draws))
    assert set(counts) == set(chances)
    expected = [num_draws * chance / chances.total() for chance in chances.values()]
    assert scipy.stats.chisquare([counts[batch] for batch in chances], expected).pvalue > P_VALUE


@pytest.mark.parametrize(("num_members", "size", "batches_an_epoch"), [(12, 4, 3), (10, 4, 2), (5, 5, 1), (3, 1, 3)])
def test_an_epoch_goes_through_every_original_once_and_drops_what_is_left_over(
    num_members: int, size: int, batches_an_epoch: int
) -> None:
    law = rfm.Batches(size, "permuted", epochs=True)

    def members(key: jax.Array, step: jax.Array) -> jax.Array:
        return members_at(key, step, law, num_members)

    steps = jnp.arange(200 * batches_an_epoch)
    of_runs = [np.asarray(jax.vmap(members, (None, 0))(key, steps)).reshape(200, -1) for key in KEYS[:2]]
    for orders in of_runs:
        assert all(len(set(order)) == batches_an_epoch * size for order in orders.tolist())
        seen = np.bincount(orders[:, 0], minlength=num_members)
        assert scipy.stats.chisquare(seen).pvalue > P_VALUE
    assert (of_runs[0] != of_runs[1]).any()


@EVERY_KIND
def test_training_on_epochs_sees_each_original_once_an_epoch(partners: str) -> None:
    """Where the labels are powers of 4, and features vanish but for a constant, weights count what was seen."""
    inputs, labels = jnp.zeros((6, 1)), 4.0 ** jnp.arange(6)
    sample, test = rfm.Sample(inputs, labels, None), rfm.TestSet(jnp.ones((1, 1)), jnp.ones(1))
    law = rfm.Mixup(lam=0.5, pairs="expected")
    problem = rfm.expected_mixup(sample, jnp.ones_like, law, population=test)
    step = 1e-9  # so that the weights are the sum of the labels seen
    settings = {"step_size": step, "steps": [1, 2, 3, 6], "keys": list(KEYS[:3])}
    runs = rfm.simulate_minibatch(problem, rfm.Batches(2, partners, epochs=True), **settings)
    seen = np.asarray(runs.weights[:, :, 0, 0]) / step * 2  # of all labels of a batch, whoever is mixed with whom
    assert np.allclose(seen[:, 2], labels.sum(), rtol=1e-5)
    assert np.allclose(seen[:, 3], 2 * labels.sum(), rtol=1e-5)
    assert len(set(seen[:, 0].round())) > 1


def test_epochs_of_a_table_are_permutations_of_its_rows() -> None:
    batches, steps = rfm.Batches(5, epochs=True), [0, 1, 7]
    step = 0.9 * 2 / TABLE.largest_eigenvalue()
    whole = rfm.simulate(TABLE, step_size=step, steps=steps)
    ours = rfm.simulate(TABLE, batches=batches, step_size=step, steps=steps, key=KEYS[5])
    assert np.allclose(ours.risk, whole.risk, rtol=1e-9, atol=IDENTITY)


def test_batches_that_cannot_be_drawn_are_refused() -> None:
    settings = {"step_size": 0.1, "steps": [0, 1]}
    for kind in KINDS:
        with pytest.raises(
            ValueError, match="batches: 6 different originals asked for, but there are only 5; pass at mo"
        ):
            rfm.simulate(UNIFORM, batches=rfm.Batches(6, kind), key=KEYS[5], **settings)
        with pytest.raises(
            ValueError, match=f"batches: partners='{kind}' mix the originals of a batch, but .* rows are"
        ):
            rfm.minibatch_curve(TABLE, rfm.Batches(2, kind), **settings)
        for refused in (
            lambda law: rfm.minibatch_curve(UNIFORM, law, **settings),
            lambda law: rfm.solve(UNIFORM).largest_stable_step(law),
        ):
            with pytest.raises(
                ValueError, match=r"epochs: the batches of one epoch are not independent .*epochs=False"
            ):
                refused(rfm.Batches(2, kind, epochs=True))
    with pytest.raises(ValueError, match="batches: an epoch goes through the originals once, and independent partners"):
        rfm.simulate(UNIFORM, batches=rfm.Batches(2, epochs=True), key=KEYS[5], **settings)
    with pytest.raises(ValueError, match="batches: 6 different rows asked for, but there are only 5"):
        rfm.simulate(TABLE, batches=rfm.Batches(6, epochs=True), key=KEYS[5], **settings)
