"""How the pictures of a person look at each other and at the text.

Agrees with IPCDAttention, RowwiseMVAttention and IPCrossAttn of IGL-HKUST/SyncHuman, commit 1b540b7.
Letters: D domains, B guidance halves, V views, S side of a picture, L = S^2 its tokens row by row, M tokens of text,
H heads, E head size, C channels, N sequences.
"""

from collections.abc import Callable
from math import isqrt

import torch
from torch import Tensor, nn

from networks.ops.attention import attention
from networks.synchuman.rows import Rows


class MultiHead(nn.Module):
    """To queries, keys and values, and out again, under the checkpoint's names."""

    def __init__(
        self, channels: int, heads: int, head_size: int, context_channels: int | None = None, bias: bool = False
    ) -> None:
        super().__init__()
        self.heads, self.scale = heads, head_size**-0.5
        inner = heads * head_size
        self.to_q = nn.Linear(channels, inner, bias=bias)
        self.to_k = nn.Linear(context_channels or channels, inner, bias=bias)
        self.to_v = nn.Linear(context_channels or channels, inner, bias=bias)
        self.to_out = nn.ModuleList([nn.Linear(inner, channels)])

    def queries(self, x: Tensor) -> Tensor:
        """(…, H, E) of (…, C)."""
        return self.to_q(x).unflatten(-1, (self.heads, -1))

    def keys_values(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """(…, H, E) each, of (…, context channels)."""
        k, v = (project(context).unflatten(-1, (self.heads, -1)) for project in (self.to_k, self.to_v))
        return k, v

    def out(self, mixed: Tensor) -> Tensor:
        """(…, C) of (…, H, E)."""
        result: Tensor = self.to_out[0](mixed.flatten(-2))
        return result

    def mixed(self, x: Tensor, keys_values: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """(N, L, C) what the tokens of each sequence get of a context: of the sequence itself where none is given."""
        k, v = self.keys_values(x) if keys_values is None else keys_values
        return self.out(attention(self.queries(x), k, v))


class CrossDomainAttention(MultiHead):
    """The normals and the colours of a view are one sequence; then the front view takes its face from the face view."""

    def forward(self, x: Tensor, rows: Rows) -> Tensor:
        """(D, B, V, L, C), from the same."""
        return blend_face(self.joint(x, rows), rows)

    def joint(self, x: Tensor, rows: Rows) -> Tensor:
        """(D, B, V, L, C) before the face is blended."""
        # Brought into the order of the sequences before the projections, so that q, k and v need no copy of their own.
        pairs = x.flatten(1, 2).transpose(0, 1)  # (B V, D, L, C)
        result = in_parts(self._pairs, rows.groups_at_once(rows.domains), pairs)
        return result.transpose(0, 1).unflatten(1, x.shape[1:3])

    def _pairs(self, pairs: Tensor) -> Tensor:
        return self.mixed(pairs.flatten(1, 2)).unflatten(1, pairs.shape[1:3])


class RowWiseAttention(MultiHead):
    """The same line of pixels in all views of a domain and a guidance half is one sequence."""

    def forward(self, x: Tensor, rows: Rows) -> Tensor:
        """(D, B, V, L, C), from the same; V are the views that take part."""
        result = in_parts(self._groups, rows.groups_at_once(x.shape[2]), x.flatten(0, 1))
        return result.unflatten(0, x.shape[:2])

    def _groups(self, groups: Tensor) -> Tensor:
        _, views, tokens, _ = groups.shape
        side = side_of(tokens)
        lines = groups.unflatten(2, (side, side)).transpose(1, 2)  # (D B, S, V, S, C)
        seen = self.mixed(lines.flatten(0, 1).flatten(1, 2))  # (D B S, V S, C)
        return seen.view(lines.shape).transpose(1, 2).flatten(2, 3)


class TextAttention(MultiHead):
    """Every token looks at the text of its picture."""

    def forward(self, x: Tensor, rows: Rows, keys_values: tuple[Tensor, Tensor]) -> Tensor:
        """(D, B, V, L, C), from the same and the (D V or D B V, M, H, E) keys and values of the text."""
        k, v = (self._of_every_half(each, rows) for each in keys_values)
        return rows.split(in_parts(self._read, rows.at_once, x.flatten(0, 2), k, v))

    def _read(self, x: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return self.mixed(x, (k, v))

    @staticmethod
    def _of_every_half(x: Tensor, rows: Rows) -> Tensor:
        halves = x.unflatten(0, (rows.domains, -1, rows.views))
        return halves.expand(-1, rows.halves, -1, -1, -1, -1).flatten(0, 2)


class TextCache:
    """Keys and values of a text, made by each attention when it first asks: they are the same in all steps and halves.

    Args:
        prompt: (D V, M, C) one text for each domain and view, or (D B V, M, C) where it differs between the halves.
    """

    def __init__(self, prompt: Tensor) -> None:
        self._prompt = prompt
        self._made: dict[TextAttention, tuple[Tensor, Tensor]] = {}

    def of(self, layer: TextAttention) -> tuple[Tensor, Tensor]:
        """(D V or D B V, M, H, E) each, in the layer's precision."""
        if layer not in self._made:
            self._made[layer] = layer.keys_values(self._prompt.to(layer.to_k.weight.dtype))
        return self._made[layer]


def blend_face(x: Tensor, rows: Rows) -> Tensor:
    """x, whose front views are in the middle third at the top half themselves and half the face view made smaller.

    Args:
        x: (D, B, V, L, C), changed in place.
    Raises:
        ValueError: the side of the pictures is no multiple of 3.
    """
    side = side_of(x.shape[3])
    if side % 3:
        raise ValueError(f"pictures of {side}^2 tokens; a face fits into the front view when 3 divides the side")
    third = side // 3
    pictures = x.unflatten(3, (side, side))
    # Bilinear sampling at a third of the size falls on the middle of every 3 x 3 tokens exactly.
    pictures[:, :, 0, :third, third : 2 * third].lerp_(pictures[:, :, rows.face, 1::3, 1::3], 0.5)
    return x


def side_of(tokens: int) -> int:
    """The side of a square picture.

    Raises:
        ValueError: it is not square.
    """
    side = isqrt(tokens)
    if side**2 != tokens:
        raise ValueError(f"pictures of {tokens} tokens; they must be square")
    return side


def in_parts(run: Callable[..., Tensor], size: int | None, x: Tensor, *others: Tensor) -> Tensor:
    """run(x, *others) for what takes first axes item by item and gives the shape of x, so many items at a time."""
    if size is None or size >= len(x):
        return run(x, *others)
    result = torch.empty_like(x)
    splits = [each.split(size) for each in (result, x, *others)]
    for target, *parts in zip(*splits, strict=True):
        target.copy_(run(*parts))
    return result
