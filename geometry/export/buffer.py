"""The BIN chunk of a GLB file as it grows, with the JSON that describes it."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geometry.mesh import Floats, Mesh, Pixels

BYTE, UBYTE, USHORT, UINT, FLOAT = 5120, 5121, 5123, 5125, 5126
ARRAY_BUFFER, INDEX_BUFFER = 34962, 34963


@dataclass
class Buffer:
    """Views and accessors over one growing piece of bytes."""

    data: bytearray = field(default_factory=bytearray)
    views: list[dict[str, Any]] = field(default_factory=list)
    accessors: list[dict[str, Any]] = field(default_factory=list)

    def append(self, data: bytes) -> dict[str, Any]:
        """Where the bytes were put, in a buffer view's words."""
        self.data += b"\0" * (-len(self.data) % 4)
        place = {"buffer": 0, "byteOffset": len(self.data), "byteLength": len(data)}
        self.data += data
        return place

    def view(self, data: bytes, target: int | None = None) -> int:
        self.views.append(self.append(data) | ({"target": target} if target else {}))
        return len(self.views) - 1

    def accessor(
        self, array: NDArray[Any], kind: str, component: int, view: int | None = None, bounds: bool = False, **more: Any
    ) -> int:
        """The number of a new accessor; without a view its values come from an extension."""
        entry: dict[str, Any] = {} if view is None else {"bufferView": view}
        entry |= {"componentType": component, "count": len(array), "type": kind, **more}
        if bounds:
            entry |= {"min": array.min(axis=0).tolist(), "max": array.max(axis=0).tolist()}
        self.accessors.append(entry)
        return len(self.accessors) - 1


@dataclass(frozen=True)
class Packed:
    """A mesh put into a buffer.

    Attributes:
        node: what the node that shows it needs besides.
        extensions: names a reader has to know.
        fallback: bytes of the buffer that exists only once it is decompressed; 0 for none.
    """

    primitive: dict[str, Any]
    node: dict[str, Any] = field(default_factory=dict)
    extensions: list[str] = field(default_factory=list)
    fallback: int = 0


def pack_plain(buffer: Buffer, mesh: Mesh) -> Packed:
    """The mesh as it is: float32 attributes and the narrowest indices."""

    def floats(array: NDArray[Any], kind: str, bounds: bool = False) -> int:
        array = np.ascontiguousarray(array, "<f4")
        return buffer.accessor(array, kind, FLOAT, buffer.view(array.tobytes(), ARRAY_BUFFER), bounds)

    attributes = {"POSITION": floats(mesh.vertices, "VEC3", bounds=True)}
    if mesh.normals is not None:
        attributes["NORMAL"] = floats(mesh.normals, "VEC3")
    if mesh.tangents is not None:
        attributes["TANGENT"] = floats(mesh.tangents, "VEC4")
    if mesh.uv is not None:
        attributes["TEXCOORD_0"] = floats(gltf_uv(mesh.uv), "VEC2")
    if mesh.colours is not None:
        attributes["COLOR_0"] = floats(linear(mesh.colours), "VEC3")
    component = index_type(len(mesh.vertices))
    indices = np.ascontiguousarray(mesh.faces.ravel(), "<u2" if component == USHORT else "<u4")
    number = buffer.accessor(indices, "SCALAR", component, buffer.view(indices.tobytes(), INDEX_BUFFER))
    return Packed({"attributes": attributes, "indices": number})


def index_type(vertices: int) -> int:
    # 65535 is the restart value and must not occur in 16-bit indices.
    return USHORT if vertices < 65535 else UINT


def gltf_uv(uv: Floats) -> Floats:
    """UV as glTF has it: v counted downwards. The one place that turns it for writing."""
    return np.stack([uv[:, 0], 1 - uv[:, 1]], axis=1)


def linear(colours: Pixels) -> Floats:
    """sRGB bytes as the linear numbers that COLOR_0 holds."""
    grey = colours / 255.0
    return np.where(grey <= 0.04045, grey / 12.92, ((grey + 0.055) / 1.055) ** 2.4)
