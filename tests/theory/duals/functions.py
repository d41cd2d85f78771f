"""Activations with their twins, and rows of weights to try them on."""

import functools
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
import scipy.integrate
import scipy.special
import scipy.stats

import theory

Function = Callable[[np.ndarray], np.ndarray]


def density(x: np.ndarray) -> np.ndarray:
    return np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)


def sigmoid_slope(x: np.ndarray) -> np.ndarray:
    return scipy.special.expit(x) * scipy.special.expit(-x)


# Each with a numpy twin, and the derivative worked out by hand.
FUNCTIONS: dict[str, tuple[str | theory.duals.activations.Activation, Function, Function]] = {
    "tanh": ("tanh", np.tanh, lambda x: np.cosh(np.clip(x, -300, 300)) ** -2.0),
    "sigmoid": ("sigmoid", scipy.special.expit, sigmoid_slope),
    "softplus": ("softplus", lambda x: np.logaddexp(0, x), scipy.special.expit),
    "silu": ("silu", lambda x: x * scipy.special.expit(x), lambda x: scipy.special.expit(x) + x * sigmoid_slope(x)),
    "erf": ("erf", scipy.special.erf, lambda x: 2 / np.sqrt(np.pi) * np.exp(-(x**2))),
    "gelu": ("gelu", lambda x: x * scipy.special.ndtr(x), lambda x: scipy.special.ndtr(x) + x * density(x)),
    "relu": ("relu", lambda x: np.maximum(x, 0), lambda x: 1.0 * (x > 0)),
    "leaky_relu": (
        theory.duals.leaky_relu(0.1),
        lambda x: np.where(x > 0, x, 0.1 * x),
        lambda x: np.where(x > 0, 1, 0.1),
    ),
    "abs": ("abs", np.abs, np.sign),
    "sign": ("sign", np.sign, np.zeros_like),
    "sin": ("sin", np.sin, np.cos),
    "cos": ("cos", np.cos, lambda x: -np.sin(x)),
    "exp": ("exp", np.exp, np.exp),
    "gaussian": ("gaussian", lambda x: np.exp(-(x**2)), lambda x: -2 * x * np.exp(-(x**2))),
    "identity": ("identity", lambda x: x, np.ones_like),
    "square": (jnp.square, np.square, lambda x: 2 * x),
    "cube": (lambda x: x**3, lambda x: x**3, lambda x: 3 * x**2),
}


GENERIC = np.random.default_rng(0).normal(size=(3, 3)) * np.asarray([[0.3], [1.0], [1.5]])
LONG = np.asarray([[3.0, -4.0, 3.0], [-2.0, 5.0, 3.0]])  # |w| of 5.8 and 6.2, where tanh's series is slow
ROWS = np.concatenate(
    [
        GENERIC,
        2.5 * GENERIC[1:2],  # collinear
        -0.7 * GENERIC[2:3],  # antiparallel
        1e-9 * GENERIC[:1] + 1e-9,  # tiny
        np.zeros((1, 3)),
    ]
)


PARTNERS = np.concatenate([ROWS[::2], np.random.default_rng(1).normal(size=(2, 3))])


def rows_for(name: str) -> np.ndarray:
    return ROWS if name == "exp" else np.concatenate([ROWS, LONG])


def angle(w: np.ndarray, v: np.ndarray) -> float:
    """Between two rows; exact to rounding where they are collinear, unlike the arc cosine."""
    if not (w.any() and v.any()):
        return np.pi / 2
    w, v = w / np.linalg.norm(w), v / np.linalg.norm(v)
    return 2 * np.arctan2(np.linalg.norm(w - v), np.linalg.norm(w + v))


@functools.cache
def legendre(num_points: int) -> tuple[np.ndarray, np.ndarray]:
    return np.polynomial.legendre.leggauss(num_points)


def polar(first: Function, length1: float, second: Function, length2: float, phi: float, points: int = 110) -> float:
    """E s(|w| g) q(|v| g') at angle phi, in polar coordinates; arcs end on the lines where u or v changes its sign."""
    edges = np.sort([-np.pi / 2, phi - np.pi / 2, np.pi / 2, phi + np.pi / 2, 3 * np.pi / 2])
    node, weight = legendre(points)
    theta = (edges[:-1, None] + np.diff(edges)[:, None] * (1 + node) / 2).ravel()
    theta_weight = (np.diff(edges)[:, None] * weight / 2).ravel()
    radius, radius_weight = 6.5 * (1 + node), 6.5 * weight
    along, across = np.outer(np.cos(theta), radius), np.outer(np.cos(theta - phi), radius)
    values = first(length1 * along) * second(length2 * across)
    return float(theta_weight @ values @ (radius_weight * radius * np.exp(-(radius**2) / 2)) / (2 * np.pi))


def polar_dual(first: Function, rows1: np.ndarray, second: Function, rows2: np.ndarray) -> np.ndarray:
    lengths1, lengths2 = np.linalg.norm(rows1, axis=1), np.linalg.norm(rows2, axis=1)
    return np.asarray(
        [
            [polar(first, a, second, b, angle(w, v)) for v, b in zip(rows2, lengths2, strict=True)]
            for w, a in zip(rows1, lengths1, strict=True)
        ]
    )
