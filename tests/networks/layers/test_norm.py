"""Norms compute in float32 whatever they are given, and give back that type."""

import pytest
import torch
from torch import nn

from networks.layers.norm import ChannelLayerNorm, HeadRMSNorm, LayerNorm, SegmentGroupNorm
from networks.ops.segments import Segments
from tests.networks.drawing import drawn, normal


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    ("norm", "shape", "more"),
    [
        (LayerNorm(6, affine=True), (30, 6), ()),
        (ChannelLayerNorm(6), (2, 6, 3, 4, 5), ()),
        (HeadRMSNorm(3, 2), (30, 3, 2), ()),
        (SegmentGroupNorm(2, 6), (30, 6), (Segments((10, 20)),)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_half_precision_loses_one_rounding_only(
    norm: nn.Module, shape: tuple[int, ...], more: tuple[object, ...], dtype: torch.dtype
) -> None:
    x = (200 + 50 * normal(*shape)).to(dtype)  # squares of these overflow half precision
    with torch.no_grad():
        result, wanted = drawn(norm)(x, *more), norm(x.float(), *more)
    assert result.dtype == dtype and torch.equal(result, wanted.to(dtype))


def test_a_layer_norm_of_channels_looks_at_one_voxel() -> None:
    norm, x = drawn(ChannelLayerNorm(6)), normal(2, 6, 3, 4, 5)
    voxel = x[1, :, 2, 0, 3]
    wanted = (voxel - voxel.mean()) / (voxel.var(unbiased=False) + 1e-5).sqrt() * norm.weight + norm.bias
    assert torch.allclose(norm(x)[1, :, 2, 0, 3], wanted, atol=1e-6)


def test_a_head_has_the_length_of_its_gains() -> None:
    norm, x = drawn(HeadRMSNorm(3, 4)), normal(5, 3, 4)
    wanted = x / x.norm(dim=2, keepdim=True) * norm.gamma * 2
    assert torch.allclose(norm(x), wanted, atol=1e-6)
    assert torch.equal(norm(torch.zeros(1, 3, 4)), torch.zeros(1, 3, 4))
