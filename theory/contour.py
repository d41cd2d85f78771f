"""From resolvents to time: training's exponentials as a sum over few points of the complex plane.

Some questions have a closed form for the resolvent (s + C)^-1 of the covariance and none for exp(-C t): what a row that
is left out changes, what random features do in the mean. Both are the same function on two sides of a transform,

    f(t) = 1/(2 pi i) times the integral of exp(s t) F(s),        exp(-mu t) from 1 / (s + mu),

along any path that keeps all poles, -mu, to its left. On a hyperbola around the negative axis, s(u) = M (1 + sin(i u -
alpha)), the integrand falls double exponentially, and the trapezoidal rule converges geometrically; one set of points
serves all times between two ends, for the price of the logarithm of their ratio. The points come in conjugate pairs, of
which one is kept: where F is real on the real axis, the other adds the conjugate.

Source: Weideman and Trefethen (2007), `weideman2007contours`, with nodes half a step off the real axis.
"""

import math
from typing import NamedTuple

import numpy as np
import scipy.optimize
from jaxtyping import Complex, Float

from theory.checks import check_within

TOLERANCE = 1e-12
FINEST = 1e-13
"""The least that a tolerance may be: rounding is near."""
SAFETY = 3.0
"""How many tolerances exp(-mu t) is off at most, for all mu >= 0 and t; 2 were measured, and rounding at the finest."""
SLOW = 100.0
"""Between modes of mu t below 1 / SLOW, t the end of the window, that error differs by no more than 2 SAFETY SLOW mu t
tolerances: the sum of a function whose modes are all slow is right in what they have learnt."""
LONGEST = 1e3
"""The ratio of the ends of one window: 20 nodes a decade; longer windows take hardly fewer, and are more to hold."""


class Contour(NamedTuple):
    """Points of the complex plane, and what they weigh at each of some times.

    Attributes:
        nodes: s, those above the real axis; unit 1/time.
        weights: of F(s), in the sum whose real part is f(t).
    """

    nodes: Complex[np.ndarray, "nodes"]
    weights: Complex[np.ndarray, "times nodes"]

    def in_time(self, transform: Complex[np.ndarray, "nodes *axes"]) -> Float[np.ndarray, "times *axes"]:
        """f(t), from F at the nodes; F is analytic off the negative axis, and real on the positive one.

        Accurate to `SAFETY` tolerances relative to what exp(-mu t) is multiplied by (``tests/theory/test_contour.py``).

        >>> (contour,) = contours(np.asarray([0.5, 2.0]))
        >>> contour.in_time(1 / (contour.nodes + 1.0)).round(6).tolist()  # exp(-t)
        [0.606531, 0.135335]
        """
        return np.tensordot(self.weights, transform, 1).real


def contours(times: Float[np.ndarray, "times"], tolerance: float = TOLERANCE) -> list[Contour]:
    """Contours for consecutive windows of the times, each of ends no farther apart than `LONGEST`.

    Args:
        times: ascending, positive, between 1e-300 and 1e300.
        tolerance: of exp(-mu t), absolute.

    Raises:
        ValueError: a tolerance that rounding does not allow.

    >>> [len(contour.nodes) for contour in contours(np.geomspace(0.1, 1e5, 50))]
    [58, 58]
    >>> contours(np.ones(1), tolerance=1e-20)
    Traceback (most recent call last):
    ...
    ValueError: tolerance: must lie between 1e-13 and 0.1, got 1e-20
    """
    tolerance = check_within(
        "tolerance", tolerance, lambda x: (x >= FINEST) & (x <= 0.1), f"must lie between {FINEST:g} and 0.1"
    )
    return [_hyperbola(window, tolerance) for window in _windows(times)]


def _windows(times: Float[np.ndarray, "times"]) -> list[Float[np.ndarray, "_"]]:
    """Evenly in the logarithm; those without a time are left out."""
    logs = np.log(times) - np.log(times[0])
    number = max(1, math.ceil(logs[-1] / math.log(LONGEST)))
    place = np.minimum(np.floor(logs * number / max(logs[-1], 1.0)), number - 1)
    return np.split(times, np.flatnonzero(np.diff(place)) + 1)


def _hyperbola(times: Float[np.ndarray, "times"], tolerance: float) -> Contour:
    """That of fewest nodes: the angle alpha of the asymptotes makes the rate of convergence largest."""
    ratio = float(times[-1] / times[0])
    angle = scipy.optimize.minimize_scalar(
        lambda angle: -_rate(angle, ratio), bounds=(np.pi / 4 + 1e-9, np.pi / 2 - 1e-9), method="bounded"
    ).x
    number = math.ceil(-math.log(tolerance) / _rate(angle, ratio))
    width = _width(angle, ratio)
    step, scale = width / number, (4 * np.pi * angle - np.pi**2) / width * number / times[-1]
    turned = 1j * step * (np.arange(number) + 0.5) - angle
    nodes, slope = scale * (1 + np.sin(turned)), 1j * scale * np.cos(turned)
    return Contour(nodes, np.exp(nodes[None, :] * times[:, None]) * (step * slope / (1j * np.pi))[None, :])


def _rate(angle: float, ratio: float) -> float:
    """The digits, in e-folds, that a node brings."""
    return (np.pi**2 - 2 * np.pi * angle) / _width(angle, ratio)


def _width(angle: float, ratio: float) -> float:
    """How far along the hyperbola the nodes go, A."""
    return float(np.arccosh(((np.pi - 2 * angle) * ratio + 4 * angle - np.pi) / ((4 * angle - np.pi) * np.sin(angle))))
