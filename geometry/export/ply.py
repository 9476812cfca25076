"""Binary PLY: positions, normals and sRGB colours per vertex."""

from dataclasses import replace

import numpy as np

from geometry.export.pictures import sample
from geometry.mesh import Floats, Material, Mesh, merge_positions, unit


def write_ply(mesh: Mesh, material: Material | None = None) -> bytes:
    """A little-endian PLY file in the mesh's own frame; textures have no place in it, vertex colours do.

    A mesh with a base colour texture gets its colours from there, read at each vertex. UV is left out, and what it
    split becomes one vertex again, with the mean colour and normal of the copies.
    """
    if mesh.uv is not None:
        mesh = _welded(mesh, material or Material())
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


def _welded(mesh: Mesh, material: Material) -> Mesh:
    assert mesh.uv is not None
    colours = sample(material.base_colour, mesh.uv) if material.base_colour is not None else mesh.colours
    vertices, faces = merge_positions(mesh.vertices, mesh.faces)
    target = np.full(len(mesh.vertices), -1, np.int64)
    target[mesh.faces.ravel()] = faces.ravel()

    def mean(values: Floats) -> Floats:
        used = target >= 0
        copies = np.bincount(target[used], minlength=len(vertices))
        sums = [np.bincount(target[used], column[used], len(vertices)) for column in values.T]
        return np.stack(sums, axis=1) / np.maximum(copies, 1)[:, None]

    return replace(
        mesh,
        vertices=vertices,
        faces=faces,
        uv=None,
        tangents=None,
        normals=None if mesh.normals is None else unit(mean(mesh.normals)),
        colours=None if colours is None else np.round(mean(colours)).astype(np.uint8),
    )


def _header(fields: list[tuple[str, str]], vertices: int, faces: int) -> bytes:
    words = {"<f4": "float", "u1": "uchar"}
    lines = ["ply", "format binary_little_endian 1.0", "comment Maquette", f"element vertex {vertices}"]
    lines += [f"property {words[kind]} {name}" for name, kind in fields]
    lines += [f"element face {faces}", "property list uchar int vertex_indices", "end_header", ""]
    return "\n".join(lines).encode("ascii")
