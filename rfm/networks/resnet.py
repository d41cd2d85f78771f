"""ResNet-18 with the stem that is usual for CIFAR: a convolution of 3 x 3, and no pooling (He et al. 2016)."""

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from rfm.networks.modules import Dense, as_image, normal_convolution
from theory.checks import check_choice

Normalisation = Literal["group", "batch"]
GROUPS = 8
STAGES = (1, 2, 4, 8)
"""Channels of the four stages, over those of the first; each has two blocks."""


class _Norm(eqx.Module):
    """A normalisation of either kind, called alike."""

    layer: eqx.nn.GroupNorm | eqx.nn.BatchNorm

    def __init__(self, channels: int, kind: Normalisation) -> None:
        if kind == "group":
            self.layer = eqx.nn.GroupNorm(min(GROUPS, channels), channels)
        else:
            self.layer = eqx.nn.BatchNorm(channels, axis_name="batch", mode="batch")

    def __call__(self, image: Array, state: eqx.nn.State) -> tuple[Array, eqx.nn.State]:
        if isinstance(self.layer, eqx.nn.GroupNorm):
            return self.layer(image), state
        return self.layer(image, state)


class _Block(eqx.Module):
    """Two convolutions beside a shortcut, a convolution of 1 x 1 where sizes differ."""

    convolutions: tuple[eqx.nn.Conv2d, eqx.nn.Conv2d]
    norms: tuple[_Norm, _Norm]
    shortcut: tuple[eqx.nn.Conv2d, _Norm] | None

    def __init__(self, num_inputs: int, num_outputs: int, stride: int, kind: Normalisation, key: PRNGKeyArray) -> None:
        keys = jax.random.split(key, 3)
        self.convolutions = (
            normal_convolution(num_inputs, num_outputs, 3, stride=stride, gain=2.0, key=keys[0]),
            normal_convolution(num_outputs, num_outputs, 3, gain=2.0, key=keys[1]),
        )
        self.norms = _Norm(num_outputs, kind), _Norm(num_outputs, kind)
        self.shortcut = None
        if stride != 1 or num_inputs != num_outputs:
            across = normal_convolution(num_inputs, num_outputs, 1, stride=stride, gain=1.0, key=keys[2])
            self.shortcut = across, _Norm(num_outputs, kind)

    def __call__(self, image: Array, state: eqx.nn.State) -> tuple[Array, eqx.nn.State]:
        first, second = self.convolutions
        inner, state = self.norms[0](first(image), state)
        inner, state = self.norms[1](second(jax.nn.relu(inner)), state)
        if self.shortcut is not None:
            across, norm = self.shortcut
            image, state = norm(across(image), state)
        return jax.nn.relu(image + inner), state


class ResNet18(eqx.Module):
    """ResNet-18 of one flattened image; make it with `eqx.nn.make_with_state`.

    Args:
        image_shape: rows, columns and channels of an image.
        num_outputs: of the network.
        width: channels of the first stage.
        normalisation: ``group``, over 8 groups of channels of one image, or ``batch``, with running means.
        key: draws the weights.

    >>> make = eqx.nn.make_with_state(ResNet18)
    >>> network, state = make((8, 8, 3), 10, width=8, key=jax.random.key(0))
    >>> eqx.filter_eval_shape(network, jnp.ones(192), state)[0].shape
    (10,)
    """

    stem: eqx.nn.Conv2d
    norm: _Norm
    blocks: tuple[_Block, ...]
    last: Dense
    image_shape: tuple[int, int, int] = eqx.field(static=True)

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_outputs: int,
        *,
        width: int = 64,
        normalisation: Normalisation = "group",
        key: PRNGKeyArray,
    ) -> None:
        check_choice("normalisation", normalisation, ("group", "batch"))
        keys = jax.random.split(key, 2 + 2 * len(STAGES))
        self.stem = normal_convolution(image_shape[2], width, 3, gain=2.0, key=keys[0])
        self.norm = _Norm(width, normalisation)
        blocks, before = [], width
        for stage, factor in enumerate(STAGES):
            for place in range(2):
                stride = 2 if stage and not place else 1
                blocks.append(_Block(before, factor * width, stride, normalisation, keys[1 + 2 * stage + place]))
                before = factor * width
        self.blocks = tuple(blocks)
        self.last = Dense(before, num_outputs, key=keys[-1])
        self.image_shape = image_shape

    def __call__(
        self, row: Float[Array, "inputs"], state: eqx.nn.State
    ) -> tuple[Float[Array, "outputs"], eqx.nn.State]:
        image, state = self.norm(self.stem(as_image(row, self.image_shape)), state)
        image = jax.nn.relu(image)
        for block in self.blocks:
            image, state = block(image, state)
        return self.last(jnp.mean(image, axis=(1, 2))), state
