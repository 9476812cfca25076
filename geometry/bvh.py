"""A tree of boxes over triangles: the nearest point of a surface, and whether a ray meets it."""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numba import njit

from geometry.mesh import Floats, Ints, Mask

LEAF = 1  # triangles in a lowest box; measured: 1 beats 2 and 4
STACK = 64
SHARES, THREADS = 4, 2  # of the points, searched side by side


class Tree(NamedTuple):
    """A complete binary tree; box k holds boxes 2k and 2k + 1, the last half are the leaves.

    Attributes:
        order: (F,) the face at each place along a space-filling curve.
        corners: (F, 3, 3) in that order.
        boxes: (N, 6) least and greatest corner of each box; the least is beyond the greatest in an empty one.
    """

    order: Ints
    corners: Floats
    boxes: Floats


class Nearest(NamedTuple):
    """The nearest places of a surface: face, barycentrics of its first two corners, distance."""

    face: Ints  # (N,)
    bary: Floats  # (N, 2)
    distance: Floats  # (N,)


def build(vertices: Floats, faces: Ints) -> Tree:
    """The tree over all faces; at least one."""
    corners = np.asarray(vertices, np.float32)[faces]
    order = np.argsort(morton(corners.mean(axis=1)), kind="stable")
    corners = np.ascontiguousarray(corners[order])
    leaves = 1
    while leaves * LEAF < len(faces):
        leaves *= 2
    boxes = np.full((2 * leaves, 6), np.inf, np.float32)
    boxes[:, 3:] = -np.inf
    _fill_boxes(corners, leaves, boxes)
    return Tree(order, corners, boxes)


