"""Attention with its projections, under the checkpoint's names.

Letters: N rows, S segments, M rows of context, H heads, D head size, C channels.
"""

from torch import Tensor, nn

from networks.layers.norm import HeadRMSNorm
from networks.ops.attention import context_attention, segment_attention
from networks.ops.segments import Segments


class _MultiHead(nn.Module):
    """What both kinds have: heads whose queries and keys may be normed, and a projection out of them."""

    def __init__(self, channels: int, heads: int, normed: bool) -> None:
        super().__init__()
        self.heads = heads
        self.to_out = nn.Linear(channels, channels)
        self.normed = normed
        if normed:
            self.q_rms_norm = HeadRMSNorm(heads, channels // heads)
            self.k_rms_norm = HeadRMSNorm(heads, channels // heads)


class SelfAttention(_MultiHead):
    """Every row attends to the rows of its segment."""

    def __init__(self, channels: int, heads: int, normed: bool = False) -> None:
        super().__init__(channels, heads, normed)
        self.to_qkv = nn.Linear(channels, 3 * channels)

    def forward(self, x: Tensor, segments: Segments) -> Tensor:
        q, k, v = self.to_qkv(x).view(len(x), 3, self.heads, -1).unbind(1)
        if self.normed:
            q, k = self.q_rms_norm(q), self.k_rms_norm(k)
        result: Tensor = self.to_out(segment_attention(q, k, v, segments).flatten(1))
        return result


class CrossAttention(_MultiHead):
    """Every row attends to the context of its segment."""

    def __init__(self, channels: int, context_channels: int, heads: int, normed: bool = False) -> None:
        super().__init__(channels, heads, normed)
        self.to_q = nn.Linear(channels, channels)
        self.to_kv = nn.Linear(context_channels, 2 * channels)

    def keys_values(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """(S, M, H, D) each, from (S, M, context channels); they depend on nothing else, so once is enough."""
        k, v = self.to_kv(context).view(*context.shape[:2], 2, self.heads, -1).unbind(2)
        return (self.k_rms_norm(k) if self.normed else k), v

    def forward(self, x: Tensor, segments: Segments, k: Tensor, v: Tensor) -> Tensor:
        q = self.to_q(x).view(len(x), self.heads, -1)
        if self.normed:
            q = self.q_rms_norm(q)
        result: Tensor = self.to_out(context_attention(q, k, v, segments).flatten(1))
        return result

    @property
    def unconditional(self) -> Tensor:
        """(C,) what any row gets of a context of zeros: all keys are alike, so it is the mean of equal values."""
        channels = self.to_out.in_features
        result: Tensor = self.to_out(self.to_kv.bias[channels:])
        return result
