"""A training problem: features, labels, clean labels, and what the risk is averaged over.

`rfm.synthesize` makes one from a sample, a feature map and a Mixup law; `Problem` takes bare arrays; `closed_form`
solves them.
"""

import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import ClassVar, Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

import theory
from rfm.features import FeatureMap, signature
from rfm.mixup import PairTable
from theory.checks import (
    Clock,
    as_floating,
    check_clock,
    check_finite,
    check_not_negative,
    check_positive,
    check_shape,
    check_steps,
    check_type,
    check_untraced,
)
from theory.population import Averages, check_same_map
from theory.risk import check_start
from theory.rules.rule import check_rule
from theory.spectrum import Block, Method, Spectrum, in_one_precision


class PrecisionWarning(UserWarning):
    """A curve was asked for at times at which rounding may exceed the tolerance."""


class Solvable(eqx.Module):
    """What `closed_form` asks of a problem.

    Attributes:
        population: what the risk is averaged over.
        more_accurate: what to do where the Gram route is not accurate enough; None where nothing helps.
    """

    population: eqx.AbstractVar[Averages]
    more_accurate: ClassVar[str | None] = "pass method='svd' or 'qr'"

    @abstractmethod
    def spectrum(self, method: Method) -> Spectrum:
        """The eigen-decomposition of the feature covariance, with the labels in its coordinates."""

    @abstractmethod
    def suggest_method(self, latest_time: float) -> Method:
        """The fastest factorisation that is accurate until then."""

    def label_smoother(self) -> Float[Array, "originals features"]:
        """H, one row an original: the force on the weights is Hᵀ y / n, of the originals' labels y.

        Raises:
            TypeError: the problem does not know its originals.
        """
        raise TypeError(
            f"problem: a {type(self).__name__} does not know which originals its rows are made of; pass a Problem "
            "(finitely many features, block_rows=None) or an ExpectedProblem"
        )


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
        mixing: of which originals each row is mixed, as `rfm.synthesize` says; None where rows are originals.

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
    mixing: PairTable | None

    def __init__(
        self,
        features: ArrayLike,
        labels: ArrayLike,
        clean_labels: ArrayLike | None = None,
        *,
        population: Averages,
        mixing: PairTable | None = None,
    ) -> None:
        phi = _matrix("features", features)
        y = _matrix("labels", labels, rows=phi.shape[0])
        clean = None
        if clean_labels is not None:
            clean = _matrix("clean_labels", clean_labels, rows=y.shape[0], columns=y.shape[1])
        self.features, self.labels, self.clean_labels = in_one_precision(phi, y, clean)
        check_population(population, self.features.shape[1], self.labels.shape[1])
        self.population = population
        if mixing is not None and len(mixing) != len(self.labels):
            raise ValueError(
                f"mixing: has {len(mixing)} rows, the features {len(self.labels)}; pass those of one table"
            )
        self.mixing = mixing

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

    def label_smoother(self) -> Float[Array, "originals features"]:
        """H, one row an original: n / m times the rows that it is part of, each times its share."""
        if self.mixing is None:
            return self.features
        first, second = self.mixing.first, self.mixing.second
        lam = self.mixing.lam.astype(self.features.dtype)[:, None]
        num_originals = 1 + int(jnp.maximum(jnp.max(first), jnp.max(second)))
        total = jnp.zeros((num_originals, self.features.shape[1]), self.features.dtype)
        total = total.at[first].add(lam * self.features).at[second].add((1 - lam) * self.features)
        return total * (num_originals / len(self.features))


class StreamedProblem(Solvable):
    """A problem whose rows are made block by block, each time they are needed, and never all held.

    Attributes:
        blocks: makes the blocks (features, labels, clean labels or None), from the first row on.
        population: what the risk is averaged over.
    """

    blocks: Callable[[], Iterator[Block]]
    population: Averages
    more_accurate: ClassVar[str | None] = "pass method='qr'"

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
    check_problem(problem)
    check_start(start)
    check_positive("tolerance", tolerance)
    rule = theory.GradientFlow() if rule is None else rule
    t = checked_clock(rule, times, steps)
    spectrum = spectrum_until(problem, float(rule.time(jnp.asarray(t[-1]))), method)
    check_population(problem.population, spectrum.modes.shape[0], spectrum.label_coordinates.shape[1])
    curve = theory.risk_curve(spectrum, problem.population, rule, t, start=start, tolerance=tolerance, by_mode=by_mode)
    warn_if_rounded(curve, tolerance, problem.more_accurate)
    return curve


