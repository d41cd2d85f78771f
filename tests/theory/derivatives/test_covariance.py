"""Derivatives of matrix functions: 50 digits and finite differences, where eigenvalues are equal or zero."""

import equinox as eqx
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import theory
from tests.tolerances import DIVIDED_DIFFERENCE, EXACT, FLOAT32, IDENTITY, MATRIX_DERIVATIVE, RINGING_DIFFERENCE
from theory.derivatives import covariance as matrix_functions
from theory.derivatives.covariance import divided_differences

SCHEDULE = np.linspace(0.9, 0.1, 200)
RULES = {
    "flow": theory.GradientFlow(jnp.asarray(0.01)),
    "descent": theory.GradientDescent(jnp.asarray(0.5), jnp.asarray(0.01)),
    "overshooting descent": theory.GradientDescent(jnp.asarray(1.97), jnp.asarray(0.01)),
    "heavy ball": theory.HeavyBall(jnp.asarray(0.5), jnp.asarray(0.75), jnp.asarray(0.01)),
    "ringing heavy ball": theory.HeavyBall(jnp.asarray(3.4), jnp.asarray(0.75), jnp.asarray(0.01)),
    "Nesterov": theory.Nesterov(jnp.asarray(0.9), jnp.asarray(0.75), jnp.asarray(0.01)),
    "rising Nesterov": theory.NesterovIncreasing(jnp.asarray(0.9), jnp.asarray(0.01)),
    "schedule": theory.StepSchedule(jnp.asarray(SCHEDULE), jnp.asarray(0.01)),
    "average": theory.Averaged(theory.Nesterov(jnp.asarray(0.9), jnp.asarray(0.75), jnp.asarray(0.01))),
}

FLOW = eqx.tree_at(lambda rule: rule.ridge, RULES["flow"], jnp.asarray(0.0))

differences = eqx.filter_jit(divided_differences)
gains = eqx.filter_jit(matrix_functions.gains)


def without_ridge(rule: theory.Rule) -> theory.Rule:
    return eqx.tree_at(lambda rule: getattr(rule, "rule", rule).ridge, rule, jnp.asarray(0.0))


# --- divided differences, in 150 digits ------------------------------------------------------------------------------

NEAR = (1e-15, 1e-8, 1e-3)
EIGENVALUES = np.asarray(
    [0.0, 0.0, 1e-30, 1e-9, *(1e-9 * (1 + np.asarray(NEAR))), *(0.03 * (1 + np.asarray(NEAR))), 0.03, 0.5, 0.998, 1, 1]
)
EIGENVALUES.sort()


def mp_settings(rule: theory.Rule) -> dict[str, mpmath.mpf]:
    """The numbers of a rule, to perturb and to step with."""
    inner = getattr(rule, "rule", rule)
    found = {name: getattr(inner, name) for name in ("step_size", "momentum", "ridge") if hasattr(inner, name)}
    return {name: mpmath.mpf(float(value)) for name, value in found.items()}


def mp_gain(rule: theory.Rule, settings: dict[str, mpmath.mpf], mu: mpmath.mpf, t: float) -> mpmath.mpf:
    """How far a unit force has moved a mode: the solution of flow, or a loop over the steps."""
    rate = mu + settings["ridge"]
    if isinstance(rule, theory.GradientFlow):
        return -mpmath.expm1(-rate * t) / rate if rate else mpmath.mpf(t)
    inner = getattr(rule, "rule", rule)
    rising = isinstance(inner, theory.NesterovIncreasing)
    looks_ahead = rising or isinstance(inner, theory.Nesterov)
    before = moved = total = mpmath.mpf(0)
    for k in range(int(t)):
        step = mpmath.mpf(SCHEDULE[k]) if isinstance(inner, theory.StepSchedule) else settings["step_size"]
        momentum = mpmath.mpf(k) / (k + 3) if rising else settings.get("momentum", mpmath.mpf(0))
        velocity = momentum * (moved - before)
        before, moved = moved, moved + velocity - step * (rate * (moved + looks_ahead * velocity) - 1)
        total += moved
    return total / t if isinstance(rule, theory.Averaged) else moved


