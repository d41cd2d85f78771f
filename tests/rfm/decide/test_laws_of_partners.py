"""Advice about laws that choose whom a sample is mixed with: what is known of their limits, on folds of data."""

import jax
import numpy as np
import pytest

import rfm
from rfm.decide.actions import SAME
from tests.rfm.decide.test_advice import COLUMNS, FOLDS, KEY, data
from tests.tolerances import ORACLE


def advised(law: rfm.Mixup, how: str = "random") -> rfm.decide.Advice:
    random = rfm.RandomFeatures(COLUMNS, 8, "tanh", weight_std=2.0, key=jax.random.key(1))
    return rfm.advise(
        *data(), features=random if how == "random" else "raw", law=law, folds=FOLDS, num_times=9, key=KEY
    )


@pytest.mark.parametrize("how", ["random", "raw"])
def test_partners_of_the_same_label_alone_leave_plain_training(how: str) -> None:
    law = rfm.Mixup(alpha=1.0, pairs="expected", partners=rfm.SimilarLabels(1e-9))
    found = advised(law, how)
    assert np.allclose(found.mixup_risk, found.plain_risk, rtol=1e-6, atol=SAME)  # each is a pass by gram


def test_partners_of_any_label_leave_plain_mixup() -> None:
    wide, plain = (
        advised(rfm.Mixup(lam=0.3, pairs="expected", partners=partners)) for partners in (rfm.SimilarLabels(1e6), None)
    )
    assert np.allclose(wide.mixup_risk, plain.mixup_risk, rtol=ORACLE)
    assert np.allclose(wide.plain_risk, plain.plain_risk, rtol=0)


def test_a_share_of_mixed_rows_lies_between_and_is_no_slower_clock() -> None:
    """On raw features Mixup is plain training on a slower clock, which is said; of other laws it is not claimed."""
    half = advised(rfm.Mixup(alpha=1.0, pairs="expected", share=0.5), "raw")
    assert half.slowdown is None
    assert advised(rfm.Mixup(alpha=1.0, pairs="expected"), "raw").slowdown == pytest.approx(2 / 3)
