"""Closed forms on arrays: spectra, filters, risk curves. No randomness, no files, no clock."""

from theory.activations import ACTIVATIONS, BrokenConstant, BrokenLine, activation, leaky_relu
from theory.averaging import Averaged
from theory.batches import BatchLaw, BatchMoments, batch_moments
from theory.bounds import RiskBound, bounded_noise_risk, liu2023_risk_bound
from theory.curve import Curve, Decomposition, check_stable, risk_curve
from theory.duals import derivative, dual, dual_estimate, gaussian_mean
from theory.filters import ConstantStep, GradientDescent, GradientFlow, Rule, mean_decay
from theory.hermite import AccuracyWarning, hermite_coefficients
from theory.matrix_functions import filtered_force
from theory.minibatch import MinibatchCurve, largest_stable_step, minibatch_curve
from theory.momentum import HeavyBall, Nesterov, NesterovIncreasing
from theory.noise import (
    CurvatureEstimate,
    LabelSpectrum,
    NoiseMoments,
    beta_noise_moments,
    beta_rule,
    cross_entropy_floor,
    estimate_curvature,
    hard_label_error,
    label_spectrum,
    lipschitz_upper,
    liu2023_sup_lower,
    mixed_probabilities,
    mixup_noise,
    noise_moments,
    passed_on_covariance,
    quadratic_noise,
    smoothness_upper,
    strong_convexity_lower,
    total_variation_lower,
)
from theory.phases import Phase, end_of, phase_ends, phased_curve
from theory.population import Averages, Population, RiskParts, TestSet
from theory.risk import ModeRisk, Start, mode_risk, noise_weights, risk_parts, train_loss, weights
from theory.schedules import StepSchedule, cosine_steps, inverse_sqrt_steps, step_decay_steps
from theory.sensitivity import (
    Moments,
    MomentsOverRatios,
    TurningPoint,
    beta_weights,
    differentiable_parts,
    differentiable_risk,
    turning_risk,
)
from theory.smoother import RiskOverLabels, risk_over_labels
from theory.spectrum import METHODS, Spectrum, check_method, decompose, decompose_blocks, suggest_method
from theory.switching import SwitchCurve, switch_curve
from theory.turning import turning_point

__all__ = [
    "ACTIVATIONS",
    "METHODS",
    "AccuracyWarning",
    "Averaged",
    "Averages",
    "BatchLaw",
    "BatchMoments",
    "BrokenConstant",
    "BrokenLine",
    "ConstantStep",
    "CurvatureEstimate",
    "Curve",
    "Decomposition",
    "GradientDescent",
    "GradientFlow",
    "HeavyBall",
    "LabelSpectrum",
    "MinibatchCurve",
    "ModeRisk",
    "Moments",
    "MomentsOverRatios",
    "Nesterov",
    "NesterovIncreasing",
    "NoiseMoments",
    "Phase",
    "Population",
    "RiskBound",
    "RiskOverLabels",
    "RiskParts",
    "Rule",
    "Spectrum",
    "Start",
    "StepSchedule",
    "SwitchCurve",
    "TestSet",
    "TurningPoint",
    "activation",
    "batch_moments",
    "beta_noise_moments",
    "beta_rule",
    "beta_weights",
    "bounded_noise_risk",
    "check_method",
    "check_stable",
    "cosine_steps",
    "cross_entropy_floor",
    "decompose",
    "decompose_blocks",
    "derivative",
    "differentiable_parts",
    "differentiable_risk",
    "dual",
    "dual_estimate",
    "end_of",
    "estimate_curvature",
    "filtered_force",
    "gaussian_mean",
    "hard_label_error",
    "hermite_coefficients",
    "inverse_sqrt_steps",
    "label_spectrum",
    "largest_stable_step",
    "leaky_relu",
    "lipschitz_upper",
    "liu2023_risk_bound",
    "liu2023_sup_lower",
    "mean_decay",
    "minibatch_curve",
    "mixed_probabilities",
    "mixup_noise",
    "mode_risk",
    "noise_moments",
    "noise_weights",
    "passed_on_covariance",
    "phase_ends",
    "phased_curve",
    "quadratic_noise",
    "risk_curve",
    "risk_over_labels",
    "risk_parts",
    "smoothness_upper",
    "step_decay_steps",
    "strong_convexity_lower",
    "suggest_method",
    "switch_curve",
    "total_variation_lower",
    "train_loss",
    "turning_point",
    "turning_risk",
    "weights",
]
