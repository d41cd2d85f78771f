"""Closed forms on arrays: spectra, filters, risk curves. No randomness, no files, no clock."""

from theory.activations import ACTIVATIONS, BrokenConstant, BrokenLine, activation, leaky_relu
from theory.curve import Curve, Decomposition, check_stable, risk_curve
from theory.duals import AccuracyWarning, activation_means, derivative, dual, dual_estimate
from theory.filters import GradientDescent, GradientFlow, Rule, mean_decay
from theory.hermite import hermite_coefficients
from theory.population import Averages, Population, RiskParts, TestSet
from theory.risk import ModeRisk, Start, mode_risk, noise_weights, risk_parts, train_loss, weights
from theory.spectrum import METHODS, Spectrum, check_method, decompose, decompose_blocks, suggest_method
from theory.turning import turning_point

__all__ = [
    "ACTIVATIONS",
    "METHODS",
    "AccuracyWarning",
    "Averages",
    "BrokenConstant",
    "BrokenLine",
    "Curve",
    "Decomposition",
    "GradientDescent",
    "GradientFlow",
    "ModeRisk",
    "Population",
    "RiskParts",
    "Rule",
    "Spectrum",
    "Start",
    "TestSet",
    "activation",
    "activation_means",
    "check_method",
    "check_stable",
    "decompose",
    "decompose_blocks",
    "derivative",
    "dual",
    "dual_estimate",
    "hermite_coefficients",
    "leaky_relu",
    "mean_decay",
    "mode_risk",
    "noise_weights",
    "risk_curve",
    "risk_parts",
    "suggest_method",
    "train_loss",
    "turning_point",
    "weights",
]
