"""A training problem: features, labels, clean labels, and what the risk is averaged over.

`rfm.synthesize` makes one from a sample, a feature map and a Mixup law; `Problem` takes bare arrays; `closed_form`
solves them.
"""

import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

import theory
from theory.checks import Clock, as_floating, check_clock, check_finite, check_shape, check_steps
from theory.population import Averages
from theory.spectrum import Block, Method, Spectrum, in_one_precision


class PrecisionWarning(UserWarning):
    """A curve was asked for at times at which rounding may exceed the tolerance."""


class Solvable(eqx.Module):
    """What `closed_form` asks of a problem.

    Attributes:
        population: what the risk is averaged over.
    """

    population: eqx.AbstractVar[Averages]

    @abstractmethod
    def spectrum(self, method: Method) -> Spectrum:
        """The eigen-decomposition of the feature covariance, with the labels in its coordinates."""

    @abstractmethod
    def suggest_method(self, latest_time: float) -> Method:
        """The fastest factorisation that is accurate until then."""


class Problem(Solvable):
    """Linear least squares L(theta) = |Phi theta - y|^2 / (2 m), and the risk of its solutions.

    Arrays of different precision are brought to the finest of them: single-precision features, as networks give them,
    beside double-precision labels are trained and solved in double precision.

    Args:
        features: Phi, one row a synthesized sample.
        labels: y, a vector or one column a target.
        clean_labels: y*, the ground truth at the synthesized inputs; None if unknown, and then the risk is known in
            total but not in parts.
        population: a `theory.TestSet` or a `theory.Population`, in the same features.

    Raises:
        ValueError: shapes that do not match, or values that are not finite.

    >>> problem = Problem(jnp.eye(2), jnp.ones(2), population=theory.TestSet(jnp.eye(2), jnp.ones(2)))
    >>> closed_form(problem, times=[0.0, 1.0]).risk.round(3).tolist()
    [1.0, 0.368]
    """

    features: Float[Array, "samples features"]
    labels: Float[Array, "samples targets"]
    clean_labels: Float[Array, "samples targets"] | None
    population: Averages

    def __init__(
        self,
        features: ArrayLike,
        labels: ArrayLike,
        clean_labels: ArrayLike | None = None,
        *,
        population: Averages,
    ) -> None:
        phi = _matrix("features", features)
        y = _matrix("labels", labels, rows=phi.shape[0])
        clean = None
        if clean_labels is not None:
            clean = _matrix("clean_labels", clean_labels, rows=y.shape[0], columns=y.shape[1])
        self.features, self.labels, self.clean_labels = in_one_precision(phi, y, clean)
        check_population(population, self.features.shape[1], self.labels.shape[1])
        self.population = population

    def spectrum(self, method: Method = "svd") -> Spectrum:
        """The eigen-decomposition of the feature covariance, with the labels in its coordinates."""
        return theory.decompose(self.features, self.labels, self.clean_labels, method=method)

    def suggest_method(self, latest_time: float) -> Method:
        """The fastest factorisation that is accurate until then."""
        num_samples, num_features = self.features.shape
        # The mean of |phi|^2, the sum of all eigenvalues, is at least the largest.
        scaled_time = latest_time * float(jnp.vdot(self.features, self.features)) / num_samples
        resolution = float(jnp.finfo(self.features.dtype).eps)
        return theory.suggest_method(num_samples, num_features, scaled_time, resolution)


class StreamedProblem(Solvable):
    """A problem whose rows are made block by block, each time they are needed, and never all held.

    Attributes:
        blocks: makes the blocks (features, labels, clean labels or None), from the first row on.
        population: what the risk is averaged over.
    """

    blocks: Callable[[], Iterator[Block]]
    population: Averages

    def spectrum(self, method: Method = "qr") -> Spectrum:
        """The eigen-decomposition, in one pass over the blocks."""
        return theory.decompose_blocks(self.blocks(), method=method)

    def suggest_method(self, latest_time: float) -> Method:
        """``qr``: accurate at all times."""
        return "qr"


