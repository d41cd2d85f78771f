"""What is refused at the doors of the library, as a user meets it: without the type checks that the tests switch on."""

import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rfm
import theory
from rfm.features import signature
from tests.tolerances import IDENTITY
from theory.population import check_same_map

SETTING = """
import json, sys
import jax
jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
import numpy as np
import rfm, theory

key = jax.random.key
task = rfm.TeacherStudent(4, 3, key=key(0))
features, other = (rfm.RandomFeatures(4, 6, key=key(seed)) for seed in (1, 9))
endless = rfm.RandomFeatures(4, float("inf"), key=key(1))
bent = rfm.RandomFeatures(4, float("inf"), "relu", key=key(1))
sample = task.sample(8, key=key(2))
few, more = rfm.Sample(sample.inputs, sample.labels[:5], None), rfm.Sample(sample.inputs[:5], sample.labels, None)
odd = rfm.Sample(sample.inputs, sample.labels + 1j, None)
population, phi = task.population(features), features(sample.inputs)
law, fresh, drawn = rfm.Mixup(0.5), rfm.Mixup(0.5, pairs="expected"), rfm.Mixup(alpha=1.0, pairs=9)
problem = rfm.Problem(phi, sample.labels, population=population)
elsewhere = rfm.synthesize(sample, other, law, population=task.population(other))
curve = rfm.closed_form(problem, times=[0.0, 1.0])
flow, descent = theory.GradientFlow(), theory.GradientDescent(0.1)
start = jnp.ones((6, 1))
x, y = np.asarray(sample.inputs), np.asarray(sample.labels)

family = theory.derivatives.MomentsOverRatios.stacked([rfm.solve(problem).moments()] * 2)
family = rfm.decide.MixupFamily(family, (family, family), population)

def risk(labels):
    return rfm.closed_form(rfm.Problem(phi, labels, population=population), times=[0.0, 1.0]).risk[1]

def trained(step_size):
    return rfm.simulate(problem, step_size=step_size, steps=[0, 1]).risk[1]

def scaled(scale, dtype=float):
    test = rfm.TestSet(phi, y)
    return rfm.Problem((scale * phi).astype(dtype), y, population=test)

def labelled(scale, dtype=float):
    labels = (scale * y).astype(dtype)
    return rfm.Problem(phi.astype(dtype), labels, population=rfm.TestSet(phi, y))

found = {}
for call in json.load(sys.stdin):
    try:
        eval(call)
        found[call] = "taken"
    except Exception as error:
        found[call] = f"{type(error).__name__}: {error}"
print(json.dumps(found))
"""

FEW = r"^ValueError: (labels|targets): there are 5 for 8 rows of inputs; pass one a row$"
MORE = r"^ValueError: (labels|targets): there are 8 for 5 rows of inputs; pass one a row$"
COMPLEX = r"^TypeError: \w+: holds values of type complex128; pass real ones"
OTHER_MAP = r"^ValueError: population: was made by another feature map than the features"
NO_KEY = r"^TypeError: keys?: pass jax.random.key\(seed\), got 0$"
NO_PROBLEM = r"^TypeError: (problem|problem of phase 1|mixed|first): pass an rfm.Problem.*, got (a )?Curve"
NO_RULE = r"^TypeError: rule: pass a rule, such as theory.GradientFlow\(\) .*, got 'flow'$"
NO_START = r"^TypeError: start: pass rfm.Start\(weights=...\), .*, got an array of shape \(6, 1\)$"
NO_TOLERANCE = r"^ValueError: tolerance: must be a positive number, got (-1.0|0.0|nan)$"
IN_JIT = r"^TypeError: jit: traces whatever is made inside of it, but values are looked at; call this outside of them"
TRUTH_VALUES = r"^TypeError: (labels|targets): holds values of type bool; pass numbers .* or whole numbers where"

