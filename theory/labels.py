"""Risk over the labels' own noise: training is linear in the labels, so its mean and variance are closed forms.

If the force is b = Hᵀ y / n, with one row of H an original, the weights are theta_t = U g_t(mu) Uᵀ Hᵀ y / n. With
labels y + e, e normal and independent with variance s^2,

    R(y + e) = R(y) - 2 v . e + eᵀ Q e,     Q = Kᵀ C K,     v = Kᵀ (c - C theta_t),     K = U g_t Uᵀ Hᵀ / n,

of mean R(y) + s^2 tr Q and variance 4 s^2 |v|^2 + 2 s^4 tr Q^2. Expected Mixup brings such an H
(`rfm.expected.ExpectedProblem.smoother`); for training on the originals themselves H is Phi. Derived here.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from theory.checks import check_not_negative
from theory.population import Averages
from theory.risk import risk_parts, weights
from theory.rules.rule import Rule, traced
from theory.spectrum import Spectrum


class RiskOverLabels(eqx.Module):
    """The risk over draws of the labels' noise.

    Attributes:
        mean: expected risk, by target.
        std: standard deviation of the risk from draw to draw.
        added: what the noise adds to the risk of each target, in the mean.
    """

    mean: Float[Array, "times targets"]
    std: Float[Array, "times targets"]
    added: Float[Array, "times"]


def risk_over_labels(
    spectrum: Spectrum,
    averages: Averages,
    smoother: Float[Array, "samples features"],
    rule: Rule,
    t: Float[Array, "times"],
    variance: float | Float[Array, ""],
) -> RiskOverLabels:
    """Mean and standard deviation of the risk if the labels get normal noise of that variance, training from zero.

    Args:
        spectrum: with the labels without that noise.
        averages: what the risk is averaged over.
        smoother: H; the force is Hᵀ y / n.
        rule: how it is trained.
        t: times, or steps for a rule that counts them.
        variance: of the independent normal noise of each label.

    Raises:
        ValueError: a negative variance.

    >>> import theory
    >>> phi, y = jnp.eye(2), jnp.asarray([2.0, 4.0])
    >>> test = theory.TestSet(phi, y)
    >>> late = risk_over_labels(theory.decompose(phi, y), test, phi, theory.GradientFlow(), jnp.asarray([1e3]), 0.5)
    >>> late.mean.round(6).tolist(), late.std.round(6).tolist()  # each of two labels fitted, noise and all
    ([[0.5]], [[0.5]])
    """
    variance = check_not_negative("variance", variance)
    dtype = spectrum.eigenvalues.dtype
    rule, variance = traced(rule, dtype), jnp.asarray(variance, dtype)
    return _over_labels(spectrum, averages, smoother, rule, jnp.asarray(t, dtype), variance)


@eqx.filter_jit
def _over_labels(
    spectrum: Spectrum, averages: Averages, smoother: Array, rule: Rule, t: Array, variance: Array
) -> RiskOverLabels:
    modes = spectrum.modes
    forces = modes.T @ smoother.T / smoother.shape[0]
    second_moment = averages.in_modes(modes).second_moment
    theta = weights(spectrum, rule, t)
    gain = rule.gain(spectrum.eigenvalues, t)
    moment = averages.mode_moment(modes, theta, with_target=True)

    def at_time(gain: Float[Array, "modes"], moment: Float[Array, "modes targets"]) -> tuple[Array, Array, Array]:
        learnt = gain[:, None] * forces
        seen = second_moment @ learnt
        # Lᵀ C L, or L Lᵀ C, whichever is smaller: the trace of one and of its square is that of the other.
        spread = learnt.T @ seen if learnt.shape[1] <= learnt.shape[0] else seen @ learnt.T
        return jnp.sum(learnt * seen), jnp.sum(spread * spread.T), jnp.sum((learnt.T @ moment) ** 2, axis=0)

    trace, square, slope = jax.lax.map(lambda both: at_time(*both), (gain, jnp.moveaxis(moment, 1, 0)))
    added = variance * trace
    mean = risk_parts(spectrum, averages, rule, t).risk + added[:, None]
    return RiskOverLabels(mean, jnp.sqrt(4 * variance * slope + 2 * variance**2 * square[:, None]), added)
