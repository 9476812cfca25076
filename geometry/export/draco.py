"""KHR_draco_mesh_compression, by DracoPy."""

import numpy as np

from geometry.errors import MissingLibrary, UnreadableMesh
from geometry.export.buffer import FLOAT, Buffer, Packed, gltf_uv, index_type, linear
from geometry.mesh import Mesh

EXTENSION = "KHR_draco_mesh_compression"
POSITION_BITS, UV_BITS, NORMAL_BITS = 14, 14, 10
_LEVEL = 7
_COLOUR_ID = 9


def pack_draco(buffer: Buffer, mesh: Mesh) -> Packed:
    """The mesh in one Draco stream, which orders vertices anew.

    Tangents are left out: Draco has no packed form for them, as floats they would outweigh all the rest, and a viewer
    derives them from the UV.

    Raises:
        MissingLibrary: DracoPy is not installed.
    """
    try:
        import DracoPy
    except ImportError as error:
        raise MissingLibrary("Draco compression needs the library DracoPy; install it with: pip install DracoPy") from (
            error
        )
    try:
        # DracoPy takes UV and normals as float64 alone, and of whole numbers keeps only bytes in their type.
        encoded = DracoPy.encode(
            np.ascontiguousarray(mesh.vertices, np.float32),
            np.ascontiguousarray(mesh.faces, np.uint32),
            quantization_bits=POSITION_BITS,
            compression_level=_LEVEL,
            tex_coord=None if mesh.uv is None else gltf_uv(mesh.uv).astype(np.float64),
            normals=None if mesh.normals is None else mesh.normals.astype(np.float64),
            generic_attributes=None if mesh.colours is None else {_COLOUR_ID: linear(mesh.colours).astype(np.float32)},
            tex_coord_quantization_bits=UV_BITS,
            normal_quantization_bits=NORMAL_BITS,
        )
    except DracoPy.EncodingFailedException as error:
        raise UnreadableMesh("Draco cannot store this mesh; it may consist of degenerate triangles alone") from error
    # Only the decoded stream tells its vertex count and the numbers of its attributes.
    decoded = DracoPy.decode(encoded)
    kinds = DracoPy.AttributeType
    names = {
        kinds.POSITION: "POSITION",
        kinds.NORMAL: "NORMAL",
        kinds.TEX_COORD: "TEXCOORD_0",
        kinds.GENERIC: "COLOR_0",
    }
    numbers, attributes = {}, {}
    for found in decoded.attributes:
        name = names[found["attribute_type"]]
        numbers[name] = found["unique_id"]
        kind = "VEC2" if name == "TEXCOORD_0" else "VEC3"
        attributes[name] = buffer.accessor(found["data"], kind, FLOAT, bounds=name == "POSITION")
    corners = np.empty(3 * len(decoded.faces))
    primitive = {
        "attributes": attributes,
        "indices": buffer.accessor(corners, "SCALAR", index_type(len(decoded.points))),
        "extensions": {EXTENSION: {"bufferView": buffer.view(encoded), "attributes": numbers}},
    }
    return Packed(primitive, extensions=[EXTENSION])