REFUSED = {
    FEW: [
        "rfm.synthesize(few, features, law, population=population)",
        "rfm.synthesize(few, features, rfm.ERM(), population=population)",
        "rfm.synthesize(few, features, law, population=population, block_rows=4)",
        "rfm.synthesize(few, endless, law, population=task.test_set(endless, 5, key=key(3)))",
        "rfm.synthesize(few, features, fresh, population=population)",
        "rfm.decide.mixup_family(few, features, population=population)",
        "rfm.DataTask(x, y[:5], num_test=2)",
        "rfm.data.KernelTruth(x, y[:5])",
        "rfm.data.prepare(x, y[:5])",
        "rfm.advise(x, y[:5], features=features, key=key(0))",
    ],
    MORE: [
        "rfm.synthesize(more, features, law, population=population)",
        "rfm.expected_mixup(more, features, fresh, population=population)",
        "rfm.data.prepare(x[:5], y)",
        "rfm.advise(x[:5], y, features=features, key=key(0))",
    ],
    r"^ValueError: labels: there are 5 for 8 rows of features": ["theory.decompose(phi, sample.labels[:5])"],
    r"^ValueError: truth\(inputs\): there are 5 for 8 rows": [
        "rfm.DataTask(x, y, truth=lambda x: x[:5, 0], num_test=2)"
    ],
    r"^ValueError: values: there are 5, but the table mixes the one at index 7$": [
        "next(law.tables(8, 64)).mix(sample.labels[:5])"
    ],
    COMPLEX: [
        "rfm.synthesize(odd, features, law, population=population)",
        "rfm.expected_mixup(odd, features, fresh, population=population)",
        "rfm.Problem(phi, y + 1j, population=population)",
        "rfm.Problem(1j * phi, y, population=population)",
        "rfm.synthesize(sample, lambda x: 1j * x, law, population=rfm.TestSet(x, y))",
        "rfm.expected_mixup(sample, lambda x: 1j * x, fresh, population=rfm.TestSet(x, y))",
        "rfm.TestSet(phi, y + 1j)",
        "rfm.Population(1j * jnp.eye(2), jnp.ones(2), 1.0)",
        "rfm.Start(weights=1j * start)",
        "rfm.DataTask(x, y + 1j, num_test=2)",
        "rfm.data.KernelTruth(x + 1j, y)",
        "rfm.data.prepare(x + 1j, y)",
        "rfm.data.prepare(x, y + 1j)",
        "rfm.advise(x, y + 1j, features=features, key=key(0))",
        "features(x + 1j)",
        "next(law.tables(8, 64)).mix(y + 1j)",
        "theory.decompose(1j * phi, y)",
        "theory.StepSchedule([1j])",
        "rfm.data.QuadraticTruth(1j * jnp.eye(2), jnp.ones(2))",
        "rfm.data.LinearTruth(1j * jnp.ones(2))",
        "rfm.data.TwoLayerTeacher(jnp.ones((2, 4)), 1j * jnp.ones(2), jnp.tanh)",
        "rfm.mixup.PairTable(jnp.arange(8), jnp.arange(8), 1j * jnp.ones(8)).mix(y)",
    ],
    r"^ValueError: times: pass a non-empty one-dimensional list of numbers, got shape \(2,\), complex": [
        "rfm.closed_form(problem, times=[0, 1j])"
    ],
    OTHER_MAP: [
        "rfm.synthesize(sample, other, law, population=population)",
        "rfm.synthesize(sample, other, law, population=population, block_rows=4)",
        "rfm.synthesize(sample, other, law, population=task.test_set(features, 5, key=key(3)))",
        "rfm.synthesize(sample, jnp.tanh, law, population=task.test_set(jnp.cos, 5, key=key(3)))",
        "rfm.synthesize(sample, bent, law, population=task.test_set(endless, 5, key=key(3)))",
        "rfm.expected_mixup(sample, other, fresh, population=population)",
        "rfm.decide.mixup_family(sample, other, population=population)",
        "rfm.synthesize(sample, features, law, population=rfm.DataTask(x, y, num_test=2).test_set(other))",
    ],
    r"^ValueError: population: is a test set in infinitely many features": [
        "rfm.synthesize(sample, features, law, population=task.test_set(endless, 5, key=key(3)))"
    ],
    r"^ValueError: population: was made by another feature map than the features of the first problem": [
        "rfm.closed_form_phases([rfm.TrainingPhase(problem, flow, 1), rfm.TrainingPhase(elsewhere, flow)], times=[2])",
        "rfm.closed_form_switch(problem, elsewhere, budget=1.0)",
        "rfm.compare_cures(problem, elsewhere, budget=1.0)",
        "rfm.simulate_phases([rfm.TrainingPhase(p, descent, 1) for p in (problem, elsewhere)], steps=[2])",
    ],
    r"^ValueError: features: take 4 inputs, but there are 3; pass RandomFeatures\(input_dim=3": [
        "rfm.synthesize(rfm.Sample(x[:, :3], y, None), features, law, population=population)"
    ],
    r"^ValueError: features: values of size .* are too large to be squared in float64; rescale": ["scaled(1e200)"],
    r"^ValueError: features: values of size .* are too small to be squared in float64; rescale": [
        "scaled(1e-170)",
        "rfm.expected_mixup(sample, lambda x: 1e-170 * x, fresh, population=rfm.TestSet(x, y))",
        "rfm.advise(x, y, features=lambda x: 1e-170 * x, key=key(0))",
        "theory.decompose(1e-170 * phi, y)",
    ],
    r"^ValueError: labels: values of size .* are too large to be squared": [
        "labelled(1e25, np.float32)",
        "labelled(1e200)",
        "theory.decompose(phi, 1e200 * y)",
    ],
    NO_TOLERANCE: [
        f"{call}tolerance={value})"
        for value in ("-1.0", "0.0", "float('nan')")
        for call in (
            "rfm.closed_form(problem, times=[0.0], ",
            "rfm.risk_over_labels(problem, label_noise_variance=1.0, times=[0.0], ",
            "rfm.closed_form_phases([rfm.TrainingPhase(problem, flow)], times=[1.0], ",
            "theory.risk_curve(problem.spectrum(), population, flow, [1.0], ",
            "theory.phases.phased_curve([theory.phases.Phase(problem.spectrum(), flow)], population, [1.0], ",
            "rfm.expected_mixup(sample, features, fresh, population=population, ",
            "rfm.advise(x, y, features=features, key=key(0), law=drawn, ",
        )
    ],
    r"^ValueError: budget: 1e-300 is over before anything is learnt; .* so pass .* or more$": [
        "rfm.closed_form_switch(problem, problem, budget=1e-300)",
        "rfm.closed_form_switch(problem, problem, budget=1e-300, switch_times=[0.0])",
        "rfm.compare_cures(problem, problem, budget=1e-300)",
        "rfm.solve(problem).turning(budget=1e-300)",
        "rfm.tune_mixup(family, budget=1e-300)",
    ],
    r"^ValueError: budget: 1e-300 is over before the first step, of .*; pass some steps' time, such as": [
        "rfm.advise(x, y, features='raw', num_folds=2, key=key(0), budget=1e-300)"
    ],
    NO_RULE: [
        "rfm.closed_form(problem, times=[0.0], rule='flow')",
        "rfm.risk_over_labels(problem, label_noise_variance=1.0, times=[0.0], rule='flow')",
        "rfm.closed_form_phases([rfm.TrainingPhase(problem, 'flow')], times=[1.0])",
        "rfm.closed_form_switch(problem, problem, budget=1.0, rule='flow')",
        "rfm.compare_cures(problem, problem, budget=1.0, rule='flow')",
        "rfm.simulate(problem, steps=[1], rule='flow')",
        "theory.risk_curve(problem.spectrum(), population, 'flow', [1.0])",
    ],
    NO_START: [
        "rfm.closed_form(problem, times=[0.0], start=start)",
        "rfm.closed_form_phases([rfm.TrainingPhase(problem, flow)], times=[1.0], start=start)",
        "rfm.simulate(problem, steps=[1], step_size=0.1, start=start)",
        "rfm.simulate_minibatch(problem, batches=rfm.Batches(2), steps=[1], step_size=0.1, start=start, keys=[key(0)])",
        "rfm.minibatch_curve(problem, batches=rfm.Batches(2), steps=[1], step_size=0.1, start=start)",
        "rfm.liu2023_risk_bound(rfm.Problem(phi, y, y, population=rfm.TestSet(phi, y)), [1.0], start=start)",
    ],
    NO_KEY: [
        "rfm.TeacherStudent(4, 3, key=0)",
        "rfm.RandomFeatures(4, 3, key=0)",
        "task.sample(3, key=0)",
        "task.test_set(features, 3, key=0)",
        "rfm.DataTask(x, y, num_test=2, key=0)",
        "rfm.DataTask(x, y, num_test=2).sample(2, key=0)",
        "rfm.DataTask(x, y, num_test=2).test_set(features, 1, key=0)",
        "rfm.synthesize(sample, features, drawn, population=population, key=0)",
        "rfm.simulate(problem, steps=[1], step_size=0.1, start=rfm.Start(variance=1.0), key=0)",
        "rfm.simulate(problem, steps=[1], step_size=0.1, batches=rfm.Batches(2), key=0)",
        "rfm.simulate_minibatch(problem, steps=[1], step_size=0.1, batches=rfm.Batches(2), keys=[0])",
        "rfm.simulate_many([problem], steps=[1], step_size=0.1, keys=[0])",
        "rfm.advise(x, y, features=features, key=0)",
    ],
    NO_PROBLEM: [
        "rfm.closed_form(curve, times=[0.0])",
        "rfm.risk_over_labels(curve, label_noise_variance=1.0, times=[0.0])",
        "rfm.simulate(curve, steps=[1], step_size=0.1)",
        "rfm.simulate_many([curve], steps=[1], step_size=0.1)",
        "rfm.simulate_phases([rfm.TrainingPhase(curve, descent)], steps=[1])",
        "rfm.simulate_minibatch(curve, batches=rfm.Batches(2), steps=[1], step_size=0.1, keys=[key(0)])",
        "rfm.minibatch_curve(curve, batches=rfm.Batches(2), steps=[1], step_size=0.1)",
        "rfm.closed_form_phases([rfm.TrainingPhase(curve, flow)], times=[1.0])",
        "rfm.closed_form_switch(curve, problem, budget=1.0)",
        "rfm.compare_cures(curve, problem, budget=1.0)",
        "rfm.solve(curve).largest_stable_step(rfm.Batches(2))",
        "rfm.liu2023_risk_bound(curve, [1.0])",
    ],
    r"^TypeError: curve: pass what rfm.closed_form or rfm.simulate gives, got a Problem": [
        f"rfm.views.{view}(problem)" for view in ("as_dataset", "as_frame", "plot")
    ],
    r"^TypeError: family: pass what rfm.decide.mixup_family gives, got a Curve": ["rfm.tune_mixup(curve, budget=1.0)"],
    r"^TypeError: phases: pass rfm.TrainingPhase\(.*\) in a list, got a Problem": [
        "rfm.closed_form_phases([problem], times=[1.0])",
        "rfm.simulate_phases([problem], steps=[1])",
    ],
    r"^TypeError: population: pass an rfm.TestSet or an rfm.Population, got Curve": [
        "rfm.Problem(phi, y, population=curve)",
    ],
    r"^TypeError: inputs: pass an array, such as jax.numpy.asarray\(inputs\), got a list$": [
        "features([[1.0, 2.0, 3.0, 4.0]])"
    ],
    r"^TypeError: features: pass rfm.RandomFeatures or any callable of inputs, got 'relu'": [
        "rfm.synthesize(sample, 'relu', law, population=population)",
        "task.test_set('relu', 3, key=key(0))",
    ],
    r"^TypeError: sample: pass an rfm.Sample\(.*, got a tuple": [
        "rfm.synthesize((x, y), features, law, population=population)"
    ],
    TRUTH_VALUES: [
        "rfm.Problem(phi, y > 0, population=population)",
        "rfm.TestSet(phi, y > 0)",
        "rfm.DataTask(x, y > 0, num_test=2)",
        "rfm.data.prepare(x, y > 0)",
        "rfm.advise(x, y > 0, features=features, key=key(0))",
    ],
    r"^TypeError: targets: holds values of type <U1; pass an array of numbers": [
        "rfm.data.prepare(x, list('abcdefgh'))"
    ],
    r"^ValueError: features: rows differ in length": ["rfm.Problem([[1.0], [1.0, 2.0]], y[:2], population=population)"],
    r"^ValueError: (lam|alpha): must lie .*, got ('all'|0.5j|an array of shape \(2,\))$": [
        "rfm.Mixup('all')",
        "rfm.Mixup(0.5j)",
        "rfm.Mixup(alpha='all')",
        "rfm.Mixup(alpha=np.ones(2))",
    ],
    IN_JIT: [
        "jax.jit(lambda x: rfm.closed_form(problem, times=[1.0]).risk + x)(1.0)",
        "jax.jit(lambda f: f.feature_moment(features))(rfm.data.LinearTruth(jnp.ones(4)))",
        "jax.jit(lambda f: f.noise_moments(lam=0.5).power)(task.truth)",
    ],
    r"^ValueError: (weights|noise_weights|spread): values of size 1e\+200 are too large to be squared": [
        "rfm.Start(weights=1e200 * start)",
        "rfm.Start(weights=start, noise_weights=1e200 * start)",
        "rfm.Start(spread=1e200 * start)",
    ],
    r"^ValueError: (second_moment|target_power): values of size 1e\+200 are too large to be squared": [
        "rfm.Population(1e200 * jnp.eye(1), jnp.ones(1), 1.0)",
        "rfm.Population(jnp.eye(1), jnp.ones(1), 1e200)",
    ],
    r"^ValueError: weights: 1 of 6 values are not finite": ["rfm.Start(weights=start.at[1].set(np.nan))"],
    r"^ValueError: features: take 5 inputs, but there are (4|1); pass RandomFeatures\(input_dim=(4|1), ...\)$": [
        "rfm.advise(x, y, features=rfm.RandomFeatures(5, 6, key=key(0)), key=key(0))",
        "rfm.advise(x[:, 0], y, features=rfm.RandomFeatures(5, 6, key=key(0)), key=key(0))",
    ],
    r"^TypeError: keys: pass a list of jax.random.key\(seed\), one a (run|problem), got (a key|0)$": [
        f"rfm.{call}, keys={keys})"
        for keys in ("key(0)", "0")
        for call in (
            "simulate_minibatch(problem, steps=[1], step_size=0.1, batches=rfm.Batches(2)",
            "simulate_many([problem], steps=[1], step_size=0.1",
        )
    ],
    r"^TypeError: truth: pass a callable of inputs, such as rfm.data.LinearTruth\(slope\), got 5$": [
        "rfm.synthesize(rfm.Sample(x, y, 5), features, law, population=population)",
        "rfm.synthesize(rfm.Sample(x, y, 5), features, fresh, population=population)",
        "rfm.GaussianTask(5, 4)",
        "rfm.DataTask(x, y, truth=5, num_test=2)",
    ],
    r"^ValueError: (first|second): holds the negative index -2; pass indices from 0 on$": [
        "rfm.mixup.PairTable(jnp.arange(8) - 2, jnp.arange(8), jnp.ones(8)).mix(y)",
        "rfm.mixup.PairTable(jnp.arange(8), jnp.arange(8) - 2, jnp.ones(8)).mix(y)",
    ],
    r"^ValueError: lam: must lie in \[0, 1\], got (3.0|-0.5|nan) at row 1$": [
        f"rfm.mixup.PairTable(jnp.arange(8), jnp.arange(8), jnp.ones(8).at[1].set({share})).mix(y)"
        for share in ("3.0", "-0.5", "np.nan")
    ],
    r"^ValueError: label_noise_std: must be a finite number that is not negative, got -0.1$": [
        "jax.jit(lambda x: rfm.GaussianTask(task.truth, 4, label_noise_std=-0.1).truth(x))(x)"
    ],
    r"^ValueError: until: must be a positive time, got ('a'|nan|0)": [
        f"rfm.solve(problem, until={until})" for until in ("'a'", "np.nan", "0")
    ],
    r"^ValueError: step_size: must be a positive number, got 'a'": [
        "trained('a')",
        "rfm.minibatch_curve(problem, batches=rfm.Batches(2), step_size='a', steps=[1])",
        "rfm.simulate_minibatch(problem, batches=rfm.Batches(2), step_size='a', steps=[1], keys=[key(0)])",
    ],
    r"^ValueError: step_size: must be a positive number, got an array of shape \(2,\)": ["trained(jnp.ones(2))"],
}

