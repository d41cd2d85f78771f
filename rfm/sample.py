"""A sample: the originals that Mixup mixes, and the ground truth that they came from."""

from collections.abc import Callable

import equinox as eqx
from jaxtyping import Array, Float

from theory.checks import as_floating, check_finite, check_same_rows, check_shape, check_type, described

Inputs = Float[Array, "samples inputs"]
Values = Float[Array, "samples"] | Float[Array, "samples targets"]
Truth = Callable[[Inputs], Values]
"""A ground truth f; one value, or one row of values, an input."""
FeatureMap = Callable[[Inputs], Float[Array, "samples features"]]
"""Any callable from inputs to features serves wherever `RandomFeatures` does."""


def check_truth(truth: object) -> None:
    """Raises TypeError unless the value can be called."""
    if not callable(truth):
        raise TypeError(
            f"truth: pass a callable of inputs, such as rfm.data.LinearTruth(slope), got {described(truth)}"
        )


class Sample(eqx.Module):
    """Originals (x_i, y_i), and the truth they came from, or None if nobody knows it."""

    inputs: Inputs
    labels: Values
    truth: Truth | None


def checked_sample(sample: Sample) -> Sample:
    """The sample in floating point; raises unless it has one label, or row of labels, for each input."""
    check_type("sample", sample, Sample, "an rfm.Sample(inputs, labels, truth), such as task.sample(...) gives")
    inputs, labels = as_floating("inputs", sample.inputs), as_floating("labels", sample.labels)
    check_shape("inputs", inputs, ndim=2)
    check_same_rows("labels", labels, "inputs", len(inputs))
    check_shape("labels", labels, ndim=min(labels.ndim, 2))
    if sample.truth is not None:
        check_truth(sample.truth)
    return Sample(check_finite("inputs", inputs), check_finite("labels", labels), sample.truth)
