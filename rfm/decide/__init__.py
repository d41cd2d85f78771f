"""Decisions: what to do about over-training, which law and ridge, and advice on one's own data."""

from rfm.decide.actions import Action, Advice
from rfm.decide.advice import advise
from rfm.decide.budget import Trainer
from rfm.decide.controls import NoiseControls, noise_controls
from rfm.decide.cures import Cure, best_ridge, compare_cures
from rfm.decide.estimates import Estimate
from rfm.decide.learning_curve import LearningCurve, learning_curve
from rfm.decide.leave_one_out import LeaveOneOut, leave_one_out
from rfm.decide.step_sizes import with_step_sizes
from rfm.decide.switch import closed_form_switch
from rfm.decide.tuning import MixupFamily, Tuned, mixup_family, tune_mixup
from rfm.decide.which_law import LawComparison, compare_laws, usual_laws

__all__ = [
    "Action",
    "Advice",
    "Cure",
    "Estimate",
    "LawComparison",
    "LearningCurve",
    "LeaveOneOut",
    "MixupFamily",
    "NoiseControls",
    "Trainer",
    "Tuned",
    "advise",
    "best_ridge",
    "closed_form_switch",
    "compare_cures",
    "compare_laws",
    "learning_curve",
    "leave_one_out",
    "mixup_family",
    "noise_controls",
    "tune_mixup",
    "usual_laws",
    "with_step_sizes",
]
