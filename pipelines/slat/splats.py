"""A picture of decoded splats to look at."""

import numpy as np

from geometry.cameras import orbit, perspective
from geometry.gaussians import Gaussians
from geometry.mesh import Pixels
from geometry.splatting import render

THUMBNAIL = 512
_FRONT = np.radians([[180 + 28, 12]])  # yaw and pitch of a camera before the object's front, a little to its side
_DISTANCE, _FIELD_OF_VIEW = 2.0, np.radians(40)


def splat_thumbnail(gaussians: Gaussians) -> Pixels:
    """(S, S, 3) the splats on white."""
    picture = render(gaussians, orbit(_FRONT, _DISTANCE)[0], perspective(_FIELD_OF_VIEW), THUMBNAIL)
    on_white = picture.colour + (1 - picture.alpha[..., None])
    return (on_white.clip(0, 1) * 255).round().astype(np.uint8)
