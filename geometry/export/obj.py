"""Wavefront OBJ with its material and textures, in one ZIP file."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geometry.export.archive import archive
from geometry.export.pictures import beside, widely_readable
from geometry.mesh import Ints, Material, Mesh, merge_positions

OBJ, MTL, SURFACE = "model.obj", "model.mtl", "surface"


def write_obj(mesh: Mesh, material: Material | None = None) -> bytes:
    """A ZIP of model.obj, model.mtl and the textures, since an OBJ file alone has no colours.

    +Y up, the object in a cube of side 1, as importers expect it of OBJ. Positions, UV and normals are counted apart,
    so a closed mesh stays closed across UV borders. Vertex colours stand behind the positions.
    """
    material = widely_readable(material or Material())
    named = beside(mesh, material)
    files = {OBJ: _model(mesh), MTL: _material(material, {word: name for word, (name, _) in named.items()})}
    return archive(files | dict(named.values()), compressed=True)


def _model(mesh: Mesh) -> bytes:
    if mesh.uv is None and mesh.colours is not None:
        vertices, places = mesh.vertices, mesh.faces
        rows = _rows("v %.9g %.9g %.9g %.4g %.4g %.4g", np.concatenate([vertices, mesh.colours / 255], axis=1))
    else:
        vertices, places = merge_positions(mesh.vertices, mesh.faces)
        rows = _rows("v %.9g %.9g %.9g", vertices)
    text = [f"# Maquette, +Y up\nmtllib {MTL}\no object\n", rows]
    columns, form = [places], "%d"
    if mesh.uv is not None:
        uv, corners = _distinct(mesh.uv, mesh.faces)
        text.append(_rows("vt %.9g %.9g", uv))
        columns.append(corners)
        form += "/%d"
    if mesh.normals is not None:
        normals, corners = _distinct(mesh.normals, mesh.faces)
        text.append(_rows("vn %.6g %.6g %.6g", normals))
        columns.append(corners)
        form += "/%d" if mesh.uv is not None else "//%d"
    text.append(f"usemtl {SURFACE}\n")
    text.append(_rows(f"f {form} {form} {form}", np.stack(columns, axis=2).reshape(len(places), -1) + 1))
    return "".join(text).encode()


def _distinct(values: NDArray[Any], faces: Ints) -> tuple[NDArray[Any], Ints]:
    """Each value once, and the faces that name them."""
    found, inverse = np.unique(values, axis=0, return_inverse=True)
    return found, inverse.ravel()[faces]


def _rows(form: str, values: NDArray[Any]) -> str:
    return (f"{form}\n" * len(values)) % tuple(values.ravel().tolist())


def _material(material: Material, names: dict[str, str]) -> bytes:
    """Old readers take Kd and Ks, newer ones the physically based Pr, Pm and norm."""
    lines = [
        f"newmtl {SURFACE}",
        "Ka 0 0 0",
        "Kd 1 1 1",
        "Ks 0 0 0",
        "d 1",
        "illum 1",
        f"Pr {material.roughness:.6g}",
        f"Pm {material.metallic:.6g}",
    ]
    if "base_colour" in names:
        lines.append(f"map_Kd {names['base_colour']}")
    if "normal_map" in names:
        lines.append(f"norm {names['normal_map']}")
    return "\n".join([*lines, ""]).encode()
