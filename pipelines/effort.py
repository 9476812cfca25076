"""What is done when a device runs out of memory: the same again with nothing else there, then in smaller pieces.

A worker does not die of it. What was lowered is told to the client.
"""

import gc
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch

from pipelines.errors import OutOfMemory

log = logging.getLogger(__name__)

T = TypeVar("T")
# Of the machine, of the driver and of the libraries on a device, for which torch has no type of its own.
_SHORTAGES = (
    "can't allocate memory",
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "unable to find an engine",
)
_SLICE = 2**17
_PICTURES, _FEWEST_PICTURES = 10, 2  # of twenty: half of them fill any device


@dataclass(frozen=True)
class Effort:
    """How much may be on the device at a time.

    Attributes:
        one_batch: conditional and empty branch of the guidance in one pass.
        pictures: how many of a batch of pictures are attended to at a time; None: all.
        rows: voxels of the finest grid that are decoded at a time; None: all.
        extract_on_host: whether the surface is extracted beside the device.
    """

    one_batch: bool = False
    pictures: int | None = None
    rows: int | None = None
    extract_on_host: bool = False


SMALLEST = Effort(one_batch=False, pictures=_FEWEST_PICTURES, rows=_SLICE, extract_on_host=True)
BRANCHES = "with the guidance's two branches one after the other"
FEWER_PICTURES = f"{BRANCHES} and {_FEWEST_PICTURES} pictures at a time"
PIECES = f"in pieces of {_SLICE:,} voxels, the surface extracted beside the device"


def usual(device: str, low_vram: bool) -> Effort:
    """What a device is asked to do at first. On a CPU one batch gains nothing."""
    if low_vram:
        return Effort(pictures=_FEWEST_PICTURES, rows=_SLICE)
    return Effort(one_batch=device != "cpu", pictures=_PICTURES)


class Attempts:
    """Runs stages until one way works.

    Args:
        effort: of the first two attempts.
        empty: takes everything else off the device.

    Attributes:
        degraded: a sentence for every stage that had to be done with less.
    """

    def __init__(self, effort: Effort, empty: Callable[[], None]) -> None:
        self._effort = effort
        self._empty = empty
        self.degraded: list[str] = []

    def __call__(self, stage: str, work: Callable[[Effort], T], lowered: str = "") -> T:
        """The result of `work`.

        Args:
            lowered: what `work` does otherwise when told to do with the least, in words; empty when it cannot.
        Raises:
            OutOfMemory: even so there was not enough.
        """
        efforts = [self._effort, self._effort, *[SMALLEST] * bool(lowered)]
        for attempt, effort in enumerate(efforts):
            try:
                result = work(effort)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                log.warning("%s ran out of memory, attempt %d: %s", stage, attempt + 1, error)
                said = str(error).splitlines()[0] if str(error) else type(error).__name__
            else:
                if effort is SMALLEST:
                    self.degraded.append(f"{stage} ran out of the device's memory and was done {lowered}")
                return result
            # Here the failed attempt's frames, and the tensors in them, are gone.
            self._empty()
            gc.collect()
        raise OutOfMemory(
            f"{stage} does not fit into the device's memory ({said}); "
            "free it for this service, or set MAQUETTE_LOW_VRAM=1 if it is not yet"
        )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether there was not enough memory, of a device or of the machine."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _SHORTAGES)
