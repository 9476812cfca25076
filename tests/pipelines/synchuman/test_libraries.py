"""What the libraries' networks are built from and filled with: official files, old and new."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from networks.weights import WeightsMismatch, read_tensors
from pipelines.synchuman.libraries import LIBRARIES, load
from pipelines.synchuman.prompts import prompt_embeddings, token_ids
from pipelines.weights import Sources, require
from pipelines.weights.catalog import FAMILIES
from tests.tiny_synchuman import LIBRARY_CONFIGS

CONFIGS = {**LIBRARY_CONFIGS, "vae": LIBRARY_CONFIGS["vae"] | {"mid_block_add_attention": True}}
NOISE = {  # of published files: of training, of a version, or of parts that do not run here
    "architectures": ["CLIPModel"],
    "torch_dtype": "float16",
    "transformers_version": "4.25.0.dev0",
    "_class_name": "AutoencoderKL",
    "_diffusers_version": "0.29.1",
    "_name_or_path": "hf-models/x",
    "force_upcast": True,
    "initializer_range": 0.02,
    "attention_dropout": 0.0,
    "shift_factor": None,
    "eos_token_id": 2,
}


def drawn(name: str) -> dict[str, Tensor]:
    """Random tensors under the names that the library has today."""
    generator = torch.Generator().manual_seed(0)
    network = LIBRARIES[name].build(dict(CONFIGS[name]))
    return {
        key: 0.2 * torch.randn(tensor.shape, generator=generator) + (tensor.ndim == 1 and key.endswith("weight"))
        for key, tensor in network.state_dict().items()
    }


def run(name: str, network: Any) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    with torch.inference_mode():
        if name == "text_encoder":
            return prompt_embeddings(network)
        side = CONFIGS["image_encoder"]["image_size"] if name == "image_encoder" else 32
        pixels = torch.randn(2, 3, side, side, generator=generator)
        if name == "image_encoder":
            return network(pixel_values=pixels).image_embeds
        return network.decode(network.encode(pixels).latent_dist.mode()).sample


@pytest.mark.parametrize("name", LIBRARIES)
def test_it_is_built_of_its_own_numbers_alone_and_filled_strictly(name: str) -> None:
    config, tensors = CONFIGS[name], drawn(name)
    network = load(name, config | NOISE, tensors)
    assert not network.training and not any(parameter.requires_grad for parameter in network.parameters())
    assert {parameter.device.type for parameter in [*network.parameters(), *network.buffers()]} == {"cpu"}
    result = run(name, network)
    assert torch.isfinite(result).all() and result.std() > 0.01
    assert torch.equal(run(name, load(name, config, tensors)), result)
    tensors.pop(next(iter(tensors)))
    with pytest.raises(WeightsMismatch, match="missing"):
        load(name, config, tensors)


def test_the_pictures_and_the_prompts_have_the_official_shapes() -> None:
    vision, text = CONFIGS["image_encoder"], CONFIGS["text_encoder"]
    assert run("image_encoder", load("image_encoder", vision, drawn("image_encoder"))).shape[1:] == (
        vision["projection_dim"],
    )
    result = run("text_encoder", load("text_encoder", text, drawn("text_encoder")))
    assert result.shape == (10, 77, text["hidden_size"])
    assert run("vae", load("vae", CONFIGS["vae"], drawn("vae"))).shape == (2, 3, 32, 32)


def test_a_token_knows_only_those_before_it() -> None:
    result = run("text_encoder", load("text_encoder", CONFIGS["text_encoder"], drawn("text_encoder")))
    same = (token_ids()[:, None] == token_ids()[None]).cumprod(dim=2).bool()
    close = (result[:, None] - result[None]).abs().amax(dim=3) < 1e-5
    assert torch.equal(close, same)


@pytest.mark.parametrize("prefix", ["", "text_model."])
@pytest.mark.parametrize("positions", ["", "embeddings.position_ids"])
def test_older_and_newer_names_of_the_text_encoder(prefix: str, positions: str) -> None:
    tensors = {name.removeprefix("text_model."): tensor for name, tensor in drawn("text_encoder").items()}
    if positions:
        tensors[positions] = torch.arange(77)[None]
    named = {prefix + name: tensor for name, tensor in tensors.items()}
    result = run("text_encoder", load("text_encoder", CONFIGS["text_encoder"], named))
    wanted = run("text_encoder", load("text_encoder", CONFIGS["text_encoder"], drawn("text_encoder")))
    assert torch.equal(result, wanted)


@pytest.mark.parametrize("convolutions", [False, True])
def test_older_names_of_the_autoencoders_attention(convolutions: bool) -> None:
    older = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    named = {}
    for name, tensor in drawn("vae").items():
        for new, old in older.items():
            if f".{new}." in name:
                name = name.replace(f".{new}.", f".{old}.")
                tensor = tensor[:, :, None, None] if convolutions and tensor.ndim == 2 else tensor
        named[name] = tensor
    assert named.keys() != drawn("vae").keys()
    result = run("vae", load("vae", CONFIGS["vae"], named))
    assert torch.equal(result, run("vae", load("vae", CONFIGS["vae"], drawn("vae"))))


@pytest.mark.parametrize("name", LIBRARIES)
def test_all_of_it_runs_in_what_is_asked_for(name: str) -> None:
    network: nn.Module = load(name, CONFIGS[name], drawn(name), torch.bfloat16)
    assert {parameter.dtype for parameter in network.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("image_encoder", {"num_attention_heads": 3}),
        ("text_encoder", {"hidden_act": "sigh"}),
        ("vae", {"down_block_types": ["Down"] * 4}),
    ],
)
def test_numbers_of_no_network_are_refused(name: str, change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"the configuration of {name} describes no network"):
        load(name, CONFIGS[name] | change, drawn(name))


def test_they_are_read_from_files_in_the_official_layout(weights: Path) -> None:
    found = require("synchuman", Sources(weights))
    assert set(found.files) == {
        f"{repository.id}/{file.path}" for repository in FAMILIES["synchuman"].repositories for file in repository.files
    }
    for name in LIBRARIES:
        here = {path.suffix: path for key, path in found.files.items() if f"/{name}/" in key}
        network = load(name, json.loads(here[".json"].read_text()), read_tensors(here[".safetensors"]))
        assert torch.isfinite(run(name, network)).all()
