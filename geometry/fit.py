"""Coarse triangles moved onto the dense surface that they stand for."""

import numpy as np
from numba import njit

from geometry import bvh
from geometry.mesh import Floats, Ints, Mask, directed_edges, face_normals, unit

STEPS = 5  # of conjugate gradients a round
STIFF = 0.01  # how strongly a vertex keeps its place, as a share of what pulls it
ANCHOR = 1e-3  # the same for vertices that nothing pulls, as a share of the mean pull
REACH = 0.5  # mean edges beyond which a dense point belongs to something that was dropped
STRIDE = 2.0  # a vertex moves no further than so many times the typical distance around it
TURNED = 0.5  # cosine between a face before and after, below which it does not move


def fit(vertices: Floats, faces: Ints, dense: Floats, rounds: int = 1) -> Floats:
    """(V, 3) vertices moved so that the faces come as near to the dense points (N, 3) as they can.

    Each dense point pulls the face nearest to it along that face's normal: least squares over all vertices at once
    (Hoppe et al., Mesh Optimization, 1993). From the second round on far points count for more, which lowers the
    greatest distance. Vertices of faces that would turn over keep their place.
    """
    points, corners = np.ascontiguousarray(vertices, np.float64), np.ascontiguousarray(faces, np.int32)
    samples = np.asarray(dense, np.float32)[np.argsort(bvh.morton(dense), kind="stable")]
    start, end = directed_edges(corners).T
    for turn in range(rounds):
        edge = np.sqrt(((points[start] - points[end]) ** 2).sum(axis=1)).mean()
        hit = bvh.nearest(bvh.build(points, corners), samples)
        near = hit.distance <= REACH * edge
        normals = unit(face_normals(points, corners)).astype(np.float64)
        weights = _weights(hit.distance[near], even=turn == 0)
        pull = _pull(points, corners, normals, samples[near], hit.face[near], hit.bary[near], weights)
        points = _without_turned(points, points + pull, corners, normals)
    return points.astype(np.float32)


def _weights(distance: Floats, even: bool) -> Floats:
    if even or len(distance) == 0:
        return np.ones(len(distance))
    return np.sqrt(distance / max(float(distance.mean()), 1e-30) + 0.1)


def _without_turned(points: Floats, moved: Floats, faces: Ints, normals: Floats) -> Floats:
    """The moved vertices, those of faces that turned too far put back."""
    while (turned := _turned(moved, faces, normals)).any():
        back = np.unique(faces[turned])
        if (moved[back] == points[back]).all():
            break
        moved[back] = points[back]
    return moved


def _turned(moved: Floats, faces: Ints, normals: Floats) -> Mask:
    return (unit(face_normals(moved, faces)) * normals).sum(axis=1) < TURNED


def _pull(
    points: Floats, faces: Ints, normals: Floats, dense: Floats, face: Ints, bary: Floats, weights: Floats
) -> Floats:
    """(V, 3) the moves that least squares asks for, by conjugate gradients without ever storing the matrix."""
    samples = faces[face], normals[face].astype(np.float32), bary, weights.astype(np.float32)
    residual, diagonal = np.zeros_like(points), np.zeros_like(points)
    mass, spread = np.zeros((2, len(points), 1))
    _add_samples(points, dense, *samples, residual, diagonal, mass, spread)
    hold = STIFF * mass + ANCHOR * mass.mean() + 1e-30
    scale = 1 / (diagonal + hold)
    found, way = np.zeros_like(points), scale * residual
    slope = (residual * way).sum()
    for _ in range(STEPS):
        if slope <= 0:
            break
        image = hold * way
        _add_image(way, *samples, image)
        length = slope / (way * image).sum()
        found += length * way
        residual -= length * image
        before, slope = slope, (scale * residual**2).sum()
        way = scale * residual + (slope / before) * way
    length = np.sqrt((found**2).sum(axis=1, keepdims=True))
    return found * np.minimum(1, STRIDE * np.sqrt(spread / np.maximum(mass, 1e-30)) / np.maximum(length, 1e-30))


@njit(cache=True)
def _add_samples(points, dense, corners, normals, bary, weights, residual, diagonal, mass, spread):  # type: ignore[no-untyped-def]
    """Adds each sample's right-hand side, its share of the diagonal, its weight and its gap at the three corners."""
    share = np.empty(3)
    for k in range(corners.shape[0]):
        share[0], share[1] = bary[k, 0], bary[k, 1]
        share[2] = 1.0 - share[0] - share[1]
        gap = 0.0
        for x in range(3):
            place = 0.0
            for c in range(3):
                place += share[c] * points[corners[k, c], x]
            gap += normals[k, x] * (dense[k, x] - place)
        for c in range(3):
            vertex, weighted = corners[k, c], weights[k] * share[c]
            mass[vertex, 0] += weighted * share[c]
            spread[vertex, 0] += weighted * share[c] * gap * gap
            for x in range(3):
                residual[vertex, x] += weighted * normals[k, x] * gap
                diagonal[vertex, x] += weighted * share[c] * normals[k, x] * normals[k, x]


@njit(cache=True)
def _add_image(way, corners, normals, bary, weights, image):  # type: ignore[no-untyped-def]
    """Adds the matrix of the normal equations times `way`."""
    for k in range(corners.shape[0]):
        i, j, m = corners[k, 0], corners[k, 1], corners[k, 2]
        a, b = np.float64(bary[k, 0]), np.float64(bary[k, 1])
        c = 1.0 - a - b
        along = 0.0
        for x in range(3):
            along += normals[k, x] * (a * way[i, x] + b * way[j, x] + c * way[m, x])
        along *= weights[k]
        for x in range(3):
            step = normals[k, x] * along
            image[i, x] += a * step
            image[j, x] += b * step
            image[m, x] += c * step
