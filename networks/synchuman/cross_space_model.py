"""The joint model: a UNet that makes images of a person, a transformer that makes voxels, and what keeps them in step.

Source: SyncHuman (arXiv 2510.07723), section 3.2; agrees with SyncHuman_2D3DCrossSpaceDiffusion of
IGL-HKUST/SyncHuman, commit 1b540b7.

Letters: R rows (domain, half, view), B guidance halves, V views, I side of the images, S side of the voxel grid,
L = S^3 tokens, T timesteps, E channels of the UNet's embeddings, C channels.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, silu

from networks.layers.embedding import position_embedding, sinusoid
from networks.ops.segments import Segments
from networks.synchuman.attention import TextCache
from networks.synchuman.joint_config import FLOW, SYNC_BLOCKS, TO_IMAGES, TO_VOXELS, check, check_meetings, same_length
from networks.synchuman.mv_blocks import (
    CrossAttnDownBlockMV2D,
    CrossAttnUpBlockMV2D,
    DownBlock2D,
    UNetMidBlockMV2DCrossAttn,
    UpBlock2D,
)
from networks.synchuman.rows import Rows
from networks.synchuman.sync_attention import ImagesFromVoxels, VoxelsFromImages
from networks.trellis.flow import Condition, FlowTransformer, Times
from networks.trellis.sparse_structure_flow import patchify, unpatchify

_BEFORE, _BETWEEN, _AFTER = slice(0, 8), slice(8, 16), slice(16, None)  # the transformer's blocks around the UNet's


class Projection(nn.Module):
    """Two linear layers with a SiLU between: an embedding of a timestep or a class."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(channels, out_channels)
        self.linear_2 = nn.Linear(out_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.linear_2(silu(self.linear_1(x)))
        return result


class Moments(NamedTuple):
    """What timesteps say to both branches, made once for all steps.

    Attributes:
        images: (T, E).
        structure: of the transformer.
    """

    images: Tensor
    structure: Times


class Given(NamedTuple):
    """What a job says to both branches, made once for all steps.

    Attributes:
        rows: the order of the images.
        classes: (R, E) of each row.
        text: keys and values of the prompt.
        condition: keys and values of the picture's tokens.
        guided: how many halves, the first ones, see the condition.
    """

    rows: Rows
    classes: Tensor
    text: TextCache
    condition: Condition
    guided: int


class CrossSpaceModel(FlowTransformer):
    """Velocities of image latents and of a structure latent. Constructor arguments as in the official configuration.

    Args:
        attention_head_dim: how many heads each level has, whatever it is called.
        sync_blocks: widths and heads of the synchronisation blocks; the official file does not name them.
        official: the transformer's further arguments; what is fixed here; what only training asks for.
    Raises:
        ValueError: a value asks for what this project does not have.
    """

    TORSO: ClassVar[tuple[str, ...]] = (
        "blocks",
        "down_blocks",
        "mid_block",
        "up_blocks",
        "dual_CrossAttblocks_SS",
        "dual_CrossAttblocks_MV",
    )
    DERIVED: ClassVar[tuple[str, ...]] = ("pos_emb",)  # not in every file

    def __init__(
        self,
        *,
        sample_size: int,
        in_channels: int,
        out_channels: int,
        block_out_channels: Sequence[int],
        down_block_types: Sequence[str],
        up_block_types: Sequence[str],
        attention_head_dim: int | Sequence[int],
        cross_attention_dim: int,
        projection_class_embeddings_input_dim: int,
        model_channels: int,
        layers_per_block: int = 2,
        norm_num_groups: int = 32,
        norm_eps: float = 1e-5,
        num_views: int = 5,
        resolution: int = 16,
        trellis_in_channels: int = 8,
        trellis_out_channels: int = 8,
        sync_blocks: Mapping[str, Any] = SYNC_BLOCKS,
        **official: Any,
    ) -> None:
        check(official)
        widths = list(block_out_channels)
        heads = [attention_head_dim] * len(widths) if isinstance(attention_head_dim, int) else list(attention_head_dim)
        levels = {"block_out_channels": widths, "attention_head_dim": heads}
        same_length(levels | {"down_block_types": down_block_types, "up_block_types": up_block_types})
        check_meetings(sample_size, down_block_types, up_block_types, widths, sync_blocks)
        super().__init__(model_channels, **{name: official[name] for name in FLOW & official.keys()})
        self.resolution, self.num_views = resolution, num_views
        first = widths[0]
        common: dict[str, Any] = {"temb_channels": 4 * first, "norm_groups": norm_num_groups, "eps": norm_eps}
        self.conv_in = nn.Conv2d(in_channels, first, 3, padding=1)
        self.time_embedding = Projection(first, 4 * first)
        self.class_embedding = Projection(projection_class_embeddings_input_dim, 4 * first)
        attended = [{"heads": count, "cross_attention_dim": cross_attention_dim} for count in heads]
        self.down_blocks = _way_down(down_block_types, widths, layers_per_block, attended, common)
        self.mid_block = UNetMidBlockMV2DCrossAttn(in_channels=widths[-1], **attended[-1], **common)
        self.up_blocks = _way_up(up_block_types, widths, layers_per_block, attended, common)
        self.conv_norm_out = nn.GroupNorm(norm_num_groups, first, eps=norm_eps)
        self.conv_out = nn.Conv2d(first, out_channels, 3, padding=1)
        # On the CPU even when the rest is built on the meta device, where this would load half of torch's compiler.
        side = torch.arange(resolution, device="cpu")
        self.register_buffer("pos_emb", position_embedding(torch.cartesian_prod(side, side, side), model_channels))
        self.input_layer = nn.Linear(trellis_in_channels, model_channels)
        self.out_layer = nn.Linear(model_channels, trellis_out_channels)
        meeting = sync_blocks["structure_dim"], sync_blocks["heads"], sync_blocks["dim_head"]
        self.dual_CrossAttblocks_SS = nn.ModuleList(VoxelsFromImages(w, *meeting) for w in sync_blocks["ss_dims"])
        self.dual_CrossAttblocks_MV = nn.ModuleList(ImagesFromVoxels(w, *meeting) for w in sync_blocks["mv_dims"])

    def given(
        self, labels: Tensor, prompt: Tensor | TextCache, cond: Tensor | Condition, rows: Rows, guided: int
    ) -> Given:
        """What does not change over a job's steps.

        Args:
            labels: (R, class channels).
            prompt: (domains * views, M, C) text of each image.
            cond: (1, M, cond_channels) tokens of the picture.
            guided: how many halves, the first ones, see the tokens; the others see zeros.
        """
        condition = self.condition(cond) if isinstance(cond, Tensor) else cond
        text = prompt if isinstance(prompt, TextCache) else TextCache(prompt)
        return Given(rows, self.class_embedding(labels), text, condition, guided)

    def moments(self, t: Tensor) -> Moments:
        """Of (T,) timesteps, 0 to 1000.

        In half precision the transformer was trained and run with timesteps of float16, whatever halves we run in.
        """
        images = self.time_embedding(sinusoid(t, self.conv_in.out_channels))
        return Moments(images, self.times(t if self.dtype == torch.float32 else t.half()))

    def forward(
        self, images: Tensor, structure: Tensor, moments: Moments, given: Given, step: int = 0
    ) -> tuple[Tensor, Tensor]:
        """Velocities (R, out_channels, I, I) and (B, trellis_out_channels, S, S, S), float32.

        Args:
            images: (R, in_channels, I, I): a noisy latent and behind it that of the picture.
            structure: (B, trellis_in_channels, S, S, S).
            step: which of the timesteps.
        """
        rows, temb = given.rows, (moments.images[step] + given.classes).to(self.dtype)
        segments = Segments((self.resolution**3,) * rows.halves, structure.device)
        times = moments.structure.of(step, rows.halves)

        def deepened(h: Tensor, span: slice) -> Tensor:
            h = self.run_blocks(h.flatten(0, 1), segments, times, given.condition, given.guided, span)
            return h.unflatten(0, (rows.halves, -1))

        x = self.conv_in(images).to(self.dtype)
        h = (self.input_layer(patchify(structure, 1)) + self.pos_emb).to(self.dtype)
        x, h, skips = self._down(x, deepened(h, _BEFORE), temb, given)
        x = self.mid_block(x, temb, rows, given.text)
        x, h = self._up(x, deepened(h, _BETWEEN), skips, temb, given)
        return self._images(x), self._structure(deepened(h, _AFTER))

    def _down(self, x: Tensor, h: Tensor, temb: Tensor, given: Given) -> tuple[Tensor, Tensor, list[Tensor]]:
        skips = [x]
        for block in self.down_blocks:
            x, kept = block(x, temb, given.rows, given.text)
            skips += kept
            if isinstance(block, CrossAttnDownBlockMV2D) and x.shape[-1] == TO_VOXELS:
                h = self.dual_CrossAttblocks_SS[0](x, h, given.rows)
            elif isinstance(block, CrossAttnDownBlockMV2D) and x.shape[-1] == TO_IMAGES:
                x = self.dual_CrossAttblocks_MV[0](x, h, given.rows)
        return x, h, skips

    def _up(self, x: Tensor, h: Tensor, skips: list[Tensor], temb: Tensor, given: Given) -> tuple[Tensor, Tensor]:
        for block in self.up_blocks:
            if isinstance(block, CrossAttnUpBlockMV2D) and x.shape[-1] == TO_VOXELS:
                h = self.dual_CrossAttblocks_SS[1](x, h, given.rows)
            elif not isinstance(block, CrossAttnUpBlockMV2D) and x.shape[-1] == TO_IMAGES:
                x = self.dual_CrossAttblocks_MV[1](x, h, given.rows)
            x = block(x, skips, temb, given.rows, given.text)
        return x, h

    def _images(self, x: Tensor) -> Tensor:
        result: Tensor = self.conv_out(silu(self.conv_norm_out(x.float())))
        return result

    def _structure(self, h: Tensor) -> Tensor:
        return unpatchify(self.out_layer(layer_norm(h.float(), h.shape[-1:])), 1, self.resolution)


def _way_down(
    kinds: Sequence[str], widths: Sequence[int], layers: int, attended: Sequence[dict[str, int]], common: dict[str, Any]
) -> nn.ModuleList:
    blocks = nn.ModuleList()
    for level, kind in enumerate(kinds):
        sizes = {"in_channels": widths[max(level - 1, 0)], "out_channels": widths[level], "num_layers": layers}
        further = level < len(kinds) - 1
        if kind == "CrossAttnDownBlockMV2D":
            blocks.append(CrossAttnDownBlockMV2D(**sizes, **attended[level], **common, add_downsample=further))
        elif kind == "DownBlock2D":
            blocks.append(DownBlock2D(**sizes, **common, add_downsample=further))
        else:
            raise ValueError(f"down_block_types has {kind!r}; there are CrossAttnDownBlockMV2D and DownBlock2D")
    return blocks


def _way_up(
    kinds: Sequence[str], widths: Sequence[int], layers: int, attended: Sequence[dict[str, int]], common: dict[str, Any]
) -> nn.ModuleList:
    blocks = nn.ModuleList()
    for step, kind in enumerate(kinds):
        level = len(kinds) - 1 - step
        sizes = {
            "in_channels": widths[max(level - 1, 0)],
            "out_channels": widths[level],
            "prev_output_channel": widths[min(level + 1, len(widths) - 1)],
            "num_layers": layers + 1,
        }
        if kind == "CrossAttnUpBlockMV2D":
            blocks.append(CrossAttnUpBlockMV2D(**sizes, **attended[level], **common, add_upsample=level > 0))
        elif kind == "UpBlock2D":
            blocks.append(UpBlock2D(**sizes, **common, add_upsample=level > 0))
        else:
            raise ValueError(f"up_block_types has {kind!r}; there are CrossAttnUpBlockMV2D and UpBlock2D")
    return blocks
