"""A model's official files, found and named: networks from their numbers, weights by name."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from configs import NETWORKS
from networks.dinov2 import VisionTransformer
from networks.weights import WeightsMismatch, fill, read_tensors
from pipelines.errors import PipelineUnavailable
from pipelines.slat.sampling import Sampling
from pipelines.weights import Sources, require
from pipelines.weights.catalog import command
from pipelines.weights.construction import construction

ENCODER = "image_cond_model"
_ENCODER_FILE = "facebook/dinov2/dinov2_vitl14_reg4_pretrain.pth"


class OfficialFiles(ABC):
    """Of one family and the image encoder, which all of these models use; nothing is read before it is needed.

    Attributes:
        first_shapes: of the first stage's latents, in the order that their noise is drawn.
        resolution: voxels along a side of the decoded structure; 64 in the official files.
        latent_sampling: of the structured latent.
        mean, std: (C,) of the structured latent.

    Raises:
        PipelineUnavailable: a file is missing or is not what it should be; the message names the remedy.
    """

    first_shapes: tuple[tuple[int, ...], ...]
    resolution: int
    latent_sampling: Sampling
    mean: Tensor
    std: Tensor

    def __init__(self, family: str, sources: Sources) -> None:
        self._found = require(family, sources)
        self._remedy = f"`{command(family)}` fetches them, `python -m pipelines.weights verify {family}` checks them"

    def load(self, key: str, torso: torch.dtype) -> nn.Module:
        """A network on the CPU, in evaluation mode.

        Raises:
            PipelineUnavailable: its files do not fit together.
        """
        with self._checked(f"the weights of {key} cannot be used"):
            return self._encoder() if key == ENCODER else self._load(key, torso)

    @abstractmethod
    def _load(self, key: str, torso: torch.dtype) -> nn.Module:
        """Any network but the image encoder."""

    def _encoder(self) -> nn.Module:
        numbers = NETWORKS / "dinov2" / "vitl14_reg4.json"
        path = self._path(_ENCODER_FILE)
        with torch.device("meta"):
            network = VisionTransformer(**construction(path, otherwise=numbers).args)
        return fill(network, read_tensors(path))  # float32 throughout, as the reference runs it

    @contextmanager
    def _checked(self, what: str) -> Iterator[None]:
        """Whatever a file is not, as it should be, is told with its remedy."""
        try:
            yield
        except (WeightsMismatch, AttributeError, KeyError, TypeError, ValueError) as error:
            said = repr(error) if isinstance(error, KeyError) else str(error)  # which says no more than a name
            raise PipelineUnavailable(f"{what}: {said}; {self._remedy}") from error

    def _path(self, name: str) -> Path:
        return self._found.files[name]

    def _read(self, name: str) -> dict[str, Any]:
        try:
            content: dict[str, Any] = json.loads(self._path(name).read_text())
        except (OSError, ValueError) as error:
            raise PipelineUnavailable(f"{name} cannot be read: {error}; {self._remedy}") from error
        return content
