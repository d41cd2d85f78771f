"""From a sample to a training problem: mixed by a law, mapped to features."""

from collections.abc import Iterator

from jaxtyping import Array, PRNGKeyArray

from rfm.expected.problem import expected_mixup
from rfm.features import FeatureMap, check_features
from rfm.kernels import KernelProblem, KernelTest
from rfm.mixup.law import GivenRows, Law
from rfm.mixup.table import PairTable
from rfm.problem import Problem, Solvable, StreamedProblem, check_map
from rfm.sample import Sample, checked_sample
from theory import Averages
from theory.blocks import Block
from theory.checks import check_count, check_type


def synthesize(
    sample: Sample,
    features: FeatureMap,
    law: Law | PairTable,
    *,
    population: Averages | KernelTest,
    key: PRNGKeyArray | None = None,
    block_rows: int | None = None,
) -> Solvable:
    """Mixes a sample by a law and maps it to features.

    Args:
        sample: the originals.
        features: any callable from inputs to features; infinitely many `RandomFeatures` give a `KernelProblem`.
        law: `Mixup` or `ERM`, or an `rfm.mixup.PairTable` of your own. With ``pairs="expected"`` this is
            `expected_mixup`, which has more to choose.
        population: what the risk is averaged over; a task's ``test_set(features, ...)``.
        key: for laws that draw pairs or ratios.
        block_rows: rows held at a time. None builds the whole `Problem`; a number gives a `StreamedProblem` with the
            same rows, which can be solved in closed form but not simulated.

    >>> import jax, rfm
    >>> task = rfm.TeacherStudent(input_dim=4, num_hidden=3, key=jax.random.key(0))
    >>> features = rfm.RandomFeatures(input_dim=4, num_features=6, key=jax.random.key(1))
    >>> test = task.test_set(features, num_samples=50, key=jax.random.key(2))
    >>> sample = task.sample(num_samples=5, key=jax.random.key(3))
    >>> synthesize(sample, features, rfm.Mixup(lam=0.5), population=test).features.shape
    (25, 6)
    """
    law = GivenRows(law) if isinstance(law, PairTable) else law
    check_type("law", law, Law, "rfm.Mixup(...), rfm.ERM(), an rfm.mixup.PairTable or another rfm.mixup.Law")
    if law.is_expected:
        if block_rows is not None:
            raise ValueError(
                "block_rows: expected Mixup chooses its own; leave it None, or say rfm.expected_mixup(..., "
                "memory_budget=...)"
            )
        return expected_mixup(sample, features, law, population=population)
    sample = checked_sample(sample)
    num_samples, input_dim = sample.inputs.shape
    check_features(features, input_dim)
    law = law.on(sample)
    if isinstance(population, KernelTest):
        population.check_map(features)
        if block_rows is not None:
            raise ValueError("block_rows: infinitely many features need all rows at once; leave it None")
        if law.mixes_features:
            raise ValueError("features: infinitely many are nowhere written out, to be mixed; pass a number of them")
    else:
        check_map(population, features, input_dim)
    mixed, phi = law.what_it_mixes(sample, features)

    def mix(table: PairTable) -> tuple[Array, Array, Array | None]:
        inputs = table.mix(mixed.inputs)
        return inputs, table.mix_labels(mixed.labels), None if mixed.truth is None else mixed.truth(inputs)

    def blocks(rows: int) -> Iterator[Block]:
        for table in law.tables(num_samples, rows, key=key):
            inputs, labels, clean = mix(table)
            yield phi(inputs), labels, clean

    if block_rows is not None and not isinstance(population, KernelTest):
        check_count("block_rows", block_rows)
        return StreamedProblem(blocks=lambda: blocks(block_rows), population=population, feature_map=features)
    (whole,) = law.tables(num_samples, law.num_rows(num_samples), key=key)
    if isinstance(population, KernelTest):
        return KernelProblem.of(*mix(whole), population)
    inputs, labels, clean = mix(whole)
    return Problem(phi(inputs), labels, clean, population=population, mixing=whole, feature_map=features)
