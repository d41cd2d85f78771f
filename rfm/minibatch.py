"""Mini-batch training: fresh rows at every step, as practitioners train, and its moments in closed form.

A problem is a law of rows: an `rfm.ExpectedProblem` draws a pair and a ratio for each row, an `rfm.Problem` one of its
rows. `simulate_minibatch` draws; `minibatch_curve` enumerates what can be drawn, and hands it to `theory.minibatch`.
Every step draws from a key of its own, folded from the run's key and the number of the step.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse.linalg
from jaxtyping import Array, Float, Int, PRNGKeyArray

import theory
from rfm.checks import check_count
from rfm.expected import ExpectedProblem
from rfm.features import FeatureMap
from rfm.mixup import Mixup
from rfm.problem import Problem
from rfm.ratios import RatioRule
from rfm.runs import initial_weights, recorded_curve
from rfm.tasks import Sample
from theory.batches import MAX_EXACT_MODES
from theory.checks import Clock, check_steps

STEPS_A_CALL = 2**12
"""Compiled steps between two looks at the progress and at Ctrl-C."""
ENSEMBLE_BYTES = 2**25
"""Runs are trained side by side as long as the features of their batches stay below this."""
BLOCK_BYTES = 2**26
LANCZOS = 1e-7
"""Tolerance of the iteration; an eigenvalue is off by about its square."""
GOLDEN_RATIO = 0.6180339887498949
STABILITY_WORK = 2e9
"""Rows times modes squared, above which the largest stable step is that of some of the pairs."""

Rows = tuple[Float[Array, "rows features"], Float[Array, "rows columns"]]


class Source(eqx.Module):
    """What a batch is drawn from."""

    @property
    @abstractmethod
    def num_pairs(self) -> int:
        """How many equally likely pairs (or rows of a table) there are."""

    @property
    @abstractmethod
    def node_weights(self) -> Float[Array, "nodes"]:
        """Probabilities of the ratios."""

    @abstractmethod
    def draw(self, key: PRNGKeyArray, law: theory.BatchLaw) -> Rows:
        """A batch: features, and the labels with the clean labels beside them, if they are known."""

    @abstractmethod
    def pairs(
        self, index: Int[np.ndarray, "pairs"]
    ) -> tuple[Float[Array, "pairs nodes features"], Float[Array, "pairs nodes targets"]]:
        """Some of the pairs, at all ratios."""

    def blocks(self, most: int | None = None) -> Iterator[tuple[Array, Array]]:
        """All pairs, or so many of them, block by block."""
        index = np.arange(self.num_pairs)
        if most is not None and most < self.num_pairs:
            # Steps of the golden ratio spread evenly over both originals of a pair, whatever their number.
            index = np.unique((np.arange(most) * GOLDEN_RATIO % 1 * self.num_pairs).astype(int))
        probe = self.pairs(index[:1])[0]
        length = max(1, BLOCK_BYTES // (probe.size * probe.dtype.itemsize))
        for first in range(0, len(index), length):
            yield self.pairs(index[first : first + length])


class TableRows(Source):
    """The rows of a `Problem`."""

    features: Float[Array, "samples features"]
    columns: Float[Array, "samples columns"]
    num_targets: int = eqx.field(static=True)

    @property
    def num_pairs(self) -> int:
        return self.features.shape[0]

    @property
    def node_weights(self) -> Float[Array, "nodes"]:
        return jnp.ones(1, self.features.dtype)

    def draw(self, key: PRNGKeyArray, law: theory.BatchLaw) -> Rows:
        rows = _draw_pairs(key, law, self.num_pairs)
        return self.features[rows], self.columns[rows]

    def pairs(self, index: Int[np.ndarray, "pairs"]) -> tuple[Array, Array]:
        return self.features[index][:, None, :], self.columns[index][:, None, : self.num_targets]


class FreshPairs(Source):
    """Pairs of originals, mixed at ratios of their law."""

    sample: Sample
    labels: Float[Array, "samples targets"]
    features: FeatureMap
    law: Mixup
    ratios: RatioRule

    @property
    def num_pairs(self) -> int:
        return self.labels.shape[0] ** 2

    @property
    def node_weights(self) -> Float[Array, "nodes"]:
        return jnp.asarray(self.ratios.weights, self.labels.dtype)

    def draw(self, key: PRNGKeyArray, law: theory.BatchLaw) -> Rows:
        pair_key, ratio_key = jax.random.split(key)
        pairs = _draw_pairs(pair_key, law, self.num_pairs)
        lam = self._draw_ratios(ratio_key, 1 if law.shared_lam else law.size)[:, None]
        first, second = pairs // self.labels.shape[0], pairs % self.labels.shape[0]
        inputs = lam * self.sample.inputs[first] + (1 - lam) * self.sample.inputs[second]
        labels = lam * self.labels[first] + (1 - lam) * self.labels[second]
        if self.sample.truth is not None:
            clean = self.sample.truth(inputs)
            labels = jnp.concatenate([labels, clean.reshape(law.size, -1)], axis=1)
        return self.features(inputs), labels

    def _draw_ratios(self, key: PRNGKeyArray, number: int) -> Float[Array, "ratios"]:
        dtype = self.sample.inputs.dtype
        if self.law.alpha is None:
            return jnp.full(number, jnp.asarray(self.law.lam, dtype))
        if self.law.alpha == 1:  # draws of a Beta distribution are a hundred times slower
            return jax.random.uniform(key, (number,), dtype)
        return jax.random.beta(key, self.law.alpha, self.law.alpha, (number,), dtype)

    def pairs(self, index: Int[np.ndarray, "pairs"]) -> tuple[Array, Array]:
        first, second = index // self.labels.shape[0], index % self.labels.shape[0]
        lam = jnp.asarray(self.ratios.lam, self.labels.dtype)[None, :, None]

        def mix(values: Array) -> Array:
            return lam * values[first][:, None, :] + (1 - lam) * values[second][:, None, :]

        inputs = mix(self.sample.inputs)
        phi = self.features(inputs.reshape(-1, inputs.shape[2]))
        return phi.reshape(*inputs.shape[:2], -1), mix(self.labels)


def source_of(problem: Problem | ExpectedProblem) -> Source:
    """What a batch of the problem is drawn from."""
    if isinstance(problem, Problem):
        known = [problem.labels] if problem.clean_labels is None else [problem.labels, problem.clean_labels]
        return TableRows(problem.features, jnp.concatenate(known, axis=1), problem.labels.shape[1])
    if isinstance(problem, ExpectedProblem):
        labels = problem.sample.labels
        return FreshPairs(
            problem.sample, labels.reshape(len(labels), -1), problem.features, problem.law, problem.ratios
        )
    raise TypeError(
        f"problem: pass an rfm.Problem or an rfm.ExpectedProblem, got {type(problem).__name__}; a batch is drawn from "
        "rows that can be made one by one"
    )


def minibatch_curve(
    problem: Problem | ExpectedProblem,
    *,
    batch_size: int,
    step_size: float,
    steps: Clock,
    shared_lam: bool = False,
    replace: bool = True,
    ridge: float = 0.0,
    start: theory.Start | None = None,
    moments: Literal["auto", "exact", "diagonal"] = "auto",
) -> theory.MinibatchCurve:
    """The mean and the variance of mini-batch training in closed form: expected risk, spread, gradient norm.

    Args:
        problem: an `ExpectedProblem` for fresh pairs and ratios, or a `Problem` for batches of its rows.
        batch_size: B.
        step_size: eta, below the largest stable one in mean square.
        steps: the step counts, ascending.
        shared_lam: one ratio a batch instead of one a row.
        replace: whether the pairs of a batch are independent, or all different.
        ridge: coupled weight decay.
        start: the initial weights; None for zero.
        moments: ``exact`` for up to `theory.batches.MAX_EXACT_MODES` modes, ``diagonal`` for its approximation, or
            ``auto`` by their number; the curve says which.

    Raises:
        ValueError: a step at which the variance grows without bound, a batch of more different pairs than there are.

    >>> import rfm
    >>> problem = rfm.Problem(jnp.eye(2), jnp.ones(2), population=rfm.TestSet(jnp.eye(2), jnp.ones(2)))
    >>> curve = minibatch_curve(problem, batch_size=1, step_size=0.5, steps=[0, 1, 50])
    >>> curve.risk.round(4).tolist()  # half of the labels are seen in the first step
    [1.0, 0.625, 0.0]
    """
    law, source = _law(problem, batch_size, shared_lam, replace), source_of(problem)
    spectrum = problem.spectrum()
    diagonal = moments == "diagonal" or (moments == "auto" and spectrum.rank > MAX_EXACT_MODES)
    found = theory.batch_moments(spectrum, source.blocks(), source.node_weights, law, ridge=ridge, diagonal=diagonal)
    return theory.minibatch_curve(spectrum, problem.population, found, step_size, steps, start=start)


class MinibatchRuns(eqx.Module):
    """Several runs of mini-batch training.

    Attributes:
        steps: at which they were recorded.
        times: step_size * steps.
        parts: the risk and its parts, each [runs, times, targets].
        train_loss: over all that can be drawn, [runs, times].
        gradient_power: |g|^2 of the batch drawn next, by target.
        weights: of every run.
    """

    steps: Float[Array, "times"]
    times: Float[Array, "times"]
    parts: theory.RiskParts
    train_loss: Float[Array, "runs times"]
    gradient_power: Float[Array, "runs times targets"]
    weights: Float[Array, "runs times features targets"]

    def curve(self, run: int) -> theory.Curve:
        """One of the runs, as `rfm.simulate` records it."""
        parts = jax.tree.map(lambda leaf: leaf[run], self.parts)
        return recorded_curve(self.steps, self.times, parts, self.train_loss[run])


def simulate_minibatch(
    problem: Problem | ExpectedProblem,
    *,
    batch_size: int,
    step_size: float,
    steps: Clock,
    keys: Sequence[PRNGKeyArray],
    shared_lam: bool = False,
    replace: bool = True,
    ridge: float = 0.0,
    start: theory.Start | None = None,
    progress: Callable[[int], object] | None = None,
) -> MinibatchRuns:
    """Trains on batches of fresh rows, one run a key, side by side.

    A run is the same, to rounding, whichever runs are beside it and however often it is recorded.

    Args:
        problem: what is drawn from; features and truth must be traceable by JAX.
        batch_size: B.
        step_size: eta, below the largest stable one in mean square.
        steps: the step counts to record at, ascending.
        keys: one a run.
        shared_lam: one ratio a batch (as the reference implementations do) instead of one a row.
        replace: whether the pairs of a batch are independent, or all different.
        ridge: coupled weight decay.
        start: the initial weights; a variance draws them anew for each run.
        progress: called with the steps just done, of all runs together.

    Raises:
        ValueError: a step at which the variance grows without bound, a batch of more different pairs than there are,
            no key.

    >>> import rfm
    >>> problem = rfm.Problem(jnp.eye(2), jnp.ones(2), population=rfm.TestSet(jnp.eye(2), jnp.ones(2)))
    >>> runs = simulate_minibatch(problem, batch_size=1, step_size=0.5, steps=[0, 1], keys=[jax.random.key(0)])
    >>> runs.parts.risk[0, :, 0].tolist()
    [1.0, 0.625]
    """
    law, source = _law(problem, batch_size, shared_lam, replace), source_of(problem)
    recorded = check_steps(steps)
    if len(keys) == 0:
        raise ValueError("keys: there is none; pass one jax.random.key a run")
    rule = theory.GradientDescent(step_size, ridge)
    _check_stable(problem, source, law, rule)
    spectrum = problem.spectrum()
    num_targets, num_features = spectrum.label_coordinates.shape[1], spectrum.modes.shape[0]
    _check_traceable(source, law)
    dtype = spectrum.eigenvalues.dtype
    rows = 1 if spectrum.clean_coordinates is None else 2
    together = max(1, ENSEMBLE_BYTES // (batch_size * num_features * dtype.itemsize))
    pieces = []
    for first in range(0, len(keys), together):
        split = [jax.random.split(key) for key in keys[first : first + together]]
        begin = [initial_weights(num_features, num_targets, dtype, start, pair[0]) for pair in split]
        weights = jnp.stack([jnp.concatenate([w.T] * rows) for w in begin])
        run_keys = jnp.stack([pair[1] for pair in split])
        pieces.append(_train(source, law, rule, spectrum, problem.population, weights, run_keys, recorded, progress))
    parts, loss, gradient, trained = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *pieces)
    clock = jnp.asarray(recorded, dtype)
    return MinibatchRuns(clock, rule.time(clock), parts, loss, gradient, trained)


def largest_stable_step(
    problem: Problem | ExpectedProblem,
    *,
    batch_size: int,
    shared_lam: bool = False,
    replace: bool = True,
    ridge: float = 0.0,
) -> float:
    """The step size from which on the variance of mini-batch training grows without bound.

    By Lanczos iteration on E X S X, without its matrix: exact, as `theory.largest_stable_step`, as long as rows times
    features squared stay below `STABILITY_WORK`; beyond that some of the pairs stand for all.

    >>> import rfm
    >>> problem = rfm.Problem(jnp.asarray([[1.0], [3.0]]), jnp.ones(2), population=rfm.TestSet(jnp.eye(1), jnp.ones(1)))
    >>> round(largest_stable_step(problem, batch_size=1), 6)  # 2 E phi^2 / E phi^4
    0.243902
    """
    return _largest_stable_step(problem, source_of(problem), _law(problem, batch_size, shared_lam, replace), ridge)


def _largest_stable_step(
    problem: Problem | ExpectedProblem, source: Source, law: theory.BatchLaw, ridge: float
) -> float:
    spectrum = problem.spectrum()
    rank = spectrum.rank
    if rank == 0:
        return float("inf")
    modes, weights = spectrum.modes[:, :rank], np.asarray(source.node_weights)
    most = max(1, int(STABILITY_WORK / (len(weights) * rank**2)))
    rows = np.concatenate([np.asarray(features @ modes) for features, _ in source.blocks(most)])
    shifted = np.asarray(spectrum.eigenvalues[:rank]) + ridge
    scale = 1 / np.sqrt(shifted[:, None] + shifted[None, :])
    power = _BatchPower(rows, weights, np.asarray(spectrum.eigenvalues[:rank]), law, source.num_pairs)

    def apply(flat: np.ndarray) -> np.ndarray:
        scaled = scale * flat.reshape(rank, rank)
        pulled = ridge * (shifted[:, None] + shifted[None, :] - ridge) * scaled
        return (scale * (power(scaled) + pulled)).ravel()

    if rank == 1:
        return 1 / float(apply(np.ones(1))[0])
    operator = scipy.sparse.linalg.LinearOperator((rank**2, rank**2), matvec=apply, dtype=rows.dtype)
    # The largest eigenvalue's matrix is positive, so this start is not orthogonal to it.
    largest = scipy.sparse.linalg.eigsh(operator, k=1, v0=np.eye(rank).ravel(), tol=LANCZOS, return_eigenvectors=False)
    return 1 / float(largest[0])


class _BatchPower:
    """S -> E X S X of a batch's mean of phi phiᵀ, in the coordinates of the modes."""

    def __init__(
        self, rows: np.ndarray, weights: np.ndarray, eigenvalues: np.ndarray, law: theory.BatchLaw, num_pairs: int
    ) -> None:
        self.rows, self.weights, self.eigenvalues, self.law, self.num_pairs = rows, weights, eigenvalues, law, num_pairs
        scaled = rows * np.sqrt(weights / len(rows))[None, :, None]
        self.by_node = [scaled[:, q].T @ scaled[:, q] / weights[q] for q in range(len(weights))]

    def __call__(self, matrix: np.ndarray) -> np.ndarray:
        law = self.law
        own = self._rows(matrix)
        shared = law.shared_lam and len(self.weights) > 1
        two = self._nodes(matrix) if shared else np.outer(self.eigenvalues, self.eigenvalues) * matrix
        if not law.replace and self.num_pairs > 1:
            of_pairs = own if law.shared_lam or len(self.weights) == 1 else self._pairs(matrix)
            two = (self.num_pairs * two - of_pairs) / (self.num_pairs - 1)
        return own / law.size + (1 - 1 / law.size) * two

    def _rows(self, matrix: np.ndarray) -> np.ndarray:
        """The mean over rows of phi phiᵀ S phi phiᵀ."""
        flat = self.rows.reshape(-1, self.rows.shape[2])
        weights = np.tile(self.weights / len(self.rows), len(self.rows))
        return flat.T @ ((weights * np.sum((flat @ matrix) * flat, axis=1))[:, None] * flat)

    def _nodes(self, matrix: np.ndarray) -> np.ndarray:
        """The mean over ratios of C_q S C_q."""
        return sum(w * c @ matrix @ c for w, c in zip(self.weights, self.by_node, strict=True))

    def _pairs(self, matrix: np.ndarray) -> np.ndarray:
        """The mean over pairs of C_g S C_g, where C_g is a pair's mean over ratios."""
        inner = np.einsum("gqk,grk->gqr", self.rows @ matrix, self.rows, optimize=True)
        inner *= (self.weights[:, None] * self.weights[None, :])[None]
        return np.tensordot(self.rows, inner @ self.rows, ((0, 1), (0, 1))) / len(self.rows)


