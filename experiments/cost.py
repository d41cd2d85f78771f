"""What a run will cost, said before it starts: about how many seconds, and how much memory.

A model of few numbers. A run compiles its programs, once for each shape of its problems; it calls them so many times;
it multiplies and factors matrices; and training reads all rows twice a step. What each of these takes was measured on
one core of a server, and the sum is right there to a factor of about three, in CPU time
(``tests/experiments/test_cost.py`` holds the measurements); other machines, and other work on the same one, add theirs.
"""

import functools
from typing import NamedTuple

from experiments.configs import (
    CONTROL_STEPS,
    BoundConfig,
    ControlsConfig,
    MinibatchConfig,
    NoiseConfig,
    PenaltyMapConfig,
    RulesConfig,
    SampleSizeConfig,
    SwitchConfig,
    UCurveConfig,
)
from experiments.data_configs import AdviseConfig
from experiments.fields import Config, TaskConfig
from experiments.limits import NUMBER, memory, readable

START = 5.0
"""Seconds to import and to compile what every run needs."""
A_SHAPE = 1.0
"""To compile for a problem of another shape."""
A_CALL = 0.05
"""To make, solve and evaluate the smallest problem, compiled."""
A_STEP = 4e-6
"""Of training on the smallest problem."""
PRODUCTS, TRAFFIC = 8e9, 1.2e9
"""Floating-point operations, and numbers read in training, a second."""
BASE = 0.75e9
"""Bytes of Python, its libraries and compiled programs."""
CODE = 6e7
"""Bytes of the programs of one more shape."""
FACTOR = 3
"""By which the seconds may be off."""
FACTORISATION = 20
"""Times the cube of the smaller side, to diagonalise."""
PARTS = 2
"""Labels, and clean labels: sets of weights that are carried along."""
SAID = "cost:"
"""How the line begins."""


class Cost(NamedTuple):
    """What a run takes.

    Attributes:
        shapes: of problems, each compiled anew.
        calls: of problems made, solved and evaluated.
        products: floating-point operations of matrix products and factorisations.
        steps: of training, one after the other.
        read: numbers that they read.
        held: numbers that are held at once.
    """

    shapes: float = 0.0
    calls: float = 0.0
    products: float = 0.0
    steps: float = 0.0
    read: float = 0.0
    held: float = 0.0

    @property
    def seconds(self) -> float:
        """On one core of the machine of the measurement."""
        work = self.products / PRODUCTS + self.steps * A_STEP + self.read / TRAFFIC
        return START + A_SHAPE * self.shapes + A_CALL * self.calls + work

    @property
    def bytes(self) -> float:
        """At the most, the interpreter included."""
        return BASE + CODE * self.shapes + NUMBER * self.held

    def __str__(self) -> str:
        there = memory()
        short = f", more than the {readable(there)} of this machine" if self.bytes > there else ""
        time = f"about {duration(self.seconds)} on one core, within a factor of {FACTOR}"
        return f"{SAID} {time}; {readable(self.bytes)} of memory{short}"


@functools.singledispatch
def cost(config: Config) -> Cost | None:
    """What the run of a configuration takes; None of an experiment of which nobody has said it (``cost.register``).

    >>> cost(UCurveConfig()).seconds < cost(UCurveConfig(num_steps=10**6)).seconds
    True
    """
    return None


@cost.register
def _ucurve(config: UCurveConfig) -> Cost:
    pairs = config.num_samples**2
    tables = [config.num_samples, pairs, config.num_pairs or pairs]
    times = config.num_times + config.num_recorded
    rows = config.num_seeds * sum(tables)
    return Cost(
        shapes=len(set(tables)),
        calls=config.num_seeds * len(tables),
        products=config.num_seeds * sum(_solved(config, m, config.num_features, times) for m in tables),
        steps=config.num_seeds * len(tables) * config.num_steps,
        read=config.num_steps * 2 * rows * config.num_features,
        held=_held(config, rows, config.num_features, times),
    )


