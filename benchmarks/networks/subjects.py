"""What is measured: networks with random weights, and a closed shell of voxels for them to work on.

Letters: N voxels, R voxels along a side of the grid.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool3d

from configs import NETWORKS
from networks.dinov2 import VisionTransformer
from networks.precision import set_torso
from networks.trellis import build

ENCODER = "image_cond_model"
_MARGIN = 0.2  # voxels
_TRANSFORMER = {"model_channels": 128, "num_blocks": 2, "num_heads": 2}
_TINY: dict[str, dict[str, Any]] = {
    ENCODER: {"img_size": 56, "embed_dim": 128, "depth": 2, "num_heads": 2},
    "sparse_structure_flow_model": {**_TRANSFORMER, "cond_channels": 128, "resolution": 8},
    "sparse_structure_decoder": {"channels": [32, 16, 8], "num_res_blocks": 1, "num_res_blocks_middle": 1},
    "slat_flow_model": {**_TRANSFORMER, "cond_channels": 128, "io_block_channels": [32], "resolution": 16},
    "slat_decoder_gs": {**_TRANSFORMER, "resolution": 16},
    "slat_decoder_rf": {**_TRANSFORMER, "resolution": 16},
    "slat_decoder_mesh": {**_TRANSFORMER, "model_channels": 256, "resolution": 16},
}


@dataclass(frozen=True)
class Size:
    """The networks' configurations, and how fine the structure is.

    Attributes:
        networks: key of the pipeline → {"name": class, "args": constructor arguments}.
        resolution: R.
        voxels: about so many, unless told otherwise.
        sampler: the official file's times and guidance.
    """

    networks: Mapping[str, Mapping[str, Any]]
    resolution: int
    voxels: int
    sampler: Mapping[str, Any]

    @property
    def tokens(self) -> tuple[int, int]:
        """How many tokens a picture becomes, and their channels."""
        args = self.networks[ENCODER]["args"]
        patches = (args["img_size"] // args["patch_size"]) ** 2
        return 1 + args["num_register_tokens"] + patches, args["embed_dim"]


def size(name: str) -> Size:
    """Of "official", or of "tiny", which differs from it in its numbers alone."""
    index = _read("trellis/pipeline")["args"]
    networks = {key: _read(f"trellis/{Path(stem).name}") for key, stem in index["models"].items()}
    networks[ENCODER] = _read("dinov2/vitl14_reg4")
    sampler = index["slat_sampler"]["params"]
    if name == "official":
        return Size(networks, 64, 20_000, sampler)
    smaller = {key: {**config, "args": {**config["args"], **_TINY[key]}} for key, config in networks.items()}
    return Size(smaller, 16, 900, sampler)


def _read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((NETWORKS / f"{name}.json").read_text())
    return content


def network(config: Mapping[str, Any], device: str, torso: torch.dtype, blocks: int | None = None) -> Any:
    """One of these configurations with random weights, in evaluation mode.

    Args:
        torso: what its torso runs in; the image encoder is float32 throughout, as in the pipeline.
        blocks: fewer transformer blocks than it has.
    """
    made = skeleton(config, blocks)
    set_torso(made, torch.float32 if isinstance(made, VisionTransformer) else torso)
    made.to_empty(device=device)
    generator = torch.Generator(device).manual_seed(0)
    with torch.no_grad():
        for name, value in (*made.named_parameters(), *made.named_buffers()):
            draw(name, value, generator)
    return made.requires_grad_(False).eval()


def skeleton(config: Mapping[str, Any], blocks: int | None = None) -> nn.Module:
    """The network on the meta device: shapes without numbers."""
    args = dict(config["args"])
    for name in {"num_blocks", "depth"} & args.keys():
        args[name] = min(blocks or args[name], args[name])
    with torch.device("meta"):
        if config["name"] == "DinoVisionTransformer":
            return VisionTransformer(**args)
        return build({"name": config["name"], "args": args}).to("meta")  # its buffer of positions too


def draw(name: str, value: Tensor, generator: torch.Generator) -> None:
    """Weights that keep activations at about one, so that a half-precision torso does not overflow."""
    if value.ndim > 1 and not name.endswith("gamma"):
        reach = math.sqrt(3 * len(value) / value.numel())
        value.uniform_(-reach, reach, generator=generator)
    elif name.endswith("bias"):
        value.uniform_(-0.1, 0.1, generator=generator)
    else:
        value.fill_(1)


def shell(resolution: int, wanted: int) -> tuple[Tensor, float]:
    """The (N, 3) voxels at a sphere's surface, about as many as wanted; and the sphere's radius, in voxels.

    They have as many neighbours (17 of 27, themselves included) as the structures that the model makes of pictures.

    Raises:
        ValueError: a shell of so many does not fit into the grid.
    """
    side = torch.arange(resolution + 1) - resolution / 2
    corners = torch.cartesian_prod(side, side, side).norm(dim=1).view(1, 1, *[resolution + 1] * 3)
    farthest, nearest = max_pool3d(corners, 2, 1)[0, 0], -max_pool3d(-corners, 2, 1)[0, 0]

    def touched(radius: float) -> Tensor:
        return (nearest < radius + _MARGIN) & (farthest > radius - _MARGIN)

    low, high = 1.0, resolution / 2 - 1
    if not 100 <= wanted <= int(touched(high).sum()):
        raise ValueError(f"voxels is {wanted}; a grid of {resolution} has room for 100 to {int(touched(high).sum())}")
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (low, middle) if int(touched(middle).sum()) >= wanted else (middle, high)
    return torch.nonzero(touched(high)), high
