"""Seconds, peak memory, and what the device can do at most."""

import ctypes
import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

T = TypeVar("T")
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Reading:
    """
    Attributes:
        seconds: the median.
        peak: bytes the first run had in use beyond what was before; None where it cannot be told.
    """

    seconds: float
    peak: int | None


def measured(work: Callable[[], T], device: str, warmups: int, repeats: int) -> tuple[T, Reading]:
    """What the work gave, and what it took; without warm-ups the first run counts as a repeat."""
    result, first, peak = watched(work, device)
    seconds = [] if warmups else [first]
    for _ in range(max(0, warmups - 1)):
        work()
    while len(seconds) < repeats:
        seconds.append(timed(work, device)[1])
    return result, Reading(statistics.median(seconds), peak)


def timed(work: Callable[[], T], device: str) -> tuple[T, float]:
    """The result and its seconds, until the device has finished."""
    synchronise(device)
    began = time.perf_counter()
    result = work()
    synchronise(device)
    return result, time.perf_counter() - began


def watched(work: Callable[[], T], device: str) -> tuple[T, float, int | None]:
    """The result, its seconds and its peak of memory."""
    watch = Watch(device)
    result = work()
    return result, *watch.stop()


class Watch:
    """Seconds and peak of memory from here on."""

    def __init__(self, device: str) -> None:
        gc.collect()
        self._device = device
        if device.startswith("cuda"):
            torch.cuda.reset_peak_memory_stats(device)
            self._before: int | None = torch.cuda.memory_allocated(device)
        else:
            self._before = _reset_host()
        synchronise(device)
        self._began = time.perf_counter()

    def seconds(self) -> float:
        """Until now, when the device has finished."""
        synchronise(self._device)
        return time.perf_counter() - self._began

    def stop(self) -> tuple[float, int | None]:
        """Seconds, and bytes at most beyond those at the start; None where they cannot be told."""
        seconds = self.seconds()
        if self._before is None:
            return seconds, None
        on_cuda = self._device.startswith("cuda")
        peak = torch.cuda.max_memory_allocated(self._device) if on_cuda else _status("VmHWM")
        return seconds, max(0, peak - self._before)


def synchronise(device: str) -> None:
    """Waits until the device has done what it was told."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def matmul_rate(device: str, dtype: torch.dtype, side: int | None = None) -> float:
    """FLOPs a second of the best of a few large matrix products."""
    side = side or (8192 if device.startswith("cuda") else 1536)
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(a)

    def product() -> torch.Tensor:
        return torch.mm(a, b, out=out)

    product()
    return 2 * side**3 / min(timed(product, device)[1] for _ in range(8))


def _reset_host() -> int | None:
    """The process's resident bytes, once what it holds unused is given back and the kernel forgot the last peak."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
        _CLEAR.write_text("5")
        return _status("VmRSS")
    except (OSError, AttributeError):
        return None


def _status(name: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024
