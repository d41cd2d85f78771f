"""Factor once, ask often: a solution is a problem with its decomposition, and every question is asked of it.

    problem -> solution -> curve -> figure

`solve` decomposes; what is asked of a `Solution` (flow, descent or any rule, weights, predictions, stable steps, where
a curve turns) costs no further decomposition, nor do switches, phases, cures and bounds that are given one.
`closed_form(problem, ...)` is the short way to say ``solve(problem).curve(...)``.
"""

import dataclasses
import math
from os import PathLike
from pathlib import Path
from typing import Literal

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

import theory
from rfm import saved, shown
from rfm.clocks import checked_clock, latest_time, log_clock
from rfm.precision import warn, warn_if_rounded
from rfm.problem import Solvable, check_population, check_problem
from theory.checks import (
    Clock,
    as_floating,
    check_choice,
    check_finite,
    check_positive,
    check_shape,
    described,
    is_number,
    untraced,
)
from theory.curve import check_matching
from theory.derivatives.risk import Moments, TurningPoint
from theory.linalg import on_device
from theory.population import Averages
from theory.risk import check_start
from theory.rules.rule import check_rule, traced
from theory.spectrum import Method, Spectrum

NUM_TIMES = 120
"""At which a curve is looked at for its turn."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Solution(shown.SolutionView):
    """A problem with its decomposition. Made by `solve`, or loaded.

    Attributes:
        problem: what was decomposed; None if the solution was loaded from a file.
        spectrum: the eigen-decomposition of the feature covariance, with the labels in its coordinates.
        population: what risks are averaged over.
        until: the latest time that the factorisation was chosen for; infinite for one that serves all times.
    """

    problem: Solvable | None
    spectrum: Spectrum
    population: Averages
    until: float = math.inf
    _late: list[Spectrum] = dataclasses.field(default_factory=list)

    @untraced
    def curve(
        self,
        *,
        times: Clock | None = None,
        steps: Clock | None = None,
        rule: theory.Rule | None = None,
        start: theory.Start | None = None,
        tolerance: float = 1e-6,
        by_mode: bool = False,
    ) -> theory.Curve:
        """The exact risk curve of training.

        Args:
            times: for gradient flow (the default rule), ascending.
            steps: for a rule that counts steps, such as ``theory.GradientDescent(step_size)``.
            rule: how it is trained: flow, descent, `theory.HeavyBall`, `theory.Nesterov`, `theory.NesterovIncreasing`,
                a `theory.StepSchedule`, the `theory.Averaged` iterates of one, or a rule of your own.
            start: the initial weights, or their variance; None for zero.
            tolerance: relative; the curve's ``trusted_until`` answers for it.
            by_mode: also split the parts by eigenmode.

        Raises:
            ValueError: times and steps do not fit the rule, a step that diverges, unsorted or negative times.

        Warns:
            PrecisionWarning: the last time lies past ``trusted_until``.
            UserWarning: a time past ``until`` cost one more decomposition.

        >>> import rfm
        >>> problem = rfm.Problem(jnp.eye(2), jnp.ones(2), population=theory.TestSet(jnp.eye(2), jnp.ones(2)))
        >>> solve(problem).curve(steps=[0, 1, 2], rule=theory.GradientDescent(1.0)).risk.round(4).tolist()
        [1.0, 0.25, 0.0625]
        """
        check_positive("tolerance", tolerance)
        rule, t = checked_clock(rule, times, steps)
        spectrum = self.spectrum_until(latest_time(rule, t))
        curve = theory.risk_curve(spectrum, self.population, rule, t, start=start, tolerance=tolerance, by_mode=by_mode)
        warn_if_rounded(curve, tolerance, self.more_accurate)
        return curve

    @untraced
    def weights(
        self,
        *,
        times: Clock | None = None,
        steps: Clock | None = None,
        rule: theory.Rule | None = None,
        start: theory.Start | None = None,
    ) -> Float[Array, "times features targets"]:
        """The weights theta_t, in the mean over a random start; arguments and errors as of `curve`.

        >>> import rfm
        >>> problem = rfm.Problem(jnp.eye(2), jnp.ones(2), population=theory.TestSet(jnp.eye(2), jnp.ones(2)))
        >>> solve(problem).weights(times=[0.0, 1e3])[:, :, 0].round(6).tolist()
        [[0.0, 0.0], [1.0, 1.0]]
        """
        rule, t = checked_clock(rule, times, steps)
        spectrum = self.spectrum_until(latest_time(rule, t))
        check_matching(spectrum, self.population, start)
        rule.check_stable(spectrum.fastest)
        rule, clock = traced(rule, spectrum.eigenvalues.dtype), on_device(t, spectrum.eigenvalues.dtype)
        return jnp.moveaxis(theory.risk.weights(spectrum, rule, clock, start), 1, 0)

    @untraced
    def predict(
        self,
        inputs: ArrayLike | None = None,
        *,
        features: ArrayLike | None = None,
        times: Clock | None = None,
        steps: Clock | None = None,
        rule: theory.Rule | None = None,
        start: theory.Start | None = None,
    ) -> Float[Array, "times samples targets"]:
        """What the trained model says of new inputs; other arguments and errors as of `curve`.

        Args:
            inputs: one row a sample, of a problem whose feature map is known (`rfm.synthesize` passes it on); or
            features: phi at those inputs, for one made of bare arrays.
            times: and so on, as of `curve`.
            steps: likewise.
            rule: likewise.
            start: likewise.

        >>> import rfm
        >>> problem = rfm.Problem(jnp.eye(2), jnp.ones(2), population=theory.TestSet(jnp.eye(2), jnp.ones(2)))
        >>> solve(problem).predict(features=jnp.asarray([[2.0, 1.0]]), times=[1e3])[:, :, 0].round(6).tolist()
        [[3.0]]
        """
        if (inputs is None) == (features is None):
            raise ValueError("inputs, features: pass one of them, the inputs or what the feature map makes of them")
        if features is None:
            known = None if self.problem is None else self.problem.feature_map
            if known is None:
                raise ValueError(
                    "inputs: the feature map of this solution is unknown, since its problem was made of arrays or it "
                    "was loaded from a file; pass features=, what the map makes of the inputs"
                )
            features = known(check_finite("inputs", as_floating("inputs", jnp.asarray(inputs))))
        phi = check_finite("features", as_floating("features", features))
        check_shape("features", phi, ndim=2, columns=self.spectrum.modes.shape[0])
        return jnp.einsum("sf,tfk->tsk", phi, self.weights(times=times, steps=steps, rule=rule, start=start))

    @untraced
    def turning(self, rule: theory.Rule | None = None, *, budget: float | None = None) -> TurningPoint:
        """Where the risk is lowest before the budget, in the rule's clock: a time, or a number of steps.

        Args:
            rule: how it is trained; None for gradient flow.
            budget: when training ends; None for ``until``, if that is finite.

        Raises:
            ValueError: no budget, or one that is not a positive number (of whole steps).

        >>> import rfm
        >>> problem = rfm.Problem(jnp.eye(2), 2 * jnp.ones(2), population=theory.TestSet(jnp.eye(2), jnp.ones(2)))
        >>> round(float(solve(problem).turning(budget=1e3).time), 3)  # half of the labels
        1.386
        """
        rule = theory.GradientFlow() if rule is None else rule
        check_rule(rule)
        if budget is None:
            if rule.counts_steps or math.isinf(self.until):
                raise ValueError("budget: until when to look for the turn is not known; pass budget=, in its clock")
            budget = self.until
        t = log_clock(rule, budget, self.largest_eigenvalue(), NUM_TIMES)
        curve = theory.risk_curve(self.spectrum_until(latest_time(rule, t)), self.population, rule, t)
        return TurningPoint(
            curve.turning_time if curve.turning_step is None else curve.turning_step, curve.turning_risk
        )

    def largest_eigenvalue(self) -> float:
        """mu_max of the feature covariance."""
        return self.spectrum.fastest

    @untraced
    def largest_stable_step(self, rule: theory.Rule | theory.Batches, *, ridge: float = 0.0) -> float:
        """The step size from which on training diverges, on batches in mean square: see `theory.batches`.

        Args:
            rule: of any step size; or batches drawn anew at every step, of very many pairs from some (it warns).
            ridge: coupled weight decay of training on batches; a rule brings its own.

        >>> import rfm
        >>> test = rfm.TestSet(jnp.eye(1), jnp.ones(1))
        >>> problem = rfm.Problem(jnp.asarray([[1.0], [3.0]]), jnp.ones(2), population=test)
        >>> ways = theory.GradientDescent(1.0), rfm.Batches(1)  # 2 / E phi^2, 2 E phi^2 / E phi^4
        >>> [round(solve(problem).largest_stable_step(way), 6) for way in ways]
        [0.4, 0.243902]
        """
        if not isinstance(rule, theory.Batches):
            check_rule(rule)
            if ridge != 0:
                raise ValueError(f"ridge: {type(rule).__name__} brings its own; pass the rule with ridge={ridge}")
            return float(rule.largest_stable_step(self.largest_eigenvalue()))
        problem = problem_of(self, "what batches are drawn from")
        own = self if (drawn := problem.drawn_by(rule)) is problem else solve(drawn)
        return problem.source().largest_stable_step(own.spectrum, rule, ridge)

    def moments(self) -> Moments:
        """What training sees of its data, for `theory.derivatives`.

        >>> import rfm
        >>> problem = rfm.Problem(jnp.eye(2), jnp.ones(2), population=theory.TestSet(jnp.eye(2), jnp.ones(2)))
        >>> solve(problem).moments().force[:, 0].round(6).tolist()
        [0.5, 0.5]
        """
        modes, eigenvalues = self.spectrum.modes, self.spectrum.eigenvalues[None, :]
        images, clean = modes * jnp.sqrt(eigenvalues), self.spectrum.clean_coordinates
        return Moments((modes * eigenvalues) @ modes.T, images @ self.spectrum.label_coordinates,
                       None if clean is None else images @ clean)  # fmt: skip

    def save(self, path: str | PathLike[str]) -> None:
        """Writes the decomposition and the population to one .npz file, whole or not at all.

        The problem stays behind: a loaded solution cannot be decomposed again, nor draw batches.

        Raises:
            TypeError: a population that is neither a `theory.TestSet` nor a `theory.Population`.

        >>> import rfm, tempfile
        >>> problem = rfm.Problem(jnp.eye(2), jnp.ones(2), population=theory.TestSet(jnp.eye(2), jnp.ones(2)))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     solve(problem).save(f"{folder}/solution.npz")
        ...     again = Solution.load(f"{folder}/solution.npz")
        >>> again.curve(times=[1.0]).risk.round(3).tolist()
        [0.368]
        """
        saved.write(Path(path), self.spectrum, self.population, self.until)

    @staticmethod
    def load(path: str | PathLike[str]) -> "Solution":
        """A solution from the file that `save` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is another file, or one of another version.
        """
        return Solution(None, *saved.read(Path(path)))

    def spectrum_until(self, latest: float) -> Spectrum:
        """The decomposition, or for times past ``until`` a more accurate one, made once and kept.

        Warns:
            UserWarning: that one more decomposition was made.
        """
        if latest <= self.until or self.problem is None:
            return self.spectrum
        if (method := self.problem.suggest_method(latest)) == self.spectrum.method:
            return self.spectrum
        if not self._late:
            self._late.append(self.problem.spectrum(method))
            warn(
                f"until: t = {latest:.3g} lies past {self.until:.3g}, so the problem was decomposed once more, by "
                f"{method!r}; pass until={latest:.3g} to rfm.solve",
                UserWarning,
            )
        return self._late[0]

    @property
    def own_coordinates(self) -> bool:
        """Whether its weights mean nothing to another problem."""
        return self.problem is not None and self.problem.own_coordinates

    @property
    def more_accurate(self) -> str | None:
        """What to do where the factorisation is not accurate enough; None where nothing helps."""
        return None if self.problem is None else self.problem.more_accurate


@untraced
def solve(problem: Solvable, *, until: float | None = None, method: Method | Literal["auto"] = "auto") -> Solution:
    """Decomposes a problem, once for all questions.

    Args:
        problem: what is trained: what `rfm.synthesize` gives, or an `rfm.Problem` of your own arrays.
        until: the latest time that will be asked for; early times allow the fastest factorisation. None for all times.
            A later question costs one more decomposition, which is kept, and a warning.
        method: ``svd``, ``qr``, ``gram``, or ``auto`` by shape and latest time.

    Raises:
        TypeError: not a problem.
        ValueError: a time that is not positive, an unknown method, a population in other features.

    >>> import rfm
    >>> test = theory.TestSet(jnp.eye(2), jnp.ones(2))
    >>> solution = solve(rfm.Problem(jnp.eye(2), jnp.ones(2), population=test))
    >>> solution.curve(times=[0.0, 1.0]).risk.round(3).tolist()
    [1.0, 0.368]
    """
    check_problem(problem)
    if until is not None and not (is_number(until) and until > 0):
        raise ValueError(f"until: must be a positive time, got {described(until)}; leave it out for all times")
    check_choice("method", method, ("auto", *theory.spectrum.METHODS))
    latest = math.inf if until is None else float(until)
    spectrum = problem.spectrum(problem.suggest_method(latest) if method == "auto" else method)
    check_population(problem.population, spectrum.modes.shape[0], spectrum.label_coordinates.shape[1])
    # A method that was asked for serves all times: how well it does, curves say.
    return Solution(problem, spectrum, problem.population, latest if method == "auto" else math.inf)


def check_solvable(problem: object, name: str = "problem") -> None:
    """Raises TypeError unless it is a training problem, or a solution."""
    if not isinstance(problem, Solution):
        check_problem(problem, name)


def problem_of(problem: Solvable | Solution, what: str = "its rows") -> Solvable:
    """The problem itself, of a solution too.

    Raises:
        TypeError: neither.
        ValueError: a loaded solution, which does not know it.
    """
    check_solvable(problem)
    if not isinstance(problem, Solution):
        return problem
    if problem.problem is None:
        raise ValueError(f"problem: a loaded solution does not know {what}; solve the problem again with rfm.solve")
    return problem.problem


def solution_of(
    problem: Solvable | Solution,
    latest: float = math.inf,
    method: Method | Literal["auto"] = "auto",
) -> Solution:
    """A solution as it is, a problem solved until that time.

    Raises:
        TypeError: neither.
        ValueError: another method than that of the solution.
    """
    if not isinstance(problem, Solution):
        return solve(problem, until=latest or None, method=method)
    if method not in ("auto", problem.spectrum.method):
        raise ValueError(f"method: the problem is solved already, by {problem.spectrum.method!r}; pass method='auto'")
    return problem


@untraced
def closed_form(
    problem: Solvable | Solution,
    *,
    times: Clock | None = None,
    steps: Clock | None = None,
    rule: theory.Rule | None = None,
    method: Method | Literal["auto"] = "auto",
    start: theory.Start | None = None,
    tolerance: float = 1e-6,
    by_mode: bool = False,
) -> theory.Curve:
    """The exact risk curve of training, without training: ``solve(problem, until=...).curve(...)``.

    Args:
        problem: what is trained, or a `Solution` of it.
        times: for gradient flow (the default rule), ascending.
        steps: for a rule that counts steps, such as ``theory.GradientDescent(step_size)``.
        rule: how it is trained; see `Solution.curve`.
        method: ``svd``, ``qr``, ``gram``, or ``auto`` by shape and latest time; the curve says which.
        start: the initial weights, or their variance; None for zero.
        tolerance: relative; the curve's ``trusted_until`` answers for it.
        by_mode: also split the parts by eigenmode.

    Raises:
        ValueError: times and steps do not fit the rule, a step that diverges, unsorted or negative times.

    Warns:
        PrecisionWarning: the last time lies past ``trusted_until``.
    """
    check_start(start)
    check_positive("tolerance", tolerance)
    found, t = checked_clock(rule, times, steps)
    solution = solution_of(problem, latest_time(found, t), method)
    return solution.curve(times=times, steps=steps, rule=rule, start=start, tolerance=tolerance, by_mode=by_mode)
