"""Is the advice good? On random splits of the data, against real training that knows none of the formulas.

For each split the advice is asked for on the training rows alone. Then mini-batch gradient descent really trains on
all of them, with Mixup on a table of random pairs and without, and the test rows say how much the advised stop loses
against the best step of the same run, which nobody can know beforehand.
"""

from collections.abc import Callable
from typing import Literal

import jax
import numpy as np

import rfm
from experiments.configs import AdviseConfig
from experiments.laws import mixup as law_of
from experiments.variables import Stage, Variable, Variables
from rfm.data.datasets import as_numbers
from rfm.decide.parts import Split, feature_map
from rfm.problem import Solvable

PAIRS_PER_ROW = 20
"""Random pairs of the table on which Mixup is really trained, per row."""
BATCH_SIZE = 512
"""Large, so that what is measured is the choice of the time more than the noise of batches."""
TEST_SHARE = 4
"""One row in so many is held out from advice and training."""
MOST_STEPS = 1_000_000
NUM_RECORDED = 80

Adviser = Callable[[np.ndarray, jax.Array, Callable[[int], object] | None], rfm.decide.Advice]


def check_advice(
    config: AdviseConfig,
    inputs: np.ndarray,
    targets: np.ndarray,
    features: rfm.features.FeatureMap | Literal["raw"],
    advise: Adviser,
    key: jax.Array,
    stage: Stage,
) -> Variables:
    """What the advice loses on each split: risk over the lowest risk of the run, minus 1.

    Args:
        config: what was asked for; ``num_seeds`` splits.
        inputs: all rows.
        targets: likewise.
        features: of standardised inputs.
        advise: gives advice on the rows of those indices.
        key: one split draws from one key folded from it.
        stage: told of the work as it is done.

    Raises:
        ValueError: too few rows, or a budget of more than `MOST_STEPS` steps.
    """
    lost = {name: np.empty(config.num_seeds) for name in _LOSSES}
    advance = stage("check by real training", config.num_seeds)
    for index in range(config.num_seeds):
        split_key, advice_key, pair_key, batch_key = jax.random.split(jax.random.fold_in(key, index), 4)
        order = np.asarray(jax.random.permutation(split_key, len(inputs)))
        test, rows = np.split(order, [len(inputs) // TEST_SHARE])
        advice = advise(rows, advice_key, None)
        mixup, plain = _problems(config, inputs, targets, features, rows, test, pair_key)
        for name, value in _losses(advice, mixup, plain, batch_key).items():
            lost[name][index] = value
        advance(1)
    return {"seed": Variable(("seed",), np.arange(config.num_seeds), "1", "index of the split")} | {
        name: Variable(("seed",), lost[name], "1", about) for name, about in _LOSSES.items()
    }


_LOSSES = {
    "lost_at_stop": "risk at the advised stop over the lowest of the same run with Mixup, minus 1",
    "lost_at_budget": "risk of Mixup at the budget over the lowest of the same run, minus 1",
    "lost_by_advice": "risk of the advised action over the lowest of both runs, minus 1",
}


def _problems(
    config: AdviseConfig,
    inputs: np.ndarray,
    targets: np.ndarray,
    features: rfm.features.FeatureMap | Literal["raw"],
    rows: np.ndarray,
    test: np.ndarray,
    key: jax.Array,
) -> tuple[Solvable, Solvable]:
    """Mixup on a table of random pairs, and plain training, of the same rows."""
    phi = feature_map(features)
    sample, population = Split.of(*as_numbers(inputs, targets), rows, test, phi)
    num_pairs = PAIRS_PER_ROW * len(rows) if config.num_pairs is None else config.num_pairs
    laws = (law_of(config, num_pairs, alpha=config.alpha), rfm.ERM())
    mixup, plain = (rfm.synthesize(sample, phi, law, population=population, key=key) for law in laws)
    return mixup, plain


def _losses(advice: rfm.decide.Advice, mixup: Solvable, plain: Solvable, key: jax.Array) -> dict[str, float]:
    last = advice.steps(advice.budget)
    if not 1 <= last <= MOST_STEPS:
        raise ValueError(f"budget: is {last} steps of {advice.step_size:.3g}; a check trains 1 to {MOST_STEPS} of them")
    marked: dict[str, int] = {action.name: min(max(1, advice.steps(action.time)), last) for action in advice.actions}
    grid = np.unique(np.round(np.geomspace(1, last, NUM_RECORDED)))
    steps = np.unique([*grid, *marked.values()])
    mixup_key, plain_key, rest_key = jax.random.split(key, 3)
    trained = _trained(mixup, advice.step_size, steps, mixup_key)
    risks = {"stop": _risk(trained), "plain": _risk(_trained(plain, advice.step_size, steps, plain_key))}
    place = {name: int(np.searchsorted(steps, step)) for name, step in marked.items()}
    found = {name: risk[place[name]] for name, risk in risks.items()}
    if advice.recommended.name == "switch":
        start = rfm.Start(trained.weights[0, place["switch"]])
        left = np.asarray([last - marked["switch"]])
        found["switch"] = _risk(_trained(plain, advice.step_size, left, rest_key, start))[0]
    return {
        "lost_at_stop": found["stop"] / risks["stop"].min() - 1,
        "lost_at_budget": risks["stop"][-1] / risks["stop"].min() - 1,
        "lost_by_advice": found[advice.recommended.name] / min(risk.min() for risk in risks.values()) - 1,
    }


def _trained(
    problem: Solvable, step_size: float, steps: np.ndarray, key: jax.Array, start: rfm.Start | None = None
) -> rfm.training.MinibatchRuns:
    return rfm.simulate_minibatch(
        problem, rfm.Batches(BATCH_SIZE), step_size=step_size, steps=steps, keys=[key], start=start
    )


def _risk(runs: rfm.training.MinibatchRuns) -> np.ndarray:
    """Summed over targets, at each of the steps."""
    return np.asarray(runs.parts.risk[0]).sum(axis=1)
