"""Profiles -> the closed surface they bound, in the unit cube, +Y up, front to +Z."""

import cv2
import numpy as np

from geometry.marching_cubes import surface_of
from geometry.mesh import Floats, Ints, Mask
from geometry.sample import sample

PAD = 2  # cells around the bounding box, so that the surface closes inside the field


def two_sided(front: Floats, back: Floats) -> tuple[Floats, Ints]:
    """The solid |z| <= sqrt(profile), with one profile for each side.

    Args:
        front: (G, G) squared half depth in cells, negative outside; `back` has the same zero line.
    """
    side = front.shape[0]
    rows, columns = _box(np.maximum(front, back) > 0)
    near, far = front[rows, columns], back[rows, columns]
    ahead, behind = (int(np.ceil(np.sqrt(max(p.max(), 0)))) + PAD for p in (near, far))
    z = np.arange(-behind, ahead + 1, dtype=np.float32)[:, None, None]
    field = np.where(z >= 0, near, far) - z * z
    field /= np.sqrt(np.abs(field) + z * z + np.float32(1.25))
    vertices, faces = surface_of(_capped(field))
    vertices -= np.array([0, 0, behind], np.float32)
    _snap(vertices, near, far)
    return _to_cube(vertices, columns.start, rows.start, side), faces[:, ::-1].copy()


def two_fields(front: Floats, side: Floats) -> tuple[Floats, Ints]:
    """The solid where A(x, y) + B(z, y) > 1: it has the front's outline from +Z and the side's outline from +X.

    Args:
        front: (G, G) A, at most 1 in every row, negative outside.
        side: (G, G) B, columns run along z from the back (-0.5) to the front (0.5).
    """
    grid = front.shape[0]
    rows, columns = _box(front > 0)
    deep = _box(side > 0)[1]
    field = front[None, rows, columns] + side.T[deep, rows, None] - np.float32(1)
    vertices, faces = surface_of(_capped(field))
    vertices = _taubin(vertices, faces, rounds=3)
    points = _to_cube(vertices, columns.start, rows.start, grid)
    points[:, 2] = (vertices[:, 2] + deep.start + 0.5) / grid - 0.5
    return points, faces[:, ::-1].copy()


def row_normalised(profile: Floats, outside: float = 0.06) -> Floats:
    """The profile over its largest value in the row, a little blurred along y; negative outside."""
    inside = profile > 0
    top = np.where(inside, profile, 0).max(axis=1, keepdims=True)
    distance = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, 5)
    share = np.where(inside, profile / np.maximum(top, 1e-6), -outside * distance).astype(np.float32)
    soft = cv2.filter2D(share, -1, np.array([[1], [2], [1]], np.float32) / 4, borderType=cv2.BORDER_REPLICATE)
    return np.where((soft > 0) == inside, soft, share).astype(np.float32)


def _box(mask: Mask) -> tuple[slice, slice]:
    """Rows and columns of the mask's bounding box with PAD cells around, within the grid."""
    bounds = []
    for axis in (1, 0):
        used = np.flatnonzero(mask.any(axis=axis))
        bounds.append(slice(max(int(used[0]) - PAD, 0), min(int(used[-1]) + 1 + PAD, mask.shape[0])))
    return bounds[0], bounds[1]


def _capped(field: Floats) -> Floats:
    """The field with a negative outermost layer, whatever it was."""
    for axis in range(3):
        for end in (0, -1):
            layer = np.moveaxis(field, axis, 0)[end]
            np.minimum(layer, np.float32(-0.5), out=layer)
    return field


def _to_cube(vertices: Floats, column: int, row: int, side: int) -> Floats:
    """Grid units (x right, y down, z to the viewer) -> unit cube; a mirroring, so the caller turns the faces."""
    return np.stack(
        [
            (vertices[:, 0] + column + 0.5) / side - 0.5,
            0.5 - (vertices[:, 1] + row + 0.5) / side,
            vertices[:, 2] / side,
        ],
        axis=1,
    ).astype(np.float32)


def _snap(vertices: Floats, near: Floats, far: Floats) -> None:
    """Moves vertices well inside the outline to z = +-sqrt(profile), where marching cubes is only linear."""
    for sign, profile in ((1, near), (-1, far)):
        height = sample(profile, vertices[:, 0], vertices[:, 1])
        chosen = (vertices[:, 2] * sign > 1.0) & (height > 1.5**2)
        vertices[chosen, 2] = sign * np.sqrt(height[chosen])


def _taubin(vertices: Floats, faces: Ints, rounds: int) -> Floats:
    """Smoothed without shrinking: each round one step towards the neighbours' mean and one back."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    degree = np.bincount(edges[:, 0], minlength=len(vertices)).astype(np.float32)[:, None]
    points = vertices.astype(np.float64)
    for step in (0.5, -0.53) * rounds:
        mean = (
            np.stack([np.bincount(edges[:, 0], points[edges[:, 1], k], len(points)) for k in range(3)], axis=1) / degree
        )
        points += step * (mean - points)
    return points.astype(np.float32)
