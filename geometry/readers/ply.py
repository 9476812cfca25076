"""Binary PLY with triangles, as `geometry.export` and most scanners write it."""

import re

import numpy as np
from numpy.typing import NDArray

from geometry.errors import UnreadableMesh
from geometry.mesh import Floats, Material, Mesh

_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "<i2", "int16": "<i2", "ushort": "<u2",
    "uint16": "<u2", "int": "<i4", "int32": "<i4", "uint": "<u4", "uint32": "<u4", "float": "<f4", "float32": "<f4",
    "double": "<f8", "float64": "<f8",
}  # fmt: skip
_LONGEST_HEADER = 65536


def read_ply(data: bytes) -> tuple[Mesh, Material]:
    """The triangles of a little-endian PLY file with what it says of its vertices: normals and colours.

    Raises:
        UnreadableMesh: not such a file, or one of points or larger polygons.
    """
    end = data.find(b"end_header\n", 0, _LONGEST_HEADER)
    header = data[: max(end, 0)].decode("ascii", "replace").splitlines()
    if end < 0 or header[0] != "ply" or "format binary_little_endian 1.0" not in header:
        raise UnreadableMesh("not a PLY file in the format binary_little_endian 1.0")
    elements = _elements(header)
    if [name for name, _, _ in elements] != ["vertex", "face"] or elements[1][1] == 0:
        raise UnreadableMesh("the PLY file holds no triangles: it may be a cloud of points")
    try:
        return _mesh(data, end + len(b"end_header\n"), *(element[1:] for element in elements)), Material()
    except (ValueError, KeyError) as error:
        raise UnreadableMesh(f"not a readable PLY file: {error}") from error


def _elements(header: list[str]) -> list[tuple[str, int, list[str]]]:
    """Name, count and property lines of each element."""
    elements: list[tuple[str, int, list[str]]] = []
    for line in header:
        if match := re.fullmatch(r"element (\w+) (\d{1,10})", line):
            elements.append((match[1], int(match[2]), []))
        elif line.startswith("property ") and elements:
            elements[-1][2].append(line)
    return elements


def _mesh(data: bytes, start: int, vertex: tuple[int, list[str]], face: tuple[int, list[str]]) -> Mesh:
    fields = [(name, _TYPES[kind]) for _, kind, name in (line.split() for line in vertex[1])]
    table = np.frombuffer(data, np.dtype(fields), vertex[0], start)
    (properties,) = face[1]
    match = re.fullmatch(r"property list (\w+) (\w+) vertex_ind(?:ices|ex)", properties)
    if not match:
        raise ValueError(f"its faces have {properties!r}")
    triangle = np.dtype([("count", _TYPES[match[1]]), ("corners", _TYPES[match[2]], 3)])
    rows = np.frombuffer(data, triangle, face[0], start + table.nbytes)
    if (rows["count"] != 3).any():
        raise ValueError("some faces are no triangles")
    corners = rows["corners"].astype(np.int64)
    if corners.min() < 0 or corners.max() >= len(table):
        raise ValueError("a face names a vertex that does not exist")
    vertices, colours = _columns(table, "x", "y", "z"), _columns(table, "red", "green", "blue")
    normals = _columns(table, "nx", "ny", "nz")
    if vertices is None or not all(np.isfinite(found).all() for found in (vertices, normals) if found is not None):
        raise ValueError("positions are missing, or some numbers are not finite")
    return Mesh(
        vertices.astype(np.float32),
        corners.astype(np.int32),
        normals=None if normals is None else normals.astype(np.float32),
        colours=None if colours is None else colours.astype(np.uint8),
    )


def _columns(table: NDArray[np.void], *names: str) -> Floats | None:
    if not set(names) <= set(table.dtype.names or ()):
        return None
    return np.stack([table[name] for name in names], axis=1)
