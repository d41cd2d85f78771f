"""A network: how it starts, and what it says of rows of inputs; equinox modules, or two functions of one's own."""

from collections.abc import Callable
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from rfm.checks import check_key
from theory.checks import described

Parameters: TypeAlias = Any
"""What is trained: a tree of arrays."""
State: TypeAlias = Any
"""What a network keeps beside, such as running means: a tree of arrays, or None for nothing."""
Rows = Float[Array, "rows inputs"]
Outputs = Float[Array, "rows outputs"]


class Network(eqx.Module):
    """A network as two functions, so that any library's will do.

    Attributes:
        init: from a key to parameters and state.
        apply: from parameters, state, rows of inputs, and whether they are trained on, to a row of outputs each, and
            the state after.

    >>> def start(key):
    ...     return jnp.ones((3, 2)), None
    >>> linear = Network(start, lambda weights, state, rows, trained: (rows @ weights, state))
    >>> linear.outputs(*start(jax.random.key(0)), jnp.ones((1, 3))).tolist()
    [[3.0, 3.0]]
    """

    init: Callable[[PRNGKeyArray], tuple[Parameters, State]] = eqx.field(static=True)
    apply: Callable[[Parameters, State, Rows, bool], tuple[Outputs, State]] = eqx.field(static=True)

    @staticmethod
    def of_module(make: Callable[[PRNGKeyArray], Any]) -> "Network":
        """An equinox module of one row of inputs, made from a key; where it keeps a state, with that.

        Modules with a state are called with a row and the state, and may take means over the axis ``batch``.

        Raises:
            ValueError: a module without parameters.

        >>> network = Network.of_module(lambda key: eqx.nn.Linear(3, 2, key=key))
        >>> parameters, state = network.init(jax.random.key(0))
        >>> network.outputs(parameters, state, jnp.ones((5, 3))).shape
        (5, 2)
        """
        module, state = _with_state(make(jax.random.key(0)))
        parameters, rest = eqx.partition(module, eqx.is_inexact_array)
        if not jax.tree.leaves(parameters):
            raise ValueError(f"make: {described(module)} has no parameters, so nothing trains; pass a module with some")
        has_state = state is not None

        def init(key: PRNGKeyArray) -> tuple[Parameters, State]:
            module, state = _with_state(make(key))
            return eqx.filter(module, eqx.is_inexact_array), state

        def apply(parameters: Parameters, state: State, rows: Rows, trained: bool) -> tuple[Outputs, State]:
            module = eqx.nn.inference_mode(eqx.combine(parameters, rest), not trained)
            if not has_state:
                return jax.vmap(module)(rows), None
            return jax.vmap(module, (0, None), (0, None), axis_name="batch")(rows, state)

        return Network(init, apply)

    def outputs(self, parameters: Parameters, state: State, rows: Rows) -> Outputs:
        """What the network says of rows that it is not trained on."""
        return self.apply(parameters, state, rows, False)[0]

    def check(self, num_inputs: int, num_outputs: int, key: PRNGKeyArray) -> None:
        """Raises ValueError unless the network has an output a target, for rows of so many inputs."""
        check_key("key", key)
        parameters, state = eqx.filter_eval_shape(self.init, key)
        try:
            found = eqx.filter_eval_shape(self.outputs, parameters, state, jnp.zeros((2, num_inputs)))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"network: takes no rows of {num_inputs} inputs ({error}); pass one that does, or other inputs"
            ) from error
        if found.shape != (2, num_outputs):
            raise ValueError(
                f"network: gives outputs of shape {found.shape} for 2 rows, and there are {num_outputs} targets; pass "
                f"one of {num_outputs} outputs"
            )

    def check_fits(self, parameters: Parameters) -> None:
        """Raises ValueError unless the parameters, of runs side by side, are those of such a network."""
        wanted, _ = eqx.filter_eval_shape(self.init, jax.random.key(0))
        here = {jax.tree_util.keystr(path): leaf.shape for path, leaf in jax.tree.leaves_with_path(wanted)}
        there = {jax.tree_util.keystr(path): leaf.shape[1:] for path, leaf in jax.tree.leaves_with_path(parameters)}
        if here != there:
            raise ValueError(
                f"start: holds the parameters of another network, {there}, and this one has {here}; pass the network "
                "that was trained before"
            )


def num_parameters(parameters: Parameters) -> int:
    """How many numbers are trained.

    >>> num_parameters({"a": jnp.zeros((2, 3)), "b": jnp.zeros(2)})
    8
    """
    return sum(leaf.size for leaf in jax.tree.leaves(parameters))


def _with_state(made: Any) -> tuple[Any, State]:
    return made if isinstance(made, tuple) else (made, None)
