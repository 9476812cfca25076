"""What a mesh carries beside its triangles: encoded pictures, tangents, colours. The same bytes every time."""

from dataclasses import replace

import cv2
import numpy as np

from geometry import bake
from geometry.mesh import Floats, Material, Mesh, Pixels
from geometry.rasterize import Fragments
from geometry.unwrap import Unwrapped

COLOUR_QUALITY, NORMAL_QUALITY = 92, 95


def jpeg(picture: Pixels, quality: int = COLOUR_QUALITY, full_chroma: bool = False) -> bytes:
    """A JPEG of an RGB picture; `full_chroma` for normal maps, whose channels are not colours."""
    sampling = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444 if full_chroma else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    return cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]), options)[1].tobytes()


def with_normal_map(
    mesh: Mesh, material: Material, fragments: Fragments, fine: Floats, fill: bool = False
) -> tuple[Mesh, Material]:
    """The mesh with tangents and the material with a normal map.

    Args:
        fragments: the mesh in its own UV space.
        fine: (N, N, 3) object-space normals of the fine solid for each texel.
        fill: continues the map beyond the charts.
    """
    assert mesh.normals is not None
    tangent = bake.tangents(mesh.normals, bake.u_directions(mesh))
    picture = bake.bake_normal_map(fragments, mesh.faces, mesh.normals, tangent, fine)
    if fill:
        picture = bake.fill_outside(picture, fragments.face >= 0)
    encoded = jpeg(picture, NORMAL_QUALITY, full_chroma=True)
    return replace(mesh, tangents=tangent), replace(material, normal_map=encoded)


def vertex_colours(count: int, cut: Unwrapped, texture: Pixels) -> Pixels:
    """(V, 3) the texture at each vertex of the uncut mesh."""
    size = texture.shape[0]
    texel = np.clip(np.stack([cut.uv[:, 0] * size, (1 - cut.uv[:, 1]) * size], axis=1), 0, size - 1).astype(np.int64)
    colours = np.zeros((count, 3), np.uint8)
    colours[cut.source] = texture[texel[:, 1], texel[:, 0]]
    return colours
