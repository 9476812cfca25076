"""Field -> triangles."""

import numpy as np
from skimage import measure

from geometry.mesh import Floats, Ints, signed_volume


def surface_of(field: Floats) -> tuple[Floats, Ints]:
    """The closed surface where a field (Z, Y, X), positive inside, crosses zero: vertices as (x, y, z) cells, faces.

    The outermost layer of the field must be negative. The winding is outward in the frame of the returned coordinates.
    A field without any inside gives no triangles.
    """
    # A zero exactly on a grid point would give triangles without area and, once merged, pinched edges.
    field = np.where(np.abs(field) < 1e-4, np.float32(-1e-4), field)
    if field.max() <= 0:
        return np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32)
    vertices, faces, _, _ = measure.marching_cubes(field, 0.0)  # type: ignore[no-untyped-call]
    vertices = np.ascontiguousarray(vertices[:, ::-1], np.float32)
    faces = faces.astype(np.int32)
    if signed_volume(vertices, faces) < 0:
        faces = np.ascontiguousarray(faces[:, ::-1])
    return vertices, faces
