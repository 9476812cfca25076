"""What is written can be read by others, and says what is true."""

import io
import json
import struct
from dataclasses import replace

import numpy as np
import pygltflib
import pytest
import trimesh
from PIL import Image

from geometry.export import EXPORTERS
from geometry.inspect import inspect_glb
from geometry.mesh import Material, Mesh, vertex_normals
from geometry.unwrap import unwrap_six_axes


def picture(size: int = 64, kind: str = "JPEG") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (size, size), (200, 100, 50)).save(stream, kind)
    return stream.getvalue()


@pytest.fixture(scope="module")
def torus() -> Mesh:
    shape = trimesh.creation.torus(0.3, 0.1)
    vertices, faces = shape.vertices.astype(np.float32), shape.faces.astype(np.int32)
    cut = unwrap_six_axes(vertices, faces, 256)
    return Mesh(vertices[cut.source], cut.faces, cut.uv, vertex_normals(vertices, faces)[cut.source])


def json_of(data: bytes) -> dict:
    return json.loads(data[20 : 20 + struct.unpack_from("<I", data, 12)[0]])


@pytest.mark.parametrize("name", sorted(EXPORTERS))
def test_every_format_is_read_back_by_trimesh_as_the_same_solid(name: str, torus: Mesh) -> None:
    data = EXPORTERS[name](torus, Material(picture()) if name == "glb" else None)
    read = trimesh.load(io.BytesIO(data), file_type=name, process=False, force="mesh")
    assert np.array_equal(read.vertices.astype(np.float32), torus.vertices)
    read.merge_vertices(merge_tex=True, merge_norm=True)
    assert read.is_watertight
    assert read.is_winding_consistent
    assert read.euler_number == 0
    assert np.isclose(read.volume, torus.volume, rtol=1e-5)


@pytest.mark.parametrize("name", sorted(EXPORTERS))
def test_the_same_mesh_gives_the_same_bytes(name: str, torus: Mesh) -> None:
    assert EXPORTERS[name](torus, None) == EXPORTERS[name](torus, None)


def test_a_glb_follows_the_rules_that_viewers_rely_on(torus: Mesh) -> None:
    data = EXPORTERS["glb"](torus, Material(picture(), picture(32, "PNG")))
    document = json_of(data)
    material = document["materials"][0]
    assert material["pbrMetallicRoughness"]["metallicFactor"] == 0
    assert material["alphaMode"] == "OPAQUE"
    assert "doubleSided" not in material
    assert material["normalTexture"]["index"] == 1
    assert [image["mimeType"] for image in document["images"]] == ["image/jpeg", "image/png"]
    assert all(view["byteOffset"] % 4 == 0 for view in document["bufferViews"])
    assert document["samplers"][0]["wrapS"] == document["samplers"][0]["wrapT"] == 33071
    position = document["accessors"][document["meshes"][0]["primitives"][0]["attributes"]["POSITION"]]
    assert np.allclose(position["min"], torus.vertices.min(axis=0))
    assert np.allclose(position["max"], torus.vertices.max(axis=0))
    assert len(data) % 4 == 0
    assert struct.unpack_from("<I", data, 8)[0] == len(data)


def test_pygltflib_reads_it_and_v_runs_downwards(torus: Mesh) -> None:
    model = pygltflib.GLTF2.load_from_bytes(EXPORTERS["glb"](torus, Material(picture())))
    accessor = model.accessors[model.meshes[0].primitives[0].attributes.TEXCOORD_0]
    view = model.bufferViews[accessor.bufferView]
    stored = np.frombuffer(model.binary_blob(), "<f4", accessor.count * 2, view.byteOffset).reshape(-1, 2)
    assert torus.uv is not None
    assert np.allclose(stored[:, 0], torus.uv[:, 0])
    assert np.allclose(stored[:, 1], 1 - torus.uv[:, 1])


def test_vertex_colours_are_linear_in_glb_and_plain_in_ply() -> None:
    ball = trimesh.creation.icosphere(1)
    colours = np.full((len(ball.vertices), 3), 188, np.uint8)
    mesh = Mesh(ball.vertices.astype(np.float32), ball.faces.astype(np.int32), colours=colours)
    document = json_of(EXPORTERS["glb"](mesh, None))
    data = EXPORTERS["glb"](mesh, None)
    accessor = document["accessors"][document["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"]]
    start = 28 + struct.unpack_from("<I", data, 12)[0] + document["bufferViews"][accessor["bufferView"]]["byteOffset"]
    assert np.allclose(np.frombuffer(data, "<f4", 3, start), 0.5029, atol=1e-3)
    read = trimesh.load(io.BytesIO(EXPORTERS["ply"](mesh, None)), file_type="ply", process=False)
    assert (read.visual.vertex_colors[:, :3] == 188).all()


def test_an_open_mesh_is_shown_from_both_sides(torus: Mesh) -> None:
    document = json_of(EXPORTERS["glb"](replace(torus, faces=torus.faces[10:]), None))
    assert document["materials"][0]["doubleSided"] is True


def test_many_vertices_take_wide_indices() -> None:
    ball = trimesh.creation.icosphere(7)
    mesh = Mesh(ball.vertices.astype(np.float32), ball.faces.astype(np.int32))
    report = inspect_glb(EXPORTERS["glb"](mesh, None))
    assert report.triangles == len(ball.faces)
    assert report.watertight
