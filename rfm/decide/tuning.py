"""Choosing alpha and the ridge by descent on the exact test error, instead of by a grid of trainings.

The moments of Mixup at a few fixed ratios are made once, in passes over all pairs. From there on the expected problem
of every alpha is their weighted mean, and the test error a differentiable function of alpha and the ridge: its minimum
over training time, or its value at a budget.
"""

import dataclasses
import functools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from jaxtyping import Array, Float

import theory
from rfm.expected.problem import expected_mixup
from rfm.features import FeatureMap
from rfm.mixup.laws import Mixup
from rfm.sample import Sample
from rfm.solve import solve
from theory.checks import check_alpha, check_count, check_positive, check_type, trusted, untraced
from theory.population import Averages
from theory.switching import check_budget

FIRST_TIME = 1e-2
"""Of the fastest mode's time scale, for the search over training time."""
NUM_TIMES = 100
STARTS = (0.2, 1.0, 5.0)
"""Values of alpha to descend from; the lowest end counts."""
NEARBY = (1.0, 0.5, 2.0)
"""Times alpha; the first is alpha itself."""
NUM_TRIED = 13
"""Alphas, evenly in their logarithm, at which it is asked whether the family knows the risk."""
LEAST_RIDGE, START_RIDGE = 1e-10, 1e-4
"""Of the mean eigenvalue times the number of features."""


PRECISION = {"ftol": 1e-12, "gtol": 1e-9}
"""The minimum is flat in the ridge's logarithm: descent goes on until the risk is known to this share."""


class MixupFamily(eqx.Module):
    """The expected Mixup problems of all alphas, on one sample.

    Attributes:
        ratios: the moments at fixed ratios.
        fewer: at two smaller numbers of other ratios, from which the risk's error is estimated.
        population: what the risk is averaged over.
    """

    ratios: theory.derivatives.MomentsOverRatios
    fewer: tuple[theory.derivatives.MomentsOverRatios, ...]
    population: Averages

    def risk(
        self, alpha: float | Float[Array, ""], rule: theory.Rule, t: Float[Array, "times"]
    ) -> Float[Array, "times"]:
        """The test error under Mixup of that alpha, summed over targets, differentiable in it and in the rule."""
        return jnp.sum(theory.derivatives.differentiable_risk(self.ratios.at(alpha), self.population, rule, t), axis=1)

    def turning(
        self, alpha: float | Float[Array, ""], rule: theory.Rule, grid: Float[Array, "times"]
    ) -> theory.derivatives.TurningPoint:
        """Where that test error is lowest, differentiable as well."""
        return theory.derivatives.turning_risk(self.ratios.at(alpha), self.population, rule, grid)

    def risk_error(
        self, alpha: float | Float[Array, ""], rule: theory.Rule, t: Float[Array, "times"]
    ) -> Float[Array, "times"]:
        """How well that test error is known, as a share of it: how far it differs over the three numbers of ratios.

        The largest such distance at alpha and at two `NEARBY`, where risks that err may cross. More than the error by a
        factor of about 10 for features with jumps or kinks, by orders of magnitude for smooth ones.
        """
        return self._disagreement(lambda family, alpha: family.risk(alpha, rule, t), alpha)

    def turning_error(
        self, alpha: float | Float[Array, ""], rule: theory.Rule, grid: Float[Array, "times"]
    ) -> Float[Array, ""]:
        """The same of the lowest test error."""
        return self._disagreement(lambda family, alpha: family.turning(alpha, rule, grid).risk, alpha)

    def _disagreement(self, risk: Callable[["MixupFamily", float | Array], Array], alpha: float | Array) -> Array:
        families = [MixupFamily(ratios, (), self.population) for ratios in (self.ratios, *self.fewer)]
        risks = jnp.stack([jnp.stack([risk(family, alpha * near) for family in families]) for near in NEARBY])
        ours = risks[0, 0]
        # What the fewer two differ by is added, as in `ratio_quadrature`: neither is the truth.
        largest = jnp.max(jnp.ptp(risks, axis=1) + jnp.ptp(risks[:, 1:], axis=1), axis=0)
        return largest / jnp.where(ours > 0, ours, 1)


