"""A joint model so small that a CPU runs it in half a second."""

from typing import Any

from networks.synchuman.cross_space_model import CrossSpaceModel
from tests.networks.drawing import drawn

IMAGE, SIDE = 48, 4  # of the images' latents and of the structure's
CONFIG: dict[str, Any] = {
    "sample_size": IMAGE,
    "in_channels": 8,
    "out_channels": 4,
    "block_out_channels": [32, 32, 64],
    "down_block_types": ["CrossAttnDownBlockMV2D", "CrossAttnDownBlockMV2D", "DownBlock2D"],
    "mid_block_type": "UNetMidBlockMV2DCrossAttn",
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlockMV2D", "UpBlock2D"],
    "attention_head_dim": [1, 1, 2],
    "cross_attention_dim": 24,
    "projection_class_embeddings_input_dim": 24,
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "resolution": SIDE,
    "model_channels": 32,
    "cond_channels": 24,
    "num_blocks": 17,
    "num_heads": 2,
    "mlp_ratio": 1,
    "qk_rms_norm": True,
    "sync_blocks": {"ss_dims": [32, 64], "mv_dims": [32, 64], "structure_dim": 32, "heads": 2, "dim_head": 8},
}


def joint_model(**changes: Any) -> CrossSpaceModel:
    """With every parameter drawn so that activations stay at about one."""
    model = CrossSpaceModel(**CONFIG | changes)
    drawn(model).requires_grad_(False).eval()
    return model
