"""Features of sparse voxels -> a signed distance field on cubes.

Letters: N voxels, P vertices of voxels; C cubes and G grid vertices as in `geometry.flexicubes`.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from geometry.flexicubes import WEIGHTS, CubeField, corner_steps, grid_numbers

# Channels of a voxel: distances of its 8 corners, offsets (8, 3), weights, and perhaps attributes (8, 6).
_DISTANCES, _OFFSETS, _WEIGHTS = slice(0, 8), slice(8, 32), slice(32, 32 + WEIGHTS)
PLAIN_CHANNELS = 32 + WEIGHTS
ATTRIBUTES = 6
CHANNELS = PLAIN_CHANNELS + 8 * ATTRIBUTES
_FINEST = 1024  # side³ has to fit into an int32


class VertexMeans(NamedTuple):
    """What the voxels around each of their vertices say of it, on average."""

    places: Tensor  # (P, 3) int64
    distances: Tensor  # (P,), outside positive
    offsets: Tensor  # (P, 3) before activation
    attributes: Tensor | None  # (P, 6) logits


def cube_field(coords: Tensor, features: Tensor, resolution: int) -> CubeField:
    """The field that a mesh decoder's voxels describe, on those voxels and one cube around them.

    Nothing beyond can hold a surface, since vertices that no voxel touches count as outside. Cubes come by ascending
    place, x-major; positions lie in [-0.5, 0.5]³ plus offsets of at most half a cube.

    Args:
        coords: (N, 3) integers, each once.
        features: (N, 101), or (N, 53) without attributes; float32.
        resolution: voxels along each side of the grid.
    Raises:
        ValueError: the shapes do not fit, or a voxel lies outside or comes twice.
    """
    voxels = _occupied(coords, features, resolution)
    means = vertex_means(coords, features, resolution)
    cubes = _with_rim(voxels).nonzero()
    side, device = resolution + 1, features.device
    grid, row = _vertices(grid_numbers(cubes, side), side)
    corners = torch.stack([row[grid_numbers(cubes, side) + step] for step in corner_steps(side, device)], dim=1).long()
    place = row[grid_numbers(means.places, side)].long()
    del row
    sdf = features.new_ones(len(grid))
    sdf[place] = means.distances
    positions = _places(grid, side) / resolution - 0.5
    positions[place] += means.offsets.tanh() / (2 * resolution)
    attributes = None
    if means.attributes is not None:
        attributes = features.new_zeros(len(grid), ATTRIBUTES)
        attributes[place] = means.attributes
    weights = features.new_zeros(len(cubes), WEIGHTS)
    weights[torch.searchsorted(grid_numbers(cubes, side), grid_numbers(coords, side))] = features[:, _WEIGHTS]
    return CubeField(corners, cubes, resolution, positions, sdf, attributes, weights)


def vertex_means(coords: Tensor, features: Tensor, resolution: int) -> VertexMeans:
    """Means over the voxels that share a vertex, for the vertices of all voxels by ascending place, x-major.

    Distances are lowered by one voxel, 1 / resolution, before.
    """
    side = resolution + 1
    lowest = grid_numbers(coords, side)
    grid, row = _vertices(lowest, side)
    channels = 4 if features.shape[1] == PLAIN_CHANNELS else 4 + ATTRIBUTES
    total = features.new_zeros(len(grid), channels)
    count = features.new_zeros(len(grid), 1)
    # Corner by corner: no two voxels share it, so that the sums come out the same on every run.
    for corner, step in enumerate(corner_steps(side, features.device)):
        vertex = row[lowest + step].long()
        total.index_add_(0, vertex, _at_corner(features, corner, resolution))
        count[vertex] += 1
    total /= count
    attributes = total[:, 4:] if channels > 4 else None
    return VertexMeans(_places(grid, side), total[:, 0], total[:, 1:4], attributes)


def _at_corner(features: Tensor, corner: int, resolution: int) -> Tensor:
    """(N, 4 or 10) distance, offset and attributes of one corner of every voxel."""
    parts = [features[:, _DISTANCES][:, corner, None] - 1 / resolution]
    parts.append(features[:, _OFFSETS][:, 3 * corner : 3 * corner + 3])
    parts.append(features[:, PLAIN_CHANNELS:][:, ATTRIBUTES * corner : ATTRIBUTES * (corner + 1)])
    return torch.cat(parts, dim=1)


def _occupied(coords: Tensor, features: Tensor, resolution: int) -> Tensor:
    """(R, R, R) which cubes are voxels, once the arguments have been checked."""
    if not 1 <= resolution < _FINEST:
        raise ValueError(f"resolution is {resolution}; use 1 to {_FINEST - 1}")
    if features.ndim != 2 or features.shape[1] not in (PLAIN_CHANNELS, CHANNELS):
        raise ValueError(f"features are {tuple(features.shape)}; they need {CHANNELS} or {PLAIN_CHANNELS} columns")
    if coords.shape != (len(features), 3):
        raise ValueError(f"coords are {tuple(coords.shape)}; {len(features)} features need ({len(features)}, 3)")
    if ((coords < 0) | (coords >= resolution)).any():
        raise ValueError(f"coords reach from {coords.min()} to {coords.max()}; the grid from 0 to {resolution - 1}")
    voxels = torch.zeros((resolution,) * 3, dtype=torch.bool, device=coords.device)
    voxels[coords.long().unbind(dim=1)] = True
    if int(voxels.sum()) != len(coords):
        raise ValueError(
            f"{len(coords) - int(voxels.sum())} of {len(coords)} coords repeat others; pass each voxel once"
        )
    return voxels


def _with_rim(voxels: Tensor) -> Tensor:
    """The voxels and all cubes that touch one, be it at a corner."""
    for axis in range(3):
        last = voxels.shape[axis] - 1
        wider = voxels.clone()
        wider.narrow(axis, 1, last).logical_or_(voxels.narrow(axis, 0, last))
        wider.narrow(axis, 0, last).logical_or_(voxels.narrow(axis, 1, last))
        voxels = wider
    return voxels


def _vertices(lowest: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """The vertices of the cubes with these first corners, (G,) ascending, and (side³,) int32 the row of each."""
    touched = torch.zeros(side**3, dtype=torch.bool, device=lowest.device)
    for step in corner_steps(side, lowest.device):
        touched[lowest + step] = True
    grid = touched.nonzero()[:, 0]
    row = torch.empty(side**3, dtype=torch.int32, device=lowest.device)
    row[grid] = torch.arange(len(grid), dtype=torch.int32, device=lowest.device)
    return grid, row


def _places(numbers: Tensor, side: int) -> Tensor:
    return torch.stack([numbers // side**2, numbers // side % side, numbers % side], dim=1)
