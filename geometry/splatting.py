"""Gaussian splats -> pictures: elliptical weighted averages (Zwicker et al. 2001) with the filter of Mip-Splatting.

Each Gaussian becomes an ellipse on the picture, and the ellipses are laid over each other from the nearest on. The work
is done without the interpreter's lock, so that the tiles of a picture, or many pictures, are drawn by several threads.
"""

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from geometry.gaussians import SH_DC, Gaussians
from geometry.mesh import Floats

NEAREST = 0.2  # a Gaussian nearer to the camera's plane is not drawn
BLUR = 0.1  # variance, in pixels², that every ellipse is widened by
FAINTEST = 1 / 255  # where an ellipse covers less it ends
DENSEST = 0.99  # what one ellipse may cover of a pixel
SPENT = 1e-4  # a pixel that lets less light through is finished
_TILE = 16
# Beyond this multiple of the picture's half-width the projection is linearised at its edge, as it degenerates outside.
_MARGIN = 1.3

# An ellipse in pixels; pixel (0, 0) has its centre at (0.5, 0.5). In the row dy away from the centre it is a Gaussian
# with its middle at x + lean dy and the variance 1 / along, behind the factor exp(-across dy² / 2).
SPLAT = np.dtype(
    [(name, np.float32) for name in ("x", "y", "across", "lean", "along")]
    + [("reach", np.float32), ("opacity", np.float32)]  # reach: squared distance, in deviations, where it ends
    + [(name, np.float32) for name in ("red", "green", "blue", "depth")]
    + [(name, np.int32) for name in ("left", "right", "top", "bottom")]  # first and last column and row
)


class Picture(NamedTuple):
    """What a camera sees on black: colours are already multiplied by alpha."""

    colour: Floats  # (size, size, 3) float32 sRGB, from 0
    alpha: Floats  # (size, size) float32
    depth: Floats  # (size, size) float32 mean depth along z of what is seen, 0 where nothing is


def render(gaussians: Gaussians, extrinsics: Floats, intrinsics: Floats, size: int) -> Picture:
    """The Gaussians as a camera sees them.

    Args:
        extrinsics: (4, 4) world to OpenCV's view space.
        intrinsics: (3, 3) of a picture of side 1.
        size: pixels along each side.
    """
    with ThreadPoolExecutor(_cores()) as threads:
        return _picture(project(gaussians, extrinsics, intrinsics, size), size, threads)


def render_views(gaussians: Gaussians, extrinsics: Floats, intrinsics: Floats, size: int) -> Iterator[Picture]:
    """`render` for each of many cameras, (N, 4, 4): one thread for each picture, which is quicker for many."""
    waiting: deque[Future[Picture]] = deque()  # few, since they are large and nobody may come for them for a while
    with ThreadPoolExecutor(_cores()) as threads:
        for view in extrinsics:
            if len(waiting) > _cores():
                yield waiting.popleft().result()
            waiting.append(threads.submit(lambda v: _picture(project(gaussians, v, intrinsics, size), size), view))
        while waiting:
            yield waiting.popleft().result()


def project(gaussians: Gaussians, extrinsics: Floats, intrinsics: Floats, size: int) -> NDArray[np.void]:
    """(N,) SPLAT: the Gaussians that reach a pixel, the nearest first."""
    splats = np.empty(len(gaussians.positions), SPLAT)
    count = _project(
        *(gaussians.positions, gaussians.features_dc, gaussians.scales, gaussians.rotations, gaussians.opacities),
        *(np.asarray(extrinsics, np.float32), np.asarray(intrinsics, np.float32), size, splats),
    )
    return np.take(splats, np.argsort(splats["depth"][:count], kind="stable"))


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _picture(splats: NDArray[np.void], size: int, threads: ThreadPoolExecutor | None = None) -> Picture:
    tiles = -(-size // _TILE)
    starts, members = _by_tile(splats, tiles)
    canvas = np.zeros((size, size, 5), np.float32)  # red, green, blue, depth, light let through
    canvas[..., 4] = 1
    each = threads.map if threads else map
    for _ in each(lambda row: _draw(row, starts, members, splats, canvas), range(tiles)):
        pass
    alpha = 1 - canvas[..., 4]
    return Picture(canvas[..., :3].copy(), alpha, canvas[..., 3] / np.where(alpha > 0, alpha, 1))


@njit(nogil=True, cache=True)
def _project(  # type: ignore[no-untyped-def]
    positions, features_dc, scales, rotations, opacities, extrinsics, intrinsics, size, splats
):
    """How many splats were written."""
    focal_x, focal_y = intrinsics[0, 0] * size, intrinsics[1, 1] * size
    limit_x, limit_y = _MARGIN * 0.5 / intrinsics[0, 0], _MARGIN * 0.5 / intrinsics[1, 1]
    count = 0
    for index in range(positions.shape[0]):
        x = _dot(extrinsics[0], positions[index]) + extrinsics[0, 3]
        y = _dot(extrinsics[1], positions[index]) + extrinsics[1, 3]
        z = _dot(extrinsics[2], positions[index]) + extrinsics[2, 3]
        if z <= NEAREST:
            continue
        x, y = x / z, y / z
        held_x, held_y = min(max(x, -limit_x), limit_x), min(max(y, -limit_y), limit_y)
        u = _spans(extrinsics[0], held_x, extrinsics[2], focal_x / z, rotations[index], scales[index])
        v = _spans(extrinsics[1], held_y, extrinsics[2], focal_y / z, rotations[index], scales[index])
        xx, xy, yy = _dot(u, u), _dot(u, v), _dot(v, v)
        cross = (u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0])
        sharp = _dot(cross, cross)  # the determinant, without a difference that could vanish
        soft = sharp + BLUR * (xx + yy) + BLUR * BLUR
        xx, yy = xx + BLUR, yy + BLUR
        opacity = opacities[index] * np.sqrt(sharp / soft)
        if opacity <= FAINTEST:
            continue
        splat = splats[count]
        splat.x, splat.y = focal_x * x + intrinsics[0, 2] * size, focal_y * y + intrinsics[1, 2] * size
        splat.across, splat.lean, splat.along = 1 / yy, xy / yy, yy / soft
        splat.reach, splat.opacity, splat.depth = 2 * np.log(opacity / FAINTEST), opacity, z
        wide, tall = np.sqrt(splat.reach * xx), np.sqrt(splat.reach * yy)
        splat.left, splat.right = _pixels(splat.x, wide, size)
        splat.top, splat.bottom = _pixels(splat.y, tall, size)
        if splat.left > splat.right or splat.top > splat.bottom:
            continue
        splat.red = max(SH_DC * features_dc[index, 0] + 0.5, 0.0)
        splat.green = max(SH_DC * features_dc[index, 1] + 0.5, 0.0)
        splat.blue = max(SH_DC * features_dc[index, 2] + 0.5, 0.0)
        count += 1
    return count


