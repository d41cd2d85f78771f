"""The other route to leave-one-out: leave one out and train again, in double precision or in many digits."""

from collections.abc import Iterable

import jax.numpy as jnp
import mpmath
import numpy as np

import rfm
import theory
from tests.theory.ill_conditioned import DIGITS
from tests.theory.oracles import matrix


def refits(features: np.ndarray, labels: np.ndarray, times: np.ndarray, ridge: float = 0.0) -> np.ndarray:
    """The residual of each row under gradient flow on all others, by a decomposition of its own for each."""
    return np.stack([_refit(features, labels, i, times, ridge) for i in range(len(labels))])


def _refit(features: np.ndarray, labels: np.ndarray, i: int, times: np.ndarray, ridge: float) -> np.ndarray:
    rest, rest_labels = np.delete(features, i, axis=0), np.delete(labels, i, axis=0)
    left, singular, right = np.linalg.svd(rest / np.sqrt(len(rest)), full_matrices=False)
    decay = (singular[None, :] ** 2 + ridge) * times[:, None]
    gain = times[:, None] * np.where(decay > 0, -np.expm1(-decay) / np.where(decay > 0, decay, 1), 1)
    coordinates = left.T @ rest_labels / np.sqrt(len(rest))
    learnt = gain[:, :, None] * (singular * (right @ features[i]))[None, :, None] * coordinates[None]
    return labels[i][None, :] - learnt.sum(axis=1)


def expected_refits(
    problem: rfm.expected.ExpectedProblem, which: Iterable[int], times: np.ndarray, ridge: float = 0.0
) -> np.ndarray:
    """The same of some originals under expected Mixup: one more pass for each, over all pairs of the others."""
    sample, residuals = problem.sample, []
    rule = theory.GradientFlow(ridge)
    for i in which:
        inputs, labels = (jnp.delete(of, i, axis=0) for of in (sample.inputs, sample.labels))
        rest = rfm.Sample(inputs, labels, None)
        refit = rfm.expected_mixup(
            rest, problem.feature_map, problem.law, population=problem.population,
            num_ratios=len(np.unique(problem.ratios.lam)),
        )  # fmt: skip
        said = rfm.solve(refit).predict(sample.inputs[i : i + 1], times=times, rule=rule)
        residuals.append(np.reshape(sample.labels[i], (1, -1)) - said[:, 0, :])
    return np.stack(residuals)


def exact(
    row: np.ndarray, label: np.ndarray, rest: tuple[mpmath.matrix, mpmath.matrix], times: np.ndarray, ridge: float = 0.0
) -> np.ndarray:
    """What training on moments, a covariance and a force, leaves of a label, in many digits: [times, targets]."""
    with mpmath.workdps(DIGITS):
        eigenvalues, modes = mpmath.eigsy(rest[0])
        seen, force = matrix(row[None, :]) * modes, modes.T * rest[1]
        residuals = np.empty((len(times), len(label)), object)
        for place, time in enumerate(map(mpmath.mpf, times.tolist())):
            gains = [_gain(max(value, mpmath.mpf(0)) + mpmath.mpf(ridge), time) for value in eigenvalues]
            for k, own in enumerate(label.tolist()):
                learnt = mpmath.fsum(seen[0, j] * gain * force[j, k] for j, gain in enumerate(gains))
                residuals[place, k] = mpmath.mpf(own) - learnt
        return residuals


def _gain(rate: mpmath.mpf, time: mpmath.mpf) -> mpmath.mpf:
    return time if rate * time < mpmath.mpf(10) ** -40 else -mpmath.expm1(-rate * time) / rate


def exact_moments(features: np.ndarray, labels: np.ndarray) -> tuple[mpmath.matrix, mpmath.matrix]:
    """Of rows."""
    with mpmath.workdps(DIGITS):
        phi, y = matrix(features), matrix(labels)
        return phi.T * phi / phi.rows, phi.T * y / phi.rows


def exact_mixed_moments(
    inputs: np.ndarray, labels: np.ndarray, ratios: rfm.mixup.RatioQuadrature, with_itself: bool
) -> tuple[mpmath.matrix, mpmath.matrix]:
    """Of all pairs and ratios, where features are the inputs themselves."""
    with mpmath.workdps(DIGITS):
        phi, y = matrix(inputs), matrix(labels)
        second, force, number = mpmath.zeros(phi.cols), mpmath.zeros(phi.cols, y.cols), 0
        for i, j in np.ndindex(phi.rows, phi.rows):
            if i == j and not with_itself:
                continue
            number += 1
            for lam, label_lam, weight in zip(ratios.lam, ratios.label_lam, ratios.weights, strict=True):
                shares = [(mpmath.mpf(float(share)), 1 - mpmath.mpf(float(share))) for share in (lam, label_lam)]
                row, own = ([a * of[i, k] + b * of[j, k] for k in range(of.cols)]
                            for (a, b), of in zip(shares, (phi, y), strict=True))  # fmt: skip
                for k in range(phi.cols):
                    scaled = mpmath.mpf(float(weight)) * row[k]
                    for other in range(phi.cols):
                        second[k, other] += scaled * row[other]
                    for target in range(y.cols):
                        force[k, target] += scaled * own[target]
        return second / number, force / number
