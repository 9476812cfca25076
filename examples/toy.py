"""A rubber duck of ellipsoids from any side: pictures that agree, and the exact solid to compare with."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from paint import colour
from PIL import Image

SUPERSAMPLE = 3


class Part(NamedTuple):
    """An ellipsoid: centre and half axes, +Y up, the duck looks towards +Z."""

    centre: tuple[float, float, float]
    axes: tuple[float, float, float]
    tint: str


DUCK = (
    Part((0.0, -0.15, -0.02), (0.235, 0.19, 0.30), "#f7c531"),
    Part((0.0, 0.16, 0.12), (0.165, 0.165, 0.165), "#f9cf3f"),
    Part((0.0, 0.0, 0.07), (0.13, 0.12, 0.13), "#f8ca38"),
    Part((0.0, 0.12, 0.285), (0.075, 0.035, 0.085), "#ef7d22"),
    Part((0.0, -0.03, -0.29), (0.095, 0.085, 0.10), "#f5bd28"),
    Part((0.20, -0.11, -0.06), (0.075, 0.105, 0.165), "#f3b41f"),
    Part((-0.20, -0.11, -0.06), (0.075, 0.105, 0.165), "#f3b41f"),
    Part((0.085, 0.20, 0.245), (0.030, 0.038, 0.022), "#1f1a17"),
    Part((-0.085, 0.20, 0.245), (0.030, 0.038, 0.022), "#1f1a17"),
    Part((0.10, 0.216, 0.262), (0.010, 0.011, 0.008), "#ffffff"),
    Part((-0.075, 0.216, 0.262), (0.010, 0.011, 0.008), "#ffffff"),
)


def occupied(x: NDArray[np.floating], y: NDArray[np.floating], z: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Whether points lie within the duck."""
    inside = np.zeros(np.broadcast(x, y, z).shape, bool)
    for part in DUCK:
        (cx, cy, cz), (a, b, c) = part.centre, part.axes
        inside |= ((x - cx) / a) ** 2 + ((y - cy) / b) ** 2 + ((z - cz) / c) ** 2 < 1
    return inside


def duck_view(degrees: float, size: int = 512) -> Image.Image:
    """RGBA picture of the duck; 0 is its front, 90 the view from +X, its own left."""
    fine = size * SUPERSAMPLE
    y, x = np.mgrid[0:fine, 0:fine].astype(np.float64)
    x, y = (x + 0.5) / fine - 0.5, 0.5 - (y + 0.5) / fine
    nearest = np.full(x.shape, -np.inf)
    picture = np.zeros((fine, fine, 4))
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    light = np.array([-0.4, 0.65, 0.65]) / np.sqrt(0.16 + 2 * 0.4225)
    for part in DUCK:
        box = _box(part, c, s, fine)
        depth, normal = _ray(part, x[box], y[box], c, s)
        front = depth > nearest[box]
        facing = np.clip((normal[front] * light).sum(axis=1), 0, 1)
        gleam = np.clip((normal[front] * (light + [0, 0, 1]) / np.sqrt(2 + 2 * light[2])).sum(axis=1), 0, 1) ** 40
        tone = 0.62 + 0.46 * facing + 0.08 * normal[front][:, 1]
        shaded = np.clip(colour(part.tint) * tone[:, None] + 0.25 * gleam[:, None], 0, 1)
        picture[box][front] = np.column_stack([shaded, np.ones(len(shaded))])
        nearest[box][front] = depth[front]
    blocks = picture.reshape(size, SUPERSAMPLE, size, SUPERSAMPLE, 4)
    alpha = blocks[..., 3:].mean(axis=(1, 3))
    mixed = (blocks[..., :3] * blocks[..., 3:]).mean(axis=(1, 3)) / np.maximum(alpha, 1e-9)
    return Image.fromarray((np.dstack([mixed, alpha]) * 255).round().astype(np.uint8))


def _box(part: Part, c: float, s: float, side: int) -> tuple[slice, slice]:
    """Rows and columns of the picture that the ellipsoid may touch."""
    across = c * part.centre[0] - s * part.centre[2]
    wide, tall = np.hypot(c * part.axes[0], s * part.axes[2]), part.axes[1]
    ends = [((0.5 - part.centre[1] - tall) * side, (0.5 - part.centre[1] + tall) * side)]
    ends.append(((0.5 + across - wide) * side, (0.5 + across + wide) * side))
    rows, columns = (slice(max(int(low) - 1, 0), int(high) + 2) for low, high in ends)
    return rows, columns


def _ray(
    part: Part, x: NDArray[np.float64], y: NDArray[np.float64], c: float, s: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Depth (-inf where missed) and view-space normal where each pixel's ray meets the ellipsoid first."""
    # A view point (x, y, t) lies at world (c x + s t, y, -s x + c t); scaled by the axes it is a ray against a sphere.
    axes = np.array(part.axes)
    start = (np.stack([c * x, y, -s * x], axis=-1) - part.centre) / axes
    step = np.array([s, 0.0, c]) / axes
    a, b, k = (step**2).sum(), (start * step).sum(axis=-1), (start**2).sum(axis=-1) - 1
    root = b * b - a * k
    hit = root > 0
    t = np.where(hit, (-b + np.sqrt(np.maximum(root, 0))) / a, -np.inf)
    world = (start + np.where(hit, t, 0)[..., None] * step) / axes
    world /= np.sqrt((world**2).sum(axis=-1, keepdims=True)) + 1e-12
    view = np.stack(
        [c * world[..., 0] - s * world[..., 2], world[..., 1], s * world[..., 0] + c * world[..., 2]], axis=-1
    )
    return t, view
