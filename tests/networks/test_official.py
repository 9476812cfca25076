"""The networks have exactly the tensors of the published files, in shape and in what is half precision."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from configs import NETWORKS
from networks.dinov2 import VisionTransformer
from networks.precision import torso_modules
from networks.synchuman import mv_decoders
from networks.synchuman.cross_space_model import CrossSpaceModel
from networks.trellis import build
from tests.networks.drawing import CONFIGS

FIXTURES = Path(__file__).parents[1] / "fixtures"
# File → tensor → type and shape; "blocks.0-23" stands for 24 names.
OFFICIAL = json.loads((FIXTURES / "trellis" / "official_tensors.json").read_text())
# The same of SyncHuman, of whose files the types are not known.
SYNCHUMAN = json.loads((FIXTURES / "synchuman" / "official_tensors.json").read_text())
FILES = sorted((NETWORKS / "trellis").glob("*_fp16.json"))
ENCODER = "dinov2_vitl14_reg4_pretrain"


def names(entry: str) -> Iterator[str]:
    """All names that an entry of the table stands for."""
    if span := re.search(r"(?<=\.)(\d+)-(\d+)(?=\.)", entry):
        for index in range(int(span[1]), int(span[2]) + 1):
            yield from names(f"{entry[: span.start()]}{index}{entry[span.end() :]}")
    else:
        yield entry


def official(file: str) -> dict[str, tuple[str, tuple[int, ...]]]:
    table = {}
    for entry, told in OFFICIAL[file].items():
        dtype, shape = told.split()
        table |= {name: (dtype, tuple(map(int, shape.split("x")))) for name in names(entry)}
    return table


def synchuman(file: str) -> dict[str, tuple[int, ...]]:
    table = SYNCHUMAN[file]
    return {name: tuple(map(int, shape.split("x"))) for entry, shape in table.items() for name in names(entry)}


def shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in network.state_dict().items()}


def test_every_published_file_has_its_configuration() -> None:
    assert {path.stem for path in FILES} | {ENCODER} == set(OFFICIAL)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_names_shapes_and_precision_are_those_of_the_file(path: Path) -> None:
    with torch.device("meta"):
        network = build(json.loads(path.read_text()))
    wanted = official(path.stem)
    assert shapes(network) == {name: shape for name, (_, shape) in wanted.items()}
    torso = {id(parameter) for layer in torso_modules(network) for parameter in layer.parameters()}
    halves = {name for name, parameter in network.named_parameters() if id(parameter) in torso}
    assert halves == {name for name, (dtype, _) in wanted.items() if dtype == "F16"}


def test_the_image_encoder_has_the_names_and_shapes_of_its_file() -> None:
    config = json.loads((NETWORKS / "dinov2" / "vitl14_reg4.json").read_text())
    with torch.device("meta"):
        network = VisionTransformer(**config["args"])
    assert shapes(network) == {name: shape for name, (_, shape) in official(ENCODER).items()}


def autoencoder(config: dict[str, Any]) -> nn.Module:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    return AutoencoderKL(**config["args"])


def clip(config: dict[str, Any]) -> nn.Module:
    from transformers.models.clip.configuration_clip import CLIPVisionConfig
    from transformers.models.clip.modeling_clip import CLIPVisionModelWithProjection

    return CLIPVisionModelWithProjection(CLIPVisionConfig(**config["args"]))


SYNCHUMAN_NETWORKS: dict[str, tuple[str, Callable[[dict[str, Any]], nn.Module]]] = {
    "SyncHuman_2D3DCrossSpaceDiffusion": ("cross_space", lambda config: CrossSpaceModel(**config["args"])),
    "vae": ("vae", autoencoder),
    "image_encoder": ("image_encoder", clip),
    "sparse_structure_decoder": ("sparse_structure_decoder", build),
    "slat_flow": ("slat_flow", build),
    "decoder_Mesh": ("decoder_Mesh", mv_decoders.build),
    "decoder_GS": ("decoder_GS", mv_decoders.build),
}


@pytest.mark.parametrize("file", SYNCHUMAN_NETWORKS)
def test_networks_of_synchuman_have_the_names_and_shapes_of_their_files(file: str) -> None:
    stem, make = SYNCHUMAN_NETWORKS[file]
    with torch.device("meta"):
        network = make(json.loads((NETWORKS / "synchuman" / f"{stem}.json").read_text()))
    assert shapes(network) == synchuman(file)


def test_synchuman_sees_with_the_image_encoder_of_trellis() -> None:
    assert synchuman("dinov2_vitl14_reg") == {name: shape for name, (_, shape) in official(ENCODER).items()}


def test_another_class_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="'SLatTextDecoder'; this project has SparseStructureFlowModel"):
        build({"name": "SLatTextDecoder", "args": {}})


def test_a_prefix_of_training_does_not_matter() -> None:
    config = CONFIGS["slat_decoder_gs"]
    assert shapes(build(config | {"name": f"Elastic{config['name']}"})) == shapes(build(config))


@pytest.mark.parametrize("key", CONFIGS)
def test_an_argument_too_many_or_too_few_is_refused(key: str) -> None:
    config = CONFIGS[key]
    with pytest.raises(ValueError, match="do not fit: .*'rope'"):
        build({**config, "args": config["args"] | {"rope": True}})
    few = {name: value for name, value in config["args"].items() if name != "latent_channels" and name != "in_channels"}
    with pytest.raises(ValueError, match="do not fit: .*missing"):
        build({**config, "args": few})


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("slat_flow_model", {"pe_mode": "rope"}, "pe_mode is 'rope'"),
        ("sparse_structure_flow_model", {"share_mod": True}, "share_mod True"),
        ("sparse_structure_flow_model", {"num_heads": 5}, "model_channels is 32, which 5 heads do not divide"),
        ("sparse_structure_flow_model", {"patch_size": 3}, "resolution is 4, which patch_size 3 does not divide"),
        ("slat_flow_model", {"patch_size": 4}, "patch_size is 4, which needs one of io_block_channels"),
        ("slat_decoder_gs", {"attn_mode": "full"}, "attn_mode is 'full'"),
        ("slat_decoder_mesh", {"pe_mode": "rope"}, "pe_mode 'rope'"),
        ("sparse_structure_decoder", {"norm_type": "group"}, "norm_type is 'group'; only 'layer'"),
    ],
)
def test_numbers_no_checkpoint_has_are_refused(key: str, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build({**CONFIGS[key], "args": CONFIGS[key]["args"] | change})
