"""A sparse convolution is the dense one read at the occupied places, however it is computed."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv3d

from networks.ops.sparse_conv import Backend, copied_conv, sparse_conv, subdivided_conv
from networks.ops.voxels import Voxels
from tests.networks.drawing import normal, random_coords

ROOT = Path(__file__).parents[3]
VOXELS = Voxels(random_coords([60, 1, 90], 6))
WEIGHT, BIAS = normal(7, 3, 3, 3, 5, seed=1) / 135**0.5, normal(7, seed=2)


def dense(x: Tensor, voxels: Voxels) -> Tensor:
    """By torch's convolution over the whole grid, zeros at the empty places."""
    item, *place = voxels.coords.long().T
    grid = torch.zeros(len(voxels.segments), x.shape[1], *[int(voxels.coords[:, 1:].max()) + 1] * 3)
    grid[item, :, *place] = x
    return conv3d(grid, WEIGHT.permute(0, 4, 1, 2, 3), BIAS, padding=1)[item, :, *place]


def features(voxels: Voxels) -> Tensor:
    return normal(len(voxels), 5, seed=3)


def test_it_is_the_dense_convolution_at_the_occupied_places() -> None:
    x = features(VOXELS)
    assert (sparse_conv(x, WEIGHT, BIAS, VOXELS, "plain") - dense(x, VOXELS)).abs().max() < 1e-5
    assert torch.equal(sparse_conv(x, WEIGHT, BIAS, VOXELS), sparse_conv(x, WEIGHT, BIAS, VOXELS, "plain"))


@pytest.mark.parametrize("rows", [slice(0, 151), slice(0, 1), slice(17, 90), slice(100, 151)])
def test_some_rows_are_those_of_the_whole(rows: slice) -> None:
    """Exactly: sums of small whole numbers have no rounding."""
    x, weight, bias = (10 * features(VOXELS)).round(), (90 * WEIGHT).round(), (10 * BIAS).round()
    some = sparse_conv(x, weight, bias, VOXELS, rows=rows)
    assert some.shape == (rows.stop - rows.start, 7)
    assert torch.equal(some, sparse_conv(x, weight, bias, VOXELS)[rows])
    near = sparse_conv(features(VOXELS), WEIGHT, BIAS, VOXELS, rows=rows)
    assert (near - dense(features(VOXELS), VOXELS)[rows]).abs().max() < 1e-5


def test_children_that_share_their_parents_features_give_the_same_with_fewer_products() -> None:
    x, children = features(VOXELS), VOXELS.subdivided()
    ours = subdivided_conv(x, WEIGHT, BIAS, VOXELS)
    copied = x.repeat_interleave(8, dim=0)
    assert (ours - sparse_conv(copied, WEIGHT, BIAS, children)).abs().max() < 1e-5
    assert (ours - dense(copied, children)).abs().max() < 1e-5


def test_coarse_rows_that_are_copied_to_their_children_give_the_same() -> None:
    coarse = VOXELS.coarse
    x = features(coarse.voxels)
    ours = copied_conv(x, coarse.parent, WEIGHT, BIAS, VOXELS)
    assert (ours - sparse_conv(x[coarse.parent], WEIGHT, BIAS, VOXELS)).abs().max() < 1e-5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_float32(dtype: torch.dtype) -> None:
    """The result is off by one rounding at most, beside that of the products."""
    x, weight, bias = (value.to(dtype) for value in (features(VOXELS), WEIGHT, BIAS))
    result = sparse_conv(x, weight, bias, VOXELS)
    wanted = sparse_conv(x.float(), weight.float(), bias.float(), VOXELS)
    assert result.dtype == dtype
    assert (result.float() - wanted).norm() < torch.finfo(dtype).eps * wanted.norm()


@pytest.mark.parametrize("backend", ["triton", "spconv"])
def test_a_kernel_asked_for_outright_that_cannot_run_says_what_to_do(backend: Backend) -> None:
    with pytest.raises(RuntimeError, match=f"sparse_conv={backend} wants CUDA .* use plain"):
        sparse_conv(features(VOXELS), WEIGHT, BIAS, VOXELS, backend)


_INTERPRETED = """
import torch
from networks.ops.sparse_conv import _matrices, sparse_conv
from networks.ops.sparse_conv_triton import gathered_conv
from networks.ops.voxels import Voxels
from tests.networks.drawing import normal, random_coords

voxels = Voxels(random_coords([50, 1, 40], 5))
for c_in, c_out in ((5, 7), (40, 70)):  # less than a tile, and more than one
    x, weight, bias = normal(len(voxels), c_in), normal(c_out, 3, 3, 3, c_in, seed=1), normal(c_out, seed=2)
    wanted = sparse_conv(x, weight, bias, voxels, "plain")
    cases = ((torch.float32, slice(10, 75), 1e-6), (torch.float16, slice(0, len(voxels)), 1e-3))
    for dtype, rows, allowed in cases:
        ours = gathered_conv(x.to(dtype), _matrices(weight).to(dtype), bias.to(dtype), voxels.neighbours[:, rows])
        assert ours.dtype == dtype and ours.shape == wanted[rows].shape
        error = float((ours.float() - wanted[rows]).norm() / wanted[rows].norm())
        assert error < allowed, (c_in, c_out, dtype, error)
print("agrees")
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")
def test_the_triton_kernel_agrees_where_it_is_interpreted() -> None:
    """In a process of its own: triton decides between compiling and interpreting when it is imported."""
    environ = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", _INTERPRETED]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "agrees\n"
