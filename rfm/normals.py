"""Normal draws as constructors need them: several arrays from one key, by one program."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from theory.checks import is_traced
from theory.linalg import on_device


def scaled_normals(
    key: PRNGKeyArray, *arrays: tuple[float | Float[Array, ""], tuple[int, ...]]
) -> tuple[Float[Array, "..."], ...]:
    """Independent normal arrays of those standard deviations and shapes, each from a key of its own.

    >>> first, second = scaled_normals(jax.random.key(0), (1.0, (2, 3)), (0.0, (4,)))
    >>> first.shape, second.tolist()
    ((2, 3), [0.0, 0.0, 0.0, 0.0])
    """
    # What is zero need not be drawn, nor compiled.
    drawn = tuple(is_traced(std) or float(std) != 0 for std, _ in arrays)
    stds = tuple(on_device(std, jnp.result_type(float)) for std, _ in arrays)
    found = _drawn(key, stds, tuple(shape for _, shape in arrays), drawn)
    zeros = (np.zeros(shape, jnp.result_type(float)) for _, shape in arrays)
    return tuple(on_device(zero) if array is None else array for array, zero in zip(found, zeros, strict=True))


@eqx.filter_jit
def _drawn(
    key: PRNGKeyArray, stds: tuple[Array, ...], shapes: tuple[tuple[int, ...], ...], drawn: tuple[bool, ...]
) -> list[Array | None]:
    keys = jax.random.split(key, len(shapes))
    return [
        std * jax.random.normal(key, shape) if is_drawn else None
        for key, std, shape, is_drawn in zip(keys, stds, shapes, drawn, strict=True)
    ]
