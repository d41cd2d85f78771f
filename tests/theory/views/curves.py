"""One curve of each kind, which the tests of all views share."""

import jax

import rfm
import theory
from tests.problems import named

STEPS = [0, 1, 2, 5, 20, 100]
PROBLEM = named("tall")
BARE = rfm.Problem(PROBLEM.features, PROBLEM.labels, population=PROBLEM.population)
RULE = theory.GradientDescent(0.5)
CLEAN = rfm.Problem(PROBLEM.features, PROBLEM.clean_labels, PROBLEM.clean_labels, population=PROBLEM.population)
SWITCH = rfm.closed_form_switch(PROBLEM, CLEAN, budget=50.0)
MINIBATCH = rfm.minibatch_curve(PROBLEM, batches=rfm.Batches(4), step_size=0.1, steps=STEPS)
RISK_CURVES: dict[str, theory.curve.RiskCurve] = {
    "flow": rfm.closed_form(PROBLEM, times=[0.0, 1.0, 10.0]),
    "descent": rfm.closed_form(PROBLEM, steps=STEPS, rule=RULE),
    "measured": rfm.simulate(PROBLEM, step_size=0.5, steps=STEPS),
    "without parts": rfm.closed_form(BARE, times=[0.0, 1.0, 10.0]),
    "one time": rfm.closed_form(PROBLEM, times=[1.0]),
    "at the start": rfm.closed_form(PROBLEM, times=[0.0]),
}
NOWHERE = jax.tree.map(lambda leaf: jax.numpy.full_like(leaf, jax.numpy.nan, dtype=float), RISK_CURVES["flow"])
"""A curve of which nothing is a number."""
CURVES: dict[str, theory.views.Drawn] = {**RISK_CURVES, "switch": SWITCH, "batches": MINIBATCH, "nowhere": NOWHERE}
