"""Until when a curve can be trusted: a bound on what rounding has done to it.

A factorisation is exact for a matrix that differs from the one given by about machine epsilon times its largest
singular value; so it solves another problem exactly, and the question is how far the two drift apart. Let A be
Phi / sqrt(m), s_0 its largest singular value, dA the perturbation, dC = Aᵀ dA + dAᵀ A, db = dAᵀ y. Weights obey
theta' = b - C theta, and so

    d theta_t = integral over s <= t of exp(-C (t - s)) [ db - dC theta_s ],  db - dC theta_s = dAᵀ e_s - Aᵀ dA theta_s,

e_s = y - A theta_s. By mode, with H_i the rule's `reach`, at most the smaller of t and 1 / mu_i:

- the part of the labels outside of the range of Phi stays in e_s, and pushes mode i all the time: H_i |y_outside|;
- of mode j, e_s holds a_j until it is learnt: the smaller of H_i and H_j, times a_j;
- theta_s itself, and the rounding of a: s_i H_i (|theta| + |y| / s_0).

The first grows as t, the others as its root. From the eigenvalues of Phiᵀ Phi, db and dC are each of size epsilon
s_0^2: H_i (s_0 |y| + s_0^2 |theta|), which grows as t whatever the labels. From those of Phi Phiᵀ, theta = Aᵀ h with
h' = y - A Aᵀ h, and the error is s_i H_i (s_0^2 |h| + |y|), and s_0 |h| from the images Aᵀ h themselves. What a mode's
error does to the risk is its power over the population, E (u_i . phi)^2; in a mode that new inputs do not excite,
weights may be as wrong as they like.

All of this is of the first order in the perturbation; where that does not stay far below the smallest singular value in
play, it is not enough, and the error is reported as infinite. The one constant, how many epsilons a factorisation
perturbs, is measured: `benchmarks.accuracy` tries thousands of problems against exact arithmetic.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from theory.checks import trusted
from theory.population import Averages
from theory.risk import Start
from theory.rules.flow import GradientFlow
from theory.rules.rule import Rule
from theory.spectrum import Spectrum

FACTOR = 16.0
"""By how many epsilons of its norm a factorisation perturbs a matrix, and a sum of products its result."""
FIRST_ORDER = 0.1
"""How large the perturbation may be, relative to the smallest singular value (or eigenvalue) that is felt."""


class Seen(NamedTuple):
    """How strongly new inputs excite the directions that weights can err in.

    Attributes:
        by_mode: E (u_k . phi)^2.
        beyond: the power of phi outside of all modes.
        power: E |phi|^2.
    """

    by_mode: Float[Array, "modes"]
    beyond: Float[Array, ""]
    power: Float[Array, ""]

    @staticmethod
    def by(averages: Averages, spectrum: Spectrum, in_modes: Averages | None = None) -> "Seen":
        """By a population: costs features^2 x modes operations, or test rows x features x modes.

        Less if its average over the coordinates of the modes is at hand.
        """
        power = averages.power
        lost = FACTOR * jnp.finfo(spectrum.eigenvalues.dtype).eps * power  # what a difference of powers cannot show
        by_mode = averages.mode_power(spectrum.modes) if in_modes is None else in_modes.feature_power
        by_mode = jnp.maximum(by_mode, lost if averages.cancels else 0)
        full = spectrum.modes.shape[0] == spectrum.modes.shape[1]
        beyond = jnp.zeros_like(power) if full else jnp.maximum(power - jnp.sum(by_mode), 0) + lost
        return Seen(by_mode, beyond, power)

    @staticmethod
    def evenly(spectrum: Spectrum) -> "Seen":
        """By features of unit power in every direction: what is seen is at least the length of an error of weights."""
        num_features, num_modes = spectrum.modes.shape
        ones = jnp.ones_like(spectrum.eigenvalues)
        return Seen(ones, ones[0] * (num_features - num_modes), ones[0])


class Begun(NamedTuple):
    """What training starts from, as far as errors go: one start for all times, or one each.

    Attributes:
        coordinates: the size of the weights in each mode.
        length: of the weights.
        error: a bound on how wrong they are, in length.
        drawn: the power of their random part, whose risk is a quadratic form.
    """

    coordinates: Float[Array, "starts modes"]
    length: Float[Array, "starts"]
    error: Float[Array, "starts"]
    drawn: Float[Array, "starts"]

    @staticmethod
    def at(weights: Float[Array, "features starts targets"], spectrum: Spectrum, error: Array) -> "Begun":
        """At known weights, all targets together."""
        coordinates = jnp.tensordot(spectrum.modes.T, weights, 1)
        length = jnp.sqrt(jnp.sum(weights**2, axis=(0, 2)))
        by_mode = jnp.sqrt(jnp.sum(coordinates**2, axis=2)).T
        return Begun(by_mode, length, jnp.broadcast_to(error, length.shape), jnp.zeros_like(length))

    @staticmethod
    def of(start: Start | None, spectrum: Spectrum) -> "Begun":
        """At the root mean square of a random start."""
        num_features, num_targets = spectrum.modes.shape[0], spectrum.label_coordinates.shape[1]
        modes = spectrum.modes
        if start is None:
            none = jnp.zeros((1, modes.shape[1]), modes.dtype)
            return Begun(none, none[:, 0], none[:, 0], none[:, 0])
        weights = jnp.zeros((num_features, num_targets), modes.dtype) if start.weights is None else start.weights
        mean = Begun.at(weights[:, None, :], spectrum, jnp.asarray(start.error, modes.dtype))
        spread = jnp.ones_like(modes[0]) if start.spread is None else jnp.sum((modes.T @ start.spread) ** 2, axis=1)
        power = num_features if start.spread is None else jnp.sum(start.spread**2)
        variance = num_targets * start.variance
        return Begun(
            jnp.sqrt(mean.coordinates**2 + variance * spread[None, :]),
            jnp.sqrt(mean.length**2 + variance * power),
            mean.error,
            mean.drawn + variance * power,
        )


def rounding_error(
    spectrum: Spectrum,
    averages: Averages,
    rule: Rule,
    t: Float[Array, "times"],
    risk: Float[Array, "times"],
    begun: Begun,
    seen: Seen | None = None,
) -> Float[Array, "times"]:
    """A bound on the absolute rounding error of a risk curve, summed over targets.

    Args:
        spectrum: where the curve came from.
        averages: what it was averaged over.
        rule: how it was trained.
        t: in the rule's clock.
        risk: the curve.
        begun: where training started.
        seen: `Seen.by` the averages, if it is known already.
    """
    seen = Seen.by(averages, spectrum) if seen is None else seen
    return _of_risk(averages, seen.power, risk, _wrong(spectrum, seen, begun, _Reach.of(rule, spectrum, t)))


def evaluation_error(
    averages: Averages, risk: Float[Array, "times"], weight_power: Float[Array, "times"]
) -> Float[Array, "times"]:
    """The same of weights that are what they are, such as those of a simulation; `weight_power` is |theta|^2.

    >>> import theory
    >>> test = theory.TestSet(jnp.eye(2), jnp.ones(2))
    >>> bool(evaluation_error(test, jnp.asarray([1.0]), jnp.asarray([0.5]))[0] < 1e-13)
    True
    """
    length, power = jnp.sqrt(weight_power), averages.power
    rounded = FACTOR * jnp.finfo(risk.dtype).eps * jnp.sqrt(power) * length
    return _of_risk(averages, power, risk, _Wrong(rounded, length, jnp.zeros_like(length)))


def rounding_errors(
    spectrum: Spectrum,
    averages: Averages,
    rule: Rule,
    t: Float[Array, "times"],
    risk: Float[Array, "times"],
    limit: Float[Array, ""],
    begun: Begun,
    seen: Seen,
) -> tuple[Float[Array, "times"], Float[Array, ""]]:
    """The same, and that of the limit t = infinity of training from one start.

    There every rule has settled as the flow has. Modes inside of a gap at rounding level are taken for null, and
    nothing pushes them.
    """
    with trusted():
        flow, infinity = GradientFlow(rule.ridge), jnp.full(1, jnp.inf, t.dtype)
    settled = _Reach.of(flow, spectrum, infinity)
    null = spectrum.infinity_is_resolved & (spectrum.eigenvalues <= spectrum.rank_cut)
    settled = settled._replace(
        by_mode=jnp.where(null[None, :], 0, settled.by_mode),
        beyond=jnp.where(spectrum.infinity_is_resolved, 0, settled.beyond),
    )
    # Side by side, which compiles in half of the time.
    reach = jax.tree.map(lambda *parts: jnp.concatenate(parts), _Reach.of(rule, spectrum, t), settled)
    risks = jnp.append(risk, limit)
    errors = _of_risk(averages, seen.power, risks, _wrong(spectrum, seen, begun, reach))
    return errors[:-1], errors[-1]


def weight_error(spectrum: Spectrum, rule: Rule, t: Float[Array, "times"], begun: Begun) -> Float[Array, "times"]:
    """A bound on the length of the weights' rounding error."""
    return _wrong(spectrum, Seen.evenly(spectrum), begun, _Reach.of(rule, spectrum, t)).prediction