TRACED = {
    "problem": [
        "jax.jit(risk)(sample.labels)",
        "jax.grad(risk)(sample.labels)",
        "jax.vmap(risk)(sample.labels[None])",
        "jax.jit(lambda phi: rfm.Problem(phi, y, population=population).largest_eigenvalue())(phi)",
        "jax.jit(lambda p: rfm.closed_form(p, times=[1.0]).risk)(problem)",
        "jax.jit(lambda p: rfm.closed_form(p, times=[1.0]).risk)(rfm.synthesize(sample, features, fresh, "
        "population=population))",
    ],
    "step_size": [
        "jax.jit(trained)(0.1)",
        "jax.grad(trained)(0.1)",
        "jax.jit(lambda s: rfm.minibatch_curve(problem, batches=rfm.Batches(2), step_size=s, steps=[1]).risk)(0.1)",
        "jax.vmap(lambda s: rfm.minibatch_curve(problem, rfm.Batches(2), step_size=s, steps=[1]).risk)(jnp.ones(2))",
        "jax.jit(lambda s: rfm.simulate_many([problem], step_size=s, steps=[1])[0].risk)(0.1)",
    ],
    "ridge": [
        "jax.vmap(lambda r: rfm.solve(problem).largest_stable_step(rfm.Batches(2), ridge=r))(jnp.ones(2))",
        "jax.vmap(lambda r: rfm.simulate(problem, step_size=0.1, ridge=r, steps=[1]).risk)(jnp.ones(2))",
        "jax.jit(lambda r: rfm.data.KernelTruth(x, y, ridge=r).coefficients)(1.0)",
    ],
    "rule": [
        "jax.jit(lambda s: rfm.closed_form(problem, steps=[1], rule=theory.GradientDescent(s)).risk)(0.1)",
        "jax.vmap(lambda s: rfm.closed_form(problem, steps=[1], rule=theory.GradientDescent(s)).risk)(jnp.ones(2))",
        "jax.vmap(lambda s: rfm.solve(problem).largest_stable_step(theory.HeavyBall(s, 0.5)))(jnp.ones(2))",
    ],
    "start": [
        "jax.jit(lambda v: rfm.closed_form(problem, times=[1.0], start=rfm.Start(variance=v)).risk)(0.1)",
        "jax.vmap(lambda v: rfm.closed_form(problem, times=[1.0], start=rfm.Start(variance=v)).risk)(jnp.ones(2))",
    ],
    "label_noise_variance": [
        "jax.jit(lambda v: rfm.risk_over_labels(problem, times=[1.0], label_noise_variance=v).mean)(0.1)",
        "jax.vmap(lambda v: rfm.risk_over_labels(problem, times=[1.0], label_noise_variance=v).mean)(jnp.ones(2))",
    ],
    "times": ["jax.grad(lambda t: rfm.closed_form(problem, times=t).risk[1])(jnp.arange(2.0))"],
    "budget": [
        "jax.jit(lambda b: rfm.closed_form_switch(problem, problem, budget=b).risk)(1.0)",
        "jax.vmap(lambda b: rfm.closed_form_switch(problem, problem, budget=b).risk)(jnp.ones(2))",
        "jax.vmap(lambda b: rfm.compare_cures(problem, problem, budget=b)['stop'].risk)(jnp.ones(2))",
        "jax.vmap(lambda b: rfm.solve(problem).turning(budget=b).risk)(jnp.ones(2))",
        "jax.jit(lambda b: rfm.tune_mixup(family, budget=b).risk)(1.0)",
        "jax.vmap(lambda b: rfm.tune_mixup(family, budget=b).risk)(jnp.ones(2))",
    ],
    "until": [
        "jax.jit(lambda t: rfm.solve(problem, until=t).spectrum)(1.0)",
        "jax.vmap(lambda t: rfm.solve(problem, until=t).spectrum)(jnp.ones(2))",
    ],
    "keys?": [
        f"jax.{transform}(lambda k: rfm.{call})(jax.random.split(key(0), 2))"
        for transform in ("jit", "vmap")
        for call in (
            "simulate(problem, step_size=0.1, steps=[1], batches=rfm.Batches(2), key=k).risk",
            "simulate(problem, step_size=0.1, steps=[1], start=rfm.Start(variance=1.0), key=k).risk",
            "simulate_many([problem], step_size=0.1, steps=[1], start=rfm.Start(variance=1.0), keys=[k])[0].risk",
            "simulate_minibatch(problem, step_size=0.1, steps=[1], batches=rfm.Batches(2), keys=[k]).parts",
        )
    ],
    "family": ["jax.jit(lambda family: rfm.tune_mixup(family, budget=1.0).risk)(family)"],
    "sample": [
        "jax.jit(lambda y: rfm.expected_mixup(rfm.Sample(x, y, None), features, fresh, population=population))(y)"
    ],
    "targets": [
        "jax.jit(lambda y: rfm.data.prepare(x, y).targets)(y)",
        "jax.jit(lambda y: rfm.advise(x, y, features=features, key=key(0)).times)(y)",
        "jax.jit(lambda y: rfm.data.KernelTruth(x, y).coefficients)(y)",
    ],
    "law": [
        f"jax.{transform}(lambda r: rfm.synthesize(sample, features, rfm.Mixup({name}=r, pairs='expected'), "
        "population=population).smoother)(0.5 * jnp.ones(2))"
        for transform in ("vmap", "jacfwd", "jacrev")
        for name in ("lam", "alpha")
    ],
    "features": [
        "jax.jit(lambda phi: task.population(phi).power)(features)",
        "jax.jit(lambda phi: rfm.data.LinearTruth(jnp.ones(4)).feature_moment(phi))(features)",
    ],
    "truth": [
        "jax.jit(lambda f: f.lipschitz_constant())(task.truth)",
        "jax.jit(lambda f: f.smoothness_constant())(task.truth)",
    ],
    "lam": ["jax.jit(lambda lam: task.truth.noise_moments(lam=lam).power)(0.5)"],
    "alpha": ["jax.grad(lambda alpha: task.truth.noise_moments(alpha=alpha).power)(0.5)"],
    "stds": ["jax.jit(lambda f: f.conditional_noise(sample.inputs, 0.5))(task.truth)"],
}
REFUSED |= {rf"^TypeError: {name}: is traced by jit, grad or vmap, but": calls for name, calls in TRACED.items()}


