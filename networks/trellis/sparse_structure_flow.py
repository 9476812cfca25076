"""The flow transformer on the dense latent of a sparse structure (section 3.3 of the paper).

Agrees with SparseStructureFlowModel of microsoft/TRELLIS, commit 6b0d647.
Letters: B batch, R resolution, P patch size, L = (R / P)^3 tokens, C channels.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from networks.layers.embedding import position_embedding
from networks.ops.segments import Segments
from networks.trellis.flow import Condition, FlowTransformer, Times


class SparseStructureFlow(FlowTransformer):
    """Velocity of a (B, in_channels, R, R, R) latent. Constructor arguments as in the official configuration.

    Args:
        transformer: the further arguments of FlowTransformer.
    """

    def __init__(
        self,
        resolution: int,
        in_channels: int,
        out_channels: int,
        model_channels: int,
        patch_size: int = 2,
        **transformer: Any,
    ) -> None:
        super().__init__(model_channels, **transformer)
        if resolution % patch_size:
            raise ValueError(f"resolution is {resolution}, which patch_size {patch_size} does not divide")
        self.in_channels, self.resolution, self.patch_size = in_channels, resolution, patch_size
        # On the CPU even when the rest is built on the meta device, where this would load half of torch's compiler.
        side = torch.arange(resolution // patch_size, device="cpu")
        self.register_buffer("pos_emb", position_embedding(torch.cartesian_prod(side, side, side), model_channels))
        self.input_layer = nn.Linear(in_channels * patch_size**3, model_channels)
        self.out_layer = nn.Linear(model_channels, out_channels * patch_size**3)

    def forward(
        self, x: Tensor, t: Tensor | Times, cond: Tensor | Condition | None, guided: int | None = None
    ) -> Tensor:
        """
        Args:
            x: (B, in_channels, R, R, R).
            t: (B,) 0 to 1000, or what `times` made of it.
            cond: (B or 1, M, cond_channels), or what `condition` made of it; None: zeros.
            guided: how many items, the first ones, see the condition; all unless given.
        """
        items = len(x)
        condition = self.condition(cond) if isinstance(cond, Tensor) else cond
        tokens = patchify(x, self.patch_size)
        segments = Segments((tokens.shape[1],) * items, x.device)
        h = self.input_layer(tokens) + self.pos_emb
        times = t if isinstance(t, Times) else self.times(t)
        h = self.run_blocks(
            h.to(self.dtype).flatten(0, 1), segments, times, condition, items if guided is None else guided
        )
        h = layer_norm(h.float(), h.shape[-1:])
        return unpatchify(self.out_layer(h).view(items, tokens.shape[1], -1), self.patch_size, self.resolution)


def patchify(x: Tensor, patch: int) -> Tensor:
    """(B, C, R, R, R) → (B, L, C P^3): tokens in (x, y, z) order, z fastest, each channel's patch in one run."""
    items, channels, side = x.shape[:3]
    cells = side // patch
    split = x.view(items, channels, cells, patch, cells, patch, cells, patch)
    return split.permute(0, 2, 4, 6, 1, 3, 5, 7).reshape(items, cells**3, channels * patch**3)


def unpatchify(tokens: Tensor, patch: int, side: int) -> Tensor:
    """The inverse of patchify."""
    items, cells = len(tokens), side // patch
    split = tokens.view(items, cells, cells, cells, -1, patch, patch, patch)
    return split.permute(0, 4, 1, 5, 2, 6, 3, 7).reshape(items, -1, side, side, side)
