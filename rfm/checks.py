"""A check of random keys; those of numbers and arrays are in `theory.checks`."""

import jax
import jax.numpy as jnp

from theory.checks import described


def check_key(name: str, key: object) -> None:
    """Raises TypeError unless the value is one key, of ``jax.random.key`` or the older ``PRNGKey``."""
    if isinstance(key, jax.Array):
        is_typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
        if (is_typed and key.ndim == 0) or (key.dtype == jnp.uint32 and key.ndim == 1):
            return
    raise TypeError(f"{name}: pass jax.random.key(seed), got {described(key)}")
