"""Numbers as vectors: timesteps and places.

Letters: B batch, N rows, C channels.
"""

import math

import torch
from torch import Tensor, nn

_WAVES = 256
_LONGEST = 10_000.0


def sinusoid(t: Tensor, channels: int) -> Tensor:
    """(B, channels) float32 waves of (B,) numbers; cosines before sines, the quickest first."""
    each = channels // 2
    step = torch.arange(each, dtype=torch.float32, device=t.device)
    angle = t.float()[:, None] * torch.exp(-math.log(_LONGEST) * step / each)
    return torch.cat([angle.cos(), angle.sin()], dim=1)


class TimestepEmbedder(nn.Module):
    """(B,) timesteps of 0 to 1000 as (B, C) vectors. In float32 throughout."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(_WAVES, channels), nn.SiLU(), nn.Linear(channels, channels))

    def forward(self, t: Tensor) -> Tensor:
        result: Tensor = self.mlp(sinusoid(t, _WAVES))
        return result


def position_embedding(places: Tensor, channels: int) -> Tensor:
    """(N, C) float32 vectors of integer places (N, 3): for each axis sines before cosines, zeros to fill up."""
    each = channels // 6
    frequency = _LONGEST ** (-torch.arange(each, dtype=torch.float32, device=places.device) / each)
    angle = places.float()[:, :, None] * frequency
    vector = torch.cat([angle.sin(), angle.cos()], dim=2).flatten(1)
    return torch.nn.functional.pad(vector, (0, channels - vector.shape[1]))
