"""What nobody can see goes, what anybody can see stays."""

import numpy as np
import pytest
import trimesh

from geometry import mesh, visibility


def shells() -> trimesh.Trimesh:
    """A ball within a ball, its own cavity, and a small ball beside them."""
    parts = [trimesh.creation.icosphere(3, radius) for radius in (1.0, 0.9, 0.5)]
    parts[1].invert()
    parts.append(trimesh.creation.icosphere(2, 0.2).apply_translation([1.5, 0, 0]))
    return trimesh.util.concatenate(parts)


@pytest.mark.parametrize("quick", [False, True])
def test_hidden_shells_are_dropped_and_the_outer_ones_stay(quick: bool) -> None:
    whole = shells()
    vertices, faces = visibility.drop_hidden(whole.vertices, whole.faces, quick)
    assert len(faces) == 1280 + 320
    assert np.isclose(np.linalg.norm(vertices, axis=1).max(), 1.7, atol=1e-3)
    assert mesh.is_closed(faces)


def test_a_ball_in_an_open_bowl_stays() -> None:
    bowl = trimesh.creation.icosphere(4, 1.0)
    bowl.update_faces(bowl.triangles_center[:, 1] < 0.3)
    both = trimesh.util.concatenate([bowl, trimesh.creation.icosphere(2, 0.3)])
    _, faces = visibility.drop_hidden(both.vertices, both.faces)
    assert len(faces) == len(both.faces)


def test_every_ray_leaves_a_ball_and_half_of_them_a_floor_beneath_a_wall() -> None:
    ball = trimesh.creation.icosphere(3)
    assert (visibility.face_visibility(ball.vertices, ball.faces, np.arange(len(ball.faces))) == 1).all()
    floor = np.array([[-1, 0, -1], [-1, 0, 1], [1, 0, 0]]) * 0.01
    wall = np.array([[0.02, -50, -50], [0.02, 50, -50], [0.02, 0, 90]])
    seen = visibility.face_visibility(np.concatenate([floor, wall]), np.arange(6).reshape(2, 3), np.array([0]))
    assert abs(seen[0] - 0.5) < 0.1


def test_directions_are_even_around_the_sphere() -> None:
    fan = visibility.directions().astype(np.float64)
    assert np.allclose(np.linalg.norm(fan, axis=1), 1, atol=1e-6)
    assert np.linalg.norm(fan.mean(axis=0)) < 0.02
    assert np.allclose(fan.T @ fan / len(fan), np.eye(3) / 3, atol=0.02)


def test_a_mesh_that_is_all_hidden_from_rays_is_left_whole() -> None:
    """An inside-out ball sees only itself."""
    ball = trimesh.creation.icosphere(2)
    ball.invert()
    _, faces = visibility.drop_hidden(ball.vertices, ball.faces)
    assert len(faces) == len(ball.faces)
