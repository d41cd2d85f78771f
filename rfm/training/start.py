"""What training starts from, and the curve that it leaves: shared by full-batch and mini-batch training."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

import theory
from rfm.checks import check_key
from theory.checks import check_shape
from theory.linalg import on_device
from theory.population import Averages
from theory.risk import check_start
from theory.trust import evaluation_error

STEPS_A_CALL = 2**12
"""Compiled steps between two looks at the progress bar and at Ctrl-C."""


def initial_weights(
    num_features: int, num_targets: int, dtype: jnp.dtype, start: theory.Start | None, key: PRNGKeyArray | None
) -> Float[Array, "features targets"]:
    """Zero, the weights given, or a draw about them.

    Raises:
        ValueError: weights of another shape, or a start to be drawn without a key.
    """
    check_start(start)
    if key is not None:
        check_key("key", key)
    shape = (num_features, num_targets)
    weights = on_device(np.zeros(shape, dtype))
    if start is None:
        return weights
    if start.weights is not None:
        check_shape("start.weights", start.weights, ndim=2, rows=num_features, columns=num_targets)
        weights = start.weights.astype(dtype)
    if start.variance == 0:
        return weights
    if key is None:
        raise ValueError(f"key: a start of variance {start.variance} is drawn at random; pass key=jax.random.key(seed)")
    drawn = jax.random.normal(key, shape if start.spread is None else (start.spread.shape[1], num_targets), dtype)
    if start.spread is not None:
        drawn = start.spread.astype(dtype) @ drawn
    return weights + jnp.sqrt(start.variance) * drawn


def initial_rows(
    weights: Float[Array, "features targets"], start: theory.Start | None, split: bool
) -> Float[Array, "rows features"]:
    """One row a target, and where clean labels are trained too, their rows: without the noise learnt so far."""
    there = np.asarray(weights)
    if not split:
        return on_device(there.T)
    noise = None if start is None else start.noise_weights
    clean = there if noise is None else there - np.asarray(noise, there.dtype)
    return on_device(np.concatenate([there.T, clean.T]))


@eqx.filter_jit
def recorded_curve(
    steps: Float[Array, "times"],
    times: Float[Array, "times"],
    parts: theory.population.RiskParts,
    train_loss: Float[Array, "times"],
    weight_power: Float[Array, "times"],
    averages: Averages,
) -> theory.curve.MeasuredCurve:
    """A curve as it was measured: it turns at a recorded step, and says nothing of infinity.

    Weights are what training has made them, so its rounding error is that of evaluating their risk.
    """
    risk = jnp.sum(parts.risk, axis=1)
    error = evaluation_error(averages, risk, weight_power)
    turning = theory.minimum.earliest_lowest(risk, error)
    return theory.curve.MeasuredCurve(
        times=times,
        steps=steps,
        risk_by_target=parts.risk,
        train_loss=train_loss,
        turning_time=times[turning],
        turning_step=steps[turning],
        turning_risk=risk[turning],
        rounding_error=error,
        decomposition=None if parts.clean is None else theory.curve.Decomposition.of(parts),
        classification_error=parts.error_rate,
    )


def deviation(risk: np.ndarray, exact: np.ndarray, error: np.ndarray) -> np.ndarray:
    """How far a risk is from another, relative to that one, or to the rounding error of both where that is larger.

    >>> deviation(np.asarray([1.1, 0.0]), np.asarray([1.0, 1e-16]), np.asarray([1e-15, 1e-15])).round(3).tolist()
    [0.1, 0.1]
    """
    return np.abs(risk - exact) / np.maximum(np.maximum(exact, error), np.finfo(float).tiny)
