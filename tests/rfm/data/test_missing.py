"""Inputs that are missing: taken as the mean of the rows that are trained on, and of no others."""

import warnings
from pathlib import Path

import numpy as np
import pytest

import rfm
from rfm.data.datasets import as_numbers, check_varies
from rfm.data.scaling import Numbers, Scaling
from tests.tolerances import IDENTITY

NAN = np.nan
ROWS = np.arange(30)
HAS_GAP = ROWS % 3 == 0


def data(are_classes: bool) -> tuple[np.ndarray, np.ndarray]:
    """Two columns of inputs, the first of which is missing in every third row; targets."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(3.0, 2.0, size=(len(ROWS), 2))
    inputs[HAS_GAP, 0] = NAN
    targets = np.eye(2)[rng.integers(0, 2, len(ROWS))] if are_classes else rng.normal(size=len(ROWS))
    return inputs, targets


@pytest.mark.parametrize("are_classes", [False, True])
def test_what_is_missing_becomes_the_mean_which_is_zero(are_classes: bool) -> None:
    inputs, targets = data(are_classes)
    scaled = np.asarray(Scaling.of(Numbers(inputs, targets, are_classes, are_classes))(inputs, targets).inputs)
    assert np.all(scaled[HAS_GAP, 0] == 0)
    assert np.allclose(scaled.mean(axis=0), 0, atol=IDENTITY)


def test_a_column_with_gaps_is_scaled_as_its_other_rows_by_themselves() -> None:
    inputs, targets = data(False)
    scaled = np.asarray(Scaling.of(Numbers(inputs, targets, False, False))(inputs, targets).inputs)
    there, labels = inputs[~HAS_GAP], targets[~HAS_GAP]
    alone = np.asarray(Scaling.of(Numbers(there, labels, False, False))(there, labels).inputs)
    assert np.allclose(scaled[~HAS_GAP, 0], alone[:, 0], rtol=10 * IDENTITY, atol=0)


def test_rows_that_are_not_trained_on_change_no_mean() -> None:
    inputs, targets = data(False)
    train, new = ROWS < 20, ROWS >= 20
    other = inputs.copy()
    other[new] = 1e6
    scalings = [Scaling.of(Numbers(values[train], targets[train], False, False)) for values in (inputs, other)]
    assert np.array_equal(*(scaling(inputs[new], targets[new]).inputs for scaling in scalings))


@pytest.mark.parametrize("are_classes", [False, True])
def test_a_column_that_is_missing_in_all_rows_to_train_on_is_zero(are_classes: bool) -> None:
    train, new = np.asarray([[1.0, NAN], [3.0, NAN]]), np.asarray([[2.0, 7.0], [NAN, NAN]])
    targets = np.eye(2) if are_classes else np.arange(2.0)
    with warnings.catch_warnings(action="error"):
        scaling = Scaling.of(Numbers(train, targets, are_classes, are_classes))
        assert scaling(new, targets).inputs.tolist() == [[0, 0], [0, 0]]
        assert scaling(train, targets).inputs.tolist() == [[-1, 0], [1, 0]]


def test_missing_inputs_pass_only_where_they_are_asked_to(tmp_path: Path) -> None:
    x, y = np.asarray([[1.0, NAN], [2.0, 3.0]]), np.arange(2.0)
    with pytest.raises(ValueError, match=r"^inputs: holds values that are not finite"):
        as_numbers(x, y)
    assert np.array_equal(as_numbers(x, y, missing="mean")[0], x, equal_nan=True)
    assert np.all(np.isfinite(rfm.data.prepare(x, y, missing="mean").inputs))
    np.savez(tmp_path / "a.npz", x=x, y=y)
    assert np.isnan(rfm.data.read_arrays(tmp_path / "a.npz", missing="mean").inputs).sum() == 1


@pytest.mark.parametrize(("name", "place"), [("inputs", 0), ("targets", 1)])
def test_infinite_inputs_and_missing_targets_pass_never(name: str, place: int) -> None:
    arrays = [np.asarray([[1.0, NAN], [2.0, 3.0]]), np.arange(2.0)]
    arrays[place] = arrays[place] * (np.inf if name == "inputs" else NAN)
    with pytest.raises(ValueError, match=rf"^{name}: holds values that are not finite"):
        as_numbers(*arrays, missing="mean")


def test_a_column_varies_where_what_is_known_of_it_does() -> None:
    check_varies("inputs", np.asarray([[NAN], [1.0], [2.0]]))
    with pytest.raises(ValueError, match=r"^inputs: all rows are the same"):
        check_varies("inputs", np.asarray([[1.0, NAN], [NAN, 2.0], [1.0, 2.0]]))