@cost.register
def _sample_size(config: SampleSizeConfig) -> Cost:
    shapes = [
        (config.pairs_per_sample * n, p)
        for n in config.sample_sizes
        for p in (config.num_features, config.features_per_sample * n)
    ]
    return _closed_forms(config, shapes, config.num_seeds, config.num_times)


@cost.register
def _penalty_map(config: PenaltyMapConfig) -> Cost:
    shapes = [(config.pairs_per_sample * n, config.num_features) for n in config.sample_sizes]
    return _closed_forms(config, shapes, config.num_seeds * (len(config.alphas) + 1), config.num_times)


@cost.register
def _controls(config: ControlsConfig) -> Cost:
    shapes = [(n**2, config.num_features) for n in config.sample_sizes]
    curvatures = len(config.teacher_weight_stds) if config.dataset is None else 1
    found = _closed_forms(config, shapes, 2 * curvatures * config.num_seeds * A_CONTROL, config.num_times)
    trained = (4 * config.num_draws + 4) * CONTROL_STEPS
    return found._replace(steps=trained, read=2 * trained * config.sample_sizes[0] ** 2 * config.num_features)


A_CONTROL = 32
"""Calls that all that may stand in the place of the noise takes."""


@cost.register
def _bound(config: BoundConfig) -> Cost:
    shape = config.num_samples**2, config.num_features
    found = _closed_forms(config, [shape], config.num_seeds, config.num_times)
    return found._replace(calls=3 * found.calls, products=3 * found.products)


@cost.register
def _noise(config: NoiseConfig) -> Cost:
    teachers = config.num_seeds * len(config.teacher_weight_stds)
    drawn = config.num_pairs * config.num_ratios * config.num_seeds
    hidden = config.num_hidden * (config.input_dim + 10)
    return Cost(
        shapes=3,
        calls=teachers * (config.num_ratios / 2 + BETA_MOMENTS) * MOMENTS,
        products=2 * drawn * hidden * (3 * len(config.teacher_weight_stds) + 3 * config.num_classes),
        held=10 * config.num_pairs * (config.input_dim + config.num_hidden + config.num_classes),
    )


MOMENTS, BETA_MOMENTS = 2.5, 20
"""What the moments of a teacher's noise take at one ratio, in calls; and over a law of ratios, in single ones."""


@cost.register
def _minibatch(config: MinibatchConfig) -> Cost:
    from theory.batches.moments import MAX_EXACT_MODES

    n, p, laws = config.num_samples, config.num_features, 2
    exact = p <= MAX_EXACT_MODES
    entries = p * (p + 1) / 2 if exact else float(p)
    pairs = n + RATIOS * n**2
    ways, times = laws * len(config.batch_sizes), config.num_times + config.num_recorded
    rows = config.num_seeds * sum(config.batch_sizes) * laws
    return Cost(
        shapes=3 * ways,
        calls=2 * ways,
        products=len(config.batch_sizes) * pairs * 2 * entries**2
        + ways * (FACTORISATION * entries**3 + 6 * times * entries**2)
        + config.num_steps * rows * p * (6 + 2 * config.input_dim),
        steps=ways * config.num_steps,
        read=config.num_steps * rows * p * DRAWN,
        held=4 * entries**2 + config.num_seeds * p * (config.num_recorded + max(config.batch_sizes)) + 2 * pairs * p,
    )


RATIOS, DRAWN = 16, 10
"""Ratios that stand for their law, and numbers read for one that is drawn."""


@cost.register
def _switch(config: SwitchConfig) -> Cost:
    rows, p = config.num_samples**2, config.num_features
    solved = _solved(config, rows, p, 2 * config.num_times) + _solved(config, config.num_samples, p, config.num_times)
    steps = config.num_steps * config.num_simulated
    return Cost(
        shapes=3,
        calls=3 * config.num_seeds + config.num_simulated,
        products=config.num_seeds * solved,
        steps=steps,
        read=steps * rows * p,  # half of the steps are on all pairs
        held=_held(config, config.num_seeds * (rows + config.num_samples), p, 2 * config.num_times),
    )


