"""Transformer blocks on rows, N of them in S segments.

Letters: N rows, S segments, M rows of context, H heads, C channels.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from networks.layers.attention import CrossAttention, SelfAttention
from networks.layers.norm import LayerNorm
from networks.ops.segments import Segments


class Context(NamedTuple):
    """What one block's cross-attention reads.

    Attributes:
        k, v: (S', M, H, D) of the first S' segments, or (1, M, H, D) for all of them.
        segments: S'; those after it have a context of zeros.
    """

    k: Tensor
    v: Tensor
    segments: int


class FeedForward(nn.Module):
    """Two linear layers with a GELU, tanh form, between."""

    def __init__(self, channels: int, ratio: float) -> None:
        super().__init__()
        hidden = int(channels * ratio)
        self.mlp = nn.Sequential(nn.Linear(channels, hidden), nn.GELU("tanh"), nn.Linear(hidden, channels))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.mlp(x)
        return result


class Block(nn.Module):
    """Self-attention and feed-forward behind norms without parameters."""

    def __init__(self, channels: int, heads: int, ratio: float, normed: bool = False) -> None:
        super().__init__()
        self.norm1 = LayerNorm(channels)
        self.norm2 = LayerNorm(channels)
        self.attn = SelfAttention(channels, heads, normed)
        self.mlp = FeedForward(channels, ratio)

    def forward(self, x: Tensor, segments: Segments) -> Tensor:
        x = x + self.attn(self.norm1(x), segments)
        result: Tensor = x + self.mlp(self.norm2(x))
        return result


class ModulatedBlock(nn.Module):
    """Self-attention and feed-forward modulated by the timestep, cross-attention to the context between them."""

    def __init__(
        self, channels: int, context_channels: int, heads: int, ratio: float, normed: bool, cross_normed: bool
    ) -> None:
        super().__init__()
        self.norm1 = LayerNorm(channels)
        self.norm2 = LayerNorm(channels, affine=True)
        self.norm3 = LayerNorm(channels)
        self.self_attn = SelfAttention(channels, heads, normed)
        self.cross_attn = CrossAttention(channels, context_channels, heads, cross_normed)
        self.mlp = FeedForward(channels, ratio)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(channels, 6 * channels))

    def forward(self, x: Tensor, segments: Segments, modulation: Tensor, context: Context) -> Tensor:
        """
        Args:
            modulation: (S, 6C) this block's own, from `adaLN_modulation`.
        """
        shift1, scale1, gate1, shift2, scale2, gate2 = modulation.chunk(6, dim=1)
        h = modulated(self.norm1(x), scale1, shift1, segments)
        x = x + gated(self.self_attn(h, segments), gate1, segments)
        x = x + self._cross(self.norm2(x), segments, context)
        h = modulated(self.norm3(x), scale2, shift2, segments)
        return x + gated(self.mlp(h), gate2, segments)

    def _cross(self, x: Tensor, segments: Segments, context: Context) -> Tensor:
        if context.segments == len(segments):
            result: Tensor = self.cross_attn(x, segments, context.k, context.v)
            return result
        nothing = self.cross_attn.unconditional
        if context.segments == 0:
            return nothing.expand_as(x)
        first = segments.first(context.segments)
        seen = self.cross_attn(x[: first.rows], first, context.k, context.v)
        return torch.cat([seen, nothing.expand(len(x) - first.rows, -1)])


def modulated(x: Tensor, scale: Tensor, shift: Tensor, segments: Segments) -> Tensor:
    """x (1 + scale) + shift with (S, C) vectors, one for each segment."""
    if length := segments.uniform:
        return torch.addcmul(shift[:, None], x.view(-1, length, x.shape[1]), 1 + scale[:, None]).flatten(0, 1)
    return x * (1 + segments.spread(scale)) + segments.spread(shift)


def gated(x: Tensor, gate: Tensor, segments: Segments) -> Tensor:
    """x gate with (S, C) vectors, one for each segment."""
    if length := segments.uniform:
        return (x.view(-1, length, x.shape[1]) * gate[:, None]).flatten(0, 1)
    return x * segments.spread(gate)
