"""Edge collapse, the cheapest edge first (Garland and Heckbert, 1997); connections stay as they were."""

import numpy as np
from numba import njit

from geometry.mesh import Floats, Ints, compact, directed_edges, edge_keys, face_normals

FLAT = 1e-5  # of the mean curvature: below it a quadric does not say where its best place is
TURNED = 0.2  # cosine between a face before and after, below which an edge stays


def collapse(vertices: Floats, faces: Ints, target: int) -> tuple[Floats, Ints]:
    """The mesh with at most `target` faces, unless its topology needs more; borders of an open mesh stay."""
    points, triangles = np.array(vertices, np.float64), np.array(faces, np.int64)
    quadrics = _quadrics(points, triangles)
    edges = directed_edges(triangles)
    forward, backward = edge_keys(edges)
    fixed = np.zeros(len(points), np.bool_)
    fixed[edges[~np.isin(forward, backward)].ravel()] = True
    alive = np.ones(len(triangles), np.bool_)
    order = np.argsort(triangles.ravel(), kind="stable") // 3
    count = np.bincount(triangles.ravel(), minlength=len(points))
    _run(points, triangles, quadrics, fixed, alive, order, np.cumsum(count) - count, count, target)
    return compact(points, triangles[alive])


def _quadrics(points: Floats, faces: Ints) -> Floats:
    """(V, 10) sums of the squared distances to the planes of the faces around, by their areas: the upper triangle."""
    crossed = face_normals(points, faces)
    area = np.sqrt((crossed**2).sum(axis=1))
    plane = np.empty((len(faces), 4))
    plane[:, :3] = crossed / np.maximum(area, 1e-30)[:, None]
    plane[:, 3] = -(plane[:, :3] * points[faces[:, 0]]).sum(axis=1)
    upper = [(a, b) for a in range(4) for b in range(a, 4)]
    products = np.stack([area * plane[:, a] * plane[:, b] for a, b in upper], axis=1)
    return np.stack(
        [sum(np.bincount(faces[:, k], products[:, c], len(points)) for k in range(3)) for c in range(10)], axis=1
    )


@njit(cache=True)
def _best_place(q, a, b, place):  # type: ignore[no-untyped-def]
    """Writes where a quadric is least, near the edge a-b, into `place`; returns its value there."""
    for x in range(3):
        place[x] = 0.5 * (a[x] + b[x])
    # Held softly to the edge's middle, so that a flat neighbourhood has one best place too.
    soft = FLAT * (q[0] + q[4] + q[7]) / 3.0 + 1e-300
    xx, yy, zz, xy, xz, yz = q[0] + soft, q[4] + soft, q[7] + soft, q[1], q[2], q[5]
    r0, r1, r2 = soft * place[0] - q[3], soft * place[1] - q[6], soft * place[2] - q[8]
    c0, c1, c2 = yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy
    c3, c4, c5 = xx * zz - xz * xz, xy * xz - xx * yz, xx * yy - xy * xy
    determinant = xx * c0 + xy * c1 + xz * c2
    if determinant > 0.0:
        place[0] = (c0 * r0 + c1 * r1 + c2 * r2) / determinant
        place[1] = (c1 * r0 + c3 * r1 + c4 * r2) / determinant
        place[2] = (c2 * r0 + c4 * r1 + c5 * r2) / determinant
    x, y, z = place[0], place[1], place[2]
    square = q[0] * x * x + q[4] * y * y + q[7] * z * z + q[9]
    mixed = q[1] * x * y + q[2] * x * z + q[3] * x + q[5] * y * z + q[6] * y + q[8] * z
    return max(square + 2.0 * mixed, 0.0)


@njit(cache=True)
def _edge_cost(points, quadrics, a, b, both, place):  # type: ignore[no-untyped-def]
    for k in range(10):
        both[k] = quadrics[a, k] + quadrics[b, k]
    # Among equals the shorter edge.
    length = 0.0
    for x in range(3):
        length += (points[a, x] - points[b, x]) ** 2
    return _best_place(both, points[a], points[b], place) + 1e-9 * length * (both[0] + both[4] + both[7])


@njit(cache=True)
def _push(costs, items, size, cost, a, b, told):  # type: ignore[no-untyped-def]
    """Puts an edge into the heap whose smallest cost lies first."""
    k = size
    while k > 0:
        parent = (k - 1) // 2
        if costs[parent] <= cost:
            break
        costs[k] = costs[parent]
        for c in range(3):
            items[3 * k + c] = items[3 * parent + c]
        k = parent
    costs[k], items[3 * k], items[3 * k + 1], items[3 * k + 2] = cost, a, b, told
    return size + 1


@njit(cache=True)
def _drop_first(costs, items, size):  # type: ignore[no-untyped-def]
    size -= 1
    cost, k = costs[size], 0
    while 2 * k + 1 < size:
        child = 2 * k + 1
        if child + 1 < size and costs[child + 1] < costs[child]:
            child += 1
        if costs[child] >= cost:
            break
        costs[k] = costs[child]
        for c in range(3):
            items[3 * k + c] = items[3 * child + c]
        k = child
    costs[k] = cost
    for c in range(3):
        items[3 * k + c] = items[3 * size + c]
    return size


