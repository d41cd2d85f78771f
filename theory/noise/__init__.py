"""Mixup's label noise: the function itself, its bounds, its moments over Gaussian inputs, hard labels."""

from theory.noise.gaussian import NoiseMoments, beta_noise_moments, beta_quadrature, noise_moments, passed_on_covariance
from theory.noise.labels import (
    cross_entropy_floor,
    hard_label_error,
    liu2023_sup_lower,
    mixed_probabilities,
    total_variation_lower,
)
from theory.noise.mixup import (
    CurvatureEstimate,
    estimate_curvature,
    lipschitz_upper,
    mixup_noise,
    quadratic_noise,
    smoothness_upper,
    strong_convexity_lower,
)
from theory.noise.modes import LabelSpectrum, label_spectrum

__all__ = [
    "CurvatureEstimate",
    "LabelSpectrum",
    "NoiseMoments",
    "beta_noise_moments",
    "beta_quadrature",
    "cross_entropy_floor",
    "estimate_curvature",
    "hard_label_error",
    "label_spectrum",
    "lipschitz_upper",
    "liu2023_sup_lower",
    "mixed_probabilities",
    "mixup_noise",
    "noise_moments",
    "passed_on_covariance",
    "quadratic_noise",
    "smoothness_upper",
    "strong_convexity_lower",
    "total_variation_lower",
]
