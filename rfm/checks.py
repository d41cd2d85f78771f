"""Checks of random keys; those of numbers and arrays are in `theory.checks`."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from theory.checks import described


def check_key(name: str, key: object) -> None:
    """Raises TypeError unless the value is one key, of ``jax.random.key`` or the older ``PRNGKey``."""
    if isinstance(key, jax.Array):
        is_typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
        if (is_typed and key.ndim == 0) or (key.dtype == jnp.uint32 and key.ndim == 1):
            return
    raise TypeError(f"{name}: pass jax.random.key(seed), got {described(key)}")


def check_keys(name: str, keys: object, of: str) -> None:
    """Raises unless the value is a list, or an array, of keys; says one of what each is."""
    if not isinstance(keys, Sequence | jax.Array | np.ndarray) or getattr(keys, "ndim", 1) == 0:
        raise TypeError(f"{name}: pass a list of jax.random.key(seed), one a {of}, got {described(keys)}")
    if len(keys) == 0:
        raise ValueError(f"{name}: there is none; pass one jax.random.key a {of}")
    for key in keys:
        check_key(name, key)