def trusted_until(
    times: Float[Array, "times"],
    risk: Float[Array, "times"],
    error: Float[Array, "times"],
    tolerance: float | Float[Array, ""],
) -> Float[Array, ""]:
    """The latest of the times up to which the error stays below `tolerance` times the exact risk; 0 if none does."""
    broken = ~is_known(risk, error, tolerance)
    first = jnp.argmax(broken)
    before = jnp.where(first > 0, times[jnp.maximum(first - 1, 0)], 0)
    return jnp.where(jnp.any(broken), before, times[-1])


def is_known(
    risk: Float[Array, "*any"], error: Float[Array, "*any"], tolerance: float | Float[Array, ""]
) -> Bool[Array, "*any"]:
    """Whether the error is at most `tolerance` times the exact risk, which may lie below the computed one."""
    return error * (1 + tolerance) <= tolerance * risk


class _Reach(NamedTuple):
    """How far a push can have moved each mode, and what no mode covers."""

    by_mode: Float[Array, "times modes"]
    beyond: Float[Array, "times"]
    overshoot: Float[Array, "times modes"]
    roundings: Float[Array, "times"]

    @staticmethod
    def of(rule: Rule, spectrum: Spectrum, t: Float[Array, "times"]) -> "_Reach":
        eigenvalues = spectrum.eigenvalues
        beyond = rule.reach(jnp.zeros_like(eigenvalues[:1]), t)[:, 0]
        by_mode = rule.reach(eigenvalues, t)
        ringing = jnp.broadcast_to(rule.overshoot(eigenvalues), by_mode.shape)
        return _Reach(by_mode, beyond, ringing, rule.roundings(t))


