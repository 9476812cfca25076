"""Colours and normals of a dense mesh at places near its surface."""

from functools import cached_property

import numpy as np
from scipy.spatial import cKDTree

from geometry import bvh
from geometry.mesh import Floats, Mesh, unit, vertex_normals


class DenseSurface:
    """A dense mesh that can be asked; what it needs for that is made when first asked.

    Args:
        exact: asks the nearest place of the surface, between vertices too; otherwise the nearest vertex.
    """

    def __init__(self, mesh: Mesh, exact: bool) -> None:
        self._mesh, self._exact = mesh, exact
        self._found: tuple[Floats, bvh.Nearest] | None = None

    @property
    def coloured(self) -> bool:
        return self._mesh.colours is not None

    def colours_at(self, points: Floats, otherwise: int) -> Floats:
        """(N, 3) in 0..255; `otherwise` for a mesh without colours."""
        if self._mesh.colours is None:
            return np.full((len(points), 3), otherwise, np.float32)
        if not self._exact:
            return self._mesh.colours[self._vertices.query(points, workers=2)[1]].astype(np.float32)
        return self._interpolated(self._mesh.colours, points)

    def normals_at(self, points: Floats) -> Floats:
        """(N, 3) unit, smooth between vertices."""
        return unit(self._interpolated(self._normals, points))

    def _interpolated(self, values: Floats, points: Floats) -> Floats:
        hit = self._nearest(points)
        corners = self._mesh.faces[hit.face]
        u, v = hit.bary.T
        last = 1 - u - v
        return sum(values[corners[:, k]].astype(np.float32) * share[:, None] for k, share in enumerate((u, v, last)))

    def _nearest(self, points: Floats) -> bvh.Nearest:
        # Colours and normals are asked at the same places.
        if self._found is None or not np.array_equal(self._found[0], points):
            self._found = points, bvh.nearest(self._tree, points)
        return self._found[1]

    @cached_property
    def _vertices(self) -> cKDTree:
        return cKDTree(self._mesh.vertices, balanced_tree=False, compact_nodes=False)

    @cached_property
    def _tree(self) -> bvh.Tree:
        return bvh.build(self._mesh.vertices, self._mesh.faces)

    @cached_property
    def _normals(self) -> Floats:
        return vertex_normals(self._mesh.vertices, self._mesh.faces)
