"""The careful collapse keeps a mesh closed and connected as it was."""

import numpy as np
import pytest
import trimesh

from geometry import mesh
from geometry.collapse import collapse


@pytest.mark.parametrize("target", [6000, 600, 60])
def test_a_torus_stays_a_closed_torus(target: int) -> None:
    torus = trimesh.creation.torus(1, 0.35, major_sections=100, minor_sections=50)
    vertices, faces = collapse(torus.vertices, torus.faces, target)
    assert target - 2 <= len(faces) <= target
    assert mesh.is_closed(faces)
    assert mesh.euler_number(faces) == 0
    assert np.isclose(mesh.signed_volume(vertices, faces), torus.volume, rtol=0.02 if target > 60 else 0.3)


def test_flat_sides_go_first_and_corners_stay() -> None:
    box = trimesh.creation.box((2, 1, 1)).subdivide().subdivide().subdivide()
    vertices, faces = collapse(box.vertices, box.faces, 12)
    assert mesh.is_closed(faces)
    assert len(faces) == 12
    assert np.isclose(mesh.signed_volume(vertices, faces), 2, rtol=1e-4)


def test_nothing_is_collapsed_below_a_tetrahedron() -> None:
    ball = trimesh.creation.icosphere(2)
    _, faces = collapse(ball.vertices, ball.faces, 0)
    assert mesh.is_closed(faces)
    assert mesh.euler_number(faces) == 2


def test_the_border_of_an_open_mesh_stays() -> None:
    ball = trimesh.creation.icosphere(4)
    bowl = trimesh.Trimesh(ball.vertices, ball.faces[ball.triangles_center[:, 1] < 0.1])
    vertices, faces = collapse(bowl.vertices, bowl.faces, 1200)
    coarse = trimesh.Trimesh(vertices, faces, process=False)
    assert len(faces) <= 1200
    border = [set(map(tuple, np.round(m.vertices[m.outline().referenced_vertices], 5))) for m in (bowl, coarse)]
    assert border[0] == border[1]
