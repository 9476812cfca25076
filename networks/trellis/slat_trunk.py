"""The transformer that the latent decoders and the latent encoder share: attention in windows that shift.

Letters: N voxels, C channels.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from networks.layers.embedding import position_embedding
from networks.layers.transformer import Block
from networks.ops.voxels import Voxels, Windows
from networks.precision import torso_dtype


class SLatTrunk(nn.Module):
    """(N, model_channels) features of (N, in_channels) rows on voxels.

    Args:
        attn_mode: only "swin" exists in the checkpoints.
        window_size: voxels along the side of a window; every second block's windows are shifted by half of it.
        use_fp16, use_checkpoint: named by the configurations; the torso's type is chosen when weights are loaded.
        block: makes one of the blocks, from channels, heads, mlp_ratio and qk_rms_norm.
    """

    TORSO: ClassVar[tuple[str, ...]] = ("blocks",)

    def __init__(
        self,
        in_channels: int,
        model_channels: int,
        num_blocks: int,
        num_heads: int | None = None,
        num_head_channels: int = 64,
        mlp_ratio: float = 4,
        attn_mode: str = "swin",
        window_size: int = 8,
        pe_mode: str = "ape",
        qk_rms_norm: bool = False,
        use_fp16: bool = False,
        use_checkpoint: bool = False,
        block: Callable[[int, int, float, bool], Block] = Block,
    ) -> None:
        super().__init__()
        if (attn_mode, pe_mode) != ("swin", "ape"):
            raise ValueError(f"attn_mode is {attn_mode!r} and pe_mode {pe_mode!r}; only 'swin' and 'ape' are known")
        heads = num_heads or model_channels // num_head_channels
        self.model_channels, self.window_size = model_channels, window_size
        self.input_layer = nn.Linear(in_channels, model_channels)
        self.blocks = nn.ModuleList(block(model_channels, heads, mlp_ratio, qk_rms_norm) for _ in range(num_blocks))

    @property
    def dtype(self) -> torch.dtype:
        return torso_dtype(self)

    def trunk(self, x: Tensor, voxels: Voxels, condition: Tensor | None = None) -> Tensor:
        """(N, model_channels) in the torso's type.

        Args:
            condition: (N, …) what the blocks of a subclass see besides.
        """
        h = self.input_layer(x) + position_embedding(voxels.coords[:, 1:], self.model_channels)
        h = h.to(self.dtype)
        for index, block in enumerate(self.blocks):
            windows = voxels.windows(self.window_size, self.window_size // 2 * (index % 2))
            h = self.run_block(block, h, windows, condition)
        return h

    def run_block(self, block: nn.Module, h: Tensor, windows: Windows, condition: Tensor | None) -> Tensor:
        """(N, model_channels) rows after one of the blocks; the trunk's own see no condition."""
        return torch.empty_like(h).index_copy_(0, windows.order, block(h[windows.order], windows.segments))

    def normed(self, x: Tensor, voxels: Voxels, condition: Tensor | None = None) -> Tensor:
        """The trunk's features in float32 and normalised, as all heads but the mesh decoder's want them."""
        return layer_norm(self.trunk(x, voxels, condition).float(), (self.model_channels,))


class SLatDecoder(SLatTrunk):
    """What the three decoders are given.

    Args:
        resolution: of the grid that the latents are on.
        representation_config: numbers of what is decoded.
        trunk: the further arguments of SLatTrunk.
    """

    def __init__(
        self,
        resolution: int,
        model_channels: int,
        latent_channels: int,
        representation_config: Mapping[str, Any],
        **trunk: Any,
    ) -> None:
        super().__init__(latent_channels, model_channels, **trunk)
        self.resolution, self.representation_config = resolution, representation_config
