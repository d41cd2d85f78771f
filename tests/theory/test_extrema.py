"""All minima and maxima of a curve: against its definition on noisy samples, and of curves whose turns are known."""

import itertools
import warnings

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rfm
import theory
from tests.tolerances import IDENTITY, ORACLE
from theory.minimum import extrema

VALUES = st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=12)


def turns(values: list[float], error: float = 0.0) -> list[tuple[float, bool]]:
    times = np.arange(float(len(values)))
    return [
        (turn.time, turn.is_minimum) for turn in extrema(times, None, np.asarray(values), np.full(len(values), error))
    ]


def by_neighbours(values: list[float]) -> list[tuple[float, bool]]:
    """Of exact values: plateaus are one point, and a point between two on the same side of it is an extremum."""
    places = [0] + [k for k in range(1, len(values)) if values[k] != values[k - 1]]
    plain = [values[k] for k in places]
    found = []
    for k in range(1, len(plain) - 1):
        if (plain[k - 1] > plain[k]) == (plain[k + 1] > plain[k]):
            found.append((float(places[k]), plain[k + 1] > plain[k]))
    return found


@given(VALUES)
def test_exact_values_turn_where_their_neighbours_say(values: list[float]) -> None:
    assert turns(values) == by_neighbours(values)


@given(VALUES, st.integers(0, 3))
def test_turns_take_turns_and_are_parted_by_more_than_errors(values: list[float], twice: int) -> None:
    error = twice / 2
    found = turns(values, error)
    for (time, is_minimum), (later, other) in itertools.pairwise(found):
        assert time < later
        assert is_minimum != other
        assert abs(values[int(time)] - values[int(later)]) > 2 * error
    if 2 * error >= np.ptp(values):
        assert found == []


@given(VALUES, st.integers(0, 10**6))
def test_noise_within_the_errors_invents_no_turn(values: list[float], seed: int) -> None:
    """Of values that differ by whole numbers; a tenth is far from them."""
    noise = np.random.default_rng(seed).uniform(-0.1, 0.1, len(values))
    noisy = list(np.asarray(values) + noise)
    assert [kind for _, kind in turns(noisy, 0.1)] == [kind for _, kind in turns(values)]


def test_of_values_that_rounding_does_not_part_the_earliest_is_the_turn() -> None:
    assert turns([3.0, 1.05, 1.0, 1.1, 4.0, 3.95, 2.0], 0.1) == [(1.0, True), (4.0, False)]


def test_a_risk_that_overflows_has_turned_where_it_did_before() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert turns([3.0, 1.0, 5.0, np.inf, np.inf]) == [(1.0, True)]


def test_a_curve_says_its_own_turns_above_rounding() -> None:
    """The sum of two U-curves, one after the other: features of two sizes, and clean labels that only they see."""
    sigma = np.asarray([1.0, 0.05])
    labels, target = np.asarray([1.6, 0.05 * 1.6]), np.asarray([1.0, 1.0])
    test = rfm.TestSet(jnp.eye(2), jnp.asarray(target))
    problem = rfm.Problem(np.sqrt(2) * np.diag(sigma), np.sqrt(2) * labels, population=test)
    curve = rfm.closed_form(problem, times=jnp.logspace(-1, 5, 3000))
    # Each weight goes to 1.6, through the target 1, where exp(-mu t) = 1 - 1/1.6; the other moves that a little.
    passed = np.log(1.6 / 0.6) / sigma**2
    assert [turn.is_minimum for turn in curve.extrema] == [True, False, True]
    assert np.allclose([turn.time for turn in curve.extrema if turn.is_minimum], passed, rtol=2e-2)
    assert all(turn.step is None for turn in curve.extrema)
    rule = theory.GradientDescent(0.1)
    trained = rfm.simulate(problem, rule=rule, steps=np.arange(0, 400))
    exact = rfm.closed_form(problem, rule=rule, steps=np.arange(0, 400))
    assert [turn.step for turn in trained.extrema] == [turn.step for turn in exact.extrema]
    assert exact.extrema[0].step is not None


@pytest.mark.parametrize("of_rows", [True, False])
def test_a_step_size_of_each_feature_is_that_of_rescaled_ones(of_rows: bool) -> None:
    """Against descent by a loop with those step sizes."""
    drawn = np.random.default_rng(0)
    phi, y, relative = drawn.normal(size=(6, 3)), drawn.normal(size=6), np.asarray([1.0, 0.2, 2.0])
    new, target = drawn.normal(size=(50, 3)), drawn.normal(size=50)
    test: theory.Averages = rfm.TestSet(new, target)
    if not of_rows:
        test = theory.Population(new.T @ new / 50, new.T @ target / 50, np.mean(target**2))
    problem = rfm.decide.with_step_sizes(rfm.Problem(phi, y, population=test), relative)
    steps, size = [0, 1, 5, 40], 0.2
    weights, expected = np.zeros(3), []
    for step in range(41):
        if step in steps:
            expected.append(np.mean((target - new @ weights) ** 2))
        weights = weights - size * relative * (phi.T @ (phi @ weights - y)) / 6
    rule = theory.GradientDescent(size)
    assert np.allclose(rfm.closed_form(problem, rule=rule, steps=steps).risk, expected, rtol=ORACLE)
    assert np.allclose(rfm.simulate(problem, rule=rule, steps=steps).risk, expected, rtol=IDENTITY * 10)


def test_rescaled_rows_stay_mixed_of_their_originals() -> None:
    """Noise of the originals' labels is mixed with them; step sizes of one change nothing."""
    drawn = np.random.default_rng(1)
    sample = rfm.Sample(jnp.asarray(drawn.normal(size=(5, 3))), jnp.asarray(drawn.normal(size=5)), None)
    test = rfm.TestSet(drawn.normal(size=(20, 3)), drawn.normal(size=20))
    mixed = rfm.synthesize(sample, jnp.tanh, rfm.Mixup(lam=0.5), population=test)
    rescaled = rfm.decide.with_step_sizes(mixed, jnp.ones(3))
    means = [rfm.risk_over_labels(one, label_noise_variance=0.5, times=[1.0, 1e3]).mean for one in (mixed, rescaled)]
    assert np.allclose(*means, rtol=ORACLE)


@pytest.mark.parametrize(
    ("relative", "message"),
    [
        ([1.0, 2.0], "relative: "),
        ([1.0, np.inf, 1.0], "relative: "),
        ([1.0, 0.0, 1.0], "relative: step sizes must be positive"),
    ],
)
def test_step_sizes_that_are_none_are_refused(relative: list[float], message: str) -> None:
    problem = rfm.Problem(jnp.eye(3), jnp.ones(3), population=rfm.TestSet(jnp.eye(3), jnp.ones(3)))
    with pytest.raises(ValueError, match=f"^{message}"):
        rfm.decide.with_step_sizes(problem, jnp.asarray(relative))
