"""Expected Mixup: the average over all pairs of a sample and over the ratio's law, in one pass."""

from rfm.expected.problem import ExpectedProblem, expected_mixup
from rfm.expected.quadrature import RatioRule, ratio_rule

__all__ = ["ExpectedProblem", "RatioRule", "expected_mixup", "ratio_rule"]
