"""The real thing: gradient descent on the mixed features, recorded as the same curve that theory predicts.

Each full-batch step computes the residual of every row and pushes it back through the features,

    theta <- theta - eta [ (Phi theta - y)ᵀ Phi / m + ridge theta ],

and knows nothing of eigenvalues. Where the clean labels are known, a second model is trained on them from the same
start; the two differ by what the label noise has been learnt to. Batches of fresh rows are trained by `rfm.minibatch`.
"""

import os
import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from typing import Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
import scipy.sparse.linalg
from jaxtyping import Array, Float, PRNGKeyArray

import theory
from rfm.expected import ExpectedProblem
from rfm.minibatch import simulate_minibatch
from rfm.problem import Problem
from rfm.runs import STEPS_A_CALL, initial_weights, recorded_curve
from theory.checks import Clock, check_steps

SMALL_SIDE = 20


@runtime_checkable
class Progress(Protocol):
    """Called with the number of steps just done, for all problems together."""

    def __call__(self, steps: int) -> object: ...


def simulate(
    problem: Problem | ExpectedProblem,
    *,
    step_size: float,
    steps: Clock,
    batch_size: int | None = None,
    shared_lam: bool = False,
    replace: bool = True,
    ridge: float = 0.0,
    start: theory.Start | None = None,
    key: PRNGKeyArray | None = None,
    progress: Progress | None = None,
) -> theory.Curve:
    """Trains by gradient descent, on all rows or on batches of fresh ones, and records the risk.

    Args:
        problem: what is trained.
        step_size: eta, below the largest stable one.
        steps: the step counts to record at, ascending.
        batch_size: B, rows drawn anew at every step: pairs and ratios of an `ExpectedProblem`, or rows of a `Problem`;
            `rfm.simulate_minibatch` trains many such runs side by side. None for all rows of a `Problem`.
        shared_lam: one ratio a batch instead of one a row.
        replace: whether the pairs of a batch are independent, or all different.
        ridge: coupled weight decay.
        start: the initial weights; a variance draws them at random about that mean. None for zero.
        key: draws batches and a random start.
        progress: called as training goes on.

    Raises:
        ValueError: a step size that diverges, steps that do not ascend, a random start or batches without a key.

    >>> import jax.numpy as jnp, rfm, theory
    >>> problem = rfm.Problem(jnp.eye(2), jnp.ones(2), population=theory.TestSet(jnp.eye(2), jnp.ones(2)))
    >>> simulate(problem, step_size=1.0, steps=[0, 1, 2]).risk.tolist()
    [1.0, 0.25, 0.0625]
    """
    if batch_size is not None:
        if key is None:
            raise ValueError("key: batches are drawn at random; pass key=jax.random.key(seed)")
        return simulate_minibatch(
            problem,
            batch_size=batch_size,
            step_size=step_size,
            steps=steps,
            keys=[key],
            shared_lam=shared_lam,
            replace=replace,
            ridge=ridge,
            start=start,
            progress=progress,
        ).curve(0)
    if shared_lam or not replace:
        raise ValueError("shared_lam, replace: they say how batches are drawn; pass batch_size=, or leave them out")
    if isinstance(problem, ExpectedProblem):
        raise ValueError(
            "batch_size: fresh pairs come in batches; pass batch_size= (rfm.closed_form has the mean of all)"
        )
    if not isinstance(problem, Problem):
        raise TypeError(
            f"problem: pass an rfm.Problem, got {type(problem).__name__}; problems in blocks or in infinitely many "
            "features are solved by closed_form only, and rfm.synthesize without either builds one that can be trained"
        )
    rule = theory.GradientDescent(step_size, ridge)
    recorded = check_steps(steps)
    theory.check_stable(rule, largest_eigenvalue(problem))
    model = _Model.at_start(problem, rule, start, key)
    parts, losses, done = [], [], 0
    for step in recorded:
        while done < step:
            count = int(min(step - done, STEPS_A_CALL))
            model = _advance(model, jnp.asarray(count))
            jax.block_until_ready(model.weights)
            done += count
            if progress is not None:
                progress(count)
        part, loss = _measure(model, problem.population)
        parts.append(part)
        losses.append(loss)
    clock = jnp.asarray(recorded, problem.features.dtype)
    joined: theory.RiskParts = jax.tree.map(lambda *rows: jnp.concatenate(rows), *parts)
    return recorded_curve(clock, rule.time(clock), joined, jnp.stack(losses))


