"""Closed forms on arrays: spectra, rules, risk curves. No randomness, no files, no clock.

A module is a namespace: `theory.rules`, `theory.noise`, `theory.duals`, `theory.batches`, `theory.derivatives`,
`theory.bounds`, `theory.phases`, `theory.switching`, `theory.views` and the others below hold what is asked for less
often.
"""

from theory import (
    batches,
    bounds,
    curve,
    derivatives,
    duals,
    labels,
    minimum,
    noise,
    phases,
    population,
    risk,
    rules,
    spectrum,
    switching,
    views,
)
from theory.batches import Batches
from theory.curve import Curve, risk_curve
from theory.duals import dual
from theory.noise import mixup_noise
from theory.population import Averages, Population, TestSet
from theory.risk import Start
from theory.rules import (
    Averaged,
    ConstantStep,
    GradientDescent,
    GradientFlow,
    HeavyBall,
    Nesterov,
    NesterovIncreasing,
    Rule,
    StepSchedule,
)
from theory.spectrum import Spectrum, decompose

__all__ = [
    "Averaged",
    "Averages",
    "Batches",
    "ConstantStep",
    "Curve",
    "GradientDescent",
    "GradientFlow",
    "HeavyBall",
    "Nesterov",
    "NesterovIncreasing",
    "Population",
    "Rule",
    "Spectrum",
    "Start",
    "StepSchedule",
    "TestSet",
    "batches",
    "bounds",
    "curve",
    "decompose",
    "derivatives",
    "dual",
    "duals",
    "labels",
    "minimum",
    "mixup_noise",
    "noise",
    "phases",
    "population",
    "risk",
    "risk_curve",
    "rules",
    "spectrum",
    "switching",
    "views",
]
