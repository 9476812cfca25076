"""Layers on voxels compute what their checkpoints were trained with, also where that is not the obvious thing."""

import torch

from networks.layers.norm import SegmentGroupNorm
from networks.layers.sparse import PointwiseConv
from networks.ops.segments import Segments
from tests.networks.drawing import drawn, normal


def test_a_pointwise_convolution_reads_the_memory_of_its_weight_as_in_by_out() -> None:
    layer = PointwiseConv(2, 3)
    layer.load_state_dict(
        {"conv.weight": torch.arange(6.0).view(3, 1, 1, 1, 2), "conv.bias": torch.tensor([10, 20, 30.0])}
    )
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, -1.0]])
    # 0 1 2 3 4 5 in memory is the matrix ((0, 1, 2), (3, 4, 5)), not the transpose of ((0, 1), (2, 3), (4, 5)).
    assert layer(x).tolist() == [[10, 21, 32], [13, 24, 35], [7, 18, 29]]


def test_a_group_norm_runs_over_the_rows_of_one_segment() -> None:
    norm, x, segments = drawn(SegmentGroupNorm(2, 6)), 3 * normal(30, 6) + 1, Segments((12, 1, 17))
    ours = norm(x, segments)
    for span in segments.spans():
        for group in (slice(0, 3), slice(3, 6)):
            part = x[span, group].double()
            unit = (part - part.mean()) / (part.var(unbiased=False) + norm.eps).sqrt()
            wanted = unit * norm.weight[group] + norm.bias[group]
            assert (ours[span, group] - wanted).abs().max() < 1e-5
