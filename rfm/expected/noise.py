"""The label noise that a law of Mixup makes of a sample: its moments over all pairs, by their weights, and ratios."""

import numpy as np

from rfm.expected.quadrature import LEAST_TOLERANCE, ratio_quadrature
from rfm.mixup.laws import Mixup
from rfm.mixup.weights import Indices, over_chunks
from rfm.precision import warn
from rfm.sample import Sample, checked_sample
from theory.checks import check_type
from theory.linalg import as_matrix, on_device
from theory.noise import NoiseMoments

NUMBERS, BESIDE = 2**20, 16
"""Held of mixed inputs at a time, and what a truth may hold of one beside it."""


def label_noise(sample: Sample, law: Mixup, *, num_ratios: int | None = None, tolerance: float = 1e-8) -> NoiseMoments:
    """The moments of z over all ordered pairs of the sample, by the law's weights, and over its ratios.

    That is what the noise is on average, whichever pairs the law would draw, and however many.

    Args:
        sample: the originals; their labels say at most who is mixed with whom, and z is of their truth.
        law: who is mixed with whom, and at what ratios.
        num_ratios: this many nodes of a quadrature over a Beta law, instead of as many as the truth needs.
        tolerance: of the mean over ratios, relative to the second moment of the truth.

    Returns:
        The moments, of each target by itself: shape (), or (targets,) for a truth of several.

    Warns:
        PrecisionWarning: the tolerance is missed, by a truth that jumps or has kinks.

    Raises:
        ValueError: a sample whose truth nobody knows, or mixed features, at which there is none.

    >>> import jax.numpy as jnp, rfm
    >>> inputs = jnp.asarray([[0.0], [1.0], [2.0], [3.0]])
    >>> truth = lambda x: x[:, 0] ** 2
    >>> sample = rfm.Sample(inputs, truth(inputs), truth)
    >>> near = rfm.mixup.NearestInputs(1)
    >>> laws = rfm.Mixup(lam=0.5), rfm.Mixup(lam=0.5, partners=near), rfm.Mixup(lam=0.5, partners=near, share=0.5)
    >>> [float(label_noise(sample, law).mean) for law in laws]  # (x - x')² / 4 of each pair
    [0.625, 0.25, 0.125]
    """
    check_type("law", law, Mixup, "rfm.Mixup(...)")
    sample = checked_sample(sample)
    if sample.truth is None:
        raise ValueError(
            "sample: has no truth, and so nobody knows the noise of its mixed labels; pass one with a truth, "
            "rfm.Sample(inputs, labels, truth)"
        )
    if law.mixes_features:
        raise ValueError("law: mixes features, and there is no truth at mixed features; pass space='inputs'")
    law, truth = law.on(sample), sample.truth
    quadrature = ratio_quadrature(
        law, sample.inputs, lambda x: as_matrix(truth(x)), num_ratios=num_ratios, tolerance=tolerance
    )
    if num_ratios is None and quadrature.error > max(tolerance, LEAST_TOLERANCE * np.finfo(sample.inputs.dtype).eps):
        warn(f"the means over ratios of the truth are {quadrature.error:.1g} off, as of one that jumps or has kinks")
    weights, n = law.weights_of(len(sample.inputs)), len(sample.inputs)
    inputs, clean = np.asarray(sample.inputs), np.asarray(truth(sample.inputs))
    everyone = np.arange(n)

    def of_some(some: Indices) -> tuple[np.ndarray]:
        """The sums over the pairs of each of these: [firsts, moments, targets]."""
        first, second = np.repeat(np.asarray(some), n), np.tile(everyone, len(some))
        chance, done = np.asarray(weights.block(some, on_device(everyone))), None
        sums = np.zeros((len(some), 5, *clean.shape[1:]))
        for lam, label_lam, weight in zip(quadrature.lam, quadrature.label_lam, quadrature.weights, strict=True):
            if lam != done:  # beside one ratio of the inputs stand several of the labels
                mixed = np.asarray(truth(on_device(lam * inputs[first] + (1 - lam) * inputs[second], inputs.dtype)))
                done = lam
            z = label_lam * clean[first] + (1 - label_lam) * clean[second] - mixed
            of_pairs = np.stack([z, z**2, mixed**2, z * mixed, mixed]).reshape(5, *chance.shape, *clean.shape[1:])
            sums += weight * np.einsum("fs,mfs...->fm...", chance, of_pairs)
        return (sums,)

    (sums,) = over_chunks(n, of_some, NUMBERS // (inputs.shape[1] + BESIDE))
    return NoiseMoments(*map(on_device, sums.sum(axis=0)))
