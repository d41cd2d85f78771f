"""Mixup's ratio lam: fixed, or drawn from Beta(alpha, alpha); and its law as a handful of weighted ratios.

Over lam ~ Beta(alpha, alpha), n nodes of Gauss-Jacobi quadrature integrate polynomials of degree 2 n - 1 exactly. How
large its error is for other functions, quadratures must tell that share nothing with it: rules of 4 and 8 nodes are
both symmetric about 1/2, and may integrate the jumps of a few pairs alike and wrongly. So each law brings its draws,
its nodes, and two finer sets that these are held against: Gauss-Jacobi on two pieces that meet off the middle.
"""

import functools
from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
from jaxtyping import Array, Float, PRNGKeyArray

import theory
from theory.checks import check_alpha, check_share, described, is_traced

Nodes = tuple[Float[np.ndarray, "nodes"], Float[np.ndarray, "nodes"]]
"""Ratios, and weights of sum one."""

CUTS = (0.6180339887498949, 0.2360679774997897)
GRADING = 4
"""Where the pieces of the nodes meet that errors are estimated by: nowhere near a simple fraction, nor each other. And
the power by which the nodes of one of them crowd at the ends."""
MIRRORED = 1e-14
"""Nodes are mirror images to a few roundings; a fixed ratio that is only near 1/2 is not."""
NARROW, BELL = 20.0, 9.0
"""From this alpha on the law is a narrow bell, whose tails end for all purposes at so many standard deviations."""


class RatioQuadrature(eqx.Module):
    """Ratios and the probabilities that stand for their law.

    Attributes:
        lam: ascending, in [0, 1].
        label_lam: those of the labels beside them.
        weights: of sum one.
        error: relative, of the means of phi phiᵀ, phi, lam phi and f phi over some pairs: the distance from two other
            rules of four and of eight times as many ratios, and that between them; 0 for a fixed one. (Covariances of
            batches are of the fourth order in phi, and less exact.)
    """

    lam: Float[np.ndarray, "ratios"]
    label_lam: Float[np.ndarray, "ratios"]
    weights: Float[np.ndarray, "ratios"]
    error: float

    @staticmethod
    def of(nodes: Nodes, label_ratio: "Ratio | None", error: float) -> "RatioQuadrature":
        """Nodes, and beside each those of the labels' own ratio: two, since squares of labels are all that is asked.

        >>> both = RatioQuadrature.of(FixedRatio(0.3).nodes(4), BetaRatio(1.0), 0.0)
        >>> both.lam.tolist(), both.label_lam.round(3).tolist()
        ([0.3, 0.3], [0.211, 0.789])
        """
        lam, weights = nodes
        if label_ratio is None:
            return RatioQuadrature(lam, lam, weights, error)
        beside, chances = label_ratio.nodes(2)
        repeated = np.repeat(lam, len(beside)), np.tile(beside, len(lam))
        return RatioQuadrature(*repeated, np.outer(weights, chances).ravel(), error)

    @property
    def is_symmetric(self) -> bool:
        """Whether swapping the two of a pair, lam -> 1 - lam, changes nothing."""
        swapped = self.lam + self.lam[::-1] - 1, self.label_lam + self.label_lam[::-1] - 1
        mirrored = np.concatenate([*swapped, self.weights - self.weights[::-1]])
        return bool(np.max(np.abs(mirrored)) < MIRRORED)

    def __len__(self) -> int:
        return len(self.lam)


class Ratio(eqx.Module):
    """The law of lam."""

    @property
    @abstractmethod
    def is_random(self) -> bool:
        """Whether it is drawn."""

    @property
    @abstractmethod
    def mean_same(self) -> float:
        """E (lam^2 + (1 - lam)^2) = 1 - 2 E lam (1 - lam): what mixing leaves of a second moment about the mean."""

    @abstractmethod
    def draw(self, key: PRNGKeyArray, shape: tuple[int, ...], dtype: Any) -> Float[Array, "*shape"]:
        """Independent ratios."""

    @abstractmethod
    def nodes(self, number: int) -> Nodes:
        """About so many ratios that stand for the law."""

    @abstractmethod
    def finer_nodes(self, number: int) -> tuple[Nodes, ...]:
        """Two finer sets, which share nothing with `nodes` nor with each other; none where `nodes` are exact."""


