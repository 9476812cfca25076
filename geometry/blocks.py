"""Voxels as what they are: a mesh of their outer sides."""

import numpy as np

from geometry.axes import to_glb
from geometry.mesh import Floats, Ints, Mesh

# For each side of a voxel: the way it faces, and its corners counter-clockwise as seen from there.
_SIDES = [
    ((1, 0, 0), [(1, 0, 0), (1, 1, 0), (1, 1, 1), (1, 0, 1)]),
    ((-1, 0, 0), [(0, 0, 0), (0, 0, 1), (0, 1, 1), (0, 1, 0)]),
    ((0, 1, 0), [(0, 1, 0), (0, 1, 1), (1, 1, 1), (1, 1, 0)]),
    ((0, -1, 0), [(0, 0, 0), (1, 0, 0), (1, 0, 1), (0, 0, 1)]),
    ((0, 0, 1), [(0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)]),
    ((0, 0, -1), [(0, 0, 0), (0, 1, 0), (1, 1, 0), (1, 0, 0)]),
]


def blocks(coords: Ints, resolution: int) -> Mesh:
    """The sides that voxels do not share, each with its own four vertices and their normal.

    Args:
        coords: (N, 3) of a +Z-up grid of `resolution`³ over [-0.5, 0.5]³; the mesh is +Y up.
    """
    filled = np.zeros((resolution + 2,) * 3, bool)
    filled[tuple((coords + 1).T)] = True
    corners: list[Floats] = []
    normals: list[Floats] = []
    for facing, quad in _SIDES:
        bare = coords[~filled[tuple((coords + 1 + np.array(facing)).T)]]
        corners.append((bare[:, None] + np.array(quad)).reshape(-1, 3) / resolution - 0.5)
        normals.append(np.broadcast_to(np.array(facing, np.float32), (4 * len(bare), 3)))
    points = np.concatenate(corners)
    first = np.arange(0, len(points), 4)[:, None]
    faces = np.concatenate([first + [0, 1, 2], first + [0, 2, 3]], axis=1).reshape(-1, 3)
    return Mesh(to_glb(points.astype(np.float32)), faces.astype(np.int32), normals=to_glb(np.concatenate(normals)))
