"""Hard labels of mixed inputs: how far what they are drawn from is from the truth.

Source: Liu, Wang, Guo, Mao (2023), `liu2023overtraining`, classification.
"""

import jax.numpy as jnp
import numpy as np
import scipy.special
from jaxtyping import Array, Bool, Float

from theory.checks import check_alpha, check_finite, check_within, is_traced
from theory.noise.mixup import Ratio, mix

Probabilities = Float[Array, "pairs classes"]


def mixed_probabilities(first: Probabilities, second: Probabilities, lam: Ratio) -> Probabilities:
    """P(Y~ = j) = lam f_j(x) + (1 - lam) f_j(x'), of Mixup's hard label.

    >>> mixed_probabilities(jnp.asarray([[1.0, 0.0]]), jnp.asarray([[0.0, 1.0]]), 0.25).tolist()
    [[0.25, 0.75]]
    """
    return mix(check_probabilities("first", first), check_probabilities("second", second), lam)


def hard_label_error(mixed: Probabilities, truth: Probabilities) -> Float[Array, "pairs"]:
    """The probability that Mixup's hard label differs from one drawn independently from the truth at the mixed input.

    >>> hard_label_error(jnp.asarray([[0.5, 0.5]]), jnp.asarray([[1.0, 0.0]])).tolist()
    [0.5]
    """
    mixed, truth = check_probabilities("mixed", mixed), check_probabilities("truth", truth)
    return 1 - jnp.sum(mixed * truth, axis=1)


def total_variation_lower(mixed: Probabilities, truth: Probabilities) -> Float[Array, "pairs"]:
    """The least of that probability over all ways to draw the two labels together: their total-variation distance.

    >>> total_variation_lower(jnp.asarray([[0.5, 0.5]]), jnp.asarray([[1.0, 0.0]])).tolist()
    [0.5]
    """
    mixed, truth = check_probabilities("mixed", mixed), check_probabilities("truth", truth)
    return jnp.sum(jnp.abs(mixed - truth), axis=1) / 2


def liu2023_sup_lower(mixed: Probabilities, truth: Probabilities) -> Float[Array, "pairs"]:
    """sup_j |P(Y~ = j) - f_j(x~)| / 2, the weaker bound of `liu2023overtraining`.

    >>> liu2023_sup_lower(jnp.asarray([[0.5, 0.5]]), jnp.asarray([[1.0, 0.0]])).tolist()
    [0.25]
    """
    mixed, truth = check_probabilities("mixed", mixed), check_probabilities("truth", truth)
    return jnp.max(jnp.abs(mixed - truth), axis=1) / 2


def cross_entropy_floor(alpha: float, proportions: Float[Array, "classes"]) -> Float[Array, ""]:
    """The least Mixup cross-entropy that any predictor reaches on one-hot labels, in nats.

    Two samples differ in class with probability 1 - sum_c pi_c^2, and then the mixed label has the mean entropy
    psi(2 alpha + 1) - psi(alpha + 1); (C - 1) / (2 C) for balanced classes and alpha = 1. Source: `liu2023overtraining`
    for that case.

    >>> round(float(cross_entropy_floor(1.0, jnp.full(10, 0.1))), 6)
    0.45
    """
    alpha = check_alpha("alpha", alpha)
    proportions = check_probabilities("proportions", proportions[None, :])[0]
    entropy = scipy.special.digamma(2 * alpha + 1) - scipy.special.digamma(alpha + 1)
    return (1 - jnp.sum(proportions**2)) * entropy


def check_probabilities(name: str, probabilities: Probabilities) -> Probabilities:
    """Returns them; raises ValueError unless each row is not negative and sums to one."""
    wanted = "pass rows of probabilities, not negative and of sum one"
    if is_traced(probabilities):
        return check_within(name, probabilities, _are_probabilities, wanted)
    check_finite(name, probabilities)
    rows = np.asarray(probabilities)
    sums, least = np.sum(rows, axis=1), float(np.min(rows))
    worst = int(np.argmax(np.abs(sums - 1)))
    if abs(float(sums[worst]) - 1) > PROBABILITY_ROUNDING or least < 0:
        raise ValueError(
            f"{name}: row {worst} sums to {float(sums[worst]):.6g}, and the smallest entry is {least:.3g}; {wanted}"
        )
    return probabilities


def _are_probabilities(rows: Probabilities) -> Bool[Array, ""]:
    return jnp.all(rows >= 0) & jnp.all(jnp.abs(jnp.sum(rows, axis=1) - 1) <= PROBABILITY_ROUNDING)


PROBABILITY_ROUNDING = 1e-5
"""How far a sum of float32 probabilities may be off one."""
