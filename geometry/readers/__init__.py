"""Files that hold a mesh -> the mesh and its material. Numpy alone, as `geometry.export`."""

from collections.abc import Callable

from geometry.mesh import Material, Mesh
from geometry.readers.glb import read_glb
from geometry.readers.ply import read_ply

READERS: dict[str, Callable[[bytes], tuple[Mesh, Material]]] = {
    "glb": read_glb,
    "ply": read_ply,
}