def nearest(tree: Tree, points: Floats) -> Nearest:
    """The nearest place of the surface for each point (N, 3); quick when neighbours in the list are near each other."""
    found = Nearest(
        np.empty(len(points), np.int64), np.empty((len(points), 2), np.float32), np.empty(len(points), np.float32)
    )
    points = np.ascontiguousarray(points, np.float32)
    # The same shares on any machine, since a search begins where the one before it ended.
    shares = [slice(k * len(points) // SHARES, (k + 1) * len(points) // SHARES) for k in range(SHARES)]
    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(lambda share: _nearest(*tree[1:], points[share], *(array[share] for array in found)), shares))
    return found._replace(face=tree.order[found.face])


def blocked(tree: Tree, origins: Floats, directions: Floats) -> Mask:
    """(N,) whether each ray meets the surface anywhere ahead of its origin."""
    hit = np.empty(len(origins), np.bool_)
    starts, ways = (np.ascontiguousarray(array, np.float32) for array in (origins, directions))
    _blocked(*tree[1:], starts, ways, hit)
    return hit


def morton(points: Floats) -> Ints:
    """(N,) place of each point along a curve that keeps neighbours together, 10 bits an axis."""
    low, high = points.min(axis=0), points.max(axis=0)
    cell = ((points - low) * (1023.0 / max(float((high - low).max()), 1e-20))).astype(np.int64)
    for shift, mask in ((16, 0x030000FF), (8, 0x0300F00F), (4, 0x030C30C3), (2, 0x09249249)):
        cell = (cell | cell << shift) & mask
    return cell[:, 0] | cell[:, 1] << 1 | cell[:, 2] << 2


@njit(cache=True)
def _fill_boxes(corners, leaves, boxes):  # type: ignore[no-untyped-def]
    count = corners.shape[0]
    for leaf in range(leaves):
        # Spread evenly, so that no subtree stays empty.
        for face in range(leaf * count // leaves, (leaf + 1) * count // leaves):
            for corner in range(3):
                for axis in range(3):
                    value = corners[face, corner, axis]
                    boxes[leaves + leaf, axis] = min(boxes[leaves + leaf, axis], value)
                    boxes[leaves + leaf, 3 + axis] = max(boxes[leaves + leaf, 3 + axis], value)
    for box in range(leaves - 1, 0, -1):
        for axis in range(3):
            boxes[box, axis] = min(boxes[2 * box, axis], boxes[2 * box + 1, axis])
            boxes[box, 3 + axis] = max(boxes[2 * box, 3 + axis], boxes[2 * box + 1, 3 + axis])


@njit(cache=True)
def _box_distance(boxes, box, x, y, z):  # type: ignore[no-untyped-def]
    a = max(boxes[box, 0] - x, x - boxes[box, 3], 0.0)
    b = max(boxes[box, 1] - y, y - boxes[box, 4], 0.0)
    c = max(boxes[box, 2] - z, z - boxes[box, 5], 0.0)
    return a * a + b * b + c * c


@njit(cache=True)
def triangle_place(t, x, y, z):  # type: ignore[no-untyped-def]
    """Squared distance from a point to a triangle (3, 3), and the barycentrics u, v of the nearest place."""
    abx, aby, abz = t[1, 0] - t[0, 0], t[1, 1] - t[0, 1], t[1, 2] - t[0, 2]
    acx, acy, acz = t[2, 0] - t[0, 0], t[2, 1] - t[0, 1], t[2, 2] - t[0, 2]
    apx, apy, apz = x - t[0, 0], y - t[0, 1], z - t[0, 2]
    d1, d2 = abx * apx + aby * apy + abz * apz, acx * apx + acy * apy + acz * apz
    bb, bc, cc = abx * abx + aby * aby + abz * abz, abx * acx + aby * acy + abz * acz, acx * acx + acy * acy + acz * acz
    whole = bb * cc - bc * bc
    # v and w: shares of the second and the third corner
    v, w = cc * d1 - bc * d2, bb * d2 - bc * d1
    if whole > 1e-30 and v >= 0.0 and w >= 0.0 and v + w <= whole:
        v, w = v / whole, w / whole
    else:
        # The nearest place lies on one of the three sides.
        best, v, w = np.inf, 0.0, 0.0
        for side in range(3):
            if side == 0:
                s = min(max(d1 / max(bb, 1e-30), 0.0), 1.0)
                p, q = s, 0.0
            elif side == 1:
                s = min(max(d2 / max(cc, 1e-30), 0.0), 1.0)
                p, q = 0.0, s
            else:
                along = (bb - bc) - d1 + d2  # (b - p) . (b - c)
                s = min(max(along / max(bb - 2.0 * bc + cc, 1e-30), 0.0), 1.0)
                p, q = 1.0 - s, s
            ex, ey, ez = apx - p * abx - q * acx, apy - p * aby - q * acy, apz - p * abz - q * acz
            distance = ex * ex + ey * ey + ez * ez
            if distance < best:
                best, v, w = distance, p, q
    ex, ey, ez = apx - v * abx - w * acx, apy - v * aby - w * acy, apz - v * abz - w * acz
    return ex * ex + ey * ey + ez * ez, 1.0 - v - w, v


@njit(cache=True, nogil=True)
def _nearest(corners, boxes, points, face, bary, distance):  # type: ignore[no-untyped-def]
    leaves, count = boxes.shape[0] // 2, corners.shape[0]
    stack, away = np.empty(STACK, np.int64), np.empty(STACK, np.float64)
    last = -1
    for k in range(points.shape[0]):
        x, y, z = np.float64(points[k, 0]), np.float64(points[k, 1]), np.float64(points[k, 2])
        best, face[k] = np.inf, 0
        if last >= 0:
            best, bary[k, 0], bary[k, 1] = triangle_place(corners[last], x, y, z)
            face[k] = last
        stack[0], away[0], top = 1, _box_distance(boxes, 1, x, y, z), 1
        while top > 0:
            top -= 1
            box = stack[top]
            if away[top] >= best:
                continue
            while box < leaves:
                one, other = 2 * box, 2 * box + 1
                near, far = _box_distance(boxes, one, x, y, z), _box_distance(boxes, other, x, y, z)
                if far < near:
                    one, other, near, far = other, one, far, near
                if far < best:
                    stack[top], away[top] = other, far
                    top += 1
                box = one
                if near >= best:
                    break
            if box < leaves or _box_distance(boxes, box, x, y, z) >= best:
                continue
            leaf = box - leaves
            for index in range(leaf * count // leaves, (leaf + 1) * count // leaves):
                squared, u, v = triangle_place(corners[index], x, y, z)
                if squared < best:
                    best, face[k], bary[k, 0], bary[k, 1] = squared, index, u, v
        last = face[k]
        distance[k] = np.sqrt(best)


@njit(cache=True)
def _enters(boxes, box, x, y, z, ix, iy, iz):  # type: ignore[no-untyped-def]
    a, b = (boxes[box, 0] - x) * ix, (boxes[box, 3] - x) * ix
    begin, end = min(a, b), max(a, b)
    a, b = (boxes[box, 1] - y) * iy, (boxes[box, 4] - y) * iy
    begin, end = max(begin, min(a, b)), min(end, max(a, b))
    a, b = (boxes[box, 2] - z) * iz, (boxes[box, 5] - z) * iz
    begin, end = max(begin, min(a, b)), min(end, max(a, b))
    return end >= max(begin, 0.0)


@njit(cache=True)
def _meets(t, x, y, z, dx, dy, dz):  # type: ignore[no-untyped-def]
    """Möller and Trumbore's test, from either side."""
    abx, aby, abz = t[1, 0] - t[0, 0], t[1, 1] - t[0, 1], t[1, 2] - t[0, 2]
    acx, acy, acz = t[2, 0] - t[0, 0], t[2, 1] - t[0, 1], t[2, 2] - t[0, 2]
    px, py, pz = dy * acz - dz * acy, dz * acx - dx * acz, dx * acy - dy * acx
    determinant = abx * px + aby * py + abz * pz
    if determinant == 0.0:
        return False
    scale = 1.0 / determinant
    sx, sy, sz = x - t[0, 0], y - t[0, 1], z - t[0, 2]
    u = (sx * px + sy * py + sz * pz) * scale
    if u < 0.0 or u > 1.0:
        return False
    qx, qy, qz = sy * abz - sz * aby, sz * abx - sx * abz, sx * aby - sy * abx
    v = (dx * qx + dy * qy + dz * qz) * scale
    if v < 0.0 or u + v > 1.0:
        return False
    return (acx * qx + acy * qy + acz * qz) * scale > 0.0


@njit(cache=True)
def _blocked(corners, boxes, origins, directions, hit):  # type: ignore[no-untyped-def]
    leaves, count = boxes.shape[0] // 2, corners.shape[0]
    stack = np.empty(STACK, np.int64)
    for k in range(origins.shape[0]):
        x, y, z = np.float64(origins[k, 0]), np.float64(origins[k, 1]), np.float64(origins[k, 2])
        dx, dy, dz = np.float64(directions[k, 0]), np.float64(directions[k, 1]), np.float64(directions[k, 2])
        # A ray along an axis has no slope; a tiny one keeps infinity times zero away.
        ix, iy, iz = (
            1.0 / (dx if dx != 0.0 else 1e-30),
            1.0 / (dy if dy != 0.0 else 1e-30),
            1.0 / (dz if dz != 0.0 else 1e-30),
        )
        hit[k], stack[0], top = False, 1, 1
        while top > 0 and not hit[k]:
            top -= 1
            box = stack[top]
            if not _enters(boxes, box, x, y, z, ix, iy, iz):
                continue
            if box < leaves:
                stack[top], stack[top + 1] = 2 * box, 2 * box + 1
                top += 2
                continue
            leaf = box - leaves
            for index in range(leaf * count // leaves, (leaf + 1) * count // leaves):
                if _meets(corners[index], x, y, z, dx, dy, dz):
                    hit[k] = True
                    break
