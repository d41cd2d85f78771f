"""Networks to begin with: multilayer perceptrons and a small convolutional one, as equinox modules of one row."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from theory import dual
from theory.checks import check_choice, check_count
from theory.duals import activation as activation_named
from theory.duals.activations import Activation

Parametrisation = Literal["standard", "ntk"]
PARAMETRISATIONS = ("standard", "ntk")


def gain(activation: str | Activation) -> float:
    """What a normal weight's variance is over the number of its inputs, so that signals keep their size: 1/E s(z)^2.

    Of relu, 2 (He et al. 2015); z is standard normal.

    >>> round(gain("relu"), 6), round(gain("identity"), 6)
    (2.0, 1.0)
    """
    with jax.ensure_compile_time_eval():  # networks are made inside of compiled programs too
        return 1 / float(dual(activation, jnp.ones((1, 1)))[0, 0])


class Dense(eqx.Module):
    """s W x + b, of normal weights W.

    Attributes:
        weights: of variance scale^2 and s = 1 (standard), or of variance 1 and s = scale (ntk), so that a step of a
            given size moves a wide layer's outputs no more than a narrow one's (Jacot et al. 2018).
        biases: zero at the start.
        scale: the root of the gain over the number of inputs; zero weights have it too.
    """

    weights: Float[Array, "outputs inputs"]
    biases: Float[Array, "outputs"]
    scale: float = eqx.field(static=True)

    def __init__(
        self,
        num_inputs: int,
        num_outputs: int,
        *,
        gain: float = 1.0,
        parametrisation: Parametrisation = "standard",
        zero: bool = False,
        key: PRNGKeyArray,
    ) -> None:
        scale = (gain / num_inputs) ** 0.5
        drawn = jnp.zeros((num_outputs, num_inputs)) if zero else jax.random.normal(key, (num_outputs, num_inputs))
        self.weights = drawn * scale if parametrisation == "standard" else drawn
        self.biases = jnp.zeros(num_outputs)
        self.scale = 1.0 if parametrisation == "standard" else scale

    def __call__(self, row: Float[Array, "inputs"]) -> Float[Array, "outputs"]:
        return self.scale * (self.weights @ row) + self.biases


class MLP(eqx.Module):
    """A multilayer perceptron of one row.

    Args:
        widths: of inputs, hidden layers and outputs.
        activation: of hidden layers: a name of `theory.duals.ACTIVATIONS`, or any elementwise callable.
        parametrisation: ``standard`` or ``ntk``; see `Dense`.
        zero_last: the last layer starts at zero, and so do the outputs.
        key: draws the weights.

    Raises:
        ValueError: fewer than two widths, a width below 1, an unknown name.

    >>> mlp = MLP((3, 8, 2), key=jax.random.key(0))
    >>> mlp(jnp.ones(3)).shape
    (2,)
    """

    layers: tuple[Dense, ...]
    activation: Activation = eqx.field(static=True)

    def __init__(
        self,
        widths: Sequence[int],
        *,
        activation: str | Activation = "relu",
        parametrisation: Parametrisation = "standard",
        zero_last: bool = False,
        key: PRNGKeyArray,
    ) -> None:
        check_count("widths (how many)", len(widths), least=2)
        for width in widths:
            check_count("widths", width)
        check_choice("parametrisation", parametrisation, PARAMETRISATIONS)
        hidden, last = gain(activation), len(widths) - 2
        self.layers = tuple(
            Dense(
                *pair, gain=hidden if index else 1.0, parametrisation=parametrisation,
                zero=zero_last and index == last, key=jax.random.fold_in(key, index),
            )
            for index, pair in enumerate(pairwise(widths))
        )  # fmt: skip
        self.activation = activation_named(activation)

    def __call__(self, row: Float[Array, "inputs"]) -> Float[Array, "outputs"]:
        for layer in self.layers[:-1]:
            row = self.activation(layer(row))
        return self.layers[-1](row)


class ConvNet(eqx.Module):
    """Convolutions of 3 x 3 with strides of 2, the mean over what is left of the image, and a dense layer.

    Args:
        image_shape: rows, columns and channels of an image; a row of inputs is one, flattened.
        channels: of each convolution.
        num_outputs: of the network.
        activation: as for `MLP`.
        zero_last: the last layer starts at zero.
        key: draws the weights.

    >>> network = ConvNet((8, 8, 1), (4, 8), 10, key=jax.random.key(0))
    >>> network(jnp.ones(64)).shape
    (10,)
    """

    convolutions: tuple[eqx.nn.Conv2d, ...]
    last: Dense
    image_shape: tuple[int, int, int] = eqx.field(static=True)
    activation: Activation = eqx.field(static=True)

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        channels: Sequence[int],
        num_outputs: int,
        *,
        activation: str | Activation = "relu",
        zero_last: bool = False,
        key: PRNGKeyArray,
    ) -> None:
        check_count("image_shape (axes)", len(image_shape), least=3)
        check_count("channels (how many)", len(channels))
        factor, sizes = gain(activation), (image_shape[2], *channels)
        self.convolutions = tuple(
            normal_convolution(*pair, 3, stride=2, gain=factor if index else 1.0, key=jax.random.fold_in(key, index))
            for index, pair in enumerate(pairwise(sizes))
        )
        self.last = Dense(channels[-1], num_outputs, zero=zero_last, key=jax.random.fold_in(key, len(channels)))
        self.image_shape, self.activation = image_shape, activation_named(activation)

    def __call__(self, row: Float[Array, "inputs"]) -> Float[Array, "outputs"]:
        image = as_image(row, self.image_shape)
        for convolution in self.convolutions:
            image = self.activation(convolution(image))
        return self.last(jnp.mean(image, axis=(1, 2)))


def as_image(row: Float[Array, "inputs"], shape: tuple[int, int, int]) -> Float[Array, "channels rows columns"]:
    """A flattened image with its channels first, as convolutions take it.

    >>> as_image(jnp.arange(8.0), (2, 2, 2))[0].tolist()
    [[0.0, 2.0], [4.0, 6.0]]
    """
    if row.size != prod(shape):
        raise ValueError(f"image_shape: {shape} is {prod(shape)} numbers, and a row has {row.size}; pass its own shape")
    return jnp.transpose(row.reshape(shape), (2, 0, 1))


def normal_convolution(
    num_inputs: int, num_outputs: int, size: int, *, stride: int = 1, gain: float, key: PRNGKeyArray
) -> eqx.nn.Conv2d:
    """Of normal weights of variance gain over a patch's numbers, without biases; it keeps an image's size / stride."""
    padding = (size - 1) // 2
    made = eqx.nn.Conv2d(num_inputs, num_outputs, size, stride, padding, use_bias=False, key=key)
    scale = np.sqrt(gain / (num_inputs * size**2))
    return eqx.tree_at(lambda conv: conv.weight, made, scale * jax.random.normal(key, made.weight.shape))
