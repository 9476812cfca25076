"""Smaller GLB files are the same objects, as readers that share no code with the writers tell."""

import io
import json
import struct
from dataclasses import replace

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from scipy.spatial import cKDTree

from geometry.errors import MissingLibrary, UnreadableMesh
from geometry.export.glb import COMPRESSIONS, write_glb
from geometry.export.meshopt import encode_attributes, encode_triangles
from geometry.export.pictures import pixels, recode
from geometry.export.triangle_order import ordered, triangle_order
from geometry.mesh import Material, Mesh, is_closed, merge_positions, vertex_normals
from geometry.unwrap import unwrap_six_axes
from tests.geometry.meshopt_decoder import decode_attributes, decode_group, decode_triangles

TYPES = {5120: np.int8, 5121: np.uint8, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}


def smooth(size: int = 128) -> np.ndarray:
    row, column = np.mgrid[:size, :size] * (2 * np.pi / size)
    waves = [np.sin(column) * np.cos(row), np.cos(row + column), np.sin(2 * row)]
    return (127.5 + 100 * np.stack(waves, axis=2)).astype(np.uint8)


def png(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def torus() -> Mesh:
    shape = trimesh.creation.torus(0.3, 0.1, 64, 32)
    vertices, faces = shape.vertices.astype(np.float32), shape.faces.astype(np.int32)
    cut = unwrap_six_axes(vertices, faces, 256)
    normals = vertex_normals(vertices, faces)[cut.source]
    direction = np.cross(normals, [0.3, 0.5, 0.8])
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    tangents = np.concatenate([direction, np.where(direction[:, :1] > 0, 1, -1)], axis=1).astype(np.float32)
    colours = ((vertices[cut.source] + 0.5) * 255).astype(np.uint8)
    return Mesh(vertices[cut.source], cut.faces, cut.uv, normals, tangents, colours)


def parts(data: bytes) -> tuple[dict, bytes]:
    length = struct.unpack_from("<I", data, 12)[0]
    return json.loads(data[20 : 20 + length]), data[28 + length :]


def meshopt_values(data: bytes) -> dict[str, np.ndarray]:
    """What a viewer has after decompression, with the node's transform applied."""
    document, binary = parts(data)
    (primitive,) = document["meshes"][0]["primitives"]

    def read(number: int) -> np.ndarray:
        accessor = document["accessors"][number]
        view = document["bufferViews"][accessor["bufferView"]]
        packed = view["extensions"]["EXT_meshopt_compression"]
        assert view["byteLength"] == packed["count"] * packed["byteStride"]
        assert view["byteOffset"] + view["byteLength"] <= document["buffers"][1]["byteLength"]
        stream = binary[packed["byteOffset"] : packed["byteOffset"] + packed["byteLength"]]
        kind = np.dtype(TYPES[accessor["componentType"]])
        if packed["mode"] == "TRIANGLES":
            assert packed["byteStride"] == kind.itemsize
            return decode_triangles(stream, packed["count"])
        assert packed["byteStride"] % 4 == 0 and view["byteStride"] == packed["byteStride"]
        rows = decode_attributes(stream, packed["count"], packed["byteStride"])
        array = rows[:, : kind.itemsize * WIDTHS[accessor["type"]]].copy().view(kind)
        if "min" in accessor:
            assert array.min(axis=0).tolist() == accessor["min"] and array.max(axis=0).tolist() == accessor["max"]
        return array / np.iinfo(kind).max if accessor.get("normalized") else array

    values = {name: read(number) for name, number in primitive["attributes"].items()}
    node = document["nodes"][0]
    values["POSITION"] = values["POSITION"] * np.array(node["scale"]) + node["translation"]
    return values | {"faces": read(primitive["indices"])}


# The streams


def test_the_decoder_reads_the_example_of_the_extension() -> None:
    data = bytes.fromhex("175ff0bc77a9210034b5")
    assert decode_group(data, 0, 2) == ([-1, -4, -3, 26, -91, 0, -6, 6, -4, -4, 5, -5, 1, -1, 0, 0], 10)


@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from([4, 8, 12, 64, 256]), st.integers(1, 600), st.sampled_from([0, 1, 6, 255]))
def test_attributes_come_back_to_the_bit(data: st.DataObject, stride: int, count: int, spread: int) -> None:
    seed = data.draw(st.integers(0, 2**32 - 1))
    steps = np.random.default_rng(seed).integers(0, spread + 1, (min(count, 40_000 // stride), stride))
    elements = np.cumsum(steps, axis=0).astype(np.uint8)
    assert np.array_equal(decode_attributes(encode_attributes(elements), *elements.shape), elements)


@settings(max_examples=200, deadline=None)
@given(arrays(np.int32, st.tuples(st.integers(1, 120), st.just(3)), elements=st.integers(0, 50)))
def test_any_triangles_come_back_in_their_order(faces: np.ndarray) -> None:
    found = decode_triangles(encode_triangles(faces), faces.size)
    turned = np.stack([np.roll(found, k, axis=1) for k in range(3)])
    assert (turned == faces).all(axis=2).any(axis=0).all()


def test_wide_jumps_between_indices_come_back() -> None:
    faces = np.array([[0, 1, 2], [4_000_000, 7, 0], [3, 2, 4_000_000], [65_535, 65_534, 1], [0, 1, 2]], np.int32)
    assert np.array_equal(np.sort(decode_triangles(encode_triangles(faces), 15)), np.sort(faces))


def test_neighbours_follow_each_other_and_nothing_is_lost(torus: Mesh) -> None:
    shuffled = torus.faces[np.random.default_rng(0).permutation(len(torus.faces))]
    order = triangle_order(shuffled, len(torus.vertices))
    assert sorted(order.tolist()) == list(range(len(shuffled)))
    again = ordered(replace(torus, faces=shuffled))
    assert np.array_equal(again.vertices[again.faces], torus.vertices[shuffled[order]])
    first_use = again.faces.ravel()[np.sort(np.unique(again.faces.ravel(), return_index=True)[1])]
    assert np.array_equal(first_use, np.arange(len(again.vertices)))
    # A triangle takes little more than a byte in this order, and more than three times that in a random one.
    assert len(encode_triangles(again.faces)) < 1.6 * len(again.faces)
    assert len(encode_triangles(shuffled)) > 3 * len(encode_triangles(again.faces))


# The files


def test_meshopt_keeps_the_solid_within_its_steps(torus: Mesh) -> None:
    values = meshopt_values(write_glb(torus, None, "meshopt"))
    wanted = ordered(torus)
    found = np.stack([np.roll(values["faces"], k, axis=1) for k in range(3)])
    turn = (found == wanted.faces).all(axis=2).argmax(axis=0)
    assert np.array_equal(found[turn, np.arange(len(wanted.faces))], wanted.faces)
    step = np.ptp(torus.vertices, axis=0).max() / (2**14 - 1)
    assert np.abs(values["POSITION"] - wanted.vertices).max() <= step / 2 + 1e-7
    assert (values["NORMAL"] * wanted.normals).sum(axis=1).min() > 0.99
    assert np.abs(values["TANGENT"] - wanted.tangents).max() <= 0.5 / 127 + 1e-6
    assert (values["TANGENT"][:, 3] == wanted.tangents[:, 3]).all()
    assert wanted.uv is not None and wanted.colours is not None
    assert np.abs(values["TEXCOORD_0"][:, 0] - wanted.uv[:, 0]).max() <= 0.5 / 65535 + 1e-6
    assert np.abs(values["TEXCOORD_0"][:, 1] - (1 - wanted.uv[:, 1])).max() <= 0.5 / 65535 + 1e-6
    assert np.abs(values["COLOR_0"] - (wanted.colours / 255) ** 2.2).max() < 0.02
    assert is_closed(merge_positions(values["POSITION"].astype(np.float32), values["faces"])[1])


def test_draco_keeps_the_solid_within_its_steps(torus: Mesh) -> None:
    data = write_glb(torus, Material(png(smooth())), "draco")
    read = trimesh.load(io.BytesIO(data), file_type="glb", process=False, force="mesh")
    assert len(read.faces) == len(torus.faces)
    assert read.visual.material.baseColorTexture.size == (128, 128)
    step = np.ptp(torus.vertices, axis=0).max() / (2**14 - 1)
    assert torus.uv is not None
    # Copies along a border lie in one place, so each vertex has to be one of those that lie there.
    tree = cKDTree(read.vertices)
    for place, uv in zip(torus.vertices, torus.uv, strict=True):
        near = tree.query_ball_point(place, step)
        best = np.abs(read.visual.uv[near] - uv).max(axis=1).argmin()
        assert np.abs(read.visual.uv[near][best] - uv).max() < 1e-4
    read.merge_vertices(merge_tex=True, merge_norm=True)
    assert read.is_watertight and read.euler_number == 0
    assert np.isclose(read.volume, torus.volume, rtol=1e-3)


def test_draco_says_what_its_stream_holds(torus: Mesh) -> None:
    import DracoPy

    document, binary = parts(write_glb(torus, None, "draco"))
    (primitive,) = document["meshes"][0]["primitives"]
    packed = primitive["extensions"]["KHR_draco_mesh_compression"]
    view = document["bufferViews"][packed["bufferView"]]
    decoded = DracoPy.decode(binary[view["byteOffset"] : view["byteOffset"] + view["byteLength"]])
    by_id = {found["unique_id"]: found["data"] for found in decoded.attributes}
    assert set(packed["attributes"]) == {"POSITION", "NORMAL", "TEXCOORD_0", "COLOR_0"} == set(primitive["attributes"])
    for name, number in packed["attributes"].items():
        accessor = document["accessors"][primitive["attributes"][name]]
        assert "bufferView" not in accessor
        assert by_id[number].shape == (accessor["count"], WIDTHS[accessor["type"]])
        assert by_id[number].dtype == TYPES[accessor["componentType"]]
    position = document["accessors"][primitive["attributes"]["POSITION"]]
    assert np.array_equal(np.array(position["min"], np.float32), decoded.points.min(axis=0))
    assert document["accessors"][primitive["indices"]]["count"] == 3 * len(torus.faces)
    # Normals and colours are the same for all copies of a place, so the nearest one tells.
    _, nearest = cKDTree(torus.vertices).query(decoded.points)
    assert torus.normals is not None and torus.colours is not None
    assert (by_id[packed["attributes"]["NORMAL"]] * torus.normals[nearest]).sum(axis=1).min() > 0.9999
    assert np.allclose(by_id[packed["attributes"]["COLOR_0"]], (torus.colours[nearest] / 255) ** 2.2, atol=0.02)


@pytest.mark.parametrize("compression", sorted(set(COMPRESSIONS) - {"none"}))
def test_what_a_reader_has_to_know_is_said_and_the_geometry_is_small(compression: str, torus: Mesh) -> None:
    plain, packed = write_glb(torus), write_glb(torus, None, compression)
    document, _ = parts(packed)
    assert document["extensionsRequired"] == document["extensionsUsed"]
    assert any(compression in name for name in document["extensionsUsed"])
    assert len(packed) < len(plain) / 3
    assert packed == write_glb(torus, None, compression)


@pytest.mark.parametrize("compression", sorted(COMPRESSIONS))
@pytest.mark.parametrize("attributes", ["positions alone", "one triangle", "flat"])
def test_the_smallest_meshes_go_through(compression: str, attributes: str) -> None:
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    faces = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]], np.int32)
    if attributes != "positions alone":
        faces = faces[:1]
    if attributes == "flat":
        vertices = np.zeros_like(vertices)
    if (compression, attributes) == ("draco", "flat"):
        with pytest.raises(UnreadableMesh, match="degenerate"):
            write_glb(Mesh(vertices, faces), None, compression)
        return
    document, _ = parts(write_glb(Mesh(vertices, faces), None, compression))
    assert document["meshes"][0]["primitives"][0]["attributes"].keys() == {"POSITION"}


