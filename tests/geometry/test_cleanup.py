"""Repair closes what was broken, and finds what nobody can see."""

import numpy as np
import trimesh

from geometry import cleanup, mesh
from geometry.simplify import simplify


def test_forty_punched_holes_are_closed() -> None:
    ball = trimesh.creation.icosphere(5)
    random = np.random.default_rng(1)
    kept = np.ones(len(ball.faces), bool)
    kept[random.choice(len(ball.faces), 40, replace=False)] = False
    vertices, faces = cleanup.close(ball.vertices, ball.faces[kept])
    assert mesh.is_closed(faces)
    assert mesh.euler_number(faces) == 2
    assert np.isclose(mesh.signed_volume(vertices, faces), ball.volume, rtol=1e-3)


def test_wide_holes_doubled_turned_and_degenerate_faces_are_mended() -> None:
    ball = trimesh.creation.icosphere(4)
    low = ball.triangles_center[:, 1] < -0.9
    faces = ball.faces[~low]
    turned = faces[10:12, ::-1]
    broken = np.concatenate([faces, faces[:3], turned, faces[:2, [0, 0, 1]]])
    vertices, mended = cleanup.close(ball.vertices, broken)
    assert mesh.is_closed(mended)
    assert mesh.euler_number(mended) == 2
    assert 0.9 < mesh.signed_volume(vertices, mended) / ball.volume <= 1.001


def test_a_third_face_on_an_edge_goes() -> None:
    ball = trimesh.creation.icosphere(2)
    a, b, _ = ball.faces[0]
    faces = np.concatenate([ball.faces, [[a, b, len(ball.vertices)]]])
    _, mended = cleanup.close(np.concatenate([ball.vertices, [[2, 2, 2]]]), faces)
    assert mesh.is_closed(mended)


def test_dust_is_dropped_and_real_parts_stay() -> None:
    parts = [trimesh.creation.icosphere(3), trimesh.creation.icosphere(2, 0.4), trimesh.creation.icosphere(1, 0.01)]
    for k, part in enumerate(parts):
        part.apply_translation([3 * k, 0, 0])
    whole = trimesh.util.concatenate(parts)
    _, faces = cleanup.drop_small_parts(whole.vertices, whole.faces)
    assert len(faces) == len(parts[0].faces) + len(parts[1].faces)


def test_simplifying_keeps_holes_volume_and_closedness() -> None:
    torus = trimesh.creation.torus(1, 0.35, major_sections=200, minor_sections=100)
    for target in (8000, 800):
        vertices, faces = simplify(torus.vertices, torus.faces, target)
        assert abs(len(faces) - target) < 0.1 * target
        assert mesh.is_closed(faces)
        assert mesh.euler_number(faces) == 0
        assert np.isclose(mesh.signed_volume(vertices, faces), torus.volume, rtol=0.03)


def test_a_target_beyond_the_mesh_changes_nothing() -> None:
    ball = trimesh.creation.icosphere(2)
    _, faces = simplify(ball.vertices, ball.faces, 10_000)
    assert len(faces) == len(ball.faces)
