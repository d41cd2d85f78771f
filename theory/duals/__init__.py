"""Duals of activations: means of products of two neurons over Gaussian inputs, in closed form or to full accuracy."""

from theory.duals.activations import ACTIVATIONS, BrokenConstant, BrokenLine, activation, leaky_relu
from theory.duals.dual import derivative, dual, dual_estimate, gaussian_mean
from theory.duals.hermite import AccuracyWarning, hermite_coefficients

__all__ = [
    "ACTIVATIONS",
    "AccuracyWarning",
    "BrokenConstant",
    "BrokenLine",
    "activation",
    "derivative",
    "dual",
    "dual_estimate",
    "gaussian_mean",
    "hermite_coefficients",
    "leaky_relu",
]
