"""Which networks are on the device, and what the stages need beside them.

A ledger remembers what was measured: the weight of each network, and the most that each stage took on top. Before a
stage starts, networks that were used longest ago leave the device until there is room for it, and if need be those
of other models of this process. On a device told to be short of memory only the network at work is there.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol
from weakref import WeakSet

import torch
from torch import nn

_EVERYBODY: "WeakSet[Residents]" = WeakSet()  # of this process, whatever the model
_UNMEASURED = 3 * 2**30  # bytes a stage is given room for until it has run once


class Memory(Protocol):
    """What a device says about its memory, in bytes."""

    def free(self) -> int:
        """What could still be allocated."""

    def mark(self) -> None:
        """Starts to watch for the peak."""

    def peak(self) -> int:
        """The most that was in use since the mark, beyond what was then."""

    def release(self) -> None:
        """Gives back what is held but not in use."""


class CudaMemory:
    """Of one NVIDIA device; what torch's allocator holds in reserve counts as free."""

    def __init__(self, device: str) -> None:
        self._device = torch.device(device)
        self._start = 0

    def free(self) -> int:
        unused = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        return int(torch.cuda.mem_get_info(self._device)[0]) + int(unused)

    def mark(self) -> None:
        torch.cuda.reset_peak_memory_stats(self._device)
        self._start = torch.cuda.memory_allocated(self._device)

    def peak(self) -> int:
        return int(torch.cuda.max_memory_allocated(self._device)) - self._start

    def release(self) -> None:
        torch.cuda.empty_cache()


class HostMemory:
    """Of the machine itself, which nobody else accounts for: there is always room, and the peak is not known."""

    def free(self) -> int:
        return 2**62

    def mark(self) -> None:
        """Nothing to watch."""

    def peak(self) -> int:
        return 0

    def release(self) -> None:
        """What is not in use has gone already."""


def memory_of(device: str) -> Memory:
    """What accounts for this device's memory."""
    return CudaMemory(device) if device.startswith("cuda") else HostMemory()


@dataclass
class Ledger:
    """Bytes, as measured.

    Attributes:
        networks: key → weight on the device.
        stages: stage → the most it took beside the networks.
    """

    networks: dict[str, int] = field(default_factory=dict)
    stages: dict[str, int] = field(default_factory=dict)

    def need(self, stage: str) -> int:
        """What to keep free for a stage."""
        return self.stages.get(stage, _UNMEASURED)

    def told(self) -> dict[str, dict[str, float]]:
        """The same in MiB, for people."""
        return {
            "networks_mb": {key: round(size / 2**20, 1) for key, size in sorted(self.networks.items())},
            "stages_mb": {stage: round(size / 2**20, 1) for stage, size in sorted(self.stages.items())},
        }


class Residents:
    """The networks of one model, loaded when first used.

    Args:
        load: makes a network of this key, on the CPU.
        low_vram: only the network at work stays on the device.
    """

    def __init__(self, load: Callable[[str], nn.Module], device: str, low_vram: bool, memory: Memory) -> None:
        self.ledger = Ledger()
        self._load = load
        self._device = torch.device(device)
        self._low_vram = low_vram
        self._memory = memory
        self._networks: dict[str, nn.Module] = {}  # all that are loaded; those used last come last
        self._here: set[str] = set()
        _EVERYBODY.add(self)

    @property
    def on_device(self) -> set[str]:
        """Keys of the networks that are on the device now."""
        return set(self._here)

    @contextmanager
    def using(self, key: str, stage: str) -> Iterator[Any]:
        """One network on the device, with room for the stage beside it."""
        network = self._arrive(key, self.ledger.need(stage))
        self._memory.mark()
        try:
            yield network
        finally:
            self.ledger.stages[stage] = max(self.ledger.stages.get(stage, 0), self._memory.peak())
            del network
            if self._low_vram and key in self._here:
                self._leave(key)
                self._memory.release()

    def empty(self) -> None:
        """Nothing of this process's models is left on the device."""
        for one in (self, *self._others()):
            for key in list(one._here):
                one._leave(key)
        gc.collect()
        self._memory.release()

    def _others(self) -> "list[Residents]":
        """Those of other models on the same device."""
        return [one for one in _EVERYBODY if one is not self and one._device == self._device]

    def _arrive(self, key: str, beside: int) -> nn.Module:
        if key not in self._networks:
            self._networks[key] = self._load(key)
        network = self._networks[key] = self._networks.pop(key)
        if key not in self._here:
            weight = self.ledger.networks[key] = sum(p.nbytes for p in network.state_dict().values())
            self._make_room(weight + beside, key)
            self._here.add(key)  # also when the move breaks off half way, so that `empty` takes it back
            network.to(self._device)
        else:
            self._make_room(beside, key)
        return network

    def _make_room(self, wanted: int, keep: str) -> None:
        mine = [(self, key) for key in self._networks if key in self._here and key != keep]
        others = [(one, key) for one in self._others() for key in one._networks if key in one._here]
        leaving = iter(mine + others)
        while (self._low_vram or self._memory.free() < wanted) and (found := next(leaving, None)):
            one, key = found
            one._leave(key)
            self._memory.release()

    def _leave(self, key: str) -> None:
        """Off the device: to the machine's memory, or, where the device is the machine, out of it."""
        self._here.discard(key)
        network = self._networks.pop(key)
        if self._device.type != "cpu":
            # First in line: it was not what was used last.
            self._networks = {key: network.to("cpu"), **self._networks}