@njit(nogil=True, cache=True)
def _spans(side, held, ahead, factor, quaternion, scale):  # type: ignore[no-untyped-def]
    """How far a Gaussian's own axes reach along a side of the picture: factor (side - held ahead) R scale."""
    a, b, c = side[0] - held * ahead[0], side[1] - held * ahead[1], side[2] - held * ahead[2]
    w, x, y, z = quaternion[0], quaternion[1], quaternion[2], quaternion[3]
    p, q, r = 2 * (b * z - c * y), 2 * (c * x - a * z), 2 * (a * y - b * x)
    return (
        factor * scale[0] * (a + w * p + q * z - r * y),
        factor * scale[1] * (b + w * q + r * x - p * z),
        factor * scale[2] * (c + w * r + p * y - q * x),
    )


@njit(nogil=True, cache=True)
def _dot(u, v):  # type: ignore[no-untyped-def]
    return u[0] * v[0] + u[1] * v[1] + u[2] * v[2]


@njit(nogil=True, cache=True)
def _pixels(middle, half, size):  # type: ignore[no-untyped-def]
    """The first and last pixel whose centres lie within; none if the last comes first."""
    first, last = np.ceil(middle - half - 0.5), np.floor(middle + half - 0.5)
    return int(min(max(first, 0), size)), int(max(min(last, size - 1), -1))


@njit(nogil=True, cache=True)
def _by_tile(splats, tiles):  # type: ignore[no-untyped-def]
    """Where the members of each tile start, and the members: rows of `splats`, in their order."""
    starts = np.zeros(tiles * tiles + 1, np.int64)
    for splat in splats:
        for row in range(splat.top // _TILE, splat.bottom // _TILE + 1):
            for column in range(splat.left // _TILE, splat.right // _TILE + 1):
                starts[row * tiles + column + 1] += 1
    starts = np.cumsum(starts)
    members, free = np.empty(starts[-1], np.int32), starts.copy()
    for index in range(splats.shape[0]):
        splat = splats[index]
        for row in range(splat.top // _TILE, splat.bottom // _TILE + 1):
            for column in range(splat.left // _TILE, splat.right // _TILE + 1):
                members[free[row * tiles + column]] = index
                free[row * tiles + column] += 1
    return starts, members


@njit(nogil=True, cache=True)
def _draw(tile_row, starts, members, splats, canvas):  # type: ignore[no-untyped-def]
    """One row of tiles, each until its pixels let nothing more through."""
    size = canvas.shape[0]
    tiles = (size + _TILE - 1) // _TILE
    top, bottom = tile_row * _TILE, min(tile_row * _TILE + _TILE, size) - 1
    for tile_column in range(tiles):
        left, right = tile_column * _TILE, min(tile_column * _TILE + _TILE, size) - 1
        open_pixels = (bottom - top + 1) * (right - left + 1)
        tile = tile_row * tiles + tile_column
        for place in range(starts[tile], starts[tile + 1]):
            splat = splats[members[place]]
            for row in range(max(top, splat.top), min(bottom, splat.bottom) + 1):
                dy = np.float32(row + 0.5) - splat.y
                beyond = dy * dy * splat.across
                if beyond > splat.reach:
                    continue
                half, middle = np.sqrt((splat.reach - beyond) / splat.along), splat.x + splat.lean * dy
                first = max(int(np.ceil(middle - half - np.float32(0.5))), left)
                last = min(int(np.floor(middle + half - np.float32(0.5))), right)
                for column in range(first, last + 1):
                    light = canvas[row, column, 4]
                    if light < SPENT:
                        continue
                    dx = np.float32(column + 0.5) - middle
                    covered = splat.opacity * np.exp(np.float32(-0.5) * (beyond + dx * dx * splat.along))
                    weight = light * min(covered, np.float32(DENSEST))
                    canvas[row, column, 0] += weight * splat.red
                    canvas[row, column, 1] += weight * splat.green
                    canvas[row, column, 2] += weight * splat.blue
                    canvas[row, column, 3] += weight * splat.depth
                    canvas[row, column, 4] = light - weight
                    if light - weight < SPENT:
                        open_pixels -= 1
            if open_pixels == 0:
                break
