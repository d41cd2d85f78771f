"""Is the advice good? On random splits of the data, against real training that knows none of the formulas.

For each split the advice is asked for on the training rows alone. Then mini-batch gradient descent really trains on
all of them, with Mixup on a table of random pairs and without, and the test rows say how much the advised stop loses
against the best step of the same run, which nobody can know beforehand.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import rfm
from experiments.data_configs import AdviseConfig
from experiments.own_data import OwnData
from experiments.variables import Stage, Variable, Variables
from rfm.data.datasets import as_numbers
from rfm.data.frozen import PAIRS_PER_ROW
from rfm.decide.estimates import Metric
from rfm.decide.featured import Data, Split, errors_of, featured
from rfm.decide.parts import counted
from rfm.decide.splits import Rows
from rfm.problem import Solvable

BATCH_SIZE = 512
"""Large, so that what is measured is the choice of the time more than the noise of batches."""
TEST_SHARE = 4
"""One row in so many is held out from advice and training."""
MOST_STEPS = 1_000_000
NUM_RECORDED = 80

Adviser = Callable[[OwnData, jax.Array, Any], rfm.decide.Advice]


def check_advice(
    config: AdviseConfig, data: OwnData, law: rfm.Mixup | None, advise: Adviser, key: jax.Array, stage: Stage
) -> Variables:
    """What the advice loses on each split, against the best step of the run.

    Of squared errors that is the risk over the lowest, minus 1; of classes that are wrong, which may be none, the share
    above the lowest.

    Args:
        config: what was asked for; ``num_seeds`` splits.
        data: all rows.
        law: of mixing; None for rows that are mixed already.
        advise: gives advice on data.
        key: one split draws from one key folded from it.
        stage: told of the work as it is done.

    Raises:
        ValueError: a split that trains on no row of some class, or tests on nothing but the most frequent one; a budget
            of more than `MOST_STEPS` steps.
    """
    found = {name: np.empty(config.num_seeds) for name in _FOUND}
    advance = stage("check by real training", config.num_seeds)
    num_rows = config.num_rows or len(data.inputs) - len(data.inputs) // TEST_SHARE
    for index in range(config.num_seeds):
        split_key, advice_key, pair_key, batch_key = jax.random.split(jax.random.fold_in(key, index), 4)
        order = np.asarray(jax.random.permutation(split_key, len(data.inputs)))
        rows, test = np.split(order, [num_rows])
        data.check_classes(rows, f"num_rows: of {num_rows} random rows (seed {index} of the check)")
        advice = advise(data.part(rows), advice_key, None)
        split, problems = _problems(config, data, law, Rows(np.sort(rows), np.sort(test)), pair_key)
        for name, value in _of_split(advice, split, problems, config.batch_size or BATCH_SIZE, batch_key).items():
            found[name][index] = value
        advance(1)
    return {"seed": Variable(("seed",), np.arange(config.num_seeds), "1", "index of the split")} | {
        name: Variable(("seed",), found[name], "1", about) for name, about in _FOUND.items()
    }


_FOUND = {
    "lost_at_stop": "lost at the advised stop against the best step of the same run with Mixup",
    "lost_at_budget": "lost by Mixup until the budget against the same",
    "range_holds_best": "whether the range of that stop holds that best step",
    "lost_by_advice": "lost by what is advised against the best step of both runs",
    "lost_by_going_on": "lost by the advised way of training at the budget against the same",
    "advice_is_told": "whether the advice tells its stop from going on to the budget",
    "learns": "whether the advice says that anything is learnt; if not, it is to predict the mean",
}


def _problems(
    config: AdviseConfig, data: OwnData, law: rfm.Mixup | None, rows: Rows, key: jax.Array
) -> tuple[Split, tuple[Solvable, Solvable]]:
    """All rows, and Mixup on a table of random pairs and plain training of the same."""
    numbers = Data.of(as_numbers(data.inputs, data.targets, missing=config.missing))
    drawn = None if law is None else law.drawing(config.num_pairs or PAIRS_PER_ROW * len(rows.train))
    asked = drawn or rfm.Mixup(lam=1.0), rfm.ERM()
    inputs, maker, laws = featured(numbers.inputs, data.features, asked, config.num_components, key)
    split = maker.split(numbers._replace(inputs=inputs), rows)
    mixup, plain = (maker.problem(split, rows, law, 1.0, key) for law in laws)
    return split, (mixup, plain)


def _of_split(
    advice: rfm.decide.Advice, split: Split, problems: tuple[Solvable, Solvable], batch_size: int, key: jax.Array
) -> dict[str, float]:
    mixup, plain = problems
    last = advice.steps(advice.budget)
    if not 1 <= last <= MOST_STEPS:
        raise ValueError(f"budget: is {last} steps of {advice.step_size:.3g}; a check trains 1 to {MOST_STEPS} of them")
    marked: dict[str, int] = {action.name: min(max(1, advice.steps(action.time)), last) for action in advice.actions}
    grid = np.unique(np.round(np.geomspace(1, last, NUM_RECORDED)))
    steps = np.unique([*grid, *marked.values()])
    mixup_key, plain_key, rest_key = jax.random.split(key, 3)
    trained = _trained(mixup, advice.step_size, batch_size, steps, mixup_key)
    alone = _trained(plain, advice.step_size, batch_size, steps, plain_key)
    risks = {name: _risk(runs, split, advice.metric) for name, runs in (("stop", trained), ("plain", alone))}
    place = {name: int(np.searchsorted(steps, step)) for name, step in marked.items()}
    at_stop = {name: risk[place[name]] for name, risk in risks.items()}
    at_end = {name: risk[-1] for name, risk in risks.items()}
    advised = advice.recommended.name
    if advised == "switch":
        start = rfm.Start(trained.weights[0, place["switch"]])
        left = np.asarray([last - marked["switch"]])
        rest = _trained(plain, advice.step_size, batch_size, left, rest_key, start)
        at_stop["switch"], at_end["switch"] = _risk(rest, split, advice.metric)[0], at_end["stop"]
    by_advice = at_stop[advised] if advice.beats_mean else np.mean(counted(advice.metric, split.null()))
    lowest, low, high = min(risk.min() for risk in risks.values()), *map(advice.steps, advice.stop.interval)

    def lost(risk: np.ndarray, best: np.ndarray) -> float:
        return float(risk - best if advice.metric == "accuracy" else risk / best - 1)

    return {
        "lost_at_stop": lost(at_stop["stop"], risks["stop"].min()),
        "lost_at_budget": lost(at_end["stop"], risks["stop"].min()),
        "range_holds_best": bool(low <= steps[np.argmin(risks["stop"])] <= high),
        "lost_by_advice": lost(by_advice, lowest),
        "lost_by_going_on": lost(at_end[advised], lowest),
        "advice_is_told": advice.beats_mean and advice.is_told(advice.recommended),
        "learns": advice.beats_mean,
    }


def _trained(
    problem: Solvable,
    step_size: float,
    batch_size: int,
    steps: np.ndarray,
    key: jax.Array,
    start: rfm.Start | None = None,
) -> rfm.training.MinibatchRuns:
    return rfm.simulate_minibatch(
        problem, rfm.Batches(batch_size), step_size=step_size, steps=steps, keys=[key], start=start
    )


def _risk(runs: rfm.training.MinibatchRuns, split: Split, metric: Metric) -> np.ndarray:
    """Summed over targets, or the share of wrong classes, at each of the steps."""
    predictions = jnp.einsum("rp,spk->rsk", split.test.features, runs.weights[0])
    return counted(metric, errors_of(predictions, split.test, split.classes)).mean(axis=0)
