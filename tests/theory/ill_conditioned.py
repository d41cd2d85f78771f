"""Random problems on which rounding shows, and what training makes of them in exact arithmetic.

Each problem is drawn by its number: its shape, its spectrum, where the labels lie in it, what its risk is averaged
over, and how it is trained. The exact risk comes from one eigen-decomposition in `DIGITS` digits and, mode by mode,
from powers of the matrix of one step: neither knows the closed forms of the rules.
"""

import warnings
from typing import NamedTuple

import jax
import jax.numpy as jnp
import mpmath
import numpy as np

import rfm
import theory
from tests.theory.oracles import matrix, power

DIGITS = 90
NULL = mpmath.mpf(10) ** -60
"""Eigenvalues below this, relative to the largest, are those of an exactly singular matrix."""
SHAPES = ((12, 5, 1), (5, 12, 1), (7, 7, 2))
"""Rows, features and targets: few, for each compiles anew."""
NUM_TEST = 6


class Hard(NamedTuple):
    """A problem, how it is trained, and until when.

    Attributes:
        kind: of the spectrum.
        problem: with a test set or a population.
        rule: how it is trained.
        clock: the rule's times or steps.
        start: weights, or None.
    """

    kind: str
    problem: rfm.Problem
    rule: theory.Rule
    clock: np.ndarray
    start: theory.Start | None


def draw(number: int, rule_kind: str = "flow") -> Hard:
    """The problem of that number, in float64."""
    rng = np.random.default_rng([7, number])
    rows, columns, num_targets = SHAPES[rng.integers(len(SHAPES))]
    kind = KINDS[number % len(KINDS)]
    features = FEATURES[kind](rng, rows, columns) * 2.0 ** rng.choice([-10, 0, 0, 0, 10])  # exactly
    labels = _labels(rng, features, num_targets)
    population = _population(rng, features, num_targets)
    problem = rfm.Problem(features, labels, population=population)
    largest = float(np.linalg.norm(features, 2) ** 2 / rows)
    ridge = largest * 10.0 ** -rng.uniform(2, 16) if rng.random() < 0.25 else 0.0
    start = None
    if rng.random() < 0.25:
        start = theory.Start(jnp.asarray(rng.normal(size=(columns, num_targets)) * np.std(labels)))
    rule = _rule(rng, rule_kind, largest, ridge)
    if not rule.counts_steps:
        return Hard(kind, problem, rule, 10.0 ** np.arange(0, 17, 2) / largest, start)
    most = MOST_STEPS.get(rule_kind, 10**12)
    return Hard(kind, problem, rule, np.unique(np.round(np.geomspace(1, most, 7))), start)


def in_single_precision(hard: Hard) -> Hard:
    """The same problem in float32, with the times that single precision can hope for."""
    problem, start = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), (hard.problem, hard.start))
    return hard._replace(problem=problem, start=start)


class Claim(NamedTuple):
    """What a curve says of its error, beside the truth.

    Attributes:
        exact: the risk.
        error: of the computed one.
        claimed: what that is said to be at most.
    """

    exact: np.ndarray
    error: np.ndarray
    claimed: np.ndarray


def claims_of(number: int, rule_kind: str, single: bool) -> tuple[dict[str, Claim], dict[str, Claim]]:
    """By route, the claims of a problem's curve at all its times, and of its limit, where that is said to be resolved.

    Singular values at rounding level are taken for zero, by definition; nothing is said of the limit of problems that
    have such, other than zero.
    """
    hard = draw(number, rule_kind)
    dtype = jnp.float32 if single else jnp.float64
    if single:
        hard = in_single_precision(hard)
    rule = jax.tree.map(lambda value: jnp.asarray(value, dtype), hard.rule)  # what is computed with
    clock = np.asarray(jnp.asarray(hard.clock, dtype), float)
    exact = ExactRisk(hard.problem, hard.start)
    truth = [exact.at(rule, t) for t in clock]
    limit = exact.at_infinity(float(rule.ridge))
    blurred = exact.smallest_singular_value < max(hard.problem.features.shape) * float(jnp.finfo(dtype).eps)
    curves: dict[str, Claim] = {}
    limits: dict[str, Claim] = {}
    for method in theory.spectrum.METHODS:
        curve = _curve(hard, method, TOLERANCE_SINGLE if single else TOLERANCE)
        error = [abs(float(mpmath.mpf(float(risk)) - right)) for risk, right in zip(curve.risk, truth, strict=True)]
        curves[method] = Claim(np.asarray(truth, float), np.asarray(error), np.asarray(curve.rounding_error, float))
        if curve.infinity_is_resolved and not blurred:
            error = [abs(float(mpmath.mpf(float(curve.risk_at_infinity)) - limit))]
            claimed = (TOLERANCE_SINGLE if single else TOLERANCE) * float(limit)
            limits[method] = Claim(np.asarray([float(limit)]), np.asarray(error), np.asarray([claimed]))
    return curves, limits


