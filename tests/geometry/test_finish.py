"""A dense mesh comes out small, closed, textured, and the same every time."""

import io
from functools import cache

import numpy as np
import pytest
import trimesh

from benchmarks.knot import knot
from geometry import bvh
from geometry.errors import UnusableMesh
from geometry.export.glb import write_glb
from geometry.export.pictures import pixels
from geometry.finish import Finished, FinishMode, finish
from geometry.inspect import inspect_glb
from geometry.mesh import Mesh, is_closed
from geometry.sample import sample

MODES: tuple[FinishMode, ...] = ("fast", "pbr", "best")


@cache
def dense() -> Mesh:
    return knot(40_000, 0.1, 0)


@cache
def finished(mode: FinishMode) -> Finished:
    return finish(dense(), target=4000, texture_size=512, mode=mode)


def colours_at(result: Finished, points: np.ndarray) -> np.ndarray:
    """What the encoded texture shows where the result is nearest to each point."""
    mesh, picture = result.mesh, pixels(result.material.base_colour).astype(np.float32)
    hit = bvh.nearest(bvh.build(mesh.vertices, mesh.faces), points)
    share = np.column_stack([hit.bary, 1 - hit.bary.sum(axis=1)])[..., None]
    uv = (mesh.uv[mesh.faces[hit.face]] * share).sum(axis=1)
    return sample(picture, uv[:, 0] * picture.shape[1] - 0.5, (1 - uv[:, 1]) * picture.shape[0] - 0.5)


@pytest.mark.parametrize("mode", MODES)
def test_a_noisy_knot_stays_a_closed_knot_with_its_colours(mode: FinishMode) -> None:
    result = finished(mode)
    assert 3900 <= len(result.whole.faces) <= 4000
    assert result.whole.is_watertight
    assert result.whole.euler_number == 0
    assert np.isclose(result.whole.volume, dense().volume, rtol=0.01)
    assert result.facts["triangles"] == len(result.whole.faces)
    assert result.facts["watertight"] is True
    error = (colours_at(result, dense().vertices) - dense().colours.astype(np.float32)) ** 2
    assert 10 * np.log10(255**2 / error.mean()) > {"fast": 28, "pbr": 29, "best": 29}[mode]


def test_where_every_part_is_small_none_is_dust() -> None:
    ball = trimesh.creation.icosphere(1, 0.02)
    places = np.stack(np.meshgrid(*[np.linspace(-0.45, 0.45, 11)] * 3), axis=-1).reshape(-1, 1, 3)
    vertices = (places + ball.vertices).reshape(-1, 3).astype(np.float32)
    faces = ball.faces + len(ball.vertices) * np.arange(len(places))[:, None, None]
    result = finish(Mesh(vertices, faces.reshape(-1, 3).astype(np.int32)), target=30_000, texture_size=256)
    assert result.facts["parts"] == len(places) == 1331 and result.facts["watertight"] is True


@pytest.mark.parametrize("count", [50, 20_000])
def test_what_is_no_surface_is_said_to_be_none(count: int) -> None:
    points = np.random.default_rng(0).random((3, 3)).astype(np.float32)
    line = np.linspace(0, 1, count, dtype=np.float32)[:, None] * np.ones(3, np.float32)
    strip = np.arange(count - 2)[:, None] + np.arange(3)
    for vertices, faces in ((points, np.tile([[0, 1, 1]], (count, 1))), (line, strip)):
        with pytest.raises(UnusableMesh):
            finish(Mesh(vertices, faces.astype(np.int32)), target=100, texture_size=64)


