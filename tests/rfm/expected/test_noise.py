"""The moments of the label noise of a sample, under any law of pairs, against loops over pairs and against draws."""

import dataclasses
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rfm
import theory
from rfm.expected import label_noise
from rfm.mixup import OtherSamples, Partners, SimilarLabels
from tests.rfm.mixup.test_partners import CLASSES, EVERY_LAW, FEATURES, KEYS, SAMPLE, TASK
from tests.tolerances import IDENTITY, ORACLE, SAMPLING

TRUTH = TASK.truth
FIELDS = theory.noise.NoiseMoments.__dataclass_fields__


def by_pairs(inputs: np.ndarray, weights: np.ndarray, ratios: list[tuple[float, float, float]]) -> dict[str, float]:
    """A loop over pairs, ratios of the inputs, and ratios of the labels."""
    found = dict.fromkeys(FIELDS, 0.0)
    for (i, j), weight in np.ndenumerate(weights):
        for lam, label_lam, chance in ratios:
            pair = jnp.asarray(inputs[i][None]), jnp.asarray(inputs[j][None])
            z = float(theory.mixup_noise(TRUTH, *pair, lam, label_lam=label_lam)[0])
            f = float(TRUTH(lam * pair[0] + (1 - lam) * pair[1])[0])
            for name, value in zip(FIELDS, (z, z**2, f**2, z * f, f), strict=True):
                found[name] += weight * chance * value
    return found


def close(ours: theory.noise.NoiseMoments, theirs: dict[str, float], tolerance: float = ORACLE) -> bool:
    return all(np.allclose(getattr(ours, name), theirs[name], rtol=tolerance, atol=tolerance) for name in FIELDS)


def fields(moments: theory.noise.NoiseMoments) -> dict[str, float]:
    return {name: getattr(moments, name) for name in FIELDS}


@EVERY_LAW
@pytest.mark.parametrize("share", [1.0, 0.4])
def test_moments_are_those_of_a_loop_over_pairs_by_their_weights(
    partners: Partners | None, sample: rfm.Sample, expected: np.ndarray, share: float
) -> None:
    sample = dataclasses.replace(sample, truth=TRUTH)
    weights = share * expected + (1 - share) * np.eye(7) / 7
    ours = label_noise(sample, rfm.Mixup(lam=0.3, partners=partners, share=share))
    assert close(ours, by_pairs(np.asarray(sample.inputs), weights, [(0.3, 0.3, 1.0)]))


def test_labels_at_a_ratio_of_their_own_have_its_moments() -> None:
    even = np.full((7, 7), 1 / 49)
    ours = label_noise(SAMPLE, rfm.Mixup(lam=0.3, label_lam=0.8))
    assert close(ours, by_pairs(np.asarray(SAMPLE.inputs), even, [(0.3, 0.8, 1.0)]))
    nodes, chances = theory.noise.beta_quadrature(0.7, 3)  # more than it takes
    loop = by_pairs(np.asarray(SAMPLE.inputs), even, [(0.3, *both) for both in zip(nodes, chances, strict=True)])
    assert close(label_noise(SAMPLE, rfm.Mixup(lam=0.3, label_alpha=0.7)), loop)


@pytest.mark.parametrize("partners", [None, SimilarLabels(0.4)])
def test_moments_are_those_of_many_drawn_rows(partners: Partners | None) -> None:
    """Whatever number of pairs a law says, these are the means over what it draws."""
    law = rfm.Mixup(alpha=0.6, pairs=40_000, partners=partners)
    table = next(law.on(SAMPLE).tables(7, 40_000, key=KEYS[5]))
    mixed = np.asarray(TRUTH(table.mix(SAMPLE.inputs)))
    z = np.asarray(table.mix_labels(TRUTH(SAMPLE.inputs))) - mixed
    ours = fields(label_noise(SAMPLE, law))
    for name, drawn in zip(FIELDS, (z, z**2, mixed**2, z * mixed, mixed), strict=True):
        assert abs(np.mean(drawn) - ours[name]) <= SAMPLING * np.std(drawn) / np.sqrt(len(drawn))