TOLERANCE, TOLERANCE_SINGLE = 1e-6, 1e-2


def _curve(hard: Hard, method: str, tolerance: float) -> theory.Curve:
    clock = {"steps" if hard.rule.counts_steps else "times": hard.clock}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rfm.PrecisionWarning)
        return rfm.closed_form(
            hard.problem, rule=hard.rule, method=method, start=hard.start, tolerance=tolerance, **clock
        )


class ExactRisk:
    """The risk of a problem's training, summed over targets, in `DIGITS` digits."""

    def __init__(self, problem: rfm.Problem, start: theory.Start | None) -> None:
        with mpmath.workdps(DIGITS):
            phi, labels = matrix(problem.features), matrix(problem.labels)
            self.eigenvalues, self.modes = mpmath.eigsy(phi.T * phi / phi.rows)
            largest = max(self.eigenvalues)
            self.is_null = [not value > NULL * largest for value in self.eigenvalues]
            smallest = min((v for v, null in zip(self.eigenvalues, self.is_null, strict=True) if not null), default=0)
            self.smallest_singular_value = float(mpmath.sqrt(smallest / largest)) if largest > 0 else 1.0
            self.force = self.modes.T * (phi.T * labels / phi.rows)
            self.begin = mpmath.zeros(phi.cols, labels.cols)
            if start is not None:
                self.begin = self.modes.T * matrix(start.weights)
            self.averages = problem.population

    def at(self, rule: theory.Rule, t: float) -> mpmath.mpf:
        """The exact risk at a time, or a number of steps."""
        with mpmath.workdps(DIGITS):
            responses = [_response(rule, value, t) for value in self.eigenvalues]
            return self._risk([left for left, _ in responses], [moved for _, moved in responses])

    def at_infinity(self, ridge: float) -> mpmath.mpf:
        """The exact risk of the limit."""
        with mpmath.workdps(DIGITS):
            rates = [mpmath.mpf(ridge) if null else value + ridge for value, null in zip(
                self.eigenvalues, self.is_null, strict=True)]  # fmt: skip
            moved = [0 if null or rate == 0 else 1 / rate for rate, null in zip(rates, self.is_null, strict=True)]
            return self._risk([mpmath.mpf(rate == 0) for rate in rates], moved)

    def _risk(self, left: list[mpmath.mpf], moved: list[mpmath.mpf]) -> mpmath.mpf:
        return self.of(self._trained(self.begin, left, moved))

    def after_flow(self, weights: mpmath.matrix, time: float) -> mpmath.matrix:
        """The weights that gradient flow makes of others in that time."""
        with mpmath.workdps(DIGITS):
            responses = [_by_exponential(value, mpmath.mpf(time), averaged=False) for value in self.eigenvalues]
            return self._trained(self.modes.T * weights, *map(list, zip(*responses, strict=True)))

    def of(self, theta: mpmath.matrix) -> mpmath.mpf:
        """The risk of weights."""
        with mpmath.workdps(DIGITS):
            averages = self.averages
            if isinstance(averages, theory.TestSet):
                error = matrix(averages.targets) - matrix(averages.features) * theta
                return mpmath.fsum(entry**2 for entry in error) / error.rows
            pulled = matrix(averages.second_moment) * theta - 2 * matrix(averages.target_moment)
            terms = [theta[i, k] * pulled[i, k] for i in range(theta.rows) for k in range(theta.cols)]
            return mpmath.fsum(terms) + mpmath.fsum(
                map(mpmath.mpf, np.asarray(averages.target_power, np.float64).tolist())
            )

    def _trained(self, begin: mpmath.matrix, left: list[mpmath.mpf], moved: list[mpmath.mpf]) -> mpmath.matrix:
        theta = mpmath.matrix(begin.rows, begin.cols)
        for row in range(theta.rows):
            for column in range(theta.cols):
                theta[row, column] = left[row] * begin[row, column] + moved[row] * self.force[row, column]
        return self.modes * theta


