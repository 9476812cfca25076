"""The decoder from structured latents to the features of a mesh on a grid four times as fine.

Agrees with SLatMeshDecoder of microsoft/TRELLIS, commit 6b0d647.
Letters: N voxels, C channels in, O channels out.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from networks.layers.norm import SegmentGroupNorm
from networks.layers.sparse import PointwiseConv, SparseConv
from networks.ops.sparse_conv import subdivided_conv
from networks.ops.voxels import Voxels
from networks.trellis.slat_trunk import SLatDecoder

_GROUPS = 32
_GEOMETRY = 8 + 24 + 21  # sdf at the corners, their displacement, the weights of a cube
_COLOURS = 48


class SubdivideBlock(nn.Module):
    """Every voxel becomes its eight children."""

    def __init__(self, channels: int, out_channels: int, num_groups: int = _GROUPS) -> None:
        super().__init__()
        self.act_layers = nn.ModuleList([SegmentGroupNorm(num_groups, channels)])
        first, second = SparseConv(channels, out_channels), SparseConv(out_channels, out_channels)
        self.out_layers = nn.ModuleList([first, SegmentGroupNorm(num_groups, out_channels), nn.SiLU(), second])
        self.skip_connection = PointwiseConv(channels, out_channels)

    def forward(self, x: Tensor, parents: Voxels, children: Voxels) -> Tensor:
        """(8N, O) of (N, C)."""
        return next(self.slices(x, parents, children, 8 * len(parents)))

    def slices(self, x: Tensor, parents: Voxels, children: Voxels, rows: int) -> Iterator[Tensor]:
        """The same in runs of `rows` children, a multiple of 8, for a device with little memory."""
        kernel = cast(SparseConv, self.out_layers[0]).conv
        activated = silu(self.act_layers[0](x, parents.segments))
        h = subdivided_conv(activated, kernel.weight, kernel.bias, parents)
        h = silu(self.out_layers[1](h, children.segments))
        skipped = self.skip_connection(x)
        for start in range(0, len(h), rows):
            span = slice(start, min(start + rows, len(h)))
            y = self.out_layers[3](h, children, None if span.stop - start == len(h) else span)
            yield y + skipped[start // 8 : span.stop // 8].repeat_interleave(8, dim=0)


class SLatMeshDecoder(SLatDecoder):
    """Features of the cubes around the surface. Constructor arguments as in the official configuration.

    Args:
        group_norm_groups: of the subdivisions; in all checkpoints the same.
    """

    TORSO: ClassVar[tuple[str, ...]] = ("blocks", "upsample")

    def __init__(self, group_norm_groups: int = _GROUPS, **config: Any) -> None:
        super().__init__(**config)
        self.fine_resolution = 4 * self.resolution
        self.use_color = bool(self.representation_config.get("use_color", False))
        middle, last = self.model_channels // 4, self.model_channels // 8
        widths = (self.model_channels, middle, last)
        self.upsample = nn.ModuleList(SubdivideBlock(*pair, group_norm_groups) for pair in pairwise(widths))
        self.out_layer = nn.Linear(last, _GEOMETRY + (_COLOURS if self.use_color else 0))

    def forward(
        self,
        x: Tensor,
        voxels: Voxels,
        rows: int | None = None,
        onto: torch.device | None = None,
        condition: Tensor | None = None,
    ) -> tuple[Tensor, Voxels]:
        """(64 N, 101 or 53) float32 features of (N, latent_channels) latents, and the voxels they belong to.

        A row holds sdf (8), displacement (8, 3), weights (21) and, with colour, six channels for each corner (8, 6).

        Args:
            rows: at most so many voxels of the finest grid at a time, a multiple of 8.
            onto: where the features are put, when not where they are made.
            condition: what the blocks of a subclass see besides.
        """
        h = self.trunk(x, voxels, condition)
        del condition  # which is wide, and the finest grid wants the room
        middle = voxels.subdivided()
        fine = middle.subdivided()
        h = self.upsample[0](h, voxels, middle)
        runs = cast(SubdivideBlock, self.upsample[1]).slices(h, middle, fine, rows or len(fine))
        result = torch.empty(len(fine), self.out_layer.out_features, device=onto or h.device)
        start = 0
        for run in runs:
            result[start : start + len(run)] = self.out_layer(run.float())
            start += len(run)
        return result, fine
