"""Fewer triangles, as near to the dense surface as the reference's decimation brings them."""

from pathlib import Path

import numpy as np
import pytest
import trimesh
from safetensors.numpy import load_file

from geometry import bvh, mesh
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
    theirs = load_file(FIXTURE / "outputs.safetensors")
    name = f"r{round(100 * removed)}"
    assert gap(dense, found) < gap(dense, (theirs[f"{name}_vertices"], theirs[f"{name}_faces"].astype(np.int64)))


def test_what_a_collapse_pinches_is_closed_again() -> None:
    """Two balls joined by a thread thinner than the triangles that are asked for."""
    parts = [trimesh.creation.icosphere(4).apply_translation([x, 0, 0]) for x in (-1.5, 1.5)]
    whole = trimesh.util.concatenate(parts)
    _, faces = approximate(whole.vertices, whole.faces, 300)
    assert mesh.is_closed(faces)
    assert mesh.euler_number(faces) == 4
