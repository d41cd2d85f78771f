"""Pairs to encode elsewhere: the rows of one's own data and drawn mixtures of them, in one file of arrays.

A frozen network makes features of all of them, wherever it runs; `rfm advise DATA --features FILE` reads these.
"""

import shlex
from pathlib import Path
from typing import Any

import jax
import numpy as np

import rfm
from experiments.data_configs import PairsConfig
from experiments.laws import check_mixing, mixup
from rfm.decide.featured import pairs_for
from rfm.files import replacing
from rfm.mixup import PairTable

NUM_KNOWN = 8
"""Mixtures at the end that are a row by itself: their features tell whether rows were kept in order."""


def write_pairs(config: PairsConfig, path: Path) -> str:
    """Writes x (the rows, then mixtures of them), first, second and lam; returns what to do with it.

    Raises:
        ValueError: a field out of range, or data that cannot be read; inputs that are missing.
    """
    check_mixing(config)
    raw = rfm.data.read_data(config.dataset, **config.reading())
    inputs = np.asarray(raw.inputs)
    if np.any(np.isnan(inputs.astype(float))):
        raise ValueError("missing: a frozen network is given inputs as they are; fill in those that are missing")
    law = mixup(config, "expected", alpha=config.alpha)
    drawn = pairs_for(law, len(inputs), config.pairs_per_row, jax.random.key(config.seed))
    known = np.arange(min(NUM_KNOWN, len(inputs)))
    first, second = (np.concatenate([np.asarray(column), known]) for column in (drawn.first, drawn.second))
    lam = np.concatenate([np.asarray(drawn.lam), np.ones(len(known))])
    mixed = np.asarray(PairTable(*map(jax.numpy.asarray, (first, second, lam))).mix(jax.numpy.asarray(inputs, float)))
    columns: dict[str, Any] = {"first": first, "second": second, "lam": lam}
    if drawn.label_lam is not None:
        columns["label_lam"] = np.concatenate([np.asarray(drawn.label_lam), np.ones(len(known))])
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, x=np.concatenate([inputs, mixed]), **columns)
    return (
        f"{path}: {len(inputs)} rows, and {len(lam)} mixtures of them.\nEncode x in this order, and keep the rest:\n"
        f"  pairs = np.load({str(path)!r})\n"
        '  np.savez("mixed.npz", features=encoder(pairs["x"]), '
        f"**{{name: pairs[name] for name in {tuple(columns)}}})\n"
        f"then: rfm advise {shlex.join([config.dataset, *_reading(config)])} --features mixed.npz"
    )


def _reading(config: PairsConfig) -> list[str]:
    """The flags by which the data were read, which the advice is to be given as well."""
    usual = PairsConfig()
    asked = {name: getattr(config, name) for name in ("target", "inputs", "exclude", "separator", "decimal")}
    return [word for name, value in asked.items() if value != getattr(usual, name) for word in (f"--{name}", value)]
