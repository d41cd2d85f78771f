"""The networks that come along: how they start, that they see whole images, and what normalisation keeps."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rfm
from rfm.networks import MLP, ConvNet, Network, ResNet18, num_parameters, train
from rfm.networks.modules import as_image, gain
from tests.tolerances import IDENTITY, ORACLE

KEY = jax.random.key(0)
ROWS = jax.random.normal(jax.random.key(1), (4, 75))
SHAPE = (5, 5, 3)


def test_both_parametrisations_start_from_the_same_function() -> None:
    standard, ntk = (MLP((6, 9, 2), parametrisation=name, key=KEY) for name in ("standard", "ntk"))
    assert np.allclose(standard(ROWS[0, :6]), ntk(ROWS[0, :6]), rtol=ORACLE)
    assert np.allclose(standard.layers[1].weights, ntk.layers[1].weights * (2 / 9) ** 0.5, rtol=IDENTITY)


@pytest.mark.parametrize("activation", ["relu", "tanh", "erf"])
def test_signals_keep_their_size_through_layers(activation: str) -> None:
    widths = (400, *[400] * 4, 200)
    mlp = MLP(widths, activation=activation, key=KEY)
    row = jax.random.normal(jax.random.key(2), (400,))
    signal, powers = row, []
    for layer in mlp.layers[:-1]:
        preactivations = layer(signal)
        signal = mlp.activation(preactivations)
        powers.append(float(jnp.mean(preactivations**2)))
    # Each is a mean of 400 squares about one, of which the former layers' are inherited.
    assert np.all(np.abs(np.asarray(powers) - 1) < 5 * (2 * len(powers) / 400) ** 0.5)
    assert gain("relu") == pytest.approx(2, rel=IDENTITY)


def test_a_step_moves_wide_networks_of_ntk_parametrisation_as_far_as_narrow_ones() -> None:
    def slope(width: int, parametrisation: str) -> float:
        """The tangent kernel at one row."""
        mlp = MLP((6, width, 1), parametrisation=parametrisation, key=KEY)
        gradient = eqx.filter_grad(lambda module: module(ROWS[0, :6])[0])(mlp)
        return float(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(gradient)))

    assert slope(4096, "ntk") / slope(256, "ntk") == pytest.approx(1, abs=0.3)
    assert slope(4096, "standard") / slope(256, "standard") > 8


def test_a_last_layer_of_zeros_says_nothing() -> None:
    for network in (MLP((75, 8, 2), zero_last=True, key=KEY), ConvNet(SHAPE, (4,), 2, zero_last=True, key=KEY)):
        assert network(ROWS[0]).tolist() == [0, 0]


def test_a_flattened_image_has_its_channels_first() -> None:
    image = np.arange(24.0).reshape(2, 4, 3)
    assert np.array_equal(as_image(jnp.asarray(image.ravel()), (2, 4, 3)), np.moveaxis(image, 2, 0))
    with pytest.raises(ValueError, match=r"^image_shape: \(5, 5, 3\) is 75 numbers, and a row has 24; pass its own"):
        as_image(jnp.zeros(24), SHAPE)


def test_a_convolutional_network_sees_every_pixel() -> None:
    network = ConvNet(SHAPE, (6, 8), 2, activation="tanh", key=KEY)
    slopes = jax.jacrev(network)(ROWS[0])
    assert slopes.shape == (2, 75)
    assert np.all(np.abs(slopes).sum(axis=0) > 0)


@pytest.mark.slow
def test_a_residual_network_has_eighteen_layers_of_weights() -> None:
    make = eqx.nn.make_with_state(ResNet18)
    network = Network.of_module(lambda key: make((8, 8, 3), 10, width=64, key=key))
    parameters, _ = eqx.filter_eval_shape(network.init, KEY)
    leaves = jax.tree.leaves(parameters)
    convolutions = [leaf for leaf in leaves if leaf.ndim == 4]
    assert len([leaf for leaf in convolutions if leaf.shape[-1] == 3]) + 1 == 18  # and the last layer
    assert len([leaf for leaf in convolutions if leaf.shape[-1] == 1]) == 3
    # 11 173 962 of ResNet-18 with 10 outputs and this stem, as is well known.
    assert num_parameters(parameters) == 11_173_962


@pytest.mark.slow
def test_residual_networks_keep_running_means_for_rows_that_they_are_not_trained_on() -> None:
    make = eqx.nn.make_with_state(ResNet18)
    network = Network.of_module(lambda key: make(SHAPE, 2, width=4, normalisation="batch", key=key))
    sample = rfm.Sample(ROWS, jnp.eye(2)[jnp.arange(4) % 2], None)
    found = train(
        network, sample, rfm.Mixup(alpha=1.0, pairs="expected"), batches=rfm.Batches(4, "permuted"),
        optimizer=optax.sgd(0.02, momentum=0.9), steps=[9], test=sample, keys=[KEY], loss="cross-entropy",
    )  # fmt: skip
    parameters, state = (jax.tree.map(lambda leaf: leaf[0], tree) for tree in found.trained[:2])
    now, start = (jax.tree.leaves(each) for each in (state, network.init(KEY)[1]))
    assert any(not np.array_equal(*pair) for pair in zip(now, start, strict=True))
    all_rows, first = (network.outputs(parameters, state, rows) for rows in (ROWS, ROWS[:1]))
    assert np.allclose(all_rows[:1], first, rtol=ORACLE, atol=ORACLE)
    in_training = network.apply(parameters, state, ROWS, True)[0]
    assert not np.allclose(in_training, all_rows, rtol=1e-2)


def test_groups_of_channels_need_no_other_rows() -> None:
    network, state = eqx.nn.make_with_state(ResNet18)(SHAPE, 2, width=4, key=KEY)
    assert not jax.tree.leaves(state)
    assert eqx.filter_eval_shape(network, ROWS[0], state)[0].shape == (2,)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MLP((3,), key=KEY), r"^widths \(how many\): must be a whole number of at least 2, got 1"),
        (lambda: MLP((3, 0, 1), key=KEY), r"^widths: must be a whole number of at least 1, got 0"),
        (lambda: MLP((3, 4, 1), activation="rlu", key=KEY), r"^activation: 'rlu'"),
        (lambda: ConvNet(SHAPE, (), 2, key=KEY), r"^channels \(how many\): "),
    ],
)
def test_networks_that_cannot_be_are_refused(make, message) -> None:
    with pytest.raises(ValueError, match=message):
        make()
