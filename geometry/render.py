"""Pictures of a mesh: flat views for stage 1, and lit ones that people look at."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from geometry import shading
from geometry.cameras import Camera
from geometry.mesh import Floats, Mesh, Pixels
from geometry.rasterize import Fragments, rasterize

BACKDROP = ((246, 246, 244), (214, 215, 216))  # middle and corners of the neutral ground
CONTACT = 96  # side of the shadow map


@dataclass(frozen=True)
class Scene:
    """A mesh with its texture, ready to be looked at.

    Attributes:
        mesh: with uv and normals.
        texture: (N, N, 3) uint8 sRGB.
    """

    mesh: Mesh
    texture: Pixels


def flat_views(scene: Scene, camera: Camera, size: int) -> tuple[Pixels, Pixels]:
    """Colour and camera-space normals on white, both (size, size, 3); unlit, the outline smooth."""
    mesh = scene.mesh
    assert mesh.uv is not None and mesh.normals is not None
    fragments, cover = _smooth_outline(mesh, camera, size)
    colour = shading.albedo(fragments, cover, mesh.faces, mesh.uv, scene.texture)
    normal = shading.normals_as_colour(fragments, cover, mesh.faces, view_normals(mesh.normals, camera))
    return colour, normal


def _smooth_outline(mesh: Mesh, camera: Camera, size: int) -> tuple[Fragments, Pixels]:
    """One fragment for each pixel that the mesh touches, and how many of its quarters are covered."""
    coarse = rasterize(camera.project(mesh.vertices, size), mesh.faces, size, size, cull=True)
    fine = rasterize(camera.project(mesh.vertices, 2 * size), mesh.faces, 2 * size, 2 * size, cull=True)
    return coarse, shading.quarters(coarse, fine)


def lit_view(scene: Scene, camera: Camera, size: int, supersample: float = 2.0) -> Pixels:
    """(size, size, 4) the lit mesh, colours premultiplied by alpha."""
    mesh, fine = scene.mesh, round(size * supersample)
    assert mesh.uv is not None and mesh.normals is not None
    fragments = rasterize(camera.project(mesh.vertices, fine), mesh.faces, fine, fine, cull=True)
    occlusion = _occlusion(fragments, camera.extent)
    picture = shading.lit(fragments, mesh.faces, mesh.uv, view_normals(mesh.normals, camera), scene.texture, occlusion)
    return cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)


def thumbnail(scene: Scene, size: int = 512) -> Pixels:
    """(size, size, 3) a three-quarter view on a soft ground with a contact shadow."""
    camera = _framing(scene.mesh, np.radians(-28), np.radians(12), all_round=False)
    return _composed(scene, camera, size, _contact_shadow(scene.mesh), supersample=2.0)


def turntable(scene: Scene, frames: int = 30, size: int = 288) -> Iterator[Pixels]:
    """(size, size, 3) pictures of one turn, the first from the front."""
    shadow = _contact_shadow(scene.mesh)
    for frame in range(frames):
        camera = _framing(scene.mesh, 2 * np.pi * frame / frames, np.radians(10), all_round=True)
        yield _composed(scene, camera, size, shadow, supersample=1.5)


def view_normals(normals: Floats, camera: Camera) -> Floats:
    """Normals turned into the camera's frame."""
    x, y, z = normals.T
    return np.stack([r[0] * x + r[1] * y + r[2] * z for r in camera.rotation.astype(np.float32)], axis=1)


def _framing(mesh: Mesh, azimuth: float, elevation: float, all_round: bool) -> Camera:
    """A camera that holds the whole mesh; `all_round` keeps the distance the same for every azimuth."""
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    middle = (low + high) / 2
    target = (float(middle[0]), float(middle[1]), float(middle[2]))
    tall = float(high[1] - low[1])
    centred = mesh.vertices - middle
    around = float(np.sqrt(centred[:, 0] ** 2 + centred[:, 2] ** 2).max())
    if not all_round:
        around = float(np.abs(np.cos(azimuth) * centred[:, 0] - np.sin(azimuth) * centred[:, 2]).max())
    half = max(around, 0.5 * tall * np.cos(elevation) + 0.5 * around * np.sin(elevation))
    return Camera(float(azimuth), float(elevation), 1.16 * half, target, 5.0 * half)


