"""Submanifold sparse convolution: outputs only where there are inputs, sums only over neighbours that exist.

Weights keep the checkpoints' layout (out, 3, 3, 3, in). `backend` names what computes it, with one signature:
    plain   one matrix product for each tap over its occupied pairs, summed in float32; exact, anywhere
    triton  one kernel that gathers, multiplies and sums all taps at once; CUDA
    spconv  the library of that name; CUDA
`auto` is the first of triton and spconv that runs and agrees with plain in a probe, else plain.

Letters: N voxels, M coarse voxels, C channels in, O channels out, K = 27 taps.
"""

from functools import cache
from importlib.util import find_spec
from typing import Literal

import torch
from torch import Tensor

from networks.ops.backends import agrees
from networks.ops.voxels import TAPS, Voxels, neighbour_child, occupied, taps

Backend = Literal["auto", "plain", "triton", "spconv"]


def sparse_conv(
    x: Tensor, weight: Tensor, bias: Tensor, voxels: Voxels, backend: Backend = "auto", rows: slice | None = None
) -> Tensor:
    """(N, O): out[p] = bias + the sum over taps k of weight[:, k, :] x[p + k]; 3^3 taps, stride 1.

    Args:
        x: (N, C), one row for each voxel.
        weight: (O, 3, 3, 3, C).
        rows: which outputs to compute, when not all.
    Raises:
        RuntimeError: the backend named outright cannot run here.
    """
    chosen = best_backend(x) if backend == "auto" else backend
    if chosen == "spconv":
        return _spconv(x, weight, bias, voxels)[rows or slice(None)]
    if chosen == "triton":
        return _triton(x, weight, bias, voxels.neighbours[:, rows or slice(None)])
    return _plain(x, _matrices(weight), bias, voxels, rows)


def copied_conv(x: Tensor, parent: Tensor, weight: Tensor, bias: Tensor, voxels: Voxels) -> Tensor:
    """(N, O): sparse_conv of x[parent], with the products done on the M coarse rows and only then copied.

    Args:
        x: (M, C).
        parent: (N,) the coarse row of each voxel.
        weight: (O, 3, 3, 3, C).
    """
    result = bias.float().repeat(len(voxels), 1)
    for tap, matrix in enumerate(_matrices(weight)):
        target, source = voxels.pairs(tap)
        result.index_add_(0, target, (x @ matrix).float()[parent[source]])
    return result.to(x.dtype)


def subdivided_conv(x: Tensor, weight: Tensor, bias: Tensor, parents: Voxels) -> Tensor:
    """(8N, O): sparse_conv on the subdivided grid of features that all eight children of a voxel share.

    The 27 taps of a child meet only 2^3 parents, so the weights of taps that meet the same one are added up: 64
    matrices on N rows in place of 27 on 8N.

    Args:
        x: (N, C), one row for each parent.
        weight: (O, 3, 3, 3, C).
    """
    result = bias.float().repeat(len(parents), 8, 1)
    for tap, folded in enumerate(_folded(_matrices(weight))):
        target, source = parents.pairs(tap)
        children = sorted(folded)
        product = (x[source] @ torch.cat([folded[child] for child in children], dim=1)).float()
        for child, part in zip(children, product.split(len(weight), dim=1), strict=True):
            result[:, child].index_add_(0, target, part)
    return result.view(-1, len(weight)).to(x.dtype)


def _matrices(weight: Tensor) -> Tensor:
    """(K, C, O) one matrix for each tap."""
    return weight.reshape(len(weight), TAPS, -1).permute(1, 2, 0)


def _folded(matrices: Tensor) -> list[dict[int, Tensor]]:
    """For each tap from parent to parent: child of the one -> (C, O) sum of the weights that reach the other."""
    folded: list[dict[int, Tensor]] = [{} for _ in range(TAPS)]
    for tap, offset in enumerate(taps().tolist()):
        for child in range(8):
            parent_tap, _ = neighbour_child(child, offset)
            known = folded[parent_tap].get(child)
            part = matrices[tap].float()
            folded[parent_tap][child] = part if known is None else known + part
    return [{child: part.to(matrices.dtype) for child, part in one.items()} for one in folded]


def _plain(x: Tensor, matrices: Tensor, bias: Tensor, voxels: Voxels, rows: slice | None) -> Tensor:
    if rows is None:
        pairs = (voxels.pairs(tap) for tap in range(TAPS))
        count = len(voxels)
    else:
        known = voxels.neighbours[:, rows]
        count = known.shape[1]
        pairs = (occupied(row) for row in known)
    result = bias.float().repeat(count, 1)
    # One tap's pairs at a time: of a large grid all of them would be half a gigabyte.
    for (target, source), matrix in zip(pairs, matrices, strict=True):
        result.index_add_(0, target, (x[source] @ matrix).float())
    return result.to(x.dtype)


def best_backend(x: Tensor) -> Backend:
    """What `auto` means for rows of this type on this device."""
    if x.is_cuda:
        if _agrees("triton", x.dtype):
            return "triton"
        if _agrees("spconv", x.dtype):
            return "spconv"
    return "plain"


@cache
def _agrees(backend: Literal["triton", "spconv"], dtype: torch.dtype) -> bool:
    if find_spec(backend) is None:
        return False
    generator = torch.Generator().manual_seed(0)
    coords = torch.nonzero(torch.rand(1, 6, 6, 6, generator=generator) < 0.5).cuda()
    x = torch.randn(len(coords), 24, generator=generator).to("cuda", dtype)
    weight = torch.randn(40, 3, 3, 3, 24, generator=generator).to("cuda", dtype)
    bias, voxels = torch.zeros(40, device="cuda", dtype=dtype), Voxels(coords)
    return agrees(
        f"{backend} sparse convolution",
        lambda: sparse_conv(x, weight, bias, voxels, backend),
        lambda: sparse_conv(x, weight, bias, voxels, "plain"),
    )


def _triton(x: Tensor, weight: Tensor, bias: Tensor, neighbours: Tensor) -> Tensor:
    if not (x.is_cuda and find_spec("triton")):
        raise RuntimeError("sparse_conv=triton wants CUDA and triton, which torch's CUDA builds bring; or use plain")
    from networks.ops.sparse_conv_triton import gathered_conv

    return gathered_conv(x, _matrices(weight), bias, neighbours)


def _spconv(x: Tensor, weight: Tensor, bias: Tensor, voxels: Voxels) -> Tensor:
    if not (x.is_cuda and find_spec("spconv")):
        raise RuntimeError("sparse_conv=spconv wants CUDA and spconv; `./setup.sh --gpu` installs it, or use plain")
    import spconv.pytorch as spconv
    from spconv.pytorch.functional import implicit_gemm  # noqa: F401  the import fails where the build does not fit

    layer = spconv.SubMConv3d(x.shape[1], len(weight), 3, indice_key="once").to(x.device, x.dtype)
    layer.weight, layer.bias = torch.nn.Parameter(weight), torch.nn.Parameter(bias)
    side = int(voxels.coords[:, 1:].max()) + 1
    grid = spconv.SparseConvTensor(x, voxels.coords.contiguous(), [side] * 3, len(voxels.segments))
    result: Tensor = layer(grid).features
    return result
