"""Both rasterisers draw the same picture, and it is the right one."""

import numpy as np
import pytest
import trimesh

from geometry.cameras import Camera
from geometry.rasterize import rasterize, rasterize_vectorised


@pytest.mark.parametrize("cull", [False, True])
def test_the_twins_agree_to_the_bit(cull: bool) -> None:
    knot = trimesh.creation.torus(0.3, 0.12)
    points = Camera(azimuth=0.7, elevation=0.4).project(knot.vertices, 200)
    fast, plain = (
        rasterize(points, knot.faces, 200, 200, cull),
        rasterize_vectorised(points, knot.faces, 200, 200, cull),
    )
    assert (fast.face >= 0).sum() > 5000
    assert np.array_equal(fast.face, plain.face)
    assert np.array_equal(fast.bary, plain.bary)
    assert np.array_equal(fast.depth, plain.depth)


def test_the_twins_agree_on_triangles_that_leave_the_picture_and_on_slivers() -> None:
    random = np.random.default_rng(3)
    points = random.uniform(-40, 120, (90, 3))
    points[:6, 1] = 30.5  # degenerate: a line
    faces = np.arange(90).reshape(-1, 3)
    fast, plain = rasterize(points, faces, 64, 80), rasterize_vectorised(points, faces, 64, 80)
    assert np.array_equal(fast.face, plain.face)
    assert np.array_equal(fast.depth, plain.depth)


def test_the_nearer_face_wins_and_the_first_among_equals() -> None:
    square = np.array([[0, 0, 1], [8, 0, 1], [8, 8, 1], [0, 8, 1]], float)
    nearer = square + [0, 0, 1]
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    points = np.concatenate([square, nearer, nearer])
    result = rasterize(points, np.concatenate([faces, faces + 4, faces + 8]), 8, 8)
    assert set(np.unique(result.face)) == {2, 3}
    assert (result.depth == 2).all()


def test_two_triangles_cover_a_square_without_a_gap() -> None:
    points = np.array([[1, 1, 0], [63, 2, 0], [62, 61, 0], [2, 60, 0]], float)
    result = rasterize(points, np.array([[0, 1, 2], [0, 2, 3]]), 64, 64)
    (ax, ay), (bx, by) = points[2, :2] - points[0, :2], points[3, :2] - points[1, :2]
    area = 0.5 * abs(ax * by - ay * bx)
    assert abs((result.face >= 0).sum() - area) < 0.01 * area


def test_culling_leaves_the_visible_side_of_a_closed_solid() -> None:
    ball = trimesh.creation.icosphere(3, 0.4)
    points = Camera().project(ball.vertices, 128)
    culled, all_ = rasterize(points, ball.faces, 128, 128, cull=True), rasterize(points, ball.faces, 128, 128)
    assert np.array_equal(culled.face, all_.face)


def test_azimuth_turns_the_camera_towards_plus_x_and_elevation_lifts_it() -> None:
    from_x = Camera(azimuth=np.pi / 2).project(np.array([[0.4, 0, 0], [0, 0, 0.4]]), 100)
    assert from_x[0, 2] > 0.39  # +X is nearest
    assert from_x[1, 0] < 11  # the front (+Z) is at the picture's left edge
    from_above = Camera(elevation=np.pi / 2).project(np.array([[0, 0.4, 0], [0, 0, 0.4]]), 100)
    assert from_above[0, 2] > 0.39
    assert from_above[1, 1] > 89  # the front is at the bottom
