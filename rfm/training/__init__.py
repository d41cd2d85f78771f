"""The real thing: training by steps, on all rows or on fresh batches, and what is known of batches in closed form."""

from rfm.training.batches import MinibatchRuns, minibatch_curve, simulate_minibatch
from rfm.training.ensemble import simulate_many
from rfm.training.full import simulate, simulate_phases

__all__ = [
    "MinibatchRuns",
    "minibatch_curve",
    "simulate",
    "simulate_many",
    "simulate_minibatch",
    "simulate_phases",
]
