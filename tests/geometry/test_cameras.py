"""The cameras, turns and spread points are those of the reference."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from geometry.axes import from_splats, rotations_from_splats, rotations_to_splats, to_glb, to_splats
from geometry.cameras import gl_projection, gl_view, orbit, perspective, sphere_views
from geometry.hammersley import hammersley

FIXTURES = Path(__file__).parents[1] / "fixtures" / "trellis"
GIVEN = load_file(FIXTURES / "cameras_axes" / "inputs.safetensors")
WANTED = load_file(FIXTURES / "cameras_axes" / "outputs.safetensors")
TOLERANCE = 1e-5


def test_views_of_the_sphere_are_those_of_the_reference_poles_included() -> None:
    angles = sphere_views(12)
    assert np.abs(angles - WANTED["yaw_pitch"]).max() < TOLERANCE
    assert np.abs(orbit(angles, 2.0) - WANTED["extrinsics"]).max() < TOLERANCE


def test_every_camera_stands_where_its_angles_say_and_looks_at_the_origin() -> None:
    angles = sphere_views(50)[1:]
    extrinsics = orbit(angles, 1.7).astype(np.float64)
    turns = extrinsics[:, :3, :3]
    assert np.allclose(turns @ turns.transpose(0, 2, 1), np.eye(3), atol=1e-6)
    assert np.allclose(np.linalg.det(turns), 1, atol=1e-6)
    eyes = -np.einsum("nji,nj->ni", turns, extrinsics[:, :3, 3])
    yaw, pitch = angles.T
    outward = np.stack([np.sin(yaw) * np.cos(pitch), np.cos(yaw) * np.cos(pitch), np.sin(pitch)], axis=1)
    assert np.allclose(eyes, 1.7 * outward, atol=1e-6)
    assert (turns[:, 1, 2] < 0).all()  # up in the world is up in the picture


def test_intrinsics_and_opengl_matrices_are_those_of_the_reference() -> None:
    intrinsics = perspective(np.radians(40))
    assert np.abs(intrinsics - WANTED["intrinsics"]).max() < TOLERANCE
    assert np.abs(gl_view(WANTED["extrinsics"]) - WANTED["view_gl"]).max() < TOLERANCE
    assert np.abs(gl_projection(intrinsics, 0.1, 10.0) - WANTED["projection_gl"]).max() < TOLERANCE


def test_opengl_and_opencv_put_a_point_on_the_same_pixel() -> None:
    extrinsics, point = orbit(np.array([[0.4, 0.3]]), 2.0)[0], np.array([0.2, -0.1, 0.3, 1.0])
    intrinsics = perspective(0.7)
    intrinsics[:2, 2] = 0.4, 0.55
    x, y, w = intrinsics @ (extrinsics @ point)[:3]
    clip = gl_projection(intrinsics, 0.1, 10.0) @ gl_view(extrinsics) @ point
    assert np.allclose(clip[:2] / clip[3], [2 * x / w - 1, 1 - 2 * y / w], atol=1e-6)


def test_points_and_rotations_turn_as_in_the_reference() -> None:
    assert np.array_equal(to_glb(GIVEN["points"]), WANTED["points_glb"])
    assert np.array_equal(to_splats(GIVEN["points"]), WANTED["points_ply"])
    assert np.array_equal(from_splats(to_splats(GIVEN["points"])), GIVEN["points"])
    turned = rotations_to_splats(GIVEN["quat_wxyz"])
    assert np.abs(turned - WANTED["quat_ply"]).max() < TOLERANCE
    cosines = (rotations_from_splats(turned) * GIVEN["quat_wxyz"]).sum(axis=1)
    assert np.allclose(np.abs(cosines), 1)


def test_hammersley_points_are_mirrored_digits() -> None:
    wanted = load_file(FIXTURES / "gs_perturbation" / "outputs.safetensors")["hammersley3_32"]
    assert np.abs(hammersley(32, 3) - wanted).max() < 1e-6
    assert hammersley(8, 2)[6].tolist() == [6 / 8, 3 / 8]
    with pytest.raises(ValueError, match="dimensions is 4"):
        hammersley(8, 4)
