"""Binary glTF 2.0, written directly: header, JSON, BIN."""

import json
import struct
from collections.abc import Callable
from typing import Any

from geometry.export.buffer import Buffer, Packed, pack_plain
from geometry.export.draco import pack_draco
from geometry.export.meshopt import pack_meshopt
from geometry.export.pictures import media_type
from geometry.mesh import Material, Mesh, is_closed, merge_positions

CLAMP_TO_EDGE, LINEAR, LINEAR_MIPMAP_LINEAR = 33071, 9729, 9987
WEBP = "EXT_texture_webp"

COMPRESSIONS: dict[str, Callable[[Buffer, Mesh], Packed]] = {
    "none": pack_plain,
    "draco": pack_draco,
    "meshopt": pack_meshopt,
}


def write_glb(mesh: Mesh, material: Material | None = None, compression: str = "none") -> bytes:
    """A GLB file of one mesh with one opaque material, its textures inside.

    Args:
        compression: how the geometry is stored; one of COMPRESSIONS.
    Raises:
        MissingLibrary: what this compression needs is not installed.
    """
    material = material or Material()
    buffer = Buffer()
    packed = COMPRESSIONS[compression](buffer, mesh)
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "Maquette"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": "object", **packed.node}],
        "meshes": [{"primitives": [{**packed.primitive, "material": 0, "mode": 4}], "name": "object"}],
    }
    document |= _materials(buffer, material, closed=mesh_is_closed(mesh))
    document |= {"accessors": buffer.accessors, "bufferViews": buffer.views}
    buffer.data += b"\0" * (-len(buffer.data) % 4)
    document["buffers"] = [{"byteLength": len(buffer.data)}]
    if packed.fallback:
        document["buffers"].append(
            {"byteLength": packed.fallback, "extensions": {"EXT_meshopt_compression": {"fallback": True}}}
        )
    webp = [WEBP] if any(image["mimeType"] == "image/webp" for image in document.get("images", [])) else []
    if names := packed.extensions + webp:
        document |= {"extensionsUsed": names, "extensionsRequired": names}
    return _chunks(document, bytes(buffer.data))


def mesh_is_closed(mesh: Mesh) -> bool:
    """Whether the mesh is closed once copies of a position count as one vertex."""
    return is_closed(merge_positions(mesh.vertices, mesh.faces)[1])


def _materials(buffer: Buffer, material: Material, closed: bool) -> dict[str, Any]:
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
        "textures": [_texture(k, media_type(picture)) for k, picture in enumerate(images)],
        "images": [{"bufferView": buffer.view(picture), "mimeType": media_type(picture)} for picture in images],
        "samplers": [sampler],
    }


def _texture(number: int, kind: str) -> dict[str, Any]:
    source = {"source": number}
    return {"sampler": 0, **({"extensions": {WEBP: source}} if kind == "image/webp" else source)}


def _chunks(document: dict[str, Any], binary: bytes) -> bytes:
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    body = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(binary), 0x004E4942) + binary
    return struct.pack("<III", 0x46546C67, 2, 12 + len(body)) + body
