"""Binary glTF 2.0: its chunks and accessors, and the whole file as one mesh with one material."""

import json
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geometry.errors import UnreadableMesh
from geometry.mesh import Floats, Material, Mesh, Pixels

COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
_TRIANGLES = 4
_KNOWN = {"EXT_texture_webp", "KHR_mesh_quantization"}
_DEEPEST = 64
# What a Mesh has a place for, and how many numbers each may have.
_ATTRIBUTES = {"POSITION": (3,), "NORMAL": (3,), "TANGENT": (4,), "TEXCOORD_0": (2,), "COLOR_0": (3, 4)}


def read_glb(data: bytes) -> tuple[Mesh, Material]:
    """All triangles of the file as one mesh in the scene's frame, and the material they share.

    Of the material what `Material` has a place for is kept; morph targets and animations are not.

    Raises:
        UnreadableMesh: not a GLB file, or one with several materials or an extension unknown here.
    """
    try:
        document, binary = read_chunks(data)
        if unknown := sorted(set(document.get("extensionsRequired", [])) - _KNOWN):
            raise UnreadableMesh(f"the GLB file needs {', '.join(unknown)}, which is not read here")
        return _mesh(document, binary), _material(document, binary)
    except UnreadableMesh:
        raise
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError, struct.error) as error:
        raise UnreadableMesh(f"not a readable GLB file: {error}") from error


