"""Pictures of decoded splats: what they give to a texture, and one to look at."""

import numpy as np

from geometry.cameras import orbit, perspective, sphere_views
from geometry.gaussians import Gaussians
from geometry.mesh import Pixels
from geometry.splatting import render, render_views
from geometry.views import View

THUMBNAIL = 512
VIEWS, VIEW_SIDE = 40, 768
_LEAST_ALPHA = 0.5  # of a pixel whose colour counts
_FROM_UPRIGHT = np.array([[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], np.float32)  # +Y up to +Z up
_FRONT = np.radians([[180 + 28, 12]])  # yaw and pitch of a camera before the object's front, a little to its side
_DISTANCE, _FIELD_OF_VIEW = 2.0, np.radians(40)


def splat_views(gaussians: Gaussians, count: int = VIEWS, side: int = VIEW_SIDE) -> list[View]:
    """So many pictures from all around, for a mesh of +Y up."""
    lens = perspective(_FIELD_OF_VIEW)
    cameras = orbit(sphere_views(count), _DISTANCE)
    seen = []
    for camera, picture in zip(cameras, render_views(gaussians, cameras, lens, side), strict=True):
        colour = picture.colour / np.maximum(picture.alpha, _LEAST_ALPHA)[..., None]
        pixels = (colour.clip(0, 1) * 255).round().astype(np.uint8)
        seen.append(View(pixels, camera @ _FROM_UPRIGHT, lens, picture.alpha >= _LEAST_ALPHA))
    return seen


def splat_thumbnail(gaussians: Gaussians) -> Pixels:
    """(S, S, 3) the splats on white."""
    picture = render(gaussians, orbit(_FRONT, _DISTANCE)[0], perspective(_FIELD_OF_VIEW), THUMBNAIL)
    on_white = picture.colour + (1 - picture.alpha[..., None])
    return (on_white.clip(0, 1) * 255).round().astype(np.uint8)
