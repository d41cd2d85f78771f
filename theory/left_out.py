"""Leave-one-out along the whole training path: each row as seen by the model that was trained without it.

At a fixed ridge s the model without row i is known from the one with it: with e_i(s) the residual of row i and h_i(s)
its leverage, the residual of the model without it is exactly

    r_i(s) = e_i(s) / (1 - h_i(s)),        h_i(s) = phi_iᵀ (C + s)^-1 phi_i / n.

In time the shortcut is false, but the path of training is made of ridges: the flow's residual at t is the transform of
r_i(s) / s, which `theory.contour` takes back to time. One decomposition serves all rows and all times. Without row i
the mean is over n - 1 rows, whose covariance is that of the others: the ridge s there is s (n - 1) / n here.

With A the left singular vectors and kept_k = s / (mu_k + s), both parts are sums without cancellation,

    1 - h_i = sum_k A_ik^2 kept_k + o_i,        e_i = sum_k A_ik (Aᵀ y)_k kept_k + (y - A Aᵀ y)_i,

o_i = 1 - sum_k A_ik^2 being what of the unit vector of row i lies outside of the range of Phi; nothing, if there are no
more rows than features.

How far rounding goes. The factorisation is exact for a Phi that is off by dA, epsilons of its norm s_0, and so are the
models without a row. As in `theory.trust`, weights drift by dAᵀ e and Aᵀ dA theta, and the prediction at row i by what
of that exp(-C t) phi_i still sees, C being without row i. Gradient flow at t has moved no mode by more than 1.3 times
what the ridge 1/t has, and left no more of it (`ali2019gradientflow`); so all that is needed are quantities of ridges:

    J     the loss |e|^2 + |theta|^2 / t, a mean over rows whose sum only falls where one is left out: then e is at most
          sqrt(J), and theta sqrt(t J);
    v_i   1.3 |(C + 1/t)^-1 phi_i|, the length of what phi_i has seen until t, from the same shortcut as above,

    |dr_i| <= epsilon s_0 [ min(t |phi_i| sqrt(J), v_i |y|) + sqrt(t J) min(sqrt(t) |phi_i|, sqrt(v_i |phi_i|)) ]

but for factors of the order of log(mu_max t), from integrals of lengths in the place of lengths of integrals. That
grows as the root of t until the slowest mode without row i is learnt, and as t for labels out of the range where there
is a null mode. The contour adds its own error, which is the same for all modes that are slow beside `SLOW` times the
end of its window: of |y_i| once, and twice of what modes have learnt by that time, which is at most
1.3 |phi_i| sqrt(t J) and sqrt(v_i |phi_i|) |y|. With a ridge r, 1/t is 1/t + r throughout.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from theory import linalg
from theory.blocks import as_columns
from theory.checks import untraced
from theory.contour import SAFETY, SLOW, TOLERANCE, contours
from theory.trust import FACTOR, FIRST_ORDER

LEANING = 0.1
"""Rows of a share outside of the range below this are projected out of it once more: 1 less almost 1 is rounding."""
OF_A_RIDGE = 1.3
"""By how much gradient flow at t may have moved a mode farther than the ridge 1/t (Ali, Kolter and Tibshirani 2019)."""


class LeftOut(NamedTuple):
    """Each row as seen without it.

    Attributes:
        residuals: y_i less what the model trained without row i says of it.
        error: a bound on the root mean square over rows of what rounding does to them, all targets together.
    """

    residuals: Float[Array, "samples times targets"]
    error: Float[Array, "times"]


class _Factors(NamedTuple):
    """What the data are, once for all times.

    Attributes:
        eigenvalues: mu.
        left: Aᵀ.
        coordinates: Aᵀ y.
        outside: y - A Aᵀ y.
        beyond: o.
    """

    eigenvalues: Float[np.ndarray, "modes"]
    left: Float[np.ndarray, "modes samples"]
    coordinates: Float[np.ndarray, "modes targets"]
    outside: Float[np.ndarray, "samples targets"]
    beyond: Float[np.ndarray, "samples"]


@untraced
def left_out_residuals(
    features: Float[Array, "samples features"],
    labels: Float[Array, "samples"] | Float[Array, "samples targets"],
    times: Float[np.ndarray, "times"],
    ridge: float = 0.0,
) -> LeftOut:
    """What gradient flow from zero, on all rows but one, leaves of that row's label: of each row, at each time.

    Exact to about 1e-11 of the labels' size and to rounding (``tests/theory/test_left_out.py``).

    Args:
        features: Phi, two rows or more.
        labels: y, one column a target.
        times: ascending, not negative, finite.
        ridge: coupled weight decay.

    >>> phi, y = jnp.asarray([[1.0], [2.0]]), jnp.asarray([1.0, 1.0])
    >>> found = left_out_residuals(phi, y, np.asarray([0.0, 1.0]))  # 1 - (1 - exp(-4 t)) / 2, 1 - 2 (1 - exp(-t))
    >>> found.residuals[:, :, 0].round(6).tolist()
    [[1.0, 0.509158], [1.0, -0.264241]]
    """
    phi, y, _ = as_columns((features, labels, None))
    there = _factors(phi, y)
    residuals = np.repeat(np.asarray(y, float)[:, None, :], len(times), axis=1)
    windows = contours(times[times > 0]) if times[-1] > 0 else []
    first = len(times) - sum(len(contour.weights) for contour in windows)
    ends = times.copy()
    for contour in windows:
        now = slice(first, first + len(contour.weights))
        transform = _resolved(there, contour.nodes + ridge) / contour.nodes[:, None, None]
        residuals[:, now] = np.moveaxis(contour.in_time(transform), 0, 1)
        ends[now], first = SLOW * times[now.stop - 1], now.stop
    error = _error(there, np.asarray(y, float), times, ends, ridge, float(jnp.finfo(phi.dtype).eps))
    return LeftOut(linalg.on_device(residuals, phi.dtype), linalg.on_device(error, phi.dtype))


def _factors(features: Array, labels: Array) -> _Factors:
    singular, left = (np.asarray(part, float) for part in linalg.left_vectors(features))
    y = np.asarray(labels, float)
    coordinates = left @ y
    if left.shape[0] == left.shape[1]:  # what is found outside of as many modes as rows is rounding
        return _Factors(singular**2 / len(y), left, coordinates, np.zeros_like(y), np.zeros(len(y)))
    outside, beyond = y - left.T @ coordinates, 1 - np.sum(left**2, axis=0)
    (leaning,) = np.nonzero(beyond < LEANING)  # hardly more of them than features
    rest = -left[:, leaning].T @ left
    rest[np.arange(len(leaning)), leaning] += 1
    beyond[leaning], outside[leaning] = np.sum(rest**2, axis=1), rest @ outside
    return _Factors(singular**2 / len(y), left, coordinates, outside, beyond)


def _resolved(there: _Factors, ridges: Complex[np.ndarray, "nodes"]) -> Complex[np.ndarray, "nodes samples targets"]:
    """r_i(s)."""
    shifted = ridges[None, :] * (1 - 1 / len(there.beyond))
    kept = shifted / (there.eigenvalues[:, None] + shifted)
    share = _sums(there.left**2, kept) + there.beyond[:, None]
    own = (_sums(there.left, kept * along[:, None]) for along in there.coordinates.T)
    parts = [(found + beside[:, None]) / share for found, beside in zip(own, there.outside.T, strict=True)]
    return np.stack(parts, axis=2).swapaxes(0, 1)


def _sums(
    left: Float[np.ndarray, "modes samples"], kept: Complex[np.ndarray, "modes nodes"]
) -> Complex[np.ndarray, "samples nodes"]:
    """A kept, as one product of real numbers: numpy would make both sides complex."""
    return (left.T @ kept.view(float)).view(complex)


def _error(
    there: _Factors,
    labels: Float[np.ndarray, "samples targets"],
    times: Float[np.ndarray, "times"],
    ends: Float[np.ndarray, "times"],
    ridge: float,
    epsilon: float,
) -> Float[np.ndarray, "times"]:
    """The bound of the head of this file, for the root mean square over rows."""
    number, mu = len(labels), there.eigenvalues
    reach, largest = times / (1 + ridge * times), mu[0] * number / (number - 1)
    size, power = np.sqrt(number * (mu @ there.left**2))[:, None], np.sqrt(np.sum(labels**2) / (number - 1))
    loss, seen, slowly = _root_loss(there, reach), _seen(there, reach), 2 + np.log1p(largest * reach)
    by_residual = np.minimum(slowly * reach * loss * size, slowly * power * seen)
    by_weights = np.minimum(np.sqrt(reach) * size, slowly * np.sqrt(seen * size))
    drift = np.sqrt(largest) * (by_residual + OF_A_RIDGE * np.sqrt(reach) * loss * by_weights)
    windows, of_time = np.unique(ends / (1 + ridge * ends), return_inverse=True)
    by_loss = OF_A_RIDGE * np.sqrt(windows) * _root_loss(there, windows) * size
    learnt = power + 2 * _rms(np.minimum(by_loss, power * np.sqrt(_seen(there, windows) * size)))[of_time]
    error = FACTOR * epsilon * _rms(drift) + (SAFETY * TOLERANCE + FACTOR * epsilon) * learnt
    return np.where(FACTOR * epsilon * np.sqrt(largest * reach) < FIRST_ORDER, error, np.inf)


def _root_loss(there: _Factors, reach: Float[np.ndarray, "times"]) -> Float[np.ndarray, "times"]:
    """The root of J, all targets together."""
    along, outside = np.sum(there.coordinates**2, axis=1), np.sum(there.outside**2)
    return np.sqrt((_kept(there, reach).T @ along + outside) / (len(there.beyond) - 1))


def _seen(there: _Factors, reach: Float[np.ndarray, "times"]) -> Float[np.ndarray, "samples times"]:
    """v, of each row."""
    kept, number = _kept(there, reach), len(there.beyond)
    share = (there.left**2).T @ kept + there.beyond[:, None]
    alone = (there.left**2).T @ (there.eigenvalues[:, None] * kept**2)
    return OF_A_RIDGE * np.sqrt(number) * reach[None, :] * np.sqrt(alone) / share


def _kept(there: _Factors, reach: Float[np.ndarray, "times"]) -> Float[np.ndarray, "modes times"]:
    """What ridges 1 / reach leave of each mode of the model with all rows, on the clock of one less."""
    number = len(there.beyond)
    return 1 / (1 + there.eigenvalues[:, None] * reach[None, :] * number / (number - 1))


def _rms(values: Float[np.ndarray, "samples times"]) -> Float[np.ndarray, "times"]:
    return np.sqrt(np.mean(values**2, axis=0))
