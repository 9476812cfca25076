"""The inspector believes nothing: each kind of damage is named."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import trimesh

from geometry.export import EXPORTERS
from geometry.inspect import inspect_glb
from geometry.mesh import Material, Mesh, vertex_normals
from geometry.unwrap import unwrap_six_axes
from tests.geometry.glb_json import edited

from .test_export import picture


@pytest.fixture(scope="module")
def good() -> Mesh:
    parts = trimesh.util.concatenate([trimesh.creation.torus(0.3, 0.1), trimesh.creation.icosphere(2, 0.1)])
    vertices, faces = parts.vertices.astype(np.float32), parts.faces.astype(np.int32)
    cut = unwrap_six_axes(vertices, faces, 256)
    return Mesh(vertices[cut.source], cut.faces, cut.uv, vertex_normals(vertices, faces)[cut.source])


def written(mesh: Mesh, **material: Any) -> bytes:
    return EXPORTERS["glb"](mesh, Material(picture(128), **material))


def test_a_sound_file_is_reported_as_it_is(good: Mesh) -> None:
    report = inspect_glb(written(good))
    assert report.sound, report.problems
    assert (report.triangles, report.vertices) == (len(good.faces), len(good.vertices))
    assert sorted(report.euler_numbers) == [0, 2]
    assert report.texture_size == (128, 128)
    assert report.metallic_factor == 0
    assert report.has_uv and report.uv_in_range and report.has_texture and not report.has_normal_map
    assert np.isclose(report.volume, good.volume, rtol=1e-5)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda m: replace(m, faces=m.faces[1:]), "not closed"),
        (lambda m: replace(m, faces=np.concatenate([m.faces[:1, ::-1], m.faces[1:]])), "opposite ways"),
        (lambda m: replace(m, faces=np.ascontiguousarray(m.faces[:, ::-1])), "inside out"),
        (lambda m: replace(m, uv=None), "no texture coordinates"),
        (lambda m: replace(m, uv=m.uv + np.float32(0.5)), "leave [0, 1]"),
    ],
)
def test_a_damaged_mesh_is_named(good: Mesh, damage: Any, words: str) -> None:
    report = inspect_glb(written(damage(good)))
    assert any(words in problem for problem in report.problems), report.problems


def test_dark_metal_missing_textures_and_wrong_bounds_are_named(good: Mesh) -> None:
    def forget(document: dict[str, Any]) -> None:
        del document["materials"][0]["pbrMetallicRoughness"]["metallicFactor"]
        del document["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"]
        document["accessors"][0]["min"] = [0, 0, 0]

    problems = " ".join(inspect_glb(edited(written(good), forget)).problems)
    assert "metallicFactor" in problems
    assert "no base colour texture" in problems
    assert "minimum" in problems


@pytest.mark.parametrize("cut", [0, 10, 200, -4])
def test_what_is_no_glb_is_a_problem_not_an_exception(good: Mesh, cut: int) -> None:
    assert not inspect_glb(written(good)[:cut]).sound
    assert not inspect_glb(b"hello world, this is no glb").sound
