"""The transformer of the 2D network: pictures of two domains, five views, and a text.

Agrees with BasicMVTransformerBlock and TransformerMV2DModel of IGL-HKUST/SyncHuman, commit 1b540b7.
Letters: D domains, B guidance halves, V views, S side of a picture, L = S^2 its tokens row by row, C channels.
"""

import torch
from diffusers.models.attention import FeedForward
from torch import Tensor, nn
from torch.nn import functional

from networks.synchuman.attention import CrossDomainAttention, RowWiseAttention, TextAttention, TextCache, in_parts
from networks.synchuman.rows import Rows

_MOST = 2**24  # numbers that become float32 at a time


class GroupNorm(nn.GroupNorm):
    """Over all pixels and the channels of a group, in float32.

    For half precision torch's kernels on some devices round the statistics, or refuse gains that stayed float32.
    """

    def forward(self, x: Tensor) -> Tensor:
        # Not all rows at once, since a large map as float32 would be most of what a level needs.
        rows = None if x.dtype == torch.float32 else max(1, _MOST * len(x) // x.numel())
        return in_parts(self._single, rows, x)

    def _single(self, x: Tensor) -> Tensor:
        weight, bias = self.weight.float(), self.bias.float()
        return functional.group_norm(x.float(), self.num_groups, weight, bias, self.eps).to(x.dtype)


class MVTransformerBlock(nn.Module):
    """Attention between domains, between lines of the body's views, to the text; then the feed-forward."""

    def __init__(self, channels: int, heads: int, head_size: int, context_channels: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attn1 = CrossDomainAttention(channels, heads, head_size)
        self.norm_mv = nn.LayerNorm(channels)
        self.attn_mv = RowWiseAttention(channels, heads, head_size)
        self.norm2 = nn.LayerNorm(channels)
        self.attn2 = TextAttention(channels, heads, head_size, context_channels)
        self.norm3 = nn.LayerNorm(channels)
        self.ff = FeedForward(dim=channels, activation_fn="geglu")

    def forward(self, x: Tensor, rows: Rows, text: TextCache) -> Tensor:
        """(D, B, V, L, C), from the same."""
        x = x + self.attn1(self.norm1(x), rows)
        body = x[:, :, rows.body]
        body += self.attn_mv(self.norm_mv(body), rows)
        x = x + self.attn2(self.norm2(x), rows, text.of(self.attn2))
        return x + rows.split(in_parts(self._fed, rows.at_once, x.flatten(0, 2)))

    def _fed(self, x: Tensor) -> Tensor:
        result: Tensor = self.ff(self.norm3(x))
        return result


class TransformerMV2D(nn.Module):
    """Blocks on the tokens of (D B V, channels, S, S) pictures, around which they pass unchanged."""

    def __init__(
        self, channels: int, heads: int, head_size: int, context_channels: int, norm_groups: int = 32, layers: int = 1
    ) -> None:
        super().__init__()
        inner = heads * head_size
        self.norm = GroupNorm(norm_groups, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, inner)
        self.transformer_blocks = nn.ModuleList(
            MVTransformerBlock(inner, heads, head_size, context_channels) for _ in range(layers)
        )
        self.proj_out = nn.Linear(inner, channels)

    def forward(self, x: Tensor, rows: Rows, text: TextCache) -> Tensor:
        h = rows.split(self.proj_in(self.norm(x).flatten(2).mT))  # (D, B, V, L, C)
        for block in self.transformer_blocks:
            h = block(h, rows, text)
        h = self.proj_out(h.flatten(0, 2))
        return x + h.mT.unflatten(2, x.shape[2:])
