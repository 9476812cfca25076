"""Meshes come out of files as they went in, also out of files that others wrote; what cannot be read says why."""

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from geometry.errors import UnreadableMesh
from geometry.export import EXPORTERS
from geometry.export.glb import write_glb
from geometry.mesh import Material, Mesh, signed_volume
from geometry.readers import READERS
from tests.geometry.glb_json import edited


def ball() -> Mesh:
    shape = trimesh.creation.icosphere(1, 0.4)
    colours = np.arange(3 * len(shape.vertices)).reshape(-1, 3).astype(np.uint8)
    return Mesh(
        shape.vertices.astype(np.float32),
        shape.faces.astype(np.int32),
        normals=shape.vertex_normals.astype(np.float32),
        colours=colours,
    )


@pytest.mark.parametrize("name", sorted(READERS))
def test_a_mesh_with_vertex_colours_comes_back_to_the_bit(name: str) -> None:
    mesh, material = READERS[name](EXPORTERS[name](ball(), None))
    for field in ("vertices", "faces", "normals", "colours"):
        assert np.array_equal(getattr(mesh, field), getattr(ball(), field)), field
    assert mesh.uv is None and mesh.tangents is None and material.base_colour is None


@pytest.mark.parametrize("name", sorted(READERS))
def test_files_of_another_writer_are_read(name: str) -> None:
    shape = trimesh.creation.box((1, 2, 3))
    mesh, _ = READERS[name](shape.export(file_type=name))
    assert np.allclose(mesh.vertices[mesh.faces], shape.triangles)


def test_a_texture_of_another_writer_is_read_with_v_upwards() -> None:
    shape = trimesh.creation.box()
    uv = np.random.default_rng(0).random((8, 2))
    image = Image.new("RGB", (8, 8), (1, 2, 3))
    material = trimesh.visual.material.PBRMaterial(baseColorTexture=image, roughnessFactor=0.5, metallicFactor=0.25)
    shape.visual = trimesh.visual.TextureVisuals(uv, material=material)
    mesh, found = READERS["glb"](shape.export(file_type="glb"))
    assert mesh.uv is not None and found.base_colour is not None
    assert np.allclose(mesh.uv, shape.visual.uv, atol=1e-6)
    assert Image.open(io.BytesIO(found.base_colour)).getpixel((0, 0)) == (1, 2, 3)
    assert (found.roughness, found.metallic) == (0.5, 0.25)


def test_nodes_are_moved_joined_and_turned_right_side_out() -> None:
    mirror = np.diag([-2.0, 1, 1, 1])
    mirror[:3, 3] = (5, 0, 0)
    turn = trimesh.transformations.rotation_matrix(0.7, (1, 2, 3), (0, 1, 0))
    scene = trimesh.Scene()
    scene.add_geometry(trimesh.creation.box(), transform=turn)
    scene.add_geometry(trimesh.creation.cylinder(0.5, 1), transform=mirror)
    wanted = scene.to_mesh()
    mesh, _ = READERS["glb"](scene.export(file_type="glb"))
    assert len(mesh.faces) == len(wanted.faces)
    assert np.allclose([mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)], wanted.bounds, atol=1e-6)
    assert np.isclose(signed_volume(mesh.vertices, mesh.faces), wanted.volume, rtol=1e-5)


def test_a_rotation_by_quaternion_turns_normals_too() -> None:
    half = np.sqrt(0.5)

    def turn(document: dict) -> None:
        document["nodes"][0] |= {"rotation": [0, 0, half, half], "scale": [2, 2, 2], "translation": [1, 0, 0]}

    mesh, _ = READERS["glb"](edited(write_glb(ball()), turn))
    x, y, z = ball().vertices.T
    assert np.allclose(mesh.vertices, np.stack([1 - 2 * y, 2 * x, 2 * z], axis=1), atol=1e-6)
    assert ball().normals is not None and mesh.normals is not None
    x, y, z = ball().normals.T
    assert np.allclose(mesh.normals, np.stack([-y, x, z], axis=1), atol=1e-6)


def deep(document: dict) -> None:
    document["nodes"] = [{"children": [0]}]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.update(extensionsRequired=["KHR_draco_mesh_compression"]), "KHR_draco_mesh_compression"),
        (lambda d: d["meshes"][0]["primitives"].append({**d["meshes"][0]["primitives"][0], "material": 1}), "2 mater"),
        (lambda d: d["meshes"][0]["primitives"][0].update(mode=0), "no triangles"),
        (lambda d: d["scenes"][0].update(nodes=[]), "no triangles"),
        (lambda d: d["accessors"][0].update(count=10**9), "reaches beyond"),
        (lambda d: d["accessors"][-1].update(count=7), "in threes"),
        (lambda d: d["meshes"][0]["primitives"][0]["attributes"].pop("POSITION"), "no positions"),
        (lambda d: d.pop("accessors"), "accessors"),
        (lambda d: d.update(nodes=7), "not a readable"),
        (lambda d: d["accessors"][1].update(type="VEC2"), "NORMAL has the type VEC2"),
        (lambda d: d["accessors"][1].update(count=41), "differ in length"),
        (lambda d: d["accessors"][-1].update(componentType=5122, bufferView=0), "in threes"),
        (deep, "nested too deeply"),
    ],
)
def test_a_glb_that_cannot_be_carried_over_says_why(change: Any, words: str) -> None:
    with pytest.raises(UnreadableMesh, match=words):
        READERS["glb"](edited(write_glb(replace(ball(), colours=None)), change))


def test_numbers_that_are_none_are_refused() -> None:
    broken = ball().vertices.copy()
    broken[3, 1] = np.nan
    for name in READERS:
        with pytest.raises(UnreadableMesh, match="not finite"):
            READERS[name](EXPORTERS[name](replace(ball(), vertices=broken), None))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"binary_little_endian", b"ascii", "binary_little_endian"),
        (b"element face 80", b"element face 0", "no triangles"),
        (b"element face 80", b"element face 81", "not a readable"),
        (b"element vertex 42", b"element vertex 41", "not a readable"),
        (b"property float x", b"property float w", "missing"),
        (b"property float x", b"property list uchar int x", "not a readable"),
        (b"property float x", b"property quad x", "not a readable"),
        (b"vertex_indices", b"edges", "its faces have"),
        (b"ply\n", b"plo\n", "not a PLY"),
    ],
)
def test_a_ply_that_cannot_be_read_says_why(old: bytes, new: bytes, words: str) -> None:
    with pytest.raises(UnreadableMesh, match=words):
        READERS["ply"](EXPORTERS["ply"](ball(), None).replace(old, new, 1))


@pytest.mark.parametrize("name", sorted(READERS))
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damage_never_leads_to_anything_but_a_clear_refusal_or_a_mesh(name: str, data: st.DataObject) -> None:
    whole = EXPORTERS[name](ball(), Material())
    damaged = bytearray(whole[: data.draw(st.integers(0, len(whole)))] if data.draw(st.booleans()) else whole)
    for _ in range(data.draw(st.integers(0, 4))):
        if damaged:
            damaged[data.draw(st.integers(0, min(len(damaged), 1800) - 1))] = data.draw(st.integers(0, 255))
    try:
        mesh, _ = READERS[name](bytes(damaged))
    except UnreadableMesh:
        return
    assert mesh.vertices.shape[1] == 3 and mesh.faces.shape[1] == 3 and len(mesh.faces)
    assert mesh.faces.min() >= 0 and mesh.faces.max() < len(mesh.vertices)
