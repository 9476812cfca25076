"""Fewer triangles that stay near the dense surface."""

from pathlib import Path

import fast_simplification
import numpy as np
import pytest
import trimesh
from safetensors.numpy import load_file
from scipy import ndimage

from geometry import bvh, mesh
from geometry.marching_cubes import surface_of
from geometry.simplify import approximate

FIXTURE = Path(__file__).parent.parent / "fixtures" / "trellis" / "simplify"


def gap(one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> float:
    """Greatest distance from either surface to the other, over vertices and the middles of faces."""
    found = 0.0
    for (vertices, faces), target in ((one, other), (other, one)):
        points = np.concatenate([vertices, vertices[faces].mean(axis=1)])
        found = max(found, float(bvh.nearest(bvh.build(*target), points).distance.max()))
    return found


@pytest.mark.parametrize(("removed", "careful"), [(0.5, False), (0.95, False), (0.5, True), (0.95, True)])
def test_the_reference_solid_loses_the_share_asked_for_and_stays_near(removed: float, careful: bool) -> None:
    given = load_file(FIXTURE / "inputs.safetensors")
    dense = given["vertices"].astype(np.float32), given["faces"].astype(np.int64)
    wanted = (1 - removed) * len(dense[1])
    found = approximate(*dense, round(wanted), careful)
    assert abs(len(found[1]) - wanted) <= 0.02 * wanted
    assert gap(dense, found) < 0.01


def test_fitted_triangles_are_nearer_than_those_of_the_collapse_alone() -> None:
    dense = trimesh.creation.torus(1, 0.35, major_sections=200, minor_sections=100)
    points = dense.vertices.astype(np.float32)
    alone = fast_simplification.simplify(points, dense.faces.astype(np.int32), target_count=1000, agg=4)
    means = [
        bvh.nearest(bvh.build(*found), points).distance.mean()
        for found in (alone, approximate(points, dense.faces, 1000))
    ]
    assert means[1] < 0.75 * means[0]


def test_parts_stay_parts_and_closed() -> None:
    parts = [trimesh.creation.icosphere(4).apply_translation([x, 0, 0]) for x in (-1.5, 1.5)]
    whole = trimesh.util.concatenate(parts)
    _, faces = approximate(whole.vertices, whole.faces, 300)
    assert mesh.is_closed(faces)
    assert mesh.euler_number(faces) == 4


def test_a_sponge_of_noise_is_collapsed_once_and_closed() -> None:
    """Thousands of holes and bubbles: no search for the right topology, and still a closed surface."""
    noise = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((48, 48, 48)), 1.0).astype(np.float32)
    noise[[0, -1]] = noise[:, [0, -1]] = noise[:, :, [0, -1]] = -1
    vertices, faces = surface_of(noise)
    assert abs(mesh.euler_number(faces)) > 300
    points, fewer = approximate(vertices, faces, len(faces) // 5)
    assert len(fewer) < 0.25 * len(faces)
    assert mesh.is_closed(fewer)
    assert np.isclose(mesh.signed_volume(points, fewer), mesh.signed_volume(vertices, faces), rtol=0.1)