def _response(rule: theory.Rule, eigenvalue: mpmath.mpf, t: float) -> tuple[mpmath.mpf, mpmath.mpf]:
    """What is left of a start of one, and how far a force of one has moved the mode, by the rule's own steps."""
    averaged = isinstance(rule, theory.Averaged)
    inner = rule.rule if averaged else rule
    rate = eigenvalue + mpmath.mpf(float(rule.ridge))
    if isinstance(inner, theory.GradientFlow):
        return _by_exponential(rate, mpmath.mpf(t), averaged)
    steps = int(t)
    if isinstance(inner, theory.StepSchedule | theory.NesterovIncreasing):
        return _by_loop(inner, rate, steps)
    sums = power(_step(inner, rate), steps)
    if averaged and steps > 0:
        return sums[2, 0] / steps, sums[2, 3] / steps
    return sums[0, 0], sums[0, 3]


def _by_exponential(rate: mpmath.mpf, t: mpmath.mpf, averaged: bool) -> tuple[mpmath.mpf, mpmath.mpf]:
    decay = rate * t
    if abs(decay) < mpmath.mpf(10) ** -30:  # a null mode, or as good as one until t
        return (1 - decay / 2, t / 2 * (1 - decay / 3)) if averaged else (1 - decay, t * (1 - decay / 2))
    left, mean = mpmath.exp(-decay), -mpmath.expm1(-decay) / decay
    return (mean, t * (1 - mean) / decay) if averaged else (left, t * mean)


def _step(rule: theory.Rule, rate: mpmath.mpf) -> mpmath.matrix:
    """One step of (theta, velocity, sum of theta, 1) under a force of one."""
    eta, beta = mpmath.mpf(float(rule.step_size)), mpmath.mpf(float(getattr(rule, "momentum", 0.0)))
    ahead = beta if isinstance(rule, theory.Nesterov) else mpmath.mpf(0)
    # velocity' = beta velocity + eta (1 - rate (theta + ahead velocity)), theta' = theta + velocity'
    velocity = [-eta * rate, beta - eta * rate * ahead, mpmath.mpf(0), eta]
    theta = [1 + velocity[0], velocity[1], mpmath.mpf(0), eta]
    return mpmath.matrix([theta, velocity, [theta[0], theta[1], 1, theta[3]], [0, 0, 0, 1]])


def _by_loop(rule: theory.Rule, rate: mpmath.mpf, steps: int) -> tuple[mpmath.mpf, mpmath.mpf]:
    left, moved, left_speed, moved_speed = mpmath.mpf(1), mpmath.mpf(0), mpmath.mpf(0), mpmath.mpf(0)
    sizes = None if isinstance(rule, theory.NesterovIncreasing) else np.asarray(rule.step_sizes, np.float64).tolist()
    for k in range(steps):
        eta = mpmath.mpf(float(rule.step_size) if sizes is None else sizes[k])
        beta = mpmath.mpf(k) / (k + 3) if sizes is None else mpmath.mpf(0)
        left_speed = beta * left_speed - eta * rate * (left + beta * left_speed)
        moved_speed = beta * moved_speed + eta * (1 - rate * (moved + beta * moved_speed))
        left, moved = left + left_speed, moved + moved_speed
    return left, moved


def _with_singular_values(rng: np.random.Generator, rows: int, columns: int, singular: np.ndarray) -> np.ndarray:
    left, _, right = np.linalg.svd(rng.normal(size=(rows, columns)), full_matrices=False)
    return np.sqrt(rows) * (left * singular) @ right


