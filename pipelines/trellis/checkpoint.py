"""The official checkpoint folder: which networks it names, with what numbers, and their weights.

pipeline.json               names of the networks, samplers' defaults, normalisation of the latent
ckpts/<name>.json           {"name": class, "args": {…}}
ckpts/<name>.safetensors
"""

from collections.abc import Mapping

import torch
from torch import nn

from networks.trellis import build
from networks.weights import fill, read_tensors
from pipelines.slat.checkpoint import ENCODER, OfficialFiles
from pipelines.slat.sampling import sampling
from pipelines.weights import Sources

FAMILY = "trellis"
REPOSITORY = "microsoft/TRELLIS-image-large"


class Checkpoint(OfficialFiles):
    """The files of one model, found and named; nothing is read but their numbers.

    Attributes:
        structure_sampling: of the structure's latent.
    """

    def __init__(self, sources: Sources) -> None:
        super().__init__(FAMILY, sources)
        index = self._read(f"{REPOSITORY}/pipeline.json")
        with self._checked(f"{REPOSITORY} is not as expected"):
            args = index["args"]
            self._stems: Mapping[str, str] = args["models"]
            self.structure_sampling = sampling(args["sparse_structure_sampler"])
            self.latent_sampling = sampling(args["slat_sampler"])
            flow = self._read(self._file("sparse_structure_flow_model", ".json"))["args"]
            self.first_shapes = ((1, flow["in_channels"], *[flow["resolution"]] * 3),)
            self.resolution = int(self._read(self._file("slat_decoder_mesh", ".json"))["args"]["resolution"])
            self.mean, self.std = (torch.tensor(args["slat_normalization"][name]) for name in ("mean", "std"))

    @property
    def networks(self) -> list[str]:
        """Keys of `load`."""
        return [*self._stems, ENCODER]

    def _load(self, key: str, torso: torch.dtype) -> nn.Module:
        with torch.device("meta"):
            network = build(self._read(self._file(key, ".json")))
        return fill(network, read_tensors(self._path(self._file(key, ".safetensors"))), torso)

    def _file(self, key: str, suffix: str) -> str:
        return f"{REPOSITORY}/{self._stems[key]}{suffix}"
