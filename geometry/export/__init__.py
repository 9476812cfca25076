"""File formats a mesh can be written in. No compiler and no torch, so that the web tier may convert."""

from collections.abc import Callable

from geometry.export.glb import write_glb
from geometry.export.obj import write_obj
from geometry.export.ply import write_ply
from geometry.export.stl import write_stl
from geometry.export.usdz import write_usdz
from geometry.mesh import Material, Mesh

EXPORTERS: dict[str, Callable[[Mesh, Material | None], bytes]] = {
    "glb": write_glb,
    "obj": write_obj,
    "ply": write_ply,
    "stl": write_stl,
    "usdz": write_usdz,
}
