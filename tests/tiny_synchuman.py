"""A SyncHuman checkpoint in the official layout, so small that a CPU runs it in a few seconds."""

from typing import Any

EMBEDDED = 12  # channels of CLIP's image embedding
TEXT = 16  # channels of the sentences

LIBRARY_CONFIGS: dict[str, dict[str, Any]] = {
    "image_encoder": {
        "hidden_act": "gelu",
        "hidden_size": 16,
        "image_size": 28,
        "intermediate_size": 32,
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
        "patch_size": 14,
        "projection_dim": EMBEDDED,
    },
    "text_encoder": {
        "hidden_act": "gelu",
        "hidden_size": TEXT,
        "intermediate_size": 32,
        "max_position_embeddings": 77,
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
        "projection_dim": EMBEDDED,
        "vocab_size": 49408,
    },
    "vae": {
        "block_out_channels": [8, 8, 8, 8],
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "in_channels": 3,
        "latent_channels": 4,
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "out_channels": 3,
        "sample_size": 768,
        "scaling_factor": 0.18215,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
    },
}
