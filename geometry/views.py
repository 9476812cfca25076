"""Pictures from known cameras -> colours on the surface."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit

from geometry.cameras import Camera, orbit, perspective, sphere_views
from geometry.gaussians import Gaussians
from geometry.mesh import Floats, Ints, Mask, Pixels
from geometry.rasterize import rasterize
from geometry.splatting import render_views

LEAST_FACING = 0.25
TOLERANCE = 0.006  # of the mesh's size: how far behind the nearest surface a point may lie and still count as seen
DEPTH_SIDE = 512
OUTLIER = 2.0  # median deviations from the mean beyond which a sample is dropped
ALIKE = 4.0  # levels; samples this close to the mean are never dropped
LEAST_ALPHA = 0.5  # of a pixel of splats whose colour counts
_DISTANCE, _FIELD_OF_VIEW = 2.0, np.radians(40)
_FROM_UPRIGHT = np.array([[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], np.float32)  # +Y up to +Z up
_TO_OPENCV = np.array([1, -1, -1])[:, None]

# (T, 3) colours in 0..255 and (T,) weights, 0 where unseen, at surface points (T, 3) with unit normals (T, 3).
SeenAt = Callable[[Floats, Floats], tuple[Floats, Floats]]


@dataclass(frozen=True, eq=False)
class View:
    """A picture and its camera.

    Attributes:
        picture: (H, W, 3) uint8 sRGB.
        extrinsics: (4, 4) world to camera, OpenCV axes (x right, y down, z forward).
        intrinsics: (3, 3) for a picture of side 1.
        known: (H, W) False where the picture shows nothing; None: it shows something everywhere.
        flat: without perspective: the intrinsics take camera coordinates to the picture as they are.
    """

    picture: Pixels
    extrinsics: Floats
    intrinsics: Floats
    known: Mask | None = None
    flat: bool = False


def camera_view(picture: Pixels, camera: Camera, known: Mask | None = None) -> View:
    """The view of a picture that one of the cameras has taken."""
    extrinsics = np.eye(4)
    extrinsics[:3, :3] = _TO_OPENCV * camera.rotation
    extrinsics[:3, 3] = -(extrinsics[:3, :3] * camera.target).sum(axis=1)
    distance = _DISTANCE if camera.distance is None else camera.distance
    extrinsics[2, 3] += distance
    focal = (1 if camera.distance is None else distance) / (2 * camera.extent)
    intrinsics = np.array([[focal, 0, 0.5], [0, focal, 0.5], [0, 0, 1]])
    return View(picture, extrinsics, intrinsics, known, camera.distance is None)


def splat_views(gaussians: Gaussians, count: int, side: int) -> list[View]:
    """So many views from all around of +Z up splats, for the same thing as a mesh with +Y up."""
    lens, cameras = perspective(_FIELD_OF_VIEW), orbit(sphere_views(count), _DISTANCE)
    views = []
    for camera, picture in zip(cameras, render_views(gaussians, cameras, lens, side), strict=True):
        colour = picture.colour / np.maximum(picture.alpha, LEAST_ALPHA)[..., None]
        pixels = (colour.clip(0, 1) * 255).round().astype(np.uint8)
        views.append(View(pixels, camera @ _FROM_UPRIGHT, lens, picture.alpha >= LEAST_ALPHA))
    return views


def inverse_depth(vertices: Floats, faces: Ints, view: View, side: int = DEPTH_SIDE) -> Floats:
    """(side, side) 1 / z of the nearest surface, each pixel taking the nearest of its neighbourhood too; 0 for none.

    1 / z because under perspective it, and not z, is linear across a face. In a flat view z is.
    """
    place = _project(vertices, view)
    ahead = place[:, 2] > 1e-6
    distance = np.where(ahead, place[:, 2], 1)
    points = np.column_stack([place[:, :2] * side, -distance if view.flat else 1 / distance])
    seen = rasterize(points, faces[ahead[faces].all(axis=1)], side, side).depth
    if view.flat:
        seen = np.where(np.isfinite(seen), -1 / seen, seen)
    return cv2.dilate(np.where(np.isfinite(seen), seen, np.float32(0)), np.ones((3, 3), np.uint8))


def bake_views(
    points: Floats,
    normals: Floats,
    views: Sequence[View],
    depths: Sequence[Floats],
    tolerance: float,
    robust: bool = False,
) -> tuple[Floats, Floats]:
    """(N, 3) mean colours in 0..255 that the views show at surface points, and (N,) the weights, 0 where unseen.

    A view counts with (n . d)^4.

    Args:
        points: (N, 3) with unit `normals`, world frame.
        depths: of each view, by `inverse_depth`; all of one size, as the pictures are.
        tolerance: how far behind the nearest surface a point may lie, units of length.
        robust: drops samples that lie more than two median deviations from a point's mean.
    """
    pictures = np.stack([view.picture for view in views])
    known = np.stack([np.ones(v.picture.shape[:2], bool) if v.known is None else v.known for v in views])
    extrinsics = np.stack([np.asarray(view.extrinsics, np.float64) for view in views])
    eyes = np.stack([-matrix[:3, :3].T @ matrix[:3, 3] for matrix in extrinsics])
    lenses = np.stack([np.asarray(view.intrinsics, np.float64) for view in views])
    colours, weight = np.zeros((len(points), 3), np.float32), np.zeros(len(points), np.float32)
    _gather(
        np.asarray(points, np.float32),
        np.asarray(normals, np.float32),
        pictures,
        known,
        np.stack(depths),
        extrinsics,
        eyes,
        lenses,
        np.array([view.flat for view in views]),
        tolerance,
        robust,
        colours,
        weight,
    )
    return colours, weight


def weighted_view_colours(vertices: Floats, faces: Ints, views: Sequence[View], robust: bool = False) -> SeenAt:
    """What the views show of this mesh, and how well; pictures all of one size.

    Args:
        vertices: the mesh that hides itself; the dense one or a coarse one, world frame.
    """
    depths = [inverse_depth(vertices, faces, view) for view in views]
    tolerance = TOLERANCE * float((vertices.max(axis=0) - vertices.min(axis=0)).max())
    return lambda points, normals: bake_views(points, normals, views, depths, tolerance, robust)


def view_colours(
    vertices: Floats, faces: Ints, views: Sequence[View], robust: bool = False
) -> Callable[[Floats, Floats], Floats]:
    """A source of colours for `finish`: what the views show of this mesh, NaN where none shows anything.

    Args:
        vertices: as `weighted_view_colours` takes them.
    """
    seen_at = weighted_view_colours(vertices, faces, views, robust)

    def colour_at(points: Floats, normals: Floats) -> Floats:
        colours, weight = seen_at(points, normals)
        return np.where(weight[:, None] > 0, colours, np.float32(np.nan))

    return colour_at


def _project(points: Floats, view: View) -> Floats:
    """(V, 3) column and row in a picture of side 1, and the distance ahead."""
    # Written out: a matrix product would go through BLAS, which starts threads.
    m, k = np.asarray(view.extrinsics, np.float64), np.asarray(view.intrinsics, np.float64)
    x, y, z = (points[:, 0] * m[r, 0] + points[:, 1] * m[r, 1] + points[:, 2] * m[r, 2] + m[r, 3] for r in range(3))
    safe = np.where((z > 1e-6) & (not view.flat), z, 1.0)
    return np.stack([k[0, 0] * x / safe + k[0, 2], k[1, 1] * y / safe + k[1, 2], z], axis=1)


@njit(cache=True)
def _gather(  # type: ignore[no-untyped-def]
    points, normals, pictures, known, depths, extrinsics, eyes, lenses, flat, tolerance, robust, colours, weights
):
    views, height, width = pictures.shape[0], pictures.shape[1], pictures.shape[2]
    samples, share, away = np.empty((views, 3), np.float64), np.empty(views), np.empty(views)
    mean = np.empty(3)
    for p in range(points.shape[0]):
        count = 0
        for view in range(views):
            m, k = extrinsics[view], lenses[view]
            dx, dy, dz = -m[2, 0], -m[2, 1], -m[2, 2]
            if not flat[view]:
                dx, dy, dz = eyes[view, 0] - points[p, 0], eyes[view, 1] - points[p, 1], eyes[view, 2] - points[p, 2]
            facing = normals[p, 0] * dx + normals[p, 1] * dy + normals[p, 2] * dz
            if facing <= 0.0:
                continue
            facing /= np.sqrt(dx * dx + dy * dy + dz * dz)
            if facing < LEAST_FACING:
                continue
            z = m[2, 0] * points[p, 0] + m[2, 1] * points[p, 1] + m[2, 2] * points[p, 2] + m[2, 3]
            if z <= 1e-6:
                continue
            x = k[0, 0] * (m[0, 0] * points[p, 0] + m[0, 1] * points[p, 1] + m[0, 2] * points[p, 2] + m[0, 3])
            y = k[1, 1] * (m[1, 0] * points[p, 0] + m[1, 1] * points[p, 1] + m[1, 2] * points[p, 2] + m[1, 3])
            if not flat[view]:
                x, y = x / z, y / z
            x, y = x + k[0, 2], y + k[1, 2]
            if x < 0.0 or y < 0.0 or x >= 1.0 or y >= 1.0:
                continue
            nearest = depths[view, int(y * depths.shape[1]), int(x * depths.shape[2])]
            if nearest > 0.0 and z > 1.0 / nearest + tolerance:
                continue
            column = min(max(x * width - 0.5, 0.0), width - 1.0)
            row = min(max(y * height - 0.5, 0.0), height - 1.0)
            left, top = min(int(column), width - 2), min(int(row), height - 2)
            if not (known[view, top, left] and known[view, top, left + 1]):
                continue
            if not (known[view, top + 1, left] and known[view, top + 1, left + 1]):
                continue
            a, b = column - left, row - top
            for c in range(3):
                upper = pictures[view, top, left, c] * (1.0 - a) + pictures[view, top, left + 1, c] * a
                lower = pictures[view, top + 1, left, c] * (1.0 - a) + pictures[view, top + 1, left + 1, c] * a
                samples[count, c] = upper * (1.0 - b) + lower * b
            share[count] = facing**4
            count += 1
        if count == 0:
            continue
        _mean(samples, share, count, mean)
        if robust and count > 2:
            for s in range(count):
                away[s] = 0.0
                for c in range(3):
                    away[s] += (samples[s, c] - mean[c]) ** 2
                away[s] = np.sqrt(away[s])
            limit = max(OUTLIER * np.median(away[:count]), ALIKE)
            for s in range(count):
                if away[s] > limit:
                    share[s] = 0.0
            _mean(samples, share, count, mean)
        for c in range(3):
            colours[p, c] = mean[c]
        for s in range(count):
            weights[p] += share[s]


@njit(cache=True)
def _mean(samples, share, count, mean):  # type: ignore[no-untyped-def]
    for c in range(3):
        total, weight = 0.0, 0.0
        for s in range(count):
            total += share[s] * samples[s, c]
            weight += share[s]
        mean[c] = total / weight
