"""Layers on voxels.

Letters: N voxels, M coarse voxels, C channels in, O channels out.
"""

import torch
from torch import Tensor, nn

from networks.ops.sparse_conv import sparse_conv
from networks.ops.voxels import Coarse, Voxels


class Kernel(nn.Module):
    """The parameters of a sparse convolution: weight (O, k, k, k, C) and bias (O,)."""

    def __init__(self, channels: int, out_channels: int, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, size, size, size, channels))
        self.bias = nn.Parameter(torch.empty(out_channels))
        with torch.no_grad():
            self.weight.uniform_(-1, 1).mul_((channels * size**3) ** -0.5)
            self.bias.zero_()


class SparseConv(nn.Module):
    """A 3^3 submanifold convolution."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = Kernel(channels, out_channels, 3)

    def forward(self, x: Tensor, voxels: Voxels, rows: slice | None = None) -> Tensor:
        return sparse_conv(x, self.conv.weight, self.conv.bias, voxels, rows=rows)


class PointwiseConv(nn.Module):
    """A convolution of kernel size 1.

    The library that trained the checkpoints reads the memory of its (O, 1, 1, 1, C) weight as a (C, O) matrix, which
    is not its transpose. So do we.
    """

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = Kernel(channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(self.conv.bias, x, self.conv.weight.view(x.shape[1], -1))


def pooled(x: Tensor, coarse: Coarse) -> Tensor:
    """(M, C) the sum of each coarse voxel's n children divided by n + 1, as the checkpoints were trained."""
    total = torch.zeros(len(coarse.voxels), x.shape[1], device=x.device)
    # One octant at a time no row is added to twice, so that the sum has one order on every device.
    for target, source in coarse.by_octant:
        total.index_add_(0, target, x[source].float())
    return (total / (coarse.children[:, None] + 1)).to(x.dtype)
