"""Which rows are trained on and which are held out, in every part of one's own data.

At random, class by class; with rows that belong together kept together; in the order of time, never trained on what
comes later; or as somebody has fixed it. However they are chosen, no part both trains on a row and holds it out.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Int, PRNGKeyArray

from theory.checks import check_count, described
from theory.views import counted

NEVER_HELD_OUT, TRAIN = -1, "train"
"""The fold, as scikit-learn has it, of rows that are in all training parts; and where folds are words."""
FEWEST = 2
"""Rows to train on."""


class Rows(NamedTuple):
    """Indices of the rows of one part: those to train on and those held out, each ascending."""

    train: Int[np.ndarray, "train"]
    held_out: Int[np.ndarray, "held_out"]

    def thinned(
        self,
        share: float,
        classes: Int[np.ndarray, "rows"] | None,
        groups: Int[np.ndarray, "rows"] | None,
        key: PRNGKeyArray,
    ) -> "Rows":
        """With a random share of the rows to train on; a smaller share is part of a larger one.

        Of whole groups, where rows are in some; else of every class alike.

        >>> rows = Rows(np.arange(8), np.asarray([8]))
        >>> shares = (0.5, 1.0)
        >>> half, all_of_them = (rows.thinned(share, np.arange(9) % 2, None, jax.random.key(0)) for share in shares)
        >>> np.sort(half.train % 2).tolist(), all_of_them.train.tolist()
        ([0, 0, 1, 1], [0, 1, 2, 3, 4, 5, 6, 7])
        >>> rows.thinned(0.5, None, np.arange(9) // 4, jax.random.key(0)).train.tolist()
        [0, 1, 2, 3]
        """
        if groups is not None:
            order = np.asarray(jax.random.permutation(key, np.unique(groups[self.train])))
            return Rows(self.train[np.isin(groups[self.train], order[: round(share * len(order))])], self.held_out)
        shuffled = np.asarray(jax.random.permutation(key, self.train))
        if classes is not None:
            place = np.empty(len(shuffled))
            for name in np.unique(classes[shuffled]):
                there = np.flatnonzero(classes[shuffled] == name)
                place[there] = (np.arange(len(there)) + 0.5) / len(there)
            shuffled = shuffled[np.argsort(place, kind="stable")]
        return Rows(np.sort(shuffled[: round(share * len(shuffled))]), self.held_out)


class Ways(NamedTuple):
    """The ways to choose parts; the first of these that is given counts, and `num_folds` where none is.

    Attributes:
        num_folds: K random folds, each class dealt out to all of them.
        num_held_out: so many random rows, once.
        folds: the fold of each row; -1 for those that are never held out.
        groups: what each row belongs to, such as a patient: K folds of whole groups.
        order: when each row was taken: K + 1 blocks in that order, each but the first held out from all before it.
        splits: pairs of indices (to train on, held out), such as a splitter of scikit-learn gives.
    """

    num_folds: int = 5
    num_held_out: int | None = None
    folds: ArrayLike | None = None
    groups: ArrayLike | None = None
    order: ArrayLike | None = None
    splits: Iterable[tuple[Any, Any]] | None = None

    def parts(self, num_rows: int, classes: Int[np.ndarray, "rows"] | None, key: PRNGKeyArray) -> list[Rows]:
        """The rows of each part; two at least are left to train on, of every class one.

        >>> Ways(order=[3, 1, 1, 2, 5, 4], num_folds=2).parts(6, None, jax.random.key(0))[0].held_out.tolist()
        [0, 3]
        """
        given = [
            name for name in ("num_held_out", "folds", "groups", "order", "splits") if getattr(self, name) is not None
        ]
        if len(given) > 1:
            raise ValueError(f"{', '.join(given)}: each says which rows are held out; pass one of them")
        way = given[0] if given else "num_folds"
        parts = getattr(self, f"_by_{way}")(num_rows, classes, key)
        _check(way, parts, num_rows)
        if classes is not None:
            _check_classes(way, parts, classes)
        return parts

    def rows_of_an_epoch(self, parts: list[Rows], num_rows: int) -> int:
        """How many rows one trains on in the end: all, but where some are held out for good."""
        for_good = len(parts) == 1 and self.num_held_out is None and self.order is None
        return len(parts[0].train) if for_good else num_rows

    def _by_num_folds(self, num_rows: int, classes: np.ndarray | None, key: PRNGKeyArray) -> list[Rows]:
        check_count("num_folds", self.num_folds, least=2)
        shuffled = np.asarray(jax.random.permutation(key, num_rows))
        if classes is not None:
            shuffled = shuffled[np.argsort(classes[shuffled], kind="stable")]
        dealt = np.empty(num_rows, int)
        dealt[shuffled] = np.arange(num_rows) % self.num_folds
        return [_without(num_rows, np.flatnonzero(dealt == fold)) for fold in range(self.num_folds)]

    def _by_num_held_out(self, num_rows: int, classes: np.ndarray | None, key: PRNGKeyArray) -> list[Rows]:
        number = self.num_held_out or 0
        check_count("num_held_out", number, least=2)
        return [_without(num_rows, np.sort(np.asarray(jax.random.permutation(key, num_rows))[:number]))]

    def _by_folds(self, num_rows: int, classes: np.ndarray | None, key: PRNGKeyArray) -> list[Rows]:
        fold_of_row = _one_a_row("folds", self.folds, num_rows, ", or -1 for rows that are never held out")
        never = (str(NEVER_HELD_OUT), TRAIN) if fold_of_row.dtype.kind in "OUS" else (NEVER_HELD_OUT,)
        names = [fold for fold in np.unique(fold_of_row) if fold not in never]
        if not names:
            raise ValueError(
                "folds: all are -1, so that no row is ever held out; pass the fold of each row that may be"
            )
        parts = [_without(num_rows, np.flatnonzero(fold_of_row == name)) for name in names]
        if len(parts) == 1 and not len(parts[0].train):
            raise ValueError(
                "folds: all rows are in one; pass two folds or more, or -1 for rows that are never held out"
            )
        return parts

    def _by_groups(self, num_rows: int, classes: np.ndarray | None, key: PRNGKeyArray) -> list[Rows]:
        from sklearn.model_selection import GroupKFold

        check_count("num_folds", self.num_folds, least=2)
        groups = _one_a_row("groups", self.groups, num_rows)
        if (found := len(np.unique(groups))) < self.num_folds:
            raise ValueError(f"groups: there are {found} for {self.num_folds} folds; pass fewer folds (num_folds)")
        seed = int(jax.random.randint(key, (), 0, 2**31 - 1))
        split = GroupKFold(self.num_folds, shuffle=True, random_state=seed).split(np.zeros(num_rows), groups=groups)
        return [Rows(train, held_out) for train, held_out in split]

    def _by_order(self, num_rows: int, classes: np.ndarray | None, key: PRNGKeyArray) -> list[Rows]:
        check_count("num_folds", self.num_folds, least=1)
        taken = _one_a_row("order", self.order, num_rows)
        if words := [value for value in taken.tolist() if isinstance(value, str)]:
            raise ValueError(
                f"order: holds text, such as {words[0]!r}, which tells no earlier from later; pass numbers or dates"
            )
        moments, moment = np.unique(taken, return_inverse=True)
        if len(moments) <= self.num_folds:
            raise ValueError(
                f"order: there are {len(moments)} different times for {self.num_folds} folds, each held out from the "
                "times before it; pass fewer folds (num_folds)"
            )
        block = np.searchsorted(_cuts(np.bincount(moment), self.num_folds), moment)
        return [
            Rows(np.flatnonzero(block < index), np.flatnonzero(block == index))
            for index in range(1, self.num_folds + 1)
        ]

    def _by_splits(self, num_rows: int, classes: np.ndarray | None, key: PRNGKeyArray) -> list[Rows]:
        parts = [Rows(*(_indices(side, num_rows) for side in pair)) for pair in _pairs(self.splits)]
        if not parts:
            raise ValueError("splits: there is none; pass pairs (rows to train on, rows held out)")
        for index, part in enumerate(parts):
            if len(both := np.intersect1d(part.train, part.held_out)):
                raise ValueError(
                    f"splits: part {index} both trains on row {both[0]} and holds it out; leave it out of one"
                )
        held_out = np.concatenate([part.held_out for part in parts])
        rows, times = np.unique(held_out, return_counts=True)
        if np.max(times, initial=0) > 1:
            raise ValueError(
                f"splits: row {rows[np.argmax(times)]} is held out {times.max()} times, so that its errors would count "
                "as so many rows'; hold out each row once at most"
            )
        return parts


def _cuts(rows_of_moment: Int[np.ndarray, "moments"], number: int) -> Int[np.ndarray, "cuts"]:
    """The last moment of each block but the last one: about as many rows in each block, a moment in one block only.

    >>> _cuts(np.asarray([4, 1, 1, 1, 1]), 2).tolist()
    [0, 2]
    """
    ends, index = np.cumsum(rows_of_moment), np.arange(number)
    wanted = np.searchsorted(ends, ends[-1] * (index + 1) / (number + 1))
    ascending = np.maximum.accumulate(wanted - index) + index
    return np.minimum(ascending, len(ends) - 1 - number + index)


def _without(num_rows: int, held_out: np.ndarray) -> Rows:
    return Rows(np.setdiff1d(np.arange(num_rows), held_out), held_out)


def _one_a_row(name: str, values: Any, num_rows: int, remedy: str = "") -> np.ndarray:
    found = np.asarray(values)
    if found.shape != (num_rows,):
        raise ValueError(f"{name}: has shape {found.shape}; pass one a row, shape ({num_rows},)")
    missing = np.flatnonzero([value is None or value != value for value in found.tolist()])  # NaN differs from itself
    if len(missing):
        raise ValueError(
            f"{name}: row {missing[0]} has none ({len(missing)} rows in all are missing theirs); pass that of every "
            f"row{remedy}"
        )
    return found


def _pairs(splits: Any) -> list[tuple[Any, Any]]:
    try:
        return [(train, held_out) for train, held_out in splits]
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"splits: must be pairs (rows to train on, rows held out), got {described(splits)}; pass such as "
            "KFold(5).split(x) of scikit-learn gives"
        ) from error


def _indices(rows: Any, num_rows: int) -> np.ndarray:
    """Ascending, each once."""
    found = np.asarray(rows)
    if found.ndim != 1 or not (np.issubdtype(found.dtype, np.integer) or found.dtype == bool):
        raise ValueError(f"splits: must be indices of rows, got {described(rows)}; pass whole numbers")
    if found.dtype == bool:
        if len(found) != num_rows:
            raise ValueError(f"splits: a mask has {len(found)} entries for {num_rows} rows; pass one a row")
        found = np.flatnonzero(found)
    if len(wrong := found[(found < 0) | (found >= num_rows)]):
        raise ValueError(f"splits: there is no row {wrong[0]} among {num_rows}; rows are counted from 0")
    return np.unique(found)


def _check(way: str, parts: list[Rows], num_rows: int) -> None:
    if min(len(part.train) for part in parts) < FEWEST or min(len(part.held_out) for part in parts) < 1:
        what = f"{parts and len(parts[0].held_out)} rows held out" if way == "num_held_out" else f"{len(parts)} folds"
        raise ValueError(
            f"{way}: {what} of {num_rows} rows ask for too many; each part needs a row, and two others to train on"
        )
    if len(parts) == 1:
        check_count(f"{way} (rows of the only part that is held out)", len(parts[0].held_out), least=2)


def _check_classes(way: str, parts: list[Rows], classes: Int[np.ndarray, "rows"]) -> None:
    everywhere = np.unique(classes)
    for index, part in enumerate(parts):
        if len(missing := np.setdiff1d(everywhere, classes[part.train])):
            rows = counted(int(np.sum(classes == missing[0])), "row")
            raise ValueError(
                f"{way}: part {index} trains on no row of class {missing[0]}, which has {rows} in all; drop that "
                "class, join it with another, or hold out other rows"
            )


def check_subsets(subsets: list[list[Rows]], classes: Int[np.ndarray, "rows"] | None) -> None:
    """Raises ValueError for subsets of the parts, in ascending order, of which two are alike or too small."""
    sizes = [min(len(part.train) for part in parts) for parts in subsets]
    if sizes[0] < FEWEST or len(set(sizes)) < len(sizes):
        what = "the smallest is too small" if sizes[0] < FEWEST else "two are the same"
        raise ValueError(
            f"shares: leave {', '.join(map(str, sizes))} rows to train on, and {what}; pass others, or more rows"
        )
    if classes is not None:
        _check_classes("shares", subsets[0], classes)
