"""Facts about meshes on shapes whose answers are known."""

import subprocess
import sys

import numpy as np
import trimesh

from geometry import mesh


def test_a_box_is_closed_with_its_own_volume() -> None:
    box = trimesh.creation.box((1, 2, 3))
    assert mesh.is_closed(box.faces)
    assert mesh.euler_number(box.faces) == 2
    assert np.isclose(mesh.signed_volume(box.vertices, box.faces), 6)


def test_turning_the_faces_turns_the_sign_of_the_volume() -> None:
    ball = trimesh.creation.icosphere(3)
    assert mesh.signed_volume(ball.vertices, ball.faces[:, ::-1]) == -mesh.signed_volume(ball.vertices, ball.faces)


def test_a_torus_has_euler_number_zero() -> None:
    assert mesh.euler_number(trimesh.creation.torus(1, 0.3).faces) == 0


def test_a_missing_a_doubled_and_a_turned_face_each_break_closedness() -> None:
    faces = trimesh.creation.icosphere(2).faces
    assert not mesh.is_closed(faces[1:])
    assert not mesh.is_closed(np.concatenate([faces, faces[:1]]))
    turned = faces.copy()
    turned[0] = turned[0][::-1]
    assert not mesh.is_closed(turned)
    assert not mesh.is_closed(faces[:0])


def test_components_are_counted_like_trimesh_does() -> None:
    parts = [trimesh.creation.icosphere(1), trimesh.creation.torus(1, 0.3), trimesh.creation.box()]
    whole = trimesh.util.concatenate(parts)
    part = mesh.face_components(whole.faces, len(whole.vertices))
    assert np.bincount(part).tolist() == [len(p.faces) for p in parts]


def test_merging_undoes_a_split_and_knows_that_zero_has_two_signs() -> None:
    box = trimesh.creation.box()
    soup = box.vertices[box.faces].reshape(-1, 3).astype(np.float32)
    soup[soup == 0] = -0.0
    merged, faces = mesh.merge_positions(soup, np.arange(len(soup)).reshape(-1, 3))
    assert len(merged) == 8
    assert mesh.is_closed(faces)


def test_normals_of_a_ball_point_outwards() -> None:
    ball = trimesh.creation.icosphere(3)
    normals = mesh.vertex_normals(ball.vertices, ball.faces)
    assert (normals * ball.vertices).sum(axis=1).min() > 0.999


def test_the_light_modules_load_no_heavy_library() -> None:
    code = (
        "import sys, geometry.mesh, geometry.inspect, geometry.export;"
        "heavy = {'torch', 'cv2', 'numba', 'scipy', 'skimage', 'trimesh'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
