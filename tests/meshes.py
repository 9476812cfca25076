"""Two meshes that should be the same, their vertices and faces in any order."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

Array = NDArray[Any]


def same_mesh(vertices: Array, faces: Array, ref_vertices: Array, ref_faces: Array, tolerance: float) -> float:
    """The largest distance between a vertex and its partner in the reference.

    Faces must join partners in the same winding; which corner comes first does not matter.

    Raises:
        AssertionError: they differ, with what differs first.
    """
    assert vertices.shape == ref_vertices.shape, f"{len(vertices)} vertices, the reference has {len(ref_vertices)}"
    assert faces.shape == ref_faces.shape, f"{len(faces)} faces, the reference has {len(ref_faces)}"
    if len(vertices) == 0:
        return 0.0
    distance, partner = KDTree(np.asarray(ref_vertices, np.float64)).query(np.asarray(vertices, np.float64))
    worst = int(np.argmax(distance))
    assert distance[worst] <= tolerance, (
        f"{int((distance > tolerance).sum())} of {len(vertices)} vertices lie off the reference: "
        f"number {worst} at {vertices[worst]} by {distance[worst]:.3g}, allowed are {tolerance:.3g}"
    )
    taken = len(np.unique(partner))
    assert taken == len(vertices), f"{len(vertices) - taken} vertices lie on one that has a partner already"
    ours, theirs = _canonical(partner[faces]), _canonical(ref_faces)
    if not np.array_equal(ours, theirs):
        missing = set(map(tuple, theirs.tolist())) - set(map(tuple, ours.tolist()))
        raise AssertionError(f"{len(missing)} of {len(theirs)} faces of the reference are missing: {list(missing)[:3]}")
    return float(distance[worst])


def _canonical(faces: Array) -> Array:
    """Each face from its smallest corner on, the faces sorted."""
    first = faces.argmin(axis=1)[:, None]
    turned = np.take_along_axis(faces.astype(np.int64), (first + np.arange(3)) % 3, axis=1)
    return turned[np.lexsort(turned.T[::-1])]