@pytest.mark.parametrize("mode", MODES)
def test_its_glb_is_sound_and_others_read_it(mode: FinishMode) -> None:
    result = finished(mode)
    data = write_glb(result.mesh, result.material)
    report = inspect_glb(data)
    assert report.sound, report.problems
    assert report.euler_numbers == [0]
    assert report.metallic_factor == 0
    assert report.texture_size == (512, 512)
    assert report.has_normal_map == (mode != "fast")
    (read,) = trimesh.load(io.BytesIO(data), file_type="glb", process=False).geometry.values()
    assert len(read.faces) == len(result.whole.faces)
    assert np.allclose(read.visual.uv, result.mesh.uv, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_same_input_same_bytes(mode: FinishMode) -> None:
    again = finish(dense(), target=4000, texture_size=512, mode=mode)
    assert write_glb(again.mesh, again.material) == write_glb(finished(mode).mesh, finished(mode).material)
    assert np.array_equal(again.whole.colours, finished(mode).whole.colours)


def test_normal_maps_show_what_the_triangles_lack() -> None:
    """A ball of many shallow dents, finished coarse: the map varies, and a smooth ball's hardly does."""
    ball = trimesh.creation.icosphere(6)
    dents = 1 + 0.004 * np.sin(40 * ball.vertices[:, :1]) * np.sin(40 * ball.vertices[:, 1:2])
    spread = []
    for scale in (np.ones_like(dents), dents):
        result = finish(Mesh((ball.vertices * scale).astype(np.float32), ball.faces), target=2000, mode="pbr")
        spread.append(pixels(result.material.normal_map).reshape(-1, 3)[:, :2].std())
    assert spread[1] > 2 * spread[0]


def test_colours_may_come_from_elsewhere_and_gaps_are_filled_from_around() -> None:
    ball = trimesh.creation.icosphere(4, 0.5)

    def half(points: np.ndarray, normals: np.ndarray) -> np.ndarray:
        assert np.allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)
        return np.where(points[:, :1] > 0.2, np.nan, [[200.0, 100.0, 50.0]])

    bare = Mesh(ball.vertices.astype(np.float32), ball.faces)
    result = finish(bare, target=2000, texture_size=256, colour_at=half)
    assert np.abs(result.texture.astype(int) - [200, 100, 50]).max() <= 1
    blue = np.full((len(ball.vertices), 3), (0, 0, 255), np.uint8)
    result = finish(Mesh(bare.vertices, bare.faces, colours=blue), target=2000, texture_size=256, colour_at=half)
    right = result.whole.vertices[:, 0]
    assert (result.whole.colours[right > 0.25] == (0, 0, 255)).all()
    assert (result.whole.colours[right < 0.15] == (200, 100, 50)).all()


def test_dust_and_hidden_shells_go_and_holes_close() -> None:
    outer, inner = trimesh.creation.icosphere(5, 0.5), trimesh.creation.icosphere(3, 0.3)
    outer.update_faces(np.arange(len(outer.faces)) % 503 != 0)
    dust = trimesh.creation.icosphere(0, 0.003).apply_translation([0.6, 0, 0])
    whole = trimesh.util.concatenate([outer, inner, dust])
    result = finish(Mesh(whole.vertices.astype(np.float32), whole.faces), target=3000, texture_size=128)
    assert result.whole.euler_number == 2
    assert result.whole.is_watertight
    assert (result.facts["parts"], result.facts["hidden_removed"], result.facts["dust_removed"]) == (1, 1, 1)
    assert np.isclose(result.whole.volume, np.pi / 6, rtol=0.02)


def test_wide_holes_stay_open_when_asked() -> None:
    ball = trimesh.creation.icosphere(4, 0.5)
    bowl = Mesh(ball.vertices.astype(np.float32), ball.faces[ball.triangles_center[:, 1] < 0.2])
    assert finish(bowl, target=1500, texture_size=128).whole.is_watertight
    opened = finish(bowl, target=1500, texture_size=128, hole_limit=1.0)
    assert not is_closed(opened.whole.faces)
    assert inspect_glb(write_glb(opened.mesh, opened.material)).problems == ["the surface is not closed"]


def test_turned_inside_out_it_is_turned_back() -> None:
    ball = trimesh.creation.icosphere(3, 0.5)
    assert finish(Mesh(ball.vertices.astype(np.float32), ball.faces[:, ::-1]), texture_size=64).whole.volume > 0.5


def test_what_is_no_surface_is_refused_in_words() -> None:
    empty = Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
    with pytest.raises(UnusableMesh, match="no triangles"):
        finish(empty)
    ball = trimesh.creation.icosphere(1)
    broken = ball.vertices.astype(np.float32)
    broken[3, 1] = np.nan
    with pytest.raises(UnusableMesh, match="1 of 42 positions"):
        finish(Mesh(broken, ball.faces))
    with pytest.raises(UnusableMesh, match="0 to 41; there are 12"):
        finish(Mesh(broken[4:16], ball.faces))
    with pytest.raises(UnusableMesh, match="nothing is left"):
        finish(Mesh(ball.vertices.astype(np.float32), np.array([[0, 1, 1]])))