def mp_differences(rule: theory.Rule, eigenvalues: np.ndarray, t: float) -> np.ndarray:
    """Quotients; equal eigenvalues are parted by 1e-40, and their slope is then right to 80 digits."""
    with mpmath.workdps(150):
        settings, part = mp_settings(rule), mpmath.mpf("1e-40")
        exact = [mpmath.mpf(float(mu)) for mu in eigenvalues]
        gains = [mp_gain(rule, settings, mu, t) for mu in exact]
        slopes = [
            (mp_gain(rule, settings, mu + part, t) - mp_gain(rule, settings, mu - part, t)) / (2 * part) for mu in exact
        ]
        pairs = range(len(exact))
        return np.asarray(
            [
                [
                    float(slopes[i] if exact[i] == exact[j] else (gains[i] - gains[j]) / (exact[i] - exact[j]))
                    for j in pairs
                ]
                for i in pairs
            ]
        )


@pytest.mark.parametrize(("name", "ridge"), [*((name, True) for name in RULES), ("flow", False), ("descent", False)])
def test_divided_differences_are_exact_at_eigenvalues_apart_near_equal_and_zero(name: str, ridge: bool) -> None:
    rule = RULES[name] if ridge else without_ridge(RULES[name])
    tolerance = DIVIDED_DIFFERENCE if name == "flow" else RINGING_DIFFERENCE
    for t in (1e-3, 1.0, 1e3, 1e6, 1e10) if name == "flow" else (1.0, 2.0, 30.0, 200.0):
        ours = differences(rule, jnp.asarray(EIGENVALUES), jnp.asarray(t))
        exact = mp_differences(rule, EIGENVALUES, t)
        rounding = EXACT * float(rule.time(jnp.asarray(t))) ** 2  # the gain after one step has no slope at all
        assert np.allclose(ours, exact, rtol=tolerance, atol=0 if name == "flow" else rounding), t


def test_differences_do_not_underflow_where_eigenvalues_do() -> None:
    tiny = jnp.asarray([0.0, 1e-300, 1.001e-300, 1e-290, *np.full(len(EIGENVALUES) - 4, 1e-280)])
    ours = differences(FLOW, tiny, jnp.asarray(1e-3))
    assert np.allclose(ours, -(1e-3**2) / 2, rtol=EXACT, atol=0)


def test_a_mode_alone_has_its_slope() -> None:
    slope = differences(FLOW, jnp.asarray([0.0]), jnp.asarray(2.0))
    assert slope.tolist() == [[-2.0]]


def test_at_infinity_null_modes_stay_and_others_follow_the_inverse() -> None:
    mu = np.asarray([0.5, 0.5, *np.geomspace(0.5, 1e12, len(EIGENVALUES) - 4)]) / 1e12
    eigenvalues = jnp.asarray([0.0, 0.0, *mu])
    null, mixed = np.zeros((2, 2)), np.repeat(1 / mu[None, :] ** 2, 2, axis=0)
    expected = np.block([[null, mixed], [mixed.T, -1 / np.outer(mu, mu)]])
    ours = differences(FLOW, eigenvalues, jnp.asarray(jnp.inf))
    assert np.allclose(ours, expected, rtol=IDENTITY, atol=0)


eigenvalue_lists = st.lists(
    st.sampled_from([0.0, 1e-300, 1e-17, 1.0]) | st.floats(-18, 0).map(lambda e: 10.0**e),
    min_size=len(EIGENVALUES), max_size=len(EIGENVALUES),
)  # fmt: skip


