"""Pictures and fine detail -> textures on a mesh's UV."""

from typing import Literal

import cv2
import numpy as np
from numba import njit

from geometry.mesh import Floats, Ints, Mask, Mesh, Pixels, unit
from geometry.rasterize import Fragments, rasterize
from geometry.unwrap import TwoSheets

BakeMode = Literal["pbr", "opt", "fast"]


def rasterize_uv(uv: Floats, faces: Ints, size: int) -> Fragments:
    """The face and barycentrics of each texel of a `size` x `size` texture, row 0 at the top."""
    texels = np.stack(
        [uv[:, 0] * np.float64(size), (1 - uv[:, 1].astype(np.float64)) * size, np.zeros(len(uv))], axis=1
    )
    return rasterize(texels, faces, size, size)


def fill_outside(image: Pixels, mask: Mask) -> Pixels:
    """The image with every pixel outside the mask replaced by the nearest inside it."""
    if mask.all() or not mask.any():
        return image
    # The 5 x 5 distance is repeatable to the bit; OpenCV's exact one is not.
    _, labels = cv2.distanceTransformWithLabels(
        (~mask).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    nearest = np.zeros(int(labels.max()) + 1, np.int64)
    nearest[labels[mask]] = np.flatnonzero(mask)
    return image.reshape(-1, *image.shape[2:])[nearest[labels]]


def pull_push(colour: Floats, weight: Floats) -> Floats:
    """Smooth colours everywhere from weighted ones somewhere: means of ever coarser grids fill what finer ones lack.

    Args:
        colour: (H, W, C); weight: (H, W) in [0, 1], of which some are positive.
    """
    height, width = weight.shape
    known = np.clip(weight, 0, 1)[..., None]
    if min(height, width) <= 1:
        mean = (colour * known).sum(axis=(0, 1)) / max(float(known.sum()), 1e-9)
        return np.broadcast_to(mean, colour.shape).astype(np.float32)
    half = ((width + 1) // 2, (height + 1) // 2)
    mass = cv2.resize(weight, half, interpolation=cv2.INTER_AREA)
    coarse = cv2.resize(colour * weight[..., None], half, interpolation=cv2.INTER_AREA).reshape(half[1], half[0], -1)
    coarse = coarse / np.maximum(mass, 1e-9)[..., None]
    below = pull_push(coarse, np.minimum(mass * 4, 1))
    spread = cv2.resize(below, (width, height), interpolation=cv2.INTER_LINEAR).reshape(colour.shape)
    return (known * colour + (1 - known) * spread).astype(np.float32)


def bake_sheets(front: Pixels, back: Pixels, layout: TwoSheets, mode: BakeMode) -> Pixels:
    """(size, size, C) atlas of two pictures of the unit cube's front view, each filled beyond the outline.

    Args:
        front: (T, T, C) as seen from the front; `back` in the same place, not mirrored.
        mode: "fast" takes one bilinear sample a texel, the others the mean of four.
    """
    half = layout.size // 2
    height, width = (half, layout.size) if layout.stacked else (layout.size, half)
    cells = []
    for picture, is_back in ((front, False), (back, True)):
        corner = np.array([0, half]) if layout.stacked and is_back else np.array([half, 0]) if is_back else np.zeros(2)
        cells.append(_warp(picture, layout, is_back, corner, (height, width), mode))
    return np.concatenate(cells, axis=0 if layout.stacked else 1)


def _warp(
    picture: Pixels,
    layout: TwoSheets,
    back: bool,
    corner: Floats,
    shape: tuple[int, int],
    mode: BakeMode,
) -> Pixels:
    """One sheet's cell of the atlas: the affine map from the picture's pixels to its texels."""
    side = picture.shape[0]
    probe = layout.texels(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), back) - corner
    finer = 1 if mode == "fast" else 2
    across, origin = (probe[1, 0] - probe[0, 0]) / side * finer, probe[0] * finer
    along = -(probe[2, 1] - probe[0, 1]) / side * finer
    # Picture column c (centre at c + 0.5) lies at x = (c + 0.5) / side - 0.5; OpenCV counts from pixel centres.
    matrix = np.array(
        [
            [across, 0, origin[0] + across * (0.5 - side / 2) - 0.5],
            [0, along, origin[1] + along * (0.5 - side / 2) - 0.5],
        ]
    )
    size = (shape[1] * finer, shape[0] * finer)
    cell = cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return cell if finer == 1 else cv2.resize(cell, shape[::-1], interpolation=cv2.INTER_AREA)


def tangents(normals: Floats, direction: Floats) -> Floats:
    """(V, 4) unit tangents: `direction` of growing u made perpendicular to the normal; the bitangent's sign is +1."""
    along = (normals * direction).sum(axis=1, keepdims=True)
    flat = direction - along * normals
    # Where u grows straight along the normal any perpendicular will do; this one is continuous around a vertical edge.
    spare = np.stack([normals[:, 2], np.zeros(len(normals)), -normals[:, 0]], axis=1)
    length = np.sqrt((flat * flat).sum(axis=1, keepdims=True))
    chosen = np.where(length > 1e-3, flat / np.maximum(length, 1e-20), unit(spare))
    return np.concatenate([unit(chosen), np.ones((len(normals), 1), np.float32)], axis=1).astype(np.float32)


def u_directions(mesh: Mesh) -> Floats:
    """(V, 3) object-space direction in which u grows at each vertex, the mean over its faces."""
    assert mesh.uv is not None
    total = np.zeros((len(mesh.vertices), 3))
    points, flat = mesh.vertices[mesh.faces].astype(np.float64), mesh.uv[mesh.faces].astype(np.float64)
    first, second = points[:, 1] - points[:, 0], points[:, 2] - points[:, 0]
    dv1, dv2 = flat[:, 1, 1] - flat[:, 0, 1], flat[:, 2, 1] - flat[:, 0, 1]
    # Charts are never mirrored, so the sign of the area is known and only its size need not be divided out.
    along = first * dv2[:, None] - second * dv1[:, None]
    for corner in range(3):
        np.add.at(total, mesh.faces[:, corner], along)
    return unit(total)


def bake_normal_map(fragments: Fragments, faces: Ints, normals: Floats, tangent: Floats, fine: Floats) -> Pixels:
    """(N, N, 3) tangent-space map, green up, of fine object-space normals (N, N, 3) of any length on a coarse mesh."""
    picture = np.empty((*fragments.face.shape, 3), np.uint8)
    picture[:] = (128, 128, 255)
    _to_tangent_space(fragments.face, fragments.bary, faces, normals, tangent, fine, picture)
    return picture


@njit(cache=True)
def _to_tangent_space(face, bary, faces, normals, tangent, fine, picture):  # type: ignore[no-untyped-def]
    frame = np.zeros((3, 3))
    local = np.zeros(3)
    for row in range(face.shape[0]):
        for column in range(face.shape[1]):
            index = face[row, column]
            if index < 0:
                continue
            u, v = bary[row, column, 0], bary[row, column, 1]
            i, j, k = faces[index, 0], faces[index, 1], faces[index, 2]
            for c in range(3):
                frame[0, c] = u * normals[i, c] + v * normals[j, c] + (1 - u - v) * normals[k, c]
                frame[2, c] = fine[row, column, c]
                frame[1, c] = u * tangent[i, c] + v * tangent[j, c] + (1 - u - v) * tangent[k, c]
            for line in range(3):
                length = np.sqrt(frame[line, 0] ** 2 + frame[line, 1] ** 2 + frame[line, 2] ** 2)
                for c in range(3):
                    frame[line, c] /= max(length, 1e-12)
            n, t, f = frame[0], frame[1], frame[2]
            local[0] = t[0] * f[0] + t[1] * f[1] + t[2] * f[2]
            local[1] = (
                (n[1] * t[2] - n[2] * t[1]) * f[0]
                + (n[2] * t[0] - n[0] * t[2]) * f[1]
                + (n[0] * t[1] - n[1] * t[0]) * f[2]
            )
            # Steeper than this the coarse mesh and the fine one disagree about where they are, not about detail.
            local[2] = max(n[0] * f[0] + n[1] * f[1] + n[2] * f[2], 0.3)
            length = np.sqrt(local[0] ** 2 + local[1] ** 2 + local[2] ** 2)
            for c in range(3):
                picture[row, column, c] = np.uint8(127.5 + 127.5 * local[c] / length + 0.5)


def interpolate(fragments: Fragments, faces: Ints, values: Floats) -> Floats:
    """(N, C) values of the covered pixels, in reading order."""
    covered = fragments.face >= 0
    corners = faces[fragments.face[covered]]
    u, v = fragments.bary[covered].T
    return (
        values[corners[:, 0]] * u[:, None]
        + values[corners[:, 1]] * v[:, None]
        + values[corners[:, 2]] * (1 - u - v)[:, None]
    ).astype(np.float32)
