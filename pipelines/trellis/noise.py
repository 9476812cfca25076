"""The noise of a seed. Drawn on the CPU, so that a seed means the same on every device.

One generator serves both stages, the structure first, so a run that starts at the second draws the first one's too.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Noise:
    """What a seed gives.

    Attributes:
        shape: (samples, C, R, R, R) of the structure latent.
    """

    seed: int
    shape: tuple[int, ...]

    def structure(self) -> Tensor:
        """Of the first stage."""
        return torch.randn(self.shape, generator=self._generator())

    def latent(self, voxels: int, channels: int) -> Tensor:
        """(voxels, channels) of the second stage."""
        generator = self._generator()
        torch.randn(self.shape, generator=generator)
        return torch.randn(voxels, channels, generator=generator)

    def _generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed)
