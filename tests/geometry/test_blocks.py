"""Blocks are closed, outward and where their voxels are."""

import numpy as np

from geometry.blocks import blocks
from geometry.mesh import is_closed, merge_positions, signed_volume, vertex_normals


def test_a_single_voxel_is_a_cube_in_its_place() -> None:
    mesh = blocks(np.array([[1, 2, 3]], np.int32), 4)
    assert len(mesh.faces) == 12
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    # x 1 to 2, z 3 to 4 and y 2 to 3 of four cells, +Z up turned to +Y up.
    assert np.allclose(low, [-0.25, 0.25, -0.25]) and np.allclose(high, [0.0, 0.5, 0.0])
    assert np.isclose(signed_volume(mesh.vertices, mesh.faces), 1 / 64)


def test_shared_sides_are_left_out_and_the_rest_is_closed() -> None:
    filled = np.argwhere(np.random.default_rng(3).random((6, 6, 6)) < 0.3).astype(np.int32)
    plus = np.array([[2, 2, 2], [1, 2, 2], [3, 2, 2], [2, 1, 2], [2, 3, 2], [2, 2, 1], [2, 2, 3]], np.int32)
    mesh = blocks(plus, 5)
    assert len(mesh.faces) == 2 * 30
    assert is_closed(merge_positions(mesh.vertices, mesh.faces)[1])
    scattered = blocks(filled, 6)
    assert np.isclose(signed_volume(scattered.vertices, scattered.faces), len(filled) / 6**3)


def test_normals_are_those_of_the_sides() -> None:
    mesh = blocks(np.array([[0, 0, 0], [0, 0, 1]], np.int32), 2)
    assert mesh.normals is not None
    assert np.allclose(mesh.normals, vertex_normals(mesh.vertices, mesh.faces))