@cost.register
def _rules(config: RulesConfig) -> Cost:
    rows, p, rules = config.num_samples**2, config.num_features, 7
    steps = config.num_seeds * config.num_steps * (5 + 2 * (1 - config.momentum))  # as many as to the same time
    return Cost(
        shapes=2 * rules,
        calls=2 * rules * config.num_seeds,
        products=config.num_seeds * rules * _solved(config, rows, p, config.num_times),
        steps=steps,
        read=steps * 2 * rows * p,
        held=_held(config, config.num_seeds * rows, p, config.num_times),
    )


@cost.register
def _advise(config: AdviseConfig) -> Cost:
    import rfm
    from rfm.decide.learning_curve import SHARES

    data = rfm.data.read_data(config.dataset, apart=config.apart(), **config.reading())
    rows, columns = config.num_rows or len(data.inputs), config.num_components or data.inputs[0].size
    parts = 1 if config.num_held_out or config.validation else config.num_folds
    p = columns + 1 if config.features == "raw" else config.num_features
    mixed = config.num_pairs or rows**2 * A_PAIR
    times = 2 * config.num_times
    a_part = 2 * mixed * p * (p + columns) + FACTORISATION * p**3 + 8 * p * times * (p + rows / parts)
    if config.compare_laws:
        drawn = config.num_pairs or rfm.data.frozen.PAIRS_PER_ROW * rows
        a_part += NUM_LAWS * (2 * drawn * p * (p + columns) + FACTORISATION * p**3 + 8 * p * times * (p + rows / parts))
    if config.learning_curve:
        a_part *= 1 + sum(share**2 for share in SHARES)
    parts *= 1 + config.num_seeds  # each check asks for the advice again
    trained = 2 * config.num_seeds * CHECK_STEPS
    return Cost(
        shapes=4,
        calls=A_PART * parts,
        products=a_part * parts,
        steps=trained,
        read=trained * CHECK_BATCH * p * PASSES,
        held=6 * p**2 + 2 * rows * (p + columns) + BLOCK,
    )


A_PAIR, A_PART = 0.5, 20
"""What an ordered pair takes at all ratios, in rows, since its mirror image is known with it and its few ratios are one
product; and what a held-out part takes beside products, in calls."""
NUM_LAWS = 8
"""That are compared."""
CHECK_STEPS, CHECK_BATCH = 10_000, 512
"""Steps and rows of the check by real training, at the default budget."""
PASSES, BLOCK = 3, 2**25
"""How often a drawn row is read in a step; numbers of the pairs that are mixed at a time."""


def _closed_forms(config: TaskConfig, shapes: list[tuple[int, int]], each: int, num_times: int) -> Cost:
    """Problems of some shapes, so many of each, solved and evaluated one after the other."""
    rows, features = max(m for m, _ in shapes), max(p for _, p in shapes)
    return Cost(
        shapes=len(set(shapes)),
        calls=each * len(shapes),
        products=each * sum(_solved(config, m, p, num_times) for m, p in shapes),
        held=_held(config, rows, features, num_times),
    )


def _solved(config: TaskConfig, rows: int, features: int, times: int) -> float:
    """Operations to make a problem of Gaussian inputs, to factor it, and to evaluate its curve."""
    small, large = sorted((rows, features))
    tests = features if config.num_test is None else config.num_test
    made = 2 * (rows + tests) * features * config.input_dim + 100 * features**2
    return made + 4 * small**2 * large + FACTORISATION * small**3 + 8 * PARTS * times * features * (small + tests)


def _held(config: TaskConfig, rows: int, features: int, times: int) -> float:
    """Numbers of all rows, of what one factorisation copies, and of a curve at all of its times."""
    tests = features if config.num_test is None else config.num_test
    return features * (2 * rows + 3 * tests + 4 * features) + 2 * PARTS * times * (features + tests)


def duration(seconds: float) -> str:
    """A length of time in its largest unit, with two digits.

    >>> duration(4.2), duration(95.0), duration(5400.0), duration(1e6)
    ('4.2 s', '95 s', '90 min', '12 days')
    """
    units = (("days", 86400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0))
    unit, length = next(((unit, length) for unit, length in units if seconds >= 2 * length), units[-1])
    return f"{float(f'{seconds / length:.2g}'):g} {unit}"
