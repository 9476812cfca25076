"""The flow transformer on structured latents: sparse convolutions down and up again, transformer blocks between.

Agrees with SLatFlowModel of microsoft/TRELLIS, commit 6b0d647.
Letters: N voxels, M coarse voxels, B batch items, C channels in, O channels out.
"""

from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from networks.layers.embedding import position_embedding
from networks.layers.norm import LayerNorm
from networks.layers.sparse import SparseConv, pooled
from networks.layers.transformer import modulated
from networks.ops.segments import Segments
from networks.ops.sparse_conv import copied_conv
from networks.ops.voxels import Coarse, Voxels
from networks.trellis.flow import Condition, FlowTransformer, Times


class ResBlock(nn.Module):
    """Two normed sparse convolutions around a skip, the second modulated by the timestep."""

    def __init__(self, channels: int, emb_channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm1 = LayerNorm(channels, affine=True)
        self.norm2 = LayerNorm(out_channels)
        self.conv1 = SparseConv(channels, out_channels)
        self.conv2 = SparseConv(out_channels, out_channels)
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(emb_channels, 2 * out_channels))
        self.skip_connection = nn.Identity() if channels == out_channels else nn.Linear(channels, out_channels)

    def forward(self, x: Tensor, embedding: Tensor, voxels: Voxels) -> Tensor:
        """(N, O) of (N, C) rows; `embedding` is (B, emb_channels)."""
        h = self.conv1(silu(self.norm1(x)), voxels)
        return self._second(h, embedding, voxels) + self.skip_connection(x)

    def upsampled(self, x: Tensor, embedding: Tensor, voxels: Voxels, coarse: Coarse) -> Tensor:
        """(N, O) of (M, C) coarse rows that are copied to their children first; all that can be is done before."""
        kernel = self.conv1.conv
        h = copied_conv(silu(self.norm1(x)), coarse.parent, kernel.weight, kernel.bias, voxels)
        skipped: Tensor = self.skip_connection(x)
        return self._second(h, embedding, voxels) + skipped[coarse.parent]

    def _second(self, h: Tensor, embedding: Tensor, voxels: Voxels) -> Tensor:
        scale, shift = self.emb_layers(embedding).chunk(2, dim=1)
        result: Tensor = self.conv2(silu(modulated(self.norm2(h), scale, shift, voxels.segments)), voxels)
        return result


class SLatFlow(FlowTransformer):
    """Velocity of (N, in_channels) latents on voxels. Constructor arguments as in the official configuration.

    Args:
        transformer: the further arguments of FlowTransformer.
    """

    TORSO: ClassVar[tuple[str, ...]] = ("input_blocks", "blocks", "out_blocks")

    def __init__(
        self,
        resolution: int,
        in_channels: int,
        out_channels: int,
        model_channels: int,
        patch_size: int = 2,
        num_io_res_blocks: int = 2,
        io_block_channels: list[int] | None = None,
        use_skip_connection: bool = True,
        **transformer: Any,
    ) -> None:
        super().__init__(model_channels, **transformer)
        widths = list(io_block_channels or [])
        if patch_size != 2 ** len(widths):
            raise ValueError(f"patch_size is {patch_size}, which needs one of io_block_channels for each halving")
        self.in_channels, self.use_skip_connection = in_channels, use_skip_connection
        levels = [*widths, model_channels]
        self.input_layer = nn.Linear(in_channels, levels[0])
        self.input_blocks = nn.ModuleList()
        self.out_blocks = nn.ModuleList()
        for width, wider in zip(levels, levels[1:], strict=False):
            self.input_blocks.extend(ResBlock(width, model_channels, width) for _ in range(num_io_res_blocks - 1))
            self.input_blocks.append(ResBlock(width, model_channels, wider))
        joined = 2 if use_skip_connection else 1
        for width, wider in reversed(list(zip(levels, levels[1:], strict=False))):
            self.out_blocks.append(ResBlock(wider * joined, model_channels, width))
            self.out_blocks.extend(
                ResBlock(width * joined, model_channels, width) for _ in range(num_io_res_blocks - 1)
            )
        self._each = num_io_res_blocks
        self.norm = LayerNorm(levels[0], eps=1e-5)
        self.out_layer = nn.Linear(levels[0], out_channels)

    def forward(
        self,
        x: Tensor,
        voxels: Voxels,
        t: Tensor | Times,
        cond: Tensor | Condition | None,
        guided: int | None = None,
    ) -> Tensor:
        """
        Args:
            x: (N, in_channels), a row for each voxel.
            t: (B,) 0 to 1000, or what `times` made of it.
            cond: (B or 1, M, cond_channels), or what `condition` made of it; None: zeros.
            guided: how many items, the first ones, see the condition; all unless given.
        """
        condition = self.condition(cond) if isinstance(cond, Tensor) else cond
        times = t if isinstance(t, Times) else self.times(t)
        h, grids, skips = self._down(self.input_layer(x).to(self.dtype), voxels, times.embedding)
        bottom: Segments = grids[-1].segments
        h = h + position_embedding(grids[-1].coords[:, 1:], self.model_channels).to(h.dtype)
        h = self.run_blocks(h, bottom, times, condition, len(bottom) if guided is None else guided)
        h = self._up(h, grids, skips, times.embedding)
        result: Tensor = self.out_layer(self.norm(h).float())
        return result

    def _down(self, h: Tensor, voxels: Voxels, embedding: Tensor) -> tuple[Tensor, list[Voxels], list[Tensor]]:
        """The coarsest rows, the grids from fine to coarse, and every block's result."""
        grids, skips = [voxels], []
        for index, block in enumerate(self.input_blocks):
            if index % self._each == self._each - 1:
                h = pooled(h, grids[-1].coarse)
                grids.append(grids[-1].coarse.voxels)
            h = block(h, embedding, grids[-1])
            skips.append(h)
        return h, grids, skips

    def _up(self, h: Tensor, grids: list[Voxels], skips: list[Tensor], embedding: Tensor) -> Tensor:
        level = len(grids) - 1
        for index, block in enumerate(self.out_blocks):
            if self.use_skip_connection:
                h = torch.cat([h, skips.pop()], dim=1)
            if index % self._each == 0:
                level -= 1
                h = cast(ResBlock, block).upsampled(h, embedding, grids[level], grids[level].coarse)
            else:
                h = block(h, embedding, grids[level])
        return h
