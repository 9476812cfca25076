"""What is written can be read by others, and says what is true."""

import io
import json
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pygltflib
import pytest
import trimesh
from PIL import Image
from pxr import Ar, Usd, UsdGeom, UsdShade, UsdUtils, UsdValidation

from geometry.export import EXPORTERS
from geometry.export.pictures import recode, sample
from geometry.export.stl import write_stl
from geometry.inspect import inspect_glb
from geometry.mesh import Material, Mesh, vertex_normals
from geometry.readers import READERS
from geometry.unwrap import unwrap_six_axes


def picture(size: int = 64, kind: str = "JPEG") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (size, size), (200, 100, 50)).save(stream, kind)
    return stream.getvalue()


def ramp(size: int = 64) -> bytes:
    """Red grows to the right, green downwards."""
    row, column = np.mgrid[:size, :size]
    stream = io.BytesIO()
    Image.fromarray(np.stack([column * 4, row * 4, 0 * row], axis=2).astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def torus() -> Mesh:
    shape = trimesh.creation.torus(0.3, 0.1)
    vertices, faces = shape.vertices.astype(np.float32), shape.faces.astype(np.int32)
    cut = unwrap_six_axes(vertices, faces, 256)
    return Mesh(vertices[cut.source], cut.faces, cut.uv, vertex_normals(vertices, faces)[cut.source])


def json_of(data: bytes) -> dict:
    return json.loads(data[20 : 20 + struct.unpack_from("<I", data, 12)[0]])


def by_trimesh(kind: str) -> Callable[[bytes, Path], trimesh.Trimesh]:
    def read(data: bytes, folder: Path) -> trimesh.Trimesh:
        return trimesh.load(io.BytesIO(data), file_type=kind, process=False, force="mesh")

    return read


def obj_by_trimesh(data: bytes, folder: Path) -> trimesh.Trimesh:
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        packed.extractall(folder)
    return trimesh.load(folder / "model.obj", process=False, force="mesh")


def usd_stage(data: bytes, folder: Path) -> Usd.Stage:
    path = folder / f"{len(list(folder.iterdir()))}.usdz"  # USD keeps what it has read under a name
    path.write_bytes(data)
    return Usd.Stage.Open(str(path))


def by_usd(data: bytes, folder: Path) -> trimesh.Trimesh:
    stage = usd_stage(data, folder)
    shape = UsdGeom.Mesh(stage.GetDefaultPrim().GetChild("mesh"))
    assert set(shape.GetFaceVertexCountsAttr().Get()) == {3}
    faces = np.array(shape.GetFaceVertexIndicesAttr().Get()).reshape(-1, 3)
    return trimesh.Trimesh(np.array(shape.GetPointsAttr().Get()), faces, process=False)


# Each format's independent reader.
CLIENTS = {
    "glb": by_trimesh("glb"),
    "obj": obj_by_trimesh,
    "ply": by_trimesh("ply"),
    "stl": by_trimesh("stl"),
    "usdz": by_usd,
}


@pytest.mark.parametrize("textured", [True, False])
@pytest.mark.parametrize("name", sorted(EXPORTERS))
def test_every_format_is_read_back_by_others_as_the_same_solid(
    name: str, textured: bool, torus: Mesh, tmp_path: Path
) -> None:
    read = CLIENTS[name](EXPORTERS[name](torus, Material(picture()) if textured else None), tmp_path)
    read.merge_vertices(merge_tex=True, merge_norm=True)
    assert len(read.faces) == len(torus.faces)
    assert read.is_watertight
    assert read.is_winding_consistent
    assert read.euler_number == 0
    bounds = np.stack([torus.vertices.min(axis=0), torus.vertices.max(axis=0)])
    if name == "stl":
        scale = 100 / (bounds[1] - bounds[0]).max()
        assert np.isclose(read.volume, torus.volume * scale**3, rtol=1e-5)
    else:
        assert np.isclose(read.volume, torus.volume, rtol=1e-5)
        assert np.array_equal(read.bounds.astype(np.float32), bounds)


@pytest.mark.parametrize("name", sorted(EXPORTERS))
def test_the_same_mesh_gives_the_same_bytes(name: str, torus: Mesh) -> None:
    material = Material(picture(), picture(32, "PNG"))
    assert EXPORTERS[name](torus, material) == EXPORTERS[name](torus, material)


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
    assert "extensionsUsed" not in document
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


def test_vertex_colours_are_linear_in_glb_and_usdz_and_plain_in_ply_and_obj(tmp_path: Path) -> None:
    ball = trimesh.creation.icosphere(1)
    colours = np.full((len(ball.vertices), 3), 188, np.uint8)
    mesh = Mesh(ball.vertices.astype(np.float32), ball.faces.astype(np.int32), colours=colours)
    document = json_of(EXPORTERS["glb"](mesh, None))
    data = EXPORTERS["glb"](mesh, None)
    accessor = document["accessors"][document["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"]]
    start = 28 + struct.unpack_from("<I", data, 12)[0] + document["bufferViews"][accessor["bufferView"]]["byteOffset"]
    assert np.allclose(np.frombuffer(data, "<f4", 3, start), 0.5029, atol=1e-3)
    read = CLIENTS["ply"](EXPORTERS["ply"](mesh, None), tmp_path)
    assert (read.visual.vertex_colors[:, :3] == 188).all()
    with zipfile.ZipFile(io.BytesIO(EXPORTERS["obj"](mesh, None))) as packed:
        rows = [line.split() for line in packed.read("model.obj").decode().splitlines() if line.startswith("v ")]
    assert {round(float(value) * 255) for row in rows for value in row[4:7]} == {188}
    stage = usd_stage(EXPORTERS["usdz"](mesh, None), tmp_path)
    primvar = UsdGeom.PrimvarsAPI(stage.GetPrimAtPath("/model/mesh")).GetPrimvar("displayColor")
    assert np.allclose(np.array(primvar.Get()), 0.5029, atol=1e-3)
    source = shader(stage, "preview").GetInput("diffuseColor").GetConnectedSource()[0].GetPrim()
    assert UsdShade.Shader(source).GetInput("varname").Get() == "displayColor"


def test_an_open_mesh_is_shown_from_both_sides(torus: Mesh, tmp_path: Path) -> None:
    opened = replace(torus, faces=torus.faces[10:])
    assert json_of(EXPORTERS["glb"](opened, None))["materials"][0]["doubleSided"] is True
    for mesh, both in ((opened, True), (torus, False)):
        stage = usd_stage(EXPORTERS["usdz"](mesh, None), tmp_path)
        assert UsdGeom.Mesh(stage.GetPrimAtPath("/model/mesh")).GetDoubleSidedAttr().Get() is both


def test_many_vertices_take_wide_indices() -> None:
    ball = trimesh.creation.icosphere(7)
    mesh = Mesh(ball.vertices.astype(np.float32), ball.faces.astype(np.int32))
    report = inspect_glb(EXPORTERS["glb"](mesh, None))
    assert report.triangles == len(ball.faces)
    assert report.watertight


# STL


def test_a_printed_object_stands_upright_in_millimetres_and_faces_the_front_of_the_bed() -> None:
    # 1 wide, 0.5 high, 0.25 deep, with its front towards +Z a corner longer than its back.
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 0.5, 0], [0, 0, 0.25]], np.float32)
    faces = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]], np.int32)
    data = write_stl(Mesh(vertices, faces), None, size_mm=80)
    assert not data.startswith(b"solid")
    read = trimesh.load(io.BytesIO(data), file_type="stl")
    assert read.is_watertight
    assert read.volume > 0
    assert np.allclose(read.bounds, [[-40, -10, 0], [40, 10, 40]])
    assert np.allclose(read.vertices[read.vertices[:, 1].argmin()], [-40, -10, 0])  # what was nearest to +Z
    stored = np.frombuffer(data[84:], np.dtype([("normal", "<f4", 3), ("rest", "V38")]))["normal"]
    assert np.allclose(stored, read.face_normals)


