"""The official checkpoint folder: which networks it names, with what numbers, and their weights.

pipeline.json               names of the networks, samplers' defaults, normalisation of the latent
ckpts/<name>.json           {"name": class, "args": {…}}
ckpts/<name>.safetensors
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from configs import NETWORKS
from networks.dinov2 import VisionTransformer
from networks.trellis import build
from networks.weights import WeightsMismatch, fill, read_tensors
from pipelines.errors import PipelineUnavailable
from pipelines.weights import Sources, require
from pipelines.weights.catalog import command
from pipelines.weights.construction import construction

FAMILY = "trellis"
REPOSITORY = "microsoft/TRELLIS-image-large"
ENCODER = "image_cond_model"
_ENCODER_FILE = "facebook/dinov2/dinov2_vitl14_reg4_pretrain.pth"


@dataclass(frozen=True)
class Sampling:
    """What one of the two samplers is told beside steps and strength.

    Attributes:
        interval: times t between which steps are guided.
    """

    sigma_min: float
    rescale_t: float
    interval: tuple[float, float]


class Checkpoint:
    """The files of one model, found and named; nothing is read but their numbers.

    Attributes:
        structure_shape: (1, C, R, R, R) of the structure's latent.
        resolution: voxels along a side of the structure; 64 in the official files.
        mean, std: (C,) of the structured latent.

    Raises:
        PipelineUnavailable: a file is missing or is not what it should be; the message names the remedy.
    """

    def __init__(self, sources: Sources) -> None:
        self._found = require(FAMILY, sources)
        index = self._read(f"{REPOSITORY}/pipeline.json")
        try:
            args = index["args"]
            self._stems: Mapping[str, str] = args["models"]
            self.structure_sampling = _sampling(args["sparse_structure_sampler"])
            self.latent_sampling = _sampling(args["slat_sampler"])
            flow = self._read(self._file("sparse_structure_flow_model", ".json"))["args"]
            self.structure_shape = (1, flow["in_channels"], *[flow["resolution"]] * 3)
            self.resolution = int(self._read(self._file("slat_decoder_mesh", ".json"))["args"]["resolution"])
            self.mean, self.std = (torch.tensor(args["slat_normalization"][name]) for name in ("mean", "std"))
        except (KeyError, TypeError, ValueError) as error:
            raise PipelineUnavailable(f"{REPOSITORY} is not as expected: {error!r}; {_REMEDY}") from error

    @property
    def networks(self) -> list[str]:
        """Keys of `load`."""
        return [*self._stems, ENCODER]

    def load(self, key: str, torso: torch.dtype) -> nn.Module:
        """A network on the CPU, in evaluation mode.

        Raises:
            PipelineUnavailable: its files do not fit together.
        """
        try:
            with torch.device("meta"):
                network = self._encoder() if key == ENCODER else build(self._read(self._file(key, ".json")))
            weights = self._path(_ENCODER_FILE if key == ENCODER else self._file(key, ".safetensors"))
            # The image encoder is float32 throughout, as the reference runs it.
            return fill(network, read_tensors(weights), torch.float32 if key == ENCODER else torso)
        except (WeightsMismatch, ValueError, TypeError, KeyError) as error:
            raise PipelineUnavailable(f"the weights of {key} cannot be used: {error}; {_REMEDY}") from error

    def _encoder(self) -> VisionTransformer:
        numbers = NETWORKS / "dinov2" / "vitl14_reg4.json"
        return VisionTransformer(**construction(self._path(_ENCODER_FILE), otherwise=numbers).args)

    def _file(self, key: str, suffix: str) -> str:
        return f"{REPOSITORY}/{self._stems[key]}{suffix}"

    def _path(self, name: str) -> Path:
        return self._found.files[name]

    def _read(self, name: str) -> dict[str, Any]:
        try:
            content: dict[str, Any] = json.loads(self._path(name).read_text())
        except (OSError, ValueError) as error:
            raise PipelineUnavailable(f"{name} cannot be read: {error}; {_REMEDY}") from error
        return content


_REMEDY = f"`{command(FAMILY)}` fetches them, `python -m pipelines.weights verify {FAMILY}` checks them"


def _sampling(sampler: Mapping[str, Any]) -> Sampling:
    """
    Raises:
        ValueError: the sampler is one that we do not have.
    """
    if sampler["name"] != "FlowEulerGuidanceIntervalSampler":
        raise ValueError(f"the sampler {sampler['name']!r} is not known")
    low, high = sampler["params"]["cfg_interval"]
    return Sampling(float(sampler["args"]["sigma_min"]), float(sampler["params"]["rescale_t"]), (low, high))
