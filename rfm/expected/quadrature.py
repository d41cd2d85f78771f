"""The law of Mixup's ratio as a handful of weighted ratios: Gauss-Jacobi quadrature, as fine as the features need.

Over lam ~ Beta(alpha, alpha), n nodes integrate polynomials of degree 2 n - 1 in lam exactly. Along the segment between
two inputs smooth features are nearly polynomials, and the error falls exponentially with n; features with kinks, such
as relu, fall as 1 / n^2 pair by pair, those with jumps as 1 / n, and the average over many pairs does better.

How large the error is, other rules must tell. Gauss-Jacobi rules of 4 and 8 nodes are both symmetric about 1/2, and may
integrate the jumps of a few pairs alike and wrongly. So a rule is held against two finer ones that share nothing with
it, nor with each other: Gauss-Jacobi on two pieces that meet off the middle.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import scipy.special
from jaxtyping import Array, Float

import theory
from rfm.data.truths import Truth
from rfm.features import FeatureMap
from rfm.mixup.laws import Mixup
from rfm.source import spread_evenly
from theory.checks import check_count, check_positive, untraced

COARSEST, FINEST = 4, 64
PILOT_PAIRS, LONGEST_PAIRS = 48, 8
CANDIDATE_PAIRS = 4096
PILOT_FEATURES = 256
CUTS = (0.6180339887498949, 0.2360679774997897)
GRADING = 4
"""Where the pieces of the rules meet that errors are estimated by: nowhere near a simple fraction, nor each other. And
the power by which the nodes of one of them crowd at the ends."""
NARROW, BELL = 20.0, 9.0
"""From this alpha on the law is a narrow bell, whose tails end for all purposes at so many standard deviations."""
MIRRORED = 1e-14
"""Nodes are mirror images to a few roundings; a fixed ratio that is only near 1/2 is not."""
LEAST_TOLERANCE = 10
"""Roundings that two averages differ by, whatever the number of ratios."""


class RatioRule(eqx.Module):
    """Ratios and the probabilities that stand for their law.

    Attributes:
        lam: ascending, in [0, 1].
        weights: of sum one.
        error: relative, of the means of phi phiᵀ, phi, lam phi and f phi over some pairs: the distance from two other
            rules of four and of eight times as many ratios, and that between them; 0 for a fixed one. (Covariances of
            batches are of the fourth order in phi, and less exact.)
    """

    lam: Float[np.ndarray, "ratios"]
    weights: Float[np.ndarray, "ratios"]
    error: float

    @property
    def is_symmetric(self) -> bool:
        """Whether swapping the two of a pair, lam -> 1 - lam, changes nothing."""
        mirrored = np.concatenate([self.lam + self.lam[::-1] - 1, self.weights - self.weights[::-1]])
        return bool(np.max(np.abs(mirrored)) < MIRRORED)

    def __len__(self) -> int:
        return len(self.lam)


@untraced
def ratio_rule(
    law: Mixup,
    inputs: Float[Array, "samples inputs"],
    features: FeatureMap,
    truth: Truth | None = None,
    *,
    num_ratios: int | None = None,
    tolerance: float = 1e-8,
) -> RatioRule:
    """The fewest ratios that integrate the features' second moment to the tolerance.

    Args:
        law: whose ratios.
        inputs: the originals; `PILOT_PAIRS` pairs of them, some spread evenly and some far apart, are tried.
        features: phi.
        truth: f, if it is known: the clean labels are integrated too.
        num_ratios: this many instead, and then only their error is estimated.
        tolerance: relative, but at least some roundings. Where even `FINEST` ratios miss it, those are returned, and
            their error says so.

    Raises:
        ValueError: a number of ratios that is not a positive whole number, or a tolerance that is not positive.

    >>> rule = ratio_rule(Mixup(alpha=1.0, pairs="expected"), jnp.eye(3), jnp.tanh)
    >>> len(rule), rule.error < 1e-8
    (8, True)
    """
    check_positive("tolerance", tolerance)
    if num_ratios is not None:
        check_count("num_ratios", num_ratios)
    if law.lam is not None:
        return RatioRule(np.asarray([law.lam]), np.ones(1), 0.0)
    assert law.alpha is not None
    alpha = float(law.alpha)
    pilot = _pilot(inputs)
    if len(pilot[0]) == 0:  # one original
        return RatioRule(*theory.noise.beta_rule(alpha, num_ratios or COARSEST), 0.0)
    tolerance = max(tolerance, LEAST_TOLERANCE * float(jnp.finfo(inputs.dtype).eps))
    number = COARSEST if num_ratios is None else num_ratios
    while True:
        rule = theory.noise.beta_rule(alpha, number)
        ours = _moment(rule, pilot, features, truth)
        others = [_moment(other(alpha, number), pilot, features, truth) for other in (plain_rule, graded_rule)]
        # Where these two disagree, neither is the truth, and the distance from them may be short by as much.
        error = max(_distance(ours, other) for other in others) + _distance(*others)
        if num_ratios is not None or error <= tolerance or number >= FINEST:
            return RatioRule(*rule, error)
        number *= 2


Ratios = tuple[Float[np.ndarray, "nodes"], Float[np.ndarray, "nodes"]]


def plain_rule(alpha: float, num_ratios: int) -> Ratios:
    """Four times as many, in two pieces that meet at one of the `CUTS`; of a narrow law sixteen times."""
    if alpha >= NARROW:
        return bell_rule(alpha, 8 * num_ratios, CUTS[0])
    return asymmetric_rule(alpha, 2 * num_ratios, CUTS[0], 1)


def graded_rule(alpha: float, num_ratios: int) -> Ratios:
    """Eight times as many, in two pieces that meet at the other of the `CUTS`, crowded at the ends.

    For small alpha most of the law may lie beyond the first node of any other rule; a jump there is seen by this one.
    Of a narrow law, which has nothing at the ends, twenty-four times.
    """
    if alpha >= NARROW:
        return bell_rule(alpha, 12 * num_ratios, CUTS[1])
    return asymmetric_rule(alpha, 4 * num_ratios, CUTS[1], GRADING)


def asymmetric_rule(alpha: float, num_nodes: int, cut: float, grading: int) -> Ratios:
    """Beta(alpha, alpha) in two pieces that meet at the cut, each by so many nodes of its own.

    From an end on the law is lam^(alpha - 1) times what is smooth. In u, lam = u^grading, that is the weight
    u^(grading alpha - 1) of another Gauss-Jacobi rule.

    >>> lam, weights = asymmetric_rule(0.3, 12, 0.6, grading=1)
    >>> len(lam), round(float(weights @ lam), 12)
    (24, 0.5)
    """
    nodes, plain = scipy.special.roots_jacobi(num_nodes, 0, grading * alpha - 1)
    from_end = ((1 + nodes) / 2) ** grading
    lengths = cut, 1 - cut
    weights = np.concatenate([length**alpha * plain * (1 - length * from_end) ** (alpha - 1) for length in lengths])
    return np.concatenate([cut * from_end, 1 - (1 - cut) * from_end]), weights / weights.sum()


def bell_rule(alpha: float, num_nodes: int, cut: float) -> Ratios:
    """A narrow Beta(alpha, alpha) in two pieces that meet off its middle, by so many Gauss-Legendre nodes each.

    A rule made for the law has hardly a node in its tails; a jump there is seen by these, which are spread evenly.

    >>> lam, weights = bell_rule(1000.0, 32, 0.6)
    >>> len(lam), round(float(weights @ (lam - 0.5) ** 2 * 4 * 2001), 9)
    (64, 1.0)
    """
    width = min(0.5, BELL / (2 * np.sqrt(2 * alpha + 1)))
    edges = 0.5 + width * np.asarray([-1.0, 2 * cut - 1, 1.0])
    nodes, plain = np.polynomial.legendre.leggauss(num_nodes)
    half = np.diff(edges)[:, None] / 2
    lam = (edges[:-1, None] + half * (1 + nodes[None, :])).ravel()
    weights = (half * plain[None, :]).ravel() * np.exp((alpha - 1) * np.log(4 * lam * (1 - lam)))
    return lam, weights / weights.sum()


def _pilot(inputs: Float[Array, "samples inputs"]) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of different originals, all of them if they are few, however the sample is sorted.

    Of many, some as they come, and the longest of many more: along those features change most.
    """
    num_samples = inputs.shape[0]
    pairs = spread_evenly(CANDIDATE_PAIRS, num_samples**2)
    first, second = pairs // num_samples, pairs % num_samples
    once = first < second  # swapped, a pair is the same segment
    there = np.asarray(inputs)
    first, second = there[first[once]], there[second[once]]
    if len(first) > PILOT_PAIRS:
        some = np.arange(0, len(first), -(-len(first) // (PILOT_PAIRS - LONGEST_PAIRS)))
        longest = np.argsort(np.sum((first - second) ** 2, axis=1), kind="stable")[-LONGEST_PAIRS:]
        chosen = np.union1d(some, longest)
        first, second = first[chosen], second[chosen]
    return first, second


def _distance(ours: np.ndarray, other: np.ndarray) -> float:
    return float(np.linalg.norm(ours - other) / max(np.linalg.norm(other), np.finfo(other.dtype).tiny))


def _moment(
    rule: Ratios, pilot: tuple[np.ndarray, np.ndarray], features: FeatureMap, truth: Truth | None
) -> np.ndarray:
    """The means over the pilot pairs and the ratios, of some features if they are many."""
    first, second = pilot
    lam, weights = rule
    ratio = lam.astype(first.dtype)[:, None, None]
    inputs = jnp.asarray((ratio * first[None] + (1 - ratio) * second[None]).reshape(-1, first.shape[1]))
    phi = np.asarray(features(inputs))
    phi = phi[:, :: -(-phi.shape[1] // PILOT_FEATURES)]
    beside = [phi, np.ones((len(phi), 1)), np.repeat(lam, len(first))[:, None]]
    if truth is not None:
        # In units of its size at the originals, which has nothing to do with the ratios.
        size = np.sqrt(np.mean(np.asarray(truth(jnp.asarray(first))) ** 2))
        beside.append(np.asarray(truth(inputs)).reshape(len(phi), -1) / max(size, np.finfo(phi.dtype).tiny))
    return (np.repeat(weights / len(first), len(first))[:, None] * phi).T @ np.concatenate(beside, axis=1)
