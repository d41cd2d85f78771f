"""Numbers out of their range are refused under jit, grad and vmap as they are outside; good ones pass as they are."""

import ast
import dataclasses
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

import rfm
import theory
from tests.structure import ROOT, modules, parse
from theory.checks import ALPHAS, check_not_negative, trusted

FEATURES = jnp.asarray([[1.0, 0.5], [0.0, 1.0], [0.3, 0.2]])
LABELS = jnp.asarray([1.0, -1.0, 0.5])
TIMES = jnp.asarray([0.5, 2.0])
EIGENVALUES = jnp.asarray([0.1, 1.0])
SPECTRUM = theory.decompose(FEATURES, LABELS, LABELS)
TEST = theory.TestSet(FEATURES, LABELS)
MOMENTS = dataclasses.replace(
    theory.derivatives.Moments.of_rows(FEATURES, LABELS[:, None]), noise_force=FEATURES.T / len(FEATURES)
)
INDEX = jnp.asarray([0, 1])


def risk(rule: theory.Rule, start: theory.Start | None = None) -> Array:
    return theory.risk.risk_parts(SPECTRUM, TEST, rule, TIMES, start).risk[0, 0]


class Door(NamedTuple):
    """What takes a number that may be traced."""

    call: Callable[[Array], Array]
    good: float
    bad: float
    says: str


NOT_NEGATIVE = "must be a finite number that is not negative"
POSITIVE = "must be a positive number"
SHARE = "lam: must lie in [0, 1]"
ALPHA = f"alpha: must lie between {ALPHAS[0]:g} and {ALPHAS[1]:g}"

DOORS = {
    "flow's ridge": Door(lambda v: risk(theory.GradientFlow(v)), 0.1, -0.1, f"ridge: {NOT_NEGATIVE}"),
    "step size": Door(lambda v: risk(theory.GradientDescent(v)), 0.1, 0.0, f"step_size: {POSITIVE}"),
    "descent's ridge": Door(lambda v: risk(theory.GradientDescent(0.1, v)), 0.1, np.inf, f"ridge: {NOT_NEGATIVE}"),
    "momentum": Door(lambda v: risk(theory.HeavyBall(0.1, v)), 0.5, 1.0, "momentum: must lie in [0, 1)"),
    "Nesterov's step": Door(lambda v: risk(theory.Nesterov(v, 0.5)), 0.1, -1.0, f"step_size: {POSITIVE}"),
    "rising momentum": Door(lambda v: risk(theory.NesterovIncreasing(v)), 0.1, np.nan, f"step_size: {POSITIVE}"),
    "inside of a mean": Door(
        lambda v: risk(theory.Averaged(theory.GradientFlow(v))), 0.1, -0.1, f"ridge: {NOT_NEGATIVE}"
    ),
    "a schedule": Door(
        lambda v: risk(theory.StepSchedule(jnp.stack([v, v]))), 0.1, -0.1, "step_sizes: must not be negative"
    ),
    "start": Door(lambda v: risk(theory.GradientFlow(), theory.Start(variance=v)), 0.5, -0.5, "variance: "),
    "curvature": Door(
        lambda v: theory.noise.strong_convexity_lower(v, FEATURES, FEATURES[::-1], 0.5)[0], 1.0, -1.0, "constant: "
    ),
    "ratio": Door(
        lambda v: theory.mixup_noise(lambda x: x[:, 0] ** 2, FEATURES, FEATURES[::-1], v)[0], 0.5, 1.5, SHARE
    ),
    "noise passed on": Door(
        lambda v: theory.noise.passed_on_covariance(INDEX, INDEX[::-1], jnp.ones(2), v)[0, 0],
        0.5, -0.5, f"label_noise_variance: {NOT_NEGATIVE}",
    ),
    "proportions": Door(
        lambda v: theory.noise.cross_entropy_floor(1.0, jnp.stack([v, 1 - v])), 0.2, 1.2, "proportions: pass rows of"
    ),
    "noise on labels": Door(
        lambda v: theory.labels.risk_over_labels(
            SPECTRUM, TEST, FEATURES, theory.GradientFlow(), TIMES, v
        ).mean[0, 0],
        0.5, -0.5, f"variance: {NOT_NEGATIVE}",
    ),
    "feature bound": Door(
        lambda v: theory.bounds.liu2023_risk_bound(
            SPECTRUM, TEST, theory.GradientFlow(), TIMES, largest_feature_power=v, largest_noise=1.0
        ).bound[0],
        1.0, -1.0, "largest_feature_power: ",
    ),
    "noise bound": Door(
        lambda v: theory.bounds.bounded_noise_risk(SPECTRUM, TEST, theory.GradientFlow(), TIMES, noise_power=v)[0],
        1.0, -1.0, "noise_power: ",
    ),
    "noise of a risk with derivatives": Door(
        lambda v: theory.derivatives.differentiable_risk(
            MOMENTS, TEST, theory.GradientFlow(), TIMES, label_noise_variance=v
        )[0, 0],
        0.5, -0.5, "label_noise_variance: ",
    ),
    "alpha of weights with derivatives": Door(
        lambda v: theory.derivatives.beta_weights(v, 4)[1][0], 1.0, 2e3, ALPHA
    ),
    "law of a fixed ratio": Door(lambda v: jnp.asarray(rfm.Mixup(lam=v).ratio.lam), 0.5, -0.5, SHARE),
    "law of a drawn ratio": Door(lambda v: jnp.asarray(rfm.Mixup(alpha=v).ratio.alpha), 0.5, 0.0, ALPHA),
    "features' weights": Door(
        lambda v: rfm.RandomFeatures(2, 3, weight_std=v, key=jax.random.key(0))(FEATURES)[0, 0], 0.5, -0.5, "weight_std"
    ),
    "features' bias": Door(
        lambda v: rfm.RandomFeatures(2, 3, bias_std=v, key=jax.random.key(0))(FEATURES)[0, 0], 0.5, -0.5, "bias_std: "
    ),
    "noise of a task": Door(
        lambda v: rfm.TeacherStudent(2, 2, label_noise_std=v, key=jax.random.key(0))
        .sample(3, key=jax.random.key(1))
        .labels[0],
        0.5, -0.5, "label_noise_std: ",
    ),
    "weights of a teacher": Door(
        lambda v: rfm.TeacherStudent(2, 2, weight_std=v, key=jax.random.key(0)).truth(FEATURES)[0],
        0.5, -0.5, "weight_std: ",
    ),
}  # fmt: skip
"""Each with a number that is in range, one that is not, and what is said of it."""

