"""Training networks end to end: on the same laws of mixing and the same batches as the theory, recorded over time.

Several runs, each from a key of its own, are trained side by side. Every step draws from a key folded from the run's
key and the number of the step, so that a run is the same however often it is recorded and wherever it went on from.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

import theory
from rfm.checks import check_keys
from rfm.expected.fresh_pairs import FreshPairs
from rfm.expected.quadrature import ratio_quadrature
from rfm.mixup.law import Law, as_they_are
from rfm.mixup.laws import Mixup
from rfm.networks.losses import LOSSES, Loss, LossName
from rfm.networks.network import Network, Parameters, State
from rfm.networks.records import Measured, Record
from rfm.precision import warn
from rfm.sample import Sample, checked_sample
from rfm.source import Rows, Source, TableRows, members_at
from theory.checks import Clock, check_choice, check_count, check_steps, check_type, untraced
from theory.classes import Classes
from theory.linalg import as_matrix, on_device

STEPS_A_CALL = 200
"""Between two signs of progress."""
MEASURED_BATCHES = 16
"""Of mixtures that stand for all, where the loss and its gradient are measured."""
KERNEL_ROWS = 8
"""Test rows on which the tangent kernel is compared with that at the start."""
MEASURED_SEED = 0
"""Draws the mixtures that are measured, the same ones for whichever runs."""


class Trained(NamedTuple):
    """Where training has come to, for each run; training goes on from there.

    Attributes:
        parameters: of the networks.
        state: what they keep beside.
        optimizer: its state.
        keys: of the runs.
        start: the parameters at the first step.
        step: how many steps were taken.
    """

    parameters: Parameters
    state: State
    optimizer: PyTree[Array]
    keys: Array
    start: Parameters
    step: int


class NetworkRuns(eqx.Module):
    """Several runs of one network. Made by `train`.

    Attributes:
        steps: at which they were recorded.
        test_risk: the mean loss of test rows; of squared loss, that of |f - y|^2 without the half.
        error_rate: the share of test rows whose class is wrong; None of numbers.
        train_loss: of the originals, as trained.
        mixed_loss: of what is trained on: all rows of a table, or many mixtures that are the same at all times.
        gradient_norm: of that loss.
        distance: of the parameters from the start, over the norm of the start.
        alignment: the cosine between the tangent kernel on a few test rows and that at the start.
        trained: where training has come to.
        diverged_at: the step by which some loss was no number any more, which is not recorded; None if none was.
    """

    steps: Int[np.ndarray, "times"]
    test_risk: Float[np.ndarray, "runs times"]
    error_rate: Float[np.ndarray, "runs times"] | None
    train_loss: Float[np.ndarray, "runs times"]
    mixed_loss: Float[np.ndarray, "runs times"]
    gradient_norm: Float[np.ndarray, "runs times"]
    distance: Float[np.ndarray, "runs times"]
    alignment: Float[np.ndarray, "runs times"]
    trained: Trained
    diverged_at: int | None


@untraced
def train(
    network: Network,
    sample: Sample,
    law: Law,
    *,
    batches: theory.Batches,
    optimizer: Any,
    steps: Clock,
    test: Sample,
    keys: Sequence[PRNGKeyArray] | None = None,
    start: Trained | None = None,
    loss: LossName = "squared",
    progress: Callable[[int], object] | None = None,
) -> NetworkRuns:
    """Trains a network on batches of a law's rows, one run a key.

    Args:
        network: what is trained.
        sample: the originals, one row each; labels are columns, for cross-entropy one-hot ones.
        law: ``Mixup(..., pairs="expected")`` for fresh mixtures at every step, a law with a table, or ``ERM()``.
        batches: how they are drawn.
        optimizer: an optax transformation, such as ``optax.sgd(0.1, momentum=0.9)``.
        steps: at which to record, ascending, counted from the first step of all.
        test: rows that are held out, labelled as the sample is.
        keys: one a run: it draws parameters and batches.
        start: go on from there, in the place of keys; the optimizer must be of the same kind.
        loss: ``squared``, half of the sum over targets as in the theory, or ``cross-entropy``.
        progress: called with the steps just done, of all runs together.

    Raises:
        ValueError: a network of other outputs, keys and a start, steps before the start, labels that are no
            probabilities for cross-entropy.

    Warns:
        UserWarning: a loss is no number any more; what was recorded before is returned.

    >>> import optax
    >>> from rfm.networks import MLP, Network
    >>> network = Network.of_module(lambda key: MLP((2, 8, 1), key=key))
    >>> sample, test = (rfm.Sample(x, x[:, :1], None) for x in (jnp.eye(2), -jnp.eye(2)))
    >>> runs = train(network, sample, rfm.ERM(), batches=rfm.Batches(2), optimizer=optax.sgd(0.1), steps=[0, 50],
    ...              test=test, keys=[jax.random.key(0)])
    >>> bool(runs.train_loss[0, 1] < 0.1 * runs.train_loss[0, 0])
    True
    """
    sample, test = checked_sample(sample), checked_sample(test)
    labels, goals = as_matrix(sample.labels), as_matrix(test.labels)
    check_type("network", network, Network, "an rfm.networks.Network, such as Network.of_module makes of a module")
    check_type("batches", batches, theory.Batches, "rfm.Batches(size)")
    check_choice("loss", loss, LOSSES)
    LOSSES[loss].check(labels)
    LOSSES[loss].check(goals)
    recorded = check_steps(steps).astype(int)
    source = source_of(sample, law)
    source.check(batches)
    if (keys is None) == (start is None):
        raise ValueError("keys, start: pass one of them: keys to begin, or where earlier runs have come to")
    begun = _begun(network, optimizer, keys) if start is None else start
    network.check(sample.inputs.shape[1], labels.shape[1], begun.keys[0])
    network.check_fits(begun.parameters)
    if recorded[0] < begun.step:
        raise ValueError(f"steps: {recorded[0]} is before {begun.step}, where training goes on from; pass later ones")
    measured = Measured(
        network=network, loss=LOSSES[loss], mixtures=_mixtures(source, batches),
        originals=(sample.inputs, labels), test=(test.inputs, goals), classes=Classes.of(goals),
        kernel_rows=test.inputs[:KERNEL_ROWS], block=batches.size,
    )  # fmt: skip
    training = _Training(network, source, batches, optimizer, LOSSES[loss])
    at_start = measured.kernels(begun.start, begun.state)
    records: list[Record] = []
    diverged = None
    for step in recorded:
        while begun.step < step:
            count = int(min(step - begun.step, STEPS_A_CALL))
            begun = training.advanced(begun, count)
            if progress is not None:
                progress(count * len(begun.keys))
        record = measured(begun.parameters, begun.state, begun.start, at_start)
        if not np.all(np.isfinite(record.mixed_loss)):
            diverged = int(step)
            warn(f"training diverged: a loss is no number at step {step}; the record ends before it", UserWarning)
            break
        records.append(record)
    if not records:
        raise ValueError("optimizer: the loss is no number at the first step that is recorded; pass smaller steps")
    columns: dict[str, Any] = {
        name: None if column[0] is None else np.stack(column, axis=1)
        for name, column in zip(Record._fields, zip(*records, strict=True), strict=True)
    }
    return NetworkRuns(steps=recorded[: len(records)], **columns, trained=begun, diverged_at=diverged)


def source_of(sample: Sample, law: Law) -> Source:
    """What a law makes of a sample, to draw batches from: fresh mixtures, or the rows of a table."""
    check_type("law", law, Law, "rfm.Mixup(...) or rfm.ERM()")
    check_count(f"num_samples (for {law})", len(sample.inputs), least=law.fewest_samples)
    law, labels = law.on(sample), as_matrix(sample.labels)
    if isinstance(law, Mixup) and law.is_expected:
        nodes = ratio_quadrature(law, sample.inputs, as_they_are, None, num_ratios=1)  # drawing needs none
        return FreshPairs(Sample(sample.inputs, labels, None), labels, as_they_are, law, nodes)
    (table,) = law.tables(len(labels), law.num_rows(len(labels)))
    return TableRows(table.mix(sample.inputs), table.mix_labels(labels), labels.shape[1])


def _mixtures(source: Source, batches: theory.Batches) -> Rows:
    """All rows of a table, or many mixtures drawn once."""
    if isinstance(source, TableRows):
        return source.features, source.columns
    return source.draw(jax.random.key(MEASURED_SEED), theory.Batches(MEASURED_BATCHES * batches.size))


def _begun(network: Network, optimizer: Any, keys: Sequence[PRNGKeyArray] | None) -> Trained:
    """Parameters, states and optimizers of all runs, side by side."""
    check_keys("keys", keys, "run")
    both = [jax.random.split(key) for key in keys or ()]
    parameters, state = jax.vmap(network.init)(jnp.stack([pair[0] for pair in both]))
    optimizers = jax.vmap(optimizer.init)(parameters)
    return Trained(parameters, state, optimizers, jnp.stack([pair[1] for pair in both]), parameters, 0)


class _Training(eqx.Module):
    """Steps of all runs."""

    network: Network
    source: Source
    batches: theory.Batches
    optimizer: Any
    loss: Loss

    def advanced(self, trained: Trained, count: int) -> Trained:
        """So many steps on."""
        moved = self._advanced(trained[:3], trained.keys, on_device(trained.step), on_device(count))
        jax.block_until_ready(moved)
        return trained._replace(**dict(zip(Trained._fields, moved, strict=False)), step=trained.step + count)

    @eqx.filter_jit
    def _advanced(self, moved: tuple, keys: Array, done: Array, count: Array) -> tuple:
        return jax.lax.fori_loop(
            done,
            done + count,
            lambda step, now: jax.vmap(lambda one, key: self._step(one, key, step))(now, keys),
            moved,
        )

    def _step(self, now: tuple, key: PRNGKeyArray, step: Array) -> tuple:
        parameters, state, optimizer = now
        members = members_at(key, step, self.batches, self.source.num_members)
        rows, labels = self.source.draw(jax.random.fold_in(key, step), self.batches, members)

        def mean_loss(parameters: Parameters) -> tuple[Array, State]:
            outputs, after = self.network.apply(parameters, state, rows, True)
            return jnp.mean(self.loss(outputs, labels)), after

        gradient, state = eqx.filter_grad(mean_loss, has_aux=True)(parameters)
        updates, optimizer = self.optimizer.update(gradient, optimizer, parameters)
        return eqx.apply_updates(parameters, updates), state, optimizer
