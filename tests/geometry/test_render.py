"""Views show the right side in the right place and colours."""

import cv2
import numpy as np
import pytest
import trimesh

from geometry import render, shading
from geometry.cameras import FIVE_VIEWS, Camera
from geometry.mesh import Mesh, vertex_normals


@pytest.fixture(scope="module")
def scene() -> render.Scene:
    """A ball whose texture is red where x < 0 and blue where x > 0."""
    ball = trimesh.creation.icosphere(5, 0.4)
    vertices = ball.vertices.astype(np.float32)
    texture = np.zeros((64, 64, 3), np.uint8)
    texture[:, :32, 0] = texture[:, 32:, 2] = 255
    mesh = Mesh(
        vertices, ball.faces.astype(np.int32), vertices[:, :2] + np.float32(0.5), vertex_normals(vertices, ball.faces)
    )
    return render.Scene(mesh, texture)


def test_the_front_view_is_the_texture_on_white(scene: render.Scene) -> None:
    colour, _ = render.flat_views(scene, Camera(), 256)
    assert tuple(colour[128, 60]) == (255, 0, 0)
    assert tuple(colour[128, 196]) == (0, 0, 255)
    assert tuple(colour[4, 4]) == (255, 255, 255)


def test_the_back_view_is_mirrored(scene: render.Scene) -> None:
    colour, _ = render.flat_views(scene, FIVE_VIEWS[2], 256)
    assert tuple(colour[128, 60]) == (0, 0, 255)


def test_normals_of_a_ball_are_its_own_shape(scene: render.Scene) -> None:
    for camera in FIVE_VIEWS[:4]:
        _, normal = render.flat_views(scene, camera, 256)
        y, x = np.mgrid[0:256, 0:256]
        x, y = (x - 127.5) / 102.4, (127.5 - y) / 102.4
        inside = x * x + y * y < 0.8
        true = np.dstack([x, y, np.sqrt(np.maximum(1 - x * x - y * y, 0))])[inside]
        assert np.abs(normal[inside] / 127.5 - 1 - true).max() < 0.03


def test_the_close_up_is_the_enlarged_middle_of_the_top(scene: render.Scene) -> None:
    whole, _ = render.flat_views(scene, FIVE_VIEWS[0], 768)
    close, _ = render.flat_views(scene, FIVE_VIEWS[4], 768)
    expected = cv2.resize(whole[0:256, 256:512], (768, 768), interpolation=cv2.INTER_LINEAR)
    assert np.abs(close.astype(int) - expected).mean() < 1.5


def test_outlines_are_smooth_and_exact(scene: render.Scene) -> None:
    """The share of the picture covered is the disc's area, to a part in a thousand."""
    fragments, cover = render._smooth_outline(scene.mesh, Camera(), 256)
    assert np.isclose(cover.sum() / 4, np.pi * 102.4**2, rtol=2e-3)
    assert (fragments.face[cover > 0] >= 0).all()


def test_the_side_towards_the_key_light_is_brighter(scene: render.Scene) -> None:
    grey = render.Scene(scene.mesh, np.full((8, 8, 3), 150, np.uint8))
    picture = render.lit_view(grey, Camera(), 128)
    assert picture[45, 45, :3].mean() > picture[90, 90, :3].mean() + 25
    assert picture[2, 2, 3] == 0
    assert picture[64, 64, 3] == 255
    assert shading.LIGHTS[0, 0] < 0 < shading.LIGHTS[0, 1]


def test_a_turn_shows_every_side_and_stays_in_the_picture(scene: render.Scene) -> None:
    frames = list(render.turntable(scene, frames=6, size=96))
    assert len(frames) == 6
    assert all(frame.shape == (96, 96, 3) for frame in frames)
    assert len({frame.tobytes() for frame in frames}) == 6
    assert all(abs(int(frame[0, 48].min()) - int(frames[0][0, 48].min())) < 3 for frame in frames)
    assert render.thumbnail(scene, 128).shape == (128, 128, 3)
