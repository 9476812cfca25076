"""The official checkpoint folder: which networks it names, with what numbers, and their weights.

ckpts/OneStage/pipeline_config.json      classes and folders of the first stage's networks
ckpts/OneStage/<folder>/config.json      their numbers; weights beside them
ckpts/SecondStage/pipeline.json          names of the second stage's networks, sampler's defaults, normalisation
ckpts/SecondStage/<name>/config.json     {"name": class, "args": {…}}; model.safetensors beside it
"""

from typing import Any

import torch
from torch import Tensor, nn

from networks.synchuman.cross_space_model import CrossSpaceModel
from networks.synchuman.mv_decoders import build
from networks.trellis.sparse_structure_vae import SparseStructureDecoder
from networks.weights import fill, read_tensors
from pipelines.slat.checkpoint import OfficialFiles
from pipelines.slat.sampling import sampling
from pipelines.synchuman import libraries
from pipelines.synchuman.conditioning import ClipPictures
from pipelines.synchuman.prompts import stored_embeddings
from pipelines.weights import Sources

FAMILY = "synchuman"
REPOSITORY = "xishushu/SyncHuman"
JOINT, STRUCTURE_DECODER = "cross_space_model", "sparse_structure_decoder"
_FIRST, _SECOND = f"{REPOSITORY}/ckpts/OneStage", f"{REPOSITORY}/ckpts/SecondStage"
# Our key → the class that the index tells the folder of, and the weights in it.
_CLASSES = {
    JOINT: ("SyncHuman_2D3DCrossSpaceDiffusion", "diffusion_pytorch_model.safetensors"),
    "vae": ("AutoencoderKL", "diffusion_pytorch_model.safetensors"),
    "image_encoder": ("CLIPVisionModelWithProjection", "model.safetensors"),
    "text_encoder": ("CLIPTextModel", "model.safetensors"),
    STRUCTURE_DECODER: ("SparseStructureDecoder", "model.safetensors"),
}


class Checkpoint(OfficialFiles):
    """The files of one model, found and named; nothing is read but their numbers.

    Attributes:
        first_shapes: (1, C, S, S, S) of the structure and (10, C, I, I) of the views.
        clip_pictures: how pictures are made ready for the CLIP image encoder.
    """

    def __init__(self, sources: Sources) -> None:
        super().__init__(FAMILY, sources)
        first, second = self._read(f"{_FIRST}/pipeline_config.json"), self._read(f"{_SECOND}/pipeline.json")
        with self._checked(f"{REPOSITORY} is not as expected"):
            named = {part["class"].rpartition(".")[2]: part["subdir"] for part in first["metadata"].values()}
            self._folders = {key: f"{_FIRST}/{named[kind]}" for key, (kind, _) in _CLASSES.items()}
            joint = self._config(JOINT)
            views, size, side = joint.get("num_views", 5), joint["sample_size"], joint.get("resolution", 16)
            structure = (1, joint.get("trellis_in_channels", 8), side, side, side)
            self.first_shapes = (structure, (2 * views, joint["out_channels"], size, size))
            processor = named.get("CLIPFeatureExtractor") or named["CLIPImageProcessor"]  # older name, newer name
            self.clip_pictures = ClipPictures.from_config(self._read(f"{_FIRST}/{processor}/preprocessor_config.json"))
            args = second["args"]
            self._folders |= {key: f"{_SECOND}/{path}" for key, path in args["models"].items()}
            self.latent_sampling = sampling(args["slat_sampler"])
            self.mean, self.std = (torch.tensor(args["slat_normalization"][name]) for name in ("mean", "std"))
            self.resolution = int(self._config("slat_decoder_mesh")["args"]["resolution"])

    def prompts(self) -> Tensor | None:
        """(10, M, C) the fixed prompts' embeddings, where the authors' own files lie beside the networks.

        Raises:
            PipelineUnavailable: they lie there and cannot be used.
        """
        with self._checked("the prompts' embeddings cannot be used"):
            return stored_embeddings(self._path(f"{_FIRST}/pipeline_config.json").parent)

    def _load(self, key: str, torso: torch.dtype) -> nn.Module:
        config, weights = self._config(key), _CLASSES[key][1] if key in _CLASSES else "model.safetensors"
        tensors = read_tensors(self._path(f"{self._folders[key]}/{weights}"))
        if key in libraries.LIBRARIES:
            return libraries.load(key, config, tensors, torso)
        with torch.device("meta"):
            network = _built(key, config)
        return fill(network, tensors, torso)

    def _config(self, key: str) -> dict[str, Any]:
        return self._read(f"{self._folders[key]}/config.json")


def _built(key: str, config: dict[str, Any]) -> nn.Module:
    if key == JOINT:
        return CrossSpaceModel(**config)
    return SparseStructureDecoder(**config["args"]) if key == STRUCTURE_DECODER else build(config)
