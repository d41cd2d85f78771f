"""Risk and turning risk as smooth functions of whatever training was set up with."""

from theory.derivatives.covariance import filtered_force
from theory.derivatives.moments import Moments, MomentsOverRatios, beta_weights
from theory.derivatives.risk import TurningPoint, differentiable_parts, differentiable_risk, turning_risk

__all__ = [
    "Moments",
    "MomentsOverRatios",
    "TurningPoint",
    "beta_weights",
    "differentiable_parts",
    "differentiable_risk",
    "filtered_force",
    "turning_risk",
]
