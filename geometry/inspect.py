"""An independent look at a GLB file: what it holds and whether it is sound. Shares no code with the writer."""

import io
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from geometry.mesh import (
    Floats,
    Ints,
    directed_edges,
    edge_keys,
    euler_number,
    face_components,
    merge_positions,
    signed_volume,
)
from geometry.readers.glb import read_accessor, read_chunks


@dataclass(frozen=True)
class GlbReport:
    """Facts about a GLB file; `problems` lists in words what is wrong with it.

    Attributes:
        vertices: as stored, copies along UV borders included.
        euler_numbers: of each connected part, copies of a position merged; 2 - 2 x holes when closed.
        texture_size: (width, height) of the base colour texture.
    """

    triangles: int = 0
    vertices: int = 0
    watertight: bool = False
    consistent: bool = False
    volume: float = 0.0
    euler_numbers: list[int] = field(default_factory=list)
    has_uv: bool = False
    uv_in_range: bool = False
    has_texture: bool = False
    has_normal_map: bool = False
    texture_size: tuple[int, int] | None = None
    metallic_factor: float | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        return not self.problems


def inspect_glb(data: bytes) -> GlbReport:
    """What a GLB file holds; a file that cannot be read is a report with that problem, never an exception."""
    try:
        document, binary = read_chunks(data)
        return _report(document, binary)
    except (ValueError, KeyError, IndexError, TypeError, struct.error, OSError) as error:
        return GlbReport(problems=[f"not a readable GLB file: {error}"])


def _report(document: dict[str, Any], binary: bytes) -> GlbReport:
    positions, faces, coordinates, problems = _geometry(document, binary)
    if len(faces) == 0:
        return GlbReport(problems=["there are no triangles"])
    merged, corners = merge_positions(positions, faces)
    forward, backward = edge_keys(directed_edges(corners))
    both, count = np.unique(np.minimum(forward, backward), return_counts=True)
    part = face_components(corners, len(merged))
    material = document["materials"][0] if document.get("materials") else {}
    surface = material.get("pbrMetallicRoughness", {})
    facts: dict[str, Any] = {
        "triangles": len(faces),
        "vertices": len(positions),
        "watertight": bool((count == 2).all()),
        "consistent": len(np.unique(forward)) == len(forward),
        "volume": signed_volume(merged, corners),
        "euler_numbers": [euler_number(corners[part == k]) for k in range(int(part.max()) + 1)],
        "has_uv": coordinates is not None,
        "uv_in_range": coordinates is not None and bool(((coordinates >= 0) & (coordinates <= 1)).all()),
        "has_texture": "baseColorTexture" in surface,
        "has_normal_map": "normalTexture" in material,
        "metallic_factor": surface.get("metallicFactor", 1.0),
    }
    if facts["has_texture"]:
        facts["texture_size"] = _picture_size(document, binary, surface["baseColorTexture"]["index"])
    if (corners == np.roll(corners, 1, axis=1)).any():
        problems.append("some triangles have two corners in one place")
    return GlbReport(**facts, problems=problems + _complaints(facts))


def _geometry(document: dict[str, Any], binary: bytes) -> tuple[Floats, Ints, Floats | None, list[str]]:
    """All primitives as one: positions, faces, UV or None, and what is wrong with the arrays."""
    positions, faces, coordinates, problems, base = [], [], [], [], 0
    for mesh in document.get("meshes", []):
        for primitive in mesh["primitives"]:
            points = read_accessor(document, binary, primitive["attributes"]["POSITION"]).astype(np.float32)
            index = read_accessor(document, binary, primitive["indices"]).astype(np.int64)
            if index.size % 3 or index.max(initial=-1) >= len(points):
                raise ValueError("indices do not name existing vertices in threes")
            accessor = document["accessors"][primitive["attributes"]["POSITION"]]
            if not np.isfinite(points).all():
                problems.append("some positions are not finite")
            if not np.array_equal(np.asarray(accessor.get("min"), np.float32), points.min(axis=0)):
                problems.append("the stated minimum of the positions is wrong or missing")
            if "TEXCOORD_0" in primitive["attributes"]:
                coordinates.append(
                    read_accessor(document, binary, primitive["attributes"]["TEXCOORD_0"]).astype(np.float32)
                )
            positions.append(points)
            faces.append(index.reshape(-1, 3) + base)
            base += len(points)
    if not positions:
        return np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int64), None, problems
    complete = len(coordinates) == len(positions)
    return np.concatenate(positions), np.concatenate(faces), np.concatenate(coordinates) if complete else None, problems


def _picture_size(document: dict[str, Any], binary: bytes, texture: int) -> tuple[int, int]:
    image = document["images"][document["textures"][texture]["source"]]
    view = document["bufferViews"][image["bufferView"]]
    start = view.get("byteOffset", 0)
    with Image.open(io.BytesIO(binary[start : start + view["byteLength"]])) as picture:
        picture.load()
        return picture.size


def _complaints(facts: dict[str, Any]) -> list[str]:
    checks = {
        "the surface is not closed": facts["watertight"],
        "neighbouring triangles run opposite ways": facts["consistent"],
        "the volume is not positive: inside out": facts["volume"] > 0,
        "there are no texture coordinates": facts["has_uv"],
        "texture coordinates leave [0, 1]": facts["uv_in_range"] or not facts["has_uv"],
        "there is no base colour texture": facts["has_texture"],
        "metallicFactor is not 0": facts["metallic_factor"] == 0,
    }
    return [complaint for complaint, fine in checks.items() if not fine]
