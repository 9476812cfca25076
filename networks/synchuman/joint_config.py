"""What the official configuration of the joint model may say beside the numbers that the network is built from.

It carries every switch of the UNet it was derived from, and what training noted down.
"""

from collections.abc import Mapping, Sequence
from typing import Any

TO_VOXELS, TO_IMAGES = 24, 12  # at these sides of its images the UNet meets the voxels
ATTENDED = frozenset({"CrossAttnDownBlockMV2D", "CrossAttnUpBlockMV2D"})
# Of the transformer; its own constructor checks them.
FLOW = frozenset(
    "cond_channels num_blocks num_heads num_head_channels mlp_ratio pe_mode share_mod qk_rms_norm qk_rms_norm_cross "
    "use_fp16 use_checkpoint".split()
)
# What the synchronisation blocks are made of; fixed in the reference's code.
SYNC_BLOCKS: Mapping[str, Any] = {
    "ss_dims": (640, 1280),
    "mv_dims": (1280, 1280),
    "structure_dim": 1024,
    "heads": 16,
    "dim_head": 64,
}
# The one value of each that this project has.
_FIXED: Mapping[str, Any] = {
    "act_fn": "silu",
    "addition_downsample": False,
    "addition_embed_type": None,
    "addition_time_embed_dim": None,
    "cd_attention_last": False,
    "cd_attention_mid": False,
    "center_input_sample": False,
    "class_embed_type": "projection",
    "class_embeddings_concat": False,
    "conv_in_kernel": 3,
    "conv_out_kernel": 3,
    "cross_attention_norm": None,
    "downsample_padding": 1,
    "dual_cross_attention": False,
    "encoder_hid_dim": None,
    "encoder_hid_dim_type": None,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "mid_block_only_cross_attention": None,
    "mid_block_scale_factor": 1,
    "mid_block_type": "UNetMidBlockMV2DCrossAttn",
    "multiview_attention": True,
    "mvcd_attention": True,
    "num_attention_heads": None,
    "num_class_embeds": None,
    "num_dual_CrossAttblocks": 2,
    "only_cross_attention": False,
    "patch_size": 1,
    "resnet_out_scale_factor": 1,
    "resnet_skip_time_act": False,
    "resnet_time_scale_shift": "default",
    "selfattn_block": "self_rowwise",
    "time_cond_proj_dim": None,
    "time_embedding_act_fn": None,
    "time_embedding_dim": None,
    "time_embedding_type": "positional",
    "timestep_post_act": None,
    "transformer_layers_per_block": 1,
    "use_dino": False,
    "use_linear_projection": True,
}
# Without effect: sizes of parts that are off, how attention is computed, the bookkeeping of averaged weights.
_IGNORED = frozenset(
    "_class_name _diffusers_version _name_or_path addition_channels addition_embed_type_num_heads mv_cond_channels "
    "sparse_mv_attention upcast_attention decay inv_gamma min_decay power optimization_step update_after_step "
    "use_ema_warmup".split()
)


def check(official: Mapping[str, Any]) -> None:
    """
    Raises:
        ValueError: a value asks for what this project does not have; or a key is not known, and is not off.
    """
    for key, value in official.items():
        if key in FLOW | _IGNORED:
            continue
        if key not in _FIXED and value not in (None, False):
            raise ValueError(f"the joint model's configuration has {key} = {value!r}, which is not known here")
        if key in _FIXED and value != _FIXED[key]:
            raise ValueError(f"{key} is {value!r}; the joint model has only {_FIXED[key]!r}")


def same_length(numbers: Mapping[str, Sequence[Any]]) -> None:
    """
    Raises:
        ValueError: what names a value for each level of the UNet names more or fewer than there are.
    """
    if len({len(values) for values in numbers.values()}) > 1:
        told = ", ".join(f"{name} {list(values)}" for name, values in numbers.items())
        raise ValueError(f"the levels of the UNet differ in number: {told}")


def check_meetings(
    sample_size: int, down: Sequence[str], up: Sequence[str], widths: Sequence[int], sync_blocks: Mapping[str, Any]
) -> None:
    """
    Raises:
        ValueError: the UNet does not meet the voxels as often as the synchronisation blocks have it, or with other
            numbers of channels.
    """
    last, side = len(widths) - 1, sample_size
    meetings: dict[str, list[int]] = {"ss_dims": [], "mv_dims": []}
    for level, kind in enumerate(down):
        side //= 2 if level < last else 1
        if kind in ATTENDED and side in (TO_VOXELS, TO_IMAGES):
            meetings["ss_dims" if side == TO_VOXELS else "mv_dims"].append(widths[level])
    if [len(channels) for channels in meetings.values()] != [1, 1]:
        raise ValueError(
            f"sample_size is {sample_size}; levels with attention must end at {TO_VOXELS} and {TO_IMAGES} once each"
        )
    for step, kind in enumerate(up):
        if side == (TO_VOXELS if kind in ATTENDED else TO_IMAGES):
            meetings["ss_dims" if kind in ATTENDED else "mv_dims"].append(widths[min(last, last - step + 1)])
        side *= 2
    for name, channels in meetings.items():
        if channels != list(sync_blocks[name]):
            raise ValueError(
                f"{name} of the synchronisation blocks are {list(sync_blocks[name])}; the UNet has {channels}"
            )
