"""Laws of mixing: which pairs of samples are interpolated, at what ratios."""

from rfm.mixup.laws import ERM, Law, Mixup
from rfm.mixup.pairing import PairTable

__all__ = ["ERM", "Law", "Mixup", "PairTable"]
