"""The decoder from structured latents to 3D Gaussians.

Agrees with SLatGaussianDecoder of microsoft/TRELLIS, commit 6b0d647.
Letters: N voxels, G Gaussians a voxel.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from networks.ops.voxels import Voxels
from networks.trellis.slat_trunk import SLatDecoder


class GaussianParameters(NamedTuple):
    """Of N G Gaussians, before their activations; Gaussian v G + g belongs to voxel v.

    Attributes:
        xyz: (N G, 3) centres in the unit cube [0, 1]^3, final but for the move to its centre.
        features_dc: (N G, 1, 3); scaling: (N G, 3); rotation: (N G, 4); opacity: (N G, 1).
    """

    xyz: Tensor
    features_dc: Tensor
    scaling: Tensor
    rotation: Tensor
    opacity: Tensor


class SLatGaussianDecoder(SLatDecoder):
    """Gaussians around every voxel. Constructor arguments as in the official configuration."""

    offset_perturbation: Tensor

    def __init__(self, **config: Any) -> None:
        super().__init__(**config)
        each = int(self.representation_config["num_gaussians"])
        self._shapes = {"xyz": (each, 3), "features_dc": (each, 1, 3), "scaling": (each, 3), "rotation": (each, 4)}
        self._shapes["opacity"] = (each, 1)
        widths = [torch.Size(shape).numel() for shape in self._shapes.values()]
        self.out_layer = nn.Linear(self.model_channels, sum(widths))
        self._widths = widths
        self.register_buffer("offset_perturbation", torch.zeros(each, 3))

    def forward(self, x: Tensor, voxels: Voxels, condition: Tensor | None = None) -> Tensor:
        """(N, 14 G) raw features of (N, latent_channels) latents; `parameters_of` takes them apart."""
        result: Tensor = self.out_layer(self.normed(x, voxels, condition))
        return result

    def parameters_of(self, raw: Tensor, coords: Tensor) -> GaussianParameters:
        """Of one object's raw features (N, 14 G) and its voxels (N, 3)."""
        config = self.representation_config
        parts = {
            name: part.view(-1, *shape) * config["lr"][f"_{name}"]
            for (name, shape), part in zip(self._shapes.items(), raw.split(self._widths, dim=1), strict=True)
        }
        offset = parts["xyz"] + (self.offset_perturbation if config["perturb_offset"] else 0)
        reach = 0.5 * config["voxel_size"] / self.resolution
        centre = (coords.float() + 0.5) / self.resolution
        parts["xyz"] = centre[:, None] + torch.tanh(offset) * reach
        return GaussianParameters(**{name: part.flatten(0, 1) for name, part in parts.items()})