def test_without_its_library_draco_names_the_remedy(torus: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "DracoPy", None)
    with pytest.raises(MissingLibrary, match="pip install DracoPy"):
        write_glb(torus, None, "draco")


# The textures


@pytest.mark.parametrize(("word", "worst"), [("webp", 6), ("jpeg", 6), ("png", 0)])
def test_textures_change_their_format_and_hardly_their_pixels(word: str, worst: int, torus: Mesh) -> None:
    given = Material(png(smooth()), png(smooth(64)), roughness=0.3)
    document, binary = parts(write_glb(torus, recode(given, word)))
    sizes = []
    for image, source in zip(document["images"], (given.base_colour, given.normal_map), strict=True):
        assert image["mimeType"] == f"image/{word}"
        view = document["bufferViews"][image["bufferView"]]
        stored = binary[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
        assert Image.open(io.BytesIO(stored)).format == word.upper()
        assert source is not None
        assert np.abs(pixels(stored).astype(int) - pixels(source)).mean() <= worst / 3
        assert np.abs(pixels(stored).astype(int) - pixels(source)).max() <= 3 * worst
        sizes.append(len(stored))
    required = ["EXT_texture_webp"] if word == "webp" else []
    assert document.get("extensionsRequired", []) == required
    for number, texture in enumerate(document["textures"]):
        found = texture["extensions"]["EXT_texture_webp"] if required else texture
        assert found["source"] == number and ("source" not in texture or not required)


def test_a_picture_already_in_that_format_is_left_alone() -> None:
    given = Material(png(smooth()), None)
    assert recode(given, "png") == given
