"""Which faces belong on one flat sheet: six axes, majority votes, and folded charts taken apart."""

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from geometry.mesh import Floats, Ints, directed_edges, edge_keys, face_normals
from geometry.rasterize import rasterize

AXES = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], np.float64)
# For each axis the directions of growing column and growing row; column x up-row = axis, so no chart is mirrored.
RIGHT = np.array([[0, 0, -1], [0, 0, 1], [1, 0, 0], [1, 0, 0], [1, 0, 0], [-1, 0, 0]], np.float64)
DOWN = np.array([[0, -1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1], [0, -1, 0], [0, -1, 0]], np.float64)
SMALL = 24  # faces; smaller charts join a neighbour
FOLD = 0.012  # how far below the top layer of its chart a face must lie to be folded under
FOLD_GRID = 512


def chart_labels(vertices: Floats, faces: Ints) -> tuple[Ints, Ints]:
    """(F,) axis and (F,) chart number of each face; seen along its axis no chart covers itself."""
    crossed = face_normals(vertices, faces)
    normal = crossed / np.maximum(np.sqrt((crossed**2).sum(axis=1, keepdims=True)), 1e-20)
    neighbours = _face_neighbours(faces)
    facing = _dots(normal)
    axis = _vote(neighbours, normal, facing)
    axis = _without_small(neighbours, axis, facing)
    # A face must never be seen from behind, whatever its neighbours say: its chart would be mirrored there.
    behind = facing[np.arange(len(axis)), axis] <= 0.02
    axis[behind] = facing[behind].argmax(axis=1)
    chart = _connected(neighbours, axis)
    for _ in range(3):
        folded = _folded(vertices, faces, axis, chart)
        if not folded.any():
            break
        chart = _connected(neighbours, chart * 2 + folded)
    return axis, chart


def chart_sheets(vertices: Floats, axis: Ints) -> Floats:
    """(6, V, 2) every vertex projected along each axis: column and row directions, in units of length."""
    points = vertices.astype(np.float64)
    return np.stack([np.stack([_dot(points, RIGHT[k]), _dot(points, DOWN[k])], axis=1) for k in range(6)])


def _dot(points: Floats, direction: Floats) -> Floats:
    return points[:, 0] * direction[0] + points[:, 1] * direction[1] + points[:, 2] * direction[2]


def _dots(normal: Floats) -> Floats:
    return np.stack([_dot(normal, direction) for direction in AXES], axis=1)


def _face_neighbours(faces: Ints) -> Ints:
    """(F, 3) the face beyond each side; at the border of an open mesh the face itself."""
    forward, backward = edge_keys(directed_edges(faces))
    order = np.argsort(forward, kind="stable")
    place = np.minimum(np.searchsorted(forward[order], backward), len(order) - 1)
    partner = np.where(forward[order[place]] == backward, order[place], np.arange(len(order)))
    return (partner % len(faces)).reshape(3, -1).T


def _vote(neighbours: Ints, normal: Floats, facing: Floats) -> Ints:
    smooth = normal
    for _ in range(4):
        smooth = smooth + 0.9 * smooth[neighbours].mean(axis=1)
        smooth = smooth / np.maximum(np.sqrt((smooth**2).sum(axis=1, keepdims=True)), 1e-20)
    own = _dots(smooth)
    axis = own.argmax(axis=1)
    for _ in range(8):
        votes = (axis[neighbours][:, :, None] == np.arange(6)).sum(axis=1)
        axis = np.where(facing > 0.15, 0.45 * votes + own, -np.inf).argmax(axis=1)
    return axis


def _without_small(neighbours: Ints, axis: Ints, facing: Floats) -> Ints:
    """The axes after charts of a few faces took the axis most common around them."""
    axis = axis.copy()
    for _ in range(3):
        chart = _connected(neighbours, axis)
        small = np.bincount(chart)[chart] < SMALL
        across = small[:, None] & (chart[neighbours] != chart[:, None])
        votes = np.zeros((int(chart.max()) + 1, 6))
        np.add.at(votes, (np.repeat(chart, 3)[across.ravel()], axis[neighbours][across]), 1)
        wish = votes.argmax(axis=1)[chart]
        allowed = small & (votes.sum(axis=1) > 0)[chart] & (facing[np.arange(len(axis)), wish] > 0.05)
        axis[allowed] = wish[allowed]
    return axis


def _connected(neighbours: Ints, label: Ints) -> Ints:
    """(F,) number of the connected region of equal label."""
    count = len(label)
    same = label[neighbours] == label[:, None]
    start = np.repeat(np.arange(count), 3)[same.ravel()]
    graph = sparse.coo_matrix((np.ones(len(start), bool), (start, neighbours[same])), (count, count))
    return csgraph.connected_components(graph, directed=False)[1].astype(np.int64)


def _folded(vertices: Floats, faces: Ints, axis: Ints, chart: Ints) -> Ints:
    """(F,) 1 for faces that lie under another face of their own chart."""
    folded = np.zeros(len(faces), np.int64)
    points = vertices.astype(np.float64)
    for label in np.flatnonzero(np.bincount(chart) > 1):
        mine = np.flatnonzero(chart == label)
        k = int(axis[mine[0]])
        corners = faces[mine]
        flat = np.stack([_dot(points, RIGHT[k]), _dot(points, DOWN[k])], axis=1)
        depth = _dot(points, AXES[k])
        place = (flat - flat[corners].min(axis=(0, 1))) * FOLD_GRID
        width, height = np.ceil(place[corners].max(axis=(0, 1))).astype(int) + 1
        top = rasterize(np.column_stack([place, depth]), corners, int(height), int(width)).depth
        middle = place[corners].mean(axis=1).astype(np.int64)
        folded[mine] = top[middle[:, 1], middle[:, 0]] - depth[corners].mean(axis=1) > FOLD
    return folded
