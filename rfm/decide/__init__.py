"""Decisions: what to do about over-training, which law and ridge, and advice on one's own data."""

from rfm.decide.actions import Action, Advice, Estimate
from rfm.decide.advice import advise
from rfm.decide.controls import NoiseControls, noise_controls
from rfm.decide.cures import Cure, best_ridge, compare_cures
from rfm.decide.step_sizes import with_step_sizes
from rfm.decide.switch import closed_form_switch
from rfm.decide.tuning import MixupFamily, Tuned, mixup_family, tune_mixup

__all__ = [
    "Action",
    "Advice",
    "Cure",
    "Estimate",
    "MixupFamily",
    "NoiseControls",
    "Tuned",
    "advise",
    "best_ridge",
    "closed_form_switch",
    "compare_cures",
    "mixup_family",
    "noise_controls",
    "tune_mixup",
    "with_step_sizes",
]
