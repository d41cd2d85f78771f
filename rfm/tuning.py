"""Choosing alpha and the ridge by descent on the exact test error, instead of by a grid of trainings.

The moments of Mixup at a few fixed ratios are made once, in passes over all pairs. From there on the expected problem
of every alpha is their weighted mean, and the test error a differentiable function of alpha and the ridge: its minimum
over training time, or its value at a budget.
"""

import functools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from jaxtyping import Array, Float

import theory
from rfm.checks import check_count
from rfm.expected import ExpectedProblem, expected_mixup
from rfm.features import FeatureMap
from rfm.mixup import Mixup
from rfm.tasks import Sample
from theory.checks import check_alpha, check_positive
from theory.population import Averages

FIRST_TIME = 1e-2
"""Of the fastest mode's time scale, for the search over training time."""
NUM_TIMES = 100
STARTS = (0.2, 1.0, 5.0)
"""Values of alpha to descend from; the lowest end counts."""
LEAST_RIDGE, START_RIDGE = 1e-10, 1e-4
"""Of the mean eigenvalue times the number of features."""


PRECISION = {"ftol": 1e-12, "gtol": 1e-9}
"""The minimum is flat in the ridge's logarithm: descent goes on until the risk is known to this share."""


class MixupFamily(eqx.Module):
    """The expected Mixup problems of all alphas, on one sample.

    Attributes:
        ratios: the moments at fixed ratios.
        population: what the risk is averaged over.
    """

    ratios: theory.MomentsOverRatios
    population: Averages

    def risk(
        self, alpha: float | Float[Array, ""], rule: theory.Rule, t: Float[Array, "times"]
    ) -> Float[Array, "times"]:
        """The test error under Mixup of that alpha, summed over targets, differentiable in it and in the rule."""
        return jnp.sum(theory.differentiable_risk(self.ratios.at(alpha), self.population, rule, t), axis=1)

    def turning(
        self, alpha: float | Float[Array, ""], rule: theory.Rule, grid: Float[Array, "times"]
    ) -> theory.TurningPoint:
        """Where that test error is lowest, differentiable as well."""
        return theory.turning_risk(self.ratios.at(alpha), self.population, rule, grid)


