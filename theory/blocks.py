"""Rows as training sees them, in one block or in many: labels as columns, and all in one precision.

Arrays of different precision are brought to the finest of them: single-precision features beside double-precision
labels are factored in double precision.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from theory.checks import as_floating, check_finite, check_same_rows
from theory.linalg import as_matrix

Labels = Float[Array, "samples targets"] | Float[Array, "samples"]
Block = tuple[Float[Array, "rows features"], Array, Array | None]
"""Features, labels, and the clean labels if they are known."""


def as_columns(block: Block) -> Block:
    """Labels as columns, all of as many rows and in the finest precision of the three."""
    named = {
        name: check_finite(name, as_floating(name, array))
        for name, array in zip(("features", "labels", "clean_labels"), block, strict=True)
        if array is not None
    }
    for name, array in named.items():
        check_same_rows(name, array, "features", len(named["features"]))
    clean = named.get("clean_labels")
    return in_one_precision(named["features"], as_matrix(named["labels"]), None if clean is None else as_matrix(clean))


def in_one_precision(features: Array, labels: Array, clean: Array | None) -> Block:
    """All in the finest precision of the three."""
    dtype = jnp.result_type(*(array for array in (features, labels, clean) if array is not None))
    return features.astype(dtype), labels.astype(dtype), None if clean is None else clean.astype(dtype)
