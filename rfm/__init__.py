"""Over-training with Mixup in random-feature regression: problems, their exact risk curves, and real training.

What most need is here by name; the rest is in the chapters: `rfm.data`, `rfm.mixup`, `rfm.expected`, `rfm.training`,
`rfm.decide`, `rfm.networks`.
"""

# Before anything of theory is imported.
from rfm import hidden  # noqa: F401

# isort: split
from rfm import data, decide, expected, mixup, networks, training
from rfm.bounds import liu2023_risk_bound
from rfm.data import DataTask, GaussianTask, Sample, TeacherStudent, load_dataset
from rfm.decide import advise, closed_form_switch, compare_cures, tune_mixup
from rfm.expected import expected_mixup
from rfm.features import RandomFeatures
from rfm.labels import risk_over_labels
from rfm.mixup import ERM, Mixup, SimilarLabels
from rfm.phases import TrainingPhase, closed_form_phases
from rfm.precision import PrecisionWarning
from rfm.problem import Problem
from rfm.solve import Solution, closed_form, solve
from rfm.synthesis import synthesize
from rfm.training import (
    minibatch_curve,
    simulate,
    simulate_many,
    simulate_minibatch,
    simulate_phases,
)
from theory import Batches, Population, Start, TestSet

__all__ = [
    "ERM",
    "Batches",
    "DataTask",
    "GaussianTask",
    "Mixup",
    "Population",
    "PrecisionWarning",
    "Problem",
    "RandomFeatures",
    "Sample",
    "SimilarLabels",
    "Solution",
    "Start",
    "TeacherStudent",
    "TestSet",
    "TrainingPhase",
    "advise",
    "closed_form",
    "closed_form_phases",
    "closed_form_switch",
    "compare_cures",
    "data",
    "decide",
    "expected",
    "expected_mixup",
    "liu2023_risk_bound",
    "load_dataset",
    "minibatch_curve",
    "mixup",
    "networks",
    "risk_over_labels",
    "simulate",
    "simulate_many",
    "simulate_minibatch",
    "simulate_phases",
    "solve",
    "synthesize",
    "training",
    "tune_mixup",
]
