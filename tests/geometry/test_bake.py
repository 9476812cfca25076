"""Pictures arrive on the surface where they belong, and normal maps undo what simplification took."""

import cv2
import numpy as np
import trimesh

from geometry import bake
from geometry.mesh import Mesh, unit, vertex_normals
from geometry.unwrap import two_sheets, unwrap_six_axes, unwrap_two_sheets


def test_everything_outside_takes_the_nearest_inside() -> None:
    image = np.zeros((20, 20, 3), np.uint8)
    mask = np.zeros((20, 20), bool)
    image[5, 5], mask[5, 5] = (9, 8, 7), True
    image[5, 15], mask[5, 15] = (1, 2, 3), True
    filled = bake.fill_outside(image, mask)
    assert (filled[:, :9] == (9, 8, 7)).all()
    assert (filled[:, 12:] == (1, 2, 3)).all()


def test_filling_repeats_to_the_bit() -> None:
    random = np.random.default_rng(0)
    image, mask = random.integers(0, 255, (300, 300, 3), dtype=np.uint8), random.random((300, 300)) < 0.01
    first = bake.fill_outside(image, mask)
    assert all(np.array_equal(first, bake.fill_outside(image, mask)) for _ in range(5))


def test_pull_push_keeps_what_is_known_and_bridges_the_rest_smoothly() -> None:
    colour, weight = np.zeros((64, 64, 1), np.float32), np.zeros((64, 64), np.float32)
    colour[:, 0], weight[:, 0] = 100, 1
    colour[:, -1], weight[:, -1] = 200, 1
    filled = bake.pull_push(colour, weight)[..., 0]
    assert np.allclose(filled[:, 0], 100)
    assert np.allclose(filled[:, -1], 200)
    assert 100 <= filled.min() <= filled.max() <= 200.01
    assert abs(filled[:, 32].mean() - 150) < 12


def test_a_sheet_shows_the_picture_at_its_own_place() -> None:
    """A smooth picture of x and y is read back through the UV of points whose x and y are known."""
    side = 512
    ramp = (np.arange(side) + 0.5) / side
    picture = np.dstack(np.broadcast_arrays(ramp[None] * 255, ramp[:, None] * 255, 0)).astype(np.float32)
    layout = two_sheets(np.array([-0.2, -0.4]), np.array([0.2, 0.4]), 512)
    for mode in ("fast", "opt"):
        atlas = bake.bake_sheets(picture, picture, layout, mode)
        assert atlas.shape == (512, 512, 3)
        points = np.random.default_rng(0).uniform([-0.19, -0.39], [0.19, 0.39], (200, 2))
        for back in (False, True):
            texel = (layout.texels(points, back) - 0.5).astype(np.float32)[None]
            seen = cv2.remap(atlas, texel, None, cv2.INTER_LINEAR)[0]
            assert np.abs(seen[:, 0] - 255 * (points[:, 0] + 0.5)).max() < 0.3
            assert np.abs(seen[:, 1] - 255 * (0.5 - points[:, 1])).max() < 0.3


def test_a_normal_map_gives_back_the_fine_normals() -> None:
    """Decoded through interpolated normals and tangents, the map shows the ball's true normals on a coarse ball."""
    ball = trimesh.creation.icosphere(2, 0.4)
    vertices, faces = ball.vertices.astype(np.float32), ball.faces.astype(np.int32)
    for cut in (
        unwrap_six_axes(vertices, faces, 512),
        unwrap_two_sheets(vertices, faces, two_sheets(vertices.min(axis=0), vertices.max(axis=0), 512)),
    ):
        mesh = Mesh(vertices[cut.source], cut.faces, cut.uv, vertex_normals(vertices, faces)[cut.source])
        tangent = bake.tangents(mesh.normals, bake.u_directions(mesh))
        assert np.allclose((tangent[:, :3] * mesh.normals).sum(axis=1), 0, atol=1e-5)
        fragments = bake.rasterize_uv(cut.uv, cut.faces, 512)
        covered = fragments.face >= 0
        points = bake.interpolate(fragments, mesh.faces, mesh.vertices)
        wobble = unit(points + 0.06 * np.sin(points[:, ::-1] * 40))
        fine = np.zeros((512, 512, 3), np.float32)
        fine[covered] = wobble
        picture = bake.bake_normal_map(fragments, mesh.faces, mesh.normals, tangent, fine)
        local = unit(picture[covered] / 127.5 - 1.0)
        n = unit(bake.interpolate(fragments, mesh.faces, mesh.normals))
        t = unit(bake.interpolate(fragments, mesh.faces, tangent[:, :3]))
        decoded = local[:, :1] * t + local[:, 1:2] * np.cross(n, t) + local[:, 2:] * n
        assert (decoded * wobble).sum(axis=1).min() > 0.99
        assert picture[covered][:, 2].mean() > 240
