"""Curves of the risk over training: one record, whether a formula or real training made it, and the formula."""

import functools
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Shaped

from theory.checks import Clock, check_clock, check_positive, check_shape, check_steps, check_type, untraced
from theory.classes import ErrorRates
from theory.linalg import on_device
from theory.minimum import Extremum, error_at, extrema, risk_ratio, turning_point
from theory.population import Averages, RiskParts, in_precision
from theory.risk import ModeRisk, Start, check_start, learnt, mode_risk, parts_of, risk_parts
from theory.rules.rule import Rule, check_rule, elapsed, traced
from theory.spectrum import Spectrum
from theory.trust import Begun, Seen, is_known, rounding_errors, trusted_until
from theory.views import ClosedFormView, MeasuredView, RiskView

BLOCK_BYTES = 2**26
"""Times are evaluated in blocks whose largest intermediate array stays below this."""


PADDED_TO = 8


class Decomposition(eqx.Module):
    """risk = clean + noise + cross, summed over targets."""

    clean: Float[Array, "times"]
    noise: Float[Array, "times"]
    cross: Float[Array, "times"]

    @staticmethod
    def of(parts: RiskParts) -> "Decomposition":
        """Sums the parts over targets."""
        return Decomposition(
            *(jnp.sum(part, axis=1) for part in (parts.clean, parts.noise, parts.cross) if part is not None)
        )


class RiskCurve(RiskView, ErrorRates, eqx.Module):
    """A risk curve over training, whether a formula or real training made it.

    Attributes:
        times: training time, ``step_size * steps``; unit 1/eigenvalue.
        steps: the numbers of steps, or None for gradient flow.
        risk_by_target: E (f - theta . phi)^2; unit: that of the targets, squared.
        train_loss: |Phi theta - y|^2 / (2 m), summed over targets.
        turning_time: where the risk is lowest, the earliest of those times that rounding does not part; refined off the
            grid in closed form, on the grid where it was measured.
        turning_step: the number of steps there, or None for gradient flow.
        turning_risk: the risk there.
        rounding_error: a bound on what rounding does to the risk, absolute; see `theory.trust`.
        decomposition: the parts, or None without clean labels.
        classification_error: `error_rate`, or None where targets are no classes.
    """

    times: Float[Array, "times"]
    steps: Float[Array, "times"] | None
    risk_by_target: Float[Array, "times targets"]
    train_loss: Float[Array, "times"]
    turning_time: Float[Array, ""]
    turning_step: Float[Array, ""] | None
    turning_risk: Float[Array, ""]
    rounding_error: Float[Array, "times"]
    decomposition: Decomposition | None
    classification_error: Float[Array, "times"] | None

    @property
    def risk(self) -> Float[Array, "times"]:
        """The risk, summed over targets."""
        return jnp.sum(self.risk_by_target, axis=-1)

    @property
    def clean_risk(self) -> Float[Array, "times"]:
        """The risk of the weights trained on the clean labels."""
        return self._parts.clean

    @property
    def noise_risk(self) -> Float[Array, "times"]:
        """E (theta_noise . phi)^2, what the label noise has been learnt to."""
        return self._parts.noise

    @property
    def cross_risk(self) -> Float[Array, "times"]:
        """Twice the correlation of the clean error and the learnt noise."""
        return self._parts.cross

    @property
    def final_risk(self) -> Float[Array, ""]:
        """The risk at the last time asked for."""
        return self.risk[-1]

    @property
    def final_error(self) -> Float[Array, ""]:
        """The rounding error of the final risk."""
        return self.rounding_error[-1]

    @property
    @eqx.filter_jit
    def overtraining_penalty(self) -> Float[Array, ""]:
        """final_risk / turning_risk: the price of not stopping; 1 if the curve rises by no more than rounding.

        Never below 1. Where the turning risk lies below its own rounding error, it is a lower bound: see
        `theory.minimum.risk_ratio`.
        """
        return risk_ratio(self.final_risk, self.turning_risk, self.final_error, self.turning_error)

    @property
    @eqx.filter_jit
    def penalty_so_far(self) -> Float[Array, "times"]:
        """At each of the times, what `overtraining_penalty` is of those until then; on the grid."""
        upper = self.risk + self.rounding_error
        lowest = jax.lax.cummax(jnp.where(upper <= jax.lax.cummin(upper), jnp.arange(len(upper)), 0))
        return risk_ratio(self.risk, self.risk[lowest], self.rounding_error, self.rounding_error[lowest])

    @property
    def extrema(self) -> tuple[Extremum, ...]:
        """All local minima and maxima of the risk, above rounding, at the times asked for; its ends are none."""
        return extrema(self.times, self.steps, self.risk, self.rounding_error)

    @property
    @eqx.filter_jit
    def turning_error(self) -> Float[Array, ""]:
        """The rounding error of the turning risk."""
        return error_at(self.turning_time, self.times, self.rounding_error)

    @property
    def lowest_error_times(self) -> tuple[float, float]:
        """The first and the last of the times at which it is that low: it moves in steps, and not always one way."""
        lowest = np.flatnonzero(np.asarray(self.error_rate == self.lowest_error_rate))
        return float(self.times[lowest[0]]), float(self.times[lowest[-1]])

    @property
    def final_error_rate(self) -> Float[Array, ""]:
        """That at the last time asked for."""
        return self.error_rate[-1]

    @property
    def error_rate_penalty(self) -> Float[Array, ""]:
        """The last error rate less the lowest one: a difference, for the lowest may be 0."""
        return self.final_error_rate - self.lowest_error_rate

    @property
    def _parts(self) -> Decomposition:
        if self.decomposition is None:
            raise ValueError(
                "clean_labels: none were given, so the risk is known only in total, not in its clean, noise and cross "
                "parts; pass clean_labels= (the ground truth at the synthesized inputs) to Problem"
            )
        return self.decomposition


