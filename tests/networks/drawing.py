"""Random networks and voxels, the same in every run."""

from typing import Any

import torch
from torch import Tensor, nn

from networks.dinov2 import VisionTransformer
from networks.trellis import build
from tests.tiny_trellis import ENCODER, NETWORK_CONFIGS, draw

_STRUCTURE_ENCODER = {"in_channels": 1, "latent_channels": 8, "num_res_blocks": 1, "channels": [8, 16]}
_LATENT_ENCODER = {"resolution": 16, "in_channels": 12, "model_channels": 48, "latent_channels": 8, "num_blocks": 2}
CONFIGS: dict[str, dict[str, Any]] = NETWORK_CONFIGS | {
    "sparse_structure_encoder": {"name": "SparseStructureEncoder", "args": _STRUCTURE_ENCODER},
    "slat_encoder": {"name": "SLatEncoder", "args": _LATENT_ENCODER | {"num_heads": 2}},
}


def tiny(key: str, seed: int = 0) -> nn.Module:
    """A small network of each kind, every parameter drawn so that activations stay at about one."""
    network = VisionTransformer(**ENCODER) if key == "image_encoder" else build(CONFIGS[key])
    return drawn(network, seed).requires_grad_(False).eval()


def drawn(module: nn.Module, seed: int = 0) -> nn.Module:
    """The module with its parameters drawn anew."""
    draw(module, torch.Generator().manual_seed(seed))
    return module


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def random_coords(counts: list[int], side: int, seed: int = 0) -> Tensor:
    """(N, 4) int32 of so many voxels of each object in a grid of `side`^3, those of an object in any order."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for item, count in enumerate(counts):
        cells = torch.randperm(side**3, generator=generator)[:count]
        place = [torch.full_like(cells, item), cells // side**2, cells // side % side, cells % side]
        rows.append(torch.stack(place, dim=1))
    return torch.cat(rows).int()
