"""A dense mesh to try the finisher on."""

import numpy as np
from skimage import measure

from geometry.mesh import Mesh, signed_volume, vertex_normals

FACES_PER_CELL_SQUARED = 4.222  # of the knot below


def knot(faces: int, noise: float, seed: int) -> Mesh:
    """A closed, bumpy trefoil of about so many faces with coloured vertices.

    Args:
        noise: standard deviation of a push along each vertex's normal, in cells of the grid.
    """
    side = max(24, round(float(np.sqrt(faces / FACES_PER_CELL_SQUARED))))
    line = ((np.arange(side) + 0.5) / side - 0.5).astype(np.float32)
    x, y, z = np.meshgrid(line, line, line, indexing="ij", sparse=True)
    around, angle = np.sqrt(x * x + y * y), np.arctan2(y, x)
    field = np.full((side,) * 3, -1, np.float32)
    for strand in range(2):
        turn = (3 * angle + 2 * np.pi * strand) / 2
        away = (around - 0.27 - 0.09 * np.cos(turn)) ** 2 + (z - 0.09 * np.sin(turn)) ** 2
        np.maximum(field, 0.062 - np.sqrt(away), out=field)
    field += 0.004 * np.sin(40 * x) * np.sin(37 * y + 1) * np.sin(43 * z + 2)
    vertices, triangles, _, _ = measure.marching_cubes(field, 0.0)
    vertices, triangles = (vertices / side - 0.5).astype(np.float32), triangles.astype(np.int32)
    if signed_volume(vertices, triangles) < 0:
        triangles = np.ascontiguousarray(triangles[:, ::-1])
    wave = np.sin(vertices @ np.array([[31, 7, 11], [5, 29, 13], [17, 3, 37]], np.float32))
    colours = np.clip(128 + 90 * wave + 30 * np.sign(np.sin(60 * vertices[:, :1])), 0, 255).astype(np.uint8)
    push = np.random.default_rng(seed).standard_normal((len(vertices), 1)) * noise / side
    vertices = vertices + vertex_normals(vertices, triangles) * push.astype(np.float32)
    return Mesh(vertices.astype(np.float32), triangles, colours=colours)
