"""Colour of each covered pixel, in numba loops: numpy would take longer than the rasteriser itself."""

import numpy as np
from numba import njit

from geometry.mesh import Floats, Ints, Pixels
from geometry.rasterize import Fragments

_STEPS = 4096
_grey = np.arange(256) / 255
TO_LINEAR = np.where(_grey <= 0.04045, _grey / 12.92, ((_grey + 0.055) / 1.055) ** 2.4).astype(np.float32)
_ramp = np.arange(_STEPS) / (_STEPS - 1)
TO_SRGB = (255 * np.where(_ramp <= 0.0031308, _ramp * 12.92, 1.055 * _ramp ** (1 / 2.4) - 0.055)).astype(np.float32)


def _direction(x: float, y: float, z: float) -> tuple[float, float, float]:
    length = (x * x + y * y + z * z) ** 0.5
    return x / length, y / length, z / length


# Lights stand with the camera: direction towards the light, linear RGB, and how far they reach around.
LIGHTS = np.array(
    [
        (*_direction(-0.55, 0.75, 0.75), 1.02, 0.98, 0.92, 0.25),  # key, warm, upper left
        (*_direction(0.85, 0.15, 0.55), 0.20, 0.22, 0.26, 0.25),  # fill, cool, right
        (*_direction(0.45, 0.55, -0.75), 0.55, 0.57, 0.60, 0.0),  # rim, from behind
    ],
    np.float32,
)
SKY = np.array([0.40, 0.42, 0.45], np.float32)
GROUND = np.array([0.24, 0.22, 0.20], np.float32)


def quarters(coarse: Fragments, fine: Fragments) -> Pixels:
    """(H, W) how many of a pixel's four quarters `fine` covers; `coarse` gains the fragments it missed there."""
    cover = np.empty(coarse.face.shape, np.uint8)
    _quarters(coarse.face, coarse.bary, fine.face, fine.bary, cover)
    return cover


def albedo(fragments: Fragments, cover: Pixels, faces: Ints, uv: Floats, texture: Pixels) -> Pixels:
    """(H, W, 3) the texture's own colours on white, as strong as `cover` quarters."""
    picture = np.full((*fragments.face.shape, 3), 255, np.uint8)
    _albedo(fragments.face, fragments.bary, cover, faces, uv, texture, picture)
    return picture


def normals_as_colour(fragments: Fragments, cover: Pixels, faces: Ints, view_normals: Floats) -> Pixels:
    """(H, W, 3) round(127.5 + 127.5 n) on white, as strong as `cover` quarters."""
    picture = np.full((*fragments.face.shape, 3), 255, np.uint8)
    _normals(fragments.face, fragments.bary, cover, faces, view_normals, picture)
    return picture


def lit(
    fragments: Fragments, faces: Ints, uv: Floats, view_normals: Floats, texture: Pixels, occlusion: Floats
) -> Pixels:
    """(H, W, 4) the textured surface under key, fill and rim light; alpha 255 where there is any.

    Args:
        occlusion: (H, W) in [0, 1], the share of ambient light that arrives.
    """
    picture = np.zeros((*fragments.face.shape, 4), np.uint8)
    _lit(
        fragments.face,
        fragments.bary,
        faces,
        uv,
        view_normals,
        texture,
        occlusion,
        LIGHTS,
        SKY,
        GROUND,
        TO_LINEAR,
        TO_SRGB,
        picture,
    )
    return picture


@njit(cache=True, inline="always")
def _corners(faces, index, values, u, v, axis):  # type: ignore[no-untyped-def]
    return (
        values[faces[index, 0], axis] * u
        + values[faces[index, 1], axis] * v
        + values[faces[index, 2], axis] * (np.float32(1) - u - v)
    )


@njit(cache=True)
def _texel(texture, s, t, colour):  # type: ignore[no-untyped-def]
    """Bilinear colour at u, v (v upwards), 0 to 255."""
    height, width = texture.shape[:2]
    half, one = np.float32(0.5), np.float32(1)
    x = max(s * np.float32(width) - half, np.float32(0))
    y = max((one - t) * np.float32(height) - half, np.float32(0))
    left, top = min(int(x), width - 2), min(int(y), height - 2)
    a, b = min(x - np.float32(left), one), min(y - np.float32(top), one)
    for c in range(3):
        upper = np.float32(texture[top, left, c]) * (one - a) + np.float32(texture[top, left + 1, c]) * a
        lower = np.float32(texture[top + 1, left, c]) * (one - a) + np.float32(texture[top + 1, left + 1, c]) * a
        colour[c] = upper * (one - b) + lower * b


