"""Running out of memory is met with less and less, and told."""

import pytest
import torch

from pipelines.effort import PIECES, SMALLEST, Attempts, Effort, usual
from pipelines.errors import OutOfMemory


def exhaust() -> torch.Tensor:
    """More than any machine has: torch's own error for it."""
    return torch.empty(2**60, dtype=torch.uint8)


class Work:
    """Needs more memory than there is, so many times."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.efforts: list[Effort] = []

    def __call__(self, effort: Effort) -> str:
        self.efforts.append(effort)
        if len(self.efforts) <= self.failures:
            exhaust()
        return "done"


def attempts() -> tuple[Attempts, list[str]]:
    emptied: list[str] = []
    return Attempts(Effort(one_batch=True), lambda: emptied.append("emptied")), emptied


def test_what_fits_is_done_once() -> None:
    run, emptied = attempts()
    assert run("mesh", Work(0), PIECES) == "done"
    assert (run.degraded, emptied) == ([], [])


def test_the_second_attempt_has_the_device_for_itself_and_lowers_nothing() -> None:
    run, emptied = attempts()
    work = Work(1)
    assert run("mesh", work, PIECES) == "done"
    assert work.efforts == [Effort(one_batch=True)] * 2
    assert (run.degraded, emptied) == ([], ["emptied"])


def test_the_third_is_done_with_less_and_says_so() -> None:
    run, emptied = attempts()
    work = Work(2)
    assert run("mesh", work, PIECES) == "done"
    assert work.efforts[2] == SMALLEST
    assert run.degraded == [
        "mesh ran out of the device's memory and was done in pieces of 131,072 voxels, "
        "the surface extracted beside the device"
    ]


def test_a_job_that_fits_nowhere_ends_with_the_remedy_and_leaves_the_device_empty() -> None:
    run, emptied = attempts()
    with pytest.raises(OutOfMemory, match="mesh does not fit .*can't allocate memory.*MAQUETTE_LOW_VRAM=1"):
        run("mesh", Work(9), PIECES)
    assert emptied == ["emptied"] * 3


def test_what_cannot_be_done_with_less_is_tried_twice() -> None:
    run, emptied = attempts()
    work = Work(9)
    with pytest.raises(OutOfMemory, match="conditioning does not fit"):
        run("conditioning", work)
    assert work.efforts == [Effort(one_batch=True)] * 2 and emptied == ["emptied"] * 2


def test_other_errors_are_not_tried_again() -> None:
    run, emptied = attempts()
    calls = []

    def wrong(effort: Effort) -> None:
        calls.append(effort)
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        run("mesh", wrong)
    assert (len(calls), emptied) == (1, [])


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("Triton Error [CUDA]: out of memory"),
    ],
)
def test_a_devices_and_the_machines_own_errors_count(error: Exception) -> None:
    run, _ = attempts()
    raised = []

    def work(effort: Effort) -> str:
        if not raised:
            raised.append(error)
            raise error
        return "done"

    assert run("latent", work) == "done"


def test_an_accelerator_takes_both_branches_at_once_unless_memory_is_short() -> None:
    assert usual("cuda:0", low_vram=False) == Effort(one_batch=True, pictures=10, rows=None)
    assert usual("cuda:0", low_vram=True) == Effort(one_batch=False, pictures=2, rows=2**17)
    assert usual("cpu", low_vram=False) == Effort(one_batch=False, pictures=10, rows=None)
