"""Repair: whatever a simplifier left behind becomes a closed, consistently wound mesh again."""

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from geometry.mesh import Floats, Ints, compact, directed_edges, edge_keys, face_normals, is_closed

ROUNDS = 8
TINY_PART = 1e-3  # share of the whole area below which a part is dust


def close(vertices: Floats, faces: Ints, hole_limit: float | None = None) -> tuple[Floats, Ints]:
    """The mesh with bad faces dropped and every hole closed; still open only if eight rounds were not enough.

    Args:
        hole_limit: length around a hole, in the mesh's units, beyond which it is left open; None closes all.
    """
    points, triangles = np.asarray(vertices, np.float32), np.asarray(faces, np.int64)
    for attempt in range(ROUNDS):
        triangles = _without_degenerate(triangles)
        if is_closed(triangles):
            break
        sound = _without_bad_edges(triangles, widely=attempt >= 2)
        points, filled = _fill_loops(points, sound, hole_limit)
        settled = len(sound) == len(triangles) == len(filled)
        triangles = filled
        if settled:
            break
    return compact(points, triangles)


def drop_small_parts(vertices: Floats, faces: Ints, share: float = TINY_PART) -> tuple[Floats, Ints]:
    """The mesh without parts whose area is below `share` of the whole; all of it where no part is above."""
    part = face_parts(faces, len(vertices))
    area = np.bincount(part, np.sqrt((face_normals(vertices, faces) ** 2).sum(axis=1)))
    large = area >= share * area.sum()
    return compact(vertices, faces[large[part]] if large.any() else faces)


def count_parts(faces: Ints) -> int:
    """How many connected parts there are."""
    return int(face_parts(faces, int(faces.max(initial=-1)) + 1).max(initial=-1)) + 1


def face_parts(faces: Ints, count: int) -> Ints:
    """(F,) number of the connected part of each face: mesh.face_components by scipy, several times faster."""
    start, end = directed_edges(faces).T
    graph = sparse.coo_matrix((np.ones(len(start), bool), (start, end)), (count, count))
    label = csgraph.connected_components(graph, directed=False)[1][faces[:, 0]]
    return np.unique(label, return_inverse=True)[1].astype(np.int64)


def _without_degenerate(faces: Ints) -> Ints:
    """Faces of three different vertices, each set of three once."""
    faces = faces[(faces != np.roll(faces, 1, axis=1)).all(axis=1)]
    corners = np.sort(faces, axis=1)
    count = int(faces.max(initial=0)) + 1
    key = (corners[:, 0] * count + corners[:, 1]) * count + corners[:, 2]
    order = np.argsort(key, kind="stable")
    repeated = order[1:][key[order][1:] == key[order][:-1]]
    return np.delete(faces, repeated, axis=0) if len(repeated) else faces


def _without_bad_edges(faces: Ints, widely: bool) -> Ints:
    """Faces without those at an edge used more than twice or twice the same way; `widely`: nor any at its ends."""
    edges = directed_edges(faces)
    forward, backward = edge_keys(edges)
    both = np.minimum(forward, backward)
    bad = _counts(forward) > 1
    bad |= _counts(both) > 2
    if widely:
        touched = np.zeros(int(faces.max(initial=0)) + 1, bool)
        touched[edges[bad].ravel()] = True
        return faces[~touched[faces].any(axis=1)]
    return faces[~bad.reshape(3, -1).any(axis=0)]


def _counts(keys: Ints) -> Ints:
    _, inverse, count = np.unique(keys, return_inverse=True, return_counts=True)
    return count[inverse]


def _fill_loops(points: Floats, faces: Ints, limit: float | None) -> tuple[Floats, Ints]:
    """The mesh with each boundary loop up to `limit` closed by one triangle or by a fan around its mean."""
    edges = directed_edges(faces)
    forward, backward = edge_keys(edges)
    lonely = edges[~np.isin(forward, backward)]
    added: list[list[tuple[int, ...]]] = []
    centres: list[Floats] = []
    for loop in _loops(lonely[:, ::-1]):
        if limit is not None and _length(points[loop]) > limit:
            continue
        if len(loop) == 3:
            added.append([tuple(loop)])
            continue
        centre = len(points) + len(centres)
        centres.append(points[loop].mean(axis=0))
        added.append([(a, b, centre) for a, b in zip(loop, loop[1:] + loop[:1], strict=True)])
    if not added:
        return points, faces
    if centres:
        points = np.concatenate([points, np.asarray(centres, np.float32)])
    return points, np.concatenate([faces, np.asarray([face for fan in added for face in fan], np.int64)])


def _length(loop: Floats) -> float:
    steps = loop - np.roll(loop, 1, axis=0)
    return float(np.sqrt((steps * steps).sum(axis=1)).sum())


def _loops(edges: Ints) -> list[list[int]]:
    """Simple closed walks along directed edges; a walk that meets itself is split there."""
    following: dict[int, list[int]] = {}
    for start, end in edges.tolist():
        following.setdefault(start, []).append(end)
    loops = []
    for start in list(following):
        walk, place = [start], {start: 0}
        while following.get(walk[-1]):
            vertex = following[walk[-1]].pop()
            if vertex in place:
                loop = walk[place[vertex] :]
                walk = walk[: place[vertex] + 1]
                for gone in loop[1:]:
                    del place[gone]
                if len(loop) >= 3:
                    loops.append(loop)
            else:
                place[vertex] = len(walk)
                walk.append(vertex)
    return loops
