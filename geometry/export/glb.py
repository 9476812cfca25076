"""Binary glTF 2.0, written directly: header, JSON, BIN."""

import json
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geometry.mesh import Floats, Material, Mesh, Pixels, is_closed, merge_positions

FLOAT, UINT, USHORT = 5126, 5125, 5123
ARRAY_BUFFER, INDEX_BUFFER = 34962, 34963
CLAMP_TO_EDGE, LINEAR, LINEAR_MIPMAP_LINEAR = 33071, 9729, 9987


class _Buffer:
    """The BIN chunk as it grows, with the JSON that describes it."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def view(self, data: bytes, target: int | None = None) -> int:
        self.data += b"\0" * (-len(self.data) % 4)
        entry: dict[str, Any] = {"buffer": 0, "byteOffset": len(self.data), "byteLength": len(data)}
        if target:
            entry["target"] = target
        self.data += data
        self.views.append(entry)
        return len(self.views) - 1

    def accessor(self, array: NDArray[Any], kind: str, component: int, target: int, bounds: bool = False) -> int:
        entry: dict[str, Any] = {
            "bufferView": self.view(array.tobytes(), target),
            "componentType": component,
            "count": len(array),
            "type": kind,
        }
        if bounds:
            entry |= {"min": array.min(axis=0).tolist(), "max": array.max(axis=0).tolist()}
        self.accessors.append(entry)
        return len(self.accessors) - 1


def write_glb(mesh: Mesh, material: Material | None = None) -> bytes:
    """A GLB file of one mesh with one opaque material, its textures inside."""
    material = material or Material()
    buffer = _Buffer()
    primitive = {"attributes": _attributes(buffer, mesh), "indices": _indices(buffer, mesh), "material": 0, "mode": 4}
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "Maquette"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": "object"}],
        "meshes": [{"primitives": [primitive], "name": "object"}],
    }
    document |= _materials(buffer, material, closed=mesh_is_closed(mesh))
    document |= {"accessors": buffer.accessors, "bufferViews": buffer.views}
    buffer.data += b"\0" * (-len(buffer.data) % 4)
    document["buffers"] = [{"byteLength": len(buffer.data)}]
    return _chunks(document, bytes(buffer.data))


def mesh_is_closed(mesh: Mesh) -> bool:
    """Whether the mesh is closed once copies of a position count as one vertex."""
    return is_closed(merge_positions(mesh.vertices, mesh.faces)[1])


def _attributes(buffer: _Buffer, mesh: Mesh) -> dict[str, int]:
    def floats(array: NDArray[Any], kind: str, bounds: bool = False) -> int:
        return buffer.accessor(np.ascontiguousarray(array, "<f4"), kind, FLOAT, ARRAY_BUFFER, bounds)

    attributes = {"POSITION": floats(mesh.vertices, "VEC3", bounds=True)}
    if mesh.normals is not None:
        attributes["NORMAL"] = floats(mesh.normals, "VEC3")
    if mesh.tangents is not None:
        attributes["TANGENT"] = floats(mesh.tangents, "VEC4")
    if mesh.uv is not None:
        # glTF counts v downwards, we count it upwards; this is the one place that turns it.
        attributes["TEXCOORD_0"] = floats(np.stack([mesh.uv[:, 0], 1 - mesh.uv[:, 1]], axis=1), "VEC2")
    if mesh.colours is not None:
        attributes["COLOR_0"] = floats(_linear(mesh.colours), "VEC3")
    return attributes


def _linear(colours: Pixels) -> Floats:
    """sRGB bytes as the linear numbers that COLOR_0 holds."""
    grey = colours / 255.0
    return np.where(grey <= 0.04045, grey / 12.92, ((grey + 0.055) / 1.055) ** 2.4)


def _indices(buffer: _Buffer, mesh: Mesh) -> int:
    # 65535 is the restart value and must not occur in 16-bit indices.
    kind, component = ("<u2", USHORT) if len(mesh.vertices) < 65535 else ("<u4", UINT)
    return buffer.accessor(np.ascontiguousarray(mesh.faces.ravel(), kind), "SCALAR", component, INDEX_BUFFER)


def _materials(buffer: _Buffer, material: Material, closed: bool) -> dict[str, Any]:
    """The JSON of the material and of the pictures it uses."""
    # metallicFactor is 1 where a file leaves it out, which shows as dark metal.
    surface: dict[str, Any] = {"metallicFactor": material.metallic, "roughnessFactor": material.roughness}
    entry: dict[str, Any] = {"name": "surface", "alphaMode": "OPAQUE", "pbrMetallicRoughness": surface}
    if not closed:
        entry["doubleSided"] = True
    images = [picture for picture in (material.base_colour, material.normal_map) if picture is not None]
    if not images:
        return {"materials": [entry]}
    if material.base_colour is not None:
        surface["baseColorTexture"] = {"index": 0}
    if material.normal_map is not None:
        entry["normalTexture"] = {"index": len(images) - 1}
    sampler = {"magFilter": LINEAR, "minFilter": LINEAR_MIPMAP_LINEAR, "wrapS": CLAMP_TO_EDGE, "wrapT": CLAMP_TO_EDGE}
    return {
        "materials": [entry],
        "textures": [{"sampler": 0, "source": k} for k in range(len(images))],
        "images": [{"bufferView": buffer.view(picture), "mimeType": _media_type(picture)} for picture in images],
        "samplers": [sampler],
    }


def _media_type(picture: bytes) -> str:
    return "image/png" if picture.startswith(b"\x89PNG") else "image/jpeg"


def _chunks(document: dict[str, Any], binary: bytes) -> bytes:
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    body = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(binary), 0x004E4942) + binary
    return struct.pack("<III", 0x46546C67, 2, 12 + len(body)) + body
