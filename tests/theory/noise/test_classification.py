"""Mixup's hard labels and its cross-entropy, against labels that are really drawn and losses that are minimised."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st

import theory
from tests.tolerances import IDENTITY, ORACLE, SAMPLING

SEEDS = st.integers(0, 10**6)
CLASSES = st.sampled_from([2, 3, 10])
NUM_PAIRS = 50


def probabilities(num_classes: int, seed: int, concentration: float = 0.4) -> tuple[jnp.ndarray, jnp.ndarray]:
    """Soft truths at x, at x' and at the mixed input, which need not be related; and ratios."""
    rng = np.random.default_rng(seed)
    first, second, truth = rng.dirichlet(np.full(num_classes, concentration), size=(3, NUM_PAIRS))
    mixed = theory.noise.mixed_probabilities(
        jnp.asarray(first), jnp.asarray(second), jnp.asarray(rng.uniform(size=NUM_PAIRS))
    )
    return mixed, jnp.asarray(truth)


def draw(probabilities: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """Labels by inversion, one row of draws a row of probabilities."""
    cumulative = np.cumsum(probabilities, axis=1)
    return np.minimum(np.sum(uniform[:, :, None] > cumulative[:, None, :], axis=2), probabilities.shape[1] - 1)


@pytest.mark.parametrize("lam", [0.0, 0.3, 1.0])
def test_mixed_hard_labels_take_a_parents_class_with_its_share(lam: float) -> None:
    rng = np.random.default_rng(0)
    first, second = rng.dirichlet(np.ones(4), size=(2, 3))
    num_draws = 40_000
    from_first = rng.uniform(size=(3, num_draws)) < lam
    labels = np.where(
        from_first, draw(first, rng.uniform(size=(3, num_draws))), draw(second, rng.uniform(size=(3, num_draws)))
    )
    ours = np.asarray(theory.noise.mixed_probabilities(jnp.asarray(first), jnp.asarray(second), lam))
    frequency = np.mean(labels[:, :, None] == np.arange(4), axis=1)
    assert np.all(np.abs(frequency - ours) <= SAMPLING * np.sqrt(ours * (1 - ours) / num_draws) + IDENTITY)
    assert np.allclose(ours.sum(axis=1), 1, rtol=IDENTITY, atol=0)


def test_hard_labels_err_as_often_as_independent_draws_disagree() -> None:
    mixed, truth = (np.asarray(part) for part in probabilities(4, 1))
    rng, num_draws = np.random.default_rng(2), 20_000
    ours = np.asarray(theory.noise.hard_label_error(jnp.asarray(mixed), jnp.asarray(truth)))
    shape = (NUM_PAIRS, num_draws)
    wrong = np.mean(draw(mixed, rng.uniform(size=shape)) != draw(truth, rng.uniform(size=shape)), axis=1)
    assert np.all(np.abs(wrong - ours) <= SAMPLING * np.sqrt(ours * (1 - ours) / num_draws))


@settings(max_examples=20)
@given(SEEDS, CLASSES)
def test_total_variation_is_the_least_error_over_all_couplings(seed: int, num_classes: int) -> None:
    """By linear programming over joint laws with the two labels' own laws: a twin that knows no formula."""
    mixed, truth = (np.asarray(part)[0] for part in probabilities(num_classes, seed))
    cost = 1 - np.eye(num_classes).ravel()
    margins = np.vstack([np.kron(np.eye(num_classes), np.ones(num_classes)), np.tile(np.eye(num_classes), num_classes)])
    least = scipy.optimize.linprog(cost, A_eq=margins, b_eq=np.concatenate([mixed, truth]), bounds=(0, None)).fun
    ours = float(theory.noise.total_variation_lower(jnp.asarray(mixed[None]), jnp.asarray(truth[None]))[0])
    assert abs(ours - least) <= ORACLE


def test_total_variation_is_attained_by_labels_drawn_from_the_maximal_coupling() -> None:
    """Both take what the laws have in common with one draw; the rest of the time they differ."""
    mixed, truth = (np.asarray(part)[:1] for part in probabilities(4, 3, concentration=2.0))
    rng, num_draws = np.random.default_rng(4), 100_000
    common = np.minimum(mixed, truth)
    shared = rng.uniform(size=(1, num_draws)) < common.sum()
    same = draw(common / common.sum(), rng.uniform(size=(1, num_draws)))
    labels = [
        np.where(shared, same, draw((law - common) / (1 - common.sum()), rng.uniform(size=(1, num_draws))))
        for law in (mixed, truth)
    ]
    for drawn, law in zip(labels, (mixed, truth), strict=True):
        frequency = np.mean(drawn[0][:, None] == np.arange(4), axis=0)
        assert np.all(np.abs(frequency - law[0]) <= SAMPLING * np.sqrt(law[0] * (1 - law[0]) / num_draws))
    ours = float(theory.noise.total_variation_lower(jnp.asarray(mixed), jnp.asarray(truth))[0])
    differ = float(np.mean(labels[0] != labels[1]))
    assert 0.05 < ours < 0.95
    assert abs(differ - ours) <= SAMPLING * np.sqrt(ours * (1 - ours) / num_draws)


@settings(max_examples=20)
@given(SEEDS, CLASSES, st.sampled_from([0.05, 0.4, 3.0]))
def test_the_bounds_on_hard_labels_are_in_order(seed: int, num_classes: int, concentration: float) -> None:
    mixed, truth = probabilities(num_classes, seed, concentration)
    error, total = theory.noise.hard_label_error(mixed, truth), theory.noise.total_variation_lower(mixed, truth)
    weaker = theory.noise.liu2023_sup_lower(mixed, truth)
    assert np.all(total <= error + IDENTITY)
    assert np.all(weaker <= total + IDENTITY)
    assert np.all((weaker >= 0) & (error <= 1 + IDENTITY))


@settings(max_examples=20)
@given(SEEDS)
def test_the_sup_bound_is_half_the_largest_difference_and_half_of_total_variation_for_two_classes(seed: int) -> None:
    mixed, truth = probabilities(2, seed)
    weaker, total = theory.noise.liu2023_sup_lower(mixed, truth), theory.noise.total_variation_lower(mixed, truth)
    assert np.allclose(2 * weaker, total, rtol=0, atol=IDENTITY)
    assert np.allclose(total, np.abs(mixed[:, 0] - truth[:, 0]), rtol=0, atol=IDENTITY)
    wide, far = probabilities(10, seed)
    largest = [
        max(abs(a - b) for a, b in zip(p, q, strict=True))
        for p, q in zip(np.asarray(wide), np.asarray(far), strict=True)
    ]
    assert np.allclose(2 * theory.noise.liu2023_sup_lower(wide, far), largest, rtol=0, atol=IDENTITY)


def test_disjoint_laws_attain_every_bound_and_equal_certain_ones_none() -> None:
    certain, other = jnp.asarray([[1.0, 0.0]]), jnp.asarray([[0.0, 1.0]])
    for bound in (theory.noise.hard_label_error, theory.noise.total_variation_lower):
        assert bound(certain, other).tolist() == [1.0]
        assert bound(certain, certain).tolist() == [0.0]
    assert theory.noise.liu2023_sup_lower(certain, other).tolist() == [0.5]


# --- cross-entropy ---------------------------------------------------------------------------------------------------

PROPORTIONS = {"balanced": np.full(4, 0.25), "skewed": np.asarray([0.7, 0.2, 0.1]), "one class": np.asarray([1.0, 0.0])}


@pytest.mark.parametrize("alpha", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("name", PROPORTIONS)
def test_the_floor_is_the_mean_entropy_of_the_mixed_label(name: str, alpha: float) -> None:
    """One-hot labels: the entropy of (lam, 1 - lam) between two classes, integrated over the Beta law."""
    proportions = PROPORTIONS[name]
    law = {"weight": "alg-loga", "wvar": (alpha, alpha - 1)}  # lam^alpha (1 - lam)^(alpha - 1) log lam
    between = -2 * scipy.integrate.quad(lambda lam: 1.0, 0, 1, **law)[0] / scipy.special.beta(alpha, alpha)
    differ = sum(p * q for i, p in enumerate(proportions) for j, q in enumerate(proportions) if i != j)
    ours = float(theory.noise.cross_entropy_floor(alpha, jnp.asarray(proportions)))
    assert np.isclose(ours, differ * between, rtol=ORACLE, atol=IDENTITY)


@pytest.mark.parametrize("num_classes", [2, 3, 10, 100])
def test_uniform_ratios_and_balanced_classes_have_the_papers_floor(num_classes: int) -> None:
    ours = float(theory.noise.cross_entropy_floor(1.0, jnp.full(num_classes, 1 / num_classes)))
    assert np.isclose(ours, (num_classes - 1) / (2 * num_classes), rtol=IDENTITY, atol=0)


@pytest.mark.parametrize("alpha", [0.4, 1.0, 3.0])
@pytest.mark.parametrize("name", ["balanced", "skewed"])
def test_the_mixed_label_reaches_the_floor_and_no_other_prediction_does(name: str, alpha: float) -> None:
    """Monte Carlo of Mixup's cross-entropy with labels that are really drawn."""
    proportions = PROPORTIONS[name]
    rng, num_draws = np.random.default_rng(5), 200_000
    first, second = rng.choice(len(proportions), p=proportions, size=(2, num_draws))
    lam = rng.beta(alpha, alpha, size=num_draws)[:, None]
    target = lam * np.eye(len(proportions))[first] + (1 - lam) * np.eye(len(proportions))[second]
    floor = float(theory.noise.cross_entropy_floor(alpha, jnp.asarray(proportions)))

    def loss(prediction: np.ndarray) -> np.ndarray:
        """-sum_j target_j log prediction_j, with 0 log 0 = 0."""
        logs = np.log(np.where(target > 0, prediction, 1))
        return -np.sum(target * logs, axis=1)

    reached = loss(target)
    assert abs(np.mean(reached) - floor) <= SAMPLING * np.std(reached) / np.sqrt(num_draws)
    smoothed = 0.9 * target + 0.1 / len(proportions)
    sharpened = target**1.3 / np.sum(target**1.3, axis=1, keepdims=True)
    constant = np.broadcast_to(proportions, target.shape)
    for other in (smoothed, sharpened, constant):
        excess = loss(other) - reached
        assert np.mean(excess) > SAMPLING * np.std(excess) / np.sqrt(num_draws)


def test_minimising_the_loss_numerically_finds_the_mixed_label() -> None:
    """By softmax and BFGS, one prediction for each of eleven ratios of a pair of classes."""
    ratios, shares = theory.noise.beta_quadrature(1.0, 11)

    def loss(logits: np.ndarray) -> float:
        scores = logits.reshape(11, 2)
        logs = scores - np.logaddexp(scores[:, :1], scores[:, 1:])
        return float(-shares @ (ratios * logs[:, 0] + (1 - ratios) * logs[:, 1]))

    found = scipy.optimize.minimize(loss, np.zeros(22), method="BFGS", options={"gtol": 1e-7})
    predicted = 1 / (1 + np.exp(np.diff(found.x.reshape(11, 2), axis=1)[:, 0]))
    assert np.allclose(predicted, ratios, rtol=0, atol=1e-3)  # BFGS stops where the loss is flat
    floor = 2 * float(theory.noise.cross_entropy_floor(1.0, jnp.full(2, 0.5)))  # of pairs that differ, half of all
    assert abs(found.fun - floor) <= 1e-3  # the entropy has infinite slope at its ends: eleven nodes are good to this


# --- bad input -------------------------------------------------------------------------------------------------------


def test_probabilities_must_be_rows_that_are_not_negative_and_sum_to_one() -> None:
    good = jnp.asarray([[0.5, 0.5], [0.2, 0.8]])
    calls = [theory.noise.hard_label_error, theory.noise.total_variation_lower, theory.noise.liu2023_sup_lower]
    for call in calls:
        with pytest.raises(ValueError, match=r"truth: row 1 sums to 0.9, .*; pass rows of probabilities"):
            call(good, jnp.asarray([[0.5, 0.5], [0.2, 0.7]]))
        with pytest.raises(ValueError, match=r"mixed: row \d sums to 1, and the smallest entry is -0.2"):
            call(jnp.asarray([[0.5, 0.5], [1.2, -0.2]]), good)
    with pytest.raises(ValueError, match="first: 1 of 4 values are not finite"):
        theory.noise.mixed_probabilities(good.at[0, 0].set(jnp.nan), good, 0.5)
    with pytest.raises(ValueError, match=r"proportions: row 0 sums to 1.5"):
        theory.noise.cross_entropy_floor(1.0, jnp.asarray([0.5, 0.5, 0.5]))
    with pytest.raises(ValueError, match=r"alpha: must lie between 0.0001 and 1000, got -1"):
        theory.noise.cross_entropy_floor(-1.0, jnp.asarray([0.5, 0.5]))


@pytest.mark.parametrize("lam", [-0.1, 1.1, np.nan])
def test_mixing_probabilities_needs_a_ratio_between_zero_and_one(lam: float) -> None:
    good = jnp.asarray([[0.5, 0.5]])
    with pytest.raises(ValueError, match=r"lam: must lie in \[0, 1\], got"):
        theory.noise.mixed_probabilities(good, good, lam)
