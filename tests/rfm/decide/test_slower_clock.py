"""Where features mix as their inputs do and are centred, expected Mixup is plain training on a slower clock.

Both sides are solved by what the rest of the package uses: a pass over all pairs and ratios, and the originals alone.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rfm
import theory
from tests.tolerances import CLOCK

NUM, INPUTS = 7, 3
LAWS = [rfm.Mixup(lam=0.3, pairs="expected"), rfm.Mixup(alpha=0.6, pairs="expected")]
TIMES = np.asarray([0.1, 1.0, 10.0, 1e3])
STEPS = [0, 1, 10, 1000]


def raw(x: jax.Array) -> jax.Array:
    return x


def with_constant(x: jax.Array) -> jax.Array:
    return jnp.concatenate([x, jnp.full_like(x[:, :1], 0.7)], axis=1)


identity = rfm.RandomFeatures(INPUTS, 5, "identity", key=jax.random.key(2))
MAPS = {"raw": raw, "identity": identity, "with a constant": with_constant}


def sample(input_mean: float = 0.0, label_mean: float = 0.0) -> rfm.Sample:
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(NUM, INPUTS)), rng.normal(size=(NUM, 2))
    x, y = x - x.mean(axis=0) + input_mean, y - y.mean(axis=0) + label_mean
    return rfm.Sample(jnp.asarray(x), jnp.asarray(y), None)


def both(
    features: rfm.features.FeatureMap, law: rfm.Mixup, sample: rfm.Sample
) -> tuple[rfm.expected.ExpectedProblem, rfm.Problem]:
    rng = np.random.default_rng(5)
    test = rfm.TestSet(features(jnp.asarray(rng.normal(size=(9, INPUTS)))), rng.normal(size=(9, 2)))
    mixup = rfm.expected_mixup(sample, features, law, population=test, tolerance=1e-13)
    plain = rfm.synthesize(sample, features, rfm.ERM(), population=test)
    assert isinstance(plain, rfm.Problem)
    return mixup, plain


def gap(mixup: theory.Curve, plain: theory.Curve) -> float:
    return float(jnp.max(jnp.abs(mixup.risk_by_target / plain.risk_by_target - 1)))


@pytest.mark.slow
@pytest.mark.parametrize("law", LAWS, ids=str)
@pytest.mark.parametrize("name", MAPS)
def test_expected_mixup_is_plain_training_on_a_slower_clock(name: str, law: rfm.Mixup) -> None:
    slow = law.ratio.mean_same
    mixup, plain = both(MAPS[name], law, sample())
    assert gap(rfm.closed_form(mixup, times=TIMES), rfm.closed_form(plain, times=slow * TIMES)) < CLOCK
    assert gap(rfm.closed_form(mixup, times=TIMES), rfm.closed_form(plain, times=TIMES)) > 0.01


@pytest.mark.parametrize("law", LAWS, ids=str)
@pytest.mark.parametrize("name", MAPS)
def test_with_a_ridge_that_ridge_is_larger_by_as_much(name: str, law: rfm.Mixup) -> None:
    slow = law.ratio.mean_same
    mixup, plain = both(MAPS[name], law, sample())
    ours = rfm.closed_form(mixup, times=TIMES, rule=theory.GradientFlow(0.05))
    assert gap(ours, rfm.closed_form(plain, times=slow * TIMES, rule=theory.GradientFlow(0.05 / slow))) < CLOCK
    assert gap(ours, rfm.closed_form(plain, times=slow * TIMES, rule=theory.GradientFlow(0.05))) > 1e-3


@pytest.mark.parametrize("kind", [theory.GradientDescent, theory.HeavyBall, theory.Nesterov])
@pytest.mark.parametrize("law", LAWS, ids=str)
def test_descent_and_momentum_take_as_many_shorter_steps(law: rfm.Mixup, kind: type[theory.Rule]) -> None:
    slow = law.ratio.mean_same
    settings = {} if kind is theory.GradientDescent else {"momentum": 0.6}
    mixup, plain = both(with_constant, law, sample())
    step = 0.5 / plain.largest_eigenvalue()
    ours = rfm.closed_form(mixup, steps=STEPS, rule=kind(step, ridge=0.02, **settings))
    theirs = rfm.closed_form(plain, steps=STEPS, rule=kind(slow * step, ridge=0.02 / slow, **settings))
    assert gap(ours, theirs) < CLOCK


@pytest.mark.parametrize("lam", [0.3, 0.5])
def test_pairs_that_are_never_of_one_sample_slow_down_a_little_more(lam: float) -> None:
    """By 1 - 2 v n / (n - 1); the pairs are written out, each in both orders."""
    originals = sample()
    pairs = np.asarray([(i, j) for i in range(NUM) for j in range(NUM) if i != j]).T
    table = rfm.mixup.PairTable(jnp.asarray(pairs[0]), jnp.asarray(pairs[1]), jnp.full(len(pairs[0]), lam))
    _, plain = both(raw, LAWS[0], originals)
    mixup = rfm.Problem(table.mix(originals.inputs), table.mix(originals.labels), population=plain.population)
    slow = 1 - 2 * lam * (1 - lam) * NUM / (NUM - 1)
    assert gap(rfm.closed_form(mixup, times=TIMES), rfm.closed_form(plain, times=slow * TIMES)) < CLOCK


def test_what_is_not_centred_breaks_it() -> None:
    for features, originals in (
        (with_constant, sample(input_mean=0.5)),
        (with_constant, sample(label_mean=0.5)),
        (raw, sample(input_mean=0.5)),
    ):
        mixup, plain = both(features, LAWS[0], originals)
        slow = LAWS[0].ratio.mean_same
        assert gap(rfm.closed_form(mixup, times=TIMES), rfm.closed_form(plain, times=slow * TIMES)) > 1e-3


def test_centred_features_without_a_constant_need_no_centred_labels() -> None:
    mixup, plain = both(raw, LAWS[0], sample(label_mean=0.5))
    slow = LAWS[0].ratio.mean_same
    assert gap(rfm.closed_form(mixup, times=TIMES), rfm.closed_form(plain, times=slow * TIMES)) < CLOCK
