"""Pictures land on the surface where they were taken of it."""

import numpy as np
import pytest
import trimesh

from geometry.cameras import FIVE_VIEWS, Camera
from geometry.rasterize import rasterize
from geometry.views import View, _project, bake_views, camera_view, inverse_depth, view_colours

LENS = np.array([[1.4, 0, 0.5], [0, 1.4, 0.5], [0, 0, 1]])


def looking_from(eye: np.ndarray) -> np.ndarray:
    forward = -eye / np.linalg.norm(eye)
    right = np.cross(forward, [0.1, 0, 1])
    right /= np.linalg.norm(right)
    turn = np.stack([right, np.cross(forward, right), forward])
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn, -turn @ eye
    return matrix


def paint(points: np.ndarray) -> np.ndarray:
    return 128 + 90 * np.sin(points * [7, 9, 8])


def photographed(solid: trimesh.Trimesh, count: int = 14, side: int = 256) -> list[View]:
    """The solid, painted by place, seen from all around on black."""
    views = []
    for eye in trimesh.creation.icosphere(1).vertices[:count] * 2:
        blank = View(np.zeros((side, side, 3), np.uint8), looking_from(eye), LENS)
        place = _project(solid.vertices, blank)
        points = np.column_stack([place[:, :2] * side, 1 / place[:, 2]])
        seen = rasterize(points, solid.faces, side, side)
        known = seen.face >= 0
        # Back from the pixel and its depth to the world.
        row, column = np.nonzero(known)
        z = 1 / seen.depth[known]
        camera = np.stack([((column + 0.5) / side - 0.5) / 1.4 * z, ((row + 0.5) / side - 0.5) / 1.4 * z, z], axis=1)
        world = (camera - blank.extrinsics[:3, 3]) @ blank.extrinsics[:3, :3]
        picture = np.zeros((side, side, 3), np.uint8)
        picture[known] = paint(world)
        views.append(View(picture, blank.extrinsics, LENS, known))
    return views


def test_every_point_takes_the_colour_that_it_was_painted() -> None:
    ball = trimesh.creation.icosphere(4, 0.45)
    colours = view_colours(ball.vertices, ball.faces, photographed(ball))(ball.vertices, ball.vertex_normals)
    assert not np.isnan(colours).any()
    assert np.abs(colours - paint(ball.vertices)).mean() < 2
    assert np.abs(colours - paint(ball.vertices)).max() < 12


def test_what_hides_behind_something_takes_nothing_from_it() -> None:
    """A white ball before a black one: seen from its side, none of the white arrives on the black."""
    front = trimesh.creation.icosphere(3, 0.2).apply_translation([0, -0.3, 0])
    back = trimesh.creation.icosphere(3, 0.2).apply_translation([0, 0.3, 0])
    both = trimesh.util.concatenate([front, back])
    view = View(np.full((128, 128, 3), 255, np.uint8), looking_from(np.array([0, -2.0, 0])), LENS)
    depth = inverse_depth(both.vertices, both.faces, view)
    _, weight = bake_views(both.vertices, both.vertex_normals, [view], [depth], 0.006)
    assert (weight[: len(front.vertices)] > 0).sum() > 100
    assert (weight[len(front.vertices) :] > 0).sum() == 0


def test_one_lying_view_is_outvoted() -> None:
    ball = trimesh.creation.icosphere(3, 0.45)
    views = photographed(ball, 40)
    liar = View(255 - views[3].picture, views[3].extrinsics, LENS, views[3].known)
    views[3] = liar
    plain, robust = (
        view_colours(ball.vertices, ball.faces, views, robust)(ball.vertices, ball.vertex_normals)
        for robust in (False, True)
    )
    wrong, right = (np.abs(colours - paint(ball.vertices)).mean(axis=1) for colours in (plain, robust))
    touched = wrong > 15
    assert touched.sum() > 30
    assert np.median(right[touched]) < 0.3 * np.median(wrong[touched])


def test_unseen_points_are_not_a_number() -> None:
    ball = trimesh.creation.icosphere(3, 0.45)
    colours = view_colours(ball.vertices, ball.faces, photographed(ball, 1))(ball.vertices, ball.vertex_normals)
    assert 0.3 < np.isnan(colours[:, 0]).mean() < 0.9


CAMERAS = [*FIVE_VIEWS, Camera(0.7, -0.4, 0.3, (0.1, 0.2, -0.1), 1.7)]


@pytest.mark.parametrize("camera", CAMERAS)
def test_the_view_of_a_camera_shows_points_where_the_camera_does(camera: Camera) -> None:
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (50, 3))
    view = camera_view(np.zeros((4, 4, 3), np.uint8), camera)
    place, wanted = _project(points, view), camera.project(points, 64)
    assert np.abs(64 * place[:, :2] - wanted[:, :2]).max() < 1e-9
    assert np.abs(place[:, 2] + wanted[:, 2] - (camera.distance or 2)).max() < 1e-9
    assert (place[:, 2] > 0).all()


@pytest.mark.parametrize("camera", CAMERAS)
def test_a_camera_puts_its_colours_on_what_it_sees_and_on_nothing_behind(camera: Camera) -> None:
    """A small ball before a large one; the picture is red where the small one is, and green elsewhere."""
    towards = camera.rotation[2]
    near = trimesh.creation.icosphere(4, 0.06).apply_translation(camera.target + 0.3 * towards)
    far = trimesh.creation.icosphere(4, 0.15).apply_translation(camera.target - 0.2 * towards)
    both = trimesh.util.concatenate([near, far])
    seen = rasterize(camera.project(near.vertices, 256), near.faces, 256, 256).face >= 0
    view = camera_view(np.where(seen[..., None], [200, 0, 0], [0, 200, 0]).astype(np.uint8), camera)
    found = view_colours(both.vertices, both.faces, [view])(both.vertices, both.vertex_normals)
    small, large = found[: len(near.vertices)], found[len(near.vertices) :]
    unseen = both.vertex_normals @ towards < 0
    assert np.isnan(found[unseen]).all() and (~np.isnan(found[:, 0])).sum() > 800
    assert np.nanmean(small[:, 0] > 150) == pytest.approx((~np.isnan(small[:, 0])).mean(), abs=0.01)
    assert np.nanmax(large[:, 0]) < 20
