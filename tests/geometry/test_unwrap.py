"""Charts are flat, unmirrored, within the square, and do not lie on each other."""

import numpy as np
import pytest
import trimesh

from geometry import mesh
from geometry.bake import rasterize_uv
from geometry.unwrap import Unwrapped, two_sheets, unwrap_six_axes, unwrap_two_sheets


def branched() -> tuple[np.ndarray, np.ndarray]:
    knot = trimesh.creation.torus(0.3, 0.1, major_sections=64, minor_sections=32)
    knot.apply_transform(trimesh.transformations.rotation_matrix(0.6, [1, 0.4, 0.2]))
    return knot.vertices.astype(np.float32), knot.faces.astype(np.int32)


def areas(cut: Unwrapped, size: int) -> np.ndarray:
    corner = cut.uv[cut.faces].astype(np.float64) * size
    first, second = corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
    return 0.5 * (first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0])


@pytest.mark.parametrize("shape", ["torus", "ball", "box"])
def test_six_axes_mirror_nothing_and_overlap_nowhere(shape: str) -> None:
    if shape == "torus":
        vertices, faces = branched()
    else:
        solid = trimesh.creation.icosphere(4, 0.45) if shape == "ball" else trimesh.creation.box((0.8, 0.5, 0.3))
        vertices, faces = solid.vertices.astype(np.float32), solid.faces.astype(np.int32)
    cut = unwrap_six_axes(vertices, faces, 1024)
    size = areas(cut, 1024)
    assert (size > 0).all()
    assert ((cut.uv >= 0) & (cut.uv <= 1)).all()
    covered = int((rasterize_uv(cut.uv, cut.faces, 1024).face >= 0).sum())
    assert abs(covered - size.sum()) < 0.005 * size.sum()


def test_cutting_keeps_positions_so_that_merging_closes_the_mesh_again() -> None:
    vertices, faces = branched()
    cut = unwrap_six_axes(vertices, faces, 512)
    assert len(cut.source) > len(vertices)
    assert np.array_equal(cut.source[cut.faces], faces)
    merged, joined = mesh.merge_positions(vertices[cut.source], cut.faces)
    assert len(merged) == len(vertices)
    assert mesh.is_closed(joined)


@pytest.mark.parametrize(("high", "stacked"), [((0.2, 0.44), False), ((0.44, 0.2), True)])
def test_two_sheets_lie_as_the_object_does_and_touch_nothing(high: tuple[float, float], stacked: bool) -> None:
    layout = two_sheets(np.array([-high[0], -high[1]]), np.array(high), 1024)
    assert layout.stacked is stacked
    ball = trimesh.creation.icosphere(4)
    vertices = (ball.vertices * [high[0], high[1], 0.2]).astype(np.float32)
    cut = unwrap_two_sheets(vertices, ball.faces.astype(np.int32), layout)
    size = areas(cut, 1024)
    assert (size > -1e-6).all()  # faces seen exactly edge-on have none
    assert ((cut.uv > 0) & (cut.uv < 1)).all()
    covered = int((rasterize_uv(cut.uv, cut.faces, 1024).face >= 0).sum())
    assert abs(covered - size.sum()) < 0.005 * size.sum()
    # At least nine tenths of what the better of both arrangements could give.
    assert layout.scale > 0.9 * 1024 / (2 * max(high))


def test_the_back_sheet_is_mirrored_so_that_it_reads_right_from_behind() -> None:
    layout = two_sheets(np.array([-0.2, -0.4]), np.array([0.2, 0.4]), 512)
    front, back = (layout.texels(np.array([[-0.1, 0.3], [0.1, 0.3]]), side) for side in (False, True))
    assert front[0, 0] < front[1, 0]
    assert back[0, 0] > back[1, 0]
    assert front[0, 1] == back[0, 1] < 256


def test_a_thousand_charts_still_find_a_place_each() -> None:
    balls = [
        trimesh.creation.icosphere(0, 0.01).apply_translation([0.04 * k, 0.04 * j, 0])
        for k in range(12)
        for j in range(12)
    ]
    cloud = trimesh.util.concatenate(balls)
    vertices, faces = cloud.vertices.astype(np.float32), cloud.faces.astype(np.int32)
    cut = unwrap_six_axes(vertices, faces, 512)
    assert cut.chart.max() > 700
    assert (areas(cut, 512) > 0).all()
    assert ((cut.uv >= 0) & (cut.uv <= 1)).all()
    fine = rasterize_uv(cut.uv, cut.faces, 4096)
    assert abs((fine.face >= 0).sum() - areas(cut, 4096).sum()) < 0.02 * areas(cut, 4096).sum()
