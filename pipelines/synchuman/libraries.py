"""The three networks that others' libraries have: CLIP's two encoders, and the autoencoder of the image latents.

Each is built from its own `config.json`, without a network and on the meta device, and filled by name. Names have
changed over the years; those of older files are read too.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from networks.weights import fill

Config = Mapping[str, Any]
Tensors = Mapping[str, Tensor]

_TRANSFORMER = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "hidden_act",
    "layer_norm_eps",
    "projection_dim",
)
_VISION = (*_TRANSFORMER, "image_size", "patch_size", "num_channels")
_TEXT = (*_TRANSFORMER, "vocab_size", "max_position_embeddings")
_VAE = (
    "in_channels",
    "out_channels",
    "down_block_types",
    "up_block_types",
    "block_out_channels",
    "layers_per_block",
    "act_fn",
    "latent_channels",
    "mid_block_add_attention",
    "norm_num_groups",
    "sample_size",
    "scaling_factor",
)
_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}  # older name → newer


class Library(NamedTuple):
    """
    Attributes:
        build: a network of the numbers in its configuration.
        keys: those numbers; all else there is of training, or of the library's version.
        renamed: the tensors of a file under the names of that network.
    """

    build: Callable[[dict[str, Any]], nn.Module]
    keys: tuple[str, ...]
    renamed: Callable[[Tensors, nn.Module], dict[str, Tensor]]


def load(name: str, config: Config, tensors: Tensors, dtype: torch.dtype = torch.float32) -> nn.Module:
    """One of LIBRARIES on the CPU, in evaluation mode.

    Args:
        config: of its `config.json`.
        dtype: what all of it runs in.
    Raises:
        WeightsMismatch: the tensors do not belong to it.
        ValueError: the configuration describes no such network.
    """
    library = LIBRARIES[name]
    numbers = {key: config[key] for key in library.keys if config.get(key) is not None}
    try:
        with torch.device("meta"):
            network = library.build(numbers)
    except Exception as error:  # the libraries have kinds of their own
        raise ValueError(f"the configuration of {name} describes no network: {error}") from error
    filled = fill(network, library.renamed(tensors, network))
    for module in network.modules():
        if isinstance(positions := getattr(module, "position_ids", None), Tensor):
            module.position_ids = torch.arange(positions.shape[1])[None]  # no file needs to have them
    return nn.Module.to(filled, dtype)  # the libraries' own warns of what only their training does


def _image_encoder(numbers: dict[str, Any]) -> nn.Module:
    from transformers.models.clip.configuration_clip import CLIPVisionConfig
    from transformers.models.clip.modeling_clip import CLIPVisionModelWithProjection

    return CLIPVisionModelWithProjection(CLIPVisionConfig(**numbers))


def _text_encoder(numbers: dict[str, Any]) -> nn.Module:
    from transformers.models.clip.configuration_clip import CLIPTextConfig
    from transformers.models.clip.modeling_clip import CLIPTextModel

    return CLIPTextModel(CLIPTextConfig(**numbers))


def _vae(numbers: dict[str, Any]) -> nn.Module:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    return AutoencoderKL(**numbers)


def _clip_names(tensors: Tensors, network: nn.Module) -> dict[str, Tensor]:
    """Without positions, and with a first part that some versions of the library leave out if this one has it."""
    outer = "text_model."
    ours = outer if any(name.startswith(outer) for name in network.state_dict()) else ""
    named = {name.removeprefix(outer): name for name in tensors if not name.endswith(".position_ids")}
    plain = ("vision_model.", "visual_projection.")
    return {(name if name.startswith(plain) else ours + name): tensors[was] for name, was in named.items()}


def _vae_names(tensors: Tensors, network: nn.Module) -> dict[str, Tensor]:
    """With the newer names of its attention, which also were convolutions once."""
    renamed = {}
    for name, tensor in tensors.items():
        stem, _, kind = name.rpartition(".")
        block, _, last = stem.rpartition(".")
        if ".attentions." in name and last in _ATTENTION:
            name = f"{block}.{_ATTENTION[last]}.{kind}"
        is_matrix = ".attentions." in name and ".to_" in name and tensor.ndim == 4 and tensor.shape[2:] == (1, 1)
        renamed[name] = tensor.flatten(1) if is_matrix else tensor
    return renamed


LIBRARIES: dict[str, Library] = {
    "image_encoder": Library(_image_encoder, _VISION, _clip_names),
    "text_encoder": Library(_text_encoder, _TEXT, _clip_names),
    "vae": Library(_vae, _VAE, _vae_names),
}
