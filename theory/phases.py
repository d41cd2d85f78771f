"""Training in phases: Mixup until t_1 and plain training after it, or any other sequence of laws and rules.

Every phase has a spectrum of its own, and starts from the weights that the one before it left. Training is linear, so
the clean weights and those that learnt the label noise go through all phases side by side, and clean + noise + cross
stays exact: noise that was learnt under Mixup is forgotten under plain training, mode by mode, as the residual
r_t(mu) of its modes; where those are slow, it stays.

Momentum and averages begin anew with each phase, as they do where a new optimizer is made for it.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from theory.checks import Clock, check_clock, check_positive, check_steps, trusted, untraced
from theory.curve import Curve, Decomposition, check_matching, risk_curve
from theory.minimum import FASTEST, earliest_lowest
from theory.population import Averages
from theory.risk import Start, after
from theory.rules.rule import Rule, check_rule, elapsed, traced
from theory.spectrum import Spectrum
from theory.trust import Begun, trusted_until, weight_error


class Phase(NamedTuple):
    """One law and one rule, for a while.

    Attributes:
        spectrum: of what is trained on.
        rule: how.
        duration: a time, or a number of steps for a rule that counts them; infinite for a last phase of open end.
    """

    spectrum: Spectrum
    rule: Rule
    duration: float = math.inf


@untraced
def phased_curve(
    phases: Sequence[Phase],
    averages: Averages,
    t: Clock,
    *,
    start: Start | None = None,
    tolerance: float = 1e-6,
) -> Curve:
    """The exact curve of training in phases.

    Args:
        phases: in their order; all in time, or all in steps.
        averages: what the risk is averaged over, in every phase.
        t: from the beginning of the first phase on, ascending.
        start: where the first phase starts; None for zero weights.
        tolerance: the relative error that `trusted_until` answers for.

    Returns:
        The `Curve` of all phases that have a length: times are summed over them, it turns where the lowest of them
        does, and its limit is that of the last phase, trained on without end. It holds no modes, which are others in
        each phase.

    Raises:
        ValueError: no phase, durations that are not numbers or end before t does, rules of different clocks.

    >>> import jax.numpy as jnp, theory
    >>> clean = jnp.asarray([2.0, 3.0])
    >>> noisy, plain = (theory.decompose(jnp.eye(2), labels, clean) for labels in (jnp.asarray([2.0, 4.0]), clean))
    >>> flow, test = theory.GradientFlow(), theory.TestSet(jnp.eye(2), clean)
    >>> curve = phased_curve([Phase(noisy, flow, 20.0), Phase(plain, flow)], test, [20.0, 40.0])
    >>> curve.noise_risk.round(4).tolist()  # learnt, and forgotten again
    [0.5, 0.0]
    """
    check_positive("tolerance", tolerance)
    ends = phase_ends([(phase.rule, phase.duration) for phase in phases])
    for phase in phases:
        check_matching(phase.spectrum, averages, start)
    clock = check_steps(t) if phases[0].rule.counts_steps else check_clock("times", t)
    check_reached(clock, ends[-1])
    pieces: list[_Piece] = []
    passed = 0.0
    for phase, begin, end in zip(phases, [0.0, *ends[:-1]], ends, strict=True):
        if end == begin:
            continue
        grid, asked = _grid(phase, clock, begin, end)
        curve = risk_curve(phase.spectrum, averages, phase.rule, grid - begin, start=start, tolerance=tolerance)
        pieces.append(_Piece(curve, asked, begin, passed, bool(clock[0] <= grid[0] <= clock[-1])))
        if math.isfinite(end):
            start = end_of(phase, start)
            passed += float(elapsed(phase.rule, end - begin, curve.times.dtype))
    steps = jnp.asarray(clock, curve.times.dtype) if phases[0].rule.counts_steps else None
    return _joined(pieces, steps, tolerance)


def end_of(phase: Phase, start: Start | None = None) -> Start:
    """What a phase leaves to the next, its rounding error too.

    >>> import theory
    >>> spectrum = theory.decompose(jnp.eye(2), jnp.asarray([2.0, 4.0]))
    >>> end_of(Phase(spectrum, theory.GradientFlow(), 1e9)).weights.round(6).tolist()
    [[2.0], [4.0]]
    """
    dtype = phase.spectrum.eigenvalues.dtype
    return _after(phase.spectrum, traced(phase.rule, dtype), jnp.asarray(phase.duration, dtype), start)


def phase_ends(phases: Sequence[tuple[Rule, float]]) -> list[float]:
    """When each of the phases (rule, duration) ends.

    Raises:
        ValueError: no phase, rules of which some count steps and some do not, a duration that is not a number, is
            negative, infinite before the last, or not whole where steps are counted.

    >>> import theory
    >>> phase_ends([(theory.GradientFlow(), 2.0), (theory.GradientFlow(0.1), 3.0)])
    [2.0, 5.0]
    """
    if not phases:
        raise ValueError("phases: there is none; pass one or more")
    for rule, _ in phases:
        check_rule(rule)
    if len({rule.counts_steps for rule, _ in phases}) > 1:
        raise ValueError("phases: some rules count steps and others run in time; pass rules of one kind")
    for index, (rule, duration) in enumerate(phases):
        if not duration >= 0:
            raise ValueError(f"duration: of phase {index + 1} is {duration}; pass a number that is not negative")
        if math.isinf(duration) and index + 1 < len(phases):
            raise ValueError(f"duration: phase {index + 1} never ends; only the last may leave its duration out")
        if rule.counts_steps and math.isfinite(duration) and duration != int(duration):
            raise ValueError(f"duration: of phase {index + 1} is {duration}; steps are counted in whole numbers")
    durations = [float(duration) for _, duration in phases]
    return [math.fsum(durations[: index + 1]) for index in range(len(durations))]  # ten times 0.1 are 1


def check_reached(clock: np.ndarray, end: float) -> None:
    """Raises ValueError if a time lies past the end of the last phase, or if that ends at once."""
    if end == 0:
        raise ValueError("duration: all phases have length zero; give one of them a positive one")
    if clock[-1] > end:
        raise ValueError(
            f"times: the last is {clock[-1]:g}, but the phases end at {end:g}; pass earlier ones, or leave out the "
            "duration of the last phase"
        )


FARTHEST = 1e6
"""The latest time scale of a fastest mode at which a phase is looked at for a turn."""
NUM_OWN = 24


class _Piece(NamedTuple):
    """The curve of one phase, which of its times were asked for, and how much time had passed before it."""

    curve: Curve
    asked: np.ndarray
    begin: float
    elapsed: float
    may_turn: bool


def _grid(phase: Phase, clock: np.ndarray, begin: float, end: float) -> tuple[np.ndarray, np.ndarray]:
    """The times of a phase: those asked for, its ends and some between, where the curve may turn; which were asked for.

    A phase in which nothing is asked for has its end, for what it leaves to the next.
    """
    inside = clock[(clock > begin) & (clock <= end) | (clock == begin) & (begin == 0)]
    length = min(end, max(clock[-1], begin)) - begin
    first = 1.0 if phase.rule.counts_steps else FASTEST / max(phase.spectrum.fastest, 1 / FARTHEST)
    own = begin + np.geomspace(min(first, length), length, NUM_OWN) if length > 0 else np.zeros(0)
    edges = np.concatenate([[begin, end], np.round(own) if phase.rule.counts_steps else own])
    edges = edges[(clock[0] <= edges) & (edges <= min(end, clock[-1])) & (edges >= begin)]
    grid = np.unique(np.concatenate([inside, edges]))
    if not grid.size:
        grid = np.asarray([end if math.isfinite(end) else begin])
    return grid, np.isin(grid, inside)


def _joined(pieces: Sequence[_Piece], steps: Array | None, tolerance: float) -> Curve:
    # By numpy, which need not compile for every way of parting the times.
    def join(values: Callable[[_Piece], Array]) -> Array:
        return jnp.asarray(np.concatenate([np.asarray(values(piece))[piece.asked] for piece in pieces]))

    turns = [piece for piece in pieces if piece.may_turn]
    lowest = turns[
        earliest_lowest(
            np.asarray([float(piece.curve.turning_risk) for piece in turns]),
            np.asarray([float(piece.curve.turning_error) for piece in turns]),
        )
    ]
    curves, last = [piece.curve for piece in pieces], pieces[-1].curve
    split = all(curve.decomposition is not None for curve in curves)
    rated = all(curve.classification_error is not None for curve in curves)
    times = join(lambda piece: np.asarray(piece.curve.times) + piece.curve.times.dtype.type(piece.elapsed))
    error = join(lambda piece: piece.curve.rounding_error)
    risk_by_target = join(lambda piece: piece.curve.risk_by_target)
    return Curve(
        times=times,
        steps=steps,
        risk_by_target=risk_by_target,
        train_loss=join(lambda piece: piece.curve.train_loss),
        turning_time=lowest.elapsed + lowest.curve.turning_time,
        turning_step=None if lowest.curve.turning_step is None else lowest.begin + lowest.curve.turning_step,
        turning_risk=lowest.curve.turning_risk,
        rounding_error=error,
        trusted_until=trusted_until(times, jnp.sum(risk_by_target, axis=1), error, tolerance),
        risk_at_infinity=last.risk_at_infinity,
        infinity_is_resolved=last.infinity_is_resolved,
        decomposition=Decomposition(
            join(lambda piece: piece.curve.clean_risk),
            join(lambda piece: piece.curve.noise_risk),
            join(lambda piece: piece.curve.cross_risk),
        )
        if split
        else None,
        classification_error=join(lambda piece: piece.curve.error_rate) if rated else None,
        modes=None,
        method=last.method,
    )


@eqx.filter_jit
def _after(spectrum: Spectrum, rule: Rule, duration: Float[Array, ""], start: Start | None) -> Start:
    error = weight_error(spectrum, rule, duration[None], Begun.of(start, spectrum))[0]
    with trusted():
        return dataclasses.replace(after(spectrum, rule, duration, start), error=error)