def risk_over_labels(
    problem: Solvable,
    *,
    label_noise_variance: float,
    times: Clock | None = None,
    steps: Clock | None = None,
    rule: theory.Rule | None = None,
    method: Method | Literal["auto"] = "auto",
    tolerance: float = 1e-6,
) -> theory.RiskOverLabels:
    """The risk averaged over the labels' own noise, and how much it varies from draw to draw, without drawing any.

    The *originals* get independent normal noise of that variance on top of the labels that they have; where rows are
    mixed, it is mixed with them. Training starts from zero.

    Args:
        problem: a `Problem` or an `ExpectedProblem`, its labels without that noise.
        label_noise_variance: s^2; unit: that of the labels, squared.
        times: for gradient flow, ascending; and so on as in `closed_form`:
        steps: for a rule that counts steps.
        rule: how it is trained.
        method: of the factorisation.
        tolerance: relative, of the warning.

    Raises:
        ValueError: a negative variance; as `closed_form`.
        TypeError: a problem that does not know its originals.

    Warns:
        PrecisionWarning: rounding of the risk without that noise may exceed the tolerance of the average.

    >>> problem = Problem(jnp.eye(2), jnp.ones(2), population=theory.TestSet(jnp.eye(2), jnp.ones(2)))
    >>> over = risk_over_labels(problem, label_noise_variance=0.5, times=[0.0, 1e3])
    >>> over.mean[:, 0].round(6).tolist()  # in the end all of the noise has been learnt
    [1.0, 0.5]
    """
    check_problem(problem)
    check_not_negative("label_noise_variance", label_noise_variance)
    check_positive("tolerance", tolerance)
    smoother = problem.label_smoother()
    rule = theory.GradientFlow() if rule is None else rule
    t = checked_clock(rule, times, steps)
    spectrum = spectrum_until(problem, float(rule.time(jnp.asarray(t[-1]))), method)
    check_population(problem.population, spectrum.modes.shape[0], spectrum.label_coordinates.shape[1])
    curve = theory.risk_curve(spectrum, problem.population, rule, t)
    clock = jnp.asarray(t, spectrum.eigenvalues.dtype)
    over = theory.risk_over_labels(spectrum, problem.population, smoother, rule, clock, label_noise_variance)
    rounded = np.asarray(curve.rounding_error > tolerance * jnp.sum(over.mean, axis=1))
    if rounded.any():
        _warn_of_rounding(
            f"from t = {float(curve.times[rounded.argmax()]):.3g} on, rounding may exceed a relative {tolerance:g} of "
            "the average",
            spectrum.method,
            clock.dtype,
            problem.more_accurate,
        )
    return over


def spectrum_until(problem: Solvable, latest_time: float, method: Method | Literal["auto"]) -> Spectrum:
    """The problem's spectrum by the method, or by one that is accurate until that time."""
    if method != "auto":
        theory.check_method(method)
    return problem.spectrum(problem.suggest_method(latest_time) if method == "auto" else method)


def check_problem(problem: object, name: str = "problem") -> None:
    """Raises TypeError unless it is a training problem whose values are known."""
    check_type(name, problem, Solvable, "an rfm.Problem, or what rfm.synthesize gives")
    check_untraced(name, problem)


def check_map(population: Averages, features: FeatureMap, input_dim: int) -> None:
    """Raises ValueError if the population is known to be of another feature map."""
    known = getattr(population, "signature", None)
    if known is not None:
        check_same_map(known, signature(features, input_dim), "features")


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
    check_rule(rule)
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
    array = as_floating(name, values)
    array = array[:, None] if array.ndim == 1 and name != "features" else array
    check_shape(name, array, ndim=2, rows=rows, columns=columns)
    return check_finite(name, array)


def warn_if_rounded(curve: theory.Curve, tolerance: float, more_accurate: str | None) -> None:
    """Warns the caller's caller if the last time lies past ``trusted_until``; says what would help."""
    latest = float(curve.times[-1])
    if curve.trusted_until >= latest:
        return
    _warn_of_rounding(
        f"the curve can be trusted to a relative {tolerance:g} until t = {float(curve.trusted_until):.3g}, but was "
        f"asked for until t = {latest:.3g}",
        curve.method,
        curve.risk_by_target.dtype,
        more_accurate,
        stacklevel=4,
    )


def _warn_of_rounding(what: str, method: str, dtype: jnp.dtype, more_accurate: str | None, stacklevel: int = 3) -> None:
    remedies = []
    if dtype == jnp.float32:
        remedies.append('switch on float64 first: jax.config.update("jax_enable_x64", True)')
    if method == "gram" and more_accurate is not None:
        remedies.append(more_accurate)
    remedies.append("ask for earlier times, or a larger tolerance=")
    warnings.warn(
        f"{what} ({dtype}, method {method!r}); {'; or '.join(remedies)}", PrecisionWarning, stacklevel=stacklevel
    )