def test_over_many_originals_they_are_those_of_gaussian_inputs() -> None:
    """The Gaussian closed form never saw a sample, nor this a Gaussian."""
    samples = [TASK.sample(150, key=key) for key in jax.random.split(KEYS[4], 12)]
    law = rfm.Mixup(lam=0.3, partners=OtherSamples(), label_lam=0.6)
    ours = [fields(label_noise(sample, law)) for sample in samples]
    exact = fields(TRUTH.noise_moments(lam=0.3, label_lam=0.6))
    for name in FIELDS:
        values = np.asarray([one[name] for one in ours])
        assert abs(values.mean() - exact[name]) <= SAMPLING * values.std(ddof=1) / np.sqrt(len(values))


def test_rows_that_are_too_many_to_hold_are_taken_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    law = rfm.Mixup(alpha=1.0, partners=SimilarLabels(0.4))
    whole = label_noise(SAMPLE, law)
    monkeypatch.setattr("rfm.expected.noise.NUMBERS", 14 * (3 + 16))  # two of seven at a time, and one alone
    assert close(label_noise(SAMPLE, law), fields(whole), IDENTITY)


def test_a_truth_that_jumps_is_warned_of() -> None:
    jump = dataclasses.replace(SAMPLE, truth=lambda x: (x[:, 0] > 0.1).astype(x.dtype))
    with pytest.warns(rfm.PrecisionWarning, match="the means over ratios of the truth are"):
        label_noise(jump, rfm.Mixup(alpha=1.0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        label_noise(jump, rfm.Mixup(lam=0.5))


def test_bandwidths_lead_from_no_noise_to_that_of_plain_mixup() -> None:
    powers = [
        float(label_noise(SAMPLE, rfm.Mixup(lam=0.5, partners=SimilarLabels(width))).power)
        for width in (1e-6, 0.1, 0.5, 1e6)
    ]
    assert powers[0] < IDENTITY**2
    assert powers[0] < powers[1] < powers[2] < powers[3]
    assert np.isclose(powers[3], label_noise(SAMPLE, rfm.Mixup(lam=0.5)).power, rtol=1e-9)


def test_each_target_has_moments_of_its_own() -> None:
    def two(x: jax.Array) -> jax.Array:
        return jnp.stack([TRUTH(x), 2 * TRUTH(x)], axis=1)

    both = rfm.Sample(SAMPLE.inputs, two(SAMPLE.inputs), two)
    ours, one = label_noise(both, rfm.Mixup(alpha=1.0)), label_noise(SAMPLE, rfm.Mixup(alpha=1.0))
    assert np.allclose(ours.power / one.power, [1, 4], rtol=1e-6)  # ratios as fine as another truth needs
    assert np.allclose(ours.correlation, one.correlation, rtol=1e-6)


def test_a_sample_without_truth_and_mixed_features_have_none() -> None:
    with pytest.raises(ValueError, match=r"^sample: has no truth, and so nobody knows the noise"):
        label_noise(CLASSES, rfm.Mixup(lam=0.5))
    with pytest.raises(ValueError, match=r"^law: mixes features, and there is no truth"):
        label_noise(SAMPLE, rfm.Mixup(lam=0.5, space="features"))


def test_the_spectrum_of_the_noise_is_that_of_rows_by_their_weights() -> None:
    """A row of weight W is one that is sqrt(W m) times as large: the table of all pairs has the spectrum of the law."""
    law = rfm.Mixup(lam=0.3, pairs="expected", partners=SimilarLabels(0.4))
    population = TASK.population(FEATURES)
    ours = theory.noise.label_spectrum(rfm.expected_mixup(SAMPLE, FEATURES, law, population=population).spectrum())
    table = rfm.synthesize(SAMPLE, FEATURES, rfm.Mixup(lam=0.3), population=population).table()
    weights = law.on(SAMPLE).weights_of(7).block(jnp.arange(7), jnp.arange(7)).ravel()
    root = jnp.sqrt(49 * weights)[:, None]
    rows = rfm.Problem(root * table.features, root * table.labels, root * table.clean_labels, population=population)
    theirs = theory.noise.label_spectrum(rfm.solve(rows).spectrum)
    for name in ("eigenvalues", "clean", "noise"):
        assert np.allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-7, atol=1e-10)  # the pass is by gram
