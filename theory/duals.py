"""Gaussian expectations of pairs of activations: populations without a test set.

For x ~ N(0, I) and rows w, v the pre-activations w . x and v . x are Gaussian, and

    E[s(w . x) q(v . x)] = sum_k a_k(|w|) b_k(|v|) rho^k,       rho = w . v / (|w| |v|)                      (Mehler)

with the Hermite coefficients of `theory.hermite`. Closed forms serve where they exist; otherwise the series is summed
in blocks of rows of similar length, each with as many terms as its slowest pair needs, and pairs that are too nearly
collinear for it are integrated one by one. Derivatives follow from Price's theorem, d E[s q] / d Cov = E[s' q'], and
are finite on the diagonal and at zero rows, where differentiating through rho would divide by zero.
"""

import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from theory.activations import ACTIVATIONS, Activation, BrokenConstant, BrokenLine, activation
from theory.checks import check_finite, check_shape
from theory.hermite import Rule, gaussian_rule, hermite_coefficients, panels_for
from theory.linalg import is_traced

Rows1 = Float[Array, "rows1 inputs"]
Rows2 = Float[Array, "rows2 inputs"]
Pairs = Float[Array, "rows1 rows2"]

MAX_TERMS = 384
GROUP_ROWS = 384
"""Rows of similar length that share one number of terms; a block of so many rows and columns stays in cache."""
ACCURACY = 1e-10
"""An estimated error above it is warned of."""
TOLERANCE = 1e-14
"""Of the series and the quadrature, relative to sqrt(E s^2 E q^2)."""


class AccuracyWarning(UserWarning):
    """An expectation was computed to fewer digits than promised."""


class DualEstimate(NamedTuple):
    """A dual and an estimate of its error, relative to sqrt(E s^2 E q^2); zero for closed forms."""

    values: Float[np.ndarray, "rows1 rows2"]
    error: float


def dual(
    activation1: str | Activation,
    weights1: Rows1,
    activation2: str | Activation | None = None,
    weights2: Rows2 | None = None,
    *,
    bias1: Float[Array, "rows1"] | None = None,
    bias2: Float[Array, "rows2"] | None = None,
    correlation: float | Float[Array, ""] = 1.0,
) -> Pairs:
    """E[s(W1 x + b1) q(W2 x' + b2)ᵀ], x and x' standard normal with the given correlation.

    Args:
        activation1: s, a name or an elementwise callable.
        weights1: W1.
        activation2: q; None for s.
        weights2: W2; None for W1.
        bias1: None for zero.
        bias2: None for zero (for b1, if weights2 is None).
        correlation: of each entry of x with its twin of x'. For inputs of another norm, scale the weights.

    Returns:
        Accurate to 1e-12 of sqrt(E s^2 E q^2) where the activations are analytic, or have their only kink at zero and
        no bias (``tests/theory/test_duals.py``). Differentiable in weights, biases and correlation, if the activations
        have two derivatives or a closed form serves.

    Raises:
        ValueError: shapes that do not fit, activations that are not finite or not elementwise.

    Warns:
        AccuracyWarning: the estimated error is above 1e-10: a kink that is not at zero, say.

    >>> w = jnp.asarray([[1.0, 0.0], [0.0, 0.0]])
    >>> dual("sin", w).round(6).tolist()
    [[0.432332, 0.0], [0.0, 0.0]]
    """
    if weights2 is None:
        weights2, bias2 = weights1, bias1 if bias2 is None else bias2
    activation2 = activation1 if activation2 is None else activation2
    weights1, weights2 = jnp.asarray(weights1), jnp.asarray(weights2)
    check_shape("weights1", weights1, ndim=2)
    check_shape("weights2", weights2, ndim=2, columns=weights1.shape[1])
    moments = Moments(
        jnp.sum(weights1**2, axis=1),
        correlation * (weights1 @ weights2.T),
        jnp.sum(weights2**2, axis=1),
        _bias("bias1", bias1, weights1),
        _bias("bias2", bias2, weights2),
    )
    has_bias = bias1 is not None or bias2 is not None
    form = None if has_bias else closed_dual(activation1, activation2)
    if form is not None:
        return form(moments)
    return _numeric_dual(activation(activation1), activation(activation2), moments)