class MeasuredCurve(MeasuredView, RiskCurve):
    """What real training has measured: it knows nothing of other times, nor of infinity."""


class Curve(ClosedFormView, RiskCurve):
    """What a formula says of training, at any time.

    Attributes:
        trusted_until: the latest of the times up to which rounding stays below `tolerance` relative to the risk; the
            last one where all do, 0 where none does.
        risk_at_infinity: the risk of the limit t = infinity.
        infinity_is_resolved: whether that is known to `tolerance`: singular values at rounding level are parted by a
            gap from those that count, and are taken for zero (`svd`, `qr`), or there are none (`gram`).
        modes: contributions by mode, or None where they were not asked for.
        method: the factorisation used.
    """

    trusted_until: Float[Array, ""]
    risk_at_infinity: Float[Array, ""]
    infinity_is_resolved: Bool[Array, ""]
    modes: ModeRisk | None
    method: str = eqx.field(static=True)


@untraced
def risk_curve(
    spectrum: Spectrum,
    averages: Averages,
    rule: Rule,
    t: Clock,
    *,
    start: Start | None = None,
    tolerance: float = 1e-6,
    by_mode: bool = False,
) -> Curve:
    """The exact curve of a training rule.

    Args:
        spectrum: from `decompose`.
        averages: a `TestSet` or a `Population`.
        rule: `GradientFlow()`, with t in times, or one that counts whole steps, such as `GradientDescent(step_size)`.
        t: ascending, from 0 on.
        start: where training starts; None for zero weights.
        tolerance: the relative error that `trusted_until` and `infinity_is_resolved` answer for.
        by_mode: also what each mode contributes (needs clean labels).

    Raises:
        ValueError: a step beyond the largest stable one, times that do not ascend, features that do not match.

    >>> import jax.numpy as jnp, theory
    >>> spectrum = theory.decompose(jnp.eye(2), jnp.asarray([2.0, 4.0]), jnp.asarray([2.0, 3.0]))
    >>> test = theory.TestSet(jnp.eye(2), jnp.asarray([2.0, 3.0]))
    >>> curve = risk_curve(spectrum, test, theory.GradientFlow(), [0, 1, 2, 9])
    >>> float(curve.turning_time.round(3)), float(curve.turning_risk.round(3)), float(curve.risk_at_infinity.round(3))
    (3.219, 0.1, 0.5)
    """
    check_rule(rule)
    check_positive("tolerance", tolerance)
    dtype = spectrum.eigenvalues.dtype
    asked = check_steps(t) if rule.counts_steps else check_clock("times", t)
    clock = on_device(_padded(asked), dtype)
    check_matching(spectrum, averages, start)
    averages = in_precision(averages, dtype)
    rule.check_stable(spectrum.fastest)
    rule.check_reached(asked)
    rule = traced(rule, dtype)
    reduced, seen = _fewer_coordinates(spectrum, averages, clock, start)
    evaluated = _in_blocks(reduced, seen, rule, clock, start)
    judged = _judge(
        (spectrum, averages), (reduced, seen), rule, clock, start, evaluated.risk, on_device(tolerance, dtype)
    )

    def risk_at(t: np.ndarray) -> Array:
        return _total_risk(reduced, seen, rule, on_device(t, dtype), start)

    turning_clock, turning_risk = turning_point(
        risk_at,
        asked,
        *(np.asarray(values)[: len(asked)] for values in (evaluated.risk, judged.errors)),
        whole_steps=rule.counts_steps,
        fastest=spectrum.fastest,
    )
    first = functools.partial(_first, len(asked))
    modes = None
    if by_mode:
        found = _mode_risk(spectrum, averages, rule, clock, start)
        modes = ModeRisk(found.eigenvalues, first(found.clean), first(found.noise), first(found.cross))
    return Curve(
        times=first(judged.times),
        steps=on_device(asked, dtype) if rule.counts_steps else None,
        risk_by_target=first(evaluated.risk_by_target),
        train_loss=first(evaluated.loss),
        turning_time=elapsed(rule, turning_clock, dtype),
        turning_step=on_device(turning_clock, dtype) if rule.counts_steps else None,
        turning_risk=on_device(turning_risk, dtype),
        rounding_error=first(judged.errors),
        trusted_until=judged.trusted_until,
        risk_at_infinity=judged.limit,
        infinity_is_resolved=judged.limit_is_resolved,
        decomposition=None if evaluated.parts is None else jax.tree.map(first, evaluated.parts),
        classification_error=None if evaluated.error_rate is None else first(evaluated.error_rate),
        modes=modes,
        method=spectrum.method,
    )


