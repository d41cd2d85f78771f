"""Do the intervals of `rfm advise` hold what they say? On simulated data whose truth is known: `python -m
benchmarks.coverage`, some ten minutes.

For each data set the advice is asked for on n rows. Then all n rows are trained on, and many fresh ones measure what is
true of that model: its best times, its risks, its costs. An interval of 90 % should hold the true value in 90 of 100
data sets, two standard errors in 95. They do not: folds share most of their rows, and are fewer rows than n.
"""

import argparse
from typing import NamedTuple

import jax
import numpy as np

import rfm

NUM_FRESH = 10_000
SETTINGS = {  # rows, inputs, standard deviation of the labels' noise (the truth's is about one)
    "60 rows, noise 0.5": (60, 4, 0.5),
    "150 rows, noise 0.5": (150, 4, 0.5),
    "150 rows, noise 1": (150, 8, 1.0),
}


class Truth(NamedTuple):
    """Curves of the model that is trained on all rows, at the times of the advice."""

    mixup: np.ndarray
    plain: np.ndarray


def main() -> None:
    """Prints how many data sets of each setting have the true value inside."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage", description=__doc__)
    parser.add_argument("--num-sets", type=int, default=100, help="simulated data sets of each setting")
    parser.add_argument("--num-features", type=int, default=100, help="random relu features")
    args = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    totals: dict[str, list[bool]] = {}
    for name, setting in SETTINGS.items():
        held = [coverage(*setting, args.num_features, seed) for seed in range(args.num_sets)]
        print(name)
        for what in held[0]:
            inside = [each[what] for each in held]
            totals.setdefault(what, []).extend(inside)
            print(f"    {what}: {sum(inside)} of {len(inside)}", flush=True)
    print("all")
    for what, inside in totals.items():
        share = np.mean(inside)
        print(f"    {what}: {100 * share:.0f} % ± {100 * (share * (1 - share) / len(inside)) ** 0.5:.0f} %")


def coverage(num_rows: int, input_dim: int, noise_std: float, num_features: int, seed: int) -> dict[str, bool]:
    """Of one data set: which of the advice's intervals hold the true value."""
    keys = jax.random.split(jax.random.key(seed), 5)
    task = rfm.TeacherStudent(input_dim, 10, weight_std=2.0, label_noise_std=noise_std, key=keys[0])
    features = rfm.RandomFeatures(input_dim, num_features, "relu", bias_std=0.5, key=keys[1])
    seen, fresh = task.sample(num_rows, key=keys[2]), task.sample(NUM_FRESH, key=keys[3])
    x, y = np.asarray(seen.inputs), np.asarray(seen.labels)
    advice = rfm.advise(x, y, features=features, key=keys[4])
    truth = truth_of(x, y, np.asarray(fresh.inputs), np.asarray(fresh.labels), features, advice, keys[4])
    stop, plain = (int(np.argmin(np.abs(advice.times - action.time))) for action in (advice.stop, advice.plain))
    difference = advice.plain.part_risk - advice.stop.part_risk
    cost = advice.overtraining_cost
    return {
        "90 % interval of the stop, its best time": _inside(advice.stop.interval, advice.times, truth.mixup),
        "90 % interval without Mixup, its best time": _inside(advice.plain.interval, advice.times, truth.plain),
        "two standard errors, risk at the stop": _near(*advice.stop.risk, truth.mixup[stop]),
        "two standard errors, risk without Mixup": _near(*advice.plain.risk, truth.plain[plain]),
        "two standard errors, difference of the two": _near(
            difference.mean(), difference.std(ddof=1) / len(difference) ** 0.5, truth.plain[plain] - truth.mixup[stop]
        ),
        "two standard errors, cost of over-training": _near(*cost, truth.mixup[-1] / truth.mixup[stop] - 1),
    }


def truth_of(
    x: np.ndarray,
    y: np.ndarray,
    fresh_x: np.ndarray,
    fresh_y: np.ndarray,
    features: rfm.RandomFeatures,
    advice: rfm.decide.Advice,
    key: jax.Array,
) -> Truth:
    """All rows are trained on, the fresh ones held out."""
    folds = np.repeat([-1, 0], [len(x), len(fresh_x)])
    everything = np.concatenate([x, fresh_x]), np.concatenate([y, fresh_y])
    whole = rfm.advise(*everything, features=features, folds=folds, budget=advice.budget, key=key)
    curves = (whole.mixup_risk.mean(axis=0), whole.plain_risk.mean(axis=0))
    return Truth(*(np.interp(np.log(advice.times), np.log(whole.times), curve) for curve in curves))


def _inside(interval: tuple[float, float], times: np.ndarray, curve: np.ndarray) -> bool:
    return bool(interval[0] <= times[np.argmin(curve)] <= interval[1])


def _near(mean: float, error: float, value: float) -> bool:
    return bool(abs(mean - value) <= 2 * error)


if __name__ == "__main__":
    main()