def dual_estimate(
    activation1: str | Activation,
    weights1: Rows1,
    activation2: str | Activation | None = None,
    weights2: Rows2 | None = None,
) -> DualEstimate:
    """The dual by series and quadrature, never by a closed form, with an estimate of its error.

    >>> estimate = dual_estimate("sin", jnp.ones((1, 1)))
    >>> bool(abs(estimate.values[0, 0] - (1 - jnp.exp(-2.0)) / 2) < 1e-12), estimate.error < 1e-12
    (True, True)
    """
    weights2 = weights1 if weights2 is None else weights2
    second = activation(activation1 if activation2 is None else activation2)
    zeros1, zeros2 = jnp.zeros(weights1.shape[0]), jnp.zeros(weights2.shape[0])
    moments = Moments(jnp.sum(weights1**2, axis=1), weights1 @ weights2.T, jnp.sum(weights2**2, axis=1), zeros1, zeros2)
    return _series_and_quadrature(activation(activation1), second, moments)


def derivative(function: str | Activation) -> Activation:
    """The derivative of an elementwise function, itself elementwise, for the duals of derivatives.

    >>> derivative("sin")(jnp.zeros(2)).tolist()
    [1.0, 1.0]
    """
    line = _broken_line(function)
    if line is not None:
        return BrokenConstant(line.slope, line.bend)
    return _slope(activation(function))


@lru_cache(maxsize=64)
def _slope(function: Activation) -> Activation:
    # One object a function: whatever is compiled for a derivative is found again.
    def slope(x: Array) -> Array:
        return jax.jvp(function, (x,), (jnp.ones_like(x),))[1]

    return slope


def gaussian_mean(
    function: str | Activation, stds: Float[Array, "rows"], means: Float[Array, "rows"]
) -> Float[Array, "rows"]:
    """E s(h z + b) over a standard normal z, for each h and b.

    >>> gaussian_mean("relu", jnp.asarray([5.0, 0.0]), jnp.asarray([0.0, 2.0])).round(6).tolist()
    [1.994711, 2.0]
    """
    line = _broken_line(function)
    if line is None:
        coefficients = hermite_coefficients(activation(function), np.asarray(stds), np.asarray(means), 1)
        return jnp.asarray(coefficients[:, 0], means.dtype)
    ratio = means / jnp.where(stds > 0, stds, 1)
    density = jnp.sqrt(2 / jnp.pi) * jnp.exp(-(ratio**2) / 2)
    folded = stds * density + means * jax.scipy.special.erf(ratio / jnp.sqrt(2))
    return line.slope * means + line.bend * jnp.where(stds > 0, folded, jnp.abs(means))


class Moments(eqx.Module):
    """Variances, covariance and means of the pairs of pre-activations."""

    power1: Float[Array, "rows1"]
    covariance: Pairs
    power2: Float[Array, "rows2"]
    mean1: Float[Array, "rows1"]
    mean2: Float[Array, "rows2"]


ClosedForm = Callable[[Moments], Pairs]


def closed_dual(first: str | Activation, second: str | Activation) -> ClosedForm | None:
    """The closed form for a pair of activations without bias, or None."""
    line1, line2 = _broken_line(first), _broken_line(second)
    if line1 is not None and line2 is not None:
        return lambda m: line1.slope * line2.slope * m.covariance + line1.bend * line2.bend * _absolute_dual(m)
    constant1, constant2 = _broken_constant(first), _broken_constant(second)
    if constant1 is not None and constant2 is not None:
        return lambda m: constant1.level * constant2.level + constant1.jump * constant2.jump * _sign_dual(m)
    name = _name(first)
    return _CLOSED_FORMS.get(name) if name is not None and name == _name(second) else None


def _name(function: str | Activation) -> str | None:
    if isinstance(function, str):
        return function
    return next((name for name, known in ACTIVATIONS.items() if known is function), None)


def _broken_line(function: str | Activation) -> BrokenLine | None:
    if isinstance(function, BrokenLine):
        return function
    return _BROKEN_LINES.get(_name(function) or "")


def _broken_constant(function: str | Activation) -> BrokenConstant | None:
    if isinstance(function, BrokenConstant):
        return function
    return BrokenConstant(0.0, 1.0) if _name(function) == "sign" else None