class _Wrong(NamedTuple):
    """Root mean squares, over the population, of the error of a prediction and of the prediction, or bounds on them."""

    prediction: Float[Array, "times"]
    length: Float[Array, "times"]
    drawn: Float[Array, "times"]


def _wrong(spectrum: Spectrum, seen: Seen, begun: Begun, reach: _Reach) -> _Wrong:
    # In units of the largest eigenvalue and the largest singular value.
    rounding = jnp.finfo(spectrum.eigenvalues.dtype).eps
    fastest = jnp.max(spectrum.eigenvalues)
    unit = jnp.where(fastest > 0, fastest, 1)
    eigenvalues, size = spectrum.eigenvalues / unit, jnp.sqrt(unit)
    full = spectrum.modes.shape[0] == spectrum.modes.shape[1]
    moved, beyond = reach.by_mode * unit, jnp.zeros_like(reach.beyond) if full else reach.beyond * unit
    ringing, loudest = reach.overshoot, jnp.max(reach.overshoot, axis=1)
    labels = (
        jnp.sqrt(jnp.sum(spectrum.label_coordinates**2, axis=1))[None, :] / size
        + jnp.sqrt(eigenvalues)[None, :] * begun.coordinates
    )
    outside = jnp.sqrt(jnp.sum(spectrum.label_outside)) / size
    power = jnp.sqrt(jnp.sum(labels**2, axis=1) + outside**2)
    learnt = moved * labels
    length = jnp.sqrt(learnt**2 @ eigenvalues) + loudest * begun.length
    pulled = jnp.sqrt((eigenvalues[None, :] * moved**2) @ seen.by_mode)
    pushed = jnp.sqrt(moved**2 @ seen.by_mode + beyond**2 * seen.beyond)
    if spectrum.rounding == "factor":
        shared = _shared(moved, labels * ringing)
        by_labels = (shared * ringing) ** 2 @ seen.by_mode + (loudest * shared[:, -1]) ** 2 * seen.beyond
        drift = outside * pushed + jnp.sqrt(by_labels) + (power + length) * pulled
        strength = jnp.sqrt(jnp.max(moved, axis=1))
    elif spectrum.rounding == "covariance":
        drift = (power + length) * pushed
        strength = jnp.max(moved, axis=1)
    else:
        lost = max(spectrum.modes.shape) / FACTOR * outside * beyond  # null modes, which are so up to the size of Phi
        hidden = jnp.sqrt(jnp.sum(learnt**2, axis=1) + lost**2)
        drift = (power + hidden) * pulled + hidden * jnp.sqrt(seen.power)
        strength = jnp.max(moved, axis=1)
    drift = FACTOR * rounding * drift
    is_small = FACTOR * rounding * jnp.maximum(strength, loudest) < FIRST_ORDER
    is_near = (jnp.max(moved, axis=1) < _farthest(moved)) & (beyond < _farthest(moved))
    answered = jnp.sqrt((learnt * ringing) ** 2 @ eigenvalues) + loudest * begun.length
    carried = loudest * begun.error + rounding * (reach.roundings * answered + FACTOR * length)
    prediction = jnp.where(is_small & is_near, drift + jnp.sqrt(seen.power) * carried, jnp.inf)
    return _Wrong(prediction, length, loudest**2 * begun.drawn)


