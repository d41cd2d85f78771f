"""Mini-batch training: fresh, independent rows at every step, and its moments in closed form.

A problem is a law of rows: an `ExpectedProblem` draws a pair and a ratio for each row, a `Problem` one of its rows.
`simulate_minibatch` draws; `minibatch_curve` enumerates what can be drawn, for `theory.batches` to sum up. Every step
draws from a key of its own, folded from the run's key and the number of the step.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

import theory
from rfm.checks import check_keys
from rfm.precision import warn
from rfm.problem import Solvable
from rfm.solve import Solution, problem_of, solution_of
from rfm.source import Source, members_at
from rfm.training.start import STEPS_A_CALL, initial_rows, initial_weights, recorded_curve
from theory.batches.moments import MAX_EXACT_MODES
from theory.checks import Clock, check_choice, check_shape, check_steps, untraced
from theory.linalg import on_device
from theory.risk import check_start
from theory.rules.rule import elapsed, traced

ENSEMBLE_BYTES = 2**25
"""Runs are trained side by side as long as the features of their batches stay below this."""


@untraced
def minibatch_curve(
    problem: Solvable | Solution,
    batches: theory.Batches,
    *,
    step_size: float,
    steps: Clock,
    ridge: float = 0.0,
    start: theory.Start | None = None,
    moments: Literal["auto", "exact", "diagonal"] = "auto",
) -> theory.batches.MinibatchCurve:
    """The mean and the variance of mini-batch training in closed form: expected risk, spread, gradient norm.

    Args:
        problem: an `ExpectedProblem` for fresh pairs and ratios, or a `Problem` for batches of its rows; or a solution.
        batches: how they are drawn.
        step_size: eta, below the largest stable one in mean square.
        steps: the step counts, ascending.
        ridge: coupled weight decay.
        start: the initial weights; None for zero.
        moments: ``exact`` for up to `MAX_EXACT_MODES` modes, ``diagonal`` for its approximation, or ``auto`` by their
            number; the curve says which.

    Raises:
        ValueError: a step at which the variance grows without bound, a batch of more different pairs than there are.

    Warns:
        PrecisionWarning: the last step lies past the curve's ``trusted_until``.

    >>> import rfm
    >>> problem = rfm.Problem(jnp.eye(2), jnp.ones(2), population=rfm.TestSet(jnp.eye(2), jnp.ones(2)))
    >>> curve = minibatch_curve(problem, rfm.Batches(1), step_size=0.5, steps=[0, 1, 50])
    >>> curve.risk.round(4).tolist()  # half of the labels are seen in the first step
    [1.0, 0.625, 0.0]
    """
    source, solution = _drawn(problem, batches)
    check_choice("moments", moments, ("auto", "exact", "diagonal"))
    check_start(start)
    spectrum = solution.spectrum
    if start is not None and start.weights is not None:
        check_shape("start.weights", start.weights, ndim=2, rows=spectrum.modes.shape[0],
                    columns=spectrum.label_coordinates.shape[1])  # fmt: skip
    if moments == "exact" and spectrum.rank > MAX_EXACT_MODES:
        raise ValueError(
            f"moments: the exact ones of {spectrum.rank} modes are too large, at most {MAX_EXACT_MODES} are allowed; "
            "pass moments='diagonal', or 'auto'"
        )
    if spectrum.rank == 0:
        raise ValueError("features: all of them are zero on the problem's rows, so nothing trains; pass others")
    diagonal = moments == "diagonal" or (moments == "auto" and spectrum.rank > MAX_EXACT_MODES)
    found = theory.batches.batch_moments(
        spectrum, source.blocks(batches), source.node_weights, batches, ridge=ridge, diagonal=diagonal
    )
    curve = theory.batches.minibatch_curve(spectrum, solution.population, found, step_size, steps, start=start)
    latest = float(np.asarray(curve.times)[-1])
    if float(curve.trusted_until) < latest:
        other = f"; or {solution.more_accurate}" if spectrum.method == "gram" else ""
        warn(
            f"the expected risk can be trusted until t = {float(curve.trusted_until):.3g}, but was asked for until "
            f"t = {latest:.3g}; ask for fewer steps, in float64{other}"
        )
    return curve


class MinibatchRuns(eqx.Module):
    """Several runs of mini-batch training.

    Attributes:
        steps: at which they were recorded.
        times: step_size * steps.
        parts: the risk and its parts, each [runs, times, targets].
        train_loss: over all that can be drawn, [runs, times].
        gradient_power: |g|^2 of the batch drawn next, by target.
        weights: of every run.
        population: what the risk was averaged over.
    """

    steps: Float[Array, "times"]
    times: Float[Array, "times"]
    parts: theory.population.RiskParts
    train_loss: Float[Array, "runs times"]
    gradient_power: Float[Array, "runs times targets"]
    weights: Float[Array, "runs times features targets"]
    population: theory.Averages

    def curve(self, run: int) -> theory.curve.MeasuredCurve:
        """One of the runs, as `rfm.simulate` records it."""
        parts = jax.tree.map(lambda leaf: leaf[run], self.parts)
        power = jnp.sum(self.weights[run] ** 2, axis=(1, 2))
        return recorded_curve(self.steps, self.times, parts, self.train_loss[run], power, self.population)


@untraced
def simulate_minibatch(
    problem: Solvable | Solution,
    batches: theory.Batches,
    *,
    step_size: float,
    steps: Clock,
    keys: Sequence[PRNGKeyArray],
    ridge: float = 0.0,
    start: theory.Start | None = None,
    progress: Callable[[int], object] | None = None,
) -> MinibatchRuns:
    """Trains on batches of fresh rows, one run a key, side by side.

    A run is the same, to rounding, whichever runs are beside it and however often it is recorded.

    Args:
        problem: what is drawn from; features and truth must be traceable by JAX.
        batches: how they are drawn.
        step_size: eta, below the largest stable one in mean square.
        steps: the step counts to record at, ascending.
        keys: one a run.
        ridge: coupled weight decay.
        start: the initial weights; a variance draws them anew for each run.
        progress: called with the steps just done, of all runs together.

    Raises:
        ValueError: a step at which the variance grows without bound, a batch of more different pairs than there are,
            no key.

    >>> import rfm
    >>> problem = rfm.Problem(jnp.eye(2), jnp.ones(2), population=rfm.TestSet(jnp.eye(2), jnp.ones(2)))
    >>> runs = simulate_minibatch(problem, rfm.Batches(1), step_size=0.5, steps=[0, 1], keys=[jax.random.key(0)])
    >>> runs.parts.risk[0, :, 0].tolist()
    [1.0, 0.625]
    """
    source, solution = _drawn(problem, batches)
    recorded = check_steps(steps)
    check_keys("keys", keys, "run")
    rule = theory.GradientDescent(step_size, ridge)
    spectrum = solution.spectrum
    _check_stable(spectrum, source, batches, rule)
    num_targets, num_features = spectrum.label_coordinates.shape[1], spectrum.modes.shape[0]
    _check_traceable(source, batches)
    dtype = spectrum.eigenvalues.dtype
    rows = 1 if spectrum.clean_coordinates is None else 2
    # Distinct pairs may be drawn by permuting all of them.
    drawn_from = source.num_members if batches.mixes_itself else 0 if batches.replacement else source.num_pairs
    bytes_a_run = max(batches.size * num_features, drawn_from) * dtype.itemsize
    together = max(1, ENSEMBLE_BYTES // bytes_a_run)
    pieces = []
    for first in range(0, len(keys), together):
        split = [jax.random.split(key) for key in keys[first : first + together]]
        begin = [initial_weights(num_features, num_targets, dtype, start, pair[0]) for pair in split]
        weights = jnp.stack([initial_rows(w, start, rows == 2) for w in begin])
        run_keys = jnp.stack([pair[1] for pair in split])
        pieces.append(
            _train(source, batches, rule, spectrum, solution.population, weights, run_keys, recorded, progress)
        )
    parts, loss, gradient, trained = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *pieces)
    clock = on_device(recorded, dtype)
    return MinibatchRuns(clock, elapsed(rule, recorded, dtype), parts, loss, gradient, trained, solution.population)


def _drawn(problem: Solvable | Solution, batches: theory.Batches) -> tuple[Source, Solution]:
    """What batches are drawn from, and the solution of the problem that is their mean."""
    given = problem_of(problem, "what batches are drawn from")
    drawn = given.drawn_by(batches)
    return given.source(), solution_of(problem if drawn is given else drawn)


def _check_stable(
    spectrum: theory.Spectrum, source: Source, batches: theory.Batches, rule: theory.GradientDescent
) -> None:
    alone = dataclasses.replace(batches, epochs=False) if batches.epochs else batches
    largest = source.largest_stable_step(spectrum, alone, float(rule.ridge))
    if rule.step_size < largest:
        return
    if batches.epochs:
        warn(
            f"step_size: at {float(rule.step_size):g} the variance of independent batches of {batches.size} grows "
            f"without bound, from {largest:.6g} on; within epochs longer steps may be stable, and no closed form says "
            "which",
            UserWarning,
        )
        return
    raise ValueError(
        f"step_size: at {float(rule.step_size):g} the variance of batches of {batches.size} grows without bound; "
        f"pass a step below the largest stable one in mean square, {largest:.6g}, or larger batches"
    )


def _check_traceable(source: Source, batches: theory.Batches) -> None:
    try:
        eqx.filter_eval_shape(source.draw, jax.random.key(0), batches)
    except jax.errors.JAXTypeError as error:
        raise TypeError(
            "features, truth: fresh rows are made inside compiled steps, so both must be traceable by JAX (jax.numpy "
            f"instead of numpy, no branches on values); {type(error).__name__} was raised"
        ) from error


def _train(
    source: Source,
    batches: theory.Batches,
    rule: theory.GradientDescent,
    spectrum: theory.Spectrum,
    population: theory.Averages,
    weights: Float[Array, "runs rows features"],
    keys: Array,
    recorded: np.ndarray,
    progress: Callable[[int], object] | None,
) -> tuple:
    """Runs side by side: parts, loss, gradient power and weights, each [runs, times, ...]."""
    rule = traced(rule, weights.dtype)
    records, done = [], 0
    for step in recorded:
        while done < step:
            count = int(min(step - done, STEPS_A_CALL))
            weights = _advance(source, batches, rule, weights, keys, on_device(done), on_device(count))
            jax.block_until_ready(weights)
            done += count
            if progress is not None:
                progress(count * len(weights))
        records.append(_measure(source, batches, rule, spectrum, population, weights, keys, on_device(done)))
    return jax.tree.map(lambda *leaves: jnp.stack(leaves, axis=1), *records)


def _gradient(
    source: Source,
    batches: theory.Batches,
    ridge: float | Array,
    weights: Float[Array, "rows features"],
    key: PRNGKeyArray,
    step: Array,
) -> Float[Array, "rows features"]:
    """Of the batch that a run draws at a step."""
    members = members_at(key, step, batches, source.num_members)
    features, labels = source.draw(jax.random.fold_in(key, step), batches, members)
    residual = weights @ features.T - labels.T
    return residual @ features / batches.size + ridge * weights


@eqx.filter_jit
def _advance(
    source: Source,
    batches: theory.Batches,
    rule: theory.GradientDescent,
    weights: Float[Array, "runs rows features"],
    keys: Array,
    done: Array,
    count: Array,
) -> Float[Array, "runs rows features"]:
    def step(index: Array, weights: Array) -> Array:
        def one(weights: Array, key: PRNGKeyArray) -> Array:
            return rule.step(lambda theta: _gradient(source, batches, rule.ridge, theta, key, index), index, weights)

        return jax.vmap(one)(weights, keys)

    return jax.lax.fori_loop(done, done + count, step, weights)


@eqx.filter_jit
def _measure(
    source: Source,
    batches: theory.Batches,
    rule: theory.GradientDescent,
    spectrum: theory.Spectrum,
    population: theory.Averages,
    weights: Float[Array, "runs rows features"],
    keys: Array,
    done: Array,
) -> tuple[theory.population.RiskParts, Array, Array, Array]:
    num_targets = spectrum.label_coordinates.shape[1]
    trained, clean = weights[:, :num_targets], weights[:, num_targets:]
    # Runs stand where a curve has its times.
    stacked = jnp.transpose(trained, (2, 0, 1))
    noise = stacked - jnp.transpose(clean, (2, 0, 1)) if clean.shape[1] else None
    parts = population.risk_parts(stacked, noise)
    fitted = jnp.sqrt(spectrum.eigenvalues)[:, None, None] * jnp.tensordot(spectrum.modes.T, stacked, 1)
    misfit = jnp.sum((fitted - spectrum.label_coordinates[:, None, :]) ** 2, axis=0) + spectrum.label_outside[None, :]
    gradients = jax.vmap(lambda theta, key: _gradient(source, batches, rule.ridge, theta, key, done))(weights, keys)
    gradient = gradients[:, :num_targets]
    return parts, jnp.sum(misfit, axis=1) / 2, jnp.sum(gradient**2, axis=2), jnp.swapaxes(trained, 1, 2)