_BROKEN_LINES = {"identity": BrokenLine(1.0, 0.0), "relu": BrokenLine(0.5, 0.5), "abs": BrokenLine(0.0, 1.0)}


def _absolute_dual(m: Moments) -> Pairs:
    """E |u| |v| = (2 / pi) (sqrt(C11 C22 - C12^2) + C12 asin(rho)); the arc-cosine kernel."""
    return _absolute(m.power1, m.covariance, m.power2)


@jax.custom_jvp
def _absolute(power1: Array, covariance: Array, power2: Array) -> Array:
    scale, rho = _correlation(power1, covariance, power2)
    return 2 / jnp.pi * scale * (jnp.sqrt((1 - rho) * (1 + rho)) + rho * jnp.arcsin(rho))


@_absolute.defjvp
def _absolute_jvp(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[Array, Array]:
    power1, _, power2 = primals
    scale, rho = _correlation(*primals)
    swing = scale * jnp.sqrt((1 - rho) * (1 + rho)) / 2
    relative1 = jnp.where(power1 > 0, tangents[0] / jnp.where(power1 > 0, power1, 1), 0)
    relative2 = jnp.where(power2 > 0, tangents[2] / jnp.where(power2 > 0, power2, 1), 0)
    slope = jnp.arcsin(rho) * tangents[1] + swing * (relative1[:, None] + relative2[None, :])
    return _absolute(*primals), 2 / jnp.pi * slope


def _correlation(power1: Array, covariance: Array, power2: Array) -> tuple[Array, Array]:
    scale = jnp.sqrt(power1)[:, None] * jnp.sqrt(power2)[None, :]
    return scale, jnp.clip(jnp.where(scale > 0, covariance / jnp.where(scale > 0, scale, 1), 0), -1, 1)


def _sign_dual(m: Moments) -> Pairs:
    return 2 / jnp.pi * jnp.arcsin(_correlation(m.power1, m.covariance, m.power2)[1])


def _erf_dual(m: Moments) -> Pairs:
    scale = jnp.sqrt(1 + 2 * m.power1)[:, None] * jnp.sqrt(1 + 2 * m.power2)[None, :]
    return 2 / jnp.pi * jnp.arcsin(2 * m.covariance / scale)


def _sin_dual(m: Moments) -> Pairs:
    """exp(-damping) sinh(covariance), without the cancellation of tiny rows or the overflow of long ones."""
    damping = (m.power1[:, None] + m.power2[None, :]) / 2
    sign = jnp.where(m.covariance < 0, -1, 1)
    size = sign * m.covariance
    return -sign * jnp.exp(size - damping) * jnp.expm1(-2 * size) / 2


def _cos_dual(m: Moments) -> Pairs:
    damping = (m.power1[:, None] + m.power2[None, :]) / 2
    return (jnp.exp(m.covariance - damping) + jnp.exp(-m.covariance - damping)) / 2


def _exp_dual(m: Moments) -> Pairs:
    return jnp.exp((m.power1[:, None] + m.power2[None, :]) / 2 + m.covariance)


def _gaussian_dual(m: Moments) -> Pairs:
    return (jnp.outer(1 + 2 * m.power1, 1 + 2 * m.power2) - 4 * m.covariance**2) ** -0.5


def _gelu_dual(m: Moments) -> Pairs:
    """By Stein's identity from E[Phi(u) Phi(v)] and G = E[phi(u) phi(v)], Phi and phi the normal cdf and density."""
    one1, one2, covariance = (1 + m.power1)[:, None], (1 + m.power2)[None, :], m.covariance
    density = 1 / (2 * jnp.pi * jnp.sqrt(one1 * one2 - covariance**2))
    both = 0.25 + jnp.arcsin(covariance / jnp.sqrt(one1 * one2)) / (2 * jnp.pi)
    power1, power2 = m.power1[:, None], m.power2[None, :]
    return power1 * (power2 - covariance**2 / one1) * density + covariance * (both + covariance * density / one2)


_CLOSED_FORMS: dict[str, ClosedForm] = {
    "erf": _erf_dual,
    "sin": _sin_dual,
    "cos": _cos_dual,
    "exp": _exp_dual,
    "gaussian": _gaussian_dual,
    "gelu": _gelu_dual,
}


def _numeric_dual(first: Activation, second: Activation, moments: Moments) -> Pairs:
    @jax.custom_jvp
    def evaluate(moments: Moments) -> Pairs:
        dtype = moments.covariance.dtype
        if not is_traced(*jax.tree.leaves(moments)):
            return jnp.asarray(_checked(_series_and_quadrature(first, second, moments)), dtype)
        shape = jax.ShapeDtypeStruct(moments.covariance.shape, dtype)
        return jax.pure_callback(
            lambda m: _checked(_series_and_quadrature(first, second, m)).astype(dtype), shape, moments
        )

    @evaluate.defjvp
    def price(primals: tuple[Moments], tangents: tuple[Moments]) -> tuple[Pairs, Pairs]:
        (m,), (dm,) = primals, tangents

        def expected(order1: int, order2: int) -> Pairs:
            return _numeric_dual(_differentiated(first, order1), _differentiated(second, order2), m)

        slope = expected(1, 1) * dm.covariance
        slope += expected(2, 0) * dm.power1[:, None] / 2 + expected(0, 2) * dm.power2[None, :] / 2
        slope += expected(1, 0) * dm.mean1[:, None] + expected(0, 1) * dm.mean2[None, :]
        return evaluate(m), slope

    return evaluate(moments)


def _checked(estimate: DualEstimate) -> Float[np.ndarray, "rows1 rows2"]:
    if estimate.error > ACCURACY:
        warnings.warn(
            f"dual: the estimated error is {estimate.error:.1e} of sqrt(E s^2 E q^2); an activation has a kink or a "
            "jump away from zero, or very long weights: smooth it, or average the risk over a test set",
            AccuracyWarning,
            stacklevel=2,
        )
    return estimate.values


def _differentiated(function: Activation, order: int) -> Activation:
    for _ in range(order):
        function = derivative(function)
    return function


def _series_and_quadrature(first: Activation, second: Activation, moments: Moments) -> DualEstimate:
    """Sums the series block by block, and integrates the pairs that it does not reach."""
    power1, covariance, power2, mean1, mean2 = (
        np.asarray(field, float)
        for field in (moments.power1, moments.covariance, moments.power2, moments.mean1, moments.mean2)
    )
    std1, std2 = np.sqrt(power1), np.sqrt(power2)
    side1, coarse1 = _Side.of(first, std1, mean1)
    side2, coarse2 = _Side.of(second, std2, mean2)
    scale = std1[:, None] * std2[None, :]
    rho = np.divide(covariance, scale, out=np.zeros_like(scale), where=scale > 0)
    np.clip(rho, -1, 1, out=rho)
    values = np.empty_like(rho)
    worst = max(coarse1, coarse2)
    for rows in side1.groups:
        for columns in side2.groups:
            block = np.ix_(rows, columns)
            profile = side1.envelope(rows) * side2.envelope(columns)
            unseen = float(side1.unseen[rows].max() * side2.unseen[columns].max())
            reach = _reach(profile, unseen)
            rho_block = rho[block]
            longest = min(float(np.abs(rho_block).max()), reach)
            num_terms = _terms_needed(profile, unseen, longest)
            result = np.array(_horner(side1.terms(rows), side2.terms(columns), rho_block, num_terms))
            worst = max(worst, float(_tail(profile, unseen, num_terms, longest)))
            far = np.argwhere(np.abs(rho_block) > reach)
            if len(far):
                pairs = (rows[far[:, 0]], columns[far[:, 1]])
                integrals, error = _integrate(first, second, side1, side2, rho[pairs], pairs)
                result[far[:, 0], far[:, 1]] = integrals
                worst = max(worst, error)
            values[block] = result
    return DualEstimate(values, worst)


class _Side(NamedTuple):
    """One of the two activations on its rows: coefficients, and rows grouped by the speed of their decay."""

    stds: Float[np.ndarray, "rows"]
    means: Float[np.ndarray, "rows"]
    coefficients: Float[np.ndarray, "rows terms"]
    norms: Float[np.ndarray, "rows"]
    unseen: Float[np.ndarray, "rows"]
    groups: list[np.ndarray]

    @staticmethod
    def of(function: Activation, stds: np.ndarray, means: np.ndarray) -> tuple["_Side", float]:
        """The side, and the error of its coefficients as a finer quadrature finds it."""
        coefficients = hermite_coefficients(function, stds, means, MAX_TERMS, refinement=1.5)
        check = hermite_coefficients(function, stds, means, MAX_TERMS)
        norms = np.sqrt(_power(function, stds, means))
        norms = np.where(norms > 0, norms, 1.0)
        unseen = 1 - (np.linalg.norm(coefficients, axis=1) / norms) ** 2
        unseen = np.sqrt(np.where(unseen > _UNSEEN_ROUNDING, unseen, 0))
        error = float(np.max(np.linalg.norm(coefficients - check, axis=1) / norms, initial=0.0))
        order = np.argsort(stds, kind="stable")
        groups = np.array_split(order, -(-len(order) // GROUP_ROWS))
        return _Side(stds, means, coefficients, norms, unseen, groups), error

    def terms(self, rows: np.ndarray) -> Float[np.ndarray, "terms rows"]:
        """The rows' coefficients, one order after the other."""
        return np.ascontiguousarray(self.coefficients[rows].T)

    def envelope(self, rows: np.ndarray) -> Float[np.ndarray, "terms"]:
        """The largest coefficient of each order, relative to its row's norm; never below rounding."""
        return np.max(np.abs(self.coefficients[rows]) / self.norms[rows, None], axis=0)


def _power(function: Activation, stds: np.ndarray, means: np.ndarray) -> Float[np.ndarray, "rows"]:
    """E s(h z + b)^2 by quadrature, which sees what the coefficients leave out."""
    nodes, weights = gaussian_rule(int(1.5 * panels_for(float(stds.max(initial=0.0)), MAX_TERMS)))
    values = np.asarray(function(jnp.asarray(stds[:, None] * nodes[None, :] + means[:, None])))
    return values**2 @ weights


_UNSEEN_ROUNDING = 1e-13
"""A share of E s^2 below it is not told from rounding."""

_WINDOW = 16
"""Coefficients vanish by parity or by chance; the decay is read off the largest of so many."""


def _tail(profile: Float[np.ndarray, "terms"], unseen: float, num_terms: int, rho: float | np.ndarray) -> np.ndarray:
    """An estimate of what the terms from `num_terms` on add up to.

    By Cauchy and Schwarz those past the last one computed are at most rho^last times `unseen`, the root of the product
    of the two activations' shares of power that no coefficient has seen; that catches what oscillates too fast for all.
    """
    rho = np.asarray(rho, float)
    last = len(profile)
    powers = rho[..., None] ** np.arange(num_terms, last)
    computed = np.sum(profile[num_terms:] * powers, axis=-1)
    beyond = np.max(profile[-_WINDOW:]) * rho**last * np.minimum(1 / np.maximum(1 - rho, 1e-300), last)
    return np.asarray(computed + np.maximum(beyond, unseen * rho**last))


def _reach(profile: Float[np.ndarray, "terms"], unseen: float) -> float:
    """The largest |rho| up to which all terms suffice."""
    candidates = 1 - np.geomspace(1e-6, 1, 200)
    candidates = np.concatenate([[1.0], candidates])
    fits = _tail(profile, unseen, len(profile) - 1, candidates) <= TOLERANCE
    return float(candidates[np.argmax(fits)]) if fits.any() else 0.0


def _terms_needed(profile: Float[np.ndarray, "terms"], unseen: float, rho: float) -> int:
    """The fewest terms whose tail stays below the tolerance."""
    terms = profile * rho ** np.arange(len(profile))
    beyond = _tail(profile, unseen, len(profile) - 1, rho)
    tails = np.cumsum(terms[::-1])[::-1] + beyond
    enough = tails <= TOLERANCE
    return max(1, int(np.argmax(enough))) if enough.any() else len(profile)


@jax.jit
def _horner(first: Array, second: Array, rho: Array, num_terms: int | Array) -> Array:
    """sum_k a_k(i) b_k(j) rho_ij^k over the first terms."""

    def add_term(step: Array, total: Array) -> Array:
        k = num_terms - 1 - step
        return total * rho + first[k][:, None] * second[k][None, :]

    return jax.lax.fori_loop(0, num_terms, add_term, jnp.zeros_like(rho))


BATCH_VALUES = 2**22
"""How many values of the inner integrand are held at a time."""


def _integrate(
    first: Activation,
    second: Activation,
    side1: _Side,
    side2: _Side,
    rho: Float[np.ndarray, "pairs"],
    pairs: tuple[np.ndarray, np.ndarray],
) -> tuple[Float[np.ndarray, "pairs"], float]:
    """E[s(u) E[q(v) | u]] pair by pair, and the largest error relative to the norms, as a coarser rule finds it.

    Given u, v is normal and narrow when the pair is nearly collinear, so the inner rule is short. The outer variable is
    that of the rougher function, whose kink at zero the outer rule allows for.
    """
    if side2.envelope(pairs[1])[-_WINDOW:].max() > side1.envelope(pairs[0])[-_WINDOW:].max():
        first, second, side1, side2, pairs = second, first, side2, side1, pairs[::-1]
    rows, columns = pairs
    spread = np.sqrt((1 - rho) * (1 + rho))
    described = np.stack([side1.stds[rows], side1.means[rows], side2.stds[columns], side2.means[columns], rho, spread])
    needed = _inner_points(side2.stds[columns] * spread)
    num_panels = panels_for(float(max(side1.stds.max(), side2.stds.max())), _WINDOW)
    fine, coarse = np.empty(len(rho)), np.empty(len(rho))
    for num_inner in np.unique(needed):
        chosen = np.flatnonzero(needed == num_inner)
        for target, refinement in ((fine, 1.5), (coarse, 1.0)):
            outer = jnp.stack(gaussian_rule(int(refinement * num_panels)))
            inner = jnp.stack(_trapezoid(int(refinement * num_inner)))
            # Powers of two, the last batch filled up with repeats: few shapes, so few compilations.
            most = max(1, BATCH_VALUES // (outer.shape[1] * inner.shape[1]))
            batch = 2 ** min(int(np.log2(most)), int(np.ceil(np.log2(len(chosen)))))
            for start in range(0, len(chosen), batch):
                part = chosen[start : start + batch]
                padded = np.resize(part, batch)
                values = _nested(first, second, outer, inner, jnp.asarray(described[:, padded]))
                target[part] = np.asarray(values)[: len(part)]
    scale = side1.norms[rows] * side2.norms[columns]
    return fine, float(np.max(np.abs(fine - coarse) / scale))


def _inner_points(width: Float[np.ndarray, "pairs"]) -> np.ndarray:
    """24 points integrate a Gaussian alone to rounding; a function with poles at i pi / 2 needs 60 a unit of width."""
    return 2 ** np.ceil(np.log2(np.maximum(24, 60 * width))).astype(int)


def _trapezoid(num_points: int) -> Rule:
    nodes = np.linspace(-8.6, 8.6, num_points)
    return nodes, np.exp(-(nodes**2) / 2) / np.sqrt(2 * np.pi) * (nodes[1] - nodes[0])


@eqx.filter_jit
def _nested(
    first: Activation,
    second: Activation,
    outer: Float[Array, "2 outer"],
    inner: Float[Array, "2 inner"],
    pairs: Float[Array, "6 pairs"],
) -> Array:
    outer_nodes, outer_weights = outer
    inner_nodes, inner_weights = inner
    std1, mean1, std2, mean2, rho, spread = pairs
    outer_values = first(std1[:, None] * outer_nodes[None, :] + mean1[:, None])
    common = (std2 * rho)[:, None] * outer_nodes[None, :] + mean2[:, None]
    own = (std2 * spread)[:, None] * inner_nodes[None, :]
    inner_values = second(common[:, :, None] + own[:, None, :]) @ inner_weights
    return (outer_values * inner_values) @ outer_weights


def _bias(name: str, bias: Array | None, weights: Array) -> Array:
    if bias is None:
        return jnp.zeros(weights.shape[0], weights.dtype)
    check_shape(name, bias, ndim=1, rows=weights.shape[0])
    return check_finite(name, jnp.asarray(bias))
