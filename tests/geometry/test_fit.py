"""Fitted faces lie nearer to the dense surface than the collapse left them."""

import numpy as np
import trimesh

from geometry import bvh, mesh
from geometry.fit import fit


def gap(vertices: np.ndarray, faces: np.ndarray, dense: np.ndarray) -> np.ndarray:
    return bvh.nearest(bvh.build(vertices, faces), dense).distance


def test_a_coarse_ball_grows_until_its_faces_halve_the_distance() -> None:
    coarse, dense = trimesh.creation.icosphere(2), trimesh.creation.icosphere(5).vertices
    before = gap(coarse.vertices, coarse.faces, dense)
    for rounds in (1, 2):
        fitted = fit(coarse.vertices, coarse.faces, dense, rounds)
        after = gap(fitted, coarse.faces, dense)
        assert after.mean() < 0.5 * before.mean()
        assert after.max() < 0.9 * before.max()
    assert np.allclose(mesh.signed_volume(fitted, coarse.faces), 4 / 3 * np.pi, rtol=0.01)


def test_points_far_from_the_surface_pull_nothing() -> None:
    ball = trimesh.creation.icosphere(2)
    shell = trimesh.creation.icosphere(3, 0.4).vertices
    fitted = fit(ball.vertices, ball.faces, shell)
    assert np.allclose(fitted, ball.vertices, atol=1e-6)


def test_no_face_turns_over_on_a_surface_of_noise() -> None:
    ball = trimesh.creation.icosphere(4)
    noise = np.random.default_rng(0).normal(size=(40_000, 3))
    dense = noise / np.linalg.norm(noise, axis=1, keepdims=True) * (1 + 0.02 * noise[:, :1])
    fitted = fit(ball.vertices, ball.faces, dense, 2)
    assert (trimesh.Trimesh(fitted, ball.faces, process=False).face_normals * ball.triangles_center).sum(1).min() > 0


def test_fitting_repeats_to_the_bit() -> None:
    ball, dense = trimesh.creation.icosphere(3), trimesh.creation.icosphere(5).vertices
    assert np.array_equal(fit(ball.vertices, ball.faces, dense, 2), fit(ball.vertices, ball.faces, dense, 2))
