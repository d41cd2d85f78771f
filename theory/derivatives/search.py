"""Where a traced curve turns: the search of `theory.minimum`, written so that it compiles whole."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from theory.minimum import CANDIDATES, EARLIEST, FASTEST, NUM_NODES

NARROWINGS = 2
"""Each divides a bracket by (NUM_NODES - 1) / 2. After two of them, the widest is below a quarter in log t."""
ROOT_HALVINGS = 60
"""Of the interval that holds the root of the interpolant's derivative; float64 has 53 bits."""

Clock = Float[Array, "times"]
Found = Float[Array, "refined"]


Brackets = Float[Array, "brackets"]
Curve = Callable[[Clock], Clock]


def refined(risk: Curve, grid: Clock, *, whole_steps: bool, fastest: float | Float[Array, ""]) -> tuple[Found, Found]:
    """The times of a grid, the lowest ones between them beside them, and the curve there.

    As `theory.minimum.turning_point` looks for them, in shapes known beforehand.

    Args:
        risk: the curve, traceable by JAX.
        grid: ascending, 0 allowed; whole where steps are counted.
        whole_steps: times are whole numbers of steps.
        fastest: the largest eigenvalue; it says how soon after t = 0 a curve can turn.

    >>> grid = jnp.asarray([1.0, 2.0, 8.0])
    >>> times, _ = refined(lambda t: (jnp.log(t) - 1) ** 2, grid, whole_steps=False, fastest=1.0)
    >>> bool(jnp.any(jnp.abs(times - jnp.e) < 1e-9))
    True
    """
    values = risk(grid)
    if len(grid) == 1:
        return grid, values
    inner = values[1:-1]
    is_minimum = (inner <= values[:-2]) & (inner <= values[2:])
    # Where there are fewer minima than that, other brackets are searched too, and lose; and so is the first interval.
    middle = 1 + jnp.argsort(jnp.where(is_minimum, inner, jnp.inf))[:CANDIDATES]
    low, high = jnp.append(grid[middle - 1], grid[0]), jnp.append(grid[middle + 1], grid[1])
    if whole_steps:
        found = _best_steps(risk, low, high)
    else:
        soon = jnp.minimum(FASTEST / fastest, EARLIEST * high)
        found = _best_times(risk, jnp.where(low > 0, low, soon), high)
    times, values = jnp.append(grid, found), jnp.append(values, risk(found))
    order = jnp.argsort(times, stable=True)
    return times[order], values[order]


def _best_times(risk: Curve, low: Brackets, high: Brackets) -> Brackets:
    """Narrows each bracket in log t, then finds the minimum of the Chebyshev interpolant."""
    low, high = jnp.log(low), jnp.log(high)

    def narrow(_: int | Array, bounds: tuple[Brackets, Brackets]) -> tuple[Brackets, Brackets]:
        return _narrowed(lambda log_t: risk(jnp.exp(log_t)), jnp.linspace(*bounds, NUM_NODES, axis=1))

    low, high = jax.lax.fori_loop(0, NARROWINGS, narrow, (low, high))
    order = np.arange(NUM_NODES)
    angles = np.pi * (order + 0.5) / NUM_NODES
    centre, half = (low + high) / 2, (high - low) / 2
    places = centre[:, None] + half[:, None] * jnp.asarray(np.cos(angles), low.dtype)[None, :]
    values = risk(jnp.exp(places).ravel()).reshape(places.shape)
    # At x = cos(angle), the interpolant's derivative has the sign of the sum of these times sin(order angle).
    slopes = (values - values[:, :1]) @ jnp.asarray(np.cos(angles[:, None] * order[None, :]) * order, low.dtype)

    def halve(_: int | Array, bounds: tuple[Brackets, Brackets]) -> tuple[Brackets, Brackets]:
        falling, rising = bounds
        angle = (falling + rising) / 2
        rises = jnp.sum(slopes * jnp.sin(angle[:, None] * order[None, :]), axis=1) > 0
        return jnp.where(rises, falling, angle), jnp.where(rises, angle, rising)

    falling, rising = jax.lax.fori_loop(0, ROOT_HALVINGS, halve, (jnp.full_like(low, np.pi), jnp.zeros_like(low)))
    return jnp.exp(centre + half * jnp.cos((falling + rising) / 2))


def _best_steps(risk: Curve, low: Brackets, high: Brackets) -> Brackets:
    """Samples each bracket's whole steps ever more closely around the best of them, evenly in their logarithm."""

    def whole(bounds: tuple[Brackets, Brackets]) -> Float[Array, "brackets nodes"]:
        low, high = bounds
        logs = jnp.linspace(jnp.log(jnp.maximum(low, 1)), jnp.log(high), NUM_NODES - 1, axis=1)
        wide = jnp.concatenate([low[:, None], jnp.clip(jnp.round(jnp.exp(logs)), low[:, None], high[:, None])], axis=1)
        narrow = jnp.round(jnp.linspace(low, high, NUM_NODES, axis=1))
        return jnp.where((high - low < NUM_NODES)[:, None], narrow, wide)

    low, high = jax.lax.while_loop(
        lambda bounds: jnp.any(bounds[1] - bounds[0] >= NUM_NODES),
        lambda bounds: _narrowed(risk, whole(bounds)),
        (low, high),
    )
    steps = whole((low, high))
    best = jnp.argmin(risk(steps.ravel()).reshape(steps.shape), axis=1)
    return jnp.take_along_axis(steps, best[:, None], axis=1)[:, 0]


def _narrowed(risk: Curve, places: Float[Array, "brackets nodes"]) -> tuple[Brackets, Brackets]:
    """The neighbours of the lowest place of each bracket; places ascend, and some may be equal."""
    best = jnp.argmin(risk(places.ravel()).reshape(places.shape), axis=1)
    lowest = jnp.take_along_axis(places, best[:, None], axis=1)
    low = jnp.max(places, axis=1, where=places < lowest, initial=-jnp.inf)
    high = jnp.min(places, axis=1, where=places > lowest, initial=jnp.inf)
    return jnp.maximum(low, places[:, 0]), jnp.minimum(high, places[:, -1])
