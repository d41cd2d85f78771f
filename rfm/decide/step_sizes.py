"""A step size for each feature: plain descent by them is descent by one on rescaled features."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from rfm.problem import Problem, Solvable
from rfm.solve import Solution, problem_of
from theory.checks import as_floating, check_finite, check_shape


def with_step_sizes(problem: Solvable | Solution, relative: ArrayLike | Sequence[float]) -> Problem:
    """The problem whose training by any rule of step size eta is that of this one by eta r_j for the weight of phi_j.

    Its features are sqrt(r_j) phi_j, over rows and population alike, and its weights theta_j / sqrt(r_j): predictions,
    and so risks, are the same. Groups of features that learn at their own pace may each be stopped at their best by one
    clock, which is how Heckel and Yilmaz (2021, `heckel2021earlystopping`) do away with a second descent.

    Args:
        problem: with a table of rows.
        relative: r, one a feature, positive; groups share a number.

    Raises:
        ValueError: another number of them than of features, or one that is not positive; fresh pairs, of which there is
            no table.
        TypeError: rows that are nowhere written out.

    >>> import rfm, theory
    >>> test = rfm.TestSet(jnp.eye(2), jnp.ones(2))
    >>> slow = rfm.Problem(jnp.asarray([[1.0, 0.0], [0.0, 0.1]]), jnp.asarray([1.0, 0.1]), population=test)
    >>> even = with_step_sizes(slow, [1.0, 100.0])
    >>> [rfm.solve(one).spectrum.eigenvalues.round(4).tolist() for one in (slow, even)]
    [[0.5, 0.005], [0.5, 0.5]]
    """
    table = problem_of(problem).table()
    sizes = as_floating("relative", relative)
    check_shape("relative", sizes, ndim=1, rows=table.features.shape[1])
    check_finite("relative", sizes)
    if not np.all(np.asarray(sizes) > 0):
        raise ValueError(f"relative: step sizes must be positive, got {float(np.min(np.asarray(sizes)))}")
    root = jnp.sqrt(sizes).astype(table.features.dtype)
    population = table.population.in_modes(jnp.diag(root))
    rows = table.features * root[None, :]
    return Problem(rows, table.labels, table.clean_labels, population=population, mixing=table.mixing)
