"""Colours of the finished mesh: from the five pictures, and from the splats where those see nothing well.

Letters: T surface points.
"""

import cv2
import numpy as np

from geometry.cameras import FIVE_VIEWS
from geometry.finish import ColourAt
from geometry.gaussians import Gaussians
from geometry.mesh import Floats, Ints, Mask
from geometry.views import SeenAt, camera_view, splat_views, view_colours, weighted_view_colours
from pipelines.synchuman.views import FACE, VIEWS, MultiView

SPLAT_VIEWS, SPLAT_SIDE = 30, 768
_RIM = 1 / 384  # of a picture's side: along outlines the white around them shines through
_SEAM = 0.08  # of the face picture's side, over which it takes the place of the front view
_WELL, _BADLY = 0.12, 0.02  # weight of what one picture shows at 54 degrees, and at 68


def seen_colours(
    pictures: MultiView,
    gaussians: Gaussians,
    vertices: Floats,
    faces: Ints,
    views: int = SPLAT_VIEWS,
    side: int = SPLAT_SIDE,
) -> ColourAt:
    """What the pictures show at places of the mesh, and the splats where they show it badly; NaN where neither does.

    Args:
        gaussians: +Z up.
        vertices: (N, 3) of the mesh, +Y up.
        views, side: of the pictures of splats.
    """
    shots = [_shot(pictures, view, vertices, faces) for view in range(len(VIEWS))]
    splats_at = view_colours(vertices, faces, splat_views(gaussians, views, side), robust=True)

    def colour_at(points: Floats, normals: Floats) -> Floats:
        colours, weight = _pictures_at(shots, points, normals)
        colours[weight == 0] = np.nan
        share = _smooth((weight - _BADLY) / (_WELL - _BADLY))
        badly = np.flatnonzero(share < 1)
        shown, splats, part = colours[badly], splats_at(points[badly], normals[badly]), share[badly, None]
        both = np.where(np.isnan(shown), splats, part * shown + (1 - part) * splats)
        colours[badly] = np.where(np.isnan(splats), shown, both)
        return colours

    return colour_at


def _shot(pictures: MultiView, view: int, vertices: Floats, faces: Ints) -> SeenAt:
    picture, something = pictures.seen(view)
    seen = camera_view(np.ascontiguousarray(picture), FIVE_VIEWS[view], _without_rim(something))
    return weighted_view_colours(vertices, faces, [seen])


def _pictures_at(shots: list[SeenAt], points: Floats, normals: Floats) -> tuple[Floats, Floats]:
    """(T, 3) colours and (T,) how well they are seen: 1 from straight ahead."""
    close, weight = shots[FACE](points, normals)
    nearer = np.where(weight > 0, _inset(points), 0)
    total, shares, seen = (nearer * weight**2)[:, None] * close, nearer * weight**2, nearer * weight
    for view, shot in enumerate(shots[:FACE]):
        colours, weight = shot(points, normals)
        weight = weight * (1 - nearer) if view == 0 else weight
        # Squared, so that of two pictures that do not quite agree the better one is seen and not their mean.
        total += (weight**2)[:, None] * colours
        shares, seen = shares + weight**2, seen + weight
    return total / np.maximum(shares, np.float32(1e-12))[:, None], seen


def _inset(points: Floats) -> Floats:
    """(T,) how far the face picture takes the place of the front view: 1 within it, 0 at its edges and beyond."""
    column, row, _ = FIVE_VIEWS[FACE].project(points, 1).T
    edge = np.minimum(np.minimum(column, 1 - column), np.minimum(row, 1 - row))
    return _smooth(edge / _SEAM)


def _smooth(values: Floats) -> Floats:
    """From 0 at 0 to 1 at 1, flat at both."""
    held = np.clip(values, 0, 1)
    return (held * held * (3 - 2 * held)).astype(np.float32)


def _without_rim(something: Mask) -> Mask:
    """The mask without a few pixels along its outline; the picture's edge is none."""
    wide = 1 + 2 * max(round(_RIM * len(something)), 1)
    return cv2.erode(np.ascontiguousarray(something).astype(np.uint8), np.ones((wide, wide), np.uint8)) > 0
