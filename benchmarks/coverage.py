"""Do the intervals of `rfm advise` hold what they say? On simulated data whose truth is known: `python -m
benchmarks.coverage`, about an hour; fewer sets with ``--num-sets 50``.

For each data set the advice is asked for on n rows. Then all n rows are trained on, and many fresh ones measure what is
true of that model: its best times, its risks, its costs. What is called 90 % should hold the true value in 90 of 100
data sets. The seeds are others than those by which the errors were calibrated.
"""

import argparse

import jax
import numpy as np

import rfm
from rfm.decide.estimates import CALLED

NUM_FRESH, FIRST_SEED = 4000, 10_000
SIZES = (40, 160, 640)
TASKS = ((4, 0.5), (4, 1.0), (8, 0.5), (8, 1.0))
"""Inputs, and the standard deviation of the labels' noise; the truth's is about one."""
ERRORS = 1.645
"""On either side, in which a normal law holds what is called 90 %."""


def main() -> None:
    """Prints in how many data sets of each size the true value is inside."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage", description=__doc__)
    parser.add_argument("--num-sets", type=int, default=400, help="simulated data sets of each size")
    parser.add_argument("--num-features", type=int, default=60, help="random relu features")
    parser.add_argument("--num-rows", type=int, nargs="*", default=list(SIZES), help="rows of a data set")
    args = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    for num_rows in args.num_rows:
        held = [coverage(num_rows, args.num_features, seed) for seed in range(args.num_sets)]
        print(f"{num_rows} rows, {args.num_features} features, called {100 * CALLED:.0f} %")
        for what in held[0]:
            share = np.mean([each[what] for each in held])
            print(f"    {what}: {100 * share:.1f} ± {100 * (share * (1 - share) / len(held)) ** 0.5:.1f} %", flush=True)


def coverage(num_rows: int, num_features: int, seed: int) -> dict[str, bool]:
    """Of one data set: which of the advice's intervals hold the true value."""
    input_dim, noise_std = TASKS[seed % len(TASKS)]
    keys = jax.random.split(jax.random.key(FIRST_SEED + seed), 5)
    task = rfm.TeacherStudent(input_dim, 10, weight_std=2.0, label_noise_std=noise_std, key=keys[0])
    features = rfm.RandomFeatures(input_dim, num_features, "relu", bias_std=0.5, key=keys[1])
    seen, fresh = task.sample(num_rows, key=keys[2]), task.sample(NUM_FRESH, key=keys[3])
    x, y = np.asarray(seen.inputs), np.asarray(seen.labels)
    advice = rfm.advise(x, y, features=features, key=keys[4])
    folds = np.repeat([-1, 0], [num_rows, NUM_FRESH])
    true = rfm.advise(
        np.concatenate([x, np.asarray(fresh.inputs)]), np.concatenate([y, np.asarray(fresh.labels)]),
        features=features, folds=folds, budget=advice.budget, key=keys[4],
    )  # fmt: skip
    unit = true.squared.unit / advice.squared.unit

    def curve(action: rfm.decide.Action) -> tuple[np.ndarray, np.ndarray]:
        """The times of the advice, and the true risk at them."""
        here, there, risk = {
            "plain": (advice.times, true.times, true.plain_risk),
            "stop": (advice.times, true.times, true.mixup_risk),
            "switch": (advice.switch_times, true.switch_times, true.switch_risk),
        }[action.name]
        return here, unit * np.interp(np.log(here), np.log(there), risk.mean(axis=0))

    def at(action: rfm.decide.Action) -> float:
        times, risk = curve(action)
        return float(risk[np.argmin(np.abs(times - action.time))])

    def inside(action: rfm.decide.Action) -> bool:
        """Whether the range holds the best time."""
        times, risk = curve(action)
        low, high = action.interval
        return bool(low <= times[np.argmin(risk)] <= high)

    plain, stop, switch = advice.actions
    cost = unit * float(true.mixup_risk[:, -1].mean()) / at(stop) - 1
    return {
        "range of the stop with Mixup": inside(stop),
        "range of the stop without": inside(plain),
        "range of the switch": inside(switch),
        "risk of the stop with Mixup": _near(advice.risk_of(stop), at(stop)),
        "risk of the stop without": _near(advice.risk_of(plain), at(plain)),
        "risk of the switch": _near(advice.risk_of(switch), at(switch)),
        "gain of Mixup": _near(advice.mixup_gain, at(plain) - at(stop)),
        "cost of over-training": _near(advice.overtraining_cost, cost),
        "gain over the mean": _near(advice.held.mean(advice.null_risk - stop.row_risk), unit - at(stop)),
    }


def _near(estimate: rfm.decide.Estimate, value: float) -> bool:
    return bool(abs(estimate.mean - value) <= ERRORS * estimate.error)


if __name__ == "__main__":
    main()
