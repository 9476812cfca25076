"""Where the viewer stands. View space: x right, y up, z towards the camera."""

from dataclasses import dataclass

import numpy as np

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
