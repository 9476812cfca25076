"""A triangle mesh and the facts one can check about it. Needs numpy alone, so that the web tier may import it.

Frame: right-handed, +Y up, the front faces +Z, the object within [-0.5, 0.5]^3. Faces run
counter-clockwise as seen from outside.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# float32 and int32 by agreement; numpy's and OpenCV's own types are too loose for a checker to follow them.
Floats = NDArray[Any]
Ints = NDArray[Any]
Pixels = NDArray[Any]  # uint8
Mask = NDArray[Any]  # bool


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles with optional attributes per vertex.

    Attributes:
        vertices: (V, 3) positions.
        faces: (F, 3) vertex indices.
        uv: (V, 2), v upwards.
        normals: (V, 3), unit length.
        tangents: (V, 4), direction of growing u and the sign of the bitangent, as glTF has them.
        colours: (V, 3) uint8, sRGB.
    """

    vertices: Floats
    faces: Ints
    uv: Floats | None = None
    normals: Floats | None = None
    tangents: Floats | None = None
    colours: Pixels | None = None

    @property
    def is_watertight(self) -> bool:
        """Whether every edge has exactly one partner running the other way."""
        return is_closed(self.faces)

    @property
    def euler_number(self) -> int:
        """Vertices in use - edges + faces: 2 - 2 x holes for each closed part, summed."""
        return euler_number(self.faces)

    @property
    def volume(self) -> float:
        """Enclosed volume, positive when the winding is outward."""
        return signed_volume(self.vertices, self.faces)


@dataclass(frozen=True)
class Material:
    """Encoded pictures (JPEG or PNG bytes) on the mesh's UV, and how its surface takes light."""

    base_colour: bytes | None = None
    normal_map: bytes | None = None
    roughness: float = 0.9
    metallic: float = 0.0


def signed_volume(vertices: Floats, faces: Ints) -> float:
    """Sum of a . (b x c) / 6 over the faces."""
    a, b, c = (vertices[faces[:, k]].astype(np.float64) for k in range(3))
    return float((a * np.cross(b, c)).sum() / 6.0)


def directed_edges(faces: Ints) -> Ints:
    """(3F, 2) half-edges; rows k, F + k and 2F + k belong to face k."""
    return np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64)


def edge_keys(edges: Ints) -> tuple[Ints, Ints]:
    """One integer for each half-edge, and one for its opposite."""
    count = int(edges.max(initial=0)) + 1
    return edges[:, 0] * count + edges[:, 1], edges[:, 1] * count + edges[:, 0]


def is_closed(faces: Ints) -> bool:
    """Whether the half-edges pair up exactly: closed, edge-manifold and consistently wound."""
    if len(faces) == 0 or (faces == np.roll(faces, 1, axis=1)).any():
        return False
    forward, backward = edge_keys(directed_edges(faces))
    forward.sort()
    backward.sort()
    return bool((forward[1:] != forward[:-1]).all() and (forward == backward).all())


def euler_number(faces: Ints) -> int:
    """V - E + F, counting only vertices that a face uses."""
    forward, backward = edge_keys(directed_edges(faces))
    edges = np.sort(np.minimum(forward, backward))
    used = np.bincount(faces.ravel()) > 0
    return int(used.sum()) - int((edges[1:] != edges[:-1]).sum()) - min(len(edges), 1) + len(faces)


def face_components(faces: Ints, count: int) -> Ints:
    """(F,) number of the connected part each face belongs to, 0 and up; parts share no vertex."""
    label = np.arange(count, dtype=np.int64)
    while True:
        low = label[faces].min(axis=1)
        before = label.copy()
        for corner in range(3):
            np.minimum.at(label, faces[:, corner], low)
            np.minimum.at(label, before[faces[:, corner]], low)
        label = label[label]
        if (label == before).all():
            break
    numbers = np.cumsum(np.bincount(label[faces[:, 0]], minlength=count) > 0) - 1
    return numbers[label[faces[:, 0]]]


def compact(vertices: Floats, faces: Ints) -> tuple[Floats, Ints]:
    """The same triangles without vertices that no face uses."""
    used = np.zeros(len(vertices), bool)
    used[faces.ravel()] = True
    renumber = np.cumsum(used) - 1
    return vertices[used].astype(np.float32), renumber[faces].astype(np.int32)


def merge_positions(vertices: Floats, faces: Ints) -> tuple[Floats, Ints]:
    """The mesh with vertices of bit-identical position made one: undoes a split along UV borders."""
    positions = np.ascontiguousarray(vertices, np.float32) + np.float32(0)  # -0.0 becomes 0.0
    _, first, inverse = np.unique(
        positions.view(np.dtype((np.void, 12))).ravel(), return_index=True, return_inverse=True
    )
    return positions[first], inverse.ravel()[faces].astype(np.int32)


def face_normals(vertices: Floats, faces: Ints) -> Floats:
    """(F, 3) cross products of two sides: direction of the normal, length of twice the area."""
    a, b, c = (vertices[faces[:, k]].astype(np.float64) for k in range(3))
    return np.cross(b - a, c - a)


def vertex_normals(vertices: Floats, faces: Ints) -> Floats:
    """(V, 3) unit normals, each the area-weighted mean of the faces around a vertex."""
    crossed = face_normals(vertices, faces)
    total = np.stack(
        [sum(np.bincount(faces[:, k], crossed[:, axis], len(vertices)) for k in range(3)) for axis in range(3)], axis=1
    )
    return unit(total)


def unit(vectors: Floats) -> Floats:
    """The vectors at length 1; zero vectors become +Z."""
    length = np.sqrt((vectors * vectors).sum(axis=-1, keepdims=True))
    safe = vectors / np.where(length > 1e-20, length, 1.0)
    return np.where(length > 1e-20, safe, np.array([0.0, 0.0, 1.0])).astype(np.float32)