@pytest.fixture(scope="module")
def answers() -> dict[str, str]:
    """What the library says to each call."""
    root = str(Path(__file__).parents[2])
    calls = [call for group in REFUSED.values() for call in group]
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SETTING],
        input=json.dumps(calls), capture_output=True, text=True, cwd=root, env=os.environ | {"PYTHONPATH": root},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


@pytest.mark.parametrize(("message", "call"), [(message, call) for message, calls in REFUSED.items() for call in calls])
def test_what_cannot_be_right_is_refused_in_one_line(answers: dict[str, str], message: str, call: str) -> None:
    assert re.search(message, answers[call]), answers[call]
    assert "\n" not in answers[call]


def features_of(seed: int) -> rfm.RandomFeatures:
    return rfm.RandomFeatures(4, 6, key=jax.random.key(seed))


TASK = rfm.TeacherStudent(4, 3, key=jax.random.key(0))
SAMPLE = TASK.sample(8, key=jax.random.key(2))


def test_maps_of_equal_weights_are_the_same_and_populations_by_hand_are_taken() -> None:
    population = TASK.population(features_of(1))
    by_hand = rfm.Population(population.second_moment, population.target_moment, population.target_power)
    for averages, features in [(population, features_of(1)), (by_hand, features_of(9))]:
        problem = rfm.synthesize(SAMPLE, features, rfm.ERM(), population=averages)
        assert problem.population is averages