@njit(cache=True)
def _turns(points, faces, ring, begin, end, vertex, other, place):  # type: ignore[no-untyped-def]
    """Whether a face around `vertex` that will outlive the edge would turn over with its corner at `place`."""
    for k in range(begin, end):
        i, j, m = faces[ring[k], 0], faces[ring[k], 1], faces[ring[k], 2]
        if i == other or j == other or m == other:
            continue
        while i != vertex:
            i, j, m = j, m, i
        sx, sy, sz = points[m, 0] - points[j, 0], points[m, 1] - points[j, 1], points[m, 2] - points[j, 2]
        ux, uy, uz = points[i, 0] - points[j, 0], points[i, 1] - points[j, 1], points[i, 2] - points[j, 2]
        wx, wy, wz = place[0] - points[j, 0], place[1] - points[j, 1], place[2] - points[j, 2]
        ax, ay, az = sy * uz - sz * uy, sz * ux - sx * uz, sx * uy - sy * ux
        bx, by, bz = sy * wz - sz * wy, sz * wx - sx * wz, sx * wy - sy * wx
        lengths = np.sqrt((ax * ax + ay * ay + az * az) * (bx * bx + by * by + bz * bz))
        if ax * bx + ay * by + az * bz <= TURNED * lengths:
            return True
    return False


@njit(cache=True)
def _pinches(faces, ring, first, count, a, b, seen, stamp):  # type: ignore[no-untyped-def]
    """Whether the edge's ends share more than the two corners opposite it: collapsed, they would pinch the surface."""
    shared = 0
    for k in range(first[a], first[a] + count[a]):
        for c in range(3):
            seen[faces[ring[k], c]] = stamp
    for k in range(first[b], first[b] + count[b]):
        for c in range(3):
            v = faces[ring[k], c]
            if v != a and v != b and seen[v] == stamp:
                seen[v] = 0
                shared += 1
    return shared != 2 or count[a] + count[b] <= 7


@njit(cache=True)
def _merge(faces, alive, ring, used, first, count, a, b):  # type: ignore[no-untyped-def]
    """Gives b's faces to a, in a new row of `ring` from `used` on; the two faces at the edge die."""
    begin = used
    for turn in range(2):
        end = a if turn == 0 else b
        for k in range(first[end], first[end] + count[end]):
            f = ring[k]
            has_a = faces[f, 0] == a or faces[f, 1] == a or faces[f, 2] == a
            has_b = faces[f, 0] == b or faces[f, 1] == b or faces[f, 2] == b
            if not (has_a and has_b):
                ring[used] = f
                used += 1
            elif alive[f]:
                alive[f] = False
                for c in range(3):
                    if faces[f, c] != a and faces[f, c] != b:
                        _forget(ring, first, count, faces[f, c], f)
    for k in range(begin, used):
        for c in range(3):
            if faces[ring[k], c] == b:
                faces[ring[k], c] = a
    first[a], count[a], count[b] = begin, used - begin, 0
    return used


@njit(cache=True)
def _forget(ring, first, count, vertex, face):  # type: ignore[no-untyped-def]
    """Takes one face out of a vertex's row."""
    for k in range(first[vertex], first[vertex] + count[vertex]):
        if ring[k] == face:
            count[vertex] -= 1
            ring[k] = ring[first[vertex] + count[vertex]]
            return


@njit(cache=True)
def _longer(array, used, length):  # type: ignore[no-untyped-def]
    grown = np.empty(length, array.dtype)
    for k in range(used):
        grown[k] = array[k]
    return grown


@njit(cache=True)
def _run(points, faces, quadrics, fixed, alive, order, first, count, target):  # type: ignore[no-untyped-def]
    vertices, left, used, size, stamp = points.shape[0], faces.shape[0], order.shape[0], np.int64(0), np.int64(0)
    # Every vertex's faces lie in a row of `ring`; a merged vertex gets a new row at the end.
    ring = _longer(order, used, 4 * used + 64)
    costs, items = np.empty(2 * used + 64), np.empty(6 * used + 192, np.int64)
    version, seen = np.zeros(vertices, np.int64), np.zeros(vertices, np.int64)
    place, both = np.empty(3), np.empty(10)
    for f in range(left):
        for c in range(3):
            a, b = faces[f, c], faces[f, (c + 1) % 3]
            if a < b and not fixed[a] and not fixed[b]:
                size = _push(costs, items, size, _edge_cost(points, quadrics, a, b, both, place), a, b, version[a])
    while left > target and size > 0:
        a, b, told = items[0], items[1], items[2]
        size = _drop_first(costs, items, size)
        if count[a] == 0 or count[b] == 0 or told != version[a] + version[b]:
            continue
        stamp += 1
        if _pinches(faces, ring, first, count, a, b, seen, stamp):
            continue
        _edge_cost(points, quadrics, a, b, both, place)
        if _turns(points, faces, ring, first[a], first[a] + count[a], a, b, place):
            continue
        if _turns(points, faces, ring, first[b], first[b] + count[b], b, a, place):
            continue
        around = count[a] + count[b]
        if used + around > ring.shape[0]:
            ring = _longer(ring, used, 2 * used + around)
        used = _merge(faces, alive, ring, used, first, count, a, b)
        left -= 2
        version[a] += 1
        for x in range(3):
            points[a, x] = place[x]
        for x in range(10):
            quadrics[a, x] = both[x]
        if size + around > costs.shape[0]:
            costs, items = _longer(costs, size, 2 * size + around), _longer(items, 3 * size, 3 * (2 * size + around))
        stamp += 1
        for k in range(first[a], first[a] + count[a]):
            for c in range(3):
                v = faces[ring[k], c]
                if v != a and seen[v] != stamp and not fixed[v]:
                    seen[v] = stamp
                    low, high = min(a, v), max(a, v)
                    cost = _edge_cost(points, quadrics, low, high, both, place)
                    size = _push(costs, items, size, cost, low, high, version[low] + version[high])