@given(eigenvalue_lists, st.floats(-3, 10).map(lambda e: 10.0**e), st.sampled_from([0.0, 1e-9, 0.5]))
def test_flow_gains_fall_with_the_eigenvalue_from_the_slope_of_a_null_mode_on(
    mu: list[float], t: float, ridge: float
) -> None:
    ours = np.asarray(differences(theory.GradientFlow(jnp.asarray(ridge)), jnp.sort(jnp.asarray(mu)), jnp.asarray(t)))
    assert np.array_equal(ours, ours.T)
    assert np.all(ours <= 0)
    assert np.all(ours >= -(t**2) / 2 * (1 + IDENTITY))


@given(
    eigenvalue_lists,
    st.sampled_from([1.0, 3.0, 50.0, 199.0]),
    st.sampled_from(["overshooting descent", "ringing heavy ball", "average"]),
)
def test_differences_are_symmetric_and_their_increments_agree(mu: list[float], k: float, name: str) -> None:
    eigenvalues = jnp.sort(jnp.asarray(mu))
    ours = np.asarray(differences(RULES[name], eigenvalues, jnp.asarray(k)))
    assert np.array_equal(ours, ours.T)
    gain = np.asarray(gains(RULES[name], eigenvalues, jnp.asarray([k])))[0]
    change = ours * np.asarray(eigenvalues[:, None] - eigenvalues[None, :])
    size = np.abs(gain).max()
    assert np.all(np.abs(change - (gain[:, None] - gain[None, :])) <= RINGING_DIFFERENCE * size)


# --- derivatives of weights, by finite differences in 50 digits ------------------------------------------------------

MIRROR = np.eye(4) - 0.5  # orthogonal, of binary fractions, so that products with it are exact
EQUAL = np.diag([0.0, 0.0, 0.5, 0.5])
MATRICES = {
    "equal and null": EQUAL,
    "equal and null, rotated": MIRROR @ EQUAL @ MIRROR,
    "nothing at all": np.zeros((4, 4)),
    "distinct": MIRROR @ np.diag([1e-6, 0.01, 0.3, 1.0]) @ MIRROR,
}
RNG = np.random.default_rng(31)
FORCE, IN_FORCE = RNG.normal(size=(2, 4, 2))
DIRECTION = RNG.normal(size=(4, 4))
DIRECTION = (DIRECTION + DIRECTION.T) / 2
TOWARD = RNG.normal(size=(4, 3, 2))
TIMES = np.asarray([2.0, 7.0, 100.0])  # after one step, the gain of every mode is the same

LATE = jnp.full(3, jnp.inf)


