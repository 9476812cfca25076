"""A SyncHuman checkpoint in the official layout, so small that a CPU runs it in a few seconds.

Pictures and their latents have the official sizes; the structure is 16 voxels wide. Weights are random, but for a few
biases that make them give a blob of voxels with a closed surface around them.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from configs import NETWORKS
from geometry.gaussians import offset_perturbation
from networks import trellis
from networks.dinov2 import VisionTransformer
from networks.precision import torso_modules
from networks.synchuman import mv_decoders
from networks.synchuman.cross_space_model import CrossSpaceModel
from pipelines.synchuman.libraries import LIBRARIES
from tests.tiny_trellis import draw

RESOLUTION = 16  # of the structure, and patches along a picture of the second stage
ENCODED, TEXT, EMBEDDED = 24, 16, 12  # channels of DINOv2, of the sentences and of CLIP's image embedding
ENCODER = {"img_size": 56, "patch_size": 14, "embed_dim": ENCODED, "depth": 4, "num_heads": 2}
ENCODER |= {"num_register_tokens": 4}
JOINT = "SyncHuman_2D3DCrossSpaceDiffusion"
_CLASSES = {  # folder → class, of which the module is nobody's business
    "feature_extractor": "CLIPImageProcessor",
    "image_encoder": "CLIPVisionModelWithProjection",
    "text_encoder": "CLIPTextModel",
    JOINT: JOINT,
    "vae": "AutoencoderKL",
    "sparse_structure_decoder": "SparseStructureDecoder",
}

_PICTURES: dict[str, Any] = {
    "crop_size": {"height": 28, "width": 28},
    "do_center_crop": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "feature_extractor_type": "CLIPFeatureExtractor",
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "resample": 3,
    "size": {"shortest_edge": 28},
}
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
        "block_out_channels": [4, 4, 4, 4],
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "in_channels": 3,
        "latent_channels": 4,
        "layers_per_block": 1,
        "mid_block_add_attention": False,  # over 96 x 96 pixels it would take half of the time
        "norm_num_groups": 2,
        "out_channels": 3,
        "sample_size": 768,
        "scaling_factor": 0.18215,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
    },
}
JOINT_CONFIG: dict[str, Any] = {
    "_class_name": JOINT,
    "_diffusers_version": "0.29.1",
    "attention_head_dim": [1, 1, 1, 1],
    "block_out_channels": [8, 32, 32, 32],
    "center_input_sample": False,
    "class_embed_type": "projection",
    "cond_channels": ENCODED,
    "cross_attention_dim": TEXT,
    "decay": 0.9999,
    # Without attention at 96 pixels, where it would take most of the time.
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlockMV2D", "CrossAttnDownBlockMV2D", "DownBlock2D"],
    "in_channels": 8,
    "layers_per_block": 1,
    "mid_block_type": "UNetMidBlockMV2DCrossAttn",
    "mlp_ratio": 1,
    "model_channels": 32,
    "multiview_attention": True,
    "mvcd_attention": True,
    "norm_num_groups": 4,
    "num_blocks": 17,
    "num_heads": 2,
    "num_views": 5,
    "optimization_step": 42500,
    "out_channels": 4,
    "pe_mode": "ape",
    "projection_class_embeddings_input_dim": 2 * EMBEDDED,
    "qk_rms_norm": True,
    "resolution": RESOLUTION // 4,
    "sample_size": 96,
    "selfattn_block": "self_rowwise",
    # Which the official file does not have, as these are the reference's own numbers.
    "sync_blocks": {"ss_dims": [32, 32], "mv_dims": [32, 32], "structure_dim": 32, "heads": 2, "dim_head": 8},
    "trellis_in_channels": 8,
    "trellis_out_channels": 8,
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlockMV2D", "UpBlock2D", "UpBlock2D"],
    "use_fp16": True,
    "use_linear_projection": True,
}
_STRUCTURE_DECODER: dict[str, Any] = {
    "args": {
        "out_channels": 1,
        "latent_channels": 8,
        "num_res_blocks": 1,
        "num_res_blocks_middle": 1,
        "channels": [16, 8, 8],
        "use_fp16": True,
    }
}
_DECODER: dict[str, Any] = {"resolution": RESOLUTION, "latent_channels": 8, "num_blocks": 2, "mlp_ratio": 2}
_DECODER |= {"attn_mode": "swin", "window_size": 8, "use_fp16": True, "num_heads": 2}
_DECODER |= {"mv_condition_mode": "4_view", "use_multiscale": True, "use_faceinfo": False, "mv_dim": ENCODED}


def _splats() -> dict[str, Any]:
    """The official representation, but for the number of Gaussians."""
    config: dict[str, Any] = json.loads((NETWORKS / "synchuman" / "decoder_GS.json").read_text())
    return config["args"]["representation_config"] | {"num_gaussians": 4}


SECOND_CONFIGS: dict[str, dict[str, Any]] = {
    "slat_flow": {
        "name": "SLatFlowModel",
        "args": {
            "resolution": RESOLUTION,
            "in_channels": 8,
            "out_channels": 8,
            "model_channels": 32,
            "cond_channels": ENCODED,
            "num_blocks": 2,
            "num_heads": 2,
            "mlp_ratio": 2,
            "patch_size": 2,
            "num_io_res_blocks": 2,
            "io_block_channels": [16],
            "pe_mode": "ape",
            "qk_rms_norm": True,
            "use_fp16": True,
        },  # fmt: skip
    },
    "decoder_GS": {
        "name": "SLatGaussianDecoder",
        "args": {**_DECODER, "model_channels": 48, "representation_config": _splats()},
    },
    "decoder_Mesh": {
        "name": "SLatMeshDecoder",
        "args": {**_DECODER, "model_channels": 256, "representation_config": {"use_color": True}},
    },
}


def write_checkpoint(weights_dir: Path, seed: int = 0) -> None:
    """The folders that stand for the official ones below MAQUETTE_WEIGHTS_DIR."""
    generator = torch.Generator().manual_seed(seed)
    ckpts = weights_dir / "xishushu" / "SyncHuman" / "ckpts"
    _write_first_stage(ckpts / "OneStage", generator)
    _write_second_stage(ckpts / "SecondStage", generator)
    encoder = VisionTransformer(**ENCODER)
    draw(encoder, generator)
    facebook = weights_dir / "facebook" / "dinov2"
    facebook.mkdir(parents=True, exist_ok=True)
    torch.save(encoder.state_dict(), facebook / "dinov2_vitl14_reg4_pretrain.pth")
    _write(facebook / "dinov2_vitl14_reg4_pretrain.json", {"name": "VisionTransformer", "args": ENCODER})


def _write_first_stage(folder: Path, generator: torch.Generator) -> None:
    metadata = {name: {"class": f"some.module.{kind}", "subdir": name} for name, kind in _CLASSES.items()}
    _write(folder / "pipeline_config.json", {"num_views": 5, "metadata": metadata})
    _write(folder / "feature_extractor" / "preprocessor_config.json", _PICTURES)
    for name, config in LIBRARY_CONFIGS.items():
        network = LIBRARIES[name].build(dict(config))
        draw(network, generator)
        _steer(name, network)
        prefix = "text_model." if name == "text_encoder" else ""
        tensors = {prefix + key.removeprefix(prefix): value for key, value in _halves(network).items()}
        _save(folder / name, config, tensors, "diffusion_pytorch_model" if name == "vae" else "model")
    joint = CrossSpaceModel(**JOINT_CONFIG)
    draw(joint, generator)
    _save(folder / JOINT, JOINT_CONFIG, _halves(joint), "diffusion_pytorch_model")
    decoder = trellis.build({"name": "SparseStructureDecoder", **_STRUCTURE_DECODER})
    draw(decoder, generator)
    _steer("sparse_structure_decoder", decoder)
    _save(folder / "sparse_structure_decoder", _STRUCTURE_DECODER, _halves(decoder))


def _write_second_stage(folder: Path, generator: torch.Generator) -> None:
    args = json.loads((NETWORKS / "trellis" / "pipeline.json").read_text())["args"]  # whose latent it is
    index = {
        "models": {
            "slat_decoder_gs": "ckpts/decoder_GS",
            "slat_decoder_mesh": "ckpts/decoder_Mesh",
            "slat_flow_model": "ckpts/slat_flow",
        },
        "slat_sampler": args["slat_sampler"],
        "slat_normalization": args["slat_normalization"],
        "image_cond_model": "dinov2_vitl14_reg",
    }
    _write(folder / "pipeline.json", {"name": "SyncHumanTwoStagePipeline", "args": index})
    for name, config in SECOND_CONFIGS.items():
        network = mv_decoders.build(config)
        draw(network, generator)
        _steer(name, network)
        torso = {id(parameter) for layer in torso_modules(network) for parameter in layer.parameters()}
        _save(folder / "ckpts" / name, config, _halves(network, torso))


def _steer(name: str, network: Any) -> None:
    with torch.no_grad():
        if name == "vae":
            network.decoder.conv_out.weight.mul_(0.05)  # greys, whose files are small
        elif name == "sparse_structure_decoder":
            network.out_layer[2].bias.fill_(-0.8)  # about one voxel in a hundred is filled, whatever the seed
        elif name == "decoder_Mesh":
            network.out_layer.weight.mul_(0.1)
            network.out_layer.bias[:8] = -0.5  # inside at every corner of a voxel, as the rim around is outside
        elif name == "decoder_GS":
            network.offset_perturbation.copy_(torch.from_numpy(offset_perturbation(4, 1.5)))
            network.out_layer.weight.mul_(0.3)


def _halves(network: nn.Module, which: set[int] | None = None) -> dict[str, Tensor]:
    """The tensors as the official files hold them: all parameters in half precision, or those of a torso."""
    parameters = {
        name: (value.half() if which is None or id(value) in which else value).detach()
        for name, value in network.named_parameters()
    }
    stored = network.state_dict().keys()
    return parameters | {name: value for name, value in network.named_buffers() if name in stored}


def _save(folder: Path, config: dict[str, Any], tensors: dict[str, Tensor], stem: str = "model") -> None:
    _write(folder / "config.json", config)
    save_file({name: value.contiguous() for name, value in tensors.items()}, folder / f"{stem}.safetensors")


def _write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
