"""Gaussian splats -> pictures: elliptical weighted averages (Zwicker et al. 2001) with the filter of Mip-Splatting.

Each Gaussian becomes an ellipse on the picture, and the ellipses are laid over each other from the nearest on. Tiles of
the picture are independent and drawn by several threads.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numba import njit

from geometry.gaussians import Gaussians
from geometry.mesh import Floats, Ints

NEAREST = 0.2  # a Gaussian nearer to the camera's plane is not drawn
BLUR = 0.1  # variance, in pixels², that every ellipse is widened by
FAINTEST = 1 / 255  # where an ellipse covers less it ends
DENSEST = 0.99  # what one ellipse may cover of a pixel
SPENT = 1e-4  # a pixel that lets less light through is finished
_TILE = 16
# Beyond this multiple of the picture's half-width the projection is linearised at its edge, as it degenerates outside.
_MARGIN = 1.3


class Picture(NamedTuple):
    """What a camera sees on black: colours are already multiplied by alpha."""

    colour: Floats  # (size, size, 3) float32 sRGB, from 0
    alpha: Floats  # (size, size) float32
    depth: Floats  # (size, size) float32 mean depth along z of what is seen, 0 where nothing is


class Splats(NamedTuple):
    """Ellipses on a picture, the nearest first. All float32, in pixels; pixel (0, 0) has its centre at (0.5, 0.5)."""

    centre: Floats  # (N, 2) column and row
    covariance: Floats  # (N, 3) xx, xy, yy
    opacity: Floats  # (N,) at the centre
    colour: Floats  # (N, 3)
    depth: Floats  # (N,)

    @property
    def reach(self) -> Floats:
        """(N,) the squared distance, in standard deviations, at which each falls to FAINTEST."""
        return 2 * np.log(self.opacity * np.float32(1 / FAINTEST))


def render(gaussians: Gaussians, extrinsics: Floats, intrinsics: Floats, size: int) -> Picture:
    """The Gaussians as a camera sees them.

    Args:
        extrinsics: (4, 4) world to OpenCV's view space.
        intrinsics: (3, 3) of a picture of side 1.
        size: pixels along each side.
    """
    splats = project(gaussians, extrinsics, intrinsics, size)
    splats, boxes = _on_picture(splats, size)
    starts, members = _by_tile(boxes, -(-size // _TILE))
    packed = _packed(splats)
    canvas = np.zeros((size, size, 5), np.float32)  # red, green, blue, depth, light let through
    canvas[..., 4] = 1
    tile_rows = range(-(-size // _TILE))
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        list(threads.map(lambda row: _draw(row, starts, members, packed, boxes, canvas), tile_rows))
    alpha = 1 - canvas[..., 4]
    return Picture(canvas[..., :3].copy(), alpha, canvas[..., 3] / np.where(alpha > 0, alpha, 1))


def project(gaussians: Gaussians, extrinsics: Floats, intrinsics: Floats, size: int) -> Splats:
    """The Gaussians in front of a camera as ellipses, those left out that cover nothing anywhere."""
    turn, shift = extrinsics[:3, :3].astype(np.float32), extrinsics[:3, 3].astype(np.float32)
    x, y, z = _turned(turn, gaussians.positions.T) + shift[:, None]
    order = np.flatnonzero(z > NEAREST)
    order = order[np.argsort(z[order], kind="stable")]
    x, y, z = x[order], y[order], z[order]
    focal, middle = intrinsics[[0, 1], [0, 1]].astype(np.float32) * size, intrinsics[:2, 2].astype(np.float32) * size
    limit = np.float32(_MARGIN * size / 2) / focal
    axes = gaussians.axes[:, :, order]
    seen = []
    for k, tangent in enumerate((x / z, y / z)):
        # A row of the Jacobian, turned into the world.
        towards = turn[k, :, None] - tangent.clip(-limit[k], limit[k]) * turn[2, :, None]
        seen.append((focal[k] / z * towards)[:, None] * axes)
    u, v = (part.sum(axis=0) for part in seen)  # (3, N) what each of a Gaussian's own axes spans on the picture
    covariance = np.stack([(u * u).sum(axis=0), (u * v).sum(axis=0), (v * v).sum(axis=0)], axis=1)
    before = (np.cross(u, v, axis=0) ** 2).sum(axis=0)  # the determinant, without a difference that could vanish
    after = before + np.float32(BLUR) * (covariance[:, 0] + covariance[:, 2]) + np.float32(BLUR**2)
    covariance[:, [0, 2]] += np.float32(BLUR)
    opacity = gaussians.opacities[order] * np.sqrt(before / after)
    centre = np.stack([focal[0] * x / z + middle[0], focal[1] * y / z + middle[1]], axis=1)
    splats = Splats(centre, covariance, opacity, gaussians.colours[order], z)
    return _chosen(splats, opacity > FAINTEST)


def _turned(matrix: Floats, points: Floats) -> Floats:
    """(3, N) written out, since a matrix product would go through BLAS, which starts threads."""
    return np.stack([row[0] * points[0] + row[1] * points[1] + row[2] * points[2] for row in matrix])


def _chosen(splats: Splats, rows: Floats) -> Splats:
    return Splats(*(part[rows] for part in splats))


def _on_picture(splats: Splats, size: int) -> tuple[Splats, Ints]:
    """The splats that reach a pixel, and (N, 4) their first and last columns, first and last rows."""
    half = np.sqrt(splats.reach[:, None] * splats.covariance[:, [0, 2]])
    first = np.ceil(splats.centre - half - 0.5).clip(0, size)
    last = np.floor(splats.centre + half - 0.5).clip(-1, size - 1)
    seen = (first <= last).all(axis=1)
    boxes = np.stack([first[:, 0], last[:, 0], first[:, 1], last[:, 1]], axis=1)[seen].astype(np.int32)
    return _chosen(splats, seen), boxes


def _packed(splats: Splats) -> Floats:
    """(N, 11) what drawing needs of each splat, side by side in memory.

    Row by row an ellipse is a distance of the row, dy² / yy, and a Gaussian along the row whose middle lies at
    dy xy / yy and whose variance is det / yy.
    """
    xx, xy, yy = splats.covariance.T
    along = [1 / yy, xy / yy, yy / (xx * yy - xy * xy)]
    columns = [*splats.centre.T, *along, splats.reach, splats.opacity, *splats.colour.T, splats.depth]
    return np.stack(columns, axis=1).astype(np.float32)


@njit(nogil=True, cache=True)
def _by_tile(boxes, tiles):  # type: ignore[no-untyped-def]
    """Where the members of each tile start, and the members: rows of `boxes`, in their order."""
    starts = np.zeros(tiles * tiles + 1, np.int64)
    for index in range(boxes.shape[0]):
        for row in range(boxes[index, 2] // _TILE, boxes[index, 3] // _TILE + 1):
            for column in range(boxes[index, 0] // _TILE, boxes[index, 1] // _TILE + 1):
                starts[row * tiles + column + 1] += 1
    starts = np.cumsum(starts)
    members, free = np.empty(starts[-1], np.int32), starts.copy()
    for index in range(boxes.shape[0]):
        for row in range(boxes[index, 2] // _TILE, boxes[index, 3] // _TILE + 1):
            for column in range(boxes[index, 0] // _TILE, boxes[index, 1] // _TILE + 1):
                members[free[row * tiles + column]] = index
                free[row * tiles + column] += 1
    return starts, members


@njit(nogil=True, cache=True)
def _draw(tile_row, starts, members, packed, boxes, canvas):  # type: ignore[no-untyped-def]
    """One row of tiles, each until its pixels let nothing more through."""
    size = canvas.shape[0]
    tiles = (size + _TILE - 1) // _TILE
    top, bottom = tile_row * _TILE, min(tile_row * _TILE + _TILE, size) - 1
    for tile_column in range(tiles):
        left, right = tile_column * _TILE, min(tile_column * _TILE + _TILE, size) - 1
        open_pixels = (bottom - top + 1) * (right - left + 1)
        tile = tile_row * tiles + tile_column
        for place in range(starts[tile], starts[tile + 1]):
            index = members[place]
            x, y, across, lean, along, reach, opacity, red, green, blue, depth = packed[index]
            for row in range(max(top, boxes[index, 2]), min(bottom, boxes[index, 3]) + 1):
                dy = np.float32(row + 0.5) - y
                beyond = dy * dy * across
                if beyond > reach:
                    continue
                half, middle = np.sqrt((reach - beyond) / along), x + lean * dy
                first = max(int(np.ceil(middle - half - np.float32(0.5))), left)
                last = min(int(np.floor(middle + half - np.float32(0.5))), right)
                for column in range(first, last + 1):
                    light = canvas[row, column, 4]
                    if light < SPENT:
                        continue
                    dx = np.float32(column + 0.5) - middle
                    covered = opacity * np.exp(np.float32(-0.5) * (beyond + dx * dx * along))
                    covered = min(covered, np.float32(DENSEST))
                    weight = light * covered
                    canvas[row, column, 0] += weight * red
                    canvas[row, column, 1] += weight * green
                    canvas[row, column, 2] += weight * blue
                    canvas[row, column, 3] += weight * depth
                    canvas[row, column, 4] = light - weight
                    if light - weight < SPENT:
                        open_pixels -= 1
            if open_pixels == 0:
                break
