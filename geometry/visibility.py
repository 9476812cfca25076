"""Which parts of a mesh nobody can see: closed shells within others, left by networks that fill volumes."""

import numpy as np

from geometry import bvh
from geometry.cleanup import face_parts
from geometry.mesh import Floats, Ints, Mask, compact, face_normals, unit

RAYS = 32
HIDDEN = 0.08  # mean share of rays that get away, below which a part is hidden
WITNESSES = 256  # faces asked of each part; their mean is known to a few percent
LIFT = 1e-4  # of the mesh's size: how far above its face a ray starts


def directions(count: int = RAYS) -> Floats:
    """(count, 3) unit vectors evenly around the sphere, along Fibonacci's spiral."""
    height = 1 - (2 * np.arange(count) + 1) / count
    turn = np.pi * (3 - np.sqrt(5)) * np.arange(count)
    radius = np.sqrt(1 - height**2)
    return np.stack([radius * np.cos(turn), radius * np.sin(turn), height], axis=1).astype(np.float32)


def face_visibility(vertices: Floats, faces: Ints, asked: Ints) -> Floats:
    """(A,) the share of rays from the outer side of each asked face that leave the mesh without meeting it."""
    points = np.asarray(vertices, np.float32)
    normals = unit(face_normals(points, faces[asked]))
    size = float((points.max(axis=0) - points.min(axis=0)).max())
    starts = points[faces[asked]].mean(axis=1) + np.float32(LIFT * size) * normals
    fan = directions()
    along = sum(normals[:, None, k] * fan[None, :, k] for k in range(3))
    ways = fan[None] * np.where(along < 0, -1, 1)[..., None]
    origins = np.repeat(starts, len(fan), axis=0)
    met = bvh.blocked(bvh.build(points, faces), origins, ways.reshape(-1, 3))
    return 1 - met.reshape(-1, len(fan)).mean(axis=1)


def hidden_parts(vertices: Floats, faces: Ints, quick: bool = False) -> Mask:
    """(F,) whether a face belongs to a part that nobody can see.

    Args:
        quick: asks no rays of parts that reach beyond every other part's box: something of those is seen.
    """
    part = face_parts(faces, len(vertices))
    count = int(part.max(initial=-1)) + 1
    suspects = np.ones(count, bool)
    if quick or count == 1:
        suspects = _enclosed(vertices, faces, part, count)
    members = np.bincount(part, minlength=count)
    rank = _rank_in_part(part, members)
    # Evenly spaced members of each part: the k-th is asked when it begins a new stride.
    stride = np.maximum(members // WITNESSES, 1)[part]
    asked = np.flatnonzero(suspects[part] & (rank % stride == 0))
    if len(asked) == 0:
        return np.zeros(len(faces), bool)
    seen = np.bincount(part[asked], face_visibility(vertices, faces, asked), count)
    mean = seen / np.maximum(np.bincount(part[asked], minlength=count), 1)
    return (suspects & (mean < HIDDEN))[part]


def drop_hidden(vertices: Floats, faces: Ints, quick: bool = False) -> tuple[Floats, Ints]:
    """The mesh without parts that nobody can see; whole if that would leave nothing."""
    hidden = hidden_parts(vertices, faces, quick)
    return compact(vertices, faces if hidden.all() else faces[~hidden])


def _rank_in_part(part: Ints, members: Ints) -> Ints:
    """(F,) how many faces of its own part come before each face."""
    order = np.argsort(part, kind="stable")
    rank = np.empty(len(part), np.int64)
    rank[order] = np.arange(len(part)) - np.repeat(np.cumsum(members) - members, members)
    return rank


def _enclosed(vertices: Floats, faces: Ints, part: Ints, count: int) -> Mask:
    """(P,) whether a part's box lies within the box of another part."""
    low, high = np.full((count, 3), np.inf), np.full((count, 3), -np.inf)
    for corner in range(3):
        np.minimum.at(low, part, vertices[faces[:, corner]])
        np.maximum.at(high, part, vertices[faces[:, corner]])
    return np.array(
        [((low < low[k]).all(axis=1) & (high > high[k]).all(axis=1)).any() for k in range(count)], dtype=bool
    )
