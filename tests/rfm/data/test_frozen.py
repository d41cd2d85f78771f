"""Frozen networks: an encoder in blocks, pairs that match their features, and what is refused before any work."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from rfm.data import Encoder, MixedFeatures, read_mixed
from rfm.mixup import PairTable
from tests.tolerances import IDENTITY

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(7, 3, 2))
FIRST, SECOND, LAM = np.asarray([0, 1, 6, 3]), np.asarray([2, 1, 5, 4]), np.asarray([0.2, 0.7, 0.5, 1.0])


def network(images: np.ndarray) -> np.ndarray:
    return np.tanh(images.reshape(len(images), -1)) ** 2


def mixtures() -> np.ndarray:
    share = LAM[:, None, None]
    return share * IMAGES[FIRST] + (1 - share) * IMAGES[SECOND]


@pytest.mark.parametrize("block_rows", [1, 3, 4, 100])
def test_features_are_those_of_mixtures_whatever_the_blocks(block_rows: int) -> None:
    encoder = Encoder(network, block_rows=block_rows)
    table = PairTable(*map(jnp.asarray, (FIRST, SECOND, LAM)))
    mixed = encoder.mixed(IMAGES, table)
    assert np.allclose(mixed.features, network(mixtures()), rtol=IDENTITY)
    assert np.allclose(encoder(IMAGES), network(IMAGES), rtol=IDENTITY)
    mixed.check_originals(encoder(IMAGES))


def test_progress_counts_rows() -> None:
    told: list[tuple[int, int]] = []
    Encoder(network, block_rows=3, progress=lambda *told_now: told.append(told_now))(IMAGES)
    assert told == [(3, 7), (6, 7), (7, 7)]


def test_only_pairs_of_two_rows_of_a_part_stay_in_it() -> None:
    mixed = MixedFeatures(FIRST, SECOND, LAM, network(mixtures()))
    rows = np.asarray([6, 1, 5, 3])
    part = mixed.within(rows)
    back = rows[np.asarray(part.pairs.first)], rows[np.asarray(part.pairs.second)]
    assert [side.tolist() for side in back] == [[1, 6], [1, 5]]
    assert np.array_equal(part.features, mixed.features[1:3])
    with pytest.raises(ValueError, match=r"^features: none of the 4 pairs is mixed of two rows that are trained on"):
        mixed.within(np.asarray([0, 1]) * 3)


def shuffled(mixed: MixedFeatures) -> MixedFeatures:
    return MixedFeatures(FIRST, SECOND, LAM, np.asarray(mixed.features)[::-1])


def test_features_in_another_order_than_their_pairs_are_found_out() -> None:
    """The pair (1, 1) is row 1 and the last one row 3 by itself, whatever the network."""
    mixed = MixedFeatures(FIRST, SECOND, LAM, network(mixtures()))
    with pytest.raises(ValueError, match=r"^features: pair 1 is row 1 by itself, but has other features; they do not"):
        shuffled(mixed).check_originals(network(IMAGES))
    with pytest.raises(ValueError, match=r"^features: a pair mixes row 6, but there are 6; pass those of this data"):
        mixed.check_originals(network(IMAGES)[:6])
    with pytest.raises(
        ValueError, match=r"^features: mixed rows have 6 features, the originals 5; pass those of one enc"
    ):
        mixed.check_originals(network(IMAGES)[:, :5])


calls = iter(range(100))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            lambda x: network(x)[:-1],
            "features: the encoder returned the shape (6, 6) for 7 rows; return one row of feat",
        ),
        (lambda x: network(x) / 0, "features: the encoder returned values that are not finite; scale its inputs as in"),
        (
            lambda x: network(x) + next(calls),
            "features: the encoder gives the same rows other features the second time",
        ),
        (lambda x: ["a"] * len(x), "features: the encoder's output is no array of numbers (could not convert string"),
        (lambda x: 1.0, "features: the encoder returned the shape () for 7 rows"),
    ],
)
def test_an_encoder_that_cannot_be_used_is_refused(function: Callable[[Any], Any], message: str) -> None:
    with np.errstate(all="ignore"), pytest.raises(ValueError, match=r"^[^\n]*$") as caught:
        Encoder(function)(IMAGES)
    assert str(caught.value).startswith(message)


def test_as_many_features_for_every_block() -> None:
    with pytest.raises(
        ValueError, match=r"^features: the encoder gives 6 features, and 5 to the rows from 4 on; return"
    ):
        Encoder(lambda x: network(x) if len(x) == 4 else network(x)[:, :5], block_rows=4)(IMAGES)


def saved(folder: Path, **changed: np.ndarray) -> Path:
    features = np.concatenate([network(IMAGES), network(mixtures())])
    np.savez(folder / "m.npz", **({"features": features, "first": FIRST, "second": SECOND, "lam": LAM} | changed))
    return folder / "m.npz"


def test_a_file_gives_back_what_was_encoded(tmp_path: Path) -> None:
    originals, mixed = read_mixed(saved(tmp_path), 7)
    assert np.array_equal(originals, network(IMAGES))
    assert np.array_equal(mixed.features, network(mixtures()))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"features": network(IMAGES)},
            "features: PATH has those of 7 rows; 11 are needed, of 7 rows of the data and of",
        ),
        ({"lam": LAM + 1}, "lam: must lie in [0, 1], got 1.2"),
        ({"first": FIRST + 0.5}, "first: must be the index of a row for each pair"),
        ({"second": SECOND[:3]}, "second: there are 3 for 4 rows of lam; pass one a row"),
        ({"features": np.full((11, 2), np.nan)}, "features: PATH holds values that are not finite"),
    ],
)
def test_a_file_of_other_features_is_refused(changed: dict[str, np.ndarray], message: str, tmp_path: Path) -> None:
    path = saved(tmp_path, **changed)
    with pytest.raises(ValueError, match=r"^[^\n]*$") as caught:
        read_mixed(path, 7)
    assert str(caught.value).startswith(message.replace("PATH", str(path)))


def test_a_file_without_features_says_what_it_lacks(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=IMAGES)
    with pytest.raises(
        ValueError, match=r"is not a readable .npz file with features, first, second and lam .*features is"
    ):
        read_mixed(tmp_path / "a.npz", 7)
    with pytest.raises(FileNotFoundError):
        read_mixed(tmp_path / "none.npz", 7)