def test_a_population_keeps_its_map_through_compilation_storage_and_other_precision() -> None:
    features = features_of(1)
    made = TASK.test_set(features, 5, key=jax.random.key(3))
    assert isinstance(made, rfm.TestSet)
    again = [
        eqx.filter_jit(lambda test: test)(made),
        jax.tree.map(lambda leaf: leaf + 0, made),
        pickle.loads(pickle.dumps(made)),
        jax.tree.map(lambda leaf: leaf.astype(jnp.float32), made),
    ]
    for test in again:
        rfm.synthesize(SAMPLE, features, rfm.ERM(), population=test)
        with pytest.raises(ValueError, match="population: was made by another feature map"):
            rfm.synthesize(SAMPLE, features_of(9), rfm.ERM(), population=test)


@pytest.mark.parametrize("width", [1, 2, 6])
@pytest.mark.parametrize("activation", ["sign", "relu", "tanh"])
def test_maps_of_different_weights_are_told_apart_however_few_features_they_have(activation: str, width: int) -> None:
    maps = [rfm.RandomFeatures(4, width, activation, key=jax.random.key(seed)) for seed in range(8)]
    found = [signature(one, 4) for one in maps]
    for index, ours in enumerate(found):
        check_same_map(ours, signature(maps[index], 4), "features")
        check_same_map(ours, None if ours is None else ours.astype(jnp.float32), "features")
        for theirs in found[:index]:
            with pytest.raises(ValueError, match="population: was made by another feature map"):
                check_same_map(ours, theirs, "features")