def check_matching(spectrum: Spectrum, averages: Averages, start: Start | None = None) -> None:
    """Raises ValueError unless problem, population and start have the same features and targets."""
    check_type("spectrum", spectrum, Spectrum, "what theory.decompose gives")
    check_type("averages", averages, Averages, "a theory.TestSet or a theory.Population")
    check_start(start)
    num_features, num_targets = spectrum.modes.shape[0], spectrum.label_coordinates.shape[1]
    if averages.num_features != num_features:
        raise ValueError(
            f"population: has {averages.num_features} features, but the problem has {num_features}; "
            "compute both with the same feature map"
        )
    found = averages.num_targets
    if found != num_targets:
        raise ValueError(f"population: has {found} target(s), the labels {num_targets}; pass the same targets to both")
    for name in () if start is None else ("weights", "noise_weights"):
        if (part := getattr(start, name)) is not None:
            check_shape(f"start.{name}", part, ndim=2, rows=num_features, columns=num_targets)
    if start is not None and start.spread is not None:
        check_shape("start.spread", start.spread, ndim=2, rows=num_features)


def _padded(clock: np.ndarray) -> np.ndarray:
    """The last time again, up to a multiple of `PADDED_TO`: curves of a few times more or less compile once."""
    return np.concatenate([clock, np.full(-len(clock) % PADDED_TO, clock[-1])])


def _fewer_coordinates(
    spectrum: Spectrum, averages: Averages, clock: Array, start: Start | None
) -> tuple[Spectrum, Averages]:
    """The same problem in the coordinates of the modes, where they are fewer than the features and it pays.

    It costs as much as the risk at half as many times as there are modes. A start may lie outside of all modes.
    """
    (num_features, num_modes), num_targets = spectrum.modes.shape, spectrum.label_coordinates.shape[1]
    if start is not None or num_modes >= num_features or 2 * len(clock) * num_targets < num_modes:
        return spectrum, averages
    alone = eqx.tree_at(lambda s: s.modes, spectrum, jnp.eye(num_modes, dtype=spectrum.modes.dtype))
    return alone, averages.in_modes(spectrum.modes)


