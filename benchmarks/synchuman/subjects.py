"""What is measured: the pipeline's own model with random weights, of official size or tiny."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.networks.subjects import draw
from configs import NETWORKS
from networks.dinov2 import VisionTransformer
from networks.synchuman.cross_space_model import CrossSpaceModel
from networks.synchuman.mv_decoders import build
from networks.weights import fill
from pipelines.slat.checkpoint import ENCODER
from pipelines.slat.sampling import Sampling
from pipelines.synchuman.checkpoint import JOINT, STRUCTURE_DECODER, Checkpoint
from pipelines.synchuman.conditioning import ClipPictures
from pipelines.synchuman.libraries import LIBRARIES, load

_FILES = {
    ENCODER: "dinov2/vitl14_reg4",
    "image_encoder": "synchuman/image_encoder",
    "vae": "synchuman/vae",
    "text_encoder": "synchuman/text_encoder",
    JOINT: "synchuman/cross_space",
    STRUCTURE_DECODER: "synchuman/sparse_structure_decoder",
    "slat_flow_model": "synchuman/slat_flow",
    "slat_decoder_gs": "synchuman/decoder_GS",
    "slat_decoder_mesh": "synchuman/decoder_Mesh",
}
_PROMPTS = "text_encoder"  # runs once, on the CPU
FIRST = (ENCODER, "image_encoder", "vae", JOINT, STRUCTURE_DECODER)
SECOND = (ENCODER, "slat_flow_model", "slat_decoder_gs", "slat_decoder_mesh")
_SEEN, _TEXT = 64, 32  # channels of the image encoder and of the text encoder at tiny size
_CLIP = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
_TINY: dict[str, dict[str, Any]] = {
    ENCODER: {"img_size": 56, "embed_dim": _SEEN, "depth": 4, "num_heads": 2},
    "image_encoder": {**_CLIP, "image_size": 28, "projection_dim": 32},
    "vae": {"block_out_channels": [8, 8, 8, 8], "layers_per_block": 1, "norm_num_groups": 4},
    "text_encoder": {**_CLIP, "hidden_size": _TEXT},
    JOINT: {
        "sample_size": 48,
        "block_out_channels": [32, 32, 64],
        "down_block_types": ["CrossAttnDownBlockMV2D", "CrossAttnDownBlockMV2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlockMV2D", "UpBlock2D"],
        "attention_head_dim": [1, 1, 2],
        "cross_attention_dim": _TEXT,
        "projection_class_embeddings_input_dim": 64,
        "layers_per_block": 1,
        "norm_num_groups": 8,
        "resolution": 8,
        "model_channels": 32,
        "cond_channels": _SEEN,
        "num_blocks": 3,
        "num_heads": 2,
        "sync_blocks": {"ss_dims": [32, 64], "mv_dims": [32, 64], "structure_dim": 32, "heads": 2, "dim_head": 8},
    },
    STRUCTURE_DECODER: {"channels": [32, 16, 8], "num_res_blocks": 1, "num_res_blocks_middle": 1},
    "slat_flow_model": {
        "resolution": 32,
        "model_channels": 64,
        "cond_channels": _SEEN,
        "num_blocks": 2,
        "num_heads": 2,
        "io_block_channels": [32],
    },
    "slat_decoder_gs": {"resolution": 32, "model_channels": 64, "num_blocks": 2, "num_heads": 2, "mv_dim": _SEEN},
    "slat_decoder_mesh": {"resolution": 32, "model_channels": 256, "num_blocks": 2, "num_heads": 2, "mv_dim": _SEEN},
}


@dataclass(frozen=True)
class Size:
    """
    Attributes:
        networks: key of the pipeline → {"name": class, "args": constructor arguments}.
        voxels: about so many of the structure.
    """

    networks: Mapping[str, Mapping[str, Any]]
    voxels: tuple[int, ...]

    def args(self, key: str) -> Mapping[str, Any]:
        args: Mapping[str, Any] = self.networks[key]["args"]
        return args

    @property
    def resolution(self) -> int:
        """Voxels along a side of the structure."""
        return int(self.args("slat_decoder_mesh")["resolution"])

    @property
    def pictures(self) -> int:
        """Pixels along a side of the first stage's pictures."""
        return int(self.args(JOINT)["sample_size"]) * 2 ** (len(self.args("vae")["block_out_channels"]) - 1)


def size(name: str) -> Size:
    """Of "official", or of "tiny", which differs from it in its numbers alone."""
    networks = {key: json.loads((NETWORKS / f"{stem}.json").read_text()) for key, stem in _FILES.items()}
    if name == "official":
        return Size(networks, (8_000, 12_000))
    return Size({key: {**one, "args": {**one["args"], **_TINY[key]}} for key, one in networks.items()}, (900,))


class Drawn(Checkpoint):
    """Random weights in place of the official files.

    Args:
        device: where they are drawn; on "meta" they have no numbers.
        torso: what the networks that may run in half precision run in.
    """

    def __init__(self, size: Size, device: str, torso: torch.dtype) -> None:
        self._size, self._device, self._torso = size, device, torso
        joint = size.args(JOINT)
        side, image = joint["resolution"], joint["sample_size"]
        structure = (1, joint["trellis_in_channels"], side, side, side)
        self.first_shapes = (structure, (10, joint["out_channels"], image, image))
        self.clip_pictures = _clip_pictures(int(size.args("image_encoder")["image_size"]))
        self.latent_sampling = Sampling(1e-5, 3.0, (0.5, 1.0))
        self.mean, self.std = torch.zeros(8), torch.ones(8)
        self.resolution = size.resolution

    def prompts(self) -> None:
        """None: the text encoder runs."""

    def load(self, key: str, torso: torch.dtype) -> nn.Module:
        network = self._skeleton(key)
        tensors = self._drawn(network, "cpu" if key == _PROMPTS and self._device != "meta" else self._device)
        dtype = torch.float32 if key in (ENCODER, _PROMPTS) else self._torso
        return load(key, self._size.args(key), tensors, dtype) if key in LIBRARIES else fill(network, tensors, dtype)

    def _skeleton(self, key: str) -> nn.Module:
        args = self._size.args(key)
        with torch.device("meta"):
            if key in LIBRARIES:
                return LIBRARIES[key].build({name: args[name] for name in LIBRARIES[key].keys if name in args})
            if key == JOINT:
                return CrossSpaceModel(**args)
            return VisionTransformer(**args) if key == ENCODER else build(self._size.networks[key])

    def _drawn(self, network: nn.Module, device: str) -> dict[str, Tensor]:
        derived = getattr(network, "DERIVED", ())
        shapes = {name: value.shape for name, value in network.state_dict().items() if name not in derived}
        tensors = {name: torch.empty(shape, device=device) for name, shape in shapes.items()}
        if device != "meta":
            generator = torch.Generator(device).manual_seed(0)
            for name, value in tensors.items():
                draw(name, value, generator)
        return tensors


def _clip_pictures(side: int) -> ClipPictures:
    return ClipPictures(side, (side, side), 3, (0.481, 0.458, 0.408), (0.269, 0.261, 0.276))
