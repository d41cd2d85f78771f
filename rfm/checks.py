"""Checks of the arguments from which problems are made; those of arrays are in `theory.checks`."""

import numbers
from collections.abc import Iterable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from theory.checks import described


def check_count(name: str, value: float, *, least: int = 1) -> None:
    """Raises ValueError unless the value is a whole number, `least` or more."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise ValueError(f"{name}: must be a whole number of at least {least}, got {value!r}")


def check_choice(name: str, value: str, known: Iterable[str]) -> None:
    """Raises ValueError unless the value is a known name; the message lists them."""
    if not isinstance(value, str) or value not in set(known):
        raise ValueError(f"{name}: {described(value)} is not known; pass one of {', '.join(sorted(known))}")


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