def simulate_many(
    problems: Sequence[Problem],
    *,
    step_size: float,
    steps: Clock,
    ridge: float = 0.0,
    start: theory.Start | None = None,
    keys: Sequence[PRNGKeyArray] | None = None,
    progress: Progress | None = None,
    num_workers: int | None = None,
) -> list[theory.Curve]:
    """`simulate` for several problems, such as the seeds of an ensemble: compiled once, trained on all cores.

    The curves are those of `simulate`, bit for bit, whatever the number of workers. (Separate matrices on separate
    cores beat one batched product: a batch of matrices no longer fits the caches that one matrix does.)

    Args:
        problems: one a seed.
        step_size: eta, the same for all.
        steps: the step counts to record at.
        ridge: coupled weight decay.
        start: the initial weights; None for zero.
        keys: one a problem, for a random start.
        progress: called with the steps done, from any of the workers.
        num_workers: threads; None for one a core.
    """
    if keys is not None and len(keys) != len(problems):
        raise ValueError(f"keys: there are {len(keys)} for {len(problems)} problems; pass one a problem")

    stopped = threading.Event()

    def report(steps: int) -> None:
        if stopped.is_set():
            raise CancelledError
        if progress is not None:
            progress(steps)

    def run(index: int) -> theory.Curve:
        key = None if keys is None else keys[index]
        return simulate(
            problems[index], step_size=step_size, steps=steps, ridge=ridge, start=start, key=key, progress=report
        )

    with ThreadPoolExecutor(num_workers or os.cpu_count()) as pool:
        try:
            return list(pool.map(run, range(len(problems))))
        except BaseException:  # Ctrl-C reaches this thread only: without a word, the others would train to the end
            stopped.set()
            raise


def largest_eigenvalue(problem: Problem) -> float:
    """mu_max of Phiᵀ Phi / m, by Lanczos iteration (by eigh where a side of Phi is short).

    >>> import jax.numpy as jnp, rfm, theory
    >>> round(largest_eigenvalue(rfm.Problem(jnp.diag(jnp.asarray([2.0, 1.0])), jnp.ones(2),
    ...                                      population=theory.TestSet(jnp.eye(2), jnp.ones(2)))), 6)
    2.0
    """
    phi = np.asarray(problem.features)
    rows, columns = phi.shape
    if not phi.any():  # nothing for Lanczos to start from
        return 0.0
    if min(rows, columns) <= SMALL_SIDE:
        small = phi @ phi.T if rows < columns else phi.T @ phi
        top = len(small) - 1
        return float(scipy.linalg.eigh(small / rows, eigvals_only=True, subset_by_index=[top, top])[0])
    start = np.ones(min(phi.shape), phi.dtype)  # fixed, so that the same problem gives the same number
    singular = scipy.sparse.linalg.svds(phi, k=1, v0=start, return_singular_vectors=False)
    return float(singular[0]) ** 2 / rows


class _Model(eqx.Module):
    """Weights in training, one row a set of labels: the labels, then the clean labels."""

    features: Float[Array, "samples features"]
    labels: Float[Array, "rows samples"]
    weights: Float[Array, "rows features"]
    step_size: Float[Array, ""]
    ridge: Float[Array, ""]
    num_targets: int = eqx.field(static=True)

    @staticmethod
    def at_start(
        problem: Problem, rule: theory.GradientDescent, start: theory.Start | None, key: PRNGKeyArray | None
    ) -> "_Model":
        dtype, num_targets = problem.features.dtype, problem.labels.shape[1]
        labels = [problem.labels] if problem.clean_labels is None else [problem.labels, problem.clean_labels]
        initial = initial_weights(problem.features.shape[1], num_targets, dtype, start, key)
        return _Model(
            problem.features,
            jnp.concatenate(labels, axis=1).T.astype(dtype),
            jnp.concatenate([initial.T] * len(labels)),
            jnp.asarray(rule.step_size, dtype),
            jnp.asarray(rule.ridge, dtype),
            num_targets,
        )

    def gradient(self, weights: Float[Array, "rows features"]) -> Float[Array, "rows features"]:
        # Rows of weights, not columns: XLA then multiplies by Phi and its transpose without copying either.
        residual = weights @ self.features.T - self.labels
        return residual @ self.features / self.features.shape[0] + self.ridge * weights


@eqx.filter_jit
def _advance(model: _Model, count: Array) -> _Model:
    def step(_: Array, weights: Array) -> Array:
        return weights - model.step_size * model.gradient(weights)

    return eqx.tree_at(lambda m: m.weights, model, jax.lax.fori_loop(0, count, step, model.weights))


@eqx.filter_jit
def _measure(model: _Model, population: theory.Averages) -> tuple[theory.RiskParts, Array]:
    num_targets = model.num_targets
    trained = model.weights[:num_targets].T[:, None, :]
    clean = model.weights[num_targets:].T[:, None, :]
    noise = trained - clean if clean.size else None
    residual = model.weights[:num_targets] @ model.features.T - model.labels[:num_targets]
    loss = jnp.sum(residual**2) / (2 * model.features.shape[0])
    return population.risk_parts(trained, noise), loss
