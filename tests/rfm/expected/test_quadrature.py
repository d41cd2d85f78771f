"""The quadrature over Mixup's ratio says how good it is: against pieces of Gauss-Legendre, pair by pair."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import rfm
import theory
from tests.tolerances import BETA_MOMENT, ESTIMATE, EXACT, IDENTITY

ALPHAS, NARROW_ALPHAS = (0.05, 0.3, 1.0, 5.0), (20.0, 50.0, 1000.0)
ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "sign": jnp.sign,
    "step": lambda x: jnp.where(x > 0.3, 1.0, 0.0),
    "relu": jax.nn.relu,
    "steep tanh": lambda x: jnp.tanh(30 * x),
    "tanh": jnp.tanh,
    "sin": jnp.sin,
}


def dense_rule(alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """240 pieces a half, in u = (2 lam)^alpha if the law is singular at 0: thousands of nodes that no rule shares."""
    node, weight = np.polynomial.legendre.leggauss(8)
    edges = np.linspace(0, 1, 241)
    u = (edges[:-1, None] + np.diff(edges)[:, None] * (1 + node) / 2).ravel()
    half = np.tile(weight, 240)
    lam = u ** (1 / alpha) / 2 if alpha < 1 else u / 2
    half = half * (1 - lam) ** (alpha - 1) * (1 if alpha < 1 else lam ** (alpha - 1))
    return np.concatenate([lam, 1 - lam]), np.concatenate([half, half]) / (2 * half.sum())


def moments(rule: tuple[np.ndarray, np.ndarray], inputs: np.ndarray, features: Callable) -> np.ndarray:
    """The means of phi phiᵀ, phi and lam phi over all pairs of different originals."""
    first, second = np.nonzero(~np.eye(len(inputs), dtype=bool))
    lam, weights = (np.repeat(part, len(first)) for part in rule)
    first, second = (np.tile(inputs[part], (len(rule[0]), 1)) for part in (first, second))
    phi = np.asarray(features(jnp.asarray(lam[:, None] * first + (1 - lam)[:, None] * second)))
    return (weights[:, None] * phi).T @ np.column_stack([phi, np.ones(len(phi)), lam]) / (len(phi) / len(rule[0]))


@pytest.mark.parametrize("alpha", [*ALPHAS, *NARROW_ALPHAS])
def test_the_nodes_that_errors_are_estimated_by_are_exact_for_smooth_functions(alpha: float) -> None:
    for lam, weights in rfm.mixup.BetaRatio(alpha).finer_nodes(8):
        nodes, gauss = theory.noise.beta_quadrature(alpha, 16)
        assert np.isclose(weights @ np.exp(lam), gauss @ np.exp(nodes), rtol=BETA_MOMENT)
        inside = lam[(lam > 1e-6) & (lam < 1 - 1e-6)]
        assert not np.any(np.isclose(inside[:, None] + inside[None, :], 1, rtol=0, atol=1e-9))  # none mirrors another


@pytest.mark.slow
@pytest.mark.parametrize("alpha", NARROW_ALPHAS)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_error_is_known_for_narrow_laws(name: str, alpha: float) -> None:
    # The truth by quantiles, which are good to some 1e-6 of a moment.
    quantiles = scipy.stats.beta.ppf((np.arange(10001) + 0.5) / 10001, alpha, alpha), np.full(10001, 1 / 10001)
    for num_samples in (2, 3, 10):
        rng = np.random.default_rng(num_samples)
        inputs, weights = rng.normal(size=(num_samples, 2)), jnp.asarray(rng.normal(size=(2, 8)))

        def features(x: jax.Array, weights: jax.Array = weights) -> jax.Array:
            return ACTIVATIONS[name](x @ weights)

        rule = rfm.expected.ratio_quadrature(rfm.Mixup(alpha=alpha, pairs="expected"), jnp.asarray(inputs), features)
        exact, ours = (moments(law, inputs, features) for law in (quantiles, (rule.lam, rule.weights)))
        error = np.linalg.norm(ours - exact) / np.linalg.norm(exact)
        assert error <= ESTIMATE * max(rule.error, 1e-5), num_samples


@pytest.mark.slow
@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("num_samples", [2, 3, 10])
def test_the_error_is_never_far_above_what_it_is_said_to_be(name: str, num_samples: int) -> None:
    """24 draws each, 432 in all; rules of 4 and 8 ratios may agree on the jumps of a few pairs, and both be wrong."""
    optimism, pessimism = [], []
    for index, alpha in enumerate(ALPHAS):
        for num_features in (1, 20):
            for seed in range(3):
                rng = np.random.default_rng([num_samples, index, num_features, seed])
                inputs, rows = rng.normal(size=(num_samples, 3)), rng.normal(size=(num_features, 3))

                def features(x: jax.Array, rows: np.ndarray = rows) -> jax.Array:
                    return ACTIVATIONS[name](x @ rows.T)

                law, number = rfm.Mixup(alpha=alpha, pairs="expected"), int(rng.choice([4, 8, 16]))
                rule = rfm.expected.ratio_quadrature(law, jnp.asarray(inputs), features, num_ratios=number)
                exact = moments(dense_rule(alpha), inputs, features)
                ours = moments((rule.lam, rule.weights), inputs, features)
                off = float(np.linalg.norm(ours - exact) / max(np.linalg.norm(exact), np.finfo(float).tiny))
                optimism.append((off - IDENTITY) / max(rule.error, IDENTITY))
                pessimism.append(rule.error / max(off, IDENTITY))
    print(f"{name}: true / claimed at most {max(optimism):.2f}, median pessimism {np.median(pessimism):.2f}")
    assert max(optimism) <= ESTIMATE
    assert np.median(pessimism) < ESTIMATE


def test_one_original_has_no_pairs_and_no_error() -> None:
    law = rfm.Mixup(alpha=0.4, pairs="expected")
    assert rfm.expected.ratio_quadrature(law, jnp.ones((1, 3)), jnp.sign).error == 0


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["tanh", "relu", "sign"])
@pytest.mark.parametrize("near", [False, True], ids=["one pair", "nearest"])
def test_the_error_is_that_of_the_pairs_that_have_a_weight(activation: str, near: bool) -> None:
    """One pair of many, whose kinks the mean over all pairs would hide: against 1024 ratios.

    The error is relative to E phi phiᵀ and E phi beside it.
    """
    keys = jax.random.split(jax.random.key(3), 3)
    task = rfm.TeacherStudent(input_dim=3, num_hidden=4, key=keys[0])
    features = rfm.RandomFeatures(3, 20, activation, weight_std=3.0, key=keys[1])
    sample, population = task.sample(30, key=keys[2]), rfm.TestSet(jnp.eye(20), jnp.ones(20))
    alone = np.eye(30) * 1e-9
    alone[3, 17] = 1
    partners = rfm.mixup.NearestInputs(2) if near else alone / alone.sum()
    law = rfm.Mixup(alpha=1.0, pairs="expected", partners=partners)

    def moment(number: int) -> tuple[np.ndarray, float]:
        problem = rfm.expected_mixup(sample, features, law, population=population, method="gram", num_ratios=number)
        modes, mean = np.asarray(problem.found.modes), np.asarray(problem.smoother).mean(axis=0)[:, None]
        second = modes * np.asarray(problem.found.eigenvalues) @ modes.T
        return np.concatenate([second, mean], axis=1), problem.ratios.error

    (ours, claimed), (true, _) = moment(16), moment(1024)
    assert np.linalg.norm(ours - true) <= (claimed + EXACT) * np.linalg.norm(true)
