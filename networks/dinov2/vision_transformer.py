"""The vision transformer of DINOv2, under the names of the hub's checkpoints.

Agrees with DinoVisionTransformer of facebookresearch/dinov2.
Letters: B images, L tokens, P patches, H heads, D head size, C channels.
"""

from collections.abc import Iterator, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, layer_norm

from networks.layers.norm import LayerNorm
from networks.ops.attention import attention
from networks.precision import torso_dtype


class Attention(nn.Module):
    """Self-attention of (B, L, C) tokens."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).view(*x.shape[:2], 3, self.heads, -1).unbind(2)
        result: Tensor = self.proj(attention(q, k, v).flatten(2))
        return result


class FeedForward(nn.Module):
    """Two linear layers with an exact GELU between."""

    def __init__(self, channels: int, ratio: float) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, int(channels * ratio))
        self.act = nn.GELU()
        self.fc2 = nn.Linear(int(channels * ratio), channels)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.fc2(self.act(self.fc1(x)))
        return result


class LayerScale(nn.Module):
    """A factor for each channel."""

    def __init__(self, channels: int, initial: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((channels,), initial))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma.to(x.dtype)


class Block(nn.Module):
    """Attention and feed-forward, each normed before and scaled after."""

    def __init__(self, channels: int, heads: int, ratio: float, initial: float) -> None:
        super().__init__()
        self.norm1 = LayerNorm(channels, affine=True)
        self.attn = Attention(channels, heads)
        self.ls1 = LayerScale(channels, initial)
        self.norm2 = LayerNorm(channels, affine=True)
        self.mlp = FeedForward(channels, ratio)
        self.ls2 = LayerScale(channels, initial)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        result: Tensor = x + self.ls2(self.mlp(self.norm2(x)))
        return result


class PatchEmbed(nn.Module):
    """(B, 3, S, S) pixels → (B, L, C), patches in reading order."""

    def __init__(self, patch: int, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, channels, patch, stride=patch)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.proj(x).flatten(2).mT
        return result


class VisionTransformer(nn.Module):
    """(B, 1 + R + P, C) tokens of (B, 3, img_size, img_size) normalised pixels: class, R registers, P patches.

    They are those after the last block, before the final norm. Constructor arguments as the hub's function takes them.

    Args:
        interpolate_antialias, interpolate_offset: how positions are found for images of another size; the offset has
            to be 0 then.
    """

    TORSO: ClassVar[tuple[str, ...]] = ("blocks",)

    def __init__(
        self,
        img_size: int,
        patch_size: int,
        embed_dim: int,
        depth: int,
        num_heads: int,
        mlp_ratio: float = 4,
        num_register_tokens: int = 4,
        init_values: float = 1.0,
        block_chunks: int = 0,
        ffn_layer: str = "mlp",
        qkv_bias: bool = True,
        interpolate_antialias: bool = True,
        interpolate_offset: float = 0.0,
    ) -> None:
        super().__init__()
        if block_chunks or ffn_layer != "mlp" or not qkv_bias:
            raise ValueError(f"block_chunks {block_chunks}, ffn_layer {ffn_layer!r}: only 0 and 'mlp', with biases")
        self.img_size, self.patch_size = img_size, patch_size
        self._antialias, self._offset = interpolate_antialias, interpolate_offset
        self.patch_embed = PatchEmbed(patch_size, embed_dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + (img_size // patch_size) ** 2, embed_dim))
        self.register_tokens = nn.Parameter(torch.zeros(1, num_register_tokens, embed_dim))
        self.mask_token = nn.Parameter(torch.zeros(1, embed_dim))  # in the files; training's
        self.blocks = nn.ModuleList(Block(embed_dim, num_heads, mlp_ratio, init_values) for _ in range(depth))
        self.norm = LayerNorm(embed_dim, affine=True)

    @property
    def dtype(self) -> torch.dtype:
        return torso_dtype(self)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-2:] != (self.img_size, self.img_size):
            raise ValueError(f"the image is {x.shape[-1]} x {x.shape[-2]}; this encoder takes {self.img_size} squared")
        h = self._tokens(x, self.pos_embed)
        for block in self.blocks:
            h = block(h)
        return h.float()

    def intermediate(self, x: Tensor, layers: Sequence[int]) -> tuple[Tensor, ...]:
        """(B, P, C) float32 patch tokens of each of these blocks, counted from 0 and ascending, after the final norm.

        Args:
            x: (B, 3, height, width) normalised pixels of any size that whole patches fill.
        Raises:
            ValueError: patches do not fill the image, or the layers are not ascending ones of this network.
        """
        if list(layers) != sorted(set(layers)) or not 0 <= layers[0] <= layers[-1] < len(self.blocks):
            raise ValueError(f"layers are {tuple(layers)}; give ascending ones of 0 to {len(self.blocks) - 1}")
        if x.shape[-2] % self.patch_size or x.shape[-1] % self.patch_size:
            raise ValueError(
                f"the image is {x.shape[-1]} x {x.shape[-2]}; its sides are multiples of {self.patch_size}"
            )
        positions = self._positions(x.shape[-2] // self.patch_size, x.shape[-1] // self.patch_size)
        return tuple(self._patches_after(self._tokens(x, positions), layers))

    def _patches_after(self, h: Tensor, layers: Sequence[int]) -> Iterator[Tensor]:
        special = 1 + self.register_tokens.shape[1]
        for index in range(layers[-1] + 1):
            h = self.blocks[index](h)
            if index in layers:
                yield self.norm(h[:, special:].float())

    def _positions(self, rows: int, columns: int) -> Tensor:
        """(1, 1 + rows columns, C) the position table for so many patches."""
        side = self.img_size // self.patch_size
        if (rows, columns) == (side, side):
            return self.pos_embed
        if self._offset:
            raise ValueError(f"interpolate_offset is {self._offset}; positions are interpolated with 0 only")
        table = self.pos_embed[:, 1:].mT.unflatten(2, (side, side))
        finer = interpolate(table, (rows, columns), mode="bicubic", antialias=self._antialias)
        return torch.cat([self.pos_embed[:, :1], finer.flatten(2).mT], dim=1)

    def _tokens(self, x: Tensor, positions: Tensor) -> Tensor:
        patches = self.patch_embed(x)
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), patches], dim=1) + positions
        registers = self.register_tokens.expand(len(x), -1, -1)
        return torch.cat([tokens[:, :1], registers, tokens[:, 1:]], dim=1).to(self.dtype)


def normalised(tokens: Tensor) -> Tensor:
    """The tokens at mean 0 and variance 1, without the checkpoint's own final norm: the condition of TRELLIS."""
    return layer_norm(tokens, tokens.shape[-1:])
