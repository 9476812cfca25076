"""USDZ: a scene in USD's text form and its textures, in a ZIP file that is read without unpacking."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geometry.export.archive import archive
from geometry.export.buffer import linear
from geometry.export.pictures import beside, widely_readable
from geometry.mesh import Material, Mesh, is_closed, merge_positions

LAYER = "model.usda"
_ALIGNMENT = 64
_SURFACE = "/model/materials/surface"


def write_usdz(mesh: Mesh, material: Material | None = None) -> bytes:
    """A USDZ package: +Y up, one unit a metre, a UsdPreviewSurface with base colour and normal map.

    As glTF it keeps a copy of each vertex on both sides of a UV border. WebP has no place in USDZ and becomes PNG.
    """
    material = widely_readable(material or Material())
    textures = beside(mesh, material, "textures/")
    shader = _shader(material, {word: name for word, (name, _) in textures.items()}, mesh.colours is not None)
    scene = _SCENE.format(mesh=_mesh(mesh), materials=shader).encode()
    return archive({LAYER: scene} | dict(textures.values()), alignment=_ALIGNMENT)


_SCENE = """#usda 1.0
(
    customLayerData = {{
        string creator = "Maquette"
    }}
    defaultPrim = "model"
    metersPerUnit = 1
    upAxis = "Y"
)

def Xform "model" (
    assetInfo = {{
        string name = "model"
    }}
    kind = "component"
)
{{
    def Mesh "mesh" (
        prepend apiSchemas = ["MaterialBindingAPI"]
    )
    {{
{mesh}
    }}

    def Scope "materials"
    {{
        def Material "surface"
        {{
{materials}
        }}
    }}
}}
"""


def _mesh(mesh: Mesh) -> str:
    bounds = np.stack([mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)])
    closed = is_closed(merge_positions(mesh.vertices, mesh.faces)[1])
    lines = [
        f"uniform bool doubleSided = {0 if closed else 1}",
        f"float3[] extent = {_tuples(bounds)}",
        f"int[] faceVertexCounts = [{', '.join(['3'] * len(mesh.faces))}]",
        f"int[] faceVertexIndices = [{', '.join(map(str, mesh.faces.ravel().tolist()))}]",
        f"rel material:binding = <{_SURFACE}>",
        f"point3f[] points = {_tuples(mesh.vertices)}",
        'uniform token subdivisionScheme = "none"',
    ]
    if mesh.normals is not None:
        lines.append(f"normal3f[] normals = {_tuples(mesh.normals, 6)} {_PER_VERTEX}")
    if mesh.uv is not None:
        lines.append(f"texCoord2f[] primvars:st = {_tuples(mesh.uv)} {_PER_VERTEX}")
    if mesh.colours is not None:
        lines.append(f"color3f[] primvars:displayColor = {_tuples(linear(mesh.colours), 6)} {_PER_VERTEX}")
    return "\n".join(f"        {line}" for line in lines)


# In one line with the values it would confuse simple parsers, three.js's among them.
_PER_VERTEX = '(\n            interpolation = "vertex"\n        )'


def _tuples(values: NDArray[Any], digits: int = 9) -> str:
    one = f"({', '.join([f'%.{digits}g'] * values.shape[1])})"
    return f"[{', '.join([one] * len(values))}]" % tuple(values.ravel().tolist())


def _shader(material: Material, names: dict[str, str], coloured: bool) -> str:
    inputs = [f"float inputs:metallic = {material.metallic:.6g}", f"float inputs:roughness = {material.roughness:.6g}"]
    parts = []
    if "base_colour" in names:
        inputs.append(f"color3f inputs:diffuseColor.connect = <{_SURFACE}/base_colour.outputs:rgb>")
        parts.append(_texture("base_colour", names["base_colour"], "sRGB"))
    elif coloured:
        inputs.append(f"color3f inputs:diffuseColor.connect = <{_SURFACE}/colour.outputs:result>")
        parts.append(_primvar("colour", "float3", "displayColor"))
    if "normal_map" in names:
        inputs.append(f"normal3f inputs:normal.connect = <{_SURFACE}/normal_map.outputs:rgb>")
        # A normal map's bytes stand for -1 to 1.
        range_ = ["float4 inputs:scale = (2, 2, 2, 1)", "float4 inputs:bias = (-1, -1, -1, 0)"]
        parts.append(_texture("normal_map", names["normal_map"], "raw", range_))
    if names:
        parts.append(_primvar("st", "float2", "st"))
    surface = _node("preview", "UsdPreviewSurface", inputs, "token outputs:surface")
    connection = f"token outputs:surface.connect = <{_SURFACE}/preview.outputs:surface>"
    text = "\n\n".join([connection, surface, *parts])
    return "\n".join(f"            {line}" if line else "" for line in text.splitlines())


def _texture(name: str, file: str, space: str, more: list[str] | None = None) -> str:
    inputs = [
        f"asset inputs:file = @{file}@",
        f'token inputs:sourceColorSpace = "{space}"',
        f"float2 inputs:st.connect = <{_SURFACE}/st.outputs:result>",
        'token inputs:wrapS = "clamp"',
        'token inputs:wrapT = "clamp"',
        *(more or []),
    ]
    return _node(name, "UsdUVTexture", inputs, "float3 outputs:rgb")


def _primvar(name: str, kind: str, primvar: str) -> str:
    return _node(name, f"UsdPrimvarReader_{kind}", [f'string inputs:varname = "{primvar}"'], f"{kind} outputs:result")


def _node(name: str, kind: str, inputs: list[str], output: str) -> str:
    lines = [f'uniform token info:id = "{kind}"', *inputs, output]
    return "\n".join([f'def Shader "{name}"', "{", *(f"    {line}" for line in lines), "}"])
