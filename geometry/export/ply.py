"""Binary PLY: positions, normals and sRGB colours per vertex."""

import numpy as np

from geometry.mesh import Material, Mesh


def write_ply(mesh: Mesh, material: Material | None = None) -> bytes:
    """A little-endian PLY file; textures have no place in it, vertex colours do."""
    fields: list[tuple[str, str]] = [("x", "<f4"), ("y", "<f4"), ("z", "<f4")]
    columns = list(mesh.vertices.T)
    if mesh.normals is not None:
        fields += [("nx", "<f4"), ("ny", "<f4"), ("nz", "<f4")]
        columns += list(mesh.normals.T)
    if mesh.colours is not None:
        fields += [("red", "u1"), ("green", "u1"), ("blue", "u1")]
        columns += list(mesh.colours.T)
    table = np.empty(len(mesh.vertices), np.dtype(fields))
    for (name, _), column in zip(fields, columns, strict=True):
        table[name] = column
    triangles = np.empty(len(mesh.faces), np.dtype([("count", "u1"), ("corners", "<i4", 3)]))
    triangles["count"], triangles["corners"] = 3, mesh.faces
    return _header(fields, len(table), len(triangles)) + table.tobytes() + triangles.tobytes()


def _header(fields: list[tuple[str, str]], vertices: int, faces: int) -> bytes:
    words = {"<f4": "float", "u1": "uchar"}
    lines = ["ply", "format binary_little_endian 1.0", "comment Maquette", f"element vertex {vertices}"]
    lines += [f"property {words[kind]} {name}" for name, kind in fields]
    lines += [f"element face {faces}", "property list uchar int vertex_indices", "end_header", ""]
    return "\n".join(lines).encode("ascii")
