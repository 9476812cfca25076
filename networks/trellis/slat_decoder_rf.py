"""The decoder from structured latents to a radiance field of one low-rank volume a voxel.

Agrees with SLatRadianceFieldDecoder of microsoft/TRELLIS, commit 6b0d647.
Letters: N voxels, K rank, D samples along an axis.
"""

from typing import Any, NamedTuple

from torch import Tensor, nn

from networks.ops.voxels import Voxels
from networks.trellis.slat_trunk import SLatDecoder


class RadianceField(NamedTuple):
    """Of one object.

    Attributes:
        position: (N, 3) centres of the voxels in [0, 1]^3.
        trivec: (N, K, 3, D) factors along the axes.
        density: (N, K); features_dc: (N, K, 1, 3).
    """

    position: Tensor
    trivec: Tensor
    density: Tensor
    features_dc: Tensor


class SLatRadianceFieldDecoder(SLatDecoder):
    """A radiance field in every voxel. Constructor arguments as in the official configuration."""

    def __init__(self, **config: Any) -> None:
        super().__init__(**config)
        self.rank, self.dim = int(self.representation_config["rank"]), int(self.representation_config["dim"])
        self.out_layer = nn.Linear(self.model_channels, self.rank * (3 * self.dim + 1 + 3))

    def forward(self, x: Tensor, voxels: Voxels) -> Tensor:
        """(N, K (3 D + 4)) raw features of (N, latent_channels) latents; `field_of` takes them apart."""
        result: Tensor = self.out_layer(self.normed(x, voxels))
        return result

    def field_of(self, raw: Tensor, coords: Tensor) -> RadianceField:
        """Of one object's raw features and its voxels (N, 3)."""
        trivec, density, colour = raw.split([self.rank * 3 * self.dim, self.rank, self.rank * 3], dim=1)
        return RadianceField(
            (coords.float() + 0.5) / self.resolution,
            trivec.view(-1, self.rank, 3, self.dim) + 1,
            density,
            colour.reshape(-1, self.rank, 1, 3),
        )
