"""The networks of TRELLIS (Xiang et al., "Structured 3D Latents for Scalable and Versatile 3D Generation", 2024).

NETWORKS names them as the official configuration files do; `build` makes one from such a file's content.
"""

from collections.abc import Mapping
from typing import Any

from torch import nn

from networks.trellis.slat_decoder_gs import SLatGaussianDecoder
from networks.trellis.slat_decoder_mesh import SLatMeshDecoder
from networks.trellis.slat_decoder_rf import SLatRadianceFieldDecoder
from networks.trellis.slat_encoder import SLatEncoder
from networks.trellis.slat_flow import SLatFlow
from networks.trellis.sparse_structure_flow import SparseStructureFlow
from networks.trellis.sparse_structure_vae import SparseStructureDecoder, SparseStructureEncoder

NETWORKS: dict[str, type[nn.Module]] = {
    "SparseStructureFlowModel": SparseStructureFlow,
    "SparseStructureDecoder": SparseStructureDecoder,
    "SparseStructureEncoder": SparseStructureEncoder,
    "SLatFlowModel": SLatFlow,
    "SLatGaussianDecoder": SLatGaussianDecoder,
    "SLatRadianceFieldDecoder": SLatRadianceFieldDecoder,
    "SLatMeshDecoder": SLatMeshDecoder,
    "SLatEncoder": SLatEncoder,
}


def build(config: Mapping[str, Any]) -> nn.Module:
    """The network of an official configuration, {"name": class, "args": constructor arguments}.

    Raises:
        ValueError: the class is not known, or an argument cannot be met.
    """
    name = str(config["name"]).removeprefix("Elastic")  # the same network, trained with activation checkpointing
    if name not in NETWORKS:
        raise ValueError(f"the configuration names {name!r}; this project has {', '.join(NETWORKS)}")
    try:
        return NETWORKS[name](**config["args"])
    except TypeError as error:
        raise ValueError(f"the arguments of {name} do not fit: {error}") from None