@untraced
def mixup_family(
    sample: Sample,
    features: FeatureMap,
    *,
    population: Averages,
    num_ratios: int = 24,
    memory_budget: int | None = None,
) -> MixupFamily:
    """Makes the moments at fixed ratios, one pass over all pairs for every two of them.

    Two thirds and half as many other ratios are passed over too, by which `MixupFamily.risk_error` is known.

    Args:
        sample: the originals.
        features: phi, finitely many.
        population: what the risk is averaged over.
        num_ratios: nodes over lam, at least 4; means over lam are exact where the moments are polynomials of lower
            degree. `MixupFamily.risk_error` says how well the risk is known.
        memory_budget: as in `rfm.expected_mixup`.

    Raises:
        ValueError: a number of ratios that is not a whole number of at least 4; as `rfm.expected_mixup`.

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
    check_count("num_ratios", num_ratios, least=4)

    def over(number: int) -> theory.derivatives.MomentsOverRatios:
        nodes, _ = theory.derivatives.beta_weights(1.0, number)
        passes = []
        for lam in nodes[: (number + 1) // 2]:  # the pair (j, i) at 1 - lam is the pair (i, j) at lam
            law = Mixup(lam=float(lam), pairs="expected")
            problem = expected_mixup(
                sample, features, law, population=population, method="gram", memory_budget=memory_budget
            )
            noise = problem.label_smoother().T / len(sample.labels)
            passes.append(dataclasses.replace(solve(problem).moments(), noise_force=noise))
        return theory.derivatives.MomentsOverRatios.stacked(passes + passes[: number // 2][::-1])

    fewer = over(2 * num_ratios // 3 | 1), over(num_ratios // 2)
    return MixupFamily(over(num_ratios), fewer, population)


class Tuned(eqx.Module):
    """The settings of the lowest test error that descent has found.

    Attributes:
        alpha: of Mixup's ratio.
        ridge: weight decay, in eigenvalues.
        risk: the test error with them.
        risk_error: how well the family knows it, as a share of it.
        alphas: the part of the range in which the family knows the risk, and descent has searched.
        time: when training ends: the turning time, or the budget.
        evaluations: of the risk and its gradient, from all starts.
    """

    alpha: float
    ridge: float
    risk: float
    risk_error: float
    alphas: tuple[float, float]
    time: float
    evaluations: int


@untraced
def tune_mixup(
    family: MixupFamily,
    *,
    budget: float,
    stop: bool = False,
    alphas: tuple[float, float] = (0.05, 20.0),
    starts: tuple[float, ...] | None = None,
    tolerance: float = 0.05,
) -> Tuned:
    """Alpha and ridge of the lowest test error of gradient flow, by descent on their logarithms.

    Descends only where the family knows the risk: a minimum among risks that are wrong is one of the errors.

    Args:
        family: from `mixup_family`.
        budget: when training ends, in units of 1/eigenvalue.
        stop: end it at the turning time before, if there is one.
        alphas: the range of alpha.
        starts: values of alpha to descend from; None for three of them. The risk is not convex in alpha, so one may
            not do. An alpha at an end of its range says that the range is too narrow, or that mixing does not help.
        tolerance: the estimated error of the risk, as a share of it, up to which it counts as known.

    Raises:
        ValueError: a budget or tolerance that is not a positive number, a range that does not ascend, starts
            outside of it; a family that does not know the risk to the tolerance at any alpha, or at none of the ends.

    >>> import rfm
    >>> task = rfm.TeacherStudent(input_dim=4, num_hidden=3, label_noise_std=0.5, key=jax.random.key(0))
    >>> features = rfm.RandomFeatures(input_dim=4, num_features=6, key=jax.random.key(1))
    >>> sample = task.sample(num_samples=8, key=jax.random.key(3))
    >>> family = mixup_family(sample, features, population=task.population(features))
    >>> tuned = tune_mixup(family, budget=1e4)
    >>> bool(tuned.risk < family.risk(1.0, theory.GradientFlow(), jnp.asarray([1e4]))[0])
    True
    """
    check_type("family", family, MixupFamily, "what rfm.decide.mixup_family gives")
    check_positive("budget", budget)
    for end in alphas:
        check_alpha("alphas", end)
    check_positive("tolerance", tolerance)
    starts = tuple(np.clip(STARTS, *alphas)) if starts is None else starts
    if not alphas[0] < alphas[1] or not starts or not all(alphas[0] <= start <= alphas[1] for start in starts):
        raise ValueError(f"alphas, starts: pass an ascending range and starts inside, got {alphas} and {starts}")
    scale = float(jnp.trace(family.ratios.second_moment[len(family.ratios.second_moment) // 2]))
    check_budget(theory.GradientFlow(), budget, scale)
    grid = jnp.geomspace(min(FIRST_TIME / scale, budget / 10), budget, NUM_TIMES)
    known = _known_alphas(family, grid, stop, alphas, scale * START_RIDGE, tolerance)
    bounds = [(np.log(known[0]), np.log(known[1])), (np.log(scale * LEAST_RIDGE), np.log(scale))]
    objective = functools.partial(_objective, family, grid, stop)
    begin = sorted({float(start) for start in np.clip(starts, *known)})
    ends = [_descend(objective, [np.log(start), np.log(scale * START_RIDGE)], bounds) for start in begin]
    errors = [float(_error(family, grid, stop, *jnp.exp(jnp.asarray(end.x)))) for end in ends]
    if min(errors) > tolerance:
        raise _unknown(min(errors), tolerance, "where descent ends")
    best, error = min(
        ((end, error) for end, error in zip(ends, errors, strict=True) if error <= tolerance),
        key=lambda pair: pair[0].fun,
    )
    alpha, ridge = np.clip(np.exp(best.x[0]), *known), np.exp(best.x[1])  # clipped, for exponentials round
    turning = family.turning(jnp.asarray(alpha), theory.GradientFlow(jnp.asarray(ridge)), grid) if stop else None
    time = float(budget) if turning is None else float(turning.time)
    return Tuned(float(alpha), float(ridge), float(best.fun), error, known, time, sum(end.nfev for end in ends))


def _known_alphas(
    family: MixupFamily, grid: Array, stop: bool, alphas: tuple[float, float], ridge: float, tolerance: float
) -> tuple[float, float]:
    """The longest part of the range in which the risk is known."""
    tried = np.geomspace(*alphas, NUM_TRIED)
    errors = np.asarray([_error(family, grid, stop, jnp.asarray(alpha), jnp.asarray(ridge)) for alpha in tried])
    edges = np.flatnonzero(np.diff(np.concatenate([[0], errors <= tolerance, [0]])))
    first, last = edges[::2], edges[1::2] - 1
    if len(first) == 0 or np.max(last - first) == 0:
        raise _unknown(float(errors.min()), tolerance, f"at alphas from {alphas[0]} to {alphas[1]}")
    longest = int(np.argmax(last - first))
    return float(tried[first[longest]]), float(tried[last[longest]])


def _unknown(error: float, tolerance: float, where: str) -> ValueError:
    return ValueError(
        f"family: knows the risk to a share of {error:.1e} at best, {where}, and not to {tolerance}; make it with more "
        "num_ratios, pass a shorter budget, a larger tolerance, or take smoother features"
    )


@eqx.filter_jit
@trusted()
def _error(family: MixupFamily, grid: Array, stop: bool, alpha: Array, ridge: Array) -> Array:
    rule = theory.GradientFlow(ridge)
    return family.turning_error(alpha, rule, grid) if stop else family.risk_error(alpha, rule, grid[-1:])[0]


def _descend(
    objective: Callable[[Array], tuple[Array, Array]], start: list[float], bounds: list[tuple[float, float]]
) -> scipy.optimize.OptimizeResult:
    def both(logs: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = objective(jnp.asarray(logs))
        return float(value), np.asarray(slope, float)

    return scipy.optimize.minimize(both, start, jac=True, bounds=bounds, method="L-BFGS-B", options=PRECISION)


@eqx.filter_jit
@trusted()
def _objective(family: MixupFamily, grid: Array, stop: bool, logs: Float[Array, "2"]) -> tuple[Array, Array]:
    """The risk, and its slope in the logarithms of alpha and the ridge."""

    def risk(logs: Array) -> Array:
        alpha, ridge = jnp.exp(logs)
        rule = theory.GradientFlow(ridge)
        return family.turning(alpha, rule, grid).risk if stop else family.risk(alpha, rule, grid[-1:])[0]

    return jax.value_and_grad(risk)(logs)
