"""On an NVIDIA card: every optional kernel agrees with plain torch, and every network with itself on the CPU."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from torch import Tensor

from networks.ops.attention import Backend as Attention
from networks.ops.attention import segment_attention
from networks.ops.segments import Segments
from networks.ops.sparse_conv import Backend as Convolution
from networks.ops.sparse_conv import copied_conv, sparse_conv, subdivided_conv
from networks.ops.voxels import Voxels
from networks.precision import set_torso
from tests.networks.drawing import normal, random_coords, tiny

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA card")

COORDS = random_coords([60, 1, 90], 6)
HALF = 2e-2  # relative L2


def relative(ours: Tensor, theirs: Tensor) -> float:
    return float((ours.float().cpu() - theirs.float().cpu()).norm() / theirs.float().norm())


@pytest.mark.parametrize("backend", ["varlen", "xformers"])
def test_fused_attention_agrees_with_plain(backend: Attention) -> None:
    if backend == "xformers" and find_spec("xformers") is None:
        pytest.skip("xformers is not installed")
    segments = Segments((5, 130, 1, 64), "cuda")
    q, k, v = normal(3, segments.rows, 2, 32).to("cuda", torch.float16)
    plain = segment_attention(q, k, v, segments, "plain")
    assert relative(segment_attention(q, k, v, segments, backend), plain) < HALF


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("backend", ["plain", "triton", "spconv"])
def test_every_sparse_convolution_agrees_with_the_one_on_the_cpu(backend: Convolution, dtype: torch.dtype) -> None:
    if backend != "plain" and find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    x, weight, bias = normal(len(COORDS), 24), normal(40, 3, 3, 3, 24, seed=1) / 25, normal(40, seed=2)
    wanted = sparse_conv(x, weight, bias, Voxels(COORDS), "plain")
    ours = sparse_conv(*(part.to("cuda", dtype) for part in (x, weight, bias)), Voxels(COORDS.cuda()), backend)
    assert relative(ours, wanted) < (HALF if dtype is torch.float16 or backend == "spconv" else 1e-5)


def test_folded_and_copied_convolutions_agree_with_those_on_the_cpu() -> None:
    voxels, there = Voxels(COORDS), Voxels(COORDS.cuda())
    parts = normal(len(COORDS), 24), normal(40, 3, 3, 3, 24, seed=1) / 25, normal(40, seed=2)
    on_card = [part.cuda() for part in parts]
    assert relative(subdivided_conv(*on_card, there), subdivided_conv(*parts, voxels)) < 1e-5
    coarse, few = voxels.coarse, normal(len(voxels.coarse.voxels), 24)
    ours = copied_conv(few.cuda(), there.coarse.parent, *on_card[1:], there)
    assert relative(ours, copied_conv(few, coarse.parent, *parts[1:], voxels)) < 1e-5


RUNS: dict[str, Callable[[Any, str], Tensor]] = {
    "sparse_structure_flow_model": lambda network, to: network(
        normal(2, 8, 4, 4, 4).to(to), torch.tensor([800.0, 300.0], device=to), normal(2, 9, 24, seed=1).to(to)
    ),
    "sparse_structure_decoder": lambda network, to: network(normal(2, 8, 4, 4, 4).to(to)),
    "slat_flow_model": lambda network, to: network(
        normal(151, 8).to(to), Voxels(COORDS.to(to)), torch.full((3,), 500.0, device=to), normal(2, 9, 24).to(to), 2
    ),
    "slat_decoder_gs": lambda network, to: network(normal(151, 8).to(to), Voxels(COORDS.to(to))),
    "slat_decoder_rf": lambda network, to: network(normal(151, 8).to(to), Voxels(COORDS.to(to))),
    "slat_decoder_mesh": lambda network, to: network(normal(151, 8).to(to), Voxels(COORDS.to(to)), 1024)[0],
    "image_encoder": lambda network, to: network(normal(2, 3, 56, 56).to(to)),
}


@pytest.mark.parametrize("key", RUNS)
@pytest.mark.parametrize(("dtype", "allowed"), [(torch.float32, 1e-3), (torch.float16, HALF), (torch.bfloat16, HALF)])
def test_a_network_says_on_the_card_what_it_says_on_the_cpu(key: str, dtype: torch.dtype, allowed: float) -> None:
    network = tiny(key)
    wanted = RUNS[key](network, "cpu")
    set_torso(network.cuda(), dtype)
    ours = RUNS[key](network, "cuda")
    assert ours.dtype == torch.float32
    assert relative(ours, wanted) < allowed
