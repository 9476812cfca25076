"""The noise of a seed. Drawn on the CPU, so that a seed means the same on every device.

One generator serves both stages, so a run that starts at the second draws the first one's too.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Noise:
    """What a seed gives.

    Attributes:
        shapes: of the first stage's latents, in the order they are drawn.
    """

    seed: int
    shapes: tuple[tuple[int, ...], ...]

    def first(self) -> list[Tensor]:
        """Of the first stage."""
        return self._drawn(self._generator())

    def latent(self, voxels: int, channels: int) -> Tensor:
        """(voxels, channels) of the second stage."""
        generator = self._generator()
        self._drawn(generator)
        return torch.randn(voxels, channels, generator=generator)

    def _drawn(self, generator: torch.Generator) -> list[Tensor]:
        return [torch.randn(shape, generator=generator) for shape in self.shapes]

    def _generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed)
