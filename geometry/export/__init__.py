"""File formats a mesh can be written in. Numpy alone, so that the web tier may convert."""

from collections.abc import Callable

from geometry.export.glb import write_glb
from geometry.export.ply import write_ply
from geometry.mesh import Material, Mesh

EXPORTERS: dict[str, Callable[[Mesh, Material | None], bytes]] = {
    "glb": write_glb,
    "ply": write_ply,
}
