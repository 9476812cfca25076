"""The mesh decoder's short cuts give what its layers say."""

from typing import cast

import pytest
import torch
from torch import Tensor
from torch.nn.functional import group_norm, silu

from networks.ops.sparse_conv import sparse_conv
from networks.ops.voxels import Voxels
from networks.trellis.slat_decoder_mesh import SLatMeshDecoder, SubdivideBlock
from tests.networks.drawing import drawn, normal, random_coords, tiny

VOXELS = Voxels(random_coords([20, 7], 5))


def normed(x: Tensor, voxels: Voxels, weight: Tensor, bias: Tensor) -> Tensor:
    parts = [group_norm(x[span].T[None], 32, weight, bias)[0].T for span in voxels.segments.spans()]
    return silu(torch.cat(parts))


def test_a_block_is_its_layers_on_features_copied_to_the_children() -> None:
    block = drawn(SubdivideBlock(64, 32)).requires_grad_(False)
    x, children = normal(len(VOXELS), 64), VOXELS.subdivided()
    w = block.state_dict()
    h = normed(x, VOXELS, w["act_layers.0.weight"], w["act_layers.0.bias"]).repeat_interleave(8, dim=0)
    h = sparse_conv(h, w["out_layers.0.conv.weight"], w["out_layers.0.conv.bias"], children)
    h = normed(h, children, w["out_layers.1.weight"], w["out_layers.1.bias"])
    h = sparse_conv(h, w["out_layers.3.conv.weight"], w["out_layers.3.conv.bias"], children)
    skip = x.repeat_interleave(8, dim=0) @ w["skip_connection.conv.weight"].view(64, 32)
    wanted = h + skip + w["skip_connection.conv.bias"]
    assert (block(x, VOXELS, children) - wanted).abs().max() < 1e-5


@pytest.fixture(scope="module")
def decoder() -> SLatMeshDecoder:
    return cast(SLatMeshDecoder, tiny("slat_decoder_mesh"))


@pytest.mark.parametrize("rows", [8, 200, 64 * 27, 10**6])
def test_runs_of_rows_give_the_whole(decoder: SLatMeshDecoder, rows: int) -> None:
    """But for the last bits of matrix products, whose order of addition depends on how many rows there are."""
    x = normal(len(VOXELS), 8)
    whole, fine = decoder(x, VOXELS)
    assert whole.shape == (64 * len(VOXELS), 101)
    assert torch.equal(fine.coords, VOXELS.subdivided().subdivided().coords)
    runs, _ = decoder(x, VOXELS, rows)
    assert runs.shape == whole.shape and (runs - whole).abs().max() < 1e-6 * whole.abs().max()
    assert rows < len(fine) or torch.equal(runs, whole)


def test_objects_of_a_batch_do_not_meet(decoder: SLatMeshDecoder) -> None:
    x = normal(len(VOXELS), 8)
    whole, _ = decoder(x, VOXELS)
    alone, fine = decoder(x[:20], Voxels(VOXELS.coords[:20]))
    assert len(fine) == 64 * 20
    assert (whole[: 64 * 20] - alone).abs().max() < 1e-5 * alone.abs().max()
