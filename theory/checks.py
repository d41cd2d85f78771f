"""Checks at the door: each names the argument, what it was, and what to pass instead.

Values are looked at where there are values; under ``jit`` and ``vmap`` only shapes are checked.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Shaped

from theory.linalg import is_traced

Clock = Shaped[Array, "times"] | np.ndarray | Sequence[float | int]
"""Times, or numbers of steps."""


def check_shape(name: str, array: Array, *, ndim: int, rows: int | None = None, columns: int | None = None) -> None:
    """Raises ValueError unless the array has that many axes, rows and columns, and none of them is empty."""
    wanted = [rows if rows is not None else "any", columns if columns is not None else "any"][:ndim]
    fits = array.ndim == ndim and all(w in ("any", got) for w, got in zip(wanted, array.shape, strict=True))
    if not fits or 0 in array.shape:
        expected = "(" + ", ".join(map(str, wanted)) + ("," if ndim == 1 else "") + ")"
        raise ValueError(f"{name}: has shape {array.shape}; pass an array of shape {expected}, none of them 0")


def check_finite(name: str, array: Array) -> Array:
    """Returns the array; raises ValueError if it holds a NaN or an infinity, saying where the first one is."""
    if not is_traced(array):
        bad = ~np.isfinite(np.asarray(array))
        if bad.any():
            where = tuple(int(i) for i in np.argwhere(bad)[0])
            value = np.asarray(array)[where]
            raise ValueError(
                f"{name}: {int(bad.sum())} of {array.size} values are not finite, the first ({value}) at index "
                f"{where}; drop or impute those rows"
            )
    return array


def check_not_negative(name: str, value: float | Array) -> None:
    """Raises ValueError unless the value is a finite number that is not negative."""
    if not is_traced(value) and not 0 <= np.asarray(value) < np.inf:  # numpy: a jax array would be traced in a jit
        raise ValueError(f"{name}: must be a finite number that is not negative, got {value}")


def check_positive(name: str, value: float | Array) -> None:
    """Raises ValueError unless the value is a finite number above zero."""
    if not is_traced(value) and not 0 < np.asarray(value) < np.inf:
        raise ValueError(f"{name}: must be a positive number, got {value}")


ALPHAS = (1e-4, 1e3)
"""Of Beta(alpha, alpha): where quadrature over the ratio and draws of it work, at all numbers of nodes that are used.

The variance of the ratio is then right to 1e-10 at 128 nodes, and E lam (1 - lam) to 1e-6 of itself."""


def check_alpha(name: str, value: float | Array) -> None:
    """Raises ValueError unless the value lies in `ALPHAS`; says which law to pass instead."""
    if is_traced(value) or ALPHAS[0] <= np.asarray(value) <= ALPHAS[1]:
        return
    least, largest = (f"{end:g}" for end in ALPHAS)
    if 0 <= np.asarray(value) < ALPHAS[0]:
        remedy = "for (almost) no mixing pass ERM(), which is the limit of alpha to 0"
    elif np.asarray(value) > ALPHAS[1]:
        remedy = "for (almost) equal shares pass Mixup(lam=0.5), which is the limit of large alpha"
    else:
        remedy = "1 makes all ratios equally likely"
    raise ValueError(f"{name}: must lie between {least} and {largest}, got {value}; {remedy}")


def as_floating(values: ArrayLike) -> Array:
    """The array as it is, or in floating point if it holds whole numbers."""
    array = jnp.asarray(values)
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(float)


def check_clock(name: str, values: Clock) -> np.ndarray:
    """Times or steps as a 1-D array; raises ValueError unless they are finite, not negative and strictly ascending."""
    clock = np.asarray(values)
    if clock.ndim != 1 or clock.size == 0 or not np.issubdtype(clock.dtype, np.number):
        raise ValueError(f"{name}: pass a non-empty one-dimensional list of numbers, got shape {clock.shape}")
    if not np.all(np.isfinite(clock)):
        raise ValueError(
            f"{name}: holds {clock[~np.isfinite(clock)][0]}; pass finite {name} (the limit of infinite "
            "training is the curve's risk_at_infinity)"
        )
    if clock.min() < 0:
        raise ValueError(f"{name}: holds the negative value {clock.min()}; training starts at 0")
    if np.any(np.diff(clock) <= 0):
        first = int(np.argmax(np.diff(clock) <= 0))
        raise ValueError(
            f"{name}: must strictly ascend, but {clock[first]} is followed by {clock[first + 1]} at index {first + 1}; "
            f"pass numpy.unique({name})"
        )
    return clock.astype(float)


def check_steps(steps: Clock) -> np.ndarray:
    """Step counts as a 1-D array of whole numbers."""
    clock = check_clock("steps", steps)
    if np.any(clock != np.floor(clock)):
        raise ValueError(
            f"steps: holds {clock[clock != np.floor(clock)][0]}; steps are counted in whole numbers "
            "(pass times= for gradient flow)"
        )
    return clock
