"""Out of the Z-up frame that learned shapes have, into those of files: glTF's, and the other one of splat viewers."""

import numpy as np

from geometry.mesh import Floats


def to_glb(points: Floats) -> Floats:
    """(N, 3) Z-up points with Y up: (x, z, -y)."""
    x, y, z = points.T
    return np.stack([x, z, -y], axis=1)


def to_splats(points: Floats) -> Floats:
    """(N, 3) Z-up points as Gaussian PLY files hold them: (x, -z, y), half a turn about x away from `to_glb`."""
    x, y, z = points.T
    return np.stack([x, -z, y], axis=1)


def from_splats(points: Floats) -> Floats:
    """The opposite of `to_splats`."""
    return to_glb(points)


def rotations_to_splats(quaternions: Floats) -> Floats:
    """(N, 4) unit quaternions wxyz after the turn of `to_splats`, the largest part positive."""
    return _about_x(quaternions, 1.0)


def rotations_from_splats(quaternions: Floats) -> Floats:
    """The opposite of `rotations_to_splats`, up to the sign."""
    return _about_x(quaternions, -1.0)


def _about_x(quaternions: Floats, sign: float) -> Floats:
    """A quarter turn about x, counter-clockwise for +1, after the given rotations."""
    w, x, y, z = quaternions.T
    turned = np.stack([w - sign * x, x + sign * w, y - sign * z, z + sign * y], axis=1)
    turned /= np.linalg.norm(turned, axis=1, keepdims=True)
    largest = np.take_along_axis(turned, np.abs(turned).argmax(axis=1)[:, None], axis=1)
    return np.where(largest < 0, -turned, turned)