def _farthest(moved: Array) -> float:
    """Squares of what is farther may overflow."""
    return float(jnp.finfo(moved.dtype).max) ** 0.45


def _shared(moved: Float[Array, "times modes"], labels: Float[Array, "starts modes"]) -> Float[Array, "times modes"]:
    """The root of the sum over j of (min(H_i, H_j) a_j)^2; H, nearly in order, is raised to be so."""
    ordered = jax.lax.cummax(moved, axis=1)
    power = jnp.broadcast_to(labels**2, moved.shape)
    before = jnp.cumsum(ordered**2 * power, axis=1)
    after = jnp.cumsum(power[:, ::-1], axis=1)[:, ::-1] - power
    return jnp.sqrt(before + ordered**2 * jnp.maximum(after, 0))


def _of_risk(
    averages: Averages, power: Float[Array, ""], risk: Float[Array, "times"], wrong: _Wrong
) -> Float[Array, "times"]:
    """From the error of predictions: R is the square of a length, and lengths obey the triangle inequality.

    What is not a number is not known.
    """
    epsilon = FACTOR * jnp.finfo(risk.dtype).eps
    target_power = jnp.sum(averages.target_power_by_target)
    evaluated = epsilon * (jnp.abs(risk) + power * wrong.drawn)
    if averages.cancels:  # each of its terms is as large as this
        evaluated = evaluated + epsilon * (target_power + power * wrong.length**2)
    prediction = wrong.prediction + epsilon * jnp.sqrt(target_power)
    error = 2 * jnp.sqrt(jnp.maximum(risk, 0) + evaluated) * prediction + prediction**2 + evaluated
    return jnp.where(jnp.isnan(error), jnp.inf, error)