def mixup_family(
    sample: Sample,
    features: FeatureMap,
    *,
    population: Averages,
    num_ratios: int = 24,
    memory_budget: int | None = None,
) -> MixupFamily:
    """Makes the moments at fixed ratios, one pass over all pairs for every two of them.

    Args:
        sample: the originals.
        features: phi, finitely many.
        population: what the risk is averaged over.
        num_ratios: nodes over lam; means over lam are exact where the moments are polynomials of lower degree. At the
            default, the risk is known to 1e-6 for smooth features at alpha = 0.1, to 1e-11 at alpha = 1.
        memory_budget: as in `rfm.expected_mixup`.

    Raises:
        ValueError: a number of ratios that is not a positive whole number; as `rfm.expected_mixup`.

    >>> import rfm
    >>> task = rfm.TeacherStudent(input_dim=4, num_hidden=3, key=jax.random.key(0))
    >>> features = rfm.RandomFeatures(input_dim=4, num_features=6, key=jax.random.key(1))
    >>> sample, population = task.sample(num_samples=5, key=jax.random.key(3)), task.population(features)
    >>> family = mixup_family(sample, features, population=population)
    >>> law = rfm.Mixup(alpha=0.7, pairs="expected")
    >>> expected = rfm.expected_mixup(sample, features, law, population=population)
    >>> exact = rfm.closed_form(expected, times=[3.0]).risk
    >>> bool(jnp.allclose(family.risk(0.7, theory.GradientFlow(), jnp.asarray([3.0])), exact))
    True
    """
    check_count("num_ratios", num_ratios)
    nodes, _ = theory.beta_weights(1.0, num_ratios)
    passes = []
    for lam in nodes[: (num_ratios + 1) // 2]:  # the pair (j, i) at 1 - lam is the pair (i, j) at lam
        law = Mixup(lam=float(lam), pairs="expected")
        problem = expected_mixup(
            sample, features, law, population=population, method="gram", memory_budget=memory_budget
        )
        passes.append(_moments(problem))
    mirrored = passes + passes[: num_ratios // 2][::-1]
    return MixupFamily(theory.MomentsOverRatios.stacked(mirrored), population)


class Tuned(eqx.Module):
    """The settings of the lowest test error that descent has found.

    Attributes:
        alpha: of Mixup's ratio.
        ridge: weight decay, in eigenvalues.
        risk: the test error with them.
        time: when training ends: the turning time, or the budget.
        evaluations: of the risk and its gradient, from all starts.
    """

    alpha: float
    ridge: float
    risk: float
    time: float
    evaluations: int


def tune_mixup(
    family: MixupFamily,
    *,
    budget: float,
    stop: bool = False,
    alphas: tuple[float, float] = (0.05, 20.0),
    starts: tuple[float, ...] | None = None,
) -> Tuned:
    """Alpha and ridge of the lowest test error of gradient flow, by descent on their logarithms.

    Args:
        family: from `mixup_family`.
        budget: when training ends, in units of 1/eigenvalue.
        stop: end it at the turning time before, if there is one.
        alphas: the range of alpha.
        starts: values of alpha to descend from; None for three of them. The risk is not convex in alpha, so one may
            not do. An alpha at an end of its range says that the range is too narrow, or that mixing does not help.

    Raises:
        ValueError: a budget that is not a positive number, a range that does not ascend, starts outside of it.

    >>> import rfm
    >>> task = rfm.TeacherStudent(input_dim=4, num_hidden=3, label_noise_std=0.5, key=jax.random.key(0))
    >>> features = rfm.RandomFeatures(input_dim=4, num_features=6, key=jax.random.key(1))
    >>> sample = task.sample(num_samples=8, key=jax.random.key(3))
    >>> family = mixup_family(sample, features, population=task.population(features))
    >>> tuned = tune_mixup(family, budget=1e4)
    >>> bool(tuned.risk < family.risk(1.0, theory.GradientFlow(), jnp.asarray([1e4]))[0])
    True
    """
    check_positive("budget", budget)
    for end in alphas:
        check_alpha("alphas", end)
    starts = tuple(np.clip(STARTS, *alphas)) if starts is None else starts
    if not alphas[0] < alphas[1] or not starts or not all(alphas[0] <= start <= alphas[1] for start in starts):
        raise ValueError(f"alphas, starts: pass an ascending range and starts inside, got {alphas} and {starts}")
    scale = float(jnp.trace(family.ratios.second_moment[len(family.ratios.second_moment) // 2]))
    grid = jnp.geomspace(min(FIRST_TIME / scale, budget / 10), budget, NUM_TIMES)
    bounds = [(np.log(alphas[0]), np.log(alphas[1])), (np.log(scale * LEAST_RIDGE), np.log(scale))]
    objective = functools.partial(_objective, family, grid, stop)
    ends = [_descend(objective, [np.log(start), np.log(scale * START_RIDGE)], bounds) for start in starts]
    best = min(ends, key=lambda end: end.fun)
    alpha, ridge = np.exp(best.x)
    turning = family.turning(jnp.asarray(alpha), theory.GradientFlow(jnp.asarray(ridge)), grid) if stop else None
    time = float(budget) if turning is None else float(turning.time)
    return Tuned(float(alpha), float(ridge), float(best.fun), time, sum(end.nfev for end in ends))


def _descend(
    objective: Callable[[Array], tuple[Array, Array]], start: list[float], bounds: list[tuple[float, float]]
) -> scipy.optimize.OptimizeResult:
    def both(logs: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = objective(jnp.asarray(logs))
        return float(value), np.asarray(slope, float)

    return scipy.optimize.minimize(both, start, jac=True, bounds=bounds, method="L-BFGS-B", options=PRECISION)


@eqx.filter_jit
def _objective(family: MixupFamily, grid: Array, stop: bool, logs: Float[Array, "2"]) -> tuple[Array, Array]:
    """The risk, and its slope in the logarithms of alpha and the ridge."""

    def risk(logs: Array) -> Array:
        alpha, ridge = jnp.exp(logs)
        rule = theory.GradientFlow(ridge)
        return family.turning(alpha, rule, grid).risk if stop else family.risk(alpha, rule, grid[-1:])[0]

    return jax.value_and_grad(risk)(logs)


def _moments(problem: ExpectedProblem) -> theory.Moments:
    spectrum = problem.spectrum()
    singular = jnp.sqrt(spectrum.eigenvalues)[:, None]
    clean = spectrum.clean_coordinates
    return theory.Moments(
        (spectrum.modes * spectrum.eigenvalues[None, :]) @ spectrum.modes.T,
        spectrum.modes @ (singular * spectrum.label_coordinates),
        None if clean is None else spectrum.modes @ (singular * clean),
        problem.smoother.T / len(problem.smoother),
    )
