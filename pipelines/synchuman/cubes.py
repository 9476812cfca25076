"""Voxels as a PLY of cubes, in the units of their grid, as the reference publishes them."""

import numpy as np

from geometry.mesh import Floats, Ints

# Bit 0 of a corner's number is its side along x, bit 1 along y, bit 2 along z; quads are seen from outside.
_CORNERS = np.array([(n & 1, n >> 1 & 1, n >> 2 & 1) for n in range(8)], np.float32) - 0.5
_QUADS = np.array([(2, 3, 1, 0), (4, 5, 7, 6), (3, 2, 6, 7), (0, 1, 5, 4), (2, 0, 4, 6), (1, 3, 7, 5)], np.int32)
_HEADER = """ply
format ascii 1.0
element vertex {vertices}
comment vertices
property float x
property float y
property float z
element face {faces}
property list uchar int vertex_indices
end_header
"""


def cubes(coords: Ints) -> tuple[Floats, Ints]:
    """(9 N, 3) float32 vertices and (6 N, 4) quads of (N, 3) voxels: first all centres, then eight corners of each."""
    centres = coords.astype(np.float32)
    corners = (centres[:, None] + _CORNERS).reshape(-1, 3)
    first = len(coords) + 8 * np.arange(len(coords), dtype=np.int32)
    return np.concatenate([centres, corners]), (first[:, None, None] + _QUADS).reshape(-1, 4)


def cubes_ply(coords: Ints) -> bytes:
    """The same as an ASCII PLY."""
    vertices, faces = cubes(coords)
    header = _HEADER.format(vertices=len(vertices), faces=len(faces))
    points = "%g %g %g\n" * len(vertices) % tuple(vertices.ravel().tolist())
    quads = "4 %d %d %d %d\n" * len(faces) % tuple(faces.ravel().tolist())
    return (header + points + quads).encode()
