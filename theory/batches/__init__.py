"""Mini-batches: what drawing rows adds to the mean, step by step and in the limit."""

from theory.batches.curve import MinibatchCurve, minibatch_curve
from theory.batches.moments import BatchMoments, batch_moments
from theory.batches.rows import stars
from theory.batches.sampling import Batches
from theory.batches.stability import largest_stable_step, largest_stable_step_of_rows

__all__ = [
    "BatchMoments",
    "Batches",
    "MinibatchCurve",
    "batch_moments",
    "largest_stable_step",
    "largest_stable_step_of_rows",
    "minibatch_curve",
    "stars",
]