each_door = pytest.mark.parametrize("door", DOORS.values(), ids=list(DOORS))


@each_door
def test_a_bad_number_is_refused_inside_and_outside_in_the_same_words(door: Door) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(door.says)}" if door.says[-2:] != "of" else "sums to"):
        door.call(jnp.asarray(door.bad))
    with pytest.raises(RuntimeError, match=re.escape(door.says)):
        jax.jit(door.call)(door.bad).block_until_ready()
    assert np.isfinite(jax.jit(door.call)(door.good))


SOME = [DOORS[name] for name in ("flow's ridge", "momentum", "start", "ratio", "alpha of weights with derivatives")]


@pytest.mark.parametrize("door", SOME, ids=lambda door: door.says)
def test_one_bad_number_of_many_is_refused(door: Door) -> None:
    mapped = jax.jit(jax.vmap(door.call))
    assert np.all(np.isfinite(mapped(jnp.full(2, door.good))))
    with pytest.raises(RuntimeError, match=re.escape(door.says)):
        mapped(jnp.asarray([door.good, door.bad])).block_until_ready()


@pytest.mark.parametrize("door", SOME, ids=lambda door: door.says)
def test_what_is_differentiated_is_checked_and_differentiates_as_if_it_were_not(door: Door) -> None:
    slope = jax.grad(door.call)(door.good)
    with trusted():
        assert jax.grad(lambda value: door.call(value))(door.good) == slope
    with pytest.raises(RuntimeError, match=re.escape(door.says)):
        jax.grad(door.call)(door.bad)


def test_a_check_changes_neither_value_nor_precision() -> None:
    for dtype in (jnp.float32, jnp.float64):
        value = jnp.asarray(0.1, dtype)
        checked = jax.jit(lambda value: check_not_negative("value", value))(value)
        assert (checked, checked.dtype) == (value, dtype)
    single = jnp.ones(2, jnp.float32)
    assert jax.jit(lambda value: check_not_negative("value", value) * single)(0.1).dtype == jnp.float32


def test_what_was_checked_before_calls_nothing_back() -> None:
    assert "callback" in str(jax.make_jaxpr(lambda value: check_not_negative("value", value))(1.0))
    with trusted():
        assert "callback" not in str(jax.make_jaxpr(lambda value: check_not_negative("value", value))(1.0))


def test_a_user_may_have_nan_instead(tmp_path: Path) -> None:
    code = "import jax, theory\nprint(jax.jit(lambda r: theory.GradientFlow(r).ridge + 0)(-1.0), end='')"
    environment = os.environ | {"EQX_ON_ERROR": "nan", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert ended.stdout == "nan"


CHECKS = {"check_not_negative", "check_positive", "check_share", "check_alpha", "check_within"}


def dropped(tree: ast.AST) -> set[str]:
    """Functions that a trace may enter, and that check a number and go on with one that is not checked."""
    found = set()
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and "untraced" not in ast.unparse(function):
            calls = [n.value for n in ast.walk(function) if isinstance(n, ast.Expr) and isinstance(n.value, ast.Call)]
            if CHECKS & {ast.unparse(call.func) for call in calls}:
                found.add(function.name)
    return found


@pytest.mark.parametrize("path", modules("theory", "rfm"), ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_check_returns_is_what_is_used(path: Path) -> None:
    assert dropped(parse(path)) <= {"__check_init__"}  # of a user's own rule


def test_the_rule_about_checks_would_catch_one_whose_value_is_dropped() -> None:
    body = "def {}(x):\n    check_positive('x', x)\n"
    source = body.format("f") + "@untraced\n" + body.format("g") + "def h(x):\n    return check_positive('x', x)"
    assert dropped(ast.parse(source)) == {"f"}
