"""Laws of mixing: which pairs of samples are interpolated, at what ratios."""

from rfm.mixup.law import ERM, Law
from rfm.mixup.laws import Mixup
from rfm.mixup.partners import NearestInputs, OtherClass, OtherSamples, Partners, SameClass, SimilarLabels
from rfm.mixup.ratios import BetaRatio, FixedRatio, RatioQuadrature
from rfm.mixup.table import PairTable

__all__ = [
    "ERM",
    "BetaRatio",
    "FixedRatio",
    "Law",
    "Mixup",
    "NearestInputs",
    "OtherClass",
    "OtherSamples",
    "PairTable",
    "Partners",
    "RatioQuadrature",
    "SameClass",
    "SimilarLabels",
]