# OBJ


def test_an_obj_comes_with_its_material_and_texture(torus: Mesh, tmp_path: Path) -> None:
    read = obj_by_trimesh(EXPORTERS["obj"](torus, Material(ramp(), picture(32), roughness=0.7)), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "base_colour.png",
        "model.mtl",
        "model.obj",
        "normal_map.jpg",
    ]
    assert (tmp_path / "base_colour.png").read_bytes() == ramp()
    material = read.visual.material
    assert material.image.size == (64, 64)
    assert material.kwargs["pr"] == ["0.7"]
    assert "norm normal_map.jpg" in (tmp_path / "model.mtl").read_text().splitlines()
    # The same place has the same colour as in the source, also where a border runs.
    assert torus.uv is not None
    expected = {}
    for place, uv in zip(torus.vertices, torus.uv, strict=True):
        expected.setdefault(tuple(place), set()).add(tuple(uv.round(5)))
    for place, uv in zip(read.vertices.astype(np.float32), read.visual.uv, strict=True):
        assert tuple(uv.astype(np.float32).round(5)) in expected[tuple(place)]


def test_an_obj_counts_positions_once_so_that_it_stays_closed(torus: Mesh) -> None:
    with zipfile.ZipFile(io.BytesIO(EXPORTERS["obj"](torus, None))) as packed:
        lines = packed.read("model.obj").decode().splitlines()
    assert sum(line.startswith("v ") for line in lines) == len(np.unique(torus.vertices, axis=0)) < len(torus.vertices)


