"""The two flow networks with one job's condition, ready to be sampled: what depends on no step is computed once.

Letters: B samples, N voxels, V views.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from networks.ops.voxels import Voxels
from networks.samplers.flow_euler import Schedule
from networks.trellis.flow import Condition, FlowTransformer
from networks.trellis.slat_flow import SLatFlow
from networks.trellis.sparse_structure_flow import SparseStructureFlow

_MOST_COPIES = 4  # of the state in one pass; more fill any device, and only cost memory


class _Denoiser(ABC):
    """
    Args:
        cond: (V, M, cond_channels) image tokens, one row for each view.
        times: of the steps it will be asked about.
        one_batch: conditional and empty branches in one pass; quicker where a pass alone does not fill the device.
    """

    def __init__(self, network: FlowTransformer, cond: Tensor, times: Schedule, one_batch: bool = False) -> None:
        self._condition = network.condition(cond)
        self._times = network.times(torch.tensor(times.timesteps, device=cond.device))
        self._one_batch = one_batch

    def __call__(self, x: Tensor, step: int, views: Sequence[int | None]) -> list[Tensor]:
        """The velocity under each of the views; None is the empty condition."""
        seen = [view for view in views if view is not None]
        if self._one_batch and 1 < len(views) <= _MOST_COPIES and (len(seen) == 1 or self._samples(x) == 1):
            return self._predict(x, step, self._shown(seen), len(seen), len(views))
        return [v for view in views for v in self._predict(x, step, self._shown([view]), int(view is not None), 1)]

    def _shown(self, views: Sequence[int | None]) -> Condition | None:
        seen = [view for view in views if view is not None]
        return self._condition.of(seen) if seen else None

    @abstractmethod
    def _samples(self, x: Tensor) -> int:
        """How many objects a state holds."""

    @abstractmethod
    def _predict(self, x: Tensor, step: int, condition: Condition | None, seen: int, copies: int) -> list[Tensor]:
        """Velocities of `copies` of the state, of which the first `seen` see the condition."""


class StructureDenoiser(_Denoiser):
    """Of (B, C, R, R, R) structure latents."""

    def __init__(self, network: SparseStructureFlow, cond: Tensor, times: Schedule, one_batch: bool = False) -> None:
        super().__init__(network, cond, times, one_batch)
        self._network = network

    def _samples(self, x: Tensor) -> int:
        return len(x)

    def _predict(self, x: Tensor, step: int, condition: Condition | None, seen: int, copies: int) -> list[Tensor]:
        count = len(x)
        times = self._times.of(step, count * copies)
        v = self._network(x.repeat(copies, 1, 1, 1, 1), times, condition, seen * count)
        return list(v.split(count))


class LatentDenoiser(_Denoiser):
    """Of (N, C) latents on voxels."""

    def __init__(
        self, network: SLatFlow, voxels: Voxels, cond: Tensor, times: Schedule, one_batch: bool = False
    ) -> None:
        super().__init__(network, cond, times, one_batch)
        self._network = network
        self._voxels = {1: voxels}

    def _samples(self, x: Tensor) -> int:
        return len(self._voxels[1].segments)

    def _predict(self, x: Tensor, step: int, condition: Condition | None, seen: int, copies: int) -> list[Tensor]:
        if copies not in self._voxels:
            self._voxels[copies] = self._voxels[1].repeated(copies)
        samples = self._samples(x)
        times = self._times.of(step, samples * copies)
        v = self._network(x.repeat(copies, 1), self._voxels[copies], times, condition, seen * samples)
        return list(v.split(len(x)))
