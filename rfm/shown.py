"""What each kind of problem, and its solution, has to show: a title and some facts. The records only hold fields.

Nothing here is decomposed, drawn or mixed: what is said is read off what is there.
"""

import math
from typing import Any

import jax
import numpy as np
from jax import Array

from rfm.mixup.table import PairTable
from theory import Averages, Spectrum
from theory.views import Facts, Shown, are_known, counted, extent, number


class SolvableView(Shown):
    """Of any problem."""

    population: Averages

    def _facts(self) -> Facts | None:
        leaves = jax.tree.leaves(self.population)
        if not isinstance(self.population, Averages) or not leaves or not are_known(*leaves, *self._read()):
            return None
        power = self.population.target_power_by_target
        return Facts(
            f"{type(self).__name__}: {self._sizes()}, {counted(power.shape[0], 'target')}, {power.dtype}",
            self._rows(),
            {"risk over": self.population.in_words},
        )

    def _read(self) -> tuple[object, ...]:
        """The arrays that are looked at, beside those of the population."""
        return ()

    def _sizes(self) -> str:
        return counted(self.population.num_features, "feature")

    def _rows(self) -> dict[str, str]:
        """What is said of what is trained on."""
        return {}


class ProblemView(SolvableView):
    """Of one with all of its rows."""

    features: Array
    labels: Array
    clean_labels: Array | None
    mixing: PairTable | None

    def _read(self) -> tuple[object, ...]:
        return self.features, self.labels

    def _sizes(self) -> str:
        rows, columns = self.features.shape
        return f"{counted(rows, 'row')} of {counted(columns, 'feature')}"

    def _rows(self) -> dict[str, str]:
        return {"mixing": _mixing(self.mixing), "clean labels": _known(self.clean_labels)}


class StreamedView(SolvableView):
    """Of one whose rows are never all held."""

    def _rows(self) -> dict[str, str]:
        return {"rows": "made block by block, whenever they are needed"}


class KernelView(SolvableView):
    """Of one in infinitely many features."""

    finite: Any

    def _read(self) -> tuple[object, ...]:
        return (self.finite.features,)

    def _sizes(self) -> str:
        return f"{counted(len(self.finite.features), 'row')} of infinitely many features"

    def _rows(self) -> dict[str, str]:
        return {"clean labels": _known(self.finite.clean_labels)}


class ExpectedView(SolvableView):
    """Of the average over all pairs and ratios."""

    smoother: Array
    law: object
    ratios: Any
    method: str
    found: Spectrum

    def _read(self) -> tuple[object, ...]:
        return (self.smoother,)

    def _sizes(self) -> str:
        originals, features = self.smoother.shape
        return f"all pairs of {counted(originals, 'original')}, {counted(features, 'feature')}"

    def _rows(self) -> dict[str, str]:
        return {
            "law": str(self.law),
            "ratios": f"{len(self.ratios)}, relative error {number(self.ratios.error)}",
            "factorised by": self.method,
            "clean labels": _known(self.found.clean_coordinates),
        }


class SolutionView(Shown):
    """Of a problem with its decomposition."""

    spectrum: Spectrum
    population: Averages
    until: float

    def _facts(self) -> Facts | None:
        spectrum = self.spectrum
        if not are_known(spectrum.eigenvalues, spectrum.modes, spectrum.label_coordinates, spectrum.rank_cut):
            return None
        features, modes = spectrum.modes.shape
        targets = counted(spectrum.label_coordinates.shape[1], "target")
        return Facts(
            f"{type(self).__name__}: {counted(modes, 'mode')} of {counted(features, 'feature')}, {targets}, "
            f"{spectrum.eigenvalues.dtype}",
            {
                "largest eigenvalue": number(spectrum.fastest),
                "rank": str(spectrum.rank),
                "factorised by": spectrum.method,
                "serves": "all times" if math.isinf(self.until) else f"times until {number(self.until)}",
            },
            {"clean labels": _known(spectrum.clean_coordinates), "risk over": self.population.in_words},
        )


class LeaveOneOutView(Shown):
    """Of each original as seen without it."""

    times: Array
    residuals: Array
    trusted_until: Array
    risk: Any

    def _facts(self) -> Facts | None:
        if not are_known(self.times, self.residuals, self.trusted_until) or self.times.ndim != 1:
            return None
        originals, _, targets = self.residuals.shape
        times, risk = np.asarray(self.times), np.asarray(self.risk)
        lowest = int(np.argmin(risk))
        return Facts(
            f"{type(self).__name__}: {counted(originals, 'original')}, {counted(len(times), 'time')}, "
            f"{extent(times)}, {counted(targets, 'target')}",
            {"error lowest at": number(times[lowest]), "there": number(risk[lowest]), "at the end": number(risk[-1])},
            {"trusted until": number(self.trusted_until)},
        )


def _known(clean: object) -> str:
    return "unknown" if clean is None else "known"


def _mixing(table: PairTable | None) -> str:
    """Of how many originals rows are mixed, and at what ratios."""
    if table is None or not are_known(table.first, table.second, table.lam):
        return "unknown"
    first, second, lam = (np.asarray(column) for column in (table.first, table.second, table.lam))
    if np.all((lam.reshape(len(lam), -1) == 1).all(axis=1) | (first == second)):
        return "none"
    ends = np.unique([lam.min(), lam.max()])
    return f"pairs of {1 + max(first.max(), second.max())} originals, lam = {extent(ends)}"