# PLY


def test_a_ply_takes_its_colours_from_the_texture(torus: Mesh) -> None:
    data = EXPORTERS["ply"](torus, Material(ramp()))
    read = trimesh.load(io.BytesIO(data), file_type="ply", process=False)
    assert len(read.vertices) == len(np.unique(torus.vertices, axis=0))
    assert torus.uv is not None
    copies: dict[tuple, list] = {}
    for place, (u, v) in zip(torus.vertices, torus.uv, strict=True):
        copies.setdefault(tuple(place), []).append((u * 256 - 2, (1 - v) * 256 - 2, 0))
    for place, colour in zip(read.vertices.astype(np.float32), read.visual.vertex_colors, strict=True):
        wanted = np.clip(copies[tuple(place)], 0, 252).mean(axis=0)
        assert np.abs(colour[:3] - wanted).max() <= 1
    assert np.allclose(np.linalg.norm(read.vertex_normals, axis=1), 1)


def test_a_picture_is_read_between_its_pixels_and_repeats_at_its_edges() -> None:
    stream = io.BytesIO()
    Image.fromarray(np.array([[[0, 0, 0], [100, 0, 0]], [[0, 200, 0], [100, 200, 0]]], np.uint8)).save(stream, "PNG")
    uv = np.array([[0.25, 0.75], [0.75, 0.25], [0.5, 0.5], [0, 0], [1, 1], [-3, 9]], np.float32)
    wanted = [[0, 0, 0], [100, 200, 0], [50, 100, 0], [0, 200, 0], [100, 0, 0], [0, 0, 0]]
    assert sample(stream.getvalue(), uv).tolist() == wanted


# USDZ


def shader(stage: Usd.Stage, name: str) -> UsdShade.Shader:
    return UsdShade.Shader(stage.GetPrimAtPath(f"/model/materials/surface/{name}"))


def test_a_usdz_passes_the_checks_of_usd_itself(torus: Mesh, tmp_path: Path) -> None:
    ball = trimesh.creation.icosphere(1)
    plain = Mesh(ball.vertices.astype(np.float32), ball.faces.astype(np.int32))
    coloured = replace(plain, colours=np.full((len(ball.vertices), 3), 9, np.uint8))
    checks = UsdValidation.ValidationContext(UsdValidation.ValidationRegistry().GetOrLoadAllValidators())
    for mesh, material in ((torus, Material(picture(), picture(32, "PNG"))), (plain, None), (coloured, None)):
        stage = usd_stage(EXPORTERS["usdz"](mesh, material), tmp_path)
        assert [error.GetMessage() for error in checks.Validate(stage)] == []


