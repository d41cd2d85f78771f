"""Training rules: how each steps, and what many of its steps make of every mode, in closed form."""

from theory.rules.averaged import Averaged
from theory.rules.descent import GradientDescent
from theory.rules.flow import GradientFlow
from theory.rules.momentum import HeavyBall, Nesterov, NesterovIncreasing
from theory.rules.rule import ConstantStep, Response, Rule
from theory.rules.schedule import StepSchedule, cosine_steps, inverse_sqrt_steps, step_decay_steps
from theory.rules.series import mean_decay

__all__ = [
    "Averaged",
    "ConstantStep",
    "GradientDescent",
    "GradientFlow",
    "HeavyBall",
    "Nesterov",
    "NesterovIncreasing",
    "Response",
    "Rule",
    "StepSchedule",
    "cosine_steps",
    "inverse_sqrt_steps",
    "mean_decay",
    "step_decay_steps",
]