class FixedRatio(Ratio):
    """The same ratio for all rows."""

    lam: float | Float[Array, ""] = eqx.field(converter=functools.partial(check_share, "lam"))

    @property
    def is_random(self) -> bool:
        return False

    @property
    def mean_same(self) -> float:
        return float(self.lam**2 + (1 - self.lam) ** 2)

    def draw(self, key: PRNGKeyArray, shape: tuple[int, ...], dtype: Any) -> Float[Array, "*shape"]:
        return jnp.full(shape, jnp.asarray(self.lam, dtype))

    def nodes(self, number: int) -> Nodes:
        return np.asarray([self.lam]), np.ones(1)

    def finer_nodes(self, number: int) -> tuple[Nodes, ...]:
        return ()

    def __str__(self) -> str:
        return f"lam={written(self.lam)}"


class BetaRatio(Ratio):
    """Lam ~ Beta(alpha, alpha)."""

    alpha: float | Float[Array, ""] = eqx.field(converter=functools.partial(check_alpha, "alpha"))

    @property
    def is_random(self) -> bool:
        return True

    @property
    def mean_same(self) -> float:
        return float((self.alpha + 1) / (2 * self.alpha + 1))

    def draw(self, key: PRNGKeyArray, shape: tuple[int, ...], dtype: Any) -> Float[Array, "*shape"]:
        if not is_traced(self.alpha) and self.alpha == 1:  # draws of a Beta distribution are a hundred times slower
            return jax.random.uniform(key, shape, dtype)
        return jax.random.beta(key, self.alpha, self.alpha, shape, dtype)

    def nodes(self, number: int) -> Nodes:
        return theory.noise.beta_quadrature(float(self.alpha), number)

    def finer_nodes(self, number: int) -> tuple[Nodes, ...]:
        """Four and eight times as many in two pieces that meet off the middle, those of the second crowded at the ends.

        For small alpha most of the law may lie beyond the first node of any other; a jump there is seen by the second.
        Of a narrow law, which has nothing at the ends, sixteen and twenty-four times.
        """
        alpha = float(self.alpha)
        if alpha >= NARROW:
            return bell_nodes(alpha, 8 * number, CUTS[0]), bell_nodes(alpha, 12 * number, CUTS[1])
        return asymmetric_nodes(alpha, 2 * number, CUTS[0], 1), asymmetric_nodes(alpha, 4 * number, CUTS[1], GRADING)

    def __str__(self) -> str:
        return f"alpha={written(self.alpha)}"


def written(number: float | Array) -> str:
    """A number as the name of a law says it."""
    return described(number) if is_traced(number) else f"{number:g}"


def asymmetric_nodes(alpha: float, num_nodes: int, cut: float, grading: int) -> Nodes:
    """Beta(alpha, alpha) in two pieces that meet at the cut, each by so many nodes of its own.

    From an end on the law is lam^(alpha - 1) times what is smooth. In u, lam = u^grading, that is the weight
    u^(grading alpha - 1) of another Gauss-Jacobi rule.

    >>> lam, weights = asymmetric_nodes(0.3, 12, 0.6, grading=1)
    >>> len(lam), round(float(weights @ lam), 12)
    (24, 0.5)
    """
    nodes, plain = scipy.special.roots_jacobi(num_nodes, 0, grading * alpha - 1)
    from_end = ((1 + nodes) / 2) ** grading
    lengths = cut, 1 - cut
    weights = np.concatenate([length**alpha * plain * (1 - length * from_end) ** (alpha - 1) for length in lengths])
    return np.concatenate([cut * from_end, 1 - (1 - cut) * from_end]), weights / weights.sum()


def bell_nodes(alpha: float, num_nodes: int, cut: float) -> Nodes:
    """A narrow Beta(alpha, alpha) in two pieces that meet off its middle, by so many Gauss-Legendre nodes each.

    A rule made for the law has hardly a node in its tails; a jump there is seen by these, which are spread evenly.

    >>> lam, weights = bell_nodes(1000.0, 32, 0.6)
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
