"""The comparison of meshes sees through order, and through nothing else."""

import numpy as np
import pytest
import trimesh

from tests.meshes import same_mesh

BALL = trimesh.creation.icosphere(2)
VERTICES, FACES = np.asarray(BALL.vertices), np.asarray(BALL.faces)


def test_order_of_vertices_faces_and_corners_does_not_matter() -> None:
    order = np.random.default_rng(0).permutation(len(VERTICES))
    faces = np.roll(np.argsort(order)[FACES], 1, axis=1)[::-1]
    assert same_mesh(VERTICES[order] + 1e-4, faces, VERTICES, FACES, 1e-3) == pytest.approx(3**0.5 * 1e-4)


@pytest.mark.parametrize(
    ("vertices", "faces", "message"),
    [
        (VERTICES * 1.01, FACES, "162 of 162 vertices lie off"),
        (VERTICES[:-1], FACES, "161 vertices, the reference has 162"),
        (VERTICES, FACES[:-1], "319 faces, the reference has 320"),
        (VERTICES[np.r_[0, 0 : len(VERTICES) - 1]], FACES, "1 vertices lie on one that has a partner"),
        (VERTICES, FACES[:, ::-1], "320 of 320 faces"),
        (VERTICES, np.r_[FACES[:-1], FACES[:1]], "1 of 320 faces"),
    ],
)
def test_every_difference_is_named(vertices: np.ndarray, faces: np.ndarray, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        same_mesh(vertices, faces, VERTICES, FACES, 1e-3)
