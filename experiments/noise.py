"""The law of Mixup's label noise: against the ratio, against the distance of a pair, and for hard labels.

Closed forms and bounds beside what plain mixing of drawn pairs gives; the pairs know none of the formulas.
"""

from math import isfinite

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from rich.console import Console

import rfm
import theory
from experiments.configs import NoiseConfig
from experiments.constraints import check_fields
from experiments.limits import check_memory
from experiments.report import averaged, empty_table, estimated, written
from experiments.store import Result, provenance_of
from experiments.variables import Stage, Variable, Variables, silent
from theory.views import RISK_UNIT

HALF = 0.5
"""The ratio at which noise is shown against distance: there it is largest."""


def run_noise(config: NoiseConfig, *, stage: Stage = silent) -> Variables:
    """Everything that the experiment stores.

    Args:
        config: what to run; the numbers depend on nothing else.
        stage: told of the work as it is done.

    Raises:
        ValueError: a field out of range; nothing has been computed then.
    """
    _check(config)
    ratios = np.linspace(0, 1, config.num_ratios)
    stds = config.teacher_weight_stds
    shape = (len(stds), config.num_seeds)
    power, sampled, correlation = (np.empty((*shape, len(ratios))) for _ in range(3))
    beta_power = np.empty(shape)
    largest = np.empty((config.num_seeds, config.num_distances))
    typical, smooth, lipschitz = (np.empty_like(largest) for _ in range(3))
    hard = {name: np.empty((config.num_seeds, len(ratios))) for name in _HARD_LABELS}
    edges = _distance_edges(config)
    advance = stage("label noise", config.num_seeds * len(stds))
    for seed in range(config.num_seeds):
        keys = jax.random.split(jax.random.fold_in(jax.random.key(config.seed), seed), 4)
        inputs, others = jax.random.normal(keys[1], (2, config.num_pairs, config.input_dim))
        for index, std in enumerate(stds):
            truth = _teacher(config, std, keys[0])
            # Swapping the two of a pair turns lam into 1 - lam, so the upper half repeats the lower.
            lower = [truth.noise_moments(lam=float(lam)) for lam in ratios[: (len(ratios) + 1) // 2]]
            moments = lower + lower[: len(ratios) // 2][::-1]
            power[index, seed] = [moment.power for moment in moments]
            correlation[index, seed] = [moment.correlation for moment in moments]
            beta_power[index, seed] = truth.noise_moments(alpha=config.alpha).power
            sampled[index, seed] = [
                jnp.mean(theory.mixup_noise(truth, inputs, others, float(lam)) ** 2) for lam in ratios
            ]
            advance(1)
        shown = _teacher(config, stds[-1], keys[0])
        largest[seed], typical[seed] = _by_distance(shown, inputs, others, edges)
        smooth[seed], lipschitz[seed] = _distance_bounds(shown, edges[1:])
        for name, values in _hard_labels(config, keys[2], keys[3], ratios).items():
            hard[name][seed] = values
    of_ratio, of_distance = ("weight_std", "seed", "lam"), ("seed", "distance")
    return {
        "weight_std": Variable(("weight_std",), np.asarray(stds), "1", "standard deviation of the teacher's weights"),
        "seed": Variable(("seed",), np.arange(config.num_seeds), "1", "index of the seed"),
        "lam": Variable(("lam",), ratios, "1", "mixing ratio"),
        "distance": Variable(("distance",), edges[1:], "input", "distance of a pair, up to"),
        "noise_power": Variable(of_ratio, power, RISK_UNIT, "mean square of the label noise (closed form)"),
        "sampled_noise_power": Variable(of_ratio, sampled, RISK_UNIT, "mean square of the label noise (drawn pairs)"),
        "noise_correlation": Variable(of_ratio, correlation, "1", "correlation of noise and truth (closed form)"),
        "beta_noise_power": Variable(
            of_ratio[:2], beta_power, RISK_UNIT, f"mean square over Beta({config.alpha:g}) ratios (closed form)"
        ),
        "largest_noise": Variable(of_distance, largest, "target", "largest noise among drawn pairs"),
        "typical_noise": Variable(of_distance, typical, "target", "root mean square noise of drawn pairs"),
        "smoothness_bound": Variable(of_distance, smooth, "target", "bound by the largest curvature"),
        "lipschitz_bound": Variable(of_distance, lipschitz, "target", "bound by the largest slope"),
    } | {
        name: Variable(("seed", "lam"), values, "1", long_name)
        for (name, long_name), values in zip(_HARD_LABELS.items(), hard.values(), strict=True)
    }


_HARD_LABELS = {
    "label_error": "probability that a hard Mixup label is wrong (closed form)",
    "sampled_label_error": "frequency of wrong hard labels (drawn labels)",
    "total_variation": "total-variation lower bound",
    "sup_bound": "sup lower bound",
}


def _teacher(config: NoiseConfig, weight_std: float, key: PRNGKeyArray) -> rfm.data.TwoLayerTeacher:
    task = rfm.TeacherStudent(
        config.input_dim, config.num_hidden, config.teacher_activation, weight_std=weight_std, key=key
    )
    return task.truth


def _distance_edges(config: NoiseConfig) -> np.ndarray:
    """|x - x'|^2 / 2 is chi-square; the edges hold all but a thousandth of the pairs on either side."""
    from scipy.stats import chi2

    low, high = np.sqrt(2 * chi2.ppf([1e-3, 1 - 1e-3], config.input_dim))
    return np.linspace(low, high, config.num_distances + 1)


def _by_distance(
    truth: rfm.data.TwoLayerTeacher, inputs: Array, others: Array, edges: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Largest and root mean square noise of the pairs in each bin; NaN in an empty one."""
    noise = np.abs(np.asarray(theory.mixup_noise(truth, inputs, others, HALF)))
    distance = np.linalg.norm(np.asarray(inputs - others), axis=1)
    largest, typical = np.full((2, len(edges) - 1), np.nan)
    for index in range(len(edges) - 1):
        chosen = noise[(distance >= edges[index]) & (distance < edges[index + 1])]
        if chosen.size:
            largest[index], typical[index] = chosen.max(), np.sqrt(np.mean(chosen**2))
    return largest, typical


def _distance_bounds(truth: rfm.data.TwoLayerTeacher, distances: np.ndarray) -> tuple[Array, Array]:
    """The two upper bounds at each distance, from constants that hold everywhere; infinite where there is none."""
    steps = jnp.asarray(distances)[:, None]
    zeros = jnp.zeros_like(steps)
    bounds = (
        (theory.noise.smoothness_upper, truth.smoothness_constant()),
        (theory.noise.lipschitz_upper, truth.lipschitz_constant()),
    )
    smooth, lipschitz = (
        bound(constant, steps, zeros, HALF) if isfinite(constant) else jnp.full(len(steps), jnp.inf)
        for bound, constant in bounds
    )
    return smooth, lipschitz


def _hard_labels(
    config: NoiseConfig, truth_key: PRNGKeyArray, key: PRNGKeyArray, ratios: np.ndarray
) -> dict[str, list[Float[Array, ""]]]:
    """A soft truth, the softmax of one teacher a class, and the labels that Mixup draws from it."""
    teachers = [
        _teacher(config, config.teacher_weight_stds[-1], k) for k in jax.random.split(truth_key, config.num_classes)
    ]

    def soft(x: Array) -> Array:
        return jax.nn.softmax(config.sharpness * jnp.stack([teacher(x) for teacher in teachers], axis=1), axis=1)

    input_key, label_key = jax.random.split(key)
    inputs, others = jax.random.normal(input_key, (2, config.num_pairs, config.input_dim))
    first, second = soft(inputs), soft(others)
    values: dict[str, list[Array]] = {name: [] for name in _HARD_LABELS}
    for lam, lam_key in zip(ratios, jax.random.split(label_key, len(ratios)), strict=True):
        mixed, truth = theory.noise.mixed_probabilities(first, second, lam), soft(lam * inputs + (1 - lam) * others)
        parent_key, first_key, second_key, true_key = jax.random.split(lam_key, 4)
        takes_first = jax.random.uniform(parent_key, (config.num_pairs,)) < lam
        given = jnp.where(takes_first, _draw(first_key, first), _draw(second_key, second))
        values["label_error"].append(jnp.mean(theory.noise.hard_label_error(mixed, truth)))
        values["sampled_label_error"].append(jnp.mean(given != _draw(true_key, truth)))
        values["total_variation"].append(jnp.mean(theory.noise.total_variation_lower(mixed, truth)))
        values["sup_bound"].append(jnp.mean(theory.noise.liu2023_sup_lower(mixed, truth)))
    return values


def _draw(key: PRNGKeyArray, probabilities: Float[Array, "pairs classes"]) -> Array:
    return jax.random.categorical(key, jnp.log(probabilities), axis=1)


def _check(config: NoiseConfig) -> None:
    check_fields(config)
    check_memory(
        "num_seeds, num_pairs, input_dim, num_hidden, num_classes, num_ratios, num_distances",
        config.num_pairs * (2 * config.input_dim + config.num_hidden + 4 * config.num_classes)
        + config.num_seeds * (config.num_ratios * len(config.teacher_weight_stds) + config.num_distances),
    )


def print_noise(console: Console, result: Result) -> None:
    """The table of `rfm noise`."""
    alpha = provenance_of(result)["configuration"]["alpha"]
    stds = result["weight_std"].values
    title = f"Mixup's label noise, {averaged(result.sizes['seed'], 'teacher')}"
    table = empty_table(title, "teacher's weights", *(f"{std:g}" for std in stds))
    middle = result.isel(lam=result.sizes["lam"] // 2)
    rows = {
        "E z², lam = 1/2": "noise_power",
        "  of drawn pairs": "sampled_noise_power",
        f"E z², lam ~ Beta({alpha:g})": "beta_noise_power",
        "correlation": "noise_correlation",
    }
    for label, name in rows.items():
        estimates = [estimated(middle[name].sel(weight_std=std)) for std in stds]
        table.add_row(label, *written([None if abs(one[0]) < NOISE_ROUNDING else one for one in estimates]))
    console.print(table)
    error, floor = float(middle["label_error"].mean()), float(middle["total_variation"].mean())
    console.print(
        f"Hard labels at lam = {float(middle['lam']):g}: wrong with probability {error:.3f}; no way to draw them does "
        f"better than {floor:.3f}. correlation: of the noise with the truth at the mixed input."
        + ("" if np.all(np.isfinite(result["smoothness_bound"])) else f" {_NO_CURVATURE}"),
        highlight=False,
    )


NOISE_ROUNDING = 1e-14
"""What closed forms of the noise, of labels of order one, leave of it by rounding."""


_NO_CURVATURE = "The upper bound by curvature does not exist for a teacher's activation with a kink."