@eqx.filter_jit
def along(primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    return eqx.filter_jvp(theory.derivatives.filtered_force, primals, tangents)


def mp_weights(
    rule: theory.Rule, settings: dict[str, mpmath.mpf], matrix: mpmath.matrix, force: mpmath.matrix, times: list
) -> list[mpmath.matrix]:
    eigenvalues, modes = mpmath.eigsy(matrix)
    coordinates = modes.T * force
    return [modes * mpmath.diag([mp_gain(rule, settings, mu, t) for mu in eigenvalues]) * coordinates for t in times]


def mp_derivative(rule: theory.Rule, matrix: np.ndarray, what: str) -> np.ndarray:
    """Central differences of step 1e-15 in 50 digits, good to about 20 of them."""
    with mpmath.workdps(50):
        step = mpmath.mpf("1e-15")
        exact, direction, force, in_force = map(mpmath.matrix, (matrix, DIRECTION, FORCE, IN_FORCE))

        def moved(by: mpmath.mpf) -> list[mpmath.matrix]:
            settings, times = mp_settings(rule), list(map(mpmath.mpf, TIMES))
            if what in settings:
                settings[what] += by
            if what == "times":
                times = [t + by for t in times]
            in_matrix, in_the_force = by * (what == "matrix"), by * (what == "force")
            return mp_weights(rule, settings, exact + in_matrix * direction, force + in_the_force * in_force, times)

        slopes = [(after - before) / (2 * step) for after, before in zip(moved(step), moved(-step), strict=True)]
        return np.asarray([slope.tolist() for slope in slopes], float).transpose(1, 0, 2)


def tangent(rule: theory.Rule, what: str) -> tuple:
    """The direction in which only that moves."""
    still = jax.tree.map(lambda _: None, rule)
    if what in ("step_size", "momentum", "ridge"):
        still = eqx.tree_at(lambda rule: getattr(rule, what), still, jnp.asarray(1.0), is_leaf=lambda x: x is None)
    return (
        jnp.asarray(DIRECTION) if what == "matrix" else None,
        jnp.asarray(IN_FORCE) if what == "force" else None,
        still,
        jnp.ones(len(TIMES)) if what == "times" else None,
    )


WAYS = [
    ("flow", "matrix"), ("flow", "force"), ("flow", "ridge"), ("flow", "times"),
    ("descent", "matrix"), ("descent", "step_size"), ("descent", "ridge"),
    ("ringing heavy ball", "matrix"), ("ringing heavy ball", "step_size"), ("ringing heavy ball", "momentum"),
    ("rising Nesterov", "matrix"), ("rising Nesterov", "step_size"), ("schedule", "matrix"), ("average", "matrix"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "what"), WAYS)
def test_weights_have_the_derivatives_of_finite_differences_in_fifty_digits(name: str, what: str) -> None:
    rule = without_ridge(RULES[name])
    for matrix in MATRICES.values():
        primals = (jnp.asarray(matrix), jnp.asarray(FORCE), rule, jnp.asarray(TIMES))
        _, ours = along(primals, tangent(rule, what))
        exact = mp_derivative(rule, matrix, what)
        size = np.abs(exact).max(axis=(0, 2), keepdims=True)
        assert np.all(np.abs(ours - exact) <= MATRIX_DERIVATIVE * size)


def test_a_derivative_through_the_modes_themselves_is_nan() -> None:
    rule, force, t = theory.GradientFlow(), jnp.asarray(FORCE), jnp.asarray([7.0])

    def through_eigh(matrix: jax.Array) -> jax.Array:
        eigenvalues, modes = jnp.linalg.eigh(matrix)
        return jnp.sum((modes * rule.gain(eigenvalues, t)) @ modes.T @ force)

    def ours(matrix: jax.Array) -> jax.Array:
        return jnp.sum(theory.derivatives.filtered_force(matrix, force, rule, t))

    naive, right = jax.jit(jax.value_and_grad(through_eigh)), jax.jit(jax.value_and_grad(ours))
    equal, apart = jnp.asarray(EQUAL), jnp.asarray(MATRICES["distinct"])
    assert np.isclose(naive(equal)[0], right(equal)[0], rtol=IDENTITY)
    assert np.all(np.isnan(naive(equal)[1]))
    assert np.all(np.isfinite(right(equal)[1]))
    assert np.allclose(naive(apart)[1], right(apart)[1], rtol=MATRIX_DERIVATIVE)  # where it exists, it agrees


@eqx.filter_jit
def both_ways(matrix: jax.Array, force: jax.Array, rule: theory.Rule) -> tuple[jax.Array, jax.Array]:
    """One derivative, along a direction in everything, in reverse and forward."""
    moving = (matrix, force, rule)
    directions = (jnp.asarray(DIRECTION), jnp.asarray(IN_FORCE), jax.tree.map(jnp.ones_like, rule))

    def sought(moving: tuple) -> jax.Array:
        matrix, force, rule = moving
        return jnp.vdot(jnp.asarray(TOWARD), theory.derivatives.filtered_force(matrix, force, rule, jnp.asarray(TIMES)))

    slopes = jax.tree.leaves(eqx.filter_grad(sought)(moving))
    pairs = zip(slopes, jax.tree.leaves(directions), strict=True)
    reverse = sum((jnp.vdot(a, b) for a, b in pairs), jnp.zeros(()))
    return reverse, eqx.filter_jvp(sought, (moving,), (directions,))[1]


@pytest.mark.parametrize("name", ["flow", "ringing heavy ball", "rising Nesterov"])
def test_reverse_equals_forward(name: str) -> None:
    matrix = jnp.asarray(MATRICES["equal and null, rotated"])
    reverse, forward = both_ways(matrix, jnp.asarray(FORCE), RULES[name])
    assert np.isclose(reverse, forward, rtol=MATRIX_DERIVATIVE)


# --- infinity --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(32, 37))
def test_at_infinity_the_derivative_is_that_of_the_pseudo_inverse_at_fixed_rank(seed: int) -> None:
    # Golub and Pereyra's formula for C+, along a change that keeps the rank.
    half, in_half = np.random.default_rng(seed).normal(size=(2, 4, 2))
    matrix, direction = half @ half.T, in_half @ half.T + half @ in_half.T
    inverse = np.linalg.pinv(matrix, rcond=1e-10)
    outside = np.eye(4) - matrix @ inverse
    kept = inverse @ inverse @ direction @ outside
    exact = -inverse @ direction @ inverse + kept + kept.T
    still = tangent(FLOW, "matrix")
    value, slope = along((jnp.asarray(matrix), jnp.asarray(FORCE), FLOW, LATE), (jnp.asarray(direction), *still[1:]))
    scale = np.abs(exact).max()
    assert np.allclose(value[:, 0], inverse @ FORCE, rtol=0, atol=MATRIX_DERIVATIVE * scale)
    assert np.allclose(slope[:, 0], exact @ FORCE, rtol=0, atol=MATRIX_DERIVATIVE * scale)


def test_at_infinity_a_ridge_makes_it_the_derivative_of_an_inverse() -> None:
    rule, matrix = RULES["descent"], MATRICES["equal and null, rotated"]
    _, slope = along((jnp.asarray(matrix), jnp.asarray(FORCE), rule, LATE), tangent(rule, "matrix"))
    inverse = np.linalg.inv(matrix + 0.01 * np.eye(4))
    exact = -inverse @ DIRECTION @ inverse @ FORCE
    assert np.allclose(slope[:, 0], exact, rtol=0, atol=MATRIX_DERIVATIVE * np.abs(exact).max())


# --- transforms ------------------------------------------------------------------------------------------------------


def test_a_batch_of_matrices_is_each_of_them() -> None:
    slope = jax.grad(
        lambda m: jnp.sum(theory.derivatives.filtered_force(m, jnp.asarray(FORCE), RULES["flow"], jnp.asarray(TIMES)))
    )
    matrices = jnp.asarray(list(MATRICES.values()))
    each = [jax.jit(slope)(matrix) for matrix in matrices]
    assert np.allclose(jax.jit(jax.vmap(slope))(matrices), each, rtol=MATRIX_DERIVATIVE)


def test_single_precision_stays_single() -> None:
    single = jax.tree.map(lambda x: x.astype(jnp.float32), RULES["flow"])
    matrix = jnp.asarray(MATRICES["equal and null, rotated"])
    exact = along((matrix, jnp.asarray(FORCE), RULES["flow"], jnp.asarray(TIMES)), tangent(RULES["flow"], "matrix"))
    primals = (matrix.astype(jnp.float32), jnp.asarray(FORCE, jnp.float32), single, jnp.asarray(TIMES, jnp.float32))
    ours = along(primals, jax.tree.map(lambda x: x.astype(jnp.float32), tangent(RULES["flow"], "matrix")))
    for found, right in zip(ours, exact, strict=True):
        assert found.dtype == jnp.float32
        assert np.allclose(found, right, rtol=FLOAT32, atol=FLOAT32 * float(jnp.abs(right).max()))


def test_second_derivatives_are_refused() -> None:
    def total(matrix: jax.Array) -> jax.Array:
        return jnp.sum(theory.derivatives.filtered_force(matrix, jnp.asarray(FORCE), RULES["flow"], jnp.asarray(TIMES)))

    for hessian in (jax.hessian(total), jax.jit(jax.hessian(total))):
        with pytest.raises(NotImplementedError, match="second derivative: only first derivatives"):
            hessian(jnp.asarray(EQUAL))
