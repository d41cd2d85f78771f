"""What batches are drawn from, as it comes: block by block, pairs of any law, or the pairs of one original at a time.

Independent pairs may come in any order, and weigh what they like. A batch that is mixed with itself asks which pairs
share an original: its pairs come in stars, and a star is all that one original is part of. So whatever is asked of an
original is found in one block, of a couple of originals in one block, and no block needs to be kept.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Array, Float, Int

from theory.batches.sampling import Batches

Weights = Array | np.ndarray
Block = (
    tuple[Float[Array, "pairs nodes features"], Float[Array, "pairs nodes targets"]]
    | tuple[Float[Array, "pairs nodes features"], Float[Array, "pairs nodes targets"], Float[Weights, "pairs"]]
)
Weighted = tuple[Array, Array, np.ndarray]
"""Features and labels of pairs, and the weights of these, or of a star's couples."""


def weighted(blocks: Iterable[Block], law: Batches, num_pairs: int | None = None) -> Iterator[Weighted]:
    """Blocks of independent or distinct pairs, each with its weights, which are 1 where none came.

    Where the blocks are only some of the pairs, ``num_pairs`` says how many there are.

    Raises:
        ValueError: weights that are negative, not finite, or not one a pair; all of them zero; distinct pairs of
            different weights; fewer pairs than a batch needs.
    """
    found, total, first = 0, 0.0, None
    for features, labels, *rest in blocks:
        weights = np.asarray(rest[0]) if rest else np.ones(len(features), features.dtype)
        if weights.shape != features.shape[:1] or not np.all(weights >= 0) or not np.all(np.isfinite(weights)):
            raise ValueError(
                "blocks: their weights must be one finite number a pair that is not negative; pass (features, labels), "
                "or (features, labels, weights) with as many weights as pairs"
            )
        first = weights[:1] if first is None else first
        if not law.replacement and np.any(weights != first):
            raise ValueError(
                "blocks: their pairs weigh differently, so distinct ones of them have no closed form; pass a law with "
                "replacement=True, or pairs without weights"
            )
        found, total = found + len(weights), total + float(np.sum(weights))
        yield features, labels, weights
    law.check_drawn_from(found if num_pairs is None or found == 0 else num_pairs)
    if total == 0:
        raise ValueError("blocks: all of their pairs have the weight zero, so none is drawn; pass positive weights")


def in_stars(blocks: Iterable[Block], law: Batches, num_pairs: int | None = None) -> Iterator[Weighted]:
    """Blocks that are the stars of a batch's originals, with the weights of their couples.

    Where they are the stars of only some originals, ``num_pairs`` says how many pairs there are of all.

    Raises:
        ValueError: blocks that are no stars, or have weights; fewer originals than a batch needs.
    """
    found, expected = 0, 0
    for features, labels, *rest in blocks:
        if rest:
            raise ValueError(
                f"blocks: have weights, but batches of partners={law.partners!r} draw all originals alike; pass "
                "(features, labels)"
            )
        expected = expected or len(features) // 2
        if len(features) != 2 * expected:
            raise ValueError(_no_stars(f"one has {len(features)} pairs, another {2 * expected}", law))
        if found == 0:
            law.check_drawn_from(expected**2 if num_pairs is None else num_pairs)
        found += 1
        yield features, labels, couples_of(expected)
    if found == 0:
        law.check_drawn_from(0)
    if found != expected:
        raise ValueError(_no_stars(f"there are {found}, of {2 * expected} pairs each", law))


def _no_stars(why: str, law: Batches) -> str:
    return (
        f"blocks: {why}; batches of partners={law.partners!r} ask for one block an original, n in all, of the 2 n "
        "pairs that theory.batches.stars(n) lists"
    )


def stars(num_originals: int) -> Iterator[Int[np.ndarray, "pairs"]]:
    """The pairs that each original is part of, as a law asks for them that mixes batches with themselves.

    A pair (i, j) is the number i n + j. The star of j has the pairs (j, l) and (l, j) in turn, of l = j, j + 1, ..
    modulo n. So half of the circle, up to l = j + n / 2, has each couple of two once.

    >>> [star.tolist() for star in stars(2)]  # (0, 0) twice, (0, 1), (1, 0); (1, 1) twice, (1, 0), (0, 1)
    [[0, 0, 1, 2], [3, 3, 2, 1]]
    """
    for j in range(num_originals):
        others = (j + np.arange(num_originals)) % num_originals
        yield np.stack([j * num_originals + others, others * num_originals + j], axis=1).ravel()


def couples_of(num_originals: int) -> Float[np.ndarray, "couples"]:
    """What the couples of half a star weigh in a mean over all of them: those half way round come twice.

    >>> couples_of(4).round(6).tolist()  # times 4 stars: 1
    [0.166667, 0.083333]
    """
    weights = np.ones(num_originals // 2)
    if num_originals % 2 == 0:
        weights[-1] = 0.5
    return weights * 2 / max(num_originals * (num_originals - 1), 1)
