"""The dense autoencoder between a 64^3 occupancy grid and the 16^3 latent of a sparse structure.

Agrees with SparseStructureDecoder and SparseStructureEncoder of microsoft/TRELLIS, commit 6b0d647.
Letters: B batch, C channels, X Y Z the grid.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from networks.layers.norm import ChannelLayerNorm
from networks.precision import torso_dtype


class ResBlock(nn.Module):
    """Two normed convolutions around a skip; as many channels out as in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = ChannelLayerNorm(channels)
        self.norm2 = ChannelLayerNorm(channels)
        self.conv1 = nn.Conv3d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv3d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(silu(self.norm1(x)))
        result: Tensor = x + self.conv2(silu(self.norm2(h)))
        return result


class Upsample(nn.Module):
    """Twice the resolution by a convolution and a pixel shuffle."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(channels, 8 * out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return pixel_shuffle_3d(self.conv(x), 2)


class Downsample(nn.Module):
    """Half the resolution by a convolution with stride 2."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(channels, out_channels, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.conv(x)
        return result


def pixel_shuffle_3d(x: Tensor, factor: int) -> Tensor:
    """(B, C f^3, X, Y, Z) → (B, C, fX, fY, fZ); within a channel the offset along z runs fastest."""
    items, channels, *grid = x.shape
    split = x.view(items, channels // factor**3, factor, factor, factor, *grid)
    mixed = split.permute(0, 1, 5, 2, 6, 3, 7, 4)
    return mixed.reshape(items, channels // factor**3, *(factor * side for side in grid))


class _Half(nn.Module):
    """What decoder and encoder have in common."""

    TORSO: ClassVar[tuple[str, ...]] = ("blocks", "middle_block")

    def __init__(self, norm_type: str) -> None:
        super().__init__()
        if norm_type != "layer":
            raise ValueError(f"norm_type is {norm_type!r}; only 'layer' is known")

    @property
    def dtype(self) -> torch.dtype:
        return torso_dtype(self)


def _residual(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(ResBlock(channels) for _ in range(count)))


def _levels(channels: list[int], count: int, step: type[Upsample] | type[Downsample]) -> nn.ModuleList:
    """So many residual blocks at each width, and a step from each to the next."""
    blocks = nn.ModuleList()
    for width, following in zip(channels, [*channels[1:], 0], strict=True):
        blocks.extend(_residual(width, count))
        if following:
            blocks.append(step(width, following))
    return blocks


def _head(channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(ChannelLayerNorm(channels), nn.SiLU(), nn.Conv3d(channels, out_channels, 3, padding=1))


class SparseStructureDecoder(_Half):
    """(B, out_channels, 64, 64, 64) occupancy logits of a (B, latent_channels, 16, 16, 16) latent."""

    def __init__(
        self,
        out_channels: int,
        latent_channels: int,
        num_res_blocks: int,
        channels: list[int],
        num_res_blocks_middle: int = 2,
        norm_type: str = "layer",
        use_fp16: bool = False,
    ) -> None:
        super().__init__(norm_type)
        self.input_layer = nn.Conv3d(latent_channels, channels[0], 3, padding=1)
        self.middle_block = _residual(channels[0], num_res_blocks_middle)
        self.blocks = _levels(channels, num_res_blocks, Upsample)
        self.out_layer = _head(channels[-1], out_channels)

    def forward(self, z: Tensor) -> Tensor:
        h = self.middle_block(self.input_layer(z).to(self.dtype))
        for block in self.blocks:
            h = block(h)
        result: Tensor = self.out_layer(h.float())
        return result


class SparseStructureEncoder(_Half):
    """Mean and log-variance, each (B, latent_channels, 16, 16, 16), of a (B, in_channels, 64, 64, 64) grid."""

    def __init__(
        self,
        in_channels: int,
        latent_channels: int,
        num_res_blocks: int,
        channels: list[int],
        num_res_blocks_middle: int = 2,
        norm_type: str = "layer",
        use_fp16: bool = False,
    ) -> None:
        super().__init__(norm_type)
        self.input_layer = nn.Conv3d(in_channels, channels[0], 3, padding=1)
        self.blocks = _levels(channels, num_res_blocks, Downsample)
        self.middle_block = _residual(channels[-1], num_res_blocks_middle)
        self.out_layer = _head(channels[-1], 2 * latent_channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.input_layer(x).to(self.dtype)
        for block in self.blocks:
            h = block(h)
        mean, logvar = self.out_layer(self.middle_block(h).float()).chunk(2, dim=1)
        return mean, logvar
