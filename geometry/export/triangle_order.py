"""Triangles and vertices in the order in which they are used soon after each other (Sander et al. 2007, "Tipsify")."""

from dataclasses import replace
from typing import Any

import numpy as np

from geometry.mesh import Ints, Mesh

_CACHE = 16


def ordered(mesh: Mesh) -> Mesh:
    """The same mesh: neighbouring triangles follow each other, vertices stand in the order of their first use."""
    faces = mesh.faces[triangle_order(mesh.faces, len(mesh.vertices))]
    used, first = np.unique(faces.ravel(), return_index=True)
    source = used[np.argsort(first)]
    number = np.zeros(len(mesh.vertices), np.int32)
    number[source] = np.arange(len(source), dtype=np.int32)

    def taken(values: Any) -> Any:
        return None if values is None else values[source]

    return replace(
        mesh,
        vertices=mesh.vertices[source],
        faces=number[faces],
        uv=taken(mesh.uv),
        normals=taken(mesh.normals),
        tangents=taken(mesh.tangents),
        colours=taken(mesh.colours),
    )


def triangle_order(faces: Ints, count: int) -> Ints:
    """(F,) the faces in an order that keeps coming back to the same few vertices: fan after fan around one of them."""
    around = np.argsort(faces.ravel(), kind="stable") // 3
    begin = np.concatenate([[0], np.cumsum(np.bincount(faces.ravel(), minlength=count))]).tolist()
    neighbours, corners = around.tolist(), faces.tolist()
    open_faces = np.bincount(faces.ravel(), minlength=count).tolist()
    seen_at, done = [-_CACHE - 1] * count, bytearray(len(faces))
    order: list[int] = []
    dead_ends: list[int] = []
    clock, cursor, centre = 0, 0, 0
    while centre >= 0:
        ring: list[int] = []
        for face in neighbours[begin[centre] : begin[centre + 1]]:
            if done[face]:
                continue
            done[face] = 1
            order.append(face)
            for vertex in corners[face]:
                ring.append(vertex)
                open_faces[vertex] -= 1
                if clock - seen_at[vertex] > _CACHE:
                    seen_at[vertex] = clock
                    clock += 1
        dead_ends += ring
        centre, best = -1, -1
        for vertex in ring:
            if open_faces[vertex]:
                # Of those whose remaining fan still fits, the one seen longest ago.
                age = clock - seen_at[vertex]
                score = age if age + 2 * open_faces[vertex] <= _CACHE else 0
                if score > best:
                    centre, best = vertex, score
        while centre < 0 and dead_ends:
            vertex = dead_ends.pop()
            centre = vertex if open_faces[vertex] else -1
        while centre < 0 and cursor < count:
            centre = cursor if open_faces[cursor] else -1
            cursor += 1
    return np.array(order, np.int64)
