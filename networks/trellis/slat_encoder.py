"""The encoder from image features on voxels to structured latents. Training's half; image to 3D does not need it.

Agrees with SLatEncoder of microsoft/TRELLIS, commit 6b0d647.
Letters: N voxels.
"""

from typing import Any

from torch import Tensor, nn

from networks.ops.voxels import Voxels
from networks.trellis.slat_trunk import SLatTrunk


class SLatEncoder(SLatTrunk):
    """Mean and log-variance, each (N, latent_channels), of (N, in_channels) features."""

    def __init__(
        self, resolution: int, in_channels: int, model_channels: int, latent_channels: int, **trunk: Any
    ) -> None:
        super().__init__(in_channels, model_channels, **trunk)
        self.out_layer = nn.Linear(model_channels, 2 * latent_channels)

    def forward(self, x: Tensor, voxels: Voxels) -> tuple[Tensor, Tensor]:
        mean, logvar = self.out_layer(self.normed(x, voxels)).chunk(2, dim=1)
        return mean, logvar
