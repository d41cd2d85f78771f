"""What stands in the place of label noise: its bias by many pairs, its risks and covariances by drawing."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rfm
import theory
from rfm.decide.controls import CONTROLS, RANDOM, NoiseControls
from tests.tolerances import IDENTITY, ORACLE, SAMPLING

KEYS = jax.random.split(jax.random.key(21), 6)
TASK = rfm.TeacherStudent(input_dim=3, num_hidden=4, weight_std=2.0, key=KEYS[0])
FEATURES = rfm.RandomFeatures(3, 12, "tanh", weight_std=2.0, key=KEYS[1])
SAMPLE = TASK.sample(6, key=KEYS[2])
POPULATION = TASK.population(FEATURES)
TIMES = [1.0, 30.0, 1e3, 1e5]
LAWS = {"fixed": rfm.Mixup(lam=0.3), "beta": rfm.Mixup(alpha=1.0, pairs=40)}


def controls_of(name: str) -> NoiseControls:
    return rfm.decide.noise_controls(SAMPLE, FEATURES, LAWS[name], population=POPULATION, key=KEYS[3])


@pytest.fixture(scope="module", params=LAWS)
def controls(request: pytest.FixtureRequest) -> NoiseControls:
    return controls_of(request.param)


def flow(problem: rfm.Problem) -> np.ndarray:
    """By the exponential of a matrix, which knows no spectrum of ours."""
    import scipy.linalg

    phi, y = np.asarray(problem.features), np.asarray(problem.labels)[:, 0]
    covariance, force = phi.T @ phi / len(phi), phi.T @ y / len(phi)
    generator = np.zeros((13, 13))
    generator[:12, :12], generator[:12, 12] = -covariance, force
    weights = [(scipy.linalg.expm(generator * t) @ np.eye(13)[12])[:12] for t in TIMES]
    second, moment = np.asarray(POPULATION.second_moment), np.asarray(POPULATION.target_moment)[:, 0]
    return np.asarray([float(POPULATION.target_power[0]) - 2 * moment @ w + w @ second @ w for w in weights])


def drawn_noise(controls: NoiseControls, control: str, key: jax.Array) -> np.ndarray:
    return np.asarray(controls.drawn(control, key=key).labels) - np.asarray(controls.problem.clean_labels)


@pytest.mark.parametrize("lam", [0.5, 0.2])
@pytest.mark.parametrize("label_lam", [None, 0.9])
def test_the_bias_is_the_mean_noise_of_pairs_with_that_mixed_input(lam: float, label_lam: float | None) -> None:
    """The partner is what the mixed input leaves of it: x' = (x~ - lam x) / (1 - lam), and x is drawn given x~."""
    norm, point = np.hypot(lam, 1 - lam), np.asarray([0.7, -0.4, 1.1])
    drawn = np.random.default_rng(0).normal(size=(200_000, 3))
    x = lam * point / norm**2 + (1 - lam) / norm * drawn
    other = (point - lam * x) / (1 - lam)
    assert np.allclose(other.std(axis=0), lam / norm, rtol=1e-2)
    z = np.asarray(theory.mixup_noise(TASK.truth, jnp.asarray(x), jnp.asarray(other), lam, label_lam=label_lam))
    ours = float(TASK.truth.mixing_bias(jnp.asarray(point)[None], lam, label_lam=label_lam)[0])
    assert abs(z.mean() - ours) <= SAMPLING * z.std() / np.sqrt(len(z))


def test_the_rest_of_the_noise_knows_nothing_of_the_mixed_input() -> None:
    """E z g(x~) is that of the bias, for any g: here the truth itself, and its square."""
    x, other = np.random.default_rng(1).normal(size=(2, 4000, 3))
    mixed = jnp.asarray(0.3 * x + 0.7 * other)
    z = np.asarray(theory.mixup_noise(TASK.truth, jnp.asarray(x), jnp.asarray(other), 0.3))
    rest, f = z - np.asarray(TASK.truth.mixing_bias(mixed, 0.3)), np.asarray(TASK.truth(mixed))
    for g in (f, f**2, np.ones_like(f)):
        assert abs(np.mean(rest * g)) <= SAMPLING * np.std(rest * g) / np.sqrt(len(g))


