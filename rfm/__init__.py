"""Over-training with Mixup in random-feature regression: problems, their exact risk curves, and real training."""

from rfm.advice import Action, Advice, Estimate, advise
from rfm.bounds import liu2023_risk_bound
from rfm.cures import Cure, best_ridge, compare_cures
from rfm.datasets import DATASETS, DataSet, KernelTruth, RawData, load_dataset, prepare, read_arrays
from rfm.expected import ExpectedProblem, expected_mixup
from rfm.features import FeatureMap, RandomFeatures
from rfm.kernels import KernelProblem, KernelTest
from rfm.labels import risk_over_labels
from rfm.minibatch import MinibatchRuns, minibatch_curve, simulate_minibatch
from rfm.mixup import ERM, Law, Mixup, PairTable
from rfm.phases import TrainingPhase, closed_form_phases, closed_form_switch
from rfm.precision import PrecisionWarning
from rfm.problem import Problem, StreamedProblem
from rfm.progress import progress_bar
from rfm.ratios import RatioRule, ratio_rule
from rfm.solve import Solution, closed_form, solve
from rfm.stability import largest_stable_step
from rfm.synthesis import synthesize
from rfm.tables import Table, load_table
from rfm.tasks import DataTask, GaussianTask, Sample, TeacherStudent
from rfm.training import largest_eigenvalue, simulate, simulate_many, simulate_phases
from rfm.truths import GaussianTruth, LinearTruth, QuadraticTruth, Truth, TwoLayerTeacher
from rfm.tuning import MixupFamily, Tuned, mixup_family, tune_mixup
from theory import Batches, Population, Start, TestSet

__all__ = [
    "DATASETS",
    "ERM",
    "Action",
    "Advice",
    "Batches",
    "Cure",
    "DataSet",
    "DataTask",
    "Estimate",
    "ExpectedProblem",
    "FeatureMap",
    "GaussianTask",
    "GaussianTruth",
    "KernelProblem",
    "KernelTest",
    "KernelTruth",
    "Law",
    "LinearTruth",
    "MinibatchRuns",
    "Mixup",
    "MixupFamily",
    "PairTable",
    "Population",
    "PrecisionWarning",
    "Problem",
    "QuadraticTruth",
    "RandomFeatures",
    "RatioRule",
    "RawData",
    "Sample",
    "Solution",
    "Start",
    "StreamedProblem",
    "Table",
    "TeacherStudent",
    "TestSet",
    "TrainingPhase",
    "Truth",
    "Tuned",
    "TwoLayerTeacher",
    "advise",
    "best_ridge",
    "closed_form",
    "closed_form_phases",
    "closed_form_switch",
    "compare_cures",
    "expected_mixup",
    "largest_eigenvalue",
    "largest_stable_step",
    "liu2023_risk_bound",
    "load_dataset",
    "load_table",
    "minibatch_curve",
    "mixup_family",
    "prepare",
    "progress_bar",
    "ratio_rule",
    "read_arrays",
    "risk_over_labels",
    "simulate",
    "simulate_many",
    "simulate_minibatch",
    "simulate_phases",
    "solve",
    "synthesize",
    "tune_mixup",
]
