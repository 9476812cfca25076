"""A faster kernel is trusted only where it runs and says what the plain one says."""

import logging

import pytest
import torch
from torch import Tensor

from networks.ops.backends import agrees
from tests.networks.drawing import normal

WANTED = normal(50, 4)


def test_the_same_up_to_half_precision_agrees() -> None:
    assert agrees("fast", lambda: WANTED.half(), lambda: WANTED)


@pytest.mark.parametrize(
    "wrong", [WANTED * 1.03, WANTED.flip(0), torch.where(WANTED > 2, torch.nan, WANTED)], ids=["scaled", "mixed", "nan"]
)
def test_another_result_is_refused_with_a_warning(wrong: Tensor, caplog: pytest.LogCaptureFixture) -> None:
    assert not agrees("fast", lambda: wrong, lambda: WANTED)
    assert caplog.records[0].levelno == logging.WARNING and "fast is wrong here" in caplog.text


@pytest.mark.parametrize("problem", [RuntimeError, ImportError, AssertionError])
def test_a_kernel_that_raises_is_refused_and_its_reason_kept(
    problem: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    def fast() -> Tensor:
        raise problem("no image for this card")

    with caplog.at_level(logging.INFO):
        assert not agrees("fast", fast, lambda: WANTED)
    assert f"fast cannot run here ({problem.__name__}: no image for this card)" in caplog.text