@njit(cache=True)
def _quarters(face, bary, fine_face, fine_bary, cover):  # type: ignore[no-untyped-def]
    for row in range(face.shape[0]):
        for column in range(face.shape[1]):
            count = 0
            for k in range(4):
                i, j = 2 * row + k // 2, 2 * column + k % 2
                if fine_face[i, j] >= 0:
                    count += 1
                    if face[row, column] < 0:
                        face[row, column] = fine_face[i, j]
                        bary[row, column, 0] = fine_bary[i, j, 0]
                        bary[row, column, 1] = fine_bary[i, j, 1]
            cover[row, column] = count


@njit(cache=True)
def _albedo(face, bary, cover, faces, uv, texture, picture):  # type: ignore[no-untyped-def]
    colour = np.zeros(3, np.float32)
    for row in range(face.shape[0]):
        for column in range(face.shape[1]):
            index, count = face[row, column], np.float32(cover[row, column])
            if count > 0:
                u, v = bary[row, column, 0], bary[row, column, 1]
                _texel(texture, _corners(faces, index, uv, u, v, 0), _corners(faces, index, uv, u, v, 1), colour)
                for c in range(3):
                    mixed = (colour[c] * count + np.float32(255) * (np.float32(4) - count)) * np.float32(0.25)
                    picture[row, column, c] = np.uint8(mixed + np.float32(0.5))


@njit(cache=True)
def _normals(face, bary, cover, faces, normals, picture):  # type: ignore[no-untyped-def]
    turned = np.zeros(3, np.float32)
    for row in range(face.shape[0]):
        for column in range(face.shape[1]):
            index, count = face[row, column], np.float32(cover[row, column])
            if count > 0:
                u, v = bary[row, column, 0], bary[row, column, 1]
                for c in range(3):
                    turned[c] = _corners(faces, index, normals, u, v, c)
                length = np.sqrt(turned[0] ** 2 + turned[1] ** 2 + turned[2] ** 2)
                scale = np.float32(127.5) / max(length, np.float32(1e-9))
                for c in range(3):
                    value = np.float32(127.5) + turned[c] * scale
                    mixed = (value * count + np.float32(255) * (np.float32(4) - count)) * np.float32(0.25)
                    picture[row, column, c] = np.uint8(mixed + np.float32(0.5))


@njit(cache=True)
def _lit(face, bary, faces, uv, normals, texture, occlusion, lights, sky, ground, to_linear, to_srgb, picture):  # type: ignore[no-untyped-def]
    colour = np.zeros(3, np.float32)
    light = np.zeros(3, np.float32)
    one, zero, top = np.float32(1), np.float32(0), np.float32(to_srgb.shape[0] - 1)
    # Half-way vector between the key light and the viewer, who looks along -z.
    hx, hy, hz = lights[0, 0], lights[0, 1], lights[0, 2] + one
    half = one / np.sqrt(hx * hx + hy * hy + hz * hz)
    for row in range(face.shape[0]):
        for column in range(face.shape[1]):
            index = face[row, column]
            if index < 0:
                continue
            u, v = bary[row, column, 0], bary[row, column, 1]
            _texel(texture, _corners(faces, index, uv, u, v, 0), _corners(faces, index, uv, u, v, 1), colour)
            x = _corners(faces, index, normals, u, v, 0)
            y = _corners(faces, index, normals, u, v, 1)
            z = _corners(faces, index, normals, u, v, 2)
            scale = one / max(np.sqrt(x * x + y * y + z * z), np.float32(1e-9))
            x, y, z = x * scale, y * scale, max(z * scale, zero)
            ambient = occlusion[row, column]
            upward = np.float32(0.5) + np.float32(0.5) * y
            for c in range(3):
                light[c] = (ground[c] + (sky[c] - ground[c]) * upward) * ambient
            shade = np.float32(0.6) + np.float32(0.4) * ambient
            for k in range(lights.shape[0]):
                facing = x * lights[k, 0] + y * lights[k, 1] + z * lights[k, 2] + lights[k, 6]
                if facing > zero:
                    facing *= shade / (one + lights[k, 6])
                    for c in range(3):
                        light[c] += lights[k, 3 + c] * facing
            near = max((x * hx + y * hy + z * hz) * half, zero)
            near = near * near * near
            near = near * near
            near = near * near * near * near  # the 24th power
            edge = (one - z) * (one - z)
            gleam = np.float32(0.07) * near + np.float32(0.10) * edge * edge * upward * ambient
            for c in range(3):
                value = to_linear[int(colour[c] + np.float32(0.5))] * light[c] + gleam
                # A soft shoulder instead of burnt highlights.
                value = value * np.float32(1.10) / (one + np.float32(0.18) * value)
                picture[row, column, c] = np.uint8(to_srgb[int(min(value, one) * top)] + np.float32(0.5))
            picture[row, column, 3] = 255
