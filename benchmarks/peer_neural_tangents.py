"""The side of neural-tangents: reads names of stored problems, a line each, and answers each with a line of JSON.

It needs an older jax than ours and so runs in an environment of its own (`make bench-peer`), as
`python -m benchmarks.peer_neural_tangents [--cpu-time]`. Its flow runs on the same clock as ours: its loss is
|f - y|^2 / (2 m) for one target, and its learning rate 1.
"""

import json
import sys
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import neural_tangents as nt
import numpy as np

from benchmarks import peak

Arrays = dict[str, jax.Array]


def main() -> None:
    """Answers until its input ends."""
    jax.config.update("jax_enable_x64", True)
    clock = time.process_time if "--cpu-time" in sys.argv else time.perf_counter
    for line in sys.stdin:
        arrays = {name: jnp.asarray(array) for name, array in np.load(line.strip()).items()}
        print(json.dumps(_measure(jax.block_until_ready(arrays), clock)), flush=True)


def _measure(arrays: Arrays, clock: Callable[[], float]) -> dict[str, object]:
    answer: dict[str, object] = {"versions": f"neural-tangents {nt.__version__}, jax {jax.__version__}"}

    def work() -> None:
        began = clock()
        curve = jax.block_until_ready(_risk(arrays))
        answer.update(seconds=clock() - began, risk=np.atleast_1d(curve).tolist())

    extra = peak.extra_bytes(work)
    return {**answer, "extra_bytes": extra}


def _risk(arrays: Arrays) -> jax.Array:
    """The risk curve from features, as a user would write it: two kernels, predictions at all times, their errors."""
    features, labels, test_features = (arrays[name] for name in ("features", "labels", "test_features"))
    predict = nt.predict.gradient_descent_mse(features @ features.T, labels)
    start, across = jnp.zeros_like(arrays["test_targets"]), test_features @ features.T
    predictions = predict(arrays.get("times"), None, start, across)  # no times: its own way to t = infinity
    return jnp.mean(jnp.sum((predictions - arrays["test_targets"]) ** 2, axis=-1), axis=-1)


if __name__ == "__main__":
    main()