def test_ratios_of_each_row_have_each_their_own_bias() -> None:
    points, ratios = TASK.sample(4, key=KEYS[4]).inputs, jnp.asarray([0.1, 0.5, 0.9, 1.0])
    ours = TASK.truth.mixing_bias(points, ratios)
    alone = [TASK.truth.mixing_bias(points[k : k + 1], float(ratios[k]))[0] for k in range(4)]
    assert np.allclose(ours, jnp.stack(alone), rtol=ORACLE, atol=IDENTITY)
    assert abs(float(ours[3])) < IDENTITY


@pytest.mark.parametrize("control", sorted(set(CONTROLS) - set(RANDOM)))
def test_what_is_not_drawn_has_the_risk_of_its_labels(controls: NoiseControls, control: str) -> None:
    assert np.allclose(controls.risk(control, times=TIMES), flow(controls.drawn(control)), rtol=1e-7)


def test_steps_of_a_rule_are_those_of_training(controls: NoiseControls) -> None:
    rule = theory.GradientDescent(1 / controls.problem.largest_eigenvalue())
    trained = rfm.simulate(controls.drawn("its bias"), rule=rule, steps=[1, 10, 100])
    assert np.allclose(controls.risk("its bias", rule=rule, steps=[1, 10, 100]), trained.risk, rtol=1e-9)


def test_parts_of_the_noise_sum_to_it(controls: NoiseControls) -> None:
    labels = {control: np.asarray(controls.drawn(control).labels) for control in ("nothing", "its bias", "its rest")}
    clean = np.asarray(controls.problem.clean_labels)
    assert np.array_equal(labels["nothing"], clean)
    assert np.allclose(labels["its bias"] + labels["its rest"] - clean, controls.problem.labels, rtol=0, atol=IDENTITY)
    alone = np.asarray(controls.mixing.first == controls.mixing.second)
    assert np.allclose(labels["its bias"][alone], clean[alone], rtol=0, atol=IDENTITY)


@pytest.mark.slow
@pytest.mark.parametrize("control", RANDOM)
def test_the_mean_over_draws_is_the_closed_form(controls: NoiseControls, control: str) -> None:
    risks = np.stack([flow(controls.drawn(control, key=key)) for key in jax.random.split(KEYS[5], 300)])
    exact = np.asarray(controls.risk(control, times=TIMES))
    assert np.all(np.abs(risks.mean(axis=0) - exact) <= SAMPLING * risks.std(axis=0) / np.sqrt(300))


@pytest.mark.slow
@pytest.mark.parametrize("control", RANDOM)
def test_what_is_drawn_has_the_mean_and_the_variance_of_the_noise(controls: NoiseControls, control: str) -> None:
    keys = jax.random.split(KEYS[5], 400)
    drawn = np.stack([drawn_noise(controls, control, key) for key in keys])
    noise = np.asarray(controls.noise)
    power = np.mean((drawn - noise.mean()) ** 2, axis=(1, 2))
    assert abs(power.mean() - noise.var()) <= SAMPLING * max(power.std(), 1e-9) / np.sqrt(400)
    means = drawn.mean(axis=(1, 2))
    assert abs(means.mean() - noise.mean()) <= SAMPLING * max(means.std(), 1e-12) / np.sqrt(400)


def test_a_pair_has_one_noise_in_both_orders_and_an_original_one_in_all_of_its_rows() -> None:
    controls = controls_of("fixed")
    first, second = np.asarray(controls.mixing.first), np.asarray(controls.mixing.second)
    by_pair = np.asarray(controls.drawn("per pair", key=KEYS[5]).labels - controls.problem.clean_labels)[:, 0].reshape(
        6, 6
    )
    assert np.allclose(by_pair, by_pair.T, rtol=0, atol=IDENTITY)
    assert len(np.unique(by_pair.round(9))) == 21
    of_rows = drawn_noise(controls, "per original", KEYS[5])[:, 0]
    own = of_rows[first == second] - controls.noise.mean()
    mixed = 0.3 * own[first] + 0.7 * own[second] + float(controls.noise.mean())
    assert np.allclose(of_rows, mixed, rtol=0, atol=IDENTITY)


