"""Gaussian expectations of any pair of activations: Mehler's series, and quadrature where it converges too slowly.

The series runs in blocks of rows of similar length, each with as many terms as its slowest pair needs; pairs that are
too nearly collinear for it are integrated one by one. Both say what they may be missing.
"""

from functools import lru_cache
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from theory.duals.activations import Activation
from theory.duals.closed import PairMoments, Pairs
from theory.duals.hermite import (
    HALF_WIDTH,
    REFINEMENT,
    Quadrature,
    coarse_coefficients,
    expand,
    gaussian_rule,
    panels_for,
)
from theory.linalg import on_device

MAX_TERMS = 384
GROUP_ROWS = 384
"""Rows of similar length that share one number of terms; a block of so many rows and columns stays in cache."""
SUMMED_ROWS = (16, 64, 256, GROUP_ROWS)
"""How many of them are summed at once."""
TOLERANCE = 1e-14
"""Of the series and the quadrature, relative to sqrt(E s^2 E q^2)."""


class DualEstimate(NamedTuple):
    """A dual and an estimate of its error, relative to sqrt(E s^2 E q^2); zero for closed forms."""

    values: Float[np.ndarray, "rows1 rows2"]
    error: float


def series_and_quadrature(first: Activation, second: Activation, moments: PairMoments) -> DualEstimate:
    """Sums the series block by block, and integrates the pairs that it does not reach."""
    power1, covariance, power2, determinant, mean1, mean2 = (
        np.asarray(field, float)
        for field in (
            moments.power1,
            moments.covariance,
            moments.power2,
            moments.determinant,
            moments.mean1,
            moments.mean2,
        )
    )
    std1, std2 = np.sqrt(power1), np.sqrt(power2)
    side1, coarse1 = _Side.of(first, std1, mean1)
    same = second is first and np.array_equal(std1, std2) and np.array_equal(mean1, mean2)
    side2, coarse2 = (side1, coarse1) if same else _Side.of(second, std2, mean2)
    scale = std1[:, None] * std2[None, :]
    rho = np.divide(covariance, scale, out=np.zeros_like(scale), where=scale > 0)
    np.clip(rho, -1, 1, out=rho)
    sine = np.sqrt(np.divide(determinant, scale**2, out=np.ones_like(scale), where=scale > 0))
    values = np.empty_like(rho)
    worst = max(coarse1, coarse2)
    for rows in side1.groups:
        for columns in side2.groups:
            block = np.ix_(rows, columns)
            profile = side1.envelope(rows) * side2.envelope(columns)
            unseen = float(side1.unseen[rows].max() * side2.unseen[columns].max())
            reach = _reach(profile, unseen)
            rho_block = rho[block]
            longest = min(float(np.abs(rho_block).max()), reach)
            num_terms = _terms_needed(profile, unseen, longest)
            result = _summed(side1.coefficients[rows], side2.coefficients[columns], rho_block, num_terms)
            worst = max(worst, float(_tail(profile, unseen, num_terms, longest)))
            far = np.argwhere(np.abs(rho_block) > reach)
            if len(far):
                pairs = (rows[far[:, 0]], columns[far[:, 1]])
                integrals, error = _integrate(first, second, side1, side2, rho[pairs], sine[pairs], pairs)
                result[far[:, 0], far[:, 1]] = integrals
                worst = max(worst, error)
            values[block] = result
    return DualEstimate(values, worst)