def _law(problem: Problem | ExpectedProblem, batch_size: int, shared_lam: bool, replace: bool) -> theory.BatchLaw:
    check_count("batch_size", batch_size)
    law = theory.BatchLaw(batch_size, shared_lam, replace)
    num_pairs = source_of(problem).num_pairs
    if not replace and batch_size > num_pairs:
        what = "rows" if isinstance(problem, Problem) else "pairs"
        raise ValueError(
            f"batch_size: {batch_size} different {what} asked for, but there are only {num_pairs}; pass at most that "
            "many, or replace=True"
        )
    return law


def _check_stable(
    problem: Problem | ExpectedProblem, source: Source, law: theory.BatchLaw, rule: theory.GradientDescent
) -> None:
    largest = _largest_stable_step(problem, source, law, float(rule.ridge))
    if rule.step_size >= largest:
        raise ValueError(
            f"step_size: at {float(rule.step_size):g} the variance of batches of {law.size} grows without bound; pass "
            f"a step below the largest stable one in mean square, {largest:.6g}, or larger batches"
        )


def _check_traceable(source: Source, law: theory.BatchLaw) -> None:
    try:
        eqx.filter_eval_shape(source.draw, jax.random.key(0), law)
    except jax.errors.JAXTypeError as error:
        raise TypeError(
            "features, truth: fresh rows are made inside compiled steps, so both must be traceable by JAX (jax.numpy "
            f"instead of numpy, no branches on values); {type(error).__name__} was raised"
        ) from error


