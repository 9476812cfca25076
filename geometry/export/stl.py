"""Binary STL for printing: bare triangles, +Z up, millimetres."""

import numpy as np

from geometry.mesh import Material, Mesh, face_normals, unit

LONGEST_SIDE_MM = 100.0


def write_stl(mesh: Mesh, material: Material | None = None, size_mm: float = LONGEST_SIDE_MM) -> bytes:
    """A binary STL file; neither colours nor textures have a place in it.

    A slicer takes z for up and a unit for a millimetre, where ours is y and a cube of side 1. So the object is turned
    to face -Y, stands on z = 0 over the origin, and is scaled.

    Args:
        size_mm: length of its longest side.
    """
    x, y, z = mesh.vertices.astype(np.float64).T
    places = np.stack([x, -z, y], axis=1)
    low, high = places.min(axis=0), places.max(axis=0)
    foot = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]])
    placed = ((places - foot) * (size_mm / ((high - low).max() or 1.0))).astype(np.float32)
    table = np.zeros(len(mesh.faces), np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("spare", "<u2")]))
    table["normal"] = unit(face_normals(placed, mesh.faces))
    table["corners"] = placed[mesh.faces]
    # A header that begins with "solid" would be taken for the text format.
    return b"Maquette, millimetres, +Z up".ljust(80) + len(table).to_bytes(4, "little") + table.tobytes()
