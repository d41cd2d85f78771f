"""What is recorded of networks in training, of all runs at one time."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from rfm.networks.losses import Loss
from rfm.networks.network import Network, Parameters, State
from theory.classes import Classes

Labelled = tuple[Float[Array, "_ inputs"], Float[Array, "_ targets"]]


class Record(NamedTuple):
    """Of each run; see `rfm.networks.NetworkRuns`."""

    test_risk: Float[Array, "*runs"]
    error_rate: Float[Array, "*runs"] | None
    train_loss: Float[Array, "*runs"]
    mixed_loss: Float[Array, "*runs"]
    gradient_norm: Float[Array, "*runs"]
    distance: Float[Array, "*runs"]
    alignment: Float[Array, "*runs"]


class Measured(eqx.Module):
    """On what runs are measured.

    Attributes:
        mixtures: rows that stand for all that is trained on.
        originals: of which they are mixed.
        test: rows that are held out.
        classes: of the test rows; None of numbers.
        kernel_rows: on which tangent kernels are compared.
        block: rows that are looked at together.
    """

    network: Network
    loss: Loss
    mixtures: Labelled
    originals: Labelled
    test: Labelled
    classes: Classes | None
    kernel_rows: Float[Array, "few inputs"]
    block: int = eqx.field(static=True)

    @eqx.filter_jit
    def __call__(self, parameters: Parameters, state: State, start: Parameters, at_start: Array) -> Record:
        """Of runs side by side."""
        return jax.vmap(self._of_run)(parameters, state, start, at_start)

    @eqx.filter_jit
    def kernels(self, parameters: Parameters, state: State) -> Float[Array, "runs few few"]:
        """The tangent kernels of runs side by side."""
        return jax.vmap(self._kernel)(parameters, state)

    def _of_run(self, parameters: Parameters, state: State, start: Parameters, at_start: Array) -> Record:
        outputs = in_blocks(lambda rows: self.network.outputs(parameters, state, rows), self.test[0], self.block)
        mixed, gradient = jax.value_and_grad(lambda weights: self._mean_loss(weights, state, self.mixtures))(parameters)
        moved = jax.tree.map(jnp.subtract, parameters, start)
        kernel = self._kernel(parameters, state)
        overlap = jnp.sum(kernel * at_start) / jnp.sqrt(jnp.sum(kernel**2) * jnp.sum(at_start**2))
        return Record(
            test_risk=jnp.mean(self.loss.risk(outputs, self.test[1])),
            error_rate=None if self.classes is None else jnp.mean(self.classes.wrong(outputs[:, None, :])),
            train_loss=self._mean_loss(parameters, state, self.originals),
            mixed_loss=mixed,
            gradient_norm=jnp.sqrt(squared_norm(gradient)),
            distance=jnp.sqrt(squared_norm(moved) / squared_norm(start)),
            alignment=overlap,
        )

    def _mean_loss(self, parameters: Parameters, state: State, labelled: Labelled) -> Float[Array, ""]:
        def of_rows(rows: Labelled) -> Float[Array, "rows"]:
            return self.loss(self.network.outputs(parameters, state, rows[0]), rows[1])

        return jnp.mean(in_blocks(of_rows, labelled, self.block))

    def _kernel(self, parameters: Parameters, state: State) -> Float[Array, "few few"]:
        """The tangent kernel summed over outputs, one output after the other."""

        def of_output(index: Array) -> Array:
            slopes = jax.vmap(
                jax.grad(lambda weights, row: self.network.outputs(weights, state, row[None])[0, index]), (None, 0)
            )(parameters, self.kernel_rows)
            flat = [leaf.reshape(len(leaf), -1) for leaf in jax.tree.leaves(slopes)]
            return sum(leaf @ leaf.T for leaf in flat)

        number = self.test[1].shape[1]
        return jnp.sum(jax.lax.map(of_output, jnp.arange(number)), axis=0)


def in_blocks(function: Callable[[Any], Array], rows: Any, block: int) -> Array:
    """What a function of rows gives, so many rows at a time.

    >>> in_blocks(lambda rows: 2 * rows, jnp.arange(5), 2).tolist()
    [0, 2, 4, 6, 8]
    """
    number = len(jax.tree.leaves(rows)[0])
    whole = number // block * block
    pieces = []
    if whole:
        blocks = jax.tree.map(lambda leaf: leaf[:whole].reshape(-1, block, *leaf.shape[1:]), rows)
        found = jax.lax.map(function, blocks)
        pieces.append(found.reshape(-1, *found.shape[2:]))
    if whole < number:
        pieces.append(function(jax.tree.map(lambda leaf: leaf[whole:], rows)))
    return jnp.concatenate(pieces)


def squared_norm(tree: PyTree[Array]) -> Float[Array, ""]:
    """The sum of the squares of all numbers.

    >>> squared_norm({"a": jnp.ones(3), "b": jnp.asarray([2.0])}).item()
    7.0
    """
    return sum((jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree)), jnp.zeros(()))