def _train(
    source: Source,
    law: theory.BatchLaw,
    rule: theory.GradientDescent,
    spectrum: theory.Spectrum,
    population: theory.Averages,
    weights: Float[Array, "runs rows features"],
    keys: Array,
    recorded: np.ndarray,
    progress: Callable[[int], object] | None,
) -> tuple:
    """Runs side by side: parts, loss, gradient power and weights, each [runs, times, ...]."""
    rule = jax.tree.map(lambda number: jnp.asarray(number, weights.dtype), rule)  # else each step size compiles again
    records, done = [], 0
    for step in recorded:
        while done < step:
            count = int(min(step - done, STEPS_A_CALL))
            weights = _advance(source, law, rule, weights, keys, jnp.asarray(done), jnp.asarray(count))
            jax.block_until_ready(weights)
            done += count
            if progress is not None:
                progress(count * len(weights))
        records.append(_measure(source, law, rule, spectrum, population, weights, keys, jnp.asarray(done)))
    return jax.tree.map(lambda *leaves: jnp.stack(leaves, axis=1), *records)


def _gradient(
    source: Source,
    law: theory.BatchLaw,
    ridge: float | Array,
    weights: Float[Array, "rows features"],
    key: PRNGKeyArray,
) -> Float[Array, "rows features"]:
    features, labels = source.draw(key, law)
    residual = weights @ features.T - labels.T
    return residual @ features / law.size + ridge * weights