@pytest.mark.parametrize("bend", [lambda a: jnp.where(a > 3, 0, a), lambda a: a + 1e-3 * a**2, jnp.sinh])
def test_maps_that_agree_on_inputs_of_one_size_alone_are_told_apart(bend: Callable[[jax.Array], jax.Array]) -> None:
    population = TASK.test_set(lambda x: x, 5, key=jax.random.key(3))
    with pytest.raises(ValueError, match="population: was made by another feature map"):
        rfm.synthesize(SAMPLE, bend, rfm.ERM(), population=population)


def test_a_map_that_overflows_on_large_inputs_is_known_by_small_ones() -> None:
    steep = [rfm.RandomFeatures(4, 6, "exp", weight_std=40.0, key=jax.random.key(seed)) for seed in (0, 1)]
    ours, theirs = (signature(one, 4) for one in steep)
    assert ours is not None
    check_same_map(ours.astype(jnp.float32), ours, "features")
    with pytest.raises(ValueError, match="population: was made by another feature map"):
        check_same_map(ours, theirs, "features")


def test_zeros_and_half_precision_are_in_range() -> None:
    phi = np.full((4, 2), 300.0, np.float16)  # its square is none in half precision
    problem = rfm.Problem(phi, np.zeros(4), population=rfm.TestSet(phi, np.zeros(4)))
    assert problem.features.dtype == jnp.float64