def test_partners_that_look_at_the_samples_have_no_known_bias() -> None:
    """Their inputs are not independent: what would be called the mean given the mixed input is none."""
    law = rfm.Mixup(lam=0.5, pairs=30, partners=rfm.SimilarLabels(0.2))
    found = rfm.decide.noise_controls(SAMPLE, FEATURES, law, population=POPULATION, key=KEYS[3])
    assert found.bias is None
    with pytest.raises(ValueError, match=r"^control: 'its rest' asks for the mean of the noise given the mixed input"):
        found.risk("its rest", times=TIMES)
    others = rfm.Mixup(lam=0.5, partners=rfm.mixup.OtherSamples())
    assert rfm.decide.noise_controls(SAMPLE, FEATURES, others, population=POPULATION).bias is not None


def test_labels_of_any_size_have_the_same_risks_in_their_unit() -> None:
    """In single precision as well, where a variance of one would be lost beside them."""
    found = []
    for size in (1.0, 1e4):
        large = rfm.data.QuadraticTruth(size * jnp.eye(3), size * jnp.ones(3))
        sample = rfm.Sample(SAMPLE.inputs, large(SAMPLE.inputs), large)
        test = rfm.TestSet(FEATURES(SAMPLE.inputs), large(SAMPLE.inputs))
        problem = rfm.decide.noise_controls(sample, FEATURES, LAWS["fixed"], population=test)
        single = jax.tree.map(lambda leaf: leaf.astype(jnp.float32) if eqx.is_inexact_array(leaf) else leaf, problem)
        found.append(np.asarray(single.risk("per original", times=[1.0, 10.0])) / size**2)
    assert np.allclose(*found, rtol=1e-4)


def test_the_mean_over_all_permutations_is_exact() -> None:
    """No two rows get the same entry, so that the rows' mean never moves: draws are too few to tell."""
    found = rfm.decide.noise_controls(
        SAMPLE, FEATURES, rfm.Mixup(alpha=1.0, pairs=4), population=POPULATION, key=KEYS[3]
    )
    clean, noise = np.asarray(found.problem.clean_labels), np.asarray(found.noise)
    orders = [list(order) for order in itertools.permutations(range(4))]
    risks = [flow(rfm.Problem(found.problem.features, clean + noise[order], population=POPULATION)) for order in orders]
    assert np.allclose(found.risk("permuted", times=TIMES), np.mean(risks, axis=0), rtol=1e-8)


def test_one_row_has_nothing_to_permute() -> None:
    found = rfm.decide.noise_controls(SAMPLE, FEATURES, rfm.Mixup(lam=0.5, pairs=1), population=POPULATION, key=KEYS[3])
    assert np.allclose(found.risk("permuted", times=TIMES), found.risk("its noise", times=TIMES), rtol=ORACLE)


def test_noise_of_each_target_has_its_own_variance() -> None:
    def two(x: jax.Array) -> jax.Array:
        return jnp.stack([TASK.truth(x), 3 * TASK.truth(x)], axis=1)

    test = rfm.TestSet(FEATURES(SAMPLE.inputs), two(SAMPLE.inputs))
    both = rfm.Sample(SAMPLE.inputs, two(SAMPLE.inputs), two)
    found = rfm.decide.noise_controls(both, FEATURES, LAWS["fixed"], population=test)
    one = rfm.TestSet(FEATURES(SAMPLE.inputs), TASK.truth(SAMPLE.inputs))
    single = rfm.decide.noise_controls(SAMPLE, FEATURES, LAWS["fixed"], population=one)
    for control in ("per row", "its noise"):
        assert np.allclose(found.risk(control, times=TIMES), 10 * single.risk(control, times=TIMES), rtol=1e-9)
    with pytest.raises(ValueError, match=r"^control: 'its bias' asks for the mean of the noise given the mixed input"):
        found.risk("its bias", times=TIMES)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rfm.decide.noise_controls(rfm.Sample(SAMPLE.inputs, SAMPLE.labels, None), FEATURES, LAWS["fixed"],
                                           population=POPULATION), "sample: has no truth, and so nobody knows"),
        (lambda: rfm.decide.noise_controls(SAMPLE, FEATURES, rfm.Mixup(lam=0.5, pairs="expected"),
                                           population=POPULATION), "law: .* has no mixed inputs in rows"),
        (lambda: controls_of("fixed").risk("white", times=TIMES), "control: 'white' is not known"),
        (lambda: controls_of("fixed").drawn("permuted"), "key: 'permuted' is drawn at random"),
    ],
)  # fmt: skip
def test_what_cannot_be_controlled_is_refused(call, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        call()