@eqx.filter_jit
def _advance(
    source: Source,
    law: theory.BatchLaw,
    rule: theory.GradientDescent,
    weights: Float[Array, "runs rows features"],
    keys: Array,
    done: Array,
    count: Array,
) -> Float[Array, "runs rows features"]:
    def step(index: Array, weights: Array) -> Array:
        def one(weights: Array, key: PRNGKeyArray) -> Array:
            return _gradient(source, law, rule.ridge, weights, jax.random.fold_in(key, index))

        return weights - rule.step_size * jax.vmap(one)(weights, keys)

    return jax.lax.fori_loop(done, done + count, step, weights)


@eqx.filter_jit
def _measure(
    source: Source,
    law: theory.BatchLaw,
    rule: theory.GradientDescent,
    spectrum: theory.Spectrum,
    population: theory.Averages,
    weights: Float[Array, "runs rows features"],
    keys: Array,
    done: Array,
) -> tuple[theory.RiskParts, Array, Array, Array]:
    num_targets = spectrum.label_coordinates.shape[1]
    trained, clean = weights[:, :num_targets], weights[:, num_targets:]
    # Runs stand where a curve has its times.
    stacked = jnp.transpose(trained, (2, 0, 1))
    noise = stacked - jnp.transpose(clean, (2, 0, 1)) if clean.shape[1] else None
    parts = population.risk_parts(stacked, noise)
    fitted = jnp.sqrt(spectrum.eigenvalues)[:, None, None] * jnp.tensordot(spectrum.modes.T, stacked, 1)
    misfit = jnp.sum((fitted - spectrum.label_coordinates[:, None, :]) ** 2, axis=0) + spectrum.label_outside[None, :]

    def one(weights: Array, key: PRNGKeyArray) -> Array:
        return _gradient(source, law, rule.ridge, weights, jax.random.fold_in(key, done))

    gradient = jax.vmap(one)(weights, keys)[:, :num_targets]
    return parts, jnp.sum(misfit, axis=1) / 2, jnp.sum(gradient**2, axis=2), jnp.swapaxes(trained, 1, 2)


def _draw_pairs(key: PRNGKeyArray, law: theory.BatchLaw, num_pairs: int) -> Int[Array, "rows"]:
    if law.replace:
        return jax.random.randint(key, (law.size,), 0, num_pairs)
    if law.size**2 > num_pairs:
        return jax.random.permutation(key, num_pairs)[: law.size]

    # Drawn again until all differ, which a small batch mostly does at once: uniform over all different ones.
    def clashes(state: tuple[PRNGKeyArray, Array]) -> Array:
        ordered = jnp.sort(state[1])
        return jnp.any(ordered[1:] == ordered[:-1])

    def again(state: tuple[PRNGKeyArray, Array]) -> tuple[PRNGKeyArray, Array]:
        now, later = jax.random.split(state[0])
        return later, jax.random.randint(now, (law.size,), 0, num_pairs)

    return jax.lax.while_loop(clashes, again, again((key, jnp.zeros(law.size, int))))[1]
