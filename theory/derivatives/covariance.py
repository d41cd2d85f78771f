"""Functions of a covariance, with derivatives that equal and zero eigenvalues do not upset.

Trained weights are a function of the covariance C = U diag(mu) Uᵀ, applied to the force: theta_t = U g_t(mu) Uᵀ b. Such
a function is smooth in C, whatever the eigenvalues do. Its factors are not: where two eigenvalues meet, the modes turn
at any speed, and their derivative, 1 / (mu_i - mu_j), is infinite; of a null space it is NaN. What the modes' turning
does to the weights is finite, though. Along dC, Daleckii and Krein,

    d theta = U [ G o (Uᵀ dC U) ] Uᵀ b,        G_ij = (g(mu_i) - g(mu_j)) / (mu_i - mu_j),        G_ii = g'(mu_i),

needs divided differences of the gain, and no derivative of a mode. Divided by a small difference, rounding grows; so
the change of the gain between neighbouring eigenvalues is integrated from its slope wherever that is more accurate, and
changes between distant ones are sums of those.

Source: Daleckii and Krein (1965), `daleckii1965integration`; Higham (2008), `higham2008functions`, theorem 3.11.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from theory.rules.rule import Rule

NUM_NODES = (8, 16)
"""Of the Gauss-Legendre rules between two neighbouring eigenvalues. The second is used if the first agrees with it."""

TRUSTED_ROUNDINGS = 1e3
"""A gain is good to some hundred roundings; an integral further than that from its difference has missed something."""


class Eigen(NamedTuple):
    """Eigenvalues, ascending and not negative, and modes as columns; taken for constants by all derivatives."""

    eigenvalues: Float[Array, "modes"]
    modes: Float[Array, "features modes"]


def eigen(second_moment: Float[Array, "features features"]) -> Eigen:
    """The eigen-decomposition of the symmetric part, without derivatives; rounding below zero is cut off.

    >>> eigen(jnp.diag(jnp.asarray([2.0, 1.0]))).eigenvalues.tolist()
    [1.0, 2.0]
    """
    eigenvalues, modes = jnp.linalg.eigh(jax.lax.stop_gradient(second_moment))
    return Eigen(jnp.maximum(eigenvalues, 0), modes)


def filtered_force(
    second_moment: Float[Array, "features features"],
    force: Float[Array, "features targets"],
    rule: Rule,
    t: Float[Array, "times"],
    *,
    known: Eigen | None = None,
) -> Float[Array, "features times targets"]:
    """The weights theta_t = U g_t(mu) Uᵀ b, with derivatives in C, b, t and the rule's own numbers.

    Works under ``jit``, ``vmap``, ``jvp`` and ``grad``; first derivatives only are known in C. They are finite and
    right at equal and at zero eigenvalues (``tests/theory/derivatives/test_covariance.py``). Of C and dC the symmetric
    parts count. In reverse, a features x features array is held for each time.

    At t = infinity, eigenvalues at rounding level count as null, and without ridge the weights are the minimum-norm
    solution. That jumps where C changes its rank: the derivative holds for changes that keep it.

    Args:
        second_moment: C.
        force: b, one column a target.
        rule: its settings are differentiated where they are arrays, not where they are Python numbers.
        t: times, or steps for a rule that counts them, which have no derivative then.
        known: `eigen` of this very C, if it is at hand.

    Raises:
        NotImplementedError: a second derivative in C.

    >>> import theory
    >>> force = jnp.asarray([[1.0], [1.0]])
    >>> def first(second_moment):
    ...     return filtered_force(second_moment, force, theory.GradientFlow(), jnp.ones(1))[0, 0, 0]
    >>> jax.grad(first)(jnp.zeros((2, 2))).tolist()  # theta = t b - t^2 C b / 2 + ...; C and Cᵀ share what is off it
    [[-0.5, -0.25], [-0.25, 0.0]]
    """
    return _filtered(second_moment, force, rule, t, eigen(second_moment) if known is None else known)


@eqx.filter_custom_jvp
def _filtered(second_moment: Array, force: Array, rule: Rule, t: Array, known: Eigen) -> Array:
    return _in_modes(known.modes, gains(rule, known.eigenvalues, t), force)


@_filtered.def_jvp
def _derivative(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    second_moment, force, rule, t, known = primals
    in_moment, in_force, in_rule, in_t, _ = tangents
    weights = _filtered(first_derivative_only(second_moment), force, rule, t, known)
    tangent = jnp.zeros_like(weights)
    if in_moment is not None:
        tangent += _along(in_moment, force, rule, t, known)
    if in_force is not None:
        tangent += _in_modes(known.modes, gains(rule, known.eigenvalues, t), in_force)
    if jax.tree.leaves((in_rule, in_t)):
        _, in_gain = eqx.filter_jvp(lambda rule, t: gains(rule, known.eigenvalues, t), (rule, t), (in_rule, in_t))
        tangent += _in_modes(known.modes, in_gain, force)
    return weights, tangent


def _in_modes(modes: Array, gain: Float[Array, "times modes"], force: Array) -> Float[Array, "features times targets"]:
    return jnp.tensordot(modes, gain.T[:, :, None] * (modes.T @ force)[:, None, :], 1)


def gains(rule: Rule, eigenvalues: Float[Array, "modes"], t: Float[Array, "times"]) -> Float[Array, "times modes"]:
    """g_t(mu); at t = infinity, eigenvalues at rounding level are null modes, which have not moved.

    >>> import theory
    >>> gains(theory.GradientFlow(), jnp.asarray([1e-20, 1.0]), jnp.asarray([0.5, jnp.inf])).round(4).tolist()
    [[0.5, 0.3935], [0.0, 1.0]]
    """
    at_infinity = jnp.isinf(t)
    limit = rule.fixed_gain(_truncated(eigenvalues))
    return jnp.where(at_infinity[:, None], limit[None, :], rule.gain(eigenvalues, jnp.where(at_infinity, 0, t)))


def _truncated(eigenvalues: Float[Array, "modes"]) -> Float[Array, "modes"]:
    """Null at rounding level: however long one waits, nothing is known of such a mode."""
    level = len(eigenvalues) * jnp.finfo(eigenvalues.dtype).eps * jnp.max(eigenvalues)
    return jnp.where(eigenvalues > level, eigenvalues, 0)


def _along(
    direction: Array, force: Array, rule: Rule, t: Float[Array, "times"], known: Eigen
) -> Float[Array, "features times targets"]:
    """U [ G o (Uᵀ dC U) ] Uᵀ b, time by time: a table of divided differences is as large as C."""
    modes = known.modes
    turned = modes.T @ ((direction + direction.T) / 2) @ modes
    coordinates = modes.T @ force

    def at_time(t: Float[Array, ""]) -> Float[Array, "modes targets"]:
        eigenvalues = jnp.where(jnp.isinf(t), _truncated(known.eigenvalues), known.eigenvalues)
        return (divided_differences(rule, eigenvalues, t) * turned) @ coordinates

    return jnp.tensordot(modes, jnp.moveaxis(jax.lax.map(at_time, t), 0, 1), 1)


def divided_differences(
    rule: Rule, eigenvalues: Float[Array, "modes"], t: Float[Array, ""]
) -> Float[Array, "modes modes"]:
    """G_ij = (g(mu_i) - g(mu_j)) / (mu_i - mu_j) of the gain at t, and its slope where the eigenvalues are equal.

    For flow accurate to about 1e-14 at all eigenvalues, near, equal, zero or far apart. For rules whose modes ring, the
    rounding of g is divided by the difference, or what the slopes between the two add up to, if that is smaller
    (``tests/theory/derivatives/test_covariance.py``). It costs some 25 gains a mode, and no more a pair than a few
    sums.

    Args:
        rule: whose gain.
        eigenvalues: mu, ascending.
        t: one time, or number of steps.

    >>> import theory
    >>> divided_differences(theory.GradientFlow(), jnp.asarray([0.0, 1e-20]), jnp.asarray(2.0)).tolist()  # -t^2 / 2
    [[-2.0, -2.0], [-2.0, -2.0]]
    """
    gain, slope, steps = _steps_between(rule, eigenvalues, t)
    apart = eigenvalues[:, None] - eigenvalues[None, :]
    summed, variation = _sums_between(steps), _sums_between(jnp.abs(steps))
    # Where the gain goes up and down in between, its sum cancels, and the plain difference is more accurate.
    plain = jnp.abs(variation) > jnp.abs(gain)[:, None] + jnp.abs(gain)[None, :]
    change = jnp.where(plain, gain[:, None] - gain[None, :], summed)
    # So near each other, the change itself underflows, and the slope does not change.
    limits = jnp.finfo(eigenvalues.dtype)
    equal = jnp.abs(apart) <= limits.tiny / limits.eps**2
    return jnp.where(equal, (slope[:, None] + slope[None, :]) / 2, change / jnp.where(equal, 1, apart))


def _steps_between(
    rule: Rule, eigenvalues: Float[Array, "modes"], t: Float[Array, ""]
) -> tuple[Float[Array, "modes"], Float[Array, "modes"], Float[Array, "steps"]]:
    """Gain, its slope, and g(mu_{k+1}) - g(mu_k), the difference or the integral of the slope.

    The integral resolves what varies slowly, where the difference cancels. Their errors are at hand: a rounding of g,
    and what half as many nodes make of the integral.
    """
    num_modes, resolution = len(eigenvalues), jnp.finfo(eigenvalues.dtype).eps
    low, gaps = eigenvalues[:-1], jnp.diff(eigenvalues)
    rules = [tuple(jnp.asarray(part / 2, gaps.dtype) for part in np.polynomial.legendre.leggauss(n)) for n in NUM_NODES]
    between = [low[:, None] + gaps[:, None] * (0.5 + nodes)[None, :] for nodes, _ in rules]
    # All in one call: some rules take as many steps as they are asked for, however many modes there are.
    places = jnp.concatenate([eigenvalues, *(place.ravel() for place in between)])
    gain, slope = jax.jvp(lambda mu: rule.gain(mu, t), (places,), (jnp.ones_like(places),))
    _, *slopes = jnp.split(slope, np.cumsum([num_modes, between[0].size]))
    coarse, fine = (gaps * (s.reshape(b.shape) @ w) for s, b, (_, w) in zip(slopes, between, rules, strict=True))
    gain = gain[:num_modes]
    plain = jnp.diff(gain)
    rounding = resolution * (jnp.abs(gain[1:]) + jnp.abs(gain[:-1]))
    resolved = (jnp.abs(fine - coarse) <= rounding) & (jnp.abs(fine - plain) <= TRUSTED_ROUNDINGS * rounding)
    return gain, slope[:num_modes], jnp.where(resolved, fine, plain)


def _sums_between(steps: Float[Array, "steps"]) -> Float[Array, "modes modes"]:
    """The sum of steps j..i-1 at (i, j), antisymmetric. Differences of one running sum would cancel."""
    num_steps = len(steps)
    after = jnp.arange(num_steps + 1)[:, None] <= jnp.arange(num_steps)[None, :]
    upper = jnp.pad(jnp.cumsum(jnp.where(after, steps[None, :], 0), axis=1), ((0, 0), (1, 0)))
    return upper.T - upper


@jax.custom_jvp
def first_derivative_only(values: Array) -> Array:
    """The same array, which refuses to be differentiated: what it goes into is itself a derivative."""
    return values


@first_derivative_only.defjvp
def _refuse(primals: tuple, tangents: tuple) -> tuple:
    raise NotImplementedError(
        "second derivative: only first derivatives of a function of the covariance are known; pass the gradient "
        "to finite differences instead"
    )
