"""Triangles -> pixels. One numba loop, and a vectorised twin that gives the identical picture without numba."""

from typing import NamedTuple

import numpy as np
from numba import njit

from geometry.mesh import Floats, Ints

EDGE = -1e-6  # barycentric tolerance, so that no pixel falls between two triangles


class Fragments(NamedTuple):
    """What covers each pixel: face (-1 for none), the barycentrics of its first two corners, and its depth."""

    face: Ints  # (H, W)
    bary: Floats  # (H, W, 2)
    depth: Floats  # (H, W), -inf for none


def rasterize(points: Floats, faces: Ints, height: int, width: int, cull: bool = False) -> Fragments:
    """The nearest face at every pixel centre.

    Args:
        points: (V, 3) column, row and depth; pixel (0, 0) has its centre at (0.5, 0.5); larger depth is nearer.
        cull: leave out faces that look clockwise, the far side of a closed solid.
    """
    points, faces = np.ascontiguousarray(points, np.float64), np.ascontiguousarray(faces, np.int32)
    face = np.full((height, width), -1, np.int32)
    bary = np.zeros((height, width, 2), np.float32)
    depth = np.full((height, width), -np.inf, np.float32)
    _fill(points, faces, cull, face, bary, depth)
    return Fragments(face, bary, depth)


@njit(cache=True)
def _fill(points, faces, cull, face, bary, depth):  # type: ignore[no-untyped-def]
    height, width = face.shape
    for index in range(faces.shape[0]):
        i, j, k = faces[index, 0], faces[index, 1], faces[index, 2]
        ax, ay, az = points[i, 0], points[i, 1], points[i, 2]
        bx, by, bz = points[j, 0], points[j, 1], points[j, 2]
        cx, cy, cz = points[k, 0], points[k, 1], points[k, 2]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area == 0.0 or (cull and area > 0.0):
            continue
        scale = 1.0 / area
        left = max(int(np.ceil(min(ax, bx, cx) - 0.5)), 0)
        right = min(int(np.floor(max(ax, bx, cx) - 0.5)), width - 1)
        top = max(int(np.ceil(min(ay, by, cy) - 0.5)), 0)
        bottom = min(int(np.floor(max(ay, by, cy) - 0.5)), height - 1)
        for row in range(top, bottom + 1):
            y = row + 0.5
            entered = False
            for column in range(left, right + 1):
                x = column + 0.5
                u = ((bx - x) * (cy - y) - (by - y) * (cx - x)) * scale
                v = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) * scale
                w = 1.0 - u - v
                if u < EDGE or v < EDGE or w < EDGE:
                    if entered:
                        break
                else:
                    entered = True
                    z = np.float32(u * az + v * bz + w * cz)
                    if z > depth[row, column]:
                        depth[row, column] = z
                        face[row, column] = index
                        bary[row, column, 0] = u
                        bary[row, column, 1] = v


def rasterize_vectorised(points: Floats, faces: Ints, height: int, width: int, cull: bool = False) -> Fragments:
    """The same as `rasterize` by numpy alone: every pixel of every bounding box, sorted by depth."""
    corners = np.asarray(points, np.float64)[faces]  # (F, 3, 3)
    (ax, ay), (bx, by), (cx, cy) = (corners[:, k, :2].T for k in range(3))
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    scale = 1.0 / np.where(area == 0, 1.0, area)
    low = np.maximum(np.ceil(corners[:, :, :2].min(axis=1) - 0.5), 0).astype(np.int64)
    high = np.minimum(np.floor(corners[:, :, :2].max(axis=1) - 0.5), [width - 1, height - 1]).astype(np.int64)
    box = np.maximum(high - low + 1, 0)
    box[(area == 0) | (cull & (area > 0))] = 0
    count = box[:, 0] * box[:, 1]
    index = np.repeat(np.arange(len(faces)), count)
    place = np.arange(len(index)) - np.repeat(np.cumsum(count) - count, count)
    column = low[index, 0] + place % np.maximum(box[index, 0], 1)
    row = low[index, 1] + place // np.maximum(box[index, 0], 1)
    x, y = column + 0.5, row + 0.5
    u = ((bx[index] - x) * (cy[index] - y) - (by[index] - y) * (cx[index] - x)) * scale[index]
    v = ((cx[index] - x) * (ay[index] - y) - (cy[index] - y) * (ax[index] - x)) * scale[index]
    w = 1.0 - u - v
    depth = (u * corners[index, 0, 2] + v * corners[index, 1, 2] + w * corners[index, 2, 2]).astype(np.float32)
    inside = np.flatnonzero((u >= EDGE) & (v >= EDGE) & (w >= EDGE))
    # Nearest last; among equals the lowest face last, as the loop keeps the first it met.
    inside = inside[np.lexsort((-index[inside], depth[inside]))]
    target = row[inside] * width + column[inside]
    result = Fragments(
        np.full((height, width), -1, np.int32),
        np.zeros((height, width, 2), np.float32),
        np.full((height, width), -np.inf, np.float32),
    )
    result.face.ravel()[target] = index[inside]
    result.bary.reshape(-1, 2)[target] = np.stack([u[inside], v[inside]], axis=1)
    result.depth.ravel()[target] = depth[inside]
    return result
