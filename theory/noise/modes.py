"""Which eigenmodes carry the clean labels, and which the label noise."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from theory.spectrum import Spectrum


class LabelSpectrum(eqx.Module):
    """How the labels' power spreads over the modes, summed over targets; unit: that of the labels, squared."""

    eigenvalues: Float[Array, "modes"]
    clean: Float[Array, "modes"]
    noise: Float[Array, "modes"]


def label_spectrum(spectrum: Spectrum) -> LabelSpectrum:
    """Which eigenmodes carry the clean labels and which the label noise.

    >>> import theory
    >>> spectrum = theory.decompose(jnp.eye(2), jnp.asarray([1.0, 3.0]), jnp.asarray([1.0, 1.0]))
    >>> sorted(label_spectrum(spectrum).noise.round(6).tolist())
    [0.0, 2.0]
    """
    noise = spectrum.noise_coordinates
    return LabelSpectrum(
        spectrum.eigenvalues, jnp.sum((spectrum.label_coordinates - noise) ** 2, axis=1), jnp.sum(noise**2, axis=1)
    )
