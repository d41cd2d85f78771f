"""Training networks: a linear network against the theory's own training, and what a record must not depend on."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rfm
from rfm.networks import MLP, Network, NetworkRuns, train
from rfm.networks.losses import Squared
from rfm.networks.records import Measured, Record
from tests.tolerances import IDENTITY, ORACLE

KEYS = [jax.random.key(3), jax.random.key(4)]
RNG = np.random.default_rng(0)
X, TEST_X = RNG.normal(size=(12, 3)), RNG.normal(size=(7, 3))
Y, TEST_Y = np.sin(X[:, :2]), np.sin(TEST_X[:, :2])
SAMPLE, TEST = (rfm.Sample(jnp.asarray(x), jnp.asarray(y), None) for x, y in ((X, Y), (TEST_X, TEST_Y)))
STEPS = [0, 1, 30, 90]
MIXUP = rfm.Mixup(alpha=1.0, pairs="expected")
ETA = 0.05
BATCHES = {
    "pairs": rfm.Batches(5),
    "one ratio": rfm.Batches(5, shared_ratio=True),
    "permuted": rfm.Batches(5, "permuted"),
    "epochs": rfm.Batches(4, "rolled", epochs=True),
}


def _linear(key: jax.Array) -> tuple[jax.Array, None]:
    return jnp.zeros((3, 2)), None


LINEAR = Network(_linear, lambda weights, state, rows, trained: (rows @ weights, state))
HIDDEN = Network.of_module(lambda key: MLP((3, 6, 2), activation="tanh", key=key))


def run(network: Network = LINEAR, law: rfm.mixup.Law = MIXUP, **changes: Any) -> NetworkRuns:
    usual = {"batches": rfm.Batches(5), "optimizer": optax.sgd(ETA), "steps": STEPS, "test": TEST, "keys": KEYS}
    return train(network, SAMPLE, law, **(usual | changes))


@pytest.mark.parametrize(
    "name", ["pairs", *(pytest.param(name, marks=pytest.mark.slow) for name in BATCHES if name != "pairs")]
)
def test_a_linear_network_is_trained_as_the_theory_trains(name: str) -> None:
    batches, population = BATCHES[name], rfm.TestSet(TEST_X, TEST_Y)
    problem = rfm.expected_mixup(SAMPLE, lambda x: x, MIXUP, population=population)
    wanted = rfm.simulate_minibatch(problem, batches, step_size=ETA, steps=STEPS, keys=KEYS)
    found = run(batches=batches)
    assert np.allclose(found.test_risk, wanted.parts.risk.sum(axis=2), rtol=ORACLE)
    assert np.allclose(found.trained.parameters, wanted.weights[:, -1], rtol=ORACLE)


def test_without_mixing_all_rows_at_once_are_plain_gradient_descent() -> None:
    problem = rfm.Problem(X, Y, population=rfm.TestSet(TEST_X, TEST_Y))
    curve = rfm.simulate(problem, step_size=ETA, steps=STEPS)
    found = run(law=rfm.ERM(), batches=rfm.Batches(12, epochs=True))
    assert np.allclose(found.test_risk, np.asarray(curve.risk)[None, :], rtol=ORACLE)
    assert np.allclose(found.mixed_loss, np.asarray(curve.train_loss)[None, :], rtol=ORACLE)
    assert np.array_equal(found.mixed_loss, found.train_loss)
    weights = np.asarray(found.trained.parameters[0])
    assert np.isclose(found.gradient_norm[0, -1], np.linalg.norm(X.T @ (X @ weights - Y) / 12), rtol=ORACLE)


def test_a_table_of_pairs_is_trained_on_as_it_stands() -> None:
    law = rfm.Mixup(lam=0.3)
    table = rfm.synthesize(SAMPLE, lambda x: x, law, population=rfm.TestSet(TEST_X, TEST_Y))
    curve = rfm.simulate(table, step_size=ETA, steps=STEPS)
    found = run(law=law, batches=rfm.Batches(144, epochs=True))
    assert np.allclose(found.test_risk[0], curve.risk, rtol=ORACLE)


def test_a_run_is_the_same_however_it_is_recorded_and_wherever_it_goes_on_from() -> None:
    optimizer = optax.sgd(optax.cosine_decay_schedule(ETA, 200), momentum=0.9)
    once = run(HIDDEN, optimizer=optimizer, steps=[90])
    often = run(HIDDEN, optimizer=optimizer)
    half = run(HIDDEN, optimizer=optimizer, steps=[0, 33])
    rest = run(HIDDEN, optimizer=optimizer, steps=[90], start=half.trained, keys=None)
    for other in (often, rest):
        assert eqx.tree_equal(other.trained, once.trained)
        assert np.array_equal(other.test_risk[:, -1], once.test_risk[:, -1])
        assert np.array_equal(other.distance[:, -1], once.distance[:, -1])


def test_a_run_does_not_depend_on_those_beside_it() -> None:
    both, alone = run(HIDDEN), run(HIDDEN, keys=KEYS[1:])
    for name in ("test_risk", "train_loss", "mixed_loss", "gradient_norm", "distance", "alignment"):
        assert np.allclose(getattr(both, name)[1], getattr(alone, name)[0], rtol=ORACLE), name
    assert not np.allclose(both.test_risk[0], alone.test_risk[0], rtol=ORACLE)


def test_mixup_may_be_switched_off() -> None:
    mixed = run(HIDDEN, steps=[30])
    switched = run(HIDDEN, rfm.ERM(), steps=[30, 60], start=mixed.trained, keys=None)
    assert np.array_equal(switched.test_risk[:, 0], mixed.test_risk[:, 0])
    assert not np.array_equal(switched.trained.parameters, mixed.trained.parameters)


def test_what_is_recorded_is_what_it_says() -> None:
    found = run(HIDDEN, steps=[0, 40])
    parameters = jax.tree.map(lambda leaf: leaf[0], found.trained.parameters)
    start = jax.tree.map(lambda leaf: leaf[0], found.trained.start)
    flat, begun = (jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(tree)]) for tree in (parameters, start))
    assert np.isclose(found.distance[0, 1], jnp.linalg.norm(flat - begun) / jnp.linalg.norm(begun), rtol=ORACLE)
    assert np.allclose(found.distance[:, 0], 0, atol=IDENTITY)
    assert np.allclose(found.alignment[:, 0], 1, rtol=IDENTITY)
    outputs = HIDDEN.outputs(parameters, None, TEST.inputs)
    assert np.isclose(found.test_risk[0, 1], np.mean(np.sum((outputs - TEST_Y) ** 2, axis=1)), rtol=ORACLE)

    def kernel(tree: Any) -> np.ndarray:
        slopes = jax.jacrev(lambda weights: HIDDEN.outputs(weights, None, TEST.inputs))(tree)
        rows = np.concatenate([np.asarray(leaf).reshape(7, 2, -1) for leaf in jax.tree.leaves(slopes)], axis=2)
        return np.einsum("ikp,jkp->ij", rows, rows)

    here, there = kernel(parameters), kernel(start)
    cosine = np.sum(here * there) / np.sqrt(np.sum(here**2) * np.sum(there**2))
    assert np.isclose(found.alignment[0, 1], cosine, rtol=ORACLE)
    assert cosine < 1 - 1e-6


def test_classes_are_told_by_the_largest_output() -> None:
    codes = RNG.integers(0, 3, 12), RNG.integers(0, 3, 7)
    sample, test = (
        rfm.Sample(jnp.asarray(x), jnp.eye(3)[code], None) for x, code in zip((X, TEST_X), codes, strict=True)
    )
    network = Network.of_module(lambda key: MLP((3, 6, 3), key=key))
    found = train(
        network, sample, MIXUP, batches=rfm.Batches(5), optimizer=optax.sgd(0.1), steps=[50], test=test,
        keys=KEYS, loss="cross-entropy",
    )  # fmt: skip
    for index in range(2):
        outputs = network.outputs(
            jax.tree.map(lambda leaf, i=index: leaf[i], found.trained.parameters), None, test.inputs
        )
        assert np.isclose(
            found.error_rate[index, 0], np.mean(np.asarray(outputs).argmax(axis=1) != codes[1]), rtol=IDENTITY
        )
        wanted = optax.softmax_cross_entropy(outputs, test.labels).mean()
        assert np.isclose(found.test_risk[index, 0], wanted, rtol=ORACLE)


@pytest.mark.slow
def test_the_gradient_of_the_whole_loss_vanishes_without_mixup_and_not_with_it() -> None:
    wide = Network.of_module(lambda key: MLP((3, 64, 2), key=key))
    plain = run(wide, rfm.ERM(), steps=[0, 20_000], batches=rfm.Batches(12, epochs=True), optimizer=optax.sgd(0.1))
    mixed = run(wide, steps=[0, 20_000], optimizer=optax.sgd(0.1))
    assert np.all(plain.gradient_norm[:, 1] < 1e-2 * plain.gradient_norm[:, 0])
    assert np.all(mixed.gradient_norm[:, 1] > 10 * plain.gradient_norm[:, 1])


def test_training_that_diverges_keeps_what_was_recorded() -> None:
    with pytest.warns(UserWarning, match="training diverged: a loss is no number at step"):
        found = run(optimizer=optax.sgd(1e4), steps=[0, 1, 2, 200, 400])
    assert found.diverged_at == 200
    assert found.steps.tolist() == [0, 1, 2]
    assert found.test_risk.shape == (2, 3)


def test_rows_are_measured_in_blocks_to_rounding() -> None:
    originals, test = ((sample.inputs, sample.labels) for sample in (SAMPLE, TEST))
    parameters, state = jax.vmap(HIDDEN.init)(jnp.stack(KEYS))

    def record(block: int) -> Record:
        measured = Measured(
            network=HIDDEN, loss=Squared(), mixtures=originals, originals=originals, test=test, classes=None,
            kernel_rows=TEST.inputs[:2], block=block,
        )  # fmt: skip
        return measured(parameters, state, parameters, measured.kernels(parameters, state))

    few, many = record(3), record(100)
    for one, other in zip(few, many, strict=True):
        assert one is None or np.allclose(one, other, rtol=ORACLE, atol=ORACLE)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start": None, "keys": None}, r"^keys, start: pass one of them"),
        ({"loss": "cross-entropy"}, r"^labels: cross-entropy is of probabilities, one column a class"),
        (
            {"network": Network.of_module(lambda key: MLP((3, 4), key=key))},
            r"^network: gives outputs of shape \(2, 4\)",
        ),
        ({"network": Network.of_module(lambda key: MLP((5, 2), key=key))}, r"^network: takes no rows of 3 inputs"),
        ({"batches": rfm.Batches(20, "permuted")}, r"^batches: 20 different originals asked for"),
        ({"keys": []}, r"^keys: there is none"),
        ({"steps": [5, 1]}, r"^steps: "),
    ],
)
def test_what_cannot_be_trained_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        run(**changes)


def test_training_goes_on_with_the_same_network_only() -> None:
    begun = run(HIDDEN, steps=[0]).trained
    with pytest.raises(ValueError, match=r"^start: holds the parameters of another network, {'.layers\[0\].weights'"):
        run(Network.of_module(lambda key: MLP((3, 7, 2), key=key)), start=begun, keys=None)
    with pytest.raises(ValueError, match=r"^steps: 0 is before 5, where training goes on from; pass later ones"):
        run(HIDDEN, start=begun._replace(step=5), keys=None)


def test_a_module_without_parameters_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^make: .* has no parameters, so nothing trains"):
        Network.of_module(lambda key: eqx.nn.Identity())