@pytest.mark.parametrize("scale", [1e200, 1e-170, 1e300, 1e-300])
def test_the_unit_of_a_column_does_not_matter(scale: float) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(9, 3)), rng.normal(size=9)
    units = np.asarray([1.0, scale, 1.0])
    plain, scaled = rfm.data.prepare(x, y), rfm.data.prepare(x * units[None, :], y * scale)
    assert np.max(np.abs(scaled.inputs - plain.inputs)) < 10 * IDENTITY
    assert np.max(np.abs(scaled.targets - plain.targets)) < 10 * IDENTITY
    classes = np.arange(9) % 2
    assert (
        np.max(np.abs(rfm.data.prepare(x * scale, classes).inputs - rfm.data.prepare(x, classes).inputs))
        < 10 * IDENTITY
    )


@pytest.mark.parametrize("scale", [1e200, 1e-170])
def test_advice_does_not_depend_on_the_units_of_the_data(scale: float) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 3)), rng.normal(size=40)
    found, scaled = (
        rfm.advise(factor * x, factor * y + 0.0, features="raw", num_times=9, key=jax.random.key(0))
        for factor in (1.0, scale)
    )
    assert np.max(np.abs(scaled.plain_risk / found.plain_risk - 1)) < 10 * IDENTITY


def test_the_largest_eigenvalue_of_fresh_pairs_is_that_of_their_spectrum() -> None:
    problem = rfm.synthesize(
        SAMPLE, features_of(1), rfm.Mixup(0.5, pairs="expected"), population=TASK.population(features_of(1))
    )
    table = rfm.synthesize(SAMPLE, features_of(1), rfm.Mixup(0.5), population=TASK.population(features_of(1)))
    assert abs(problem.largest_eigenvalue() / table.largest_eigenvalue() - 1) < 10 * IDENTITY
    streamed = rfm.synthesize(
        SAMPLE, features_of(1), rfm.Mixup(0.5), population=TASK.population(features_of(1)), block_rows=16
    )
    assert abs(streamed.largest_eigenvalue() / table.largest_eigenvalue() - 1) < 10 * IDENTITY


