"""Pictures taken from known cameras -> colours on the surface."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from geometry.cameras import Camera
from geometry.mesh import Floats, Ints, Mask, directed_edges
from geometry.rasterize import rasterize
from geometry.render import view_normals
from geometry.sample import sample, sample_nearest

DEPTH_GRID = 512
TOLERANCE = 0.01  # how far behind the nearest surface a point may lie and still count as seen
LEAST_FACING = 0.12
SHARPNESS = 6  # a view counts with (n . d)^SHARPNESS


@dataclass(frozen=True, eq=False)
class Photograph:
    """A picture with its camera.

    Attributes:
        picture: (T, T, C) values; `trusted` (T, T) False where they must not be used.
        gain: weight against other photographs.
    """

    camera: Camera
    picture: Floats
    trusted: Mask
    gain: float = 1.0


def depth_map(vertices: Floats, faces: Ints, camera: Camera) -> Floats:
    """(DEPTH_GRID, DEPTH_GRID) nearest depth, each pixel taking the nearest of its neighbourhood too."""
    seen = rasterize(camera.project(vertices, DEPTH_GRID), faces, DEPTH_GRID, DEPTH_GRID, cull=True).depth
    return cv2.dilate(np.where(np.isfinite(seen), seen, np.float32(-9)), np.ones((3, 3), np.uint8))


def colours_at(
    points: Floats, normals: Floats, photographs: Sequence[Photograph], depths: Sequence[Floats]
) -> tuple[Floats, Floats]:
    """(N, C) weighted means of what the photographs show at surface points, and (N,) the weights, 0 where unseen."""
    total = np.zeros((len(points), photographs[0].picture.shape[2]), np.float32)
    weight = np.zeros(len(points), np.float32)
    for photograph, depth in zip(photographs, depths, strict=True):
        facing = view_normals(normals, photograph.camera)[:, 2]
        chosen = np.flatnonzero(facing > LEAST_FACING)
        place = photograph.camera.project(points[chosen], DEPTH_GRID)
        nearest = sample_nearest(depth, place[:, 0], place[:, 1])
        visible = place[:, 2] > nearest - TOLERANCE
        chosen, place = chosen[visible], place[visible] * (photograph.picture.shape[0] / DEPTH_GRID)
        trusted = sample_nearest(photograph.trusted, place[:, 0], place[:, 1])
        chosen, place = chosen[trusted], place[trusted]
        share = photograph.gain * facing[chosen] ** SHARPNESS
        total[chosen] += share[:, None] * sample(photograph.picture, place[:, 0] - 0.5, place[:, 1] - 0.5)
        weight[chosen] += share
    return total / np.maximum(weight, 1e-9)[:, None], weight


def spread_over_mesh(values: Floats, known: Mask, faces: Ints) -> Floats:
    """(V, C) values where unknown vertices take smooth means of the known ones around them, along the surface."""
    if known.all() or not known.any():
        return values
    edges = directed_edges(faces)
    result, reached = np.where(known[:, None], values, 0).astype(np.float64), known.copy()
    for round_ in range(400):
        use = reached[edges[:, 1]]
        start, end = edges[use].T
        count = np.bincount(start, minlength=len(values))
        mean = np.stack([np.bincount(start, result[end, c], len(values)) for c in range(values.shape[1])], axis=1)
        open_ = ~known & (count > 0)
        result[open_] = mean[open_] / count[open_, None]
        newly = open_ & ~reached
        reached |= open_
        # Once everything is reached, a few more rounds smooth what was filled.
        if not newly.any() and round_ >= 40:
            break
    return result.astype(np.float32)
