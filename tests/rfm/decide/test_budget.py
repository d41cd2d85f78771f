"""Epochs, batches and learning rates: the clock of somebody's own training loop, against that loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rfm
from rfm.decide import Trainer
from rfm.decide.budget import Pace
from tests.tolerances import ORACLE

RNG = np.random.default_rng(0)
PHI, GOAL = RNG.normal(size=(12, 4)) / 2, RNG.normal(size=(12, 3))


def trained(loss: str, learning_rate: float, momentum: float, steps: int) -> np.ndarray:
    """Full batches through a loss as libraries write it, with JAX's gradient and a velocity as PyTorch's SGD has it."""
    losses = {
        "mse": lambda error: jnp.mean(error**2),
        "sum": lambda error: jnp.mean(jnp.sum(error**2, axis=1)),
        "half": lambda error: jnp.mean(jnp.sum(error**2, axis=1)) / 2,
    }
    gradient = jax.jit(jax.grad(lambda theta: losses[loss](PHI @ theta - GOAL)))
    theta, velocity = jnp.zeros((4, 3)), jnp.zeros((4, 3))
    for _ in range(steps):
        velocity = momentum * velocity + gradient(theta)
        theta = theta - learning_rate * velocity
    return np.asarray(theta)


@pytest.mark.parametrize("loss", ["mse", "sum", "half"])
@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_the_rule_of_a_trainer_is_what_its_loop_does(loss: str, momentum: float) -> None:
    trainer = Trainer(0.1, 12, momentum=momentum, loss=loss)
    problem = rfm.Problem(PHI, GOAL, population=rfm.TestSet(jnp.eye(4), jnp.zeros((4, 3))))
    exact = rfm.solve(problem).weights(steps=[25], rule=trainer.rule(num_targets=3))
    assert np.allclose(np.asarray(exact).reshape(4, 3), trained(loss, 0.1, momentum, 25), rtol=ORACLE)


@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_a_small_learning_rate_follows_the_clock(momentum: float) -> None:
    """After 400 steps of momentum the loop is where gradient flow is at that time, up to a step and its start-up."""
    trainer = Trainer(0.002, 12, momentum=momentum)
    flow = rfm.Problem(PHI, GOAL, population=rfm.TestSet(jnp.eye(4), jnp.zeros((4, 3))))
    time = trainer.epochs_time(400, 12, 3)
    there = np.asarray(rfm.solve(flow).weights(times=[time])).reshape(4, 3)
    off = np.linalg.norm(there - trained("mse", 0.002, momentum, 400)) / np.linalg.norm(there)
    assert off < (0.01 if momentum else 0.001)


def test_epochs_turn_into_time_and_back() -> None:
    trainer = Trainer(0.01, 64, momentum=0.9)
    assert trainer.steps_in_epoch(1000) == 16  # the last batch is small
    time = trainer.epochs_time(37, 1000, 1)
    assert time == pytest.approx(37 * 16 * 0.01 * 2 / (1 - 0.9))
    assert trainer.epochs(time, 1000, 1) == pytest.approx(37)
    pace = Pace(trainer.step_time(1), trainer, 1000, 1)
    assert pace.in_words(time) == "epoch 37 (592 steps, t = 118)"
    assert pace.in_words(time / 370) == "0.1 of the first epoch (2 steps, t = 0.32)"


def test_advice_speaks_of_epochs_and_measures_what_momentum_adds() -> None:
    x = RNG.normal(size=(40, 2))
    y = x[:, 0] + 0.3 * RNG.normal(size=40)
    settings = {"features": "raw", "num_folds": 3, "num_times": 15, "budget": 2.0, "key": jax.random.key(0)}
    slow, fast = (rfm.advise(x, y, trainer=Trainer(lr, 10, momentum=0.5), **settings) for lr in (1e-4, 0.1))
    assert slow.trainer_error is not None
    assert fast.trainer_error is not None
    assert slow.trainer_error < 1e-2 < fast.trainer_error  # five steps of momentum, which has to gather way
    assert "epoch" in slow.in_words
    time = slow.recommended.time
    assert slow.pace.epochs(time) == pytest.approx(time / (4 * 2e-4 / 0.5))
    assert rfm.advise(x, y, **settings).trainer_error is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"optimizer": "Adam"}, "optimizer: Adam has no training time: it steps each weight at a rate of its own"),
        ({"momentum": 1.0}, r"momentum: must lie in \[0, 1\), got 1.0"),
        ({"learning_rate": 0.0}, "learning_rate: must be a positive number, got 0.0"),
        ({"batch_size": 0}, "batch_size: must be a whole number of at least 1, got 0"),
    ],
)
def test_what_has_no_clock_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        Trainer(**({"learning_rate": 0.1, "batch_size": 8} | arguments))


def test_a_learning_rate_that_diverges_is_refused() -> None:
    x = RNG.normal(size=(20, 2))
    with pytest.raises(ValueError, match=r"^learning_rate: 100 diverges on these features; pass less than 0."):
        rfm.advise(x, x[:, 0], features="raw", num_folds=2, trainer=Trainer(100.0, 5), key=jax.random.key(0))
