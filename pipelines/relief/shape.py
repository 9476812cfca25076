"""One cut-out picture -> a closed solid with relief."""

from dataclasses import dataclass

import cv2
import numpy as np

from geometry import inflate, solid
from geometry.cleanup import close, drop_small_parts
from geometry.mesh import Floats, Ints, is_closed, unit
from geometry.sample import sample
from pipelines.errors import InputError
from pipelines.foreground import without_dust
from pipelines.relief.params import ReliefParams

MASK_GRID = {"standard": 320, "high": 512}
DEEPEST = 0.47  # half depth, so that the solid stays within the unit cube
BACK_DEPTH = 0.8  # of the squared half depth: backs are flatter than fronts


@dataclass(frozen=True, eq=False)
class Solid:
    """A dense closed mesh in the unit cube, and the smooth normals of the surface it stands for.

    Attributes:
        front: (n, n) profile, squared half depth in pixels of the grid; `back` the same for the far side.
    """

    vertices: Floats
    faces: Ints
    front: Floats
    back: Floats

    def normals_at(self, points: Floats) -> Floats:
        """(V, 3) unit normals of the smooth surface at points on or near it."""
        side = self.front.shape[0]
        column, row = (points[:, 0] + 0.5) * side - 0.5, (0.5 - points[:, 1]) * side - 0.5
        ahead = points[:, 2] >= 0
        near, far = (sample(_gradient(profile), column, row) for profile in (self.front, self.back))
        slope = np.where(ahead[:, None], near, far)
        return unit(np.column_stack([-slope[:, 0], slope[:, 1], 2 * side * points[:, 2]]))

    def normal_pictures(self) -> tuple[Floats, Floats]:
        """(n, n, 3) normals of the front and of the back, both as seen through the front view."""
        pictures = []
        for profile, sign in ((self.front, 1), (self.back, -1)):
            slope = _gradient(profile)
            half = 2 * sign * np.sqrt(np.maximum(profile, 0))
            pictures.append(unit(np.dstack([-slope[..., 0], slope[..., 1], half])))
        return pictures[0], pictures[1]


def solid_from_picture(canvas: Floats, params: ReliefParams) -> Solid:
    """The body behind one outline.

    Args:
        canvas: (T, T, 4) premultiplied colours and alpha, the object within its margins.
    Raises:
        InputError: nothing solid is left of the outline.
    """
    grid = MASK_GRID[params.quality]
    small = cv2.resize(canvas, (grid, grid), interpolation=cv2.INTER_AREA)
    alpha = coverage(small[..., 3])
    body = inflate.profile(alpha, params.depth)
    if body.max() <= 0:
        raise InputError("nothing solid is left of the object's outline; send a larger picture of it")
    body *= np.float32(min(1.0, (DEEPEST * grid) ** 2 / float(body.max())))
    colours = small[..., :3] / np.maximum(small[..., 3:], 1e-3)
    luminance = np.clip(colours, 0, 1) @ np.array([0.299, 0.587, 0.114], np.float32)
    bumps = inflate.detail(alpha, luminance)
    front = inflate.with_relief(body, bumps, inflate.signed_distance(alpha), params.relief)
    back = np.where(body > 0, BACK_DEPTH * body, body)
    vertices, faces = solid.two_sided(halved(front), halved(back))
    vertices, faces = drop_small_parts(*close(vertices, faces))
    if not is_closed(faces):
        raise InputError("the outline is too ragged to become a solid; send a cleaner cut-out")
    return Solid(vertices, faces, front, back)


def coverage(alpha: Floats) -> Floats:
    """Alpha on the mask grid without dust and pin-holes; very thin things count as covering what they touch."""
    if alpha.max() < 0.5:
        alpha = np.clip(alpha / max(float(alpha.max()), 1e-6), 0, 1)
    return without_dust((alpha * 255).round().astype(np.uint8)).astype(np.float32) / 255


def halved(profile: Floats) -> Floats:
    """The profile on a grid of half the side, in that grid's units."""
    side = profile.shape[0] // 2
    return (profile.reshape(side, 2, side, 2).mean(axis=(1, 3)) / 4).astype(np.float32)


def _gradient(profile: Floats) -> Floats:
    """(n, n, 2) change of the profile per pixel along columns and rows."""
    soft = cv2.GaussianBlur(profile, (0, 0), 0.8, borderType=cv2.BORDER_REPLICATE)
    down, right = np.gradient(soft)
    return np.dstack([right, down]).astype(np.float32)
