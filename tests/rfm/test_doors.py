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
from tests.rfm.refusals import REFUSED
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
