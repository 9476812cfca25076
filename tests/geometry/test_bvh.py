"""The tree finds what asking every triangle finds."""

import numpy as np
import trimesh

from geometry import bvh


def rubble(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Triangles of all sizes lying about, some of them without area."""
    random = np.random.default_rng(seed)
    middle = random.normal(size=(count, 1, 3))
    corners = middle + random.normal(size=(count, 3, 3)) * random.choice([0.01, 0.1, 1], (count, 1, 1))
    corners[::17, 2] = corners[::17, 1]
    return corners.reshape(-1, 3).astype(np.float32), np.arange(3 * count).reshape(-1, 3)


def squared_distances(corners: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(N, F) by trimesh, which asks each pair."""
    pairs = np.repeat(points, len(corners), axis=0)
    nearest = trimesh.triangles.closest_point(np.tile(corners, (len(points), 1, 1)), pairs)
    return ((nearest - pairs) ** 2).sum(axis=1).reshape(len(points), -1)


def test_the_nearest_place_is_the_nearest_of_all() -> None:
    for count in (1, 2, 3, 150):
        vertices, faces = rubble(count, count)
        points = np.random.default_rng(5).normal(size=(200, 3)).astype(np.float32) * 2
        found = bvh.nearest(bvh.build(vertices, faces), points)
        solid = np.arange(count) % 17 != 0 if count > 1 else np.zeros(1, bool)
        corners = vertices[faces].astype(np.float64)
        if solid.any():
            best = np.sqrt(squared_distances(corners[solid], points.astype(np.float64)).min(axis=1))
            assert (found.distance <= best + 1e-5).all()
        weights = np.column_stack([found.bary, 1 - found.bary.sum(axis=1)])
        assert weights.min() > -1e-6
        place = (weights[:, :, None] * corners[found.face]).sum(axis=1)
        assert np.allclose(np.linalg.norm(place - points, axis=1), found.distance, atol=1e-5)


def every_pair(vertices: np.ndarray, faces: np.ndarray, origins: np.ndarray, ways: np.ndarray) -> np.ndarray:
    """(N,) whether a ray meets a triangle, by solving each pair's equation."""
    a, b, c = (vertices[faces[:, k]].astype(np.float64) for k in range(3))
    matrix = np.stack(np.broadcast_arrays((b - a)[None], (c - a)[None], -ways[:, None].astype(np.float64)), axis=-1)
    sound = np.abs(np.linalg.det(matrix)) > 1e-12
    matrix[~sound] = np.eye(3)
    u, v, t = np.linalg.solve(matrix, (origins[:, None] - a)[..., None])[..., 0].transpose(2, 0, 1)
    return ((u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0) & sound).any(axis=1)


def test_rays_are_blocked_exactly_where_some_triangle_blocks_them() -> None:
    random = np.random.default_rng(2)
    vertices, faces = rubble(60)
    origins, ways = random.normal(size=(2, 3000, 3)).astype(np.float32) * [[[2]], [[1]]]
    ways[:60] = np.eye(3)[np.arange(60) % 3] * np.where(np.arange(60) % 2, 1, -1)[:, None]
    hit = bvh.blocked(bvh.build(vertices, faces), origins, ways)
    assert 0.05 < hit.mean() < 0.95
    assert (hit == every_pair(vertices, faces, origins.astype(np.float32), ways.astype(np.float32))).all()


def test_rays_are_blocked_where_embree_says_so() -> None:
    knot = trimesh.creation.torus(0.3, 0.1, major_sections=64, minor_sections=32)
    random = np.random.default_rng(3)
    origins = random.uniform(-0.45, 0.45, (20_000, 3)).astype(np.float32)
    ways = random.normal(size=(20_000, 3)).astype(np.float32)
    ours = bvh.blocked(bvh.build(knot.vertices, knot.faces), origins, ways)
    theirs = trimesh.ray.ray_pyembree.RayMeshIntersector(knot).intersects_any(origins, ways)
    assert (ours != theirs).sum() <= 2  # rays that graze an edge
