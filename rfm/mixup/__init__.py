"""Laws of mixing: which pairs of samples are interpolated, at what ratios."""

from rfm.mixup.laws import ERM, Law, Mixup
from rfm.mixup.pairing import PairTable
from rfm.mixup.ratios import BetaRatio, FixedRatio, RatioQuadrature

__all__ = ["ERM", "BetaRatio", "FixedRatio", "Law", "Mixup", "PairTable", "RatioQuadrature"]