def _log_even(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    return _with_singular_values(rng, rows, columns, np.logspace(0, -rng.uniform(0, 11), min(rows, columns)))


def _of_any_size(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    return _with_singular_values(rng, rows, columns, np.sort(10.0 ** -rng.uniform(0, 9, min(rows, columns)))[::-1])


def _stepped(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    levels = 10.0 ** -np.sort(rng.uniform(0, 10, 2))
    return _with_singular_values(rng, rows, columns, np.sort(rng.choice([1.0, *levels], min(rows, columns)))[::-1])


def _one_small(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    singular = np.ones(min(rows, columns))
    singular[-1] = 10.0 ** -rng.uniform(4, 11)
    return _with_singular_values(rng, rows, columns, singular)


def _jittered(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    half = rng.normal(size=((rows + 1) // 2, columns))
    return np.repeat(half, 2, axis=0)[:rows] + 10.0 ** -rng.uniform(5, 11) * rng.normal(size=(rows, columns))


def _duplicated(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    return np.repeat(rng.normal(size=((rows + 1) // 2, columns)), 2, axis=0)[:rows]


def _of_whole_numbers(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Of low rank exactly."""
    rank = int(rng.integers(1, min(rows, columns)))
    return rng.integers(-3, 4, (rows, rank)) @ rng.integers(-3, 4, (rank, columns)) / 16


def _graded(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    return rng.normal(size=(rows, columns)) * 10.0 ** -rng.uniform(0, 9, columns)


def _smooth(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Random features of few inputs, nearly linear in them."""
    inputs, weights = rng.normal(size=(rows, 2)), 10.0 ** -rng.uniform(0, 2) * rng.normal(size=(2, columns))
    return np.tanh(inputs @ weights)


FEATURES = {
    "log-even": _log_even,
    "of any size": _of_any_size,
    "stepped": _stepped,
    "one small": _one_small,
    "jittered": _jittered,
    "duplicated": _duplicated,
    "whole numbers": _of_whole_numbers,
    "graded": _graded,
    "smooth": _smooth,
}
KINDS = tuple(FEATURES)


def _labels(rng: np.random.Generator, features: np.ndarray, num_targets: int) -> np.ndarray:
    """A pattern in all modes or in the two largest; noise, none, or as large as the features outside of their range."""
    left, singular, right = np.linalg.svd(features, full_matrices=False)
    kept = singular * (np.arange(len(singular)) < (2 if rng.random() < 0.4 else len(singular)))
    pattern = (left * kept) @ right @ rng.normal(size=(features.shape[1], num_targets))
    noise = rng.normal(size=(len(features), num_targets))
    if rng.random() < 0.4:
        noise = noise - left @ (left.T @ noise)
    return pattern + noise * np.std(pattern) * rng.choice([0.0, 1e-3, 1.0, 30.0])


def _population(rng: np.random.Generator, features: np.ndarray, num_targets: int) -> theory.Averages:
    """New rows like the old ones, or like nothing seen; as a test set or through moments."""
    columns, size = features.shape[1], np.linalg.norm(features) / np.sqrt(features.size)
    test = rng.normal(size=(NUM_TEST, columns)) * size
    if rng.random() < 0.5:
        test = rng.normal(size=(NUM_TEST, len(features))) @ features / np.sqrt(len(features))
    targets = (
        test @ rng.normal(size=(columns, num_targets))
        + rng.choice([0.0, 0.3]) * rng.normal(size=(NUM_TEST, num_targets)) * size
    )
    if rng.random() < 0.6:
        return theory.TestSet(test, targets)
    return theory.Population(test.T @ test / NUM_TEST, test.T @ targets / NUM_TEST, np.mean(targets**2, axis=0))


RULES = ("flow", "descent", "heavy ball", "nesterov", "increasing nesterov", "schedule", "averaged flow",
         "averaged descent", "averaged heavy ball", "averaged nesterov")  # fmt: skip
MOST_STEPS = {"increasing nesterov": 300, "schedule": 300}


def _rule(rng: np.random.Generator, kind: str, largest: float, ridge: float) -> theory.Rule:
    """With steps anywhere up to a hair below the largest stable one."""
    if kind.startswith("averaged"):
        return theory.Averaged(_rule(rng, kind.removeprefix("averaged "), largest, ridge))
    if kind == "flow":
        return theory.GradientFlow(ridge)
    share = rng.choice([rng.uniform(0.1, 0.95), 1 - 10.0 ** -rng.uniform(1, 5)])
    momentum = 1 - 10.0 ** -rng.uniform(0.1, 3)
    makers = {
        "descent": lambda size: theory.GradientDescent(size, ridge),
        "heavy ball": lambda size: theory.HeavyBall(size, momentum, ridge),
        "nesterov": lambda size: theory.Nesterov(size, momentum, ridge),
        "increasing nesterov": lambda size: theory.NesterovIncreasing(size, ridge),
        "schedule": lambda size: theory.StepSchedule(theory.rules.cosine_steps(size, MOST_STEPS["schedule"]), ridge),
    }
    stable = makers[kind](1.0).largest_stable_step(largest)
    return makers[kind](float(share * stable))
