"""Functions of a mode's progress that divide by what may be zero, exact there in value and in derivative."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

SERIES_BELOW = 0.1
"""Below this argument the functions under here are summed as series, whose derivatives are exact too."""


@partial(jax.jit, inline=True)
def mean_decay(x: Float[Array, "*any"]) -> Float[Array, "*any"]:
    """(1 - exp(-x)) / x, the mean of exp(-x s) over s in [0, 1]; 1 at x = 0, with all its derivatives.

    Dividing loses nothing in value (expm1 is exact) but its derivative (exp(-x) - f(x)) / x cancels near zero,
    and is NaN at it; below `SERIES_BELOW` the series is exact in both.

    >>> mean_decay(jnp.asarray([0.0, 1.0])).round(4).tolist()
    [1.0, 0.6321]
    """
    small = x < SERIES_BELOW
    series = _polynomial(jnp.where(small, x, 0), _DECAY_SERIES)
    safe = jnp.where(small, 1, x)
    return jnp.where(small, series, -jnp.expm1(-safe) / safe)


@partial(jax.jit, inline=True)
def mean_learnt(x: Float[Array, "*any"]) -> Float[Array, "*any"]:
    """(1 - mean_decay(x)) / x; 1/2 at x = 0, with all its derivatives.

    >>> mean_learnt(jnp.asarray([0.0, 1.0])).round(4).tolist()
    [0.5, 0.3679]
    """
    small = x < 1
    series = _polynomial(jnp.where(small, x, 0), _LEARNT_SERIES)
    safe = jnp.where(small, 1, x)
    return jnp.where(small, series, (1 - mean_decay(safe)) / safe)


@partial(jax.jit, inline=True)
def mean_log1m(s: Float[Array, "*any"]) -> Float[Array, "*any"]:
    """-log(1 - s) / s for 0 <= s < SERIES_BELOW, with all its derivatives.

    >>> mean_log1m(jnp.asarray([0.0, 0.05])).round(4).tolist()
    [1.0, 1.0259]
    """
    return _polynomial(s, _LOG_SERIES)


_TERMS = 16  # SERIES_BELOW ** 16 is below the resolution of float64
_DECAY_SERIES = [(-1.0) ** k / float(np.prod(np.arange(1.0, k + 2))) for k in range(_TERMS)]
_LEARNT_SERIES = [(-1.0) ** k / float(np.prod(np.arange(1.0, k + 3))) for k in range(18)]  # up to x = 1
_LOG_SERIES = [1.0 / (k + 1) for k in range(_TERMS)]


def _polynomial(x: Float[Array, "*any"], coefficients: list[float]) -> Float[Array, "*any"]:
    """Of these coefficients, lowest order first, by Horner's scheme."""
    total = jnp.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * x + coefficient
    return total
