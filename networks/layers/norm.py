"""Normalisations. All compute in float32 and give back the type they were given.

Letters: B batch, N rows, H heads, D head size, C channels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from networks.ops.segments import Segments


class LayerNorm(nn.LayerNorm):
    """Over the last axis."""

    def __init__(self, channels: int, eps: float = 1e-6, affine: bool = False) -> None:
        super().__init__(channels, eps=eps, elementwise_affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float()).to(x.dtype)


class ChannelLayerNorm(nn.LayerNorm):
    """Over the channels of a dense (B, C, X, Y, Z) grid, at every voxel."""

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__(channels, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1).float()).movedim(-1, 1).to(x.dtype)


class SegmentGroupNorm(nn.GroupNorm):
    """Over all rows of a segment and the channels of a group."""

    def forward(self, x: Tensor, segments: Segments) -> Tensor:  # type: ignore[override]
        result = torch.empty_like(x)
        for rows in segments.spans():
            # Written row by row: a transposed result would make every later gather a stride through memory.
            result[rows] = super().forward(x[rows].float().T[None])[0].T
        return result


class HeadRMSNorm(nn.Module):
    """Of each head's vector: x / |x| * gamma * sqrt(D)."""

    def __init__(self, heads: int, size: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(heads, size))
        self._scale = size**0.5

    def forward(self, x: Tensor) -> Tensor:
        return (functional.normalize(x.float(), dim=-1) * self.gamma * self._scale).to(x.dtype)
