"""Expected Mixup: the average over all pairs of a sample and over the ratio's law, in one pass."""

from rfm.expected.noise import label_noise
from rfm.expected.problem import ExpectedProblem, expected_mixup
from rfm.expected.quadrature import ratio_quadrature

__all__ = ["ExpectedProblem", "expected_mixup", "label_noise", "ratio_quadrature"]
