"""Mini-batch gradient descent on fresh rows: the exact second moment, in closed form in the number of steps.

A step sees B rows, not all of them. Its mean is a step of gradient descent on the whole law of rows, so the mean
weights are those of `theory.risk`. About that mean the weights spread, for two reasons: a batch misjudges the gradient
at the mean weights, and a batch misjudges the curvature that pulls the spread back in. With the batch means
X = mean_b phi phiᵀ and n = mean_b phi (y - theta* . phi) about the optimum theta*, the mean offset
d_k = (I - eta (C + ridge))^k (theta_0 - theta*), and covariances over batches, S_k = Cov theta_k obeys

    S_(k+1) = (I - eta (C + ridge)) S_k (I - eta (C + ridge)) + eta^2 Q[S_k] + eta^2 F_k,
    Q[S] = E X S X - C S C,    F_k = Cov(X d_k - n) = Q[d_k d_kᵀ] - Cov(X d_k, n) - Cov(n, X d_k) + Cov(n).

That is linear in S_k, and F_k is a sum of powers, of rates r_a r_b, r_a and 1. In the coordinates of the modes, and of
the entries (k, l), k <= l, of a symmetric matrix with off-diagonals times sqrt(2), the step is a symmetric matrix
1 - eta J. One eigen-decomposition of J turns k steps into geometric sums of two rates. Nothing is ever subtracted from
the offset's own power, which is huge where eigenvalues are small.

The diagonal approximation keeps the entries (k, k), of S and of d dᵀ, and leaves the equations as they are. It is exact
where no other entry ever feeds these. Elsewhere its error is measured, not bounded. On Mixup of random features, of 12
to 60 originals: 10 to 80 percent of the spread in the first steps, where d dᵀ is far from diagonal; once training has
settled, up to 25 percent of it, up to half at steps close to the limit of single rows, and a few percent for many
originals (``tests/theory/batches/test_approximation.py`` holds one such problem).

Source: derived here.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from theory import linalg
from theory.batches.moments import BatchMoments
from theory.batches.stability import largest_stable_step
from theory.checks import Clock, check_positive, check_steps, trusted, untraced
from theory.population import Averages, in_precision
from theory.risk import Start, check_start, risk_parts
from theory.rules.descent import GradientDescent
from theory.rules.series import mean_decay
from theory.spectrum import Spectrum
from theory.trust import Begun, Seen, is_known, rounding_errors, trusted_until
from theory.views import MinibatchView

TRUSTED = 1e-6
SPREAD_SAFETY = 3.0
"""The eigenvalues of J are off by some roundings of the largest, and that is felt as t, whatever gave the spectrum."""


class MinibatchCurve(MinibatchView, eqx.Module):
    """Moments of training on fresh batches; means and variances are over batches.

    Attributes:
        steps: k.
        times: eta k; unit 1/eigenvalue.
        mean_risk_by_target: the risk of the mean weights; unit: that of the targets, squared.
        spread_by_target: tr(C S), what the batches add to it, with C the second moment of the averages.
        weight_variance_by_target: tr(S), S = Cov theta_k.
        gradient_power_by_target: E |g|^2 of a batch's gradient, the ridge's part included.
        largest_stable_step: from this step size on S grows without bound.
        mean_risk_at_infinity: summed over targets, as are the next two.
        spread_at_infinity: the price of a constant step size.
        gradient_power_at_infinity: the floor that gradients do not fall below.
        trusted_until: the latest of the times up to which rounding stays below 1e-6 of the expected risk; see
            `theory.trust`.
        infinity_is_resolved: whether the limit of the mean risk is known to 1e-6, and no mode was left out that counts
            (see `theory.Spectrum`); if not, the limits hang on rounding.
        is_diagonal: whether spreads, gradients and the largest stable step are those of the diagonal approximation.
    """

    steps: Float[Array, "times"]
    times: Float[Array, "times"]
    mean_risk_by_target: Float[Array, "times targets"]
    spread_by_target: Float[Array, "times targets"]
    weight_variance_by_target: Float[Array, "times targets"]
    gradient_power_by_target: Float[Array, "times targets"]
    largest_stable_step: Float[Array, ""]
    mean_risk_at_infinity: Float[Array, ""]
    spread_at_infinity: Float[Array, ""]
    gradient_power_at_infinity: Float[Array, ""]
    trusted_until: Float[Array, ""]
    infinity_is_resolved: Bool[Array, ""]
    is_diagonal: bool = eqx.field(static=True)

    @property
    def mean_risk(self) -> Float[Array, "times"]:
        """The risk of the mean weights, summed over targets."""
        return jnp.sum(self.mean_risk_by_target, axis=-1)

    @property
    def spread(self) -> Float[Array, "times"]:
        """What the batches add to it, summed over targets."""
        return jnp.sum(self.spread_by_target, axis=-1)

    @property
    def risk(self) -> Float[Array, "times"]:
        """The expected risk, mean_risk + spread."""
        return self.mean_risk + self.spread

    @property
    def gradient_norm(self) -> Float[Array, "times"]:
        """The root of E |g|^2, summed over targets."""
        return jnp.sqrt(jnp.sum(self.gradient_power_by_target, axis=-1))

    @property
    def risk_at_infinity(self) -> Float[Array, ""]:
        """The expected risk that training settles at."""
        return self.mean_risk_at_infinity + self.spread_at_infinity

    @property
    def gradient_floor(self) -> Float[Array, ""]:
        """The root of E |g|^2 that training settles at."""
        return jnp.sqrt(jnp.maximum(self.gradient_power_at_infinity, 0))  # of batches of all rows it is rounding


@untraced
def minibatch_curve(
    spectrum: Spectrum,
    averages: Averages,
    moments: BatchMoments,
    step_size: float,
    steps: Clock,
    *,
    start: Start | None = None,
) -> MinibatchCurve:
    """The expected risk of training on fresh batches: the mean's risk, and the spread tr(C S) about it.

    Exact at any number of steps and in the limit, to rounding: where eigenvalues span eight decades, within 1e-9 of 60
    digits after 1e9 steps (``tests/theory/batches/test_minibatch.py``). Rates below machine epsilon times mu_max are
    lost, and ``trusted_until`` says from when on that may be felt.

    Costs an eigen-decomposition of as many rows as there are entries, entries^2 operations for each number of steps,
    and for the limit.

    Args:
        spectrum: the one that the moments were computed with.
        averages: a `TestSet` or a `Population`.
        moments: from `batch_moments`; their ridge is that of training.
        step_size: eta, below `largest_stable_step(moments)`.
        steps: k, ascending, from 0 on.
        start: where training starts; its variance must be zero.

    Raises:
        ValueError: a step size at which the spread grows without bound, steps that do not ascend, moments or features
            that do not match, a random start.

    Source: derived here.

    >>> import theory
    >>> phi, y = jnp.asarray([[1.0], [3.0]]), jnp.asarray([[2.0], [4.0]])
    >>> spectrum, blocks = theory.decompose(phi, y), [(phi[:, None, :], y[:, None, :])]
    >>> moments = theory.batches.batch_moments(spectrum, blocks, jnp.ones(1), theory.Batches(size=1))
    >>> curve = minibatch_curve(spectrum, theory.TestSet(phi, y), moments, 0.1, [0, 1])
    >>> curve.weight_variance_by_target[:, 0].round(6).tolist()  # one step: 0.01 Var phi y
    [0.0, 0.25]
    """
    check_positive("step_size", step_size)
    _check_match(spectrum, averages, moments, start)
    dtype = moments.eigenvalues.dtype
    clock = linalg.on_device(check_steps(steps), dtype)
    largest = largest_stable_step(moments)
    _check_stable_spread(step_size, largest, moments.is_diagonal)
    rule = GradientDescent(linalg.on_device(step_size, dtype), moments.ridge)
    rates, vectors = linalg.symmetric_eigen(_pull(moments, rule))
    limit = linalg.on_device(largest, dtype)
    return _curve(spectrum, in_precision(averages, dtype), moments, rule, clock, start, (rates, vectors), limit)


@eqx.filter_jit
def _curve(
    spectrum: Spectrum,
    averages: Averages,
    moments: BatchMoments,
    rule: GradientDescent,
    clock: Float[Array, "times"],
    start: Start | None,
    pull: tuple[Float[Array, "entries"], Float[Array, "entries entries"]],
    largest: Float[Array, ""],
) -> MinibatchCurve:
    rates, vectors = pull
    modes = spectrum.modes[:, : len(moments.eigenvalues)]
    begin = jnp.zeros_like(modes @ moments.optimum) if start is None or start.weights is None else start.weights
    offset = modes.T @ begin - moments.optimum
    outside = begin - modes @ (modes.T @ begin)  # only the ridge pulls on it
    resting = modes @ moments.optimum + jnp.where(moments.ridge > 0, 0, outside)
    seen = averages.in_modes(modes).second_moment
    with_end = jnp.append(clock, jnp.inf)
    spread, variance, gradient = _moments_at(moments, rule, offset, seen, jnp.maximum(rates, 0), vectors, with_end)
    decay = moments.ridge * rule.residual(jnp.zeros_like(with_end[:1]), with_end)
    gradient = gradient + decay**2 * jnp.sum(outside**2, axis=0)[None, :]
    mean_risk = risk_parts(spectrum, averages, rule, clock, start).risk
    limit = jnp.sum(averages.risk_parts(resting[:, None, :], None).risk)
    risk, times = jnp.sum(mean_risk, axis=1), rule.time(clock)
    total = risk + jnp.sum(spread[:-1], axis=1)
    begun, excited = Begun.of(start, spectrum), Seen.by(averages, spectrum)
    error, error_at_limit = rounding_errors(spectrum, averages, rule, clock, risk, limit, begun, excited)
    error = error + _spread_rounding(moments, times, total - risk)
    return MinibatchCurve(
        steps=clock,
        times=times,
        mean_risk_by_target=mean_risk,
        spread_by_target=spread[:-1],
        weight_variance_by_target=variance[:-1],
        gradient_power_by_target=gradient[:-1],
        largest_stable_step=largest,
        mean_risk_at_infinity=limit,
        spread_at_infinity=jnp.sum(spread[-1]),
        gradient_power_at_infinity=jnp.sum(gradient[-1]),
        trusted_until=trusted_until(times, total, error, TRUSTED),
        infinity_is_resolved=spectrum.infinity_is_resolved & is_known(limit, error_at_limit, TRUSTED),
        is_diagonal=moments.is_diagonal,
    )


def _spread_rounding(
    moments: BatchMoments, times: Float[Array, "times"], spread: Float[Array, "times"]
) -> Float[Array, "times"]:
    """An estimate of the absolute rounding error of the spread.

    Some 40 times what was measured where weak modes make all of the spread, and far more where they make little of it.
    """
    largest, slowest = moments.eigenvalues[0] + moments.ridge, moments.eigenvalues[-1] + moments.ridge
    felt = 1 + jnp.minimum(times, 1 / slowest) * largest
    return SPREAD_SAFETY * jnp.finfo(spread.dtype).eps * felt * jnp.abs(spread)


@eqx.filter_jit
def _pull(moments: BatchMoments, rule: GradientDescent) -> Float[Array, "entries entries"]:
    """J, by which a step maps S to (1 - eta J) S."""
    first, second, _ = moments.entries
    shifted = moments.eigenvalues + moments.ridge
    a, b = shifted[first], shifted[second]
    return jnp.diag(a + b - rule.step_size * a * b) - rule.step_size * moments.curvature


def _moments_at(
    moments: BatchMoments,
    rule: GradientDescent,
    offset: Float[Array, "modes targets"],
    seen: Float[Array, "modes modes"],
    rates: Float[Array, "entries"],
    vectors: Float[Array, "entries entries"],
    clock: Float[Array, "times"],
) -> tuple[Float[Array, "times targets"], Float[Array, "times targets"], Float[Array, "times targets"]]:
    """tr(C S), tr(S) and E |g|^2, by target; E |g|^2 is tr(P[S]) beside the power at the mean weights."""
    first, second, factors = moments.entries
    shifted = moments.eigenvalues + moments.ridge
    trace = jnp.asarray(first == second, offset.dtype)
    power = trace @ moments.curvature + trace * shifted[first] * shifted[second]
    functionals = jnp.stack([factors * seen[first, second], trace, power]) @ vectors
    covariance = _covariance(moments, rule, offset, rates, vectors, clock)
    spread, variance, gradient_power = jnp.tensordot(functionals, covariance, ((1,), (1,)))
    return spread, variance, gradient_power + _gradient_power_at_mean(moments, rule, offset, clock)


def _covariance(
    moments: BatchMoments,
    rule: GradientDescent,
    offset: Float[Array, "modes targets"],
    rates: Float[Array, "entries"],
    vectors: Float[Array, "entries entries"],
    clock: Float[Array, "times"],
) -> Float[Array, "times entries targets"]:
    """S_k in the eigenvectors of J: every F_j, carried on through the steps that were still to come."""
    first, second, factors = moments.entries
    pair_offset = factors[:, None] * offset[first] * offset[second]
    sources = (moments.curvature, moments.cross, moments.noise)
    curvature, cross, noise = (jnp.tensordot(vectors.T, source, 1) for source in sources)
    with trusted():
        settling = GradientDescent(step_size=rule.step_size, ridge=0.0)  # the ridge is part of J
    lost, mode_lost = rule.step_size * rates, rule.step_size * (moments.eigenvalues + moments.ridge)
    pair_lost = mode_lost[first] + mode_lost[second] - mode_lost[first] * mode_lost[second]

    def after(steps: Float[Array, ""]) -> Float[Array, "entries targets"]:
        quadratic = (curvature * _carried(lost, pair_lost, steps)) @ pair_offset
        linear = jnp.sum(cross * _carried(lost, mode_lost, steps)[:, :, None] * offset[None, :, :], axis=1)
        constant = settling.gain(rates, steps)[:, None] * noise
        return rule.step_size**2 * (quadratic - linear) + rule.step_size * constant

    return jax.lax.map(after, clock)  # one at a time: each needs entries^2 numbers


def _gradient_power_at_mean(
    moments: BatchMoments, rule: GradientDescent, offset: Float[Array, "modes targets"], clock: Float[Array, "times"]
) -> Float[Array, "times targets"]:
    """|(C + ridge) d|^2 + tr(F)."""
    first, second, factors = moments.entries
    trace = jnp.asarray(first == second, offset.dtype)
    left = rule.residual(moments.eigenvalues, clock)[:, :, None] * offset[None, :, :]
    pairs = factors[None, :, None] * left[:, first] * left[:, second]
    mean = (moments.eigenvalues + moments.ridge)[None, :, None] * left
    quadratic = jnp.tensordot(trace @ moments.curvature, pairs, ((0,), (1,)))
    linear = jnp.sum(left * jnp.tensordot(trace, moments.cross, 1)[None, :, :], axis=1)
    return jnp.sum(mean**2, axis=1) + quadratic - linear + (trace @ moments.noise)[None, :]


def _carried(
    first_lost: Float[Array, "entries"], second_lost: Float[Array, "sources"], steps: Float[Array, ""]
) -> Float[Array, "entries sources"]:
    """sum_(j < k) a^(k - 1 - j) b^j of a = 1 - first_lost and b = 1 - second_lost, both in [-1, 1]; 0 at infinity.

    For rates of one sign, a^k - b^k over a - b is k max(a, b)^(k - 1) m(k gap) / m(gap), with the gap of their
    logarithms and m(x) = (1 - exp(-x)) / x: no difference of near equals. Rates of opposite sign are far apart.
    """
    finite = jnp.where(jnp.isinf(steps), 0, steps)
    (slow_a, slow_b), (sign_a, sign_b) = zip(*map(_log_decay, (first_lost[:, None], second_lost[None, :])), strict=True)
    gap = jnp.abs(slow_a - slow_b)
    alternation = jnp.where(finite % 2 == 0, -1, 1)
    largest_power = jnp.exp(-(finite - 1) * jnp.minimum(slow_a, slow_b)) * jnp.where(sign_b < 0, alternation, 1)
    together = finite * largest_power * mean_decay(finite * gap) / mean_decay(gap)

    def power(slow: Array, sign: Array) -> Array:
        return jnp.where(sign < 0, -alternation, 1) * jnp.exp(-finite * slow)

    apart = jnp.where(sign_a == sign_b, 1, sign_a * jnp.exp(-slow_a) - sign_b * jnp.exp(-slow_b))
    opposed = (power(slow_a, sign_a) - power(slow_b, sign_b)) / apart
    return jnp.where(sign_a == sign_b, together, opposed)


def _log_decay(lost: Float[Array, "*any"]) -> tuple[Float[Array, "*any"], Float[Array, "*any"]]:
    """-log |1 - lost|, finite where nothing is left, and the sign of 1 - lost."""
    within = jnp.minimum(jnp.minimum(lost, 2 - lost), 1 - jnp.finfo(lost.dtype).eps)
    return -jnp.log1p(-within), jnp.where(lost > 1, -1.0, jnp.ones_like(lost))


def _check_match(spectrum: Spectrum, averages: Averages, moments: BatchMoments, start: Start | None) -> None:
    check_start(start)
    if averages.num_features != spectrum.modes.shape[0]:
        raise ValueError(
            f"averages: have {averages.num_features} features, but the spectrum has {spectrum.modes.shape[0]}; "
            "compute both with the same feature map"
        )
    if not np.array_equal(moments.eigenvalues, np.asarray(spectrum.eigenvalues)[: spectrum.rank]):
        raise ValueError("moments: were computed with another spectrum; pass both of the same rows")
    if start is not None and float(start.variance) != 0:
        raise ValueError(
            f"start: has the variance {float(start.variance):g}, and only a start that is certain is covered; pass "
            "Start(weights)"
        )


def _check_stable_spread(step_size: float, limit: float, is_diagonal: bool) -> None:
    if step_size >= limit:
        kind = ", by the diagonal approximation, which is never below the exact one" if is_diagonal else ""
        raise ValueError(
            f"step_size: at {step_size:g} the spread over batches grows without bound; pass a step below the largest "
            f"stable one, {limit:.6g}{kind}"
        )
