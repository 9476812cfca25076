"""Where the viewer stands. View space: x right, y up, z towards the camera."""

from dataclasses import dataclass

import numpy as np

from geometry.hammersley import hammersley
from geometry.mesh import Floats


@dataclass(frozen=True)
class Camera:
    """A square picture of the unit cube.

    Attributes:
        azimuth: radians; 0 looks at the front, a quarter turn stands at +X.
        elevation: radians above the horizon.
        extent: half the side of the square seen, at the target's distance.
        target: the point in the middle of the picture.
        distance: from camera to target; None is orthographic.
    """

    azimuth: float = 0.0
    elevation: float = 0.0
    extent: float = 0.5
    target: tuple[float, float, float] = (0.0, 0.0, 0.0)
    distance: float | None = None

    @property
    def rotation(self) -> Floats:
        """(3, 3) world to view."""
        ca, sa = np.cos(self.azimuth), np.sin(self.azimuth)
        ce, se = np.cos(self.elevation), np.sin(self.elevation)
        return np.array([[ca, 0, -sa], [-sa * se, ce, -ca * se], [sa * ce, se, ca * ce]])

    def project(self, points: Floats, size: int) -> Floats:
        """(V, 3) column and row in a `size` x `size` picture, and depth along z, larger is nearer."""
        # Written out: a matrix product would go through BLAS, which starts threads.
        x, y, z = (np.asarray(points, np.float64) - self.target).T
        view = [r[0] * x + r[1] * y + r[2] * z for r in self.rotation]
        scale = 1.0 if self.distance is None else self.distance / (self.distance - view[2])
        pixels = size / (2 * self.extent)
        return np.stack([size / 2 + pixels * scale * view[0], size / 2 - pixels * scale * view[1], view[2]], axis=1)


# SyncHuman's order: front, +X, back, -X, and a close-up of columns 256..512, rows 0..256 of the 768 front view.
FIVE_VIEWS = (
    Camera(),
    Camera(azimuth=np.pi / 2),
    Camera(azimuth=np.pi),
    Camera(azimuth=-np.pi / 2),
    Camera(extent=1 / 6, target=(0.0, 1 / 3, 0.0)),
)


# Perspective cameras of the Z-up frame, as learned shapes are looked at. Extrinsics take world points to OpenCV's
# view space (x right, y down, z forward); intrinsics are those of a picture of side 1.


def sphere_views(count: int) -> Floats:
    """(count, 2) yaw and pitch, radians, evenly spread over the sphere; the first looks straight up from below."""
    u, v = hammersley(count, 2).T
    return np.stack([2 * np.pi * v, np.arccos(1 - 2 * u) - np.pi / 2], axis=1)


def orbit(angles: Floats, radius: float) -> Floats:
    """(N, 4, 4) float32 extrinsics of cameras that look at the origin, +Z up.

    Args:
        angles: (N, 2) yaw, 0 at +Y and a quarter turn at +X, and pitch above the horizon; radians.
    """
    # In float32 the cosine at a pole is -4e-8 instead of 0, so that "up" is defined there, and the same for everyone.
    yaw, pitch = angles.T.astype(np.float32)
    outward = np.stack([np.sin(yaw) * np.cos(pitch), np.cos(yaw) * np.cos(pitch), np.sin(pitch)], axis=1)
    z = -outward / np.linalg.norm(outward, axis=1, keepdims=True)
    x = np.cross(np.array([0, 0, -1], np.float32), z)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    extrinsics = np.tile(np.eye(4, dtype=np.float32), (len(angles), 1, 1))
    extrinsics[:, :3, :3] = np.stack([x, np.cross(z, x), z], axis=1)
    extrinsics[:, 2, 3] = radius
    return extrinsics


def perspective(field_of_view: float) -> Floats:
    """(3, 3) float32 intrinsics, the angle (radians) being seen across the picture."""
    focal = 0.5 / np.tan(field_of_view / 2)
    return np.array([[focal, 0, 0.5], [0, focal, 0.5], [0, 0, 1]], np.float32)


def gl_view(extrinsics: Floats) -> Floats:
    """(..., 4, 4) extrinsics with OpenGL's view space: y up, z towards the camera."""
    return extrinsics * np.array([1, -1, -1, 1], np.float32)[:, None]


def gl_projection(intrinsics: Floats, near: float, far: float) -> Floats:
    """(4, 4) float32 from OpenGL's view space to clip space, the first row of pixels at +1."""
    fx, fy, cx, cy = intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2]
    depth, product = far - near, far * near
    return np.array(
        [
            [2 * fx, 0, 1 - 2 * cx, 0],
            [0, 2 * fy, 2 * cy - 1, 0],
            [0, 0, -(far + near) / depth, -2 * product / depth],
            [0, 0, -1, 0],
        ],
        np.float32,
    )