def _composed(scene: Scene, camera: Camera, size: int, shadow: Floats, supersample: float) -> Pixels:
    light = 1 - _cast(shadow, scene.mesh, camera, size)
    picture = lit_view(scene, camera, size, supersample)
    light *= 1 - picture[..., 3] * np.float32(1 / 255)
    ground = cv2.multiply(_backdrop(size), cv2.merge([light, light, light]))
    return cv2.add(picture[..., :3], ground, dtype=cv2.CV_8U)


@cache
def _backdrop(size: int) -> Floats:
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size - 0.5
    far = np.clip((x * x + (y + 0.08) ** 2) * 2.0, 0, 1)[..., None]
    return (np.array(BACKDROP[0], np.float32) * (1 - far) + np.array(BACKDROP[1], np.float32) * far).astype(np.float32)


def _shadow_corners(mesh: Mesh) -> tuple[Floats, float]:
    """The four ground corners of the shadow map, and half its side."""
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    middle = (low + high) / 2
    half = 0.75 * float(max(high[0] - low[0], high[2] - low[2])) + 0.05
    signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float32) * half
    corners = np.stack([middle[0] + signs[:, 0], np.full(4, low[1]), middle[2] + signs[:, 1]], axis=1)
    return corners.astype(np.float32), half


def _contact_shadow(mesh: Mesh) -> Floats:
    """(CONTACT, CONTACT) darkness of the ground, columns along x and rows along z: what hovers low shades most."""
    corners, half = _shadow_corners(mesh)
    place = (mesh.vertices[:, [0, 2]] - corners[0, [0, 2]]) * (CONTACT / (2 * half))
    lowest = rasterize(np.column_stack([place, -mesh.vertices[:, 1]]), mesh.faces, CONTACT, CONTACT).depth
    above = np.where(np.isfinite(lowest), -lowest - mesh.vertices[:, 1].min(), 9.0).astype(np.float32)
    tight = cv2.GaussianBlur(np.exp(-above / 0.02), (0, 0), 1.6)
    wide = cv2.GaussianBlur(np.exp(-above / 0.22), (0, 0), 6.0)
    return np.clip(0.38 * tight + 0.42 * wide, 0, 0.75).astype(np.float32)


def _cast(shadow: Floats, mesh: Mesh, camera: Camera, size: int) -> Floats:
    """The shadow map as the camera sees the ground."""
    corners, _ = _shadow_corners(mesh)
    seen = camera.project(corners, size)[:, :2].astype(np.float32)
    flat = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32) * CONTACT
    matrix = cv2.getPerspectiveTransform(flat, seen)
    return cv2.warpPerspective(shadow, matrix, (size, size), flags=cv2.INTER_LINEAR)


def _occlusion(fragments: Fragments, extent: float) -> Floats:
    """(H, W) ambient light that arrives: less where the surface lies behind its surroundings."""
    size = fragments.depth.shape[0]
    quarter = size // 4
    covered = (fragments.face >= 0).astype(np.float32)
    depth = np.where(covered > 0, fragments.depth, np.float32(0))
    mass = cv2.resize(covered, (quarter, quarter), interpolation=cv2.INTER_AREA)
    small = cv2.resize(depth, (quarter, quarter), interpolation=cv2.INTER_AREA)
    dark = np.zeros((quarter, quarter), np.float32)
    for reach in (0.02, 0.06):
        sigma = max(reach * quarter, 0.8)
        around = cv2.GaussianBlur(small, (0, 0), sigma) / np.maximum(cv2.GaussianBlur(mass, (0, 0), sigma), 1e-3)
        behind = (around - small / np.maximum(mass, 1e-3)) / (2 * extent * reach)
        dark += np.clip(behind, 0, 1.2) * 0.38
    ambient = np.clip(1 - dark, 0.25, 1).astype(np.float32)
    return cv2.resize(ambient, (size, size), interpolation=cv2.INTER_LINEAR)
