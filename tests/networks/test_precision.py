"""In half precision every network stays near what it says in float32, and its ends stay float32."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from networks.layers.norm import ChannelLayerNorm, LayerNorm, SegmentGroupNorm
from networks.ops.voxels import Voxels
from networks.precision import set_torso, torso_dtype, torso_modules
from tests.networks.drawing import normal, random_coords, tiny

VOXELS = Voxels(random_coords([40, 20], 8))
LATENT, COND, T = normal(60, 8), normal(2, 9, 24, seed=1), torch.tensor([800.0, 300.0])
RUNS: dict[str, Callable[[Any], Tensor | tuple[Any, ...]]] = {
    "sparse_structure_flow_model": lambda network: network(normal(2, 8, 4, 4, 4), T, COND),
    "sparse_structure_decoder": lambda network: network(normal(2, 8, 4, 4, 4)),
    "sparse_structure_encoder": lambda network: network(normal(2, 1, 8, 8, 8)),
    "slat_flow_model": lambda network: network(LATENT, VOXELS, T, COND),
    "slat_decoder_gs": lambda network: network(LATENT, VOXELS),
    "slat_decoder_rf": lambda network: network(LATENT, VOXELS),
    "slat_decoder_mesh": lambda network: network(LATENT, VOXELS),
    "slat_encoder": lambda network: network(normal(60, 12), VOXELS),
    "image_encoder": lambda network: network(normal(2, 3, 56, 56)),
}


def tensors(result: Tensor | tuple[Any, ...]) -> list[Tensor]:
    parts = [result] if isinstance(result, Tensor) else result
    return [part for part in parts if isinstance(part, Tensor)]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("key", RUNS)
def test_a_network_in_half_precision_says_nearly_the_same(key: str, dtype: torch.dtype) -> None:
    network = tiny(key)
    wanted = tensors(RUNS[key](network))
    set_torso(network, dtype)
    for ours, theirs in zip(tensors(RUNS[key](network)), wanted, strict=True):
        assert ours.dtype == torch.float32
        error = float((ours - theirs).norm() / theirs.norm())
        assert 0 < error < 2e-2


@pytest.mark.parametrize("key", RUNS)
def test_only_layers_of_the_torso_change_and_they_change_back(key: str) -> None:
    network = tiny(key)
    set_torso(network, torch.bfloat16)
    torso = torso_modules(network)
    halves = {id(parameter) for layer in torso for parameter in layer.parameters()}
    for parameter in network.parameters():
        assert (parameter.dtype == torch.bfloat16) == (id(parameter) in halves)
    assert torso and torso_dtype(network) == torch.bfloat16
    set_torso(network, torch.float32)
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


def test_a_network_without_a_torso_has_no_layers_in_half_precision() -> None:
    assert torso_modules(nn.Linear(2, 2)) == []


def test_norms_of_torchs_own_kind_go_with_the_layers_around_them_and_ours_stay() -> None:
    network = nn.ModuleDict({"torso": nn.ModuleList(), "end": nn.GroupNorm(2, 4)})
    theirs = [nn.Conv2d(4, 4, 3), nn.LayerNorm(4), nn.LayerNorm(4, elementwise_affine=False)]
    ours = [LayerNorm(4, affine=True), SegmentGroupNorm(2, 4), ChannelLayerNorm(4)]
    network["torso"].extend(theirs + ours)
    network.TORSO = ("torso",)
    assert torso_modules(network) == theirs[:2]
    set_torso(network, torch.bfloat16)
    assert {layer.weight.dtype for layer in theirs[:2]} == {torch.bfloat16} == {torso_dtype(network)}
    assert {layer.weight.dtype for layer in [*ours, network["end"]]} == {torch.float32}