def read_chunks(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The JSON and the BIN of a GLB file.

    Raises:
        ValueError, KeyError, struct.error: it is none.
    """
    magic, version, length = struct.unpack_from("<4sII", data)
    if magic != b"glTF" or version != 2 or length != len(data):
        raise ValueError(f"header says {magic!r}, version {version}, {length} of {len(data)} bytes")
    parts, offset = {}, 12
    while offset < length:
        size, kind = struct.unpack_from("<I4s", data, offset)
        if size % 4 or offset + 8 + size > length:
            raise ValueError(f"chunk of {size} bytes at {offset} is out of place")
        parts[kind] = data[offset + 8 : offset + 8 + size]
        offset += 8 + size
    return json.loads(parts[b"JSON"]), parts.get(b"BIN\0", b"")


def read_accessor(document: dict[str, Any], binary: bytes, index: int) -> NDArray[Any]:
    """(N,) or (N, width) the values of an accessor as they are stored.

    Raises:
        ValueError: it reaches beyond the data.
    """
    accessor = document["accessors"][index]
    view = document["bufferViews"][accessor["bufferView"]]
    kind, width = np.dtype(COMPONENTS[accessor["componentType"]]), WIDTHS[accessor["type"]]
    start = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
    stride = view.get("byteStride", kind.itemsize * width)
    if start % kind.itemsize or start + stride * (accessor["count"] - 1) + kind.itemsize * width > len(binary):
        raise ValueError(f"accessor {index} is not aligned or reaches beyond the data")
    array = np.ndarray((accessor["count"], width), kind, binary, start, (stride, kind.itemsize))
    return array[:, 0] if width == 1 else array


def _mesh(document: dict[str, Any], binary: bytes) -> Mesh:
    parts = []
    for mesh, matrix in _placed(document):
        for primitive in document["meshes"][mesh]["primitives"]:
            if primitive.get("mode", _TRIANGLES) == _TRIANGLES:
                parts.append(_moved(_primitive(document, binary, primitive), matrix))
    if not parts or not sum(len(part.faces) for part in parts):
        raise UnreadableMesh("the GLB file holds no triangles")
    return parts[0] if len(parts) == 1 else _joined(parts)


def _placed(document: dict[str, Any]) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Each mesh the scene shows, with the matrix that puts it there."""
    nodes, scene = document["nodes"], document["scenes"][document.get("scene", 0)]
    waiting = [(number, np.eye(4), 0) for number in scene["nodes"]]
    while waiting:
        number, above, depth = waiting.pop()
        if depth > _DEEPEST:
            raise ValueError("nodes are nested too deeply")
        matrix = above @ _matrix(nodes[number])
        waiting += [(child, matrix, depth + 1) for child in nodes[number].get("children", [])]
        if "mesh" in nodes[number]:
            yield nodes[number]["mesh"], matrix


def _matrix(node: dict[str, Any]) -> NDArray[np.float64]:
    if "matrix" in node:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T
    matrix = np.eye(4)
    x, y, z, w = node.get("rotation", (0, 0, 0, 1))
    matrix[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    matrix[:3, :3] *= np.array(node.get("scale", (1, 1, 1)), np.float64)
    matrix[:3, 3] = node.get("translation", (0, 0, 0))
    return matrix


def _primitive(document: dict[str, Any], binary: bytes, primitive: dict[str, Any]) -> Mesh:
    if "POSITION" not in primitive["attributes"]:
        raise ValueError("a primitive has no positions")
    named = {name: number for name, number in primitive["attributes"].items() if name in _ATTRIBUTES}
    values = {name: _attribute(document, binary, name, number) for name, number in named.items()}
    vertices = values["POSITION"]
    if any(len(array) != len(vertices) for array in values.values()):
        raise ValueError("the attributes of a primitive differ in length")
    index = np.arange(len(vertices))
    if "indices" in primitive:
        index = read_accessor(document, binary, primitive["indices"]).astype(np.int64)
    if index.size % 3 or index.min(initial=0) < 0 or index.max(initial=-1) >= len(vertices):
        raise ValueError("indices do not name existing vertices in threes")
    uv, colours = values.get("TEXCOORD_0"), values.get("COLOR_0")
    return Mesh(
        vertices,
        index.reshape(-1, 3).astype(np.int32),
        None if uv is None else np.stack([uv[:, 0], 1 - uv[:, 1]], axis=1),
        values.get("NORMAL"),
        values.get("TANGENT"),
        None if colours is None else _srgb(colours[:, :3]),
    )


def _attribute(document: dict[str, Any], binary: bytes, name: str, number: int) -> Floats:
    """The values of one of _ATTRIBUTES as float32."""
    array = read_accessor(document, binary, number)
    if document["accessors"][number].get("normalized"):
        array = np.maximum(array / np.float32(np.iinfo(array.dtype).max), -1)
    if array.ndim != 2 or array.shape[1] not in _ATTRIBUTES[name]:
        raise ValueError(f"{name} has the type {document['accessors'][number]['type']}")
    if not np.isfinite(array).all():
        raise ValueError(f"some values of {name} are not finite")
    return array.astype(np.float32)


def _srgb(grey: Floats) -> Pixels:
    """Linear numbers as sRGB bytes."""
    grey = grey.clip(0, 1)
    return np.round(255 * np.where(grey <= 0.0031308, grey * 12.92, 1.055 * grey ** (1 / 2.4) - 0.055)).astype(np.uint8)


def _moved(mesh: Mesh, matrix: NDArray[np.float64]) -> Mesh:
    if (matrix == np.eye(4)).all():
        return mesh
    turn, mirrored = matrix[:3, :3], np.linalg.det(matrix[:3, :3]) < 0
    normals, tangents = mesh.normals, mesh.tangents
    if normals is not None:
        normals = _unit(normals @ np.linalg.inv(turn))  # v @ inverse = transposed inverse @ v
    if tangents is not None:
        sign = -tangents[:, 3:] if mirrored else tangents[:, 3:]
        tangents = np.concatenate([_unit(tangents[:, :3] @ turn.T), sign], axis=1)
    return Mesh(
        (mesh.vertices @ turn.T + matrix[:3, 3]).astype(np.float32),
        mesh.faces[:, ::-1] if mirrored else mesh.faces,
        mesh.uv,
        normals,
        tangents,
        mesh.colours,
    )


def _unit(vectors: Floats) -> Floats:
    return (vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-20)).astype(np.float32)


def _joined(parts: list[Mesh]) -> Mesh:
    """One mesh of many, with the attributes that all of them have."""
    starts = np.cumsum([0] + [len(part.vertices) for part in parts[:-1]])
    attributes = {}
    for name in ("uv", "normals", "tangents", "colours"):
        found = [getattr(part, name) for part in parts]
        attributes[name] = None if any(values is None for values in found) else np.concatenate(found)
    return Mesh(
        np.concatenate([part.vertices for part in parts]),
        np.concatenate([part.faces + start for part, start in zip(parts, starts, strict=True)]).astype(np.int32),
        **attributes,
    )


def _material(document: dict[str, Any], binary: bytes) -> Material:
    shown = {mesh for mesh, _ in _placed(document)}
    used = {primitive.get("material") for mesh in shown for primitive in document["meshes"][mesh]["primitives"]}
    if len(used) > 1:
        raise UnreadableMesh(f"the GLB file has {len(used)} materials; only one can be converted")
    number = used.pop()
    if number is None:
        return Material()
    entry = document["materials"][number]
    surface = entry.get("pbrMetallicRoughness", {})
    return Material(
        _picture(document, binary, surface.get("baseColorTexture")),
        _picture(document, binary, entry.get("normalTexture")),
        roughness=float(surface.get("roughnessFactor", 1.0)),
        metallic=float(surface.get("metallicFactor", 1.0)),
    )


def _picture(document: dict[str, Any], binary: bytes, texture: dict[str, Any] | None) -> bytes | None:
    if texture is None:
        return None
    entry = document["textures"][texture["index"]]
    source = entry.get("extensions", {}).get("EXT_texture_webp", entry)["source"]
    view = document["bufferViews"][document["images"][source]["bufferView"]]
    start = view.get("byteOffset", 0)
    return binary[start : start + view["byteLength"]]