def closed_form(
    problem: Solvable,
    *,
    times: Clock | None = None,
    steps: Clock | None = None,
    rule: theory.Rule | None = None,
    method: Method | Literal["auto"] = "auto",
    start: theory.Start | None = None,
    tolerance: float = 1e-6,
    by_mode: bool = False,
) -> theory.Curve:
    """The exact risk curve of training, without training.

    Args:
        problem: what is trained: a `Problem`, a `StreamedProblem` or a `KernelProblem`.
        times: for gradient flow (the default rule), ascending.
        steps: for a rule that counts steps, such as ``theory.GradientDescent(step_size)``.
        rule: how it is trained: flow, descent, `theory.HeavyBall`, `theory.Nesterov`, `theory.NesterovIncreasing`, a
            `theory.StepSchedule`, or the `theory.Averaged` iterates of one.
        method: ``svd``, ``qr``, ``gram``, or ``auto`` by shape and latest time; the curve says which.
        start: the initial weights, or their variance; None for zero.
        tolerance: relative; the curve's ``trusted_until`` answers for it.
        by_mode: also split the parts by eigenmode.

    Raises:
        ValueError: times and steps do not fit the rule, a step that diverges, unsorted or negative times.

    Warns:
        PrecisionWarning: the last time lies past ``trusted_until``.
    """
    rule = theory.GradientFlow() if rule is None else rule
    t = checked_clock(rule, times, steps)
    spectrum = spectrum_until(problem, float(rule.time(jnp.asarray(t[-1]))), method)
    check_population(problem.population, spectrum.modes.shape[0], spectrum.label_coordinates.shape[1])
    curve = theory.risk_curve(spectrum, problem.population, rule, t, start=start, tolerance=tolerance, by_mode=by_mode)
    warn_if_rounded(curve, tolerance)
    return curve


def spectrum_until(problem: Solvable, latest_time: float, method: Method | Literal["auto"]) -> Spectrum:
    """The problem's spectrum by the method, or by one that is accurate until that time."""
    if method != "auto":
        theory.check_method(method)
    return problem.spectrum(problem.suggest_method(latest_time) if method == "auto" else method)


def check_population(population: Averages, num_features: int, num_targets: int) -> None:
    """Raises ValueError unless the population has the problem's features and targets."""
    if not isinstance(population, Averages):
        raise TypeError(f"population: pass an rfm.TestSet or an rfm.Population, got {type(population).__name__}")
    if population.num_features != num_features:
        raise ValueError(
            f"population: has {population.num_features} features, the problem {num_features}; use the same feature map"
        )
    found = population.target_power_by_target.shape[0]
    if found != num_targets:
        raise ValueError(f"population: has {found} target(s), the labels {num_targets}; pass the same targets to both")


def checked_clock(rule: theory.Rule, times: Clock | None, steps: Clock | None) -> np.ndarray:
    """The one of both that the rule asks for; raises ValueError if it is not given, or the other one is."""
    if rule.counts_steps:
        if steps is None or times is not None:
            raise ValueError(f"steps: {type(rule).__name__} counts steps; pass steps=, and not times=")
        return check_steps(steps)
    if times is None or steps is not None:
        raise ValueError(
            f"times: {type(rule).__name__} runs in continuous time; pass times= (or a rule that counts steps, such as "
            "theory.GradientDescent(step_size), with steps=)"
        )
    return check_clock("times", times)


def _matrix(name: str, values: ArrayLike, rows: int | None = None, columns: int | None = None) -> Array:
    array = as_floating(values)
    array = array[:, None] if array.ndim == 1 and name != "features" else array
    check_shape(name, array, ndim=2, rows=rows, columns=columns)
    return check_finite(name, array)


def warn_if_rounded(curve: theory.Curve, tolerance: float) -> None:
    """Warns the caller's caller if the last time lies past ``trusted_until``; says what would help."""
    latest = float(curve.times[-1])
    if curve.trusted_until >= latest:
        return
    dtype = curve.risk_by_target.dtype
    remedies = []
    if dtype == jnp.float32:
        remedies.append('switch on float64 first: jax.config.update("jax_enable_x64", True)')
    if curve.method == "gram":
        remedies.append("pass method='svd' or 'qr'")
    remedies.append("ask for earlier times, or a larger tolerance=")
    warnings.warn(
        f"the curve can be trusted to a relative {tolerance:g} until t = {float(curve.trusted_until):.3g}, but was "
        f"asked for until t = {latest:.3g} ({dtype}, method {curve.method!r}); {'; or '.join(remedies)}",
        PrecisionWarning,
        stacklevel=3,
    )