class _Evaluated(NamedTuple):
    """What training has made of the weights."""

    risk_by_target: Float[Array, "times targets"]
    risk: Float[Array, "times"]
    loss: Float[Array, "times"]
    parts: Decomposition | None
    error_rate: Float[Array, "times"] | None


@eqx.filter_jit
def _evaluate(
    spectrum: Spectrum, averages: Averages, rule: Rule, clock: Float[Array, "times"], start: Start | None
) -> _Evaluated:
    trained = learnt(spectrum, rule, clock, start)
    parts = parts_of(trained, spectrum, averages, rule, clock, start)
    split = None if parts.clean is None else Decomposition.of(parts)
    return _Evaluated(parts.risk, jnp.sum(parts.risk, axis=1), jnp.sum(trained.loss, axis=1), split, parts.error_rate)


def _in_blocks(
    spectrum: Spectrum, averages: Averages, rule: Rule, clock: Float[Array, "times"], start: Start | None
) -> _Evaluated:
    num_features, num_targets = spectrum.modes.shape[0], spectrum.label_coordinates.shape[1]
    rows = max(num_features, averages.targets.shape[0] if hasattr(averages, "targets") else 0)
    block = max(1, BLOCK_BYTES // (rows * num_targets * clock.dtype.itemsize))
    if len(clock) <= block:
        return _evaluate(spectrum, averages, rule, clock, start)
    pieces = [
        _evaluate(spectrum, averages, rule, clock[first : first + block], start)
        for first in range(0, len(clock), block)
    ]
    return jax.tree.map(lambda *arrays: jnp.concatenate(arrays), *pieces)


class _Judged(NamedTuple):
    """How far that can be trusted, and where it leads."""

    times: Float[Array, "times"]
    errors: Float[Array, "times"]
    trusted_until: Float[Array, ""]
    limit: Float[Array, ""]
    limit_is_resolved: Bool[Array, ""]


@eqx.filter_jit
def _judge(
    problem: tuple[Spectrum, Averages],
    in_modes: tuple[Spectrum, Averages],
    rule: Rule,
    clock: Float[Array, "times"],
    start: Start | None,
    risk: Float[Array, "times"],
    tolerance: Float[Array, ""],
) -> _Judged:
    """Bounds on the rounding error of the risk, at the times and at t = infinity, and the risk there.

    Without a ridge, modes below the rank cut are null, and nothing moves them.
    """
    (spectrum, averages), (reduced, averages_in_modes) = problem, in_modes
    counts = (spectrum.eigenvalues > spectrum.rank_cut) | (rule.ridge > 0)
    kept = jnp.where(counts, spectrum.eigenvalues, 0)
    truncated = eqx.tree_at(lambda s: s.eigenvalues, reduced, kept)
    limit = _total_risk(truncated, averages_in_modes, rule, jnp.full(1, jnp.inf, kept.dtype), start)[0]
    is_reduced = reduced.modes.shape != spectrum.modes.shape
    begun, seen = Begun.of(start, spectrum), Seen.by(averages, spectrum, averages_in_modes if is_reduced else None)
    errors, error_at_limit = rounding_errors(spectrum, averages, rule, clock, risk, limit, begun, seen)
    times, parted = rule.time(clock), spectrum.infinity_is_resolved | (rule.ridge > 0)
    return _Judged(
        times,
        errors,
        trusted_until(times, risk, errors, tolerance),
        limit,
        parted & is_known(limit, error_at_limit, tolerance),
    )


@eqx.filter_jit
def _total_risk(spectrum: Spectrum, averages: Averages, rule: Rule, clock: Array, start: Start | None) -> Array:
    return jnp.sum(risk_parts(spectrum.unsplit, averages, rule, clock, start).risk, axis=1)


def _first(count: int, values: Shaped[Array, "padded *axes"]) -> Shaped[Array, "times *axes"]:
    """By numpy, which need not compile a slice of every size."""
    return on_device(np.asarray(values)[:count])


_mode_risk = eqx.filter_jit(mode_risk)
