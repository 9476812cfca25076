"""What the structure flow and the latent flow have in common: a transformer led by a timestep and a condition.

Letters: B batch items, T timesteps, V views, M rows of a condition, C channels.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, cast

import torch
from torch import Tensor, nn

from networks.layers.embedding import TimestepEmbedder
from networks.layers.transformer import Context, ModulatedBlock
from networks.ops.segments import Segments
from networks.precision import torso_dtype


@dataclass(frozen=True)
class Condition:
    """Keys and values of every block's cross-attention, made once for all steps.

    Attributes:
        blocks: (V, M, H, D) keys and values of each block.
    """

    blocks: tuple[tuple[Tensor, Tensor], ...]

    def of(self, views: list[int]) -> "Condition":
        """Some of the views, in this order."""
        if views == list(range(self.views)):
            return self
        if len(views) == 1:  # without a copy: it is asked for in every step
            rows = slice(views[0], views[0] + 1)
            return Condition(tuple((k[rows], v[rows]) for k, v in self.blocks))
        return Condition(tuple((k[views], v[views]) for k, v in self.blocks))

    @property
    def views(self) -> int:
        return len(self.blocks[0][0])


class Times(NamedTuple):
    """What timesteps say to every layer, made once for all steps.

    Attributes:
        embedding: (T, C).
        blocks: (T, 6C) modulation of each block.
    """

    embedding: Tensor
    blocks: tuple[Tensor, ...]

    def of(self, index: int, items: int) -> "Times":
        """One timestep, for each of `items` batch items."""
        row = slice(index, index + 1)
        blocks = tuple(block[row].expand(items, -1) for block in self.blocks)
        return Times(self.embedding[row].expand(items, -1), blocks)


class FlowTransformer(nn.Module):
    """The timestep embedder and the modulated blocks.

    Args:
        cond_channels: of the condition.
        share_mod, pe_mode: only False and "ape" exist in the checkpoints; anything else is refused.
        use_fp16, use_checkpoint: named by the configurations; the torso's type is chosen when weights are loaded.
    """

    TORSO: ClassVar[tuple[str, ...]] = ("blocks",)

    def __init__(
        self,
        model_channels: int,
        cond_channels: int,
        num_blocks: int,
        num_heads: int | None = None,
        num_head_channels: int = 64,
        mlp_ratio: float = 4,
        pe_mode: str = "ape",
        share_mod: bool = False,
        qk_rms_norm: bool = False,
        qk_rms_norm_cross: bool = False,
        use_fp16: bool = False,
        use_checkpoint: bool = False,
    ) -> None:
        super().__init__()
        if pe_mode != "ape" or share_mod:
            raise ValueError(f"pe_mode is {pe_mode!r} and share_mod {share_mod}; only 'ape' and False are known")
        heads = num_heads or model_channels // num_head_channels
        if model_channels % heads:
            raise ValueError(f"model_channels is {model_channels}, which {heads} heads do not divide")
        self.model_channels = model_channels
        self.t_embedder = TimestepEmbedder(model_channels)
        self.blocks = nn.ModuleList(
            ModulatedBlock(model_channels, cond_channels, heads, mlp_ratio, qk_rms_norm, qk_rms_norm_cross)
            for _ in range(num_blocks)
        )

    @property
    def dtype(self) -> torch.dtype:
        return torso_dtype(self)

    def condition(self, cond: Tensor) -> Condition:
        """Of (V, M, cond_channels) image tokens."""
        context = cond.to(self.dtype)
        return Condition(tuple(block.cross_attn.keys_values(context) for block in self._blocks()))

    def times(self, t: Tensor) -> Times:
        """Of (T,) timesteps, 0 to 1000."""
        embedding = self.t_embedder(t).to(self.dtype)
        return Times(embedding, tuple(block.adaLN_modulation(embedding) for block in self._blocks()))

    def _blocks(self) -> list[ModulatedBlock]:
        return cast(list[ModulatedBlock], list(self.blocks))

    def run_blocks(
        self,
        h: Tensor,
        segments: Segments,
        times: Times,
        condition: Condition | None,
        guided: int,
        span: slice = slice(None),
    ) -> Tensor:
        """
        Args:
            guided: how many of the segments, the first ones, see the condition; the others see zeros.
            span: which of the blocks.
        """
        blocks = self._blocks()
        for index in range(len(blocks))[span]:
            k, v = condition.blocks[index] if condition else (h, h)
            h = blocks[index](h, segments, times.blocks[index], Context(k, v, guided if condition else 0))
        return h
