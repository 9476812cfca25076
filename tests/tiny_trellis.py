"""A TRELLIS checkpoint in the official layout, so small that a CPU runs it in a second. Its weights are random, but
for a few biases that make it give a blob of voxels with a closed surface around them."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from configs import NETWORKS
from geometry.gaussians import offset_perturbation
from networks.dinov2 import VisionTransformer
from networks.precision import torso_modules
from networks.trellis import build

SIDE = 56  # of the encoder's picture
LATENT = 4  # side of the structure latent; two upsamplings make 16 of it
RESOLUTION = 16
_COMMON = {"resolution": RESOLUTION, "latent_channels": 8, "num_blocks": 2, "mlp_ratio": 2, "attn_mode": "swin"}
_COMMON |= {"window_size": 8, "use_fp16": True, "num_heads": 2}
_FLOW = {"in_channels": 8, "out_channels": 8, "model_channels": 32, "cond_channels": 24, "num_blocks": 2}
_FLOW |= {"num_heads": 2, "mlp_ratio": 2, "pe_mode": "ape", "qk_rms_norm": True, "use_fp16": True}
ENCODER = {"img_size": SIDE, "patch_size": 14, "embed_dim": 24, "depth": 2, "num_heads": 2, "num_register_tokens": 4}


def _official(stem: str) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((NETWORKS / "trellis" / f"{stem}.json").read_text())
    return config["args"]["representation_config"]


NETWORK_CONFIGS: dict[str, dict[str, Any]] = {
    "sparse_structure_flow_model": {
        "name": "SparseStructureFlowModel",
        "args": {**_FLOW, "resolution": LATENT, "patch_size": 1},
    },
    "sparse_structure_decoder": {
        "name": "SparseStructureDecoder",
        "args": {
            "out_channels": 1,
            "latent_channels": 8,
            "num_res_blocks": 1,
            "num_res_blocks_middle": 1,
            "channels": [16, 8, 8],
            "use_fp16": True,
        },  # fmt: skip
    },
    "slat_flow_model": {
        "name": "ElasticSLatFlowModel",
        "args": {
            **_FLOW,
            "resolution": RESOLUTION,
            "patch_size": 2,
            "num_io_res_blocks": 2,
            "io_block_channels": [16],
        },  # fmt: skip
    },
    "slat_decoder_gs": {
        "name": "SLatGaussianDecoder",
        "args": {
            **_COMMON,
            "model_channels": 48,
            "representation_config": _official("slat_dec_gs_swin8_B_64l8gs32_fp16") | {"num_gaussians": 4},
        },  # fmt: skip
    },
    "slat_decoder_rf": {
        "name": "SLatRadianceFieldDecoder",
        "args": {**_COMMON, "model_channels": 48, "representation_config": {"rank": 2, "dim": 4}},
    },
    "slat_decoder_mesh": {
        "name": "SLatMeshDecoder",
        "args": {**_COMMON, "model_channels": 256, "representation_config": {"use_color": True}},
    },
}


def write_checkpoint(weights_dir: Path, seed: int = 0) -> None:
    """The folders that stand for the official ones below MAQUETTE_WEIGHTS_DIR."""
    generator = torch.Generator().manual_seed(seed)
    folder = weights_dir / "microsoft" / "TRELLIS-image-large"
    (folder / "ckpts").mkdir(parents=True)
    index = json.loads((NETWORKS / "trellis" / "pipeline.json").read_text())
    index["args"]["models"] = {key: f"ckpts/{key}_tiny" for key in NETWORK_CONFIGS}
    (folder / "pipeline.json").write_text(json.dumps(index))
    for key, config in NETWORK_CONFIGS.items():
        (folder / "ckpts" / f"{key}_tiny.json").write_text(json.dumps(config))
        network = build(config)
        draw(network, generator)
        _steer(key, network)
        save_file(_mixed(network), folder / "ckpts" / f"{key}_tiny.safetensors")
    encoder = VisionTransformer(**ENCODER)
    draw(encoder, generator)
    facebook = weights_dir / "facebook" / "dinov2"
    facebook.mkdir(parents=True)
    torch.save(encoder.state_dict(), facebook / "dinov2_vitl14_reg4_pretrain.pth")
    described = {"name": "VisionTransformer", "args": ENCODER}
    (facebook / "dinov2_vitl14_reg4_pretrain.json").write_text(json.dumps(described))


def draw(network: nn.Module, generator: torch.Generator) -> None:
    """Weights that keep activations at about one; biases and gains near their usual places."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            drawn = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 1 and "gamma" not in name:
                parameter.copy_(drawn / (parameter.numel() / len(parameter)) ** 0.5)
            else:
                parameter.copy_((1 if name.endswith(("weight", "gamma")) else 0) + 0.1 * drawn)


def _steer(key: str, network: Any) -> None:
    with torch.no_grad():
        if key == "sparse_structure_decoder":
            network.out_layer[2].bias.fill_(-1.1)  # about one voxel in thirty is filled
        elif key == "slat_decoder_mesh":
            network.out_layer.weight.mul_(0.1)
            network.out_layer.bias[:8] = -0.5  # inside at every corner of a voxel, as the rim around is outside
        elif key == "slat_decoder_gs":
            network.offset_perturbation.copy_(torch.from_numpy(offset_perturbation(4, 1.5)))
            network.out_layer.weight.mul_(0.3)


def _mixed(network: nn.Module) -> dict[str, torch.Tensor]:
    """The tensors as the official files hold them: the torso's layers in half precision."""
    halves = {id(parameter) for layer in torso_modules(network) for parameter in layer.parameters()}
    tensors = dict(network.named_parameters()) | dict(network.named_buffers())
    return {name: (value.half() if id(value) in halves else value).detach() for name, value in tensors.items()}
