"""Colours of splats end up on the side of the mesh where the splats have them."""

import numpy as np
import trimesh

from geometry.axes import to_glb
from geometry.gaussians import SH_DC, Gaussians
from geometry.views import splat_views, view_colours
from pipelines.slat.splats import splat_thumbnail

RED, GREEN, BLUE, GREY = [0.9, 0.1, 0.1], [0.1, 0.9, 0.1], [0.1, 0.1, 0.9], [0.5, 0.5, 0.5]


def painted_ball() -> Gaussians:
    """Splats on a ball, +Z up: red towards +X, green towards -Y, the front, blue on top."""
    steps = np.arange(20_000)
    z = 1 - 2 * (steps + 0.5) / len(steps)
    angle = np.pi * (3 - 5**0.5) * steps
    around = np.sqrt(1 - z * z)
    points = np.stack([around * np.cos(angle), around * np.sin(angle), z], axis=1)
    colours = np.select(
        [points[:, :1] > 0.6, points[:, 1:2] < -0.6, points[:, 2:] > 0.6],
        [np.array(colour) for colour in (RED, GREEN, BLUE)],
        GREY,
    )
    count = len(points)
    turns = np.tile(np.array([1, 0, 0, 0], np.float32), (count, 1))
    return Gaussians(
        (0.35 * points).astype(np.float32),
        ((colours - 0.5) / SH_DC).astype(np.float32),
        np.full((count, 3), 0.006, np.float32),
        turns,
        np.full(count, 0.95, np.float32),
    )


def test_views_put_each_colour_on_its_side() -> None:
    ball = trimesh.creation.icosphere(4, 0.35)  # +Y up or +Z up is the same to it
    colour_at = view_colours(
        ball.vertices.astype(np.float32), ball.faces, splat_views(painted_ball(), 40, 768), robust=True
    )
    sides = np.array([[1, 0, 0], [0, -1, 0], [0, 0, 1], [-1, 0, 0], [0, 1, 0]], np.float32)
    found = colour_at(to_glb(0.35 * sides), to_glb(sides))
    assert np.abs(found - 255 * np.array([RED, GREEN, BLUE, GREY, GREY])).max() < 12


def test_the_thumbnail_shows_the_front() -> None:
    picture = splat_thumbnail(painted_ball()).astype(int)
    middle = picture[236:276, 236:276].mean(axis=(0, 1))
    assert middle[1] > middle[0] + 60 and middle[1] > middle[2] + 60, "green is the front"
    assert (picture[:20] == 255).all()
