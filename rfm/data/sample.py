"""A sample: the originals that Mixup mixes."""

import equinox as eqx

from rfm.data.truths import Inputs, Truth, Values, check_truth
from theory.checks import as_floating, check_finite, check_same_rows, check_shape, check_type


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