def test_a_usdz_holds_the_mesh_its_material_and_its_textures(torus: Mesh, tmp_path: Path) -> None:
    data = EXPORTERS["usdz"](torus, Material(ramp(), picture(32), roughness=0.7, metallic=0.2))
    stage = usd_stage(data, tmp_path)
    assert UsdGeom.GetStageUpAxis(stage) == "Y"
    assert UsdGeom.GetStageMetersPerUnit(stage) == 1
    shape = UsdGeom.Mesh(stage.GetPrimAtPath("/model/mesh"))
    assert np.array_equal(np.array(shape.GetPointsAttr().Get()), torus.vertices)
    assert np.array_equal(np.array(shape.GetFaceVertexIndicesAttr().Get()), torus.faces.ravel())
    assert np.allclose(np.array(shape.GetNormalsAttr().Get()), torus.normals, atol=1e-5)
    assert np.array_equal(np.array(UsdGeom.PrimvarsAPI(shape).GetPrimvar("st").Get()), torus.uv)  # v upwards here too
    assert np.allclose(shape.GetExtentAttr().Get(), [torus.vertices.min(axis=0), torus.vertices.max(axis=0)])
    assert shape.GetSubdivisionSchemeAttr().Get() == "none"
    bound, _ = UsdShade.MaterialBindingAPI(shape.GetPrim()).ComputeBoundMaterial()
    surface, *_ = bound.ComputeSurfaceSource()
    assert surface.GetIdAttr().Get() == "UsdPreviewSurface"
    assert np.isclose(surface.GetInput("roughness").Get(), 0.7)
    assert np.isclose(surface.GetInput("metallic").Get(), 0.2)
    wanted = {"diffuseColor": (ramp(), "sRGB", "png"), "normal": (picture(32), "raw", "jpg")}
    for name, (content, space, suffix) in wanted.items():
        texture = UsdShade.Shader(surface.GetInput(name).GetConnectedSource()[0].GetPrim())
        asset = texture.GetInput("file").Get()
        assert asset.path.endswith(suffix)
        assert texture.GetInput("sourceColorSpace").Get() == space
        assert Ar.GetResolver().OpenAsset(Ar.ResolvedPath(asset.resolvedPath)).GetBuffer() == content
    normal = shader(stage, "normal_map")
    assert normal.GetInput("scale").Get() == (2, 2, 2, 1)
    assert normal.GetInput("bias").Get() == (-1, -1, -1, 0)
    missing = UsdUtils.ComputeAllDependencies(stage.GetRootLayer().realPath)[2]
    assert missing == []


def test_a_usdz_is_a_zip_that_is_read_in_place(torus: Mesh) -> None:
    data = EXPORTERS["usdz"](torus, Material(picture(), picture(32, "PNG")))
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        names = packed.namelist()
        assert packed.testzip() is None
        for info in packed.infolist():
            assert info.compress_type == zipfile.ZIP_STORED
            name, extra = struct.unpack_from("<HH", data, info.header_offset + 26)
            assert (info.header_offset + 30 + name + extra) % 64 == 0
    assert names == ["model.usda", "textures/base_colour.jpg", "textures/normal_map.png"]


@pytest.mark.parametrize("name", ["obj", "usdz"])
def test_what_knows_no_webp_gets_png(name: str, torus: Mesh) -> None:
    material = recode(Material(ramp()), "webp")
    with zipfile.ZipFile(io.BytesIO(EXPORTERS[name](torus, material))) as packed:
        (texture,) = [one for one in packed.namelist() if "base_colour" in one]
        assert texture.endswith(".png")
        assert Image.open(io.BytesIO(packed.read(texture))).format == "PNG"


# Every file of ours is a source of conversions too.


def test_what_the_glb_writer_writes_the_reader_reads_to_the_bit(torus: Mesh) -> None:
    tangents = np.tile(np.array([[1, 0, 0, -1]], np.float32), (len(torus.vertices), 1))
    material = Material(picture(), picture(32, "PNG"), roughness=0.25, metallic=0.5)
    data = EXPORTERS["glb"](replace(torus, tangents=tangents), material)
    mesh, found = READERS["glb"](data)
    assert found == material
    assert EXPORTERS["glb"](mesh, found) == data
