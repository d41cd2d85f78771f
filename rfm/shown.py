"""What each kind of problem, and its solution, has to show: a title and some facts. The records only hold fields.

Nothing here is decomposed, drawn or mixed: what is said is read off what is there.
"""

import math
from typing import Any

import jax
import numpy as np

from rfm.mixup.pairing import PairTable
from theory import Averages
from theory.views import Facts, Shown, are_known, counted, extent, number


class SolvableView(Shown):
    """Of any problem."""

    def _facts(self) -> Facts | None:
        known: Any = self
        leaves = jax.tree.leaves(known.population)
        if not isinstance(known.population, Averages) or not leaves or not are_known(*leaves, *self._read()):
            return None
        power = known.population.target_power_by_target
        return Facts(
            f"{type(self).__name__}: {self._sizes()}, {counted(power.shape[0], 'target')}, {power.dtype}",
            self._rows(),
            {"risk over": known.population.in_words},
        )

    def _read(self) -> tuple[object, ...]:
        """The arrays that are looked at, beside those of the population."""
        return ()

    def _sizes(self) -> str:
        known: Any = self
        return counted(known.population.num_features, "feature")

    def _rows(self) -> dict[str, str]:
        """What is said of what is trained on."""
        return {}


class ProblemView(SolvableView):
    """Of one with all of its rows."""

    def _read(self) -> tuple[object, ...]:
        known: Any = self
        return known.features, known.labels

    def _sizes(self) -> str:
        known: Any = self
        rows, columns = known.features.shape
        return f"{counted(rows, 'row')} of {counted(columns, 'feature')}"

    def _rows(self) -> dict[str, str]:
        known: Any = self
        return {"mixing": _mixing(known.mixing), "clean labels": _known(known.clean_labels)}


class StreamedView(SolvableView):
    """Of one whose rows are never all held."""

    def _rows(self) -> dict[str, str]:
        return {"rows": "made block by block, whenever they are needed"}


class KernelView(SolvableView):
    """Of one in infinitely many features."""

    def _read(self) -> tuple[object, ...]:
        known: Any = self
        return (known.finite.features,)

    def _sizes(self) -> str:
        known: Any = self
        return f"{counted(len(known.finite.features), 'row')} of infinitely many features"

    def _rows(self) -> dict[str, str]:
        known: Any = self
        return {"clean labels": _known(known.finite.clean_labels)}


class ExpectedView(SolvableView):
    """Of the average over all pairs and ratios."""

    def _read(self) -> tuple[object, ...]:
        known: Any = self
        return (known.smoother,)

    def _sizes(self) -> str:
        known: Any = self
        originals, features = known.smoother.shape
        return f"all pairs of {counted(originals, 'original')}, {counted(features, 'feature')}"

    def _rows(self) -> dict[str, str]:
        known: Any = self
        return {
            "law": str(known.law),
            "ratios": f"{len(known.ratios)}, relative error {number(known.ratios.error)}",
            "factorised by": known.method,
            "clean labels": _known(known.found.clean_coordinates),
        }


class SolutionView(Shown):
    """Of a problem with its decomposition."""

    def _facts(self) -> Facts | None:
        known: Any = self
        spectrum = known.spectrum
        if not are_known(spectrum.eigenvalues, spectrum.modes, spectrum.label_coordinates, spectrum.rank_cut):
            return None
        eigenvalues, (features, modes) = np.asarray(spectrum.eigenvalues), spectrum.modes.shape
        targets = counted(spectrum.label_coordinates.shape[1], "target")
        return Facts(
            f"{type(self).__name__}: {counted(modes, 'mode')} of {counted(features, 'feature')}, {targets}, "
            f"{eigenvalues.dtype}",
            {
                "largest eigenvalue": number(eigenvalues[0]),
                "rank": str(np.sum(eigenvalues > np.asarray(spectrum.rank_cut))),
                "factorised by": spectrum.method,
                "serves": "all times" if math.isinf(known.until) else f"times until {number(known.until)}",
            },
            {"clean labels": _known(spectrum.clean_coordinates), "risk over": known.population.in_words},
        )


def _known(clean: object) -> str:
    return "unknown" if clean is None else "known"


def _mixing(table: PairTable | None) -> str:
    """Of how many originals rows are mixed, and at what ratios."""
    if table is None or not are_known(table.first, table.second, table.lam):
        return "unknown"
    first, second, lam = (np.asarray(column) for column in (table.first, table.second, table.lam))
    if np.all((lam == 1) | (first == second)):
        return "none"
    ends = np.unique([lam.min(), lam.max()])
    return f"pairs of {1 + max(first.max(), second.max())} originals, lam = {extent(ends)}"
