"""Mini-batches: what drawing rows adds to the mean, step by step and in the limit."""

from theory.batches.curve import MinibatchCurve, largest_stable_step, minibatch_curve
from theory.batches.moments import Batches, BatchMoments, batch_moments

__all__ = [
    "BatchMoments",
    "Batches",
    "MinibatchCurve",
    "batch_moments",
    "largest_stable_step",
    "minibatch_curve",
]
