"""The real thing: training on the mixed features, recorded as the same curve that theory predicts.

Each full-batch gradient computes the residual of every row and pushes it back through the features,

    (Phi theta - y)ᵀ Phi / m + ridge theta,

and knows nothing of eigenvalues; the rule makes a step of it (`theory.Rule.step`). Where the clean labels are known, a
second model is trained on them from the same start; the two differ by what the label noise has been learnt to. Batches
of fresh rows are trained by `rfm.training.batches`.
"""

from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

import theory
from rfm.phases import TrainingPhase, check_phases
from rfm.problem import Problem, Solvable, check_population
from rfm.solve import Solution, problem_of
from rfm.training.batches import simulate_minibatch
from rfm.training.start import STEPS_A_CALL, initial_rows, initial_weights, recorded_curve
from theory.checks import Clock, check_steps, untraced
from theory.linalg import on_device
from theory.phases import check_reached
from theory.rules.rule import State, check_takes_steps, elapsed, traced

Progress = Callable[[int], object]
"""Called with the number of steps just done, for all problems together."""


@untraced
def simulate(
    problem: Solvable | Solution,
    *,
    steps: Clock,
    step_size: float | None = None,
    rule: theory.Rule | None = None,
    batches: theory.Batches | None = None,
    ridge: float = 0.0,
    start: theory.Start | None = None,
    key: PRNGKeyArray | None = None,
    progress: Progress | None = None,
) -> theory.curve.MeasuredCurve:
    """Trains on all rows, or by gradient descent on batches of fresh ones, and records the risk.

    Args:
        problem: what is trained, or its solution.
        steps: the step counts to record at, ascending.
        step_size: eta of gradient descent, below the largest stable one; or
        rule: any rule that takes steps, such as ``theory.HeavyBall(step_size, momentum)``; not with batches.
        batches: of rows drawn anew at every step: pairs and ratios of an `ExpectedProblem`, or rows of a `Problem`;
            `rfm.simulate_minibatch` trains many such runs side by side. None for all rows of a `Problem`.
        ridge: coupled weight decay; a rule brings its own.
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
    known = problem_of(problem)
    if batches is not None:
        if step_size is None or rule is not None:
            raise ValueError("step_size, rule: batches are trained by gradient descent; pass step_size=, and no rule=")
        if key is None:
            raise ValueError("key: batches are drawn at random; pass key=jax.random.key(seed)")
        return simulate_minibatch(
            problem,
            batches,
            step_size=step_size,
            steps=steps,
            keys=[key],
            ridge=ridge,
            start=start,
            progress=progress,
        ).curve(0)
    known.table()  # before whatever else is wrong
    if step_size is not None and rule is None:
        rule = theory.GradientDescent(step_size, ridge)
    elif rule is None or step_size is not None:
        raise ValueError(f"step_size, rule: pass one of them, got {step_size} and {rule}")
    elif ridge != 0:
        raise ValueError(f"ridge: {type(rule).__name__} brings its own; pass the rule with ridge={ridge}")
    return simulate_phases([TrainingPhase(problem, rule)], steps=steps, start=start, key=key, progress=progress)


@untraced
def simulate_phases(
    phases: Sequence[TrainingPhase],
    *,
    steps: Clock,
    start: theory.Start | None = None,
    key: PRNGKeyArray | None = None,
    progress: Progress | None = None,
) -> theory.curve.MeasuredCurve:
    """Trains in phases, such as Mixup until t_1 and plain training after it; momentum begins anew with each.

    Args:
        phases: in their order, of the same features and targets; the risk is that over the first one's population.
        steps: the step counts to record at, from the beginning of the first phase on.
        start: the initial weights; a variance draws them at random about that mean. None for zero.
        key: draws a random start.
        progress: called as training goes on.

    Raises:
        ValueError: a step size that diverges, steps past the end of the phases, a random start without a key.

    >>> import jax.numpy as jnp, rfm, theory
    >>> test = theory.TestSet(jnp.eye(2), jnp.ones(2))
    >>> noisy, plain = (rfm.Problem(jnp.eye(2), labels, population=test) for labels in (3 * jnp.ones(2), jnp.ones(2)))
    >>> descent = theory.GradientDescent(1.0)
    >>> phases = [rfm.TrainingPhase(noisy, descent, 2), rfm.TrainingPhase(plain, descent)]
    >>> simulate_phases(phases, steps=[0, 1, 2, 3]).risk.tolist()
    [1.0, 0.25, 1.5625, 0.390625]
    """
    check_phases(phases)
    ends = theory.phases.phase_ends([(phase.rule, phase.duration) for phase in phases])
    recorded = check_steps(steps)
    check_reached(recorded, ends[-1])
    problems = [problem_of(phase.problem).table() for phase in phases]
    for phase in phases:
        check_takes_steps(phase.rule)
        phase.rule.check_stable(phase.problem.largest_eigenvalue())
    first = problems[0]
    num_features, num_targets, dtype = first.features.shape[1], first.labels.shape[1], first.features.dtype
    for problem in problems:
        check_population(first.population, problem.features.shape[1], problem.labels.shape[1])
    split = all(problem.clean_labels is not None for problem in problems)
    initial = initial_weights(num_features, num_targets, dtype, start, key)
    weights = initial_rows(initial, start, split)
    records: list[_Record] = []
    times, passed = [], np.zeros((), dtype)
    for problem, phase, begin, end in zip(problems, phases, [0.0, *ends[:-1]], ends, strict=True):
        if end == begin:
            continue
        last = min(end, recorded[-1])
        inside = recorded[(recorded > begin) & (recorded <= end) | (recorded == begin) & (begin == 0)] - begin
        # Before training: a schedule may be too short.
        until = np.asarray(elapsed(phase.rule, np.append(inside, max(last - begin, 0)), dtype))
        times.append(passed + until[:-1])
        passed = passed + until[-1]
        model = _Model.of(problem, phase.rule, split)
        found, weights = _train(model, weights, inside, max(last - begin, 0), first.population, progress)
        records += found
    joined: _Record = jax.tree.map(lambda *rows: on_device(np.concatenate(rows)), *records)
    return recorded_curve(on_device(recorded, dtype), on_device(np.concatenate(times)), *joined, first.population)


class _Model(eqx.Module):
    """What is trained, and how; one row of weights a set of labels: the labels, then the clean labels."""

    features: Float[Array, "samples features"]
    labels: Float[Array, "rows samples"]
    rule: theory.Rule
    num_targets: int = eqx.field(static=True)

    @staticmethod
    def of(problem: Problem, rule: theory.Rule, split: bool) -> "_Model":
        dtype = problem.features.dtype
        labels = [problem.labels, problem.clean_labels] if split else [problem.labels]
        known = np.concatenate([np.asarray(array) for array in labels if array is not None], axis=1)
        return _Model(
            problem.features,
            on_device(known.T, dtype),
            traced(rule, dtype),
            problem.labels.shape[1],
        )

    def gradient(self, weights: Float[Array, "rows features"]) -> Float[Array, "rows features"]:
        # Rows of weights, not columns: XLA then multiplies by Phi and its transpose without copying either.
        residual = weights @ self.features.T - self.labels
        return residual @ self.features / self.features.shape[0] + self.rule.ridge * weights


_Record = tuple[theory.population.RiskParts, Float[Array, "times"], Float[Array, "times"]]


def _train(
    model: _Model,
    weights: Float[Array, "rows features"],
    steps: np.ndarray,
    last: float,
    population: theory.Averages,
    progress: Progress | None,
) -> tuple[list[_Record], Float[Array, "rows features"]]:
    """The risk and its parts, training loss and |theta|^2, at the steps, and the weights at the last one."""
    state, done = model.rule.begin(weights), 0
    records: list[_Record] = []
    for target in [*steps, last]:
        while done < target:
            count = int(min(target - done, STEPS_A_CALL))
            state = _advance(model, state, on_device(done), on_device(count))
            jax.block_until_ready(state)
            done += count
            if progress is not None:
                progress(count)
        if len(records) < len(steps):
            records.append(_measure(model, state, on_device(done), population))
    return records, _answer(model, state, on_device(done))


@eqx.filter_jit
def _advance(model: _Model, state: State, done: Array, count: Array) -> State:
    def one(k: Array, state: State) -> State:
        return model.rule.step(model.gradient, k, state)

    return jax.lax.fori_loop(done, done + count, one, state)


@eqx.filter_jit
def _answer(model: _Model, state: State, done: Array) -> Float[Array, "rows features"]:
    return model.rule.answer(state, done)


@eqx.filter_jit
def _measure(model: _Model, state: State, done: Array, population: theory.Averages) -> _Record:
    weights, num_targets = model.rule.answer(state, done), model.num_targets
    trained = weights[:num_targets].T[:, None, :]
    clean = weights[num_targets:].T[:, None, :]
    noise = trained - clean if clean.size else None
    residual = weights[:num_targets] @ model.features.T - model.labels[:num_targets]
    loss = jnp.sum(residual**2) / (2 * model.features.shape[0])
    return population.risk_parts(trained, noise), loss[None], jnp.sum(trained**2)[None]