def test_a_risk_that_overflows_has_no_bottom_between_grid_points_and_raises_nothing() -> None:
    grid = np.asarray([1.0, 2.0, 4.0])
    time, _ = theory.minimum.turning_point(
        lambda t: np.full(len(t), np.inf), grid, np.full(3, np.inf), whole_steps=False
    )
    assert time == 1.0


FEATURES, X = features_of(1), SAMPLE.inputs
POPULATION = TASK.population(FEATURES)


def mixed_labels(**ratio: float | jax.Array) -> jax.Array:
    law = rfm.Mixup(**ratio)
    return rfm.synthesize(SAMPLE, FEATURES, law, population=POPULATION, key=jax.random.key(4)).labels


def drawn_features(weight_std: float | jax.Array) -> jax.Array:
    return rfm.RandomFeatures(4, 6, weight_std=weight_std, bias_std=weight_std, key=jax.random.key(1))(X)


WORK_INSIDE = {
    "a ratio": lambda ratio: mixed_labels(lam=ratio),
    "the law of a ratio": lambda ratio: mixed_labels(alpha=ratio),
    "the scale of features": drawn_features,
    "the scale of a teacher": lambda std: rfm.TeacherStudent(4, 3, weight_std=std, key=jax.random.key(0)).truth(X),
}


@pytest.mark.parametrize("name", WORK_INSIDE)
def test_numbers_that_only_multiply_arrays_may_be_traced(name: str) -> None:
    call, at = WORK_INSIDE[name], jnp.asarray(0.5)
    value = call(at)
    assert np.allclose(jax.jit(call)(at), value, rtol=IDENTITY)
    assert np.allclose(jax.vmap(call)(at[None])[0], value, rtol=IDENTITY)
    slope = jax.jacfwd(call)(at)
    assert np.all(np.isfinite(slope))
    assert np.any(slope != 0)


@pytest.mark.parametrize("bias_std", [0.0, 0.5])
@pytest.mark.parametrize("activation", ["tanh", "erf"])
def test_the_second_moment_of_features_is_the_same_under_transforms(activation: str, bias_std: float) -> None:
    features = rfm.RandomFeatures(4, 6, activation, bias_std=bias_std, key=jax.random.key(1))
    exact = features.second_moment()
    two = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), features)
    assert np.allclose(jax.jit(lambda one: one.second_moment())(features), exact, rtol=IDENTITY, atol=IDENTITY)
    assert np.allclose(eqx.filter_vmap(lambda one: one.second_moment())(two), exact[None], rtol=IDENTITY, atol=IDENTITY)


def test_problems_of_all_kinds_may_be_arguments_of_jit() -> None:
    for law in (rfm.ERM(), rfm.Mixup(0.5), rfm.Mixup(alpha=1.0, pairs="expected")):
        problem = rfm.synthesize(SAMPLE, FEATURES, law, population=POPULATION)
        assert np.allclose(jax.jit(lambda one: one.feature_map(X))(problem), FEATURES(X), rtol=IDENTITY)


def test_maps_and_truths_are_called_inside_of_jit() -> None:
    for call in (
        FEATURES,
        TASK.truth,
        rfm.data.LinearTruth(jnp.ones(4)),
        rfm.data.QuadraticTruth(jnp.eye(4), jnp.ones(4)),
    ):
        assert np.allclose(jax.jit(lambda x, call=call: call(x))(X), call(X), rtol=IDENTITY)
        assert np.allclose(eqx.filter_jit(call)(X), call(X), rtol=IDENTITY)


@pytest.mark.parametrize("shift", [3, -3])
def test_rows_beyond_the_values_are_no_numbers_where_the_table_is_traced(shift: int) -> None:
    index = jnp.arange(8)

    def mixed(first: jax.Array, lam: jax.Array) -> jax.Array:
        return rfm.mixup.PairTable(first, index, lam).mix(X)

    known = (index + shift >= 0) & (index + shift < 8)
    found = jax.jit(mixed)(index + shift, jnp.full(8, 0.5))
    assert np.array_equal(jnp.isfinite(found), jnp.broadcast_to(known[:, None], found.shape))
    found = jax.jit(mixed)(index, index.astype(float))
    assert np.array_equal(jnp.isfinite(found), jnp.broadcast_to((index < 2)[:, None], found.shape))
