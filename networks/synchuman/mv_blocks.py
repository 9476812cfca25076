"""The levels of the 2D network: convolutions on single pictures and, in most, transformers across them.

Agrees with CrossAttnDownBlockMV2D, UNetMidBlockMV2DCrossAttn and CrossAttnUpBlockMV2D of IGL-HKUST/SyncHuman, commit
1b540b7, and with DownBlock2D and UpBlock2D of diffusers. Names are the checkpoint's.
Letters: N = D B V rows as `Rows` has them, C channels, S side of a picture.

In half precision x and temb are of the type of the convolutions and linear layers; norms may stay float32.
"""

from typing import Any

import torch
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn

from networks.synchuman.attention import TextCache
from networks.synchuman.mv_transformer import GroupNorm, TransformerMV2D
from networks.synchuman.rows import Rows


def _resnet(in_channels: int, out_channels: int, temb_channels: int, groups: int, eps: float) -> ResnetBlock2D:
    block = ResnetBlock2D(
        in_channels=in_channels,
        out_channels=out_channels,
        temb_channels=temb_channels,
        groups=groups,
        eps=eps,
        non_linearity="silu",
    )
    block.norm1, block.norm2 = GroupNorm(groups, in_channels, eps), GroupNorm(groups, out_channels, eps)
    return block


def _transformers(
    count: int, channels: int, heads: int, cross_attention_dim: int, norm_groups: int, layers: int
) -> nn.ModuleList:
    if channels % heads:
        raise ValueError(f"{channels} channels, which {heads} heads do not divide")
    size = channels // heads
    return nn.ModuleList(
        TransformerMV2D(channels, heads, size, cross_attention_dim, norm_groups, layers) for _ in range(count)
    )


class _Level(nn.Module):
    """Residual blocks, after which nothing looks across the pictures."""

    def _across(self, index: int, x: Tensor, rows: Rows, text: TextCache) -> Tensor:
        """The picture after what follows one of the residual blocks."""
        return x


class _WithTransformers(_Level):
    """To be named before a level: it gets a transformer after each residual block."""

    resnets: nn.ModuleList

    def __init__(self, *, heads: int, cross_attention_dim: int, transformer_layers: int = 1, **levels: Any) -> None:
        super().__init__(**levels)
        channels, groups = levels["out_channels"], levels.get("norm_groups", 32)
        self.attentions = _transformers(
            len(self.resnets), channels, heads, cross_attention_dim, groups, transformer_layers
        )

    def _across(self, index: int, x: Tensor, rows: Rows, text: TextCache) -> Tensor:
        result: Tensor = self.attentions[index](x, rows, text)
        return result


class DownBlock2D(_Level):
    """Residual blocks, and half the resolution after them."""

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        temb_channels: int,
        num_layers: int,
        norm_groups: int = 32,
        eps: float = 1e-5,
        add_downsample: bool = True,
    ) -> None:
        super().__init__()
        widths = [in_channels] + [out_channels] * (num_layers - 1)
        self.resnets = nn.ModuleList(_resnet(width, out_channels, temb_channels, norm_groups, eps) for width in widths)
        steps = [Downsample2D(channels=out_channels, use_conv=True, name="op")] if add_downsample else []
        self.downsamplers = nn.ModuleList(steps)

    def forward(self, x: Tensor, temb: Tensor, rows: Rows, text: TextCache) -> tuple[Tensor, list[Tensor]]:
        """The picture at the next level, and all that the way up will be given: the last of them is the picture.

        Args:
            x: (N, in_channels, S, S).
            temb: (N, temb_channels).
        """
        skips = []
        for index, resnet in enumerate(self.resnets):
            x = self._across(index, resnet(x, temb), rows, text)
            skips.append(x)
        for step in self.downsamplers:
            x = step(x)
            skips.append(x)
        return x, skips


class CrossAttnDownBlockMV2D(_WithTransformers, DownBlock2D):
    """A transformer after each residual block."""


class UNetMidBlockMV2DCrossAttn(nn.Module):
    """A residual block, then transformers each with a residual block after it."""

    def __init__(
        self,
        *,
        in_channels: int,
        temb_channels: int,
        heads: int,
        cross_attention_dim: int,
        num_layers: int = 1,
        norm_groups: int = 32,
        eps: float = 1e-5,
        transformer_layers: int = 1,
    ) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(
            _resnet(in_channels, in_channels, temb_channels, norm_groups, eps) for _ in range(num_layers + 1)
        )
        self.attentions = _transformers(
            num_layers, in_channels, heads, cross_attention_dim, norm_groups, transformer_layers
        )

    def forward(self, x: Tensor, temb: Tensor, rows: Rows, text: TextCache) -> Tensor:
        """(N, C, S, S), from the same and (N, temb_channels)."""
        first, *others = self.resnets
        x = first(x, temb)
        for transformer, resnet in zip(self.attentions, others, strict=True):
            x = resnet(transformer(x, rows, text), temb)
        return x


class UpBlock2D(_Level):
    """Residual blocks, each given one picture of the way down, and twice the resolution after them.

    Args:
        in_channels: of the picture that the last residual block is given; the others have out_channels.
        prev_output_channel: of the level below.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        prev_output_channel: int,
        temb_channels: int,
        num_layers: int,
        norm_groups: int = 32,
        eps: float = 1e-5,
        add_upsample: bool = True,
    ) -> None:
        super().__init__()
        below = [prev_output_channel] + [out_channels] * (num_layers - 1)
        skipped = [out_channels] * (num_layers - 1) + [in_channels]
        self.resnets = nn.ModuleList(
            _resnet(width + skip, out_channels, temb_channels, norm_groups, eps)
            for width, skip in zip(below, skipped, strict=True)
        )
        steps = [Upsample2D(channels=out_channels, use_conv=True)] if add_upsample else []
        self.upsamplers = nn.ModuleList(steps)

    def forward(self, x: Tensor, skips: list[Tensor], temb: Tensor, rows: Rows, text: TextCache) -> Tensor:
        """(N, out_channels, 2 S, 2 S), or S where there is no step up.

        Args:
            x: (N, prev_output_channel, S, S).
            skips: of the way down; one for each residual block is taken off the end.
            temb: (N, temb_channels).
        """
        for index, resnet in enumerate(self.resnets):
            x = resnet(torch.cat([x, skips.pop()], dim=1), temb)
            x = self._across(index, x, rows, text)
        for step in self.upsamplers:
            x = step(x)
        return x


class CrossAttnUpBlockMV2D(_WithTransformers, UpBlock2D):
    """A transformer after each residual block."""