class _Side(NamedTuple):
    """One of the two activations on its rows: coefficients, and rows grouped by the speed of their decay."""

    stds: Float[np.ndarray, "rows"]
    means: Float[np.ndarray, "rows"]
    coefficients: Float[np.ndarray, "rows terms"]
    norms: Float[np.ndarray, "rows"]
    unseen: Float[np.ndarray, "rows"]
    half_width: float
    groups: list[np.ndarray]

    @staticmethod
    def of(function: Activation, stds: np.ndarray, means: np.ndarray) -> tuple["_Side", float]:
        """The side, and the error of its coefficients: what no panel resolves, and what a coarser rule finds."""
        try:
            hash(function)
        except TypeError:  # a callable that holds arrays has none
            return _Side.expanded(function, stds, means)
        return _known_side(function, stds.tobytes(), means.tobytes(), jnp.result_type(float))

    @staticmethod
    def expanded(function: Activation, stds: np.ndarray, means: np.ndarray) -> tuple["_Side", float]:
        found = expand(function, stds, means, MAX_TERMS)
        check = coarse_coefficients(function, stds, means, MAX_TERMS)
        coefficients, norms = found.coefficients, found.norms
        unseen = 1 - (np.linalg.norm(coefficients, axis=1) / norms) ** 2
        unseen = np.sqrt(np.where(unseen > _UNSEEN_ROUNDING, unseen, 0))
        errors = np.maximum(np.linalg.norm(coefficients - check, axis=1) / norms, found.error)
        order = np.argsort(stds, kind="stable")
        groups = np.array_split(order, -(-len(order) // GROUP_ROWS))
        return _Side(stds, means, coefficients, norms, unseen, found.half_width, groups), float(errors.max(initial=0.0))

    def envelope(self, rows: np.ndarray) -> Float[np.ndarray, "terms"]:
        """The largest coefficient of each order, relative to its row's norm; never below rounding."""
        return np.max(np.abs(self.coefficients[rows]) / self.norms[rows, None], axis=0)


@lru_cache(maxsize=2)
def _known_side(function: Activation, stds: bytes, means: bytes, _precision: np.dtype) -> tuple[_Side, float]:
    """Features beside a truth, a truth at many ratios: the same rows are asked for again and again."""
    return _Side.expanded(function, np.frombuffer(stds), np.frombuffer(means))


_UNSEEN_ROUNDING = 1e-13
"""A share of E s^2 below it is not told from rounding."""

_WINDOW = 16
"""Coefficients vanish by parity or by chance; the decay is read off the largest of so many."""


def _tail(profile: Float[np.ndarray, "terms"], unseen: float, num_terms: int, rho: float | np.ndarray) -> np.ndarray:
    """An estimate of what the terms from `num_terms` on add up to.

    By Cauchy and Schwarz those past the last one computed are at most rho^last times `unseen`, the root of the product
    of the two activations' shares of power that no coefficient has seen; that catches what oscillates too fast for all.
    """
    rho = np.asarray(rho, float)
    last = len(profile)
    powers = rho[..., None] ** np.arange(num_terms, last)
    computed = np.sum(profile[num_terms:] * powers, axis=-1)
    beyond = np.max(profile[-_WINDOW:]) * rho**last * np.minimum(1 / np.maximum(1 - rho, 1e-300), last)
    return np.asarray(computed + np.maximum(beyond, unseen * rho**last))


def _reach(profile: Float[np.ndarray, "terms"], unseen: float) -> float:
    """The largest |rho| up to which all terms suffice."""
    candidates = 1 - np.geomspace(1e-6, 1, 200)
    candidates = np.concatenate([[1.0], candidates])
    fits = _tail(profile, unseen, len(profile) - 1, candidates) <= TOLERANCE
    return float(candidates[np.argmax(fits)]) if fits.any() else 0.0


def _terms_needed(profile: Float[np.ndarray, "terms"], unseen: float, rho: float) -> int:
    """The fewest terms whose tail stays below the tolerance."""
    terms = profile * rho ** np.arange(len(profile))
    beyond = _tail(profile, unseen, len(profile) - 1, rho)
    tails = np.cumsum(terms[::-1])[::-1] + beyond
    enough = tails <= TOLERANCE
    return max(1, int(np.argmax(enough))) if enough.any() else len(profile)


def _summed(
    first: Float[np.ndarray, "rows terms"],
    second: Float[np.ndarray, "columns terms"],
    rho: Float[np.ndarray, "rows columns"],
    num_terms: int,
) -> Float[np.ndarray, "rows columns"]:
    """sum_k a_k(i) b_k(j) rho_ij^k over the first terms; filled up with zeros to few shapes, so few compilations."""
    missing = tuple(min(size for size in SUMMED_ROWS if size >= number) - number for number in rho.shape)
    terms = (np.pad(side, ((0, more), (0, 0))).T for side, more in zip((first, second), missing, strict=True))
    padded = np.pad(rho, tuple((0, more) for more in missing))
    found = _horner(*map(on_device, (*terms, padded)), on_device(num_terms))
    return np.array(np.asarray(found)[: rho.shape[0], : rho.shape[1]])


@jax.jit
def _horner(
    first: Float[Array, "terms rows"], second: Float[Array, "terms columns"], rho: Pairs, num_terms: Array
) -> Pairs:
    def add_term(step: Array, total: Array) -> Array:
        k = num_terms - 1 - step
        return total * rho + first[k][:, None] * second[k][None, :]

    return jax.lax.fori_loop(0, num_terms, add_term, jnp.zeros_like(rho))


INNER_HALF_WIDTH = 8.6
"""Of the inner variable: past it a Gaussian is below rounding; what grows reaches farther, by its share in that."""
HALVINGS = 40
"""Of the panels next to zero, where both have a kink or a jump: the inner integral turns there within sin(angle)."""
OUTER_NODES, INNER_NODES, PAIRS = 256, 16, 32
"""How many are summed at a time; together they stay in cache."""
LONGEST_INNER = 2**10
"""Inner rules are filled up to it, and longer ones to powers of two."""


def _integrate(
    first: Activation,
    second: Activation,
    side1: _Side,
    side2: _Side,
    rho: Float[np.ndarray, "pairs"],
    spread: Float[np.ndarray, "pairs"],
    pairs: tuple[np.ndarray, np.ndarray],
) -> tuple[Float[np.ndarray, "pairs"], float]:
    """E[s(u) E[q(v) | u]] pair by pair, and the largest error relative to the norms, as a coarser rule finds it.

    Given u, v is normal and narrow when the pair is nearly collinear, so the inner rule is short. The outer variable is
    that of the rougher function, whose kink at zero the outer rule allows for.
    """
    if side2.envelope(pairs[1])[-_WINDOW:].max() > side1.envelope(pairs[0])[-_WINDOW:].max():
        first, second, side1, side2, pairs = second, first, side2, side1, pairs[::-1]
    rows, columns = pairs
    described = np.stack([side1.stds[rows], side1.means[rows], side2.stds[columns], side2.means[columns], rho, spread])
    reach = max(side1.half_width, side2.half_width)
    inner_reach = INNER_HALF_WIDTH + float(spread.max()) * (side2.half_width - HALF_WIDTH)
    needed = _inner_points(side2.stds[columns] * spread, inner_reach)
    num_panels = panels_for(float(max(side1.stds.max(), side2.stds.max())), _WINDOW, reach)
    both_rough = min(side.envelope(where)[-_WINDOW:].max() for side, where in ((side1, rows), (side2, columns)))
    halvings = HALVINGS if both_rough > TOLERANCE else 0
    # On a jump two rules may agree by chance.
    fineness = (REFINEMENT, 1.0, 1.15, 1.3) if halvings else (REFINEMENT, 1.0)
    found = np.empty((len(fineness), len(rho)))
    for num_inner in np.unique(needed):
        chosen = np.flatnonzero(needed == num_inner)
        for target, refinement in zip(found, fineness, strict=True):
            outer = np.stack(gaussian_rule(int(refinement * num_panels), reach, halvings=halvings))
            inner = np.stack(_trapezoid(int(refinement * num_inner), inner_reach))
            target[chosen] = _nested(first, second, outer, inner, described[:, chosen])
    scale = side1.norms[rows] * side2.norms[columns]
    return found[0], float(np.max(np.ptp(found, axis=0) / scale))


def _inner_points(width: Float[np.ndarray, "pairs"], reach: float) -> np.ndarray:
    """24 points integrate a Gaussian alone to rounding; a function with poles at i pi / 2 needs 60 a unit of width."""
    return 2 ** np.ceil(np.log2(np.maximum(24, 60 * width) * reach / INNER_HALF_WIDTH)).astype(int)


def _trapezoid(num_points: int, half_width: float) -> Quadrature:
    nodes = np.linspace(-half_width, half_width, num_points)
    return nodes, np.exp(-(nodes**2) / 2) / np.sqrt(2 * np.pi) * (nodes[1] - nodes[0])


def _nested(
    first: Activation,
    second: Activation,
    outer: Float[np.ndarray, "2 outer"],
    inner: Float[np.ndarray, "2 inner"],
    pairs: Float[np.ndarray, "6 pairs"],
) -> Float[np.ndarray, "pairs"]:
    """The sums over both rules, in pieces of one size, of which the last are filled up: compiled once for all."""
    outer_pieces = _in_pieces(outer, OUTER_NODES)
    # No piece is left out of a sum over the inner ones; what fills the last has no weight.
    number = inner.shape[1]
    length = max(LONGEST_INNER, 2 ** int(np.ceil(np.log2(number))))
    inner_nodes = on_device(np.pad(inner, ((0, 0), (0, length - number))))
    num_inner = on_device(-(-number // INNER_NODES))
    totals = [
        sum(np.asarray(_piece(first, second, nodes, inner_nodes, num_inner, some)) for nodes in outer_pieces)
        for some in _in_pieces(pairs, PAIRS)
    ]
    return np.concatenate(totals)[: pairs.shape[1]]


def _in_pieces(columns: Float[np.ndarray, "rows columns"], length: int) -> list[Float[Array, "rows length"]]:
    """Columns, so many at a time; the last are filled up with zeros."""
    filled = np.pad(columns, ((0, 0), (0, -columns.shape[1] % length)))
    return [on_device(filled[:, start : start + length]) for start in range(0, filled.shape[1], length)]


@eqx.filter_jit
def _piece(
    first: Activation,
    second: Activation,
    outer: Float[Array, "2 outer"],
    inner: Float[Array, "2 inner"],
    num_inner: Int[Array, ""],
    pairs: Float[Array, "6 pairs"],
) -> Float[Array, "pairs"]:
    outer_nodes, outer_roots = outer
    std1, mean1, std2, mean2, rho, spread = pairs
    outer_values = first(std1[:, None] * outer_nodes[None, :] + mean1[:, None])
    common = (std2 * rho)[:, None] * outer_nodes[None, :] + mean2[:, None]

    def add(piece: Array, total: Array) -> Array:
        nodes, weights = jax.lax.dynamic_slice_in_dim(inner, piece * INNER_NODES, INNER_NODES, axis=1)
        own = (std2 * spread)[:, None] * nodes[None, :]
        return total + second(common[:, :, None] + own[:, None, :]) @ weights

    inner_values = jax.lax.fori_loop(0, num_inner, add, jnp.zeros_like(common))
    return (outer_values * outer_roots[None, :] * inner_values) @ outer_roots
