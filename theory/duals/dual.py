"""Gaussian expectations of pairs of activations: populations without a test set.

For x ~ N(0, I) and rows w, v the pre-activations w . x and v . x are Gaussian, and

    E[s(w . x) q(v . x)] = sum_k a_k(|w|) b_k(|v|) rho^k,       rho = w . v / (|w| |v|)                      (Mehler)

with the Hermite coefficients of `duals.hermite`. Closed forms serve where they exist (`duals.closed`), the series and
quadrature elsewhere (`duals.mehler`). Derivatives follow from Price's theorem, d E[s q] / d Cov = E[s' q'], and are
finite on the diagonal and at zero rows, where differentiating through rho would divide by zero.
"""

from functools import lru_cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from theory.checks import as_floating, check_finite, check_shape, check_untraced, is_traced
from theory.duals.activations import Activation, BrokenConstant, activation
from theory.duals.closed import ClosedForm, PairMoments, Pairs, RowPairs, broken_constant, broken_line, closed_dual
from theory.duals.hermite import hermite_coefficients, warn_of
from theory.duals.mehler import DualEstimate, series_and_quadrature
from theory.linalg import on_device

Rows1 = Float[Array, "rows1 inputs"]
Rows2 = Float[Array, "rows2 inputs"]


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
        no bias (``tests/theory/duals/test_duals.py``); closed forms at any norm from 1e-6 to 1e4 and any angle. Other
        callables are seen down to a feature of 1e-5 of the range of their pre-activations. Differentiable in weights,
        biases and correlation, if the activations have two derivatives or a closed form serves.

    Raises:
        ValueError: shapes that do not fit, activations that are not finite or not elementwise, or that grow so fast
            that E s^2 is not finite, or out of reach.

    Warns:
        AccuracyWarning: the estimated error is above 1e-10: a kink that is not at zero, a narrow bump, say.

    >>> w = jnp.asarray([[1.0, 0.0], [0.0, 0.0]])
    >>> dual("sin", w).round(6).tolist()
    [[0.432332, 0.0], [0.0, 0.0]]
    """
    if weights2 is None:
        weights2, bias2 = weights1, bias1 if bias2 is None else bias2
    activation2 = activation1 if activation2 is None else activation2
    weights1, weights2 = on_device(weights1), on_device(weights2)
    check_shape("weights1", weights1, ndim=2)
    check_shape("weights2", weights2, ndim=2, columns=weights1.shape[1])
    mean1, mean2 = _bias("bias1", bias1, weights1), _bias("bias2", bias2, weights2)
    pairs = RowPairs(weights1, weights2, on_device(correlation, jnp.result_type(weights1, weights2)))
    has_bias = bias1 is not None or bias2 is not None
    form = None if has_bias else closed_dual(activation1, activation2)
    if form is not None:
        return _evaluated(form, pairs)
    return _numeric_dual(activation(activation1), activation(activation2), _moments(pairs, mean1, mean2))


@eqx.filter_jit
def _evaluated(form: ClosedForm, pairs: RowPairs) -> Pairs:
    return form(pairs)


@eqx.filter_jit
def _moments(pairs: RowPairs, mean1: Float[Array, "rows1"], mean2: Float[Array, "rows2"]) -> PairMoments:
    return pairs.moments(mean1, mean2)


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
    zeros1, zeros2 = (on_device(np.zeros(len(rows))) for rows in (weights1, weights2))
    moments = _moments(RowPairs(weights1, weights2), zeros1, zeros2)
    return series_and_quadrature(activation(activation1), second, moments)


def derivative(function: str | Activation) -> Activation:
    """The derivative of an elementwise function, itself elementwise, for the duals of derivatives.

    >>> derivative("sin")(jnp.zeros(2)).tolist()
    [1.0, 1.0]
    """
    line = broken_line(function)
    if line is not None:
        return BrokenConstant(line.slope, line.bend)
    function = activation(function)
    try:
        return _known_slope(function)
    except TypeError:  # a callable that holds arrays has no hash
        return _slope(function)


def _slope(function: Activation) -> Activation:
    def slope(x: Array) -> Array:
        return jax.jvp(function, (x,), (jnp.ones_like(x),))[1]

    return slope


_known_slope = lru_cache(maxsize=64)(_slope)
"""One object a function: whatever is compiled for a derivative is found again."""


def gaussian_mean(
    function: str | Activation, stds: Float[Array, "rows"], means: Float[Array, "rows"]
) -> Float[Array, "rows"]:
    """E s(h z + b) over a standard normal z, for each h and b.

    >>> gaussian_mean("relu", jnp.asarray([5.0, 0.0]), jnp.asarray([0.0, 2.0])).round(6).tolist()
    [1.994711, 2.0]
    """
    ratio = means / jnp.where(stds > 0, stds, 1)
    line, constant = broken_line(function), broken_constant(function)
    if constant is not None:
        share = jax.scipy.special.erf(ratio / jnp.sqrt(2))
        return constant.level + constant.jump * jnp.where(stds > 0, share, jnp.sign(means))
    if line is None:
        check_untraced(stds=stds, means=means)
        coefficients = hermite_coefficients(activation(function), np.asarray(stds), np.asarray(means), 1)
        return on_device(coefficients[:, 0], means.dtype)
    density = jnp.sqrt(2 / jnp.pi) * jnp.exp(-(ratio**2) / 2)
    folded = stds * density + means * jax.scipy.special.erf(ratio / jnp.sqrt(2))
    return line.slope * means + line.bend * jnp.where(stds > 0, folded, jnp.abs(means))


def _numeric_dual(first: Activation, second: Activation, moments: PairMoments) -> Pairs:
    @jax.custom_jvp
    def evaluate(moments: PairMoments) -> Pairs:
        dtype = moments.covariance.dtype
        if not is_traced(*jax.tree.leaves(moments)):
            return on_device(_checked(series_and_quadrature(first, second, moments)), dtype)
        shape = jax.ShapeDtypeStruct(moments.covariance.shape, dtype)
        return jax.pure_callback(
            lambda m: _checked(series_and_quadrature(first, second, m)).astype(dtype),
            shape,
            moments,
            vmap_method="sequential",
        )

    @evaluate.defjvp
    def price(primals: tuple[PairMoments], tangents: tuple[PairMoments]) -> tuple[Pairs, Pairs]:
        (m,), (dm,) = primals, tangents

        def expected(order1: int, order2: int) -> Pairs:
            return _numeric_dual(_differentiated(first, order1), _differentiated(second, order2), m)

        slope = expected(1, 1) * dm.covariance
        slope += expected(2, 0) * dm.power1[:, None] / 2 + expected(0, 2) * dm.power2[None, :] / 2
        slope += expected(1, 0) * dm.mean1[:, None] + expected(0, 1) * dm.mean2[None, :]
        return evaluate(m), slope

    return evaluate(moments)


def _checked(estimate: DualEstimate) -> Float[np.ndarray, "rows1 rows2"]:
    warn_of(estimate.error, "sqrt(E s^2 E q^2)")
    return estimate.values


def _differentiated(function: Activation, order: int) -> Activation:
    for _ in range(order):
        function = derivative(function)
    return function


def _bias(name: str, bias: Array | None, weights: Array) -> Array:
    if bias is None:
        return on_device(np.zeros(weights.shape[0], weights.dtype))
    check_shape(name, bias, ndim=1, rows=weights.shape[0])
    return check_finite(name, as_floating(name, bias))
